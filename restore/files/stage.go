package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
)

// Stager writes the files of a restore to staging directories and verifies
// them. It is used by one goroutine, and ends with Seal or Discard.
type Stager struct {
	id     string
	src    Source
	opts   StagerOptions
	hooks  sync.Mutex        // one call of opts.Hook at a time
	stages map[string]*stage // by anchor
	taken  map[string]taken  // by absolute path, in lower case where case is folded
	n      int
}

// taken is a place that a step fills, or a directory that one needs.
type taken struct {
	by  Step
	dir bool
}

// StagerOptions tune a Stager.
type StagerOptions struct {
	// Begin is called with what will be staged before a staging directory is
	// made, so that a journal knows of it whatever happens then.
	Begin func(Set) error
	// Hook is called before each change to the disk.
	Hook Hook
}

type stage struct {
	anchor string
	dir    string // absolute
	root   *os.Root
	new    *os.File // the directory of the staged files
	steps  []Step
	// folds means that the file system takes A and a for the same name.
	folds bool
	// together means that one sync of the file system tells of all staged files
	// whether they are durable (see syncsTogether), unsynced that it has to.
	together, unsynced bool
}

// NewStager returns a Stager for the restore id, a plain name that is used
// once.
func NewStager(id string, src Source, o StagerOptions) *Stager {
	return &Stager{id: id, src: src, opts: o, stages: map[string]*stage{}, taken: map[string]taken{}}
}

// Stage writes and verifies the files of one component: all of them, or none
// when it returns an error. One that wraps checkpoint.ErrDamaged means that
// the stored bytes are not what they were; an older checkpoint may do.
// Targets that are refused are passed over; it returns them with those that
// turned out to be in the way of another.
func (s *Stager) Stage(ctx context.Context, targets []Target) ([]Target, error) {
	targets = slices.Clone(targets)
	mark := s.n
	if err := s.stage(ctx, targets); err != nil {
		return nil, errors.Join(noSpace(err), s.rewind(mark))
	}
	return targets, nil
}

func (s *Stager) stage(ctx context.Context, targets []Target) error {
	// What stands in the way of what is found out in order, whoever writes
	// fastest.
	var writes []*write
	for i := range targets {
		t := &targets[i]
		if t.Refused != nil {
			continue
		}
		w, err := s.place(t)
		if errors.Is(err, ErrRefused) {
			t.Refused = err
			continue
		}
		if err != nil {
			return fmt.Errorf("stage %s: %w", t.File.Name(), err)
		}
		writes = append(writes, w)
	}
	if err := s.write(ctx, writes); err != nil {
		return err
	}
	return s.keepApart(writes)
}

// place makes the step of a target.
func (s *Stager) place(t *Target) (*write, error) {
	st, err := s.stageAt(t.Anchor)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(t.Anchor, t.Path)
	if err != nil {
		return nil, err
	}
	step := Step{
		N: s.n + 1, Component: t.Component, Name: Path(t.File.Name()), Path: Path(rel),
		Database: t.File.Kind == checkpoint.KindSQLite, Note: t.Note(),
	}
	if err := step.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := s.conflict(st, step); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if len(st.steps) == maxSteps {
		return nil, fmt.Errorf("%w: more than %d files", ErrRefused, maxSteps)
	}
	s.n = step.N
	st.steps = append(st.steps, step)
	s.take(st, step)
	return &write{stage: st, target: t, step: step}, nil
}

// stageAt returns the staging directory in anchor, making it at its first use.
func (s *Stager) stageAt(anchor string) (*stage, error) {
	if st := s.stages[anchor]; st != nil {
		return st, nil
	}
	if err := validID(s.id); err != nil {
		return nil, err
	}
	st := &stage{anchor: anchor, dir: filepath.Join(anchor, stagePrefix+s.id)}
	s.stages[anchor] = st
	if s.opts.Begin != nil {
		if err := s.opts.Begin(s.set()); err != nil {
			delete(s.stages, anchor)
			return nil, err
		}
	}
	if err := st.make(s.opts.Hook); err != nil {
		delete(s.stages, anchor)
		return nil, err
	}
	return st, nil
}

func (st *stage) make(h Hook) error {
	h.at("mkdir %s", st.dir)
	if err := os.Mkdir(st.dir, 0o700); err != nil {
		return err
	}
	err := errors.Join(os.Mkdir(filepath.Join(st.dir, "new"), 0o700), os.Mkdir(filepath.Join(st.dir, "old"), 0o700))
	if err == nil {
		st.root, err = os.OpenRoot(st.dir)
	}
	if err == nil {
		st.new, err = st.root.Open("new")
	}
	if err != nil {
		st.close()
		return errors.Join(err, os.RemoveAll(st.dir))
	}
	st.together = syncsTogether(st.new)
	_, err = st.root.Lstat("NEW")
	st.folds = err == nil
	return nil
}

// key names a place so that two names of one file are equal.
func (st *stage) key(path string) string {
	if st.folds {
		return strings.ToLower(path)
	}
	return path
}

// take notes what step fills and which directories it needs.
func (s *Stager) take(st *stage, step Step) {
	path := st.key(filepath.Join(st.anchor, string(step.Path)))
	s.taken[path] = taken{by: step}
	for up := filepath.Dir(path); len(up) > len(st.anchor); up = filepath.Dir(up) {
		if _, ok := s.taken[up]; !ok {
			s.taken[up] = taken{by: step, dir: true}
		}
	}
}

// conflict reports a step of the set that step cannot stand beside.
func (s *Stager) conflict(st *stage, step Step) error {
	path := st.key(filepath.Join(st.anchor, string(step.Path)))
	if t, ok := s.taken[path]; ok && !t.dir {
		return fmt.Errorf("%s goes to the same place", t.by.Name)
	} else if ok {
		return fmt.Errorf("%s needs a directory there", t.by.Name)
	}
	for up := filepath.Dir(path); len(up) > len(st.anchor); up = filepath.Dir(up) {
		if t, ok := s.taken[up]; ok && !t.dir {
			return fmt.Errorf("it needs a directory where %s goes", t.by.Name)
		}
	}
	return s.besideDatabase(path)
}

// besideDatabase reports a database of the set that the file at path would be
// taken for a part of.
func (s *Stager) besideDatabase(path string) error {
	for _, suffix := range sideFiles {
		main, ok := strings.CutSuffix(path, suffix)
		if t, there := s.taken[main]; ok && there && t.by.Database {
			return fmt.Errorf("the database %s is stored without it", t.by.Name)
		}
	}
	return nil
}

// keepApart takes back what turned out to lie beside a database, now that it is
// known which files are some.
func (s *Stager) keepApart(writes []*write) error {
	if !slices.ContainsFunc(writes, func(w *write) bool { return w.database }) {
		return nil
	}
	for _, w := range writes {
		if w.database {
			at := slices.IndexFunc(w.stage.steps, func(o Step) bool { return o.N == w.step.N })
			w.stage.steps[at].Database = true
			s.take(w.stage, w.stage.steps[at])
		}
	}
	for _, w := range writes {
		err := s.besideDatabase(w.stage.key(filepath.Join(w.stage.anchor, string(w.step.Path))))
		if err == nil {
			continue
		}
		w.target.Refused = fmt.Errorf("%w: %w", ErrRefused, err)
		if err := s.remove(func(o Step) bool { return o.N == w.step.N }); err != nil {
			return err
		}
	}
	return nil
}

// rewind takes back every step after the mark.
func (s *Stager) rewind(mark int) error {
	return s.remove(func(step Step) bool { return step.N > mark })
}

// remove takes back some steps.
func (s *Stager) remove(some func(Step) bool) error {
	var errs []error
	for _, st := range s.stages {
		st.steps = slices.DeleteFunc(st.steps, func(step Step) bool {
			if !some(step) {
				return false
			}
			if err := st.root.Remove(step.staged()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
			return true
		})
	}
	clear(s.taken)
	for _, st := range s.stages {
		for _, step := range st.steps {
			s.take(st, step)
		}
	}
	return errors.Join(errs...)
}

// Seal makes what is staged survive a power cut and returns it. The Stager is
// of no use afterwards.
func (s *Stager) Seal() (Set, error) {
	defer s.close()
	for _, anchor := range slices.Sorted(maps.Keys(s.stages)) {
		st := s.stages[anchor]
		s.opts.Hook.at("seal %s", st.dir)
		if err := st.seal(); err != nil {
			return s.set(), fmt.Errorf("sync %s: %w", st.dir, noSpace(err))
		}
	}
	return s.set(), nil
}

func (st *stage) seal() error {
	if st.unsynced {
		if err := unix.Syncfs(int(st.new.Fd())); err != nil {
			return err
		}
	}
	if err := writeSteps(st.dir, st.steps); err != nil {
		return err
	}
	for _, dir := range []string{path.Join(st.dir, "new"), st.dir, st.anchor} {
		if err := atomicfile.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// Discard removes everything that was staged.
func (s *Stager) Discard() error {
	defer s.close()
	return s.set().Discard(s.opts.Hook)
}

func (s *Stager) close() {
	for _, st := range s.stages {
		st.close()
	}
}

func (st *stage) close() {
	if st.new != nil {
		st.new.Close()
	}
	if st.root != nil {
		st.root.Close()
	}
	st.root, st.new = nil, nil
}

func (s *Stager) set() Set {
	set := Set{ID: s.id}
	for _, anchor := range slices.Sorted(maps.Keys(s.stages)) {
		st := Stage{Anchor: Path(anchor), Files: map[string]int{}}
		for _, step := range s.stages[anchor].steps {
			st.Files[step.Component]++
		}
		set.Stages = append(set.Stages, st)
	}
	return set
}

// noSpace gives a full disk the name that callers act on.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", checkpoint.ErrNoSpace, err)
	}
	return err
}
