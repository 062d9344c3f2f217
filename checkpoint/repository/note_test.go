package repository

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// again opens the repository as another process does.
func again(tb testing.TB, r *Repository) *Repository {
	tb.Helper()
	o, err := Open(r.Dir())
	must(tb, err)
	return o
}

func TestNotes(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	if note := r.Note("x"); note != nil {
		t.Errorf("of nothing: %q", note)
	}
	save(t, r, 1, noise(1, 1e5))
	r.SaveNote("x", []byte("first"))
	r.SaveNote("y", nil)
	if note := again(t, r).Note("x"); string(note) != "first" {
		t.Errorf("%q", note)
	}

	// The same again writes nothing, by whoever knows that it is there.
	path := filepath.Join(r.Dir(), dirIndex, "x")
	before, err := os.Stat(path)
	must(t, err)
	r.SaveNote("x", []byte("first"))
	o := again(t, r)
	o.Note("x")
	o.SaveNote("x", []byte("first"))
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("written again: %v", err)
	}
	r.SaveNote("x", []byte("second"))
	if note := again(t, r).Note("x"); string(note) != "second" {
		t.Errorf("%q", note)
	}
}

// A note that is damaged anywhere, or gone, is none; nobody ever reads another.
func TestDamagedNotesAreNone(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	save(t, r, 1, noise(1, 1e4))
	want := []byte("what is known")
	r.SaveNote("x", want)
	path := filepath.Join(r.Dir(), dirIndex, "x")
	b, err := os.ReadFile(path)
	must(t, err)
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		must(t, os.WriteFile(path, bad, 0o600))
		if note := again(t, r).Note("x"); note != nil {
			t.Errorf("byte %d flipped: %q", i, note)
		}
		must(t, os.WriteFile(path, b[:i], 0o600))
		if note := again(t, r).Note("x"); note != nil {
			t.Errorf("cut at %d: %q", i, note)
		}
	}
	// And it is written anew.
	o := again(t, r)
	o.SaveNote("x", want)
	if note := again(t, r).Note("x"); !bytes.Equal(note, want) {
		t.Errorf("%q", note)
	}
	must(t, os.RemoveAll(filepath.Join(r.Dir(), dirIndex)))
	if note := again(t, r).Note("x"); note != nil {
		t.Errorf("gone: %q", note)
	}
}

// A note says what is stored: whatever happened to a pack since, it is not
// believed.
func TestNotesAreOfThesePacks(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *Repository, pack string) error{
		"added":   func(r *Repository, _ string) error { save(t, r, 2, noise(2, 1e4)); return nil },
		"deleted": func(_ *Repository, pack string) error { return os.Remove(pack) },
		"cut":     func(_ *Repository, pack string) error { return os.Truncate(pack, 100) },
		"replaced": func(_ *Repository, pack string) error {
			return os.Rename(pack, filepath.Join(filepath.Dir(pack), "0"+filepath.Base(pack)[1:]))
		},
		"written": func(_ *Repository, pack string) error {
			b, err := os.ReadFile(pack)
			must(t, err)
			b[50] ^= 1
			return os.WriteFile(pack, b, 0o600)
		},
	} {
		r := openTemp(t)
		save(t, r, 1, noise(1, 1e4))
		packs, err := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*"))
		must(t, err)
		old := time.Now().Add(-time.Hour)
		must(t, os.Chtimes(packs[0], old, old))
		r.SaveNote("x", []byte("known"))
		if r.Note("x") == nil {
			t.Fatal("not saved")
		}
		// What is being written is no pack yet.
		must(t, os.WriteFile(tempName(filepath.Join(r.Dir(), dirPacks)), nil, 0o600))
		if r.Note("x") == nil {
			t.Error("not believed while a pack is being written")
		}
		must(t, change(r, packs[0]))
		if note := again(t, r).Note("x"); note != nil {
			t.Errorf("%s: still believed", name)
		}
	}
}
