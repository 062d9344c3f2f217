package repository

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// region is a part of a kind of file: [from, to) in one of them.
type region struct {
	name     string
	file     string // relative to the repository
	from, to int64
}

// regions returns what a repository's files are made of.
func regions(t *testing.T, r *Repository, m *checkpoint.Manifest) []region {
	t.Helper()
	size := func(name string) int64 {
		info, err := os.Stat(filepath.Join(r.Dir(), name))
		must(t, err)
		return info.Size()
	}
	file := manifestName(m.ID)
	end := size(file)
	hash := int64(len(checkpoint.Hash{}))
	list := []region{
		{"manifest: zstd frame", file, 0, end - int64(sealLen)},
		{"manifest: seal, head", file, end - int64(sealLen), end - 2*hash},
		{"manifest: seal, sha256 of plain", file, end - 2*hash, end - hash},
		{"manifest: seal, sha256 of frame", file, end - hash, end},
	}
	packs, err := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*"+packSuffix))
	must(t, err)
	if len(packs) != 1 {
		t.Fatalf("%d packs", len(packs))
	}
	frames, err := readTable(packs[0])
	must(t, err)
	file = filepath.Join(dirPacks, filepath.Base(packs[0]))
	end = size(file)
	for i, f := range frames {
		list = append(list, region{fmt.Sprintf("pack: frame %d", i), file, f.offset, f.offset + int64(f.packed)})
	}
	table := frames[len(frames)-1].offset + int64(frames[len(frames)-1].packed)
	return append(
		list,
		region{"pack: header", file, 0, int64(headerLen)},
		region{"pack: table, head", file, table, table + skipHead + tableHead},
		region{"pack: table, frames", file, table + skipHead + tableHead, table + skipHead + tableHead + int64(len(frames)*frameEntry)},
		region{"pack: table, chunks", file, table + skipHead + tableHead + int64(len(frames)*frameEntry), end - int64(trailerLen)},
		region{"pack: trailer", file, end - int64(trailerLen), end},
	)
}

// TestEveryFlippedBitIsFound flips bits in every part of every kind of file:
// verify names the file, and content is read exactly or not at all.
func TestEveryFlippedBitIsFound(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := append(noise(1, 150_000), text(1, 100_000)...)
	m := save(t, r, 1, b)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("%-33s %5s %5s %6s %6s", "region", "cases", "found", "exact", "failed")
	for _, reg := range regions(t, r, m) {
		path := filepath.Join(r.Dir(), reg.file)
		good, err := os.ReadFile(path)
		must(t, err)
		const cases = 12
		found, exact, failed := 0, 0, 0
		for range cases {
			at, bit := reg.from+rnd.Int64N(reg.to-reg.from), rnd.IntN(8)
			bad := bytes.Clone(good)
			bad[at] ^= 1 << bit
			must(t, os.WriteFile(path, bad, 0o600))
			fresh, err := Open(r.Dir())
			must(t, err)
			report, err := fresh.Verify(t.Context(), nil, nil)
			must(t, err)
			if slices.ContainsFunc(report.Damage, func(d Damage) bool { return d.File == reg.file }) {
				found++
			} else {
				t.Errorf("%s: bit %d of byte %d flipped: not found", reg.name, bit, at)
			}
			var got bytes.Buffer
			switch err := fresh.CopyTo(t.Context(), &got, m.Components.Files.Files[0].Content); {
			case err != nil:
				failed++
			case bytes.Equal(got.Bytes(), b):
				exact++
			default:
				t.Errorf("%s: bit %d of byte %d flipped: other bytes came back", reg.name, bit, at)
			}
		}
		t.Logf("%-33s %5d %5d %6d %6d", reg.name, cases, found, exact, failed)
		must(t, os.WriteFile(path, good, 0o600))
	}
	must(t, sound(r.Dir(), []checkpoint.ID{m.ID}))
}

// A verification that reads less would not find it: one without the packs, one
// without the contents.
func TestVerifySaysWhoIsHurt(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	shared := noise(1, 200_000)
	first := save(t, r, 1, shared)
	second := save(t, r, 2, append(bytes.Clone(shared), 1))
	third := save(t, r, 3, noise(3, 200_000))
	hurt := func() []checkpoint.ID {
		fresh, err := Open(r.Dir())
		must(t, err)
		report, err := fresh.Verify(t.Context(), nil, nil)
		must(t, err)
		var ids []checkpoint.ID
		for _, d := range report.Damage {
			if !errors.Is(d.Err, checkpoint.ErrDamaged) {
				t.Errorf("%s", d)
			}
			if d.Checkpoint != "" {
				ids = append(ids, d.Checkpoint)
			}
		}
		slices.Sort(ids)
		return ids
	}
	if ids := hurt(); len(ids) > 0 {
		t.Fatalf("nothing is wrong, but %v", ids)
	}
	p, ok := r.index.find(checkpoint.Sum(shared[:checkpoint.ChunkSize]))
	if !ok {
		t.Fatal("no such chunk")
	}
	must(t, os.Remove(p.frame.pack.path))
	if ids := hurt(); !slices.Equal(ids, []checkpoint.ID{first.ID, second.ID}) {
		t.Errorf("a lost pack hurts %v, not %s", ids, third.ID)
	}
	must(t, os.WriteFile(filepath.Join(r.Dir(), manifestName(third.ID)), nil, 0o600))
	if ids := hurt(); !slices.Equal(ids, []checkpoint.ID{first.ID, second.ID, third.ID}) {
		t.Errorf("an empty manifest hurts %v", ids)
	}
	entries, damage, err := r.List(t.Context())
	must(t, err)
	if len(entries) != 2 || len(damage) != 1 || damage[0].Checkpoint != third.ID {
		t.Errorf("listed: %v, damaged: %v", entries, damage)
	}
}

func TestVerifyOfOneCheckpointAndItsProgress(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	first := save(t, r, 1, noise(1, 200_000))
	save(t, r, 2, noise(2, 300_000))
	var last Progress
	report, err := r.Verify(t.Context(), []checkpoint.ID{first.ID}, func(p Progress) {
		if p.Done < last.Done || p.Done > p.Total {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
	})
	must(t, err)
	if report.Checkpoints != 1 || report.Contents != 1 || report.PlainBytes != 200_000 || report.Packs != 2 || len(report.Damage) > 0 {
		t.Errorf("got %+v", report)
	}
	unknown := checkpoint.NewID(time.Now())
	if report, err = r.Verify(t.Context(), []checkpoint.ID{unknown}, nil); err != nil || len(report.Damage) != 1 {
		t.Errorf("an unknown checkpoint: %+v, %v", report, err)
	}
}

// TestAReaderLooksAgainOnce: a pack that has gone since the index was read is no
// damage while its chunks stand in another.
func TestAReaderLooksAgainOnce(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := noise(1, 300_000)
	m := save(t, r, 1, b)
	reader, err := Open(r.Dir())
	must(t, err)
	if !reader.Has(m.Components.Files.Files[0].Recipe.SHA256) {
		t.Fatal("not indexed")
	}
	// Another pack with the same chunks and one more, as repacking makes it.
	other := openTemp(t)
	save(t, other, 1, append(bytes.Clone(b), 1))
	save(t, other, 2, b) // the shorter last chunk
	must(t, os.RemoveAll(filepath.Join(r.Dir(), dirPacks)))
	must(t, os.Rename(filepath.Join(other.Dir(), dirPacks), filepath.Join(r.Dir(), dirPacks)))
	if !bytes.Equal(read(t, reader, m.Components.Files.Files[0].Content), b) {
		t.Error("other bytes came back")
	}
	must(t, os.RemoveAll(filepath.Join(r.Dir(), dirPacks)))
	fresh, err := Open(r.Dir())
	must(t, err)
	if err := fresh.CopyTo(t.Context(), io.Discard, m.Components.Files.Files[0].Content); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("no pack at all: %v", err)
	}
}

func TestANewerFormatIsRefusedClearly(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	m := save(t, r, 1, noise(1, 1000))
	id := checkpoint.NewID(time.Now())
	newer, err := seal([]byte(`{"format":"helix.ckpt/v2","id":"` + string(id) + `"}`))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(r.Dir(), manifestName(id)), newer, 0o600))
	if _, _, err := r.Load(t.Context(), id); !errors.Is(err, checkpoint.ErrFormat) || errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("manifest: %v", err)
	}
	entries, damage, err := r.List(t.Context())
	if len(entries) != 1 || len(damage) != 1 || err != nil {
		t.Errorf("list: %v, %v, %v", entries, damage, err)
	}

	packs, err := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*"+packSuffix))
	must(t, err)
	b, err := os.ReadFile(packs[0])
	must(t, err)
	b = bytes.ReplaceAll(b, []byte(packFormat), []byte(strings.Replace(packFormat, "v1", "v2", 1)))
	must(t, os.WriteFile(packs[0], b, 0o600))
	fresh, err := Open(r.Dir())
	must(t, err)
	report, err := fresh.Verify(t.Context(), []checkpoint.ID{m.ID}, nil)
	must(t, err)
	if !slices.ContainsFunc(report.Damage, func(d Damage) bool {
		return strings.HasPrefix(d.File, dirPacks) && errors.Is(d.Err, checkpoint.ErrFormat)
	}) {
		t.Errorf("pack: %v", report.Damage)
	}
}

// A file that is none of ours, or only looks so, is never waited for or
// followed.
func TestOddFilesAreNotFollowed(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	m := save(t, r, 1, noise(1, 1000))
	odd := filepath.Join(r.Dir(), manifestName(checkpoint.NewID(time.Now())))
	must(t, os.Symlink(filepath.Base(manifestName(m.ID)), odd))
	must(t, mkfifo(filepath.Join(r.Dir(), packName(checkpoint.Sum(nil)))))
	entries, damage, err := r.List(t.Context())
	if len(entries) != 1 || len(damage) != 1 || err != nil {
		t.Errorf("list: %v, %v, %v", entries, damage, err)
	}
	fresh, err := Open(r.Dir())
	must(t, err)
	must(t, fresh.CopyTo(t.Context(), io.Discard, m.Components.Files.Files[0].Content))
}

// TestWhatIsDamagedIsStoredAgain: a chunk in a damaged pack does not count as
// stored, and the good copy is the one that is read, also for the checkpoint
// that had the damaged one.
func TestWhatIsDamagedIsStoredAgain(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := noise(1, 300_000)
	first := save(t, r, 1, b)
	packs, err := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*"+packSuffix))
	must(t, err)
	damaged, err := os.ReadFile(packs[0])
	must(t, err)
	damaged[len(damaged)/2] ^= 1
	must(t, os.WriteFile(packs[0], damaged, 0o600))

	// Who wrote it trusts his memory; another process does not.
	fresh, err := Open(r.Dir())
	must(t, err)
	second := save(t, fresh, 2, b)
	if second.Stats.NewBytes < int64(len(b)) {
		t.Errorf("%d bytes were stored of %d that were damaged", second.Stats.NewBytes, len(b))
	}
	third := save(t, fresh, 3, b)
	if third.Stats.NewBytes != 0 {
		t.Errorf("%d bytes were stored once more", third.Stats.NewBytes)
	}
	reader, err := Open(r.Dir())
	must(t, err)
	for _, m := range []*checkpoint.Manifest{first, second, third} {
		if !bytes.Equal(read(t, reader, m.Components.Files.Files[0].Content), b) {
			t.Errorf("checkpoint %d is not what was put", m.Seq)
		}
	}
}
