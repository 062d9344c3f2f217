package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

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
	steps  []Step
	// folds means that the file system takes A and a for the same name.
	folds bool
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
	for i := range targets {
		t := &targets[i]
		if t.Refused != nil {
			continue
		}
		err := s.stage(ctx, t)
		if errors.Is(err, ErrRefused) {
			t.Refused = err
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("stage %s: %w", t.File.Name(), noSpace(err)), s.rewind(mark))
		}
	}
	return targets, nil
}

func (s *Stager) stage(ctx context.Context, t *Target) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	st, err := s.stageAt(t.Anchor)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(t.Anchor, t.Path)
	if err != nil {
		return err
	}
	step := Step{
		N: s.n + 1, Component: t.Component, Name: Path(t.File.Name()), Path: Path(rel),
		Database: t.File.Kind == checkpoint.KindSQLite, Note: t.Note(),
	}
	if err := step.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := s.conflict(st, step); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if len(st.steps) == maxSteps {
		return fmt.Errorf("%w: more than %d files", ErrRefused, maxSteps)
	}
	s.n = step.N
	st.steps = append(st.steps, step)
	s.take(st, step)
	s.opts.Hook.at("write %s", step.staged())
	return s.write(ctx, st, &st.steps[len(st.steps)-1], t.File)
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
	if err != nil {
		return errors.Join(err, os.RemoveAll(st.dir))
	}
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
	for _, suffix := range sideFiles {
		main, ok := strings.CutSuffix(path, suffix)
		if t, there := s.taken[main]; ok && there && t.by.Database {
			return fmt.Errorf("the database %s is stored without it", t.by.Name)
		}
	}
	return nil
}

// sqliteMagic starts every SQLite database.
var sqliteMagic = []byte("SQLite format 3\x00")

func (s *Stager) write(ctx context.Context, st *stage, step *Step, file checkpoint.File) error {
	f, err := st.root.OpenFile(step.staged(), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(ctx, f, s.src, file.Content); err != nil {
		return err
	}
	head := make([]byte, len(sqliteMagic))
	if n, _ := f.ReadAt(head, 0); bytes.Equal(head[:n], sqliteMagic) {
		step.Database = true
		s.take(st, *step)
	}
	if step.Database {
		if err := checkDatabase(ctx, filepath.Join(st.dir, step.staged())); err != nil {
			return fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
		}
	}
	if mode := fs.FileMode(file.Mode).Perm(); mode != 0 {
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if file.MtimeNS == 0 {
		return nil
	}
	return st.root.Chtimes(step.staged(), time.Time{}, file.MtimeNS.Time())
}

// fill writes content to f and makes sure, whatever src promises, that it is
// what its size and its hash, if it has one, say.
func fill(ctx context.Context, f io.Writer, src Source, c checkpoint.Content) error {
	if c.Size == 0 {
		return nil
	}
	w := &measured{w: f, left: c.Size, sum: sha256.New()}
	if err := src.CopyTo(ctx, w, c); err != nil {
		return err
	}
	if w.left != 0 || !c.SHA256.IsZero() && checkpoint.Hash(w.sum.Sum(nil)) != c.SHA256 {
		return fmt.Errorf("%w: %s came back as something else", checkpoint.ErrDamaged, c.Label())
	}
	return nil
}

// measured hashes what it writes and stops at a limit.
type measured struct {
	w    io.Writer
	left int64
	sum  hash.Hash
}

func (m *measured) Write(p []byte) (int, error) {
	if int64(len(p)) > m.left {
		return 0, fmt.Errorf("%w: content is longer than it says", checkpoint.ErrDamaged)
	}
	n, err := m.w.Write(p)
	m.left -= int64(n)
	m.sum.Write(p[:n])
	return n, err
}

// rewind takes back every step after the mark.
func (s *Stager) rewind(mark int) error {
	var errs []error
	for _, st := range s.stages {
		st.steps = slices.DeleteFunc(st.steps, func(step Step) bool {
			if step.N <= mark {
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
	// One sync of the file system instead of one of each file: 95 ms instead
	// of 300 for 1,041 files.
	d, err := st.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return err
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
		if st.root != nil {
			st.root.Close()
			st.root = nil
		}
	}
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
