package repository

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// TestAboveTheLimitTheOldestGo until the rest fits: not those that may not, nor
// those that are held, and never one more than needed.
func TestAboveTheLimitTheOldestGo(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	shared := noise(0, 30*checkpoint.ChunkSize)
	var ids []checkpoint.ID // the newest first
	for seq := range uint64(10) {
		b := append(slices.Clone(shared), noise(seq+1, 10*checkpoint.ChunkSize)...)
		ids = slices.Insert(ids, 0, save(t, r, seq+1, b).ID)
	}
	expendable := slices.Delete(slices.Clone(ids[1:]), 7, 8) // not the newest, and not the second oldest
	release, err := r.Hold(ids[7])
	must(t, err)
	defer release()
	const mib = 1 << 20
	o := PruneOptions{MaxBytes: 23 * mib / 10, Expendable: expendable, DryRun: true}
	dry, err := r.Prune(t.Context(), nil, o)
	must(t, err)
	o.DryRun = false
	report, err := r.Prune(t.Context(), nil, o)
	must(t, err)
	size, err := r.Size()
	must(t, err)
	// What is shared takes 480 KiB, and each of them 160 more: 2080 of 2355.
	if len(report.Deleted) > 0 || size > o.MaxBytes || len(dry.Deleted) > 0 {
		t.Errorf("%d bytes; deleted were %v", size, report.Deleted)
	}

	o.MaxBytes, o.DryRun = 15*mib/10, true // of which nine tenths, 1382 KiB, hold five
	dry, err = r.Prune(t.Context(), nil, o)
	must(t, err)
	o.DryRun = false
	report, err = r.Prune(t.Context(), nil, o)
	must(t, err)
	size, err = r.Size()
	must(t, err)
	want := []checkpoint.ID{ids[9], ids[6], ids[5], ids[4], ids[3]}
	if !slices.Equal(report.Deleted, want) || !slices.Equal(report.Held, ids[7:8]) || size > o.MaxBytes || report.Kept != 5 {
		t.Errorf("%d bytes of at most %d; %+v", size, o.MaxBytes, report)
	}
	if want := []checkpoint.ID{ids[9], ids[7], ids[6], ids[5], ids[4]}; !slices.Equal(dry.Deleted, want) { // it does not know who is held
		t.Errorf("a dry run says %v, want %v", dry.Deleted, want)
	}
	intact(t, r, ids[0], ids[1], ids[2], ids[7], ids[8])
	if again, err := r.Prune(t.Context(), nil, o); err != nil || len(again.Deleted) > 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
}

// TestWhatNobodyNeedsGoesBeforeACheckpointDoes, also where it is less than half of
// a pack.
func TestWhatNobodyNeedsGoesBeforeACheckpointDoes(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	shared := noise(0, 60*checkpoint.ChunkSize)
	first := save(t, r, 1, append(slices.Clone(shared), noise(1, 40*checkpoint.ChunkSize)...))
	second, third := save(t, r, 2, shared), save(t, r, 3, append(slices.Clone(shared), 1))
	o := PruneOptions{MaxBytes: 80 * checkpoint.ChunkSize, Expendable: []checkpoint.ID{second.ID}}
	report, err := r.Prune(t.Context(), []checkpoint.ID{first.ID}, o)
	must(t, err)
	if size, err := r.Size(); err != nil || size > o.MaxBytes || report.Repacked == 0 {
		t.Errorf("%d bytes, %+v, %v", size, report, err)
	}
	intact(t, r, second.ID, third.ID)
}

// TestALimitThatCannotBeMet deletes what may go and says nothing else.
func TestALimitThatCannotBeMet(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	first, second, third := save(t, r, 1, noise(1, 100_000)), save(t, r, 2, noise(2, 100_000)), save(t, r, 3, noise(3, 100_000))
	report, err := r.Prune(t.Context(), nil, PruneOptions{MaxBytes: 1, Expendable: []checkpoint.ID{second.ID}})
	if err != nil || !slices.Equal(report.Deleted, []checkpoint.ID{second.ID}) {
		t.Errorf("%+v, %v", report, err)
	}
	intact(t, r, first.ID, third.ID)
}

// TestNothingBeginsBelowTheReserve, but a prune does; and what is begun ends when
// the reserve is reached.
func TestNothingBeginsBelowTheReserve(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	first, second := save(t, r, 1, noise(1, 1000)), save(t, r, 2, noise(2, 1000))
	_, total, err := r.Space()
	must(t, err)
	r.Reserve(total + 1)
	_, err = r.Begin(t.Context())
	if !errors.Is(err, checkpoint.ErrNoSpace) || !strings.Contains(err.Error(), "MiB are free in "+r.Dir()) {
		t.Errorf("got %v", err)
	}
	prune(t, r, first.ID)

	r.Reserve(0)
	tx := begin(t, r)
	r.Reserve(total + 1)
	_, err = tx.Put(t.Context(), bytes.NewReader(noise(3, 3*frameSize)), checkpoint.ChunkSize)
	if _, commitErr := tx.Commit(t.Context(), manifest(3), nil); !errors.Is(err, checkpoint.ErrNoSpace) || !errors.Is(commitErr, checkpoint.ErrNoSpace) {
		t.Errorf("got %v, then %v", err, commitErr)
	}
	r.Reserve(0)
	intact(t, r, second.ID)
	intact(t, r, second.ID, save(t, r, 4, noise(4, 1000)).ID)
}
