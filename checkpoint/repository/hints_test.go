package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// smallChunk makes short content out of many chunks.
const smallChunk = 64

func putHinted(tb testing.TB, tx *Tx, b []byte) checkpoint.Content {
	tb.Helper()
	c, err := tx.PutHinted(tb.Context(), "data", bytes.NewReader(b), smallChunk)
	must(tb, err)
	return c
}

// saveHinted commits a checkpoint of one file, put with hints.
func saveHinted(tb testing.TB, r *Repository, seq uint64, b []byte) checkpoint.Content {
	tb.Helper()
	tx := begin(tb, r)
	c := putHinted(tb, tx, b)
	_, err := tx.Commit(tb.Context(), manifest(seq, fileOf("data", c)), nil)
	must(tb, err)
	return c
}

func reopen(tb testing.TB, r *Repository) *Repository {
	tb.Helper()
	r, err := Open(r.Dir())
	must(tb, err)
	return r
}

// counted makes r count how many chunks are relied upon by their hint.
func counted(r *Repository) *int {
	n := new(int)
	r.hints.stored = func(t *Tx, id checkpoint.Hash) bool {
		*n++
		return t.holds(id)
	}
	return n
}

func TestHintsSpareWhatDidNotChange(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := noise(1, 100*smallChunk)
	first := saveHinted(t, r, 1, b)
	if first.SHA256 != checkpoint.Sum(b) {
		t.Error("the first time everything is hashed, and the whole with it")
	}
	for name, again := range map[string]*Repository{"in the same process": r, "in the next one": reopen(t, r)} {
		t.Run(name, func(t *testing.T) {
			spared := counted(again)
			tx := begin(t, again)
			defer tx.Abort()
			if c := putHinted(t, tx, b); !c.Equal(first) || c.SHA256 != first.SHA256 || *spared != 100 || tx.NewBytes() != 0 {
				t.Errorf("unchanged: %+v, %d spared, %d bytes new", c, *spared, tx.NewBytes())
			}
			changed := bytes.Clone(b)
			copy(changed[50*smallChunk:], noise(2, smallChunk))
			*spared = 0
			if c := putHinted(t, tx, changed); c.Equal(first) || !c.SHA256.IsZero() || *spared != 99 {
				t.Errorf("one chunk changed: %+v, %d spared", c, *spared)
			}
		})
	}
}

func TestHintsOfAnotherKeyDoNotCount(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := noise(1, 10*smallChunk)
	saveHinted(t, r, 1, b)
	spared := counted(r)
	tx := begin(t, r)
	c, err := tx.PutHinted(t.Context(), "other", bytes.NewReader(b), smallChunk)
	must(t, err)
	if *spared != 0 || c.SHA256 != checkpoint.Sum(b) {
		t.Errorf("%d spared", *spared)
	}
}

func TestHintsAreBounded(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	tx := begin(t, r)
	for i := range 2 * maxHintKeys {
		_, err := tx.PutHinted(t.Context(), fmt.Sprint(i), bytes.NewReader(noise(uint64(i), 10)), 10)
		must(t, err)
	}
	if n := len(r.hints.tables); n > maxHintKeys {
		t.Errorf("hints of %d things", n)
	}
	spared := counted(r)
	_, err := tx.PutHinted(t.Context(), fmt.Sprint(2*maxHintKeys-1), bytes.NewReader(noise(2*maxHintKeys-1, 10)), 10)
	must(t, err)
	if *spared != 1 {
		t.Error("the newest were dropped, not the oldest")
	}
}

// TestHintedIsTheSameAsUnhinted changes content at random, and what hints rely
// on: whatever happens, what was committed is what was put.
func TestHintedIsTheSameAsUnhinted(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, remove := scratch(root)
		defer remove()
		h := &history{T: t, ctx: context.Background()}
		h.open(filepath.Join(dir, "sessions", "ses_01"))
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				h.b = bytes.Clone(h.b)
				copy(h.b[rapid.IntRange(0, len(h.b)).Draw(t, "at"):], noise(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 200).Draw(t, "bytes")))
			},
			"append":   func(t *rapid.T) { h.b = append(bytes.Clone(h.b), noise(h.seq, rapid.IntRange(1, 600).Draw(t, "n"))...) },
			"truncate": func(t *rapid.T) { h.b = h.b[:rapid.IntRange(0, len(h.b)).Draw(t, "size")] },
			"go back":  func(*rapid.T) { h.b, h.before = h.before, h.b },
			"commit":   func(*rapid.T) { h.commit(false) },
			"abort":    func(*rapid.T) { h.commit(true) },
			"reopen":   func(*rapid.T) { h.open(h.r.Dir()) },
			"prune":    func(*rapid.T) { h.prune() },
			"keep an old hints file": func(*rapid.T) {
				if b, err := os.ReadFile(h.hintsFile()); err == nil {
					h.old = b
				}
			},
			"bring it back": func(*rapid.T) { h.replace(h.hintsFile(), h.old) },
			"spoil the hints file": func(t *rapid.T) {
				if b, err := os.ReadFile(h.hintsFile()); err == nil {
					h.replace(h.hintsFile(), spoil(t, b))
				}
			},
			"damage a pack": func(t *rapid.T) {
				packs, err := filepath.Glob(filepath.Join(h.r.Dir(), dirPacks, "*"+packSuffix))
				if err != nil || len(packs) == 0 {
					return
				}
				name := rapid.SampledFrom(packs).Draw(t, "pack")
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				h.replace(name, spoil(t, b))
			},
			"": func(*rapid.T) { h.check() },
		})
	})
}

// spoil flips a bit of b or cuts it short.
func spoil(t *rapid.T, b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
	if rapid.Bool().Draw(t, "cut") {
		return b[:at]
	}
	b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	return b
}

// history is one content of one repository over time.
type history struct {
	*rapid.T
	ctx       context.Context
	r         *Repository
	seq       uint64
	b, before []byte
	old       []byte // a hints file of earlier

	last     checkpoint.ID // committed, and not damaged since
	lastFile checkpoint.Content
	lastB    []byte
}

func (h *history) hintsFile() string { return filepath.Join(h.r.Dir(), dirIndex, "hints") }

func (h *history) open(dir string) {
	r, err := open(dir, quick{})
	if err != nil {
		h.Fatal(err)
	}
	h.r = r
}

// quick is a disk for what is not about crashes.
type quick struct{ system }

func (d quick) create(name string) (file, error) {
	f, err := d.system.create(name)
	return unsynced{f}, err
}

func (quick) syncDir(string) error { return nil }

// replace changes a file under the repository's feet. A process finds out about
// that when it starts.
func (h *history) replace(name string, b []byte) {
	if b == nil { // there was none
		return
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		h.Fatal(err)
	}
	if filepath.Base(filepath.Dir(name)) == dirPacks {
		h.last = "" // perhaps damaged
	}
	h.open(h.r.Dir())
}

func (h *history) commit(abort bool) {
	tx, err := h.r.Begin(h.ctx)
	if err != nil {
		h.Fatal(err)
	}
	defer tx.Abort()
	c, err := tx.PutHinted(h.ctx, "data", bytes.NewReader(h.b), smallChunk)
	if err != nil {
		h.Fatal(err)
	}
	if !c.SHA256.IsZero() && c.SHA256 != checkpoint.Sum(h.b) {
		h.Fatal("the sha256 of the whole is wrong")
	}
	if abort {
		return
	}
	plain, err := tx.Put(h.ctx, bytes.NewReader(h.b), smallChunk)
	if err != nil {
		h.Fatal(err)
	}
	if !c.Equal(plain) {
		h.Fatalf("with hints it is %+v, without %+v", c, plain)
	}
	h.seq++
	m := manifest(h.seq, fileOf("data", c))
	if _, err := tx.Commit(h.ctx, m, nil); err != nil {
		h.Fatal(err)
	}
	h.before, h.last, h.lastFile, h.lastB = h.b, m.ID, c, h.b
}

// prune deletes all but the last.
func (h *history) prune() {
	entries, _, err := h.r.List(h.ctx)
	if err != nil {
		h.Fatal(err)
	}
	var drop []checkpoint.ID
	for _, e := range entries {
		if e.ID != h.last {
			drop = append(drop, e.ID)
		}
	}
	if _, err := h.r.Prune(h.ctx, drop, PruneOptions{}); err != nil && !errors.Is(err, checkpoint.ErrDamaged) {
		h.Fatal(err)
	}
}

func (h *history) check() {
	if h.last == "" {
		return
	}
	var got bytes.Buffer
	if err := h.r.CopyTo(h.ctx, &got, h.lastFile); err != nil {
		h.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), h.lastB) {
		h.Fatal("other bytes came back")
	}
}

// storedAgain puts content with hints whose chunks were pruned meanwhile.
func storedAgain(t *testing.T, stored func(*Tx, checkpoint.Hash) bool) []Damage {
	t.Helper()
	r := openTemp(t)
	r.hints.stored = stored
	a := noise(1, 100*smallChunk)
	saveHinted(t, r, 1, a)
	save(t, r, 2, noise(2, 100))
	entries, _, err := r.List(t.Context())
	must(t, err)
	_, err = r.Prune(t.Context(), []checkpoint.ID{entries[1].ID}, PruneOptions{})
	must(t, err)
	b := bytes.Clone(a)
	b[0]++ // so that the recipe's root is new and what is below it is looked for
	saveHinted(t, r, 3, b)
	report, err := r.Verify(t.Context(), nil, nil)
	must(t, err)
	return report.Damage
}

func TestAHintIsNoProofThatAChunkIsStored(t *testing.T) {
	t.Parallel()
	if damage := storedAgain(t, (*Tx).holds); len(damage) > 0 {
		t.Errorf("lost: %v", damage)
	}
	if damage := storedAgain(t, func(*Tx, checkpoint.Hash) bool { return true }); len(damage) == 0 {
		t.Error("a variant that believes its hints is not found out")
	}
}

// TestAnInterruptedPutLeavesRightHints: what reads the content may fail in the middle; the hints
// learned till then are right.
func TestAnInterruptedPutLeavesRightHints(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	a := noise(1, 100*smallChunk)
	saveHinted(t, r, 1, a)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 20 {
		b := bytes.Clone(a)
		copy(b[rnd.IntN(len(b)):], noise(uint64(i+2), 500))
		tx := begin(t, r)
		broken := &breaking{bytes.NewReader(b), rnd.IntN(len(b))}
		if _, err := tx.PutHinted(t.Context(), "data", broken, smallChunk); !errors.Is(err, errBroken) {
			t.Fatalf("got %v", err)
		}
		c := putHinted(t, tx, a)
		if !c.SHA256.IsZero() && c.SHA256 != checkpoint.Sum(a) {
			t.Error("the sha256 of the whole is wrong")
		}
		_, err := tx.Commit(t.Context(), manifest(uint64(i+2), fileOf("data", c)), nil)
		must(t, err)
		if !bytes.Equal(read(t, r, c), a) {
			t.Fatal("other bytes came back")
		}
	}
}

var errBroken = errors.New("broken")

type breaking struct {
	r    *bytes.Reader
	left int
}

func (f *breaking) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, errBroken
	}
	n, err := f.r.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}
