package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// noise returns n bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)}).Read(b) //nolint:errcheck // never fails
	return b
}

func openTemp(tb testing.TB) *Repository {
	tb.Helper()
	r, err := Open(filepath.Join(tb.TempDir(), "sessions", "ses_01"))
	must(tb, err)
	return r
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func begin(tb testing.TB, r *Repository) *Tx {
	tb.Helper()
	tx, err := r.Begin(tb.Context())
	must(tb, err)
	tb.Cleanup(tx.Abort)
	return tx
}

// manifest returns a checkpoint of the given files.
func manifest(seq uint64, files ...checkpoint.File) *checkpoint.Manifest {
	created := time.Date(2026, 11, 23, 10, 15, 0, 0, time.UTC).Add(time.Duration(seq) * time.Second)
	return &checkpoint.Manifest{
		Format: checkpoint.Format, ID: checkpoint.NewID(created), Session: "ses_01", Epoch: 1, Seq: seq, Created: created, Reason: "test",
		Roots: map[string]string{checkpoint.RootHome: "/home/retro"},
		Components: checkpoint.Components{Files: &checkpoint.Files{
			Head: checkpoint.NewHead(checkpoint.OK, created), FileSet: checkpoint.FileSet{Files: files},
		}},
	}
}

func fileOf(name string, c checkpoint.Content) checkpoint.File {
	return checkpoint.File{Path: "$HOME/" + name, Kind: checkpoint.KindFile, State: checkpoint.OK, Mode: 0o644, MtimeNS: 1763892900123456789, Content: c}
}

func put(tb testing.TB, tx *Tx, b []byte) checkpoint.Content {
	tb.Helper()
	c, err := tx.Put(tb.Context(), bytes.NewReader(b), checkpoint.ChunkSize)
	must(tb, err)
	return c
}

// save commits a checkpoint of one file and returns it.
func save(tb testing.TB, r *Repository, seq uint64, b []byte) *checkpoint.Manifest {
	tb.Helper()
	tx := begin(tb, r)
	m := manifest(seq, fileOf("data", put(tb, tx, b)))
	m.Stats.NewBytes = tx.NewBytes()
	_, err := tx.Commit(tb.Context(), m, nil)
	must(tb, err)
	return m
}

func read(tb testing.TB, r *Repository, c checkpoint.Content) []byte {
	tb.Helper()
	var b bytes.Buffer
	must(tb, r.CopyTo(tb.Context(), &b, c))
	return b.Bytes()
}

func TestNothingYetIsAnEmptyList(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	entries, damage, err := r.List(t.Context())
	if len(entries)+len(damage) > 0 || err != nil {
		t.Fatalf("got %v, %v, %v", entries, damage, err)
	}
	if _, err := os.Stat(r.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("reading made %s", r.Dir())
	}
	if _, _, err := r.Load(t.Context(), checkpoint.NewID(time.Now())); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
}

func TestWhatIsCommittedIsReadByAnotherProcess(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := noise(1, 3<<20)
	m := save(t, r, 1, b)

	other, err := Open(r.Dir())
	must(t, err)
	got, sum, err := other.Load(t.Context(), m.ID)
	must(t, err)
	plain, err := checkpoint.Encode(m)
	must(t, err)
	if sum != checkpoint.Sum(plain) {
		t.Errorf("sha256 %s, want that of the plain JSON", sum)
	}
	if !bytes.Equal(read(t, other, got.Components.Files.Files[0].Content), b) {
		t.Error("other bytes came back")
	}
	next := save(t, r, 2, noise(2, 1<<20)) // a pack the other has not seen
	if !bytes.Equal(read(t, other, next.Components.Files.Files[0].Content), noise(2, 1<<20)) {
		t.Error("other bytes came back")
	}
	entries, _, err := other.List(t.Context())
	must(t, err)
	if len(entries) != 2 || entries[0].ID != next.ID || entries[1].ID != m.ID {
		t.Errorf("got %v, want newest first", entries)
	}
}

// TestRoundTrip stores content of every size around the borders of chunks, of
// what stands inline, of pages and frames, and reads it in all ways there are.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	const chunkSize = 1 << 10 // small, to be quick: all sizes are handled alike
	pool := noise(3, 80*chunkSize)
	rapid.Check(t, func(rt *rapid.T) {
		border := rapid.SampledFrom([]int{0, 1, 2, checkpoint.MaxInline, checkpoint.MaxInline + 1, 63, 64, 65, 79}).Draw(rt, "chunks")
		size := max(0, border*chunkSize+rapid.IntRange(-2, 2).Draw(rt, "more"))
		from := rapid.IntRange(0, len(pool)-size).Draw(rt, "from")
		b := pool[from : from+size]
		tx, err := r.Begin(context.Background())
		must(t, err)
		defer tx.Abort()
		c, err := tx.Put(context.Background(), bytes.NewReader(b), chunkSize)
		must(t, err)
		if c.Size != int64(size) || c.SHA256 != checkpoint.Sum(b) {
			rt.Fatalf("content %+v", c)
		}
		m := manifest(1, fileOf("data", c))
		if _, err := tx.Commit(context.Background(), m, nil); err != nil {
			rt.Fatal(err)
		}
		if got := read(t, r, c); !bytes.Equal(got, b) {
			rt.Fatalf("%d bytes came back otherwise", size)
		}
		reader, err := r.Reader(context.Background(), c)
		must(t, err)
		off := rapid.IntRange(0, size).Draw(rt, "offset")
		part := make([]byte, rapid.IntRange(0, min(size-off, 100_000)).Draw(rt, "length"))
		if n, err := reader.ReadAt(part, int64(off)); n != len(part) || err != nil || !bytes.Equal(part, b[off:off+len(part)]) {
			rt.Fatalf("read at %d: %d of %d bytes, %v", off, n, len(part), err)
		}
	})
}

func TestUnchangedCostsNothing(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := noise(4, 5<<20)
	save(t, r, 1, b)
	tx := begin(t, r)
	put(t, tx, b)
	put(t, tx, b)
	if n := tx.NewBytes(); n != 0 {
		t.Errorf("%d bytes more", n)
	}
}

func TestTheSameTwiceInOneTransactionIsStoredOnce(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	tx := begin(t, r)
	b := noise(5, 3<<20)
	put(t, tx, b)
	once := tx.NewBytes()
	put(t, tx, b)
	if twice := tx.NewBytes(); twice != once {
		t.Errorf("%d bytes for it once, %d for it twice", once, twice)
	}
}

func TestNewBytesIsTheSizeOfThePacks(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	m := save(t, r, 1, noise(6, 5<<20))
	packs, err := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*.zst"))
	must(t, err)
	info, err := os.Stat(packs[0])
	must(t, err)
	if len(packs) != 1 || info.Size() != m.Stats.NewBytes {
		t.Errorf("%d packs of %d bytes, NewBytes said %d", len(packs), info.Size(), m.Stats.NewBytes)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	rapid.Check(t, func(rt *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.StringN(1, 12, -1), 0, 900, rapid.ID).Draw(rt, "keys")
		entries := make([]Keyed, len(keys))
		for i, k := range keys {
			entries[i] = Keyed{Key: k, Value: map[string]string{"key": k}}
		}
		tx, err := r.Begin(context.Background())
		must(t, err)
		defer tx.Abort()
		l, err := tx.PutList(context.Background(), entries)
		must(t, err)
		var got []string
		err = ReadList(context.Background(), tx, l, func(raw json.RawMessage) error {
			var e struct{ Key string }
			err := json.Unmarshal(raw, &e)
			got = append(got, e.Key)
			return err
		})
		must(t, err)
		if len(got) != len(keys) {
			rt.Fatalf("%d entries, want %d", len(got), len(keys))
		}
		for i := 1; i < len(got); i++ {
			if got[i-1] >= got[i] {
				rt.Fatalf("%q before %q", got[i-1], got[i])
			}
		}
	})
}

// One file more in a long list changes one chunk of it and the pages above.
func TestOneEntryMoreCostsLittle(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	entries := make([]Keyed, 0, 20001)
	for i := range 20000 {
		entries = append(entries, Keyed{fmt.Sprintf("f%06d", i), map[string]any{"path": fmt.Sprintf("f%06d", i), "sha256": checkpoint.Sum([]byte{byte(i), byte(i >> 8)})}})
	}
	tx := begin(t, r)
	l, err := tx.PutList(t.Context(), entries)
	must(t, err)
	m := manifest(1)
	m.Components.Zed = &checkpoint.Zed{Head: checkpoint.NewHead(checkpoint.OK, m.Created), Threads: &l}
	_, err = tx.Commit(t.Context(), m, nil)
	must(t, err)
	first := l.Size
	tx = begin(t, r)
	_, err = tx.PutList(t.Context(), append(entries, Keyed{"f010000x", map[string]any{"path": "f010000x"}}))
	must(t, err)
	if n := tx.NewBytes(); n > 24<<10 {
		t.Errorf("%d bytes more for one entry in a list of %d bytes", n, first)
	}
}

func TestGuardStopsTheCommit(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	tx := begin(t, r)
	m := manifest(1, fileOf("data", put(t, tx, noise(7, 100))))
	if _, err := tx.Commit(t.Context(), m, func() error { return checkpoint.ErrFenced }); !errors.Is(err, checkpoint.ErrFenced) {
		t.Fatalf("got %v", err)
	}
	entries, damage, err := r.List(t.Context())
	if len(entries)+len(damage) > 0 || err != nil {
		t.Fatalf("got %v, %v, %v", entries, damage, err)
	}
	names, err := readDir(filepath.Join(r.Dir(), dirCheckpoints))
	if len(names) > 0 || err != nil {
		t.Fatalf("left behind: %v, %v", names, err)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	tx := begin(t, r)
	put(t, tx, noise(8, 3<<20))
	tx.NewBytes()
	tx.Abort()
	names, err := readDir(filepath.Join(r.Dir(), dirPacks))
	if len(names) > 0 || err != nil {
		t.Fatalf("left behind: %v, %v", names, err)
	}
	if _, err := tx.Put(t.Context(), strings.NewReader("x"), checkpoint.ChunkSize); err == nil {
		t.Error("an ended transaction takes content")
	}
}

func TestBeginSweepsWhatACrashLeftAndNothingElse(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	save(t, r, 1, noise(9, 100))
	packs := filepath.Join(r.Dir(), dirPacks)
	for _, name := range []string{tempPrefix + "X", "notes.txt", "0000.zst"} {
		must(t, os.WriteFile(filepath.Join(packs, name), nil, 0o600))
	}
	begin(t, r).Abort()
	names, err := readDir(packs)
	must(t, err)
	if len(names) != 3 || names[0] != "0000.zst" || names[2] != "notes.txt" {
		t.Errorf("left: %v", names)
	}
}

func TestAManifestThatNamesWhatIsNotThereIsRefused(t *testing.T) {
	t.Parallel()
	other := openTemp(t)
	tx := begin(t, other)
	c := put(t, tx, noise(10, 100))
	if _, err := begin(t, openTemp(t)).Commit(t.Context(), manifest(1, fileOf("data", c)), nil); err == nil {
		t.Error("committed without its content")
	}
}

func TestAnIDIsCommittedOnce(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	m := save(t, r, 1, noise(11, 100))
	plain, err := r.LoadBytes(t.Context(), m.ID)
	must(t, err)
	if sum, err := begin(t, r).CommitBytes(t.Context(), plain, nil); err != nil || sum != checkpoint.Sum(plain) {
		t.Errorf("the same again: %s, %v", sum, err)
	}
	m.Reason = "another"
	if _, err := begin(t, r).Commit(t.Context(), m, nil); err == nil {
		t.Error("another manifest took the place of one that exists")
	}
}

func TestPins(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	m := save(t, r, 1, noise(12, 100))
	pinned := func() bool {
		entries, _, err := r.List(t.Context())
		must(t, err)
		return entries[0].Pinned
	}
	must(t, r.Pin(t.Context(), m.ID))
	must(t, r.Pin(t.Context(), m.ID))
	if !pinned() {
		t.Error("not pinned")
	}
	must(t, r.Unpin(t.Context(), m.ID))
	must(t, r.Unpin(t.Context(), m.ID))
	if pinned() {
		t.Error("still pinned")
	}
	if err := r.Pin(t.Context(), checkpoint.NewID(time.Now())); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("pinned what is not there: %v", err)
	}
}
