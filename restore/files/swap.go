package files

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Done is what became of one step.
type Done struct {
	Component string
	// Name is the logical path, Path the absolute one.
	Name, Path string
	Note       string
	// Aside are the absolute paths of what was there before.
	Aside []string
}

// Apply puts every staged file in its place. It may be called again after a
// crash at any point, or an error, and finishes what is left. Staging
// directories that are gone, as with a container's disk, are returned as lost:
// nothing can be said of their files.
func (s Set) Apply(h Hook) (done []Done, lost []Stage, err error) {
	if err := validID(s.ID); err != nil {
		return nil, nil, err
	}
	for _, st := range s.Stages {
		d, err := s.apply(st, h)
		if errors.Is(err, errLost) {
			lost = append(lost, st)
			continue
		}
		done = append(done, d...)
		if err != nil {
			return done, lost, fmt.Errorf("put files in place below %s (what is left is in %s): %w", st.Anchor, s.Dir(st), noSpace(err))
		}
	}
	return done, lost, nil
}

// errLost: the staging directory, or its list of steps, is not there.
var errLost = errors.New("staging directory is gone")

func (s Set) apply(st Stage, h Hook) ([]Done, error) {
	root, err := os.OpenRoot(string(st.Anchor))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errLost
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir := stagePrefix + s.ID
	steps, err := readSteps(root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errLost
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", stepsName, err)
	}
	sw := swap{root: root, dir: dir, hook: h, dirty: map[string]bool{}}
	defer sw.close()
	for _, step := range steps {
		if err := sw.step(step); err != nil {
			return nil, fmt.Errorf("%s: %w", step.Name, err)
		}
	}
	if err := sw.sync(); err != nil {
		return nil, err
	}
	return sw.done(string(st.Anchor), steps)
}

// swap is the work below one anchor. Names are below it.
type swap struct {
	root  *os.Root
	dir   string
	hook  Hook
	dirty map[string]bool // directories whose names have changed
	// new is the directory of staged files, live the one that the last step went
	// to: most steps go to the same few, and walking there costs more than the
	// rename.
	new, live handle
}

// handle is an open directory; the zero value is none.
type handle struct {
	name string
	*os.File
}

func (h *handle) close() {
	if h.File != nil {
		h.Close()
	}
	*h = handle{}
}

// open makes h the directory of that name, which is found without leaving root.
func (h *handle) open(root *os.Root, name string) error {
	if h.File != nil && h.name == name {
		return nil
	}
	h.close()
	f, err := root.Open(name)
	if err == nil {
		*h = handle{name, f}
	}
	return err
}

// has reports whether there is anything of that name, a link too.
func (h *handle) has(name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(h.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		err = &fs.PathError{Op: "lstat", Path: path.Join(h.name, name), Err: err}
	}
	return err == nil, err
}

func (sw *swap) close() {
	sw.new.close()
	sw.live.close()
}

func (sw *swap) step(s Step) error {
	err := sw.new.open(sw.root, path.Join(sw.dir, path.Dir(s.staged())))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // all were done before
	}
	if err != nil {
		return err
	}
	from, to := path.Base(s.staged()), path.Base(string(s.Path))
	if there, err := sw.new.has(from); err != nil || !there {
		return err // not there: done before
	}
	dir := path.Dir(string(s.Path))
	err = sw.live.open(sw.root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = sw.mkdir(dir); err == nil {
			err = sw.live.open(sw.root, dir)
		}
	}
	if err != nil {
		return err
	}
	for _, name := range s.live() {
		there, err := sw.live.has(path.Base(name))
		if there {
			err = sw.aside(name)
		}
		if err != nil {
			return err
		}
	}
	sw.hook.at("rename %s -> %s", path.Join(sw.new.name, from), s.Path)
	if err := unix.Renameat(int(sw.new.Fd()), from, int(sw.live.Fd()), to); err != nil {
		return &os.LinkError{Op: "rename", Old: path.Join(sw.new.name, from), New: string(s.Path), Err: err}
	}
	sw.dirty[sw.new.name], sw.dirty[dir] = true, true
	return nil
}

// aside moves what is at name to old/. A second one, made by somebody between
// a crash and now, gets a number: nothing is ever lost.
func (sw *swap) aside(name string) error {
	to := path.Join(sw.dir, "old", name)
	if err := sw.mkdir(path.Dir(to)); err != nil {
		return err
	}
	for n := 2; ; n++ {
		taken, err := sw.exists(to)
		if err != nil {
			return err
		}
		if !taken {
			return sw.rename(name, to)
		}
		to = path.Join(sw.dir, "old", name) + "~" + strconv.Itoa(n)
	}
}

// done says what became of the steps, all of which are done.
func (sw *swap) done(anchor string, steps []Step) ([]Done, error) {
	old, err := fs.ReadDir(sw.root.FS(), path.Join(sw.dir, "old"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	done := make([]Done, len(steps))
	for i, s := range steps {
		done[i] = Done{Component: s.Component, Name: string(s.Name), Note: s.Note, Path: filepath.Join(anchor, string(s.Path))}
		if len(old) == 0 {
			continue
		}
		for _, name := range sw.kept(s) {
			done[i].Aside = append(done[i].Aside, filepath.Join(anchor, name))
		}
	}
	return done, nil
}

// kept lists what a step moved aside.
func (sw *swap) kept(s Step) []string {
	var kept []string
	for _, name := range s.live() {
		to := path.Join(sw.dir, "old", name)
		for n := 2; ; n++ {
			if there, err := sw.exists(to); err != nil || !there {
				break
			}
			kept = append(kept, to)
			to = path.Join(sw.dir, "old", name) + "~" + strconv.Itoa(n)
		}
	}
	return kept
}

func (sw *swap) exists(name string) (bool, error) {
	_, err := sw.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (sw *swap) mkdir(dir string) error {
	if there, err := sw.exists(dir); err != nil || there {
		return err
	}
	sw.hook.at("mkdir %s", dir)
	if err := sw.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for up := dir; up != "."; up = path.Dir(up) {
		sw.dirty[path.Dir(up)] = true
	}
	return nil
}

func (sw *swap) rename(from, to string) error {
	sw.hook.at("rename %s -> %s", from, to)
	if err := sw.root.Rename(from, to); err != nil {
		return err
	}
	sw.dirty[path.Dir(from)], sw.dirty[path.Dir(to)] = true, true
	return nil
}

func (sw *swap) sync() error {
	for _, dir := range slices.Sorted(maps.Keys(sw.dirty)) {
		sw.hook.at("sync %s", dir)
		d, err := sw.root.Open(dir)
		if err != nil {
			return err
		}
		err = d.Sync()
		d.Close()
		if err != nil {
			return fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	return nil
}

// Discard removes the staging directories, with what they keep. Before a
// commit mark it undoes; long after one it gives up what was moved aside.
func (s Set) Discard(h Hook) error {
	if err := validID(s.ID); err != nil {
		return err
	}
	var errs []error
	for _, st := range s.Stages {
		h.at("discard %s", s.Dir(st))
		root, err := os.OpenRoot(string(st.Anchor))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(root.RemoveAll(stagePrefix+s.ID), root.Close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", s.Dir(st), err))
		}
	}
	return errors.Join(errs...)
}
