package files

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// stagePrefix and an id name a staging directory.
const stagePrefix = ".helix-ckpt-restore-"

// Places knows where the files of a checkpoint go in this session.
type Places struct {
	roots   map[string]string
	keepOut []string
}

// NewPlaces returns the places below roots, as in the manifest but as they are
// now. Nothing is ever put into the directories keepOut: the repository.
func NewPlaces(roots map[string]string, keepOut ...string) Places {
	return Places{roots: maps.Clone(roots), keepOut: keepOut}
}

// Find returns the place of a file of a component, and looks at what is there.
// It changes nothing.
func (p Places) Find(component string, f checkpoint.File) Target {
	t := Target{Component: component, File: f}
	if err := p.find(&t); err != nil {
		t.Refused = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return t
}

func (p Places) find(t *Target) error {
	root, rel, err := checkpoint.SplitLogical(t.File.Name())
	if err != nil {
		return err
	}
	if t.File.Kind == checkpoint.KindSymlink {
		return errors.New("symbolic links are not restored yet")
	}
	if err := allow(t.Component, root, rel); err != nil {
		return err
	}
	dir, ok := p.roots[root]
	if !ok {
		return fmt.Errorf("this session has no %s", root)
	}
	base, err := zed.Follow(dir)
	if err != nil {
		return fmt.Errorf("find %s: %w", root, err)
	}
	if t.Path, err = zed.Follow(filepath.Join(base, rel)); err != nil {
		return err
	}
	top, ok := p.enclose(t.Path, base)
	if !ok {
		return fmt.Errorf("%w: a symbolic link leads out of %s to %s", checkpoint.ErrPath, root, t.Path)
	}
	for _, dir := range p.keepOut {
		if _, inside := enclosing(t.Path, dir); inside {
			return fmt.Errorf("%w: %s lies in the checkpoints' own directory", checkpoint.ErrPath, t.Path)
		}
	}
	if strings.Contains(t.Path, "/"+stagePrefix) {
		return fmt.Errorf("%w: %s lies in a restore's own directory", checkpoint.ErrPath, t.Path)
	}
	if t.Anchor, err = anchor(t.Path, top); err != nil {
		return err
	}
	t.Live, err = look(t.Path)
	return err
}

// enclose returns the root that path lies in: its own at base, or $WORKSPACE
// when a link led there.
func (p Places) enclose(path, base string) (string, bool) {
	if top, ok := enclosing(path, base); ok {
		return top, true
	}
	workspace, ok := p.roots[checkpoint.RootWorkspace]
	if !ok {
		return "", false
	}
	return enclosing(path, workspace)
}

// enclosing returns the ancestor of path that is the directory dir. They are
// compared as directories, not as names: a workspace is mounted at up to three
// paths, and links use any of them.
func enclosing(path, dir string) (string, bool) {
	want, err := os.Stat(dir)
	for up := filepath.Dir(path); ; up = filepath.Dir(up) {
		if up == dir {
			return up, true
		}
		if err == nil {
			if info, err := os.Stat(up); err == nil && os.SameFile(info, want) {
				return up, true
			}
		}
		if up == "/" {
			return "", false
		}
	}
}

// anchor returns the highest directory, not above top, from which path can be
// reached by a rename and in which we may make a directory. Where top does not
// exist yet it is the deepest directory that does.
func anchor(path, top string) (string, error) {
	dir := filepath.Dir(path)
	for {
		info, err := os.Lstat(dir)
		if err == nil && info.IsDir() {
			break
		}
		if err == nil {
			return "", fmt.Errorf("%s is a file where a directory is needed", dir)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return "", err
		}
		dir = filepath.Dir(dir)
	}
	vol, err := volumeOf(dir)
	if err != nil {
		return "", err
	}
	for len(dir) > len(top) {
		up := filepath.Dir(dir)
		if v, err := volumeOf(up); err != nil || v != vol || unix.Access(up, unix.W_OK|unix.X_OK) != nil {
			return dir, nil //nolint:nilerr // a directory that cannot be looked at is one not to go up to
		}
		dir = up
	}
	return dir, nil
}

// volume tells apart what a rename cannot cross: file systems, and mounts of
// the same one.
type volume struct {
	major, minor uint32
	mount        uint64
}

func volumeOf(dir string) (volume, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st); err != nil {
		return volume{}, fmt.Errorf("look at %s: %w", dir, err)
	}
	// Kernels before 5.8 leave Mnt_id 0; bind mounts then look like one volume.
	return volume{st.Dev_major, st.Dev_minor, st.Mnt_id}, nil
}

// look returns what lies at path. Only a regular file may be moved aside.
func look(path string) (*Live, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory where a file is to be put", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file (%s)", path, info.Mode().Type())
	}
	return &Live{Size: info.Size(), Mtime: info.ModTime()}, nil
}
