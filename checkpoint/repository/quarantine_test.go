package repository

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// repair verifies a repository, as a process that has just come, and repairs what
// it finds.
func repair(t *testing.T, dir string) (VerifyReport, []Repaired) {
	t.Helper()
	r, err := Open(dir)
	must(t, err)
	report, err := r.Verify(t.Context(), nil, nil)
	must(t, err)
	done, err := r.Repair(t.Context(), report.Damage, nil)
	must(t, err)
	return report, done
}

// TestEveryFlippedBitIsRepaired flips bits in every part of every kind of file:
// the damaged file lies in quarantine, byte for byte; where what is damaged can
// be told from the rest, the checkpoint is whole again; of a frame all chunks but
// those that the bit has changed are read, and with the same content put once
// more everything is.
func TestEveryFlippedBitIsRepaired(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := append(noise(1, 150_000), text(1, 100_000)...)
	m := save(t, r, 1, b)
	whole := len(b)/checkpoint.ChunkSize + 2 // and a page
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	good := map[string][]byte{}
	for _, reg := range regions(t, r, m) {
		file, err := os.ReadFile(filepath.Join(r.Dir(), reg.file))
		must(t, err)
		good[reg.file] = file
	}
	t.Logf("%-33s %5s %5s %6s", "region", "cases", "whole", "chunks")
	for _, reg := range regions(t, r, m) {
		const cases = 6
		again, kept := 0, 0
		for range cases {
			dir := filepath.Join(t.TempDir(), "ses_01")
			for name, file := range good {
				must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
				must(t, os.WriteFile(filepath.Join(dir, name), file, 0o600))
			}
			at, bit := reg.from+rnd.Int64N(reg.to-reg.from), rnd.IntN(8)
			what := fmt.Sprintf("%s: bit %d of byte %d", reg.name, bit, at)
			bad := bytes.Clone(good[reg.file])
			bad[at] ^= 1 << bit
			must(t, os.WriteFile(filepath.Join(dir, reg.file), bad, 0o600))

			_, done := repair(t, dir)
			if len(done) != 1 || done[0].File != reg.file {
				t.Fatalf("%s: repaired %+v", what, done)
			}
			if moved, err := os.ReadFile(filepath.Join(dir, done[0].Quarantine)); err != nil || !bytes.Equal(moved, bad) {
				t.Errorf("%s: in quarantine is something else, %v", what, err)
			}
			if _, err := os.Stat(filepath.Join(dir, reg.file)); done[0].Rewritten != (err == nil) && strings.HasPrefix(reg.name, "manifest") {
				t.Errorf("%s: %+v, %v", what, done[0], err)
			}
			kept += done[0].Kept
			report, done := repair(t, dir)
			if len(done) > 0 {
				t.Errorf("%s: a second repair did %+v", what, done)
			}
			if len(report.Damage) == 0 && report.Checkpoints == 1 {
				again++
				must(t, sound(dir, []checkpoint.ID{m.ID}))
				continue
			}
			switch {
			case reg.name == "manifest: zstd frame":
				continue
			case !strings.HasPrefix(reg.name, "pack: frame"):
				t.Errorf("%s: not whole again: %v", what, report.Damage)
			}
			fresh, err := Open(dir)
			must(t, err)
			save(t, fresh, 2, b)
			must(t, sound(dir, []checkpoint.ID{m.ID}))
		}
		t.Logf("%-33s %5d %5d %6d of %d", reg.name, cases, again, kept, cases*whole)
		if reg.name == "pack: frame 0" && kept < cases*whole/2 {
			t.Errorf("of a frame with one bit changed, %d of %d chunks were kept", kept, cases*whole)
		}
	}
}

// TestARepairedPackIsReplaced: who has the old pack in memory finds the new one,
// and what is put later counts on it.
func TestARepairedPackIsReplaced(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := noise(1, 300_000)
	first := save(t, r, 1, b)
	reader, err := Open(r.Dir())
	must(t, err)
	if !reader.Has(first.Components.Files.Files[0].Recipe.SHA256) {
		t.Fatal("not indexed")
	}
	breakPacks(t, r.Dir(), -1)
	// The one who wrote it repairs: it must not trust its memory.
	report, err := r.Verify(t.Context(), nil, nil)
	must(t, err)
	done, err := r.Repair(t.Context(), report.Damage, nil)
	must(t, err)
	if len(done) != 1 || done[0].Kept != done[0].Chunks || done[0].Kept == 0 {
		t.Fatalf("got %+v", done)
	}
	for _, r := range []*Repository{r, reader} {
		if !bytes.Equal(read(t, r, first.Components.Files.Files[0].Content), b) {
			t.Error("other bytes came back")
		}
	}
	if m := save(t, r, 2, b); m.Stats.NewBytes != 0 {
		t.Errorf("%d bytes were stored once more", m.Stats.NewBytes)
	}
	must(t, sound(r.Dir(), []checkpoint.ID{first.ID}))
}

// TestWhatAManifestInQuarantineNamesIsKept: its packs look like orphans, and a
// prune must not take them as long as it may be mended by hand.
func TestWhatAManifestInQuarantineNamesIsKept(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	first, second := save(t, r, 1, noise(1, 100_000)), save(t, r, 2, noise(2, 100_000))
	name := filepath.Join(r.Dir(), manifestName(first.ID))
	intact, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, intact[:len(intact)/2], 0o600))
	_, done := repair(t, r.Dir())
	if len(done) != 1 || done[0].Rewritten {
		t.Fatalf("got %+v", done)
	}
	report, err := r.Prune(t.Context(), nil, PruneOptions{})
	must(t, err)
	if len(report.Blocked) != 1 || report.Blocked[0].File != done[0].Quarantine || report.Packs != 0 {
		t.Errorf("got %+v", report)
	}
	// It is mended by hand.
	must(t, os.WriteFile(name, intact, 0o600))
	must(t, sound(r.Dir(), []checkpoint.ID{first.ID, second.ID}))
	if report, err = r.Prune(t.Context(), nil, PruneOptions{}); err != nil || len(report.Blocked) > 0 || report.Packs != 0 {
		t.Errorf("with the manifest back: %+v, %v", report, err)
	}
	// Nobody does, and its time is over.
	must(t, os.Remove(name))
	old := time.Now().UTC().Add(-quarantineKeep).Format(quarantineTime) + "-" + filepath.Base(name)
	must(t, os.Rename(filepath.Join(r.Dir(), done[0].Quarantine), filepath.Join(r.Dir(), dirQuarantine, old)))
	if report, err = r.Prune(t.Context(), nil, PruneOptions{}); err != nil || len(report.Blocked) > 0 || report.Packs != 1 {
		t.Errorf("a week later: %+v, %v", report, err)
	}
	must(t, sound(r.Dir(), []checkpoint.ID{second.ID}))
}

// TestRepairLeavesWhatItMustNotTouch: what is not damaged any more, what a newer
// program wrote, and everything when the session has another owner.
func TestRepairLeavesWhatItMustNotTouch(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	m := save(t, r, 1, noise(1, 100_000))
	pack, name := breakPacks(t, r.Dir(), -1)
	report, err := r.Verify(t.Context(), nil, nil)
	must(t, err)
	if _, err := r.Repair(t.Context(), report.Damage, func() error { return checkpoint.ErrFenced }); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("fenced: %v", err)
	}
	must(t, os.WriteFile(name, pack, 0o600))
	newer := Damage{File: manifestName(m.ID), Err: checkpoint.ErrFormat}
	done, err := r.Repair(t.Context(), append(report.Damage, newer), nil)
	if err != nil || len(done) > 0 {
		t.Errorf("got %+v, %v", done, err)
	}
	must(t, sound(r.Dir(), []checkpoint.ID{m.ID}))
}

// TestOrphansAreCounted and are no damage.
func TestOrphansAreCounted(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	first := save(t, r, 1, noise(1, 5*checkpoint.ChunkSize))
	save(t, r, 2, append(noise(1, 2*checkpoint.ChunkSize), noise(2, checkpoint.ChunkSize)...))
	report, err := r.Verify(t.Context(), nil, nil)
	if err != nil || report.Orphans == nil || *report.Orphans != (Orphans{}) {
		t.Fatalf("got %+v, %v", report.Orphans, err)
	}
	must(t, os.Remove(filepath.Join(r.Dir(), manifestName(first.ID))))
	report, err = r.Verify(t.Context(), nil, nil)
	if err != nil || report.Orphans == nil || *report.Orphans != (Orphans{Chunks: 3}) || len(report.Damage) > 0 {
		t.Errorf("three chunks are orphans: %+v, %v, %v", report.Orphans, report.Damage, err)
	}
	tx := begin(t, r)
	put(t, tx, noise(3, 1000))
	tx.mu.Lock()
	names, err := tx.finishPacks(t.Context())
	tx.mu.Unlock()
	must(t, err)
	tx.Abort()
	info, err := os.Stat(names[0])
	must(t, err)
	report, err = r.Verify(t.Context(), nil, nil)
	if want := (Orphans{Packs: 1, PackBytes: info.Size(), Chunks: 4}); err != nil || report.Orphans == nil || *report.Orphans != want {
		t.Errorf("a pack too: %+v, want %+v, %v", report.Orphans, want, err)
	}
	must(t, os.WriteFile(filepath.Join(r.Dir(), manifestName(first.ID)), nil, 0o600))
	if report, err = r.Verify(t.Context(), nil, nil); err != nil || report.Orphans != nil {
		t.Errorf("with a manifest that cannot be read: %+v, %v", report.Orphans, err)
	}
}

// breakPacks flips one bit of the only pack: at an offset, counted from the end
// when it is negative. It returns what the pack was, and its path.
func breakPacks(t *testing.T, dir string, at int) ([]byte, string) {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(dir, dirPacks, "*"+packSuffix))
	must(t, err)
	if len(packs) != 1 {
		t.Fatalf("%d packs", len(packs))
	}
	good, err := os.ReadFile(packs[0])
	must(t, err)
	bad := bytes.Clone(good)
	bad[(at+len(bad))%len(bad)] ^= 1
	must(t, os.WriteFile(packs[0], bad, 0o600))
	return good, packs[0]
}
