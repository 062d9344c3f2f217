package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/capture"
)

// The rule of carrying, played against a model: a world of four files changes
// at random, a checkpoint is taken after each change, and judge says whether
// it is what must come of it.

// version of a file in the world: absent, broken (there, and not to be had), or
// one of some contents.
type version int

const (
	absent version = 0
	broken version = -1
)

// world is what there is. Files are known by logical path.
type world struct {
	files map[string]version
	// unreadable: the directory of the conversations cannot be read.
	unreadable bool
}

var worldFiles = []string{workspaceDB, threadsDB, conversation, project + "b.jsonl"}

func componentOf(logical string) string {
	if logical == workspaceDB || logical == threadsDB {
		return checkpoint.NameZed
	}
	return checkpoint.NameConversations
}

// contents of the databases by version, small ones: what else is in a database
// of Zed's does not matter here.
type contents map[string][]byte

func newContents(t *testing.T) contents {
	t.Helper()
	c := contents{}
	for v := version(1); v <= 3; v++ {
		for logical, sql := range map[string]string{
			workspaceDB: "CREATE TABLE kv_store(key, value); INSERT INTO kv_store VALUES ('version', %d)",
			threadsDB:   "CREATE TABLE threads(id TEXT PRIMARY KEY, summary); INSERT INTO threads VALUES ('thread', %d)",
		} {
			path := filepath.Join(t.TempDir(), "db")
			sqlite3(t, path, fmt.Sprintf(sql, v))
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c[fmt.Sprint(logical, v)] = b
		}
	}
	return c
}

// of returns what stands in a file, and what of it is to be stored: a torn last
// line is not.
func (c contents) of(logical string, v version) (live, stored []byte) {
	if b, ok := c[fmt.Sprint(logical, v)]; ok {
		return b, b
	}
	stored = bytes.Repeat([]byte("{}\n"), int(v))
	if v == 3 {
		return append(slices.Clone(stored), "{\"torn\":"...), stored
	}
	return stored, stored
}

// apply makes the session look like the world.
func (w world) apply(s *site, c contents) {
	s.t.Helper()
	projects := s.path("$HOME/.claude/projects")
	s.must(os.RemoveAll(projects))
	for _, logical := range worldFiles {
		switch v := w.files[logical]; {
		case w.unreadable && componentOf(logical) == checkpoint.NameConversations:
		case v == absent:
			s.remove(logical)
		case v == broken:
			s.plant(logical, []byte("neither a database nor a line"))
		default:
			live, _ := c.of(logical, v)
			s.plant(logical, live)
		}
	}
	if w.unreadable {
		s.plant("$HOME/.claude/projects", []byte("a file where a directory should be"))
	}
}

// record is what the model knows of a file in a checkpoint.
type record struct {
	state  checkpoint.State
	stored checkpoint.Hash // of what it holds; zero when failed
	// Where and when it was captured.
	from checkpoint.ID
	asOf time.Time
}

// model holds the files of the latest checkpoint.
type model map[string]record

// expect says what a capture of w on top of m must give. Who captured it and
// when is left open where it was captured now.
func (m model) expect(w world, c contents) model {
	next := model{}
	for _, logical := range worldFiles {
		v, zed := w.files[logical], componentOf(logical) == checkpoint.NameZed
		unread := !zed && w.unreadable
		fresh := v > 0 && !unread
		// A conversation of one torn line is all torn; a broken database is one.
		if !zed && v == broken && !unread {
			next[logical] = record{state: checkpoint.Partial, stored: checkpoint.Sum(nil)}
			continue
		}
		gone := v == absent && !unread
		if zed && w.files[workspaceDB] == absent && w.files[threadsDB] == absent {
			gone = false // an editor deletes neither
		}
		before, had := m[logical]
		switch {
		case fresh:
			live, stored := c.of(logical, v)
			next[logical] = record{state: checkpoint.OK, stored: checkpoint.Sum(stored)}
			if len(live) != len(stored) {
				next[logical] = record{state: checkpoint.Partial, stored: checkpoint.Sum(stored)}
			}
		case gone:
		case had && before.state.Usable():
			before.state = checkpoint.Carried
			next[logical] = before
		case zed && v == broken:
			next[logical] = record{state: checkpoint.Failed}
		}
	}
	return next
}

// change is what Compare must say of next on top of m; nil is no checkpoint yet.
func (m model) change(next model, unreadBefore, unreadNow bool) capture.Change {
	if m == nil || len(m) != len(next) {
		return capture.New
	}
	worse, better := unreadNow, unreadBefore && !unreadNow
	for logical, n := range next {
		b, ok := m[logical]
		if !ok || b.stored != n.stored {
			return capture.New
		}
		switch n.state {
		case checkpoint.Carried, checkpoint.Failed:
			worse = true
		case b.state:
		default:
			better = true
		}
	}
	switch {
	case better:
		return capture.New
	case worse:
		return capture.Worse
	}
	return capture.None
}

// judge compares a capture with what is expected of it.
func judge(want model, got capture.Captured) error {
	var errs []error
	seen := map[string]bool{}
	for component, files := range got.Files {
		for _, f := range files {
			name := f.Name()
			seen[name] = true
			w, ok := want[name]
			switch {
			case !ok || component != componentOf(name):
				errs = append(errs, fmt.Errorf("%s is in %s", name, component))
			case f.State != w.state || f.SHA256 != w.stored:
				errs = append(errs, fmt.Errorf("%s is %s with %s, want %s with %s", name, f.State, f.SHA256, w.state, w.stored))
			case f.State != checkpoint.Carried && f.From != "":
				errs = append(errs, fmt.Errorf("%s is %s from %s", name, f.State, f.From))
			case f.State == checkpoint.Carried && (f.From != w.from || f.AsOf == nil || !f.AsOf.Equal(w.asOf)):
				errs = append(errs, fmt.Errorf("%s is carried from %s as of %v, captured by %s as of %v", name, f.From, f.AsOf, w.from, w.asOf))
			}
		}
	}
	for name, w := range want {
		if !seen[name] {
			errs = append(errs, fmt.Errorf("%s is lost; it was to be %s", name, w.state))
		}
	}
	return errors.Join(errs...)
}

// variant is the product, or a broken one that judge must find out.
type variant struct {
	name    string
	spoil   func(prev *capture.Previous, got *capture.Captured)
	compare func(*capture.Previous, capture.Captured) capture.Change
}

func product() variant {
	return variant{name: "as it is", spoil: func(*capture.Previous, *capture.Captured) {}, compare: capture.Compare}
}

// play takes a checkpoint of one world after the other. The error is the first
// thing that is not as it must be.
func play(t *testing.T, c contents, worlds []world, v variant) error {
	s := newEmptySite(t)
	var m model // nil until there is a checkpoint
	unreadBefore := false
	for i, w := range worlds {
		w.apply(s, c)
		tx, err := s.repo.Begin(t.Context())
		if err != nil {
			return err
		}
		defer tx.Abort()
		start := time.Now().UTC().Truncate(time.Millisecond)
		got, err := s.capturer.Capture(t.Context(), s.source(), s.prev, tx)
		if err != nil {
			return fmt.Errorf("world %d: %w", i, err)
		}
		v.spoil(s.prev, &got)
		want := m.expect(w, c)
		if err := judge(want, got); err != nil {
			return fmt.Errorf("world %d: %w", i, err)
		}
		change, wantChange := v.compare(s.prev, got), m.change(want, unreadBefore, w.unreadable)
		if change != wantChange {
			return fmt.Errorf("world %d: change %d, want %d (0 none, 1 worse, 2 new)", i, change, wantChange)
		}
		if change == capture.New {
			id, err := s.commit(tx, start, got)
			if err != nil {
				return fmt.Errorf("world %d: %w", i, err)
			}
			m, unreadBefore = want.captured(id, &got.Components), w.unreadable
			for name, r := range m {
				if r.state.Usable() && r.asOf.After(time.Now()) {
					return fmt.Errorf("world %d: %s is as of %v, which is to come", i, name, r.asOf)
				}
			}
		}
		tx.Abort()
	}
	return nil
}

// captured notes the checkpoint that captured what was not carried.
func (m model) captured(id checkpoint.ID, c *checkpoint.Components) model {
	for name, r := range m {
		if r.state == checkpoint.OK || r.state == checkpoint.Partial {
			r.from, r.asOf = id, *c.Head(componentOf(name)).AsOf
			m[name] = r
		}
	}
	return m
}

func TestCarriedNotLost(t *testing.T) {
	t.Parallel()
	c := newContents(t)
	versions := rapid.SampledFrom([]version{absent, broken, 1, 2, 3})
	rapid.Check(t, func(rt *rapid.T) {
		worlds := make([]world, rapid.IntRange(2, 8).Draw(rt, "worlds"))
		files := map[string]version{}
		for i := range worlds {
			// Most of the world stays as it was.
			for range rapid.IntRange(0, 2).Draw(rt, "changes") {
				files[rapid.SampledFrom(worldFiles).Draw(rt, "file")] = versions.Draw(rt, "version")
			}
			w := world{files: map[string]version{}, unreadable: rapid.IntRange(0, 3).Draw(rt, "unreadable") == 0}
			for name, v := range files {
				w.files[name] = v
			}
			worlds[i] = w
		}
		if err := play(t, c, worlds, product()); err != nil {
			rt.Fatalf("%v\nworlds %+v", err, worlds)
		}
	})
}

// A judge is worth what it finds: each broken variant must be found out in a
// history in which the product is not.
func TestTheJudgeFindsBrokenVariants(t *testing.T) {
	t.Parallel()
	c := newContents(t)
	history := []world{
		{files: map[string]version{workspaceDB: 1, threadsDB: 1, conversation: 1}},
		{files: map[string]version{workspaceDB: 1, threadsDB: broken, conversation: 1}},
		{files: map[string]version{workspaceDB: 2, threadsDB: broken, conversation: 1}},
		{files: map[string]version{workspaceDB: 3, threadsDB: broken, conversation: 1}, unreadable: true},
		{files: map[string]version{workspaceDB: 3, conversation: 3}},
		{files: map[string]version{}},
	}
	each := func(spoil func(prev *capture.Previous, f *checkpoint.File)) func(*capture.Previous, *capture.Captured) {
		return func(prev *capture.Previous, got *capture.Captured) {
			for _, files := range got.Files {
				for i := range files {
					if files[i].State == checkpoint.Carried {
						spoil(prev, &files[i])
					}
				}
			}
		}
	}
	drop := func(dropped func(f checkpoint.File) bool) func(*capture.Previous, *capture.Captured) {
		return func(_ *capture.Previous, got *capture.Captured) {
			for component, files := range got.Files {
				got.Files[component] = slices.DeleteFunc(slices.Clone(files), dropped)
			}
		}
	}
	for _, broken := range []variant{
		{name: "what is busy is dropped", spoil: drop(func(f checkpoint.File) bool { return f.State == checkpoint.Carried })},
		{name: "a busy file takes the fresh one with it", spoil: func(prev *capture.Previous, got *capture.Captured) {
			if got.Components.Head(checkpoint.NameZed).State == checkpoint.Partial {
				got.Files[checkpoint.NameZed] = prev.Files[checkpoint.NameZed]
			}
		}},
		{name: "from is the checkpoint before", spoil: each(func(prev *capture.Previous, f *checkpoint.File) { f.From = prev.Manifest.ID })},
		{name: "as of now", spoil: each(func(_ *capture.Previous, f *checkpoint.File) { now := time.Now(); f.AsOf = &now })},
		{name: "carried and not said", spoil: each(func(_ *capture.Previous, f *checkpoint.File) { f.State = checkpoint.OK })},
		{name: "what is gone stays", spoil: func(prev *capture.Previous, got *capture.Captured) {
			if prev != nil && len(got.Files[checkpoint.NameZed]) < len(prev.Files[checkpoint.NameZed]) {
				got.Files[checkpoint.NameZed] = prev.Files[checkpoint.NameZed]
			}
		}},
		{name: "compares no states", compare: func(prev *capture.Previous, got capture.Captured) capture.Change {
			if change := capture.Compare(prev, got); change != capture.Worse {
				return change
			}
			return capture.None
		}},
		{name: "commits what is worse", compare: func(prev *capture.Previous, got capture.Captured) capture.Change {
			if change := capture.Compare(prev, got); change != capture.Worse {
				return change
			}
			return capture.New
		}},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			v := product()
			if broken.spoil != nil {
				v.spoil = broken.spoil
			}
			if broken.compare != nil {
				v.compare = broken.compare
			}
			err := play(t, c, history, v)
			if err == nil {
				t.Error("not found out")
			}
			t.Log(err)
		})
	}
	if err := play(t, c, history, product()); err != nil {
		t.Error(err)
	}
}
