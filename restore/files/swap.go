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
	for _, step := range steps {
		if err := sw.step(step); err != nil {
			return nil, fmt.Errorf("%s: %w", step.Name, err)
		}
	}
	if err := sw.sync(); err != nil {
		return nil, err
	}
	done := make([]Done, 0, len(steps))
	for _, step := range steps {
		d := Done{Component: step.Component, Name: string(step.Name), Note: step.Note, Path: filepath.Join(string(st.Anchor), string(step.Path))}
		for _, name := range sw.kept(step) {
			d.Aside = append(d.Aside, filepath.Join(string(st.Anchor), name))
		}
		done = append(done, d)
	}
	return done, nil
}

// swap is the work below one anchor. Names are below it.
type swap struct {
	root  *os.Root
	dir   string
	hook  Hook
	dirty map[string]bool // directories whose names have changed
}

func (sw *swap) step(s Step) error {
	staged := path.Join(sw.dir, s.staged())
	if there, err := sw.exists(staged); err != nil || !there {
		return err // not there: done before
	}
	for _, name := range s.live() {
		if err := sw.aside(name); err != nil {
			return err
		}
	}
	if err := sw.mkdir(path.Dir(string(s.Path))); err != nil {
		return err
	}
	return sw.rename(staged, string(s.Path))
}

// aside moves what is at name to old/. A second one, made by somebody between
// a crash and now, gets a number: nothing is ever lost.
func (sw *swap) aside(name string) error {
	if there, err := sw.exists(name); err != nil || !there {
		return err
	}
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
