package files

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// stagePrefix and an id name a staging directory.
const stagePrefix = ".helix-ckpt-restore-"

// Places knows where the files of a checkpoint go in this session. It looks at
// each directory once, and is for one plan, of one goroutine.
type Places struct {
	roots   map[string]string
	keepOut []string
	dirs    map[string]dirPlace // by logical path
}

// dirPlace is where a directory of a checkpoint is in this session.
type dirPlace struct {
	path, anchor string
	err          error // why nothing goes there
}

// NewPlaces returns the places below roots, as in the manifest but as they are
// now. Nothing is ever put into the directories keepOut: the repository.
func NewPlaces(roots map[string]string, keepOut ...string) Places {
	return Places{roots: maps.Clone(roots), keepOut: keepOut, dirs: map[string]dirPlace{}}
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
	if err := allow(t.Component, root, rel); err != nil {
		return err
	}
	dir := p.dir(root, path.Dir(rel))
	if dir.err != nil {
		return dir.err
	}
	t.Path, t.Anchor = filepath.Join(dir.path, path.Base(rel)), dir.anchor
	info, err := os.Lstat(t.Path)
	if t.File.Kind == checkpoint.KindSymlink {
		if err := p.leads(t, root, rel); err != nil {
			return err
		}
		if err == nil && info.Mode().Type() == fs.ModeSymlink {
			t.Live = &Live{Size: info.Size(), Mtime: info.ModTime()}
			return nil
		}
	} else if err == nil && info.Mode().Type() == fs.ModeSymlink {
		if t.Path, err = zed.Follow(t.Path); err != nil {
			return err
		}
		if dir = p.look(root, filepath.Dir(t.Path)); dir.err != nil {
			return dir.err
		}
		t.Anchor = dir.anchor
		info, err = os.Lstat(t.Path)
	}
	if strings.Contains(t.Path, "/"+stagePrefix) {
		return fmt.Errorf("%w: %s lies in a restore's own directory", checkpoint.ErrPath, t.Path)
	}
	t.Live, err = live(t.Path, info, err)
	return err
}

// dir returns the place of the directory rel of a root.
func (p Places) dir(root, rel string) dirPlace {
	key := root + "/" + rel
	d, known := p.dirs[key]
	if !known {
		path, err := p.follow(root, rel)
		if d = (dirPlace{err: err}); err == nil {
			d = p.look(root, path)
		}
		p.dirs[key] = d
	}
	return d
}

func (p Places) follow(root, rel string) (string, error) {
	dir, ok := p.roots[root]
	if !ok {
		return "", fmt.Errorf("this session has no %s", root)
	}
	path, err := zed.Follow(filepath.Join(dir, rel))
	if err != nil {
		return "", fmt.Errorf("find %s in %s: %w", rel, root, err)
	}
	return path, nil
}

// look finds out whether files of a root may go into the directory at path,
// which has no link in it.
func (p Places) look(root, path string) dirPlace {
	fail := func(err error) dirPlace { return dirPlace{err: err} }
	base, err := p.follow(root, ".")
	if err != nil {
		return fail(err)
	}
	top, ok := p.enclose(path, base)
	if !ok {
		return fail(fmt.Errorf("%w: a symbolic link leads out of %s to %s", checkpoint.ErrPath, root, path))
	}
	for _, dir := range p.keepOut {
		if _, inside := enclosing(path, dir); inside {
			return fail(fmt.Errorf("%w: %s lies in the checkpoints' own directory", checkpoint.ErrPath, path))
		}
	}
	anchor, err := anchor(path, top)
	return dirPlace{path: path, anchor: anchor, err: err}
}

// enclose returns the root that the directory at path is or lies in: its own at
// base, or $WORKSPACE when a link led there.
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

// enclosing returns path, or the ancestor of it, that is the directory dir. They
// are compared as directories, not as names: a workspace is mounted at up to
// three paths, and links use any of them.
func enclosing(path, dir string) (string, bool) {
	want, err := os.Stat(dir)
	for up := path; ; up = filepath.Dir(up) {
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

// anchor returns the highest directory, not above top, from which what is in dir
// can be reached by a rename and in which we may make a directory. Where top
// does not exist yet it is the deepest directory that does.
func anchor(dir, top string) (string, error) {
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

// live returns what lies at path, as Lstat said. Only a regular file may be
// moved aside.
func live(path string, info fs.FileInfo, err error) (*Live, error) {
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
