package repository

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// openQuick is a repository for what is not about crashes.
func openQuick(tb testing.TB) *Repository {
	tb.Helper()
	r, err := open(filepath.Join(tb.TempDir(), "sessions", "ses_01"), quick{})
	must(tb, err)
	return r
}

// cold is a repository as it is without its index.
func cold(tb testing.TB, r *Repository) *Repository {
	tb.Helper()
	c := reopen(tb, r)
	none := filepath.Join(tb.TempDir(), "none")
	c.index.file.path, c.entries.file.path, c.hints.file.path = none, none, none
	return c
}

func indexFiles(tb testing.TB, r *Repository) []string {
	tb.Helper()
	names, err := filepath.Glob(filepath.Join(r.Dir(), dirIndex, "*"))
	must(tb, err)
	return slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Lstat(name)
		return err != nil || !info.Mode().IsRegular()
	})
}

// saveSome commits checkpoints that share some content and have some of their own.
func saveSome(tb testing.TB, r *Repository, from, n uint64) {
	tb.Helper()
	shared := noise(0, 100*smallChunk)
	for seq := from; seq < from+n; seq++ {
		saveHinted(tb, r, seq, append(bytes.Clone(shared), noise(seq, 50*smallChunk)...))
	}
}

func TestTheIndexSavesReading(t *testing.T) {
	t.Parallel()
	r := openQuick(t)
	saveSome(t, r, 1, 5)
	want, _, err := cold(t, r).List(t.Context())
	must(t, err)

	// Without the packs' tables and the manifests, what is known of them stays.
	for _, name := range append(globbed(t, r, dirPacks), globbed(t, r, dirCheckpoints)...) {
		info, err := os.Stat(name)
		must(t, err)
		must(t, os.WriteFile(name, make([]byte, info.Size()), 0o600))
		must(t, os.Chtimes(name, time.Time{}, info.ModTime()))
	}
	warm := reopen(t, r)
	got, damage, err := warm.List(t.Context())
	must(t, err)
	if !reflect.DeepEqual(got, want) || len(damage) > 0 {
		t.Errorf("listed\n%+v, %v, want\n%+v", got, damage, want)
	}
	if !warm.Has(checkpoint.Sum(noise(0, smallChunk))) {
		t.Error("the tables were read")
	}
	// But nothing that is read is taken for good.
	for _, e := range got {
		if _, _, err := warm.Load(t.Context(), e.ID); !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("Load: %v", err)
		}
	}
	report, err := warm.Verify(t.Context(), nil, nil)
	must(t, err)
	if n := len(report.Damage); n < 10 {
		t.Errorf("%d of 10 damaged files are found: %v", n, report.Damage)
	}
	tx := begin(t, warm)
	put(t, tx, noise(0, smallChunk))
	if tx.NewBytes() == 0 {
		t.Error("a chunk in a damaged pack counts as stored")
	}
}

func globbed(tb testing.TB, r *Repository, dir string) []string {
	tb.Helper()
	names, err := filepath.Glob(filepath.Join(r.Dir(), dir, "*.zst"))
	must(tb, err)
	return names
}

func TestAChangedManifestIsListedAsItIs(t *testing.T) {
	t.Parallel()
	r := openQuick(t)
	saveSome(t, r, 1, 2)
	name := globbed(t, r, dirCheckpoints)[0]
	flip(t, name, 20)
	entries, damage, err := reopen(t, r).List(t.Context())
	must(t, err)
	if len(entries) != 1 || len(damage) != 1 {
		t.Errorf("listed %v, damaged %v", entries, damage)
	}
}

func TestReadersWriteNoIndex(t *testing.T) {
	t.Parallel()
	r := openQuick(t)
	saveSome(t, r, 1, 2)
	must(t, os.RemoveAll(filepath.Join(r.Dir(), dirIndex)))
	again := reopen(t, r)
	entries, _, err := again.List(t.Context())
	must(t, err)
	if len(entries) != 2 || !again.Has(checkpoint.Sum(noise(0, smallChunk))) {
		t.Errorf("listed %v", entries)
	}
	if names := indexFiles(t, r); len(names) > 0 {
		t.Errorf("wrote %v", names)
	}
	// The next commit does, all of it.
	saveSome(t, again, 3, 1)
	warm := reopen(t, r)
	warm.entries.get("", stamp{})
	if n := len(warm.entries.known); n != 3 {
		t.Errorf("%d of 3 checkpoints in the index", n)
	}
	must(t, warm.index.scan(t.Context()))
	for name, k := range warm.index.packs {
		if !k.saved {
			t.Errorf("pack %s is not in the index", name)
		}
	}
}

// TestTheIndexFollowsTheRepository: what was deleted does not pile up.
func TestTheIndexFollowsTheRepository(t *testing.T) {
	t.Parallel()
	r := openQuick(t)
	size := func() (n int64) {
		for _, name := range indexFiles(t, r) {
			info, err := os.Stat(name)
			must(t, err)
			n += info.Size()
		}
		return n
	}
	for seq := range uint64(300) {
		saveHinted(t, r, seq+1, noise(seq, 60*smallChunk))
		entries, _, err := r.List(t.Context())
		must(t, err)
		if len(entries) > 3 {
			_, err := r.Prune(t.Context(), []checkpoint.ID{entries[3].ID}, PruneOptions{})
			must(t, err)
		}
	}
	if n := size(); n > 3*(cacheSlack+2*4*60*100) {
		t.Errorf("%d bytes of index for 3 checkpoints", n)
	}
}

// TestALostOrSpoiltIndexCostsTimeOnly does to index/ whatever may happen to it;
// what the repository says stays what it says without one.
func TestALostOrSpoiltIndexCostsTimeOnly(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, remove := scratch(root)
		defer remove()
		r, err := open(filepath.Join(dir, "sessions", "ses_01"), quick{})
		must(t, err)
		seq := uint64(1)
		old := map[string][]byte{}
		saveSome(t, r, seq, 2)
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(*rapid.T) {
				seq += 2
				saveSome(t, r, seq, 1)
			},
			"prune": func(rt *rapid.T) {
				entries, _, err := r.List(t.Context())
				must(t, err)
				if len(entries) > 1 {
					_, err = r.Prune(t.Context(), []checkpoint.ID{rapid.SampledFrom(entries).Draw(rt, "entry").ID}, PruneOptions{})
					must(t, err)
				}
			},
			"reopen": func(*rapid.T) { r = reopen(t, r); r.disk = quick{} },
			"delete": func(*rapid.T) { must(t, os.RemoveAll(filepath.Join(r.Dir(), dirIndex))) },
			"keep": func(*rapid.T) {
				for _, name := range indexFiles(t, r) {
					if old[name], err = os.ReadFile(name); err != nil {
						t.Fatal(err)
					}
				}
			},
			"bring back": func(rt *rapid.T) {
				must(t, os.MkdirAll(filepath.Join(r.Dir(), dirIndex), 0o700))
				for _, name := range slices.Sorted(maps.Keys(old)) {
					if rapid.Bool().Draw(rt, filepath.Base(name)) {
						must(t, os.RemoveAll(name))
						must(t, os.WriteFile(name, old[name], 0o600))
					}
				}
			},
			"spoil": func(rt *rapid.T) {
				for _, name := range indexFiles(t, r) {
					b, err := os.ReadFile(name)
					must(t, err)
					must(t, os.WriteFile(name, spoil(rt, b), 0o600))
				}
			},
			"exchange": func(*rapid.T) {
				if names := indexFiles(t, r); len(names) > 1 {
					must(t, os.Rename(names[0], names[len(names)-1]))
				}
			},
			"a directory in its place": func(*rapid.T) {
				for _, name := range indexFiles(t, r) {
					must(t, os.Remove(name))
					must(t, os.Mkdir(name, 0o700))
				}
			},
			"look": func(rt *rapid.T) {
				for _, r := range []*Repository{r, reopen(t, r)} {
					if err := sameAs(t, r, cold(t, r)); err != nil {
						rt.Fatal(err)
					}
				}
			},
		})
	})
}

// sameAs compares what two repositories of one directory say.
func sameAs(t *testing.T, a, b *Repository) error {
	t.Helper()
	list, damage, err := a.List(t.Context())
	must(t, err)
	want, _, err := b.List(t.Context())
	must(t, err)
	if !reflect.DeepEqual(list, want) || len(damage) > 0 {
		return fmt.Errorf("listed %v, %v, want %v", list, damage, want)
	}
	report, err := a.Verify(t.Context(), nil, nil)
	must(t, err)
	if len(report.Damage) > 0 || report.Checkpoints != len(want) {
		return fmt.Errorf("verify of %d: %+v", len(want), report)
	}
	return nil
}
