package repository

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is every change that this package makes to a file system, so that a
// test can record their order, cut the power between any two of them, and show
// that a variant that leaves one out is caught.
type disk interface {
	// mkdir makes one directory; it fails with fs.ErrExist where there is one.
	mkdir(dir string) error
	// create makes a new file.
	create(name string) (file, error)
	// append opens a file to write behind what it holds.
	append(name string) (file, error)
	rename(from, to string) error
	remove(name string) error
	// syncDir makes what was created, renamed and removed in dir durable.
	syncDir(dir string) error
}

// file is a file being written.
type file interface {
	io.WriteCloser
	// Sync makes what was written durable.
	Sync() error
}

// system is the real disk.
type system struct{}

func (system) mkdir(dir string) error { return os.Mkdir(dir, 0o700) }

func (system) create(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &sentEarly{File: f}, nil
}

// sentEarly is a file whose bytes are sent to the disk while more are written,
// so that little is left to wait for when it is synced.
type sentEarly struct {
	*os.File
	written, sent int64
}

// sendEvery is after how many bytes they are sent.
const sendEvery = 4 << 20

func (f *sentEarly) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written += int64(n)
	if f.written-f.sent >= sendEvery {
		// Advice only: Sync does what counts.
		_ = unix.SyncFileRange(int(f.Fd()), f.sent, f.written-f.sent, unix.SYNC_FILE_RANGE_WRITE)
		f.sent = f.written
	}
	return n, err
}

func (system) append(name string) (file, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func (system) rename(from, to string) error { return os.Rename(from, to) }

func (system) remove(name string) error { return os.Remove(name) }

func (system) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes dir durably, with the parents that are missing.
func makeDir(d disk, dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(d, parent); err != nil {
			return err
		}
	}
	if err := d.mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.syncDir(parent)
}

// ownDir refuses what is no directory of the repository's own: through a link,
// in one that was copied from anywhere, a prune would delete the packs of
// another session.
func ownDir(dir string) error {
	info, err := os.Lstat(dir)
	if err == nil && !info.IsDir() {
		err = damaged("%s is no directory: %s", dir, info.Mode())
	}
	return err
}

// syncParents syncs dir, a directory <dir>/sessions/<session>, and what this
// program may have made above it: a run that made one of them may have died
// before it was durable. Those it may not read, it did not make.
func syncParents(d disk, dir string) error {
	for range 4 {
		if err := d.syncDir(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		dir = filepath.Dir(dir)
	}
	return nil
}

// tempPrefix starts the name of every file that is being written. Nothing else
// in a repository starts so; what a crash leaves of them is swept by the next
// writer.
const tempPrefix = ".tmp-"

func tempName(dir string) string { return filepath.Join(dir, tempPrefix+rand.Text()) }

// sweep removes what an interrupted writer left in dir.
func sweep(d disk, dir string) error {
	names, err := readDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		err := d.remove(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) { // a directory is not ours
			return err
		}
	}
	return nil
}

// readDir returns the names in dir, sorted; none when it does not exist.
func readDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// openFile opens a plain file for reading and returns its size. It follows no
// link and does not wait for the other end of a pipe: a repository may have
// been copied from anywhere.
func openFile(name string) (*os.File, int64, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a plain file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// readFile reads a whole file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, size, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, fmt.Errorf("%w: %s is %d bytes long, at most %d are allowed", errTooLong, name, size, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
