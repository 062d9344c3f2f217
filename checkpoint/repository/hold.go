package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Hold keeps a checkpoint, and with it what it needs, until release is called or
// the process ends, whoever prunes: readers hold what they read. It is a shared
// flock on the open manifest, and Prune takes an exclusive one before it removes
// that. These belong to open files, so they count between processes and within
// one. It waits for nothing. The error wraps checkpoint.ErrNotFound also when the
// checkpoint is being deleted.
func (r *Repository) Hold(id checkpoint.ID) (release func(), err error) {
	if _, err := checkpoint.ParseID(string(id)); err != nil {
		return nil, fmt.Errorf("%w: %w", checkpoint.ErrNotFound, err)
	}
	path := filepath.Join(r.dir, manifestName(id))
	f, _, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", checkpoint.ErrNotFound, id)
	}
	if err != nil {
		return nil, fmt.Errorf("hold checkpoint %s: %w", id, err)
	}
	release = func() { unlock(f) }
	err = flock(f, unix.LOCK_SH)
	if err == nil && gone(f, path) {
		err = unix.EWOULDBLOCK
	}
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = fmt.Errorf("%w: %s is being deleted", checkpoint.ErrNotFound, id)
	case err != nil:
		err = fmt.Errorf("hold checkpoint %s: %w", id, err)
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// holdAll holds those of ids that are there. release must be called, also after
// an error.
func (r *Repository) holdAll(ids []checkpoint.ID) (release func(), err error) {
	var held []func()
	release = func() {
		for _, done := range held {
			done()
		}
	}
	for _, id := range ids {
		done, err := r.Hold(id)
		switch {
		case errors.Is(err, checkpoint.ErrNotFound):
		case err != nil:
			return release, err
		default:
			held = append(held, done)
		}
	}
	return release, nil
}

// gone reports whether f, open since a moment, is no longer what path names. A
// backup may keep links to a file that was deleted, so these are not counted.
func gone(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return true
	}
	named, err := os.Lstat(path)
	return err != nil || !os.SameFile(open, named)
}

// claim takes a manifest so that nobody can hold it any more; it is about to be
// removed, and release follows. It reports false when somebody holds it.
func claim(path string) (release func(), ok bool, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return func() {}, true, nil // nobody can read it
	}
	// Writable, as an exclusive lock wants it over NFS.
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, false, err
	}
	release = func() { unlock(f) }
	if err := flock(f, unix.LOCK_EX); err != nil {
		release()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = nil
		}
		return nil, false, err
	}
	return release, true, nil
}

// flock locks an open file, unless that would have to wait: unix.EWOULDBLOCK.
// Where the file system has no such locks (some network and user-space ones) it
// goes on without: a reader is not turned away there, and one that is overtaken
// by a prune fails with missing content and never reads anything else.
func flock(f *os.File, how int) error {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// unlock ends what flock did and closes f, of which nothing was written. Closing
// alone would not do while a child that is being started still has the file.
func unlock(f *os.File) {
	unix.Flock(int(f.Fd()), unix.LOCK_UN) //nolint:errcheck // closing ends it as well
	f.Close()
}
