package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
)

func prune(tb testing.TB, r *Repository, drop ...checkpoint.ID) PruneReport {
	tb.Helper()
	report, err := r.Prune(tb.Context(), drop, PruneOptions{})
	must(tb, err)
	return report
}

// files returns the names below the repository's directory, and what they take.
func files(tb testing.TB, r *Repository) (names []string, size int64) {
	tb.Helper()
	for _, dir := range []string{dirCheckpoints, dirPins, dirPacks, dirQuarantine} {
		entries, err := os.ReadDir(filepath.Join(r.Dir(), dir))
		must(tb, err)
		for _, e := range entries {
			info, err := e.Info()
			must(tb, err)
			names, size = append(names, filepath.Join(dir, e.Name())), size+info.Size()
		}
	}
	return names, size
}

func intact(tb testing.TB, r *Repository, want ...checkpoint.ID) {
	tb.Helper()
	must(tb, sound(r.Dir(), want))
	entries, _, err := r.List(tb.Context())
	must(tb, err)
	if len(entries) != len(want) {
		tb.Fatalf("%d checkpoints are there, want %d", len(entries), len(want))
	}
}

func TestPruneDeletesWhatNoOtherNeeds(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	shared := noise(0, 20*checkpoint.ChunkSize)
	first := save(t, r, 1, append(slices.Clone(shared), noise(1, 20*checkpoint.ChunkSize)...))
	second := save(t, r, 2, append(slices.Clone(shared), noise(2, 20*checkpoint.ChunkSize)...))
	third := save(t, r, 3, append(slices.Clone(shared), noise(3, 20*checkpoint.ChunkSize)...))
	must(t, r.Pin(t.Context(), second.ID))
	before, size := files(t, r)

	dry, err := r.Prune(t.Context(), []checkpoint.ID{second.ID}, PruneOptions{DryRun: true})
	must(t, err)
	if names, _ := files(t, r); !slices.Equal(names, before) {
		t.Errorf("a dry run changed %v to %v", before, names)
	}
	got := prune(t, r, second.ID, checkpoint.NewID(second.Created))
	if !slices.Equal(got.Deleted, dry.Deleted) || got.Packs != 1 || got.Kept != 2 || got.FreedBytes != dry.FreedBytes {
		t.Errorf("it deleted %+v, the dry run said %+v", got, dry)
	}
	names, left := files(t, r)
	if size-left != got.FreedBytes || len(names) != len(before)-3 { // manifest, pin, pack
		t.Errorf("%d bytes are gone, it says %d; left are %v", size-left, got.FreedBytes, names)
	}
	intact(t, r, first.ID, third.ID)
	if again := prune(t, r); again.Packs+again.Repacked+len(again.Deleted) > 0 || again.FreedBytes != 0 {
		t.Errorf("there was something left to do: %+v", again)
	}
	// And what was deleted can be stored again: nothing relies on what is gone.
	second.ID = checkpoint.NewID(second.Created)
	intact(t, r, first.ID, third.ID, save(t, r, 4, append(slices.Clone(shared), noise(2, 20*checkpoint.ChunkSize)...)).ID)
}

func TestPruneWritesPacksAnewOfWhichLittleIsNeeded(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	big := noise(0, 100*checkpoint.ChunkSize)
	first := save(t, r, 1, big)
	second := save(t, r, 2, append(slices.Clone(big[:20*checkpoint.ChunkSize]), text(1, 100_000)...))
	reader, err := Open(r.Dir())
	must(t, err)
	c := second.Components.Files.Files[0].Content
	want := read(t, reader, c) // it knows the old packs now
	reader.cache = newCache(0)

	_, size := files(t, r)
	report := prune(t, r, first.ID)
	_, left := files(t, r)
	if report.Repacked == 0 || size-left != report.FreedBytes || report.FreedBytes < 75*checkpoint.ChunkSize {
		t.Errorf("%d bytes are gone, it says %+v", size-left, report)
	}
	intact(t, r, second.ID)
	if !bytes.Equal(read(t, reader, c), want) {
		t.Error("a reader that knew the old pack reads something else")
	}
	if again := prune(t, r); again.Packs > 0 {
		t.Errorf("it writes anew what it has just written: %+v", again)
	}
	// The next commit knows where things are now.
	tx := begin(t, r)
	put(t, tx, want)
	if n := tx.NewBytes(); n > 0 {
		t.Errorf("%d bytes are stored once more", n)
	}
}

// TestPruneReadsNoContent damages all content, not the recipes: a prune that
// writes nothing anew does not see it.
func TestPruneReadsNoContent(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	a, b := save(t, r, 1, noise(1, 40*checkpoint.ChunkSize)), save(t, r, 2, noise(2, 40*checkpoint.ChunkSize))
	for name := range r.index.packs {
		frames, err := readTable(filepath.Join(r.index.dir, name))
		must(t, err)
		if len(frames) != 2 { // content, recipe
			t.Fatalf("%d frames", len(frames))
		}
		flip(t, filepath.Join(r.index.dir, name), frames[0].offset+int64(frames[0].packed)/2)
	}
	fresh, err := Open(r.Dir())
	must(t, err)
	report := prune(t, fresh, a.ID)
	if report.Packs != 1 || len(report.Blocked)+len(report.Damaged) > 0 {
		t.Errorf("got %+v", report)
	}
	if _, err := os.Stat(filepath.Join(r.Dir(), manifestName(b.ID))); err != nil {
		t.Error(err)
	}
}

func flip(tb testing.TB, path string, at int64) {
	tb.Helper()
	b, err := os.ReadFile(path)
	must(tb, err)
	b[at] ^= 1
	must(tb, os.WriteFile(path, b, 0o600))
}

// TestNothingIsSweptThatIsNotUnderstood: while one checkpoint cannot be read in
// full, no pack is deleted; a pack that cannot be read never is.
func TestNothingIsSweptThatIsNotUnderstood(t *testing.T) {
	t.Parallel()
	recipes := func(t *testing.T, r *Repository, m *checkpoint.Manifest) {
		t.Helper()
		p, ok := r.index.find(m.Components.Files.Files[0].Recipe.SHA256)
		if !ok {
			t.Fatal("no recipe")
		}
		flip(t, p.frame.pack.path, p.frame.offset+int64(p.frame.packed)/2)
	}
	for name, spoil := range map[string]func(*testing.T, *Repository, *checkpoint.Manifest){
		"a damaged manifest": func(t *testing.T, r *Repository, m *checkpoint.Manifest) {
			flip(t, filepath.Join(r.Dir(), manifestName(m.ID)), 100)
		},
		"a manifest with a name of another kind": func(t *testing.T, r *Repository, _ *checkpoint.Manifest) {
			must(t, os.WriteFile(filepath.Join(r.Dir(), dirCheckpoints, "7f"+manifestSuffix), nil, 0o600))
		},
		"a component of a newer version": func(t *testing.T, r *Repository, m *checkpoint.Manifest) { rewrite(t, r, m, "files") },
		"a component of a newer kind":    func(t *testing.T, r *Repository, m *checkpoint.Manifest) { rewrite(t, r, m, "tabs") },
		"a damaged recipe":               recipes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openTemp(t)
			a, b := save(t, r, 1, noise(1, 40*checkpoint.ChunkSize)), save(t, r, 2, noise(2, 40*checkpoint.ChunkSize))
			spoil(t, r, b)
			fresh, err := Open(r.Dir())
			must(t, err)
			report := prune(t, fresh, a.ID)
			if len(report.Blocked) != 1 || report.Packs > 0 {
				t.Errorf("got %+v", report)
			}
			if packs, _ := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*")); len(packs) != 2 {
				t.Errorf("%d packs are left", len(packs))
			}
		})
	}
	t.Run("a pack whose table is damaged", func(t *testing.T) {
		t.Parallel()
		r := openTemp(t)
		a := save(t, r, 1, noise(1, 40*checkpoint.ChunkSize))
		packs, _ := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*"))
		info, err := os.Stat(packs[0])
		must(t, err)
		flip(t, packs[0], info.Size()-int64(trailerLen)-10)
		must(t, os.WriteFile(filepath.Join(r.Dir(), dirPacks, "notes.txt"), nil, 0o600))
		fresh, err := Open(r.Dir())
		must(t, err)
		prune(t, fresh, a.ID)
		if packs, _ := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*")); len(packs) != 2 {
			t.Errorf("left are %v", packs)
		}
	})
}

// rewrite gives a checkpoint a component that this program does not know.
func rewrite(t *testing.T, r *Repository, m *checkpoint.Manifest, component string) {
	t.Helper()
	plain, err := checkpoint.Encode(m)
	must(t, err)
	var all map[string]any
	must(t, json.Unmarshal(plain, &all))
	all["components"].(map[string]any)[component] = map[string]any{"v": 2, "state": "ok"}
	plain, err = json.Marshal(all)
	must(t, err)
	sealed, err := seal(plain)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(r.Dir(), manifestName(m.ID)), sealed, 0o600))
}

// TestADamagedPackIsNotWrittenAnew: what can be read of it can be read still.
func TestADamagedPackIsNotWrittenAnew(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	big := noise(0, 300*checkpoint.ChunkSize)
	first := save(t, r, 1, big)
	save(t, r, 2, append(slices.Clone(big[:20*checkpoint.ChunkSize]), noise(2, 100_000)...))
	p, ok := r.index.find(checkpoint.Sum(big[:checkpoint.ChunkSize]))
	if !ok {
		t.Fatal("no chunk")
	}
	flip(t, p.frame.pack.path, p.frame.offset+100)
	fresh, err := Open(r.Dir())
	must(t, err)
	report := prune(t, fresh, first.ID)
	if len(report.Damaged) != 1 || report.Repacked > 0 {
		t.Errorf("got %+v", report)
	}
	if _, err := os.Stat(p.frame.pack.path); err != nil {
		t.Error(err)
	}
}

func TestAFencedOwnerDeletesNothing(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	m := save(t, r, 1, noise(1, 1000))
	_, err := r.Prune(t.Context(), []checkpoint.ID{m.ID}, PruneOptions{Guard: func() error { return checkpoint.ErrFenced }})
	if !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("got %v", err)
	}
	intact(t, r, m.ID)
}

// TestTheCheckFindsASweepThatIgnoresAManifest: such a one, made by hiding it
// from a real one, fails the check that the tests around here rely on.
func TestTheCheckFindsASweepThatIgnoresAManifest(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	a, b := save(t, r, 1, noise(1, 10_000)), save(t, r, 2, noise(2, 10_000))
	name := filepath.Join(r.Dir(), manifestName(a.ID))
	must(t, os.Rename(name, name+".hidden"))
	prune(t, r)
	must(t, os.Rename(name+".hidden", name))
	if err := sound(r.Dir(), []checkpoint.ID{a.ID, b.ID}); !errors.Is(err, checkpoint.ErrDamaged) && !strings.Contains(fmt.Sprint(err), "damaged") {
		t.Fatalf("not found: %v", err)
	}
}

// lazy is a disk that syncs nothing, for tests that cut no power.
type lazy struct{ system }

func (d lazy) create(name string) (file, error) {
	f, err := d.system.create(name)
	return unsynced{f}, err
}

func (lazy) syncDir(string) error { return nil }

// TestWhateverIsDeletedTheRestIsWhole commits checkpoints that share parts, in
// files and lists of files, and deletes them in any order.
func TestWhateverIsDeletedTheRestIsWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		r, err := open(filepath.Join(t.TempDir(), "sessions", "ses_01"), lazy{})
		must(t, err)
		parts := make([][]byte, 40)
		for i := range parts {
			parts[i] = noise(uint64(i), 1000)
		}
		kept := map[checkpoint.ID][]byte{}
		for seq := range uint64(rapid.IntRange(1, 5).Draw(rt, "n")) {
			var b []byte
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(parts)-1), 1, 12).Draw(rt, "parts") {
				b = append(b, parts[i]...)
			}
			tx := begin(t, r)
			c, err := tx.Put(t.Context(), bytes.NewReader(b), 1000)
			must(t, err)
			m := manifest(seq+1, fileOf("data", c))
			if rapid.Bool().Draw(rt, "list") {
				l, err := tx.PutList(t.Context(), []Keyed{{"a", m.Components.Files.Files[0]}})
				must(t, err)
				m.Components.Files.FileSet = checkpoint.FileSet{FileList: &l}
			}
			_, err = tx.Commit(t.Context(), m, nil)
			must(t, err)
			kept[m.ID] = b
			if rapid.Bool().Draw(rt, "prune") {
				pruneSome(rt, t, r, kept)
			}
			if rapid.IntRange(0, 3).Draw(rt, "reopen") == 0 {
				r, err = open(r.Dir(), lazy{})
				must(t, err)
			}
		}
		for id, want := range kept {
			m, _, err := r.Load(t.Context(), id)
			must(t, err)
			list, err := r.Files(t.Context(), &m.Components.Files.FileSet)
			must(t, err)
			if !bytes.Equal(read(t, r, list[0].Content), want) {
				rt.Fatalf("%s reads differently", id)
			}
		}
	})
}

// pruneSome deletes some of kept.
func pruneSome(rt *rapid.T, t *testing.T, r *Repository, kept map[checkpoint.ID][]byte) {
	t.Helper()
	var drop []checkpoint.ID
	for _, id := range slices.Sorted(maps.Keys(kept)) {
		if rapid.Bool().Draw(rt, "drop") {
			drop = append(drop, id)
			delete(kept, id)
		}
	}
	if report := prune(t, r, drop...); len(report.Blocked)+len(report.Damaged) > 0 || report.Kept != len(kept) {
		rt.Fatalf("got %+v", report)
	}
}
