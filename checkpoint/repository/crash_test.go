package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// A model of what a power cut may leave. Bytes of a file are safe after its
// sync, names in a directory after that of the directory; whatever else was done
// may have reached the disk or not, in any order. The recorder below writes down
// what a commit does; survivors derives from that what could be found after a
// cut between any two steps; and a repository must read well from each.

// step is one effect on the disk.
type step struct {
	op   string // create, write, sync, rename, remove, mkdir, syncdir, damage, acknowledge, drop
	name string
	to   string
	data []byte
}

func (s step) String() string { return strings.TrimSpace(s.op + " " + s.name + " " + s.to) }

// recorder is the real disk, with a log of what was done.
type recorder struct {
	system
	steps []step
}

func (r *recorder) log(s step) { r.steps = append(r.steps, s) }

func (r *recorder) mkdir(dir string) error {
	err := r.system.mkdir(dir)
	if err == nil {
		r.log(step{op: "mkdir", name: dir})
	}
	return err
}

func (r *recorder) create(name string) (file, error) {
	f, err := r.system.create(name)
	if err != nil {
		return nil, err
	}
	r.log(step{op: "create", name: name})
	return &recorded{f, r, name}, nil
}

func (r *recorder) append(name string) (file, error) {
	f, err := r.system.append(name)
	if err != nil {
		return nil, err
	}
	return &recorded{f, r, name}, nil
}

func (r *recorder) rename(from, to string) error {
	err := r.system.rename(from, to)
	if err == nil {
		r.log(step{op: "rename", name: from, to: to})
	}
	return err
}

func (r *recorder) remove(name string) error {
	err := r.system.remove(name)
	if err == nil {
		r.log(step{op: "remove", name: name})
	}
	return err
}

func (r *recorder) syncDir(dir string) error {
	r.log(step{op: "syncdir", name: dir})
	return nil // the log is what counts here
}

type recorded struct {
	file
	r    *recorder
	name string
}

func (f *recorded) Write(p []byte) (int, error) {
	f.r.log(step{op: "write", name: f.name, data: slices.Clone(p)})
	return f.file.Write(p)
}

func (f *recorded) Sync() error {
	f.r.log(step{op: "sync", name: f.name})
	return nil
}

// inode is a file: its bytes, and how many of them are safe.
type inode struct {
	data []byte
	safe int
}

// model is a file system after some steps.
type model struct {
	names map[string]*inode // as a process sees it; nil for a directory
	safe  map[string]*inode // as it is after a cut at least
	// loose are changes of names that may or may not survive, oldest first.
	loose []naming
}

// naming is one change of a name: to an inode, a directory, or gone.
type naming struct {
	name string
	node *inode
	dir  bool
	gone bool
}

func (m *model) name(c naming) {
	apply(m.names, c)
	m.loose = append(m.loose, c)
}

func apply(names map[string]*inode, c naming) {
	if c.gone {
		delete(names, c.name)
	} else {
		names[c.name] = c.node
	}
}

func (m *model) do(s step) {
	switch s.op {
	case "mkdir":
		m.name(naming{name: s.name, dir: true})
	case "create":
		m.name(naming{name: s.name, node: &inode{}})
	case "write":
		n := m.names[s.name]
		n.data = append(n.data, s.data...)
	case "damage": // bytes that were safe have changed by themselves
		n := m.names[s.name]
		n.data, n.safe = s.data, len(s.data)
	case "sync":
		n := m.names[s.name]
		n.safe = len(n.data)
	case "rename":
		n := m.names[s.name]
		m.name(naming{name: s.to, node: n})
		m.name(naming{name: s.name, gone: true})
	case "remove":
		m.name(naming{name: s.name, gone: true})
	case "syncdir":
		m.loose = slices.DeleteFunc(m.loose, func(c naming) bool {
			if filepath.Dir(c.name) != s.name {
				return false
			}
			apply(m.safe, c)
			return true
		})
	}
}

// survivors returns what may be found after a cut now: nothing that is loose,
// all of it, each change of a name alone, and all but each. What is in index/,
// which nothing relies upon, comes or goes together.
func (m *model) survivors() []map[string]*inode {
	group := make([]int, len(m.loose))
	groups := 1
	for i, c := range m.loose {
		if filepath.Base(c.name) != dirIndex && filepath.Base(filepath.Dir(c.name)) != dirIndex {
			group[i] = groups
			groups++
		}
	}
	pick := func(keep func(group int) bool) map[string]*inode {
		names := maps.Clone(m.safe)
		for i, c := range m.loose {
			if keep(group[i]) {
				apply(names, c)
			}
		}
		return names
	}
	list := []map[string]*inode{
		pick(func(int) bool { return false }),
		pick(func(int) bool { return true }),
	}
	for k := range groups {
		list = append(list, pick(func(g int) bool { return g == k }), pick(func(g int) bool { return g != k }))
	}
	return list
}

// materialize writes names below dir instead of below root, with no more of each
// file than is safe.
func materialize(t *testing.T, names map[string]*inode, root, dir string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		rel, err := filepath.Rel(root, name)
		must(t, err)
		path := filepath.Join(dir, rel)
		if n := names[name]; n != nil {
			if _, err := os.Stat(filepath.Dir(path)); err == nil { // else lost with its directory
				must(t, os.WriteFile(path, n.data[:n.safe], 0o600))
			}
		} else if _, err := os.Stat(filepath.Dir(path)); err == nil {
			must(t, os.Mkdir(path, 0o700))
		}
	}
}

// record commits three checkpoints, one after the other, on a disk that vary
// makes of a recorder, and returns its steps. An aborted one and one that the
// guard refuses are between them.
func record(t *testing.T, root string, vary func(*recorder) disk) []step {
	t.Helper()
	rec := &recorder{}
	r, err := open(filepath.Join(root, "sessions", "ses_01"), vary(rec))
	must(t, err)
	for seq := range uint64(3) {
		begin(t, r).Abort()
		tx := begin(t, r)
		// Small chunks, but enough for a recipe.
		c, err := tx.PutHinted(t.Context(), "data", bytes.NewReader(append(noise(0, 100), noise(seq+1, 900)...)), 100)
		must(t, err)
		m := manifest(seq+1, fileOf("data", c))
		_, err = tx.Commit(t.Context(), m, nil)
		must(t, err)
		rec.log(step{op: "acknowledge", name: string(m.ID)})
		tx = begin(t, r)
		refused := manifest(seq+10, fileOf("data", put(t, tx, noise(seq+10, 100))))
		if _, err := tx.Commit(t.Context(), refused, func() error { return checkpoint.ErrFenced }); err == nil {
			t.Fatal("not refused")
		}
	}
	return rec.steps
}

// cut lets the power fail after every step. It returns the first loss, nil if
// there is none, and how many disks were looked at.
func cut(t *testing.T, root string, steps []step) (cases int, loss error) {
	t.Helper()
	return cutWith(t, root, steps, sound)
}

// cutWith is cut with another judge of what was found.
func cutWith(t *testing.T, root string, steps []step, judge func(dir string, acknowledged []checkpoint.ID) error) (cases int, loss error) {
	t.Helper()
	m := &model{names: map[string]*inode{}, safe: map[string]*inode{}}
	var acknowledged []checkpoint.ID
	// Of a prune or a repair, the commits before it are not of interest.
	first := max(0, slices.IndexFunc(steps, func(s step) bool { return s.op == "drop" || s.op == "damage" }))
	for i, s := range steps {
		if s.op == "acknowledge" {
			acknowledged = append(acknowledged, checkpoint.ID(s.name))
		}
		if s.op == "drop" {
			acknowledged = slices.DeleteFunc(acknowledged, func(id checkpoint.ID) bool { return id == checkpoint.ID(s.name) })
		}
		m.do(s)
		if i < first {
			continue
		}
		for j, names := range m.survivors() {
			cases++
			dir := filepath.Join(t.TempDir(), fmt.Sprintf("%d-%d", i, j))
			must(t, os.Mkdir(dir, 0o700))
			materialize(t, names, root, dir)
			if err := judge(filepath.Join(dir, "sessions", "ses_01"), acknowledged); err != nil {
				return cases, fmt.Errorf("after %s: %w", s, err)
			}
			must(t, os.RemoveAll(dir))
		}
	}
	return cases, nil
}

// sound reports whether a repository holds what was acknowledged, and whether
// everything it lists can be read.
func sound(dir string, acknowledged []checkpoint.ID) error {
	ctx := context.Background()
	r, err := Open(dir)
	if err != nil {
		return err
	}
	entries, damage, err := r.List(ctx)
	if err != nil || len(damage) > 0 {
		return fmt.Errorf("list: %v, %w", damage, err)
	}
	if lost := missing(acknowledged, entries); len(lost) > 0 {
		return fmt.Errorf("lost %v", lost)
	}
	report, err := r.Verify(ctx, nil, nil)
	if err != nil || len(report.Damage) > 0 {
		return fmt.Errorf("verify: %v, %w", report.Damage, err)
	}
	return nil
}

func TestNoPowerCutLosesACheckpoint(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	steps := record(t, root, func(r *recorder) disk { return r })
	cases, loss := cut(t, root, steps)
	t.Logf("%d steps, %d disks after a cut", len(steps), cases)
	must(t, loss)
}

// The variants below each leave one thing out.

// noFileSync never syncs a file.
type noFileSync struct{ *recorder }

func (d noFileSync) create(name string) (file, error) {
	f, err := d.recorder.create(name)
	return unsynced{f}, err
}

type unsynced struct{ file }

func (unsynced) Sync() error { return nil }

// noDirSync never syncs a directory once they are made.
type noDirSync struct{ *recorder }

func (d noDirSync) syncDir(dir string) error {
	if base := filepath.Base(dir); base == dirPacks || base == dirCheckpoints {
		return nil
	}
	return d.recorder.syncDir(dir)
}

// noParentSync makes directories without syncing the one they are in.
type noParentSync struct{ *recorder }

func (d noParentSync) syncDir(dir string) error {
	if base := filepath.Base(dir); base == "ses_01" || base == "sessions" {
		return nil
	}
	return d.recorder.syncDir(dir)
}

// manifestFirst names packs after the manifest that needs them.
type manifestFirst struct {
	*recorder
	late *[][2]string
}

func (d manifestFirst) rename(from, to string) error {
	if filepath.Base(filepath.Dir(to)) == dirPacks {
		*d.late = append(*d.late, [2]string{from, to})
		return nil
	}
	if err := d.recorder.rename(from, to); err != nil {
		return err
	}
	for _, late := range *d.late {
		if err := d.recorder.rename(late[0], late[1]); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a commit that was refused
			return err
		}
	}
	*d.late = nil
	return d.syncDir(filepath.Join(filepath.Dir(filepath.Dir(to)), dirPacks))
}

// noPackDirSync skips the sync of the packs' directory only.
type noPackDirSync struct{ *recorder }

func (d noPackDirSync) syncDir(dir string) error {
	if filepath.Base(dir) == dirPacks {
		return nil
	}
	return d.recorder.syncDir(dir)
}

func TestAPowerCutFindsEveryMissingStep(t *testing.T) {
	t.Parallel()
	variants := map[string]func(*recorder) disk{
		"no file is synced":                func(r *recorder) disk { return noFileSync{r} },
		"no directory is synced":           func(r *recorder) disk { return noDirSync{r} },
		"no parent directory is synced":    func(r *recorder) disk { return noParentSync{r} },
		"the packs' directory is unsynced": func(r *recorder) disk { return noPackDirSync{r} },
		"the manifest comes first":         func(r *recorder) disk { return manifestFirst{r, new([][2]string)} },
	}
	for name, vary := range variants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			cases, loss := cut(t, root, record(t, root, vary))
			if loss == nil {
				t.Fatalf("%d disks after a cut, and not found", cases)
			}
			t.Logf("found on disk %d, %v", cases, loss)
		})
	}
}
