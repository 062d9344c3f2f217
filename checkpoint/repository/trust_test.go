package repository

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// TestAWriterDoubtsWhatHasChanged: who wrote a pack does not rely on it when its
// time is another one; what changed in silence, a Verify tells him.
func TestAWriterDoubtsWhatHasChanged(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"another time": false, "in silence": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openTemp(t)
			b := noise(1, 300_000)
			first := save(t, r, 1, b)
			if m := save(t, r, 2, b); m.Stats.NewBytes != 0 || r.Doubts() != 0 {
				t.Fatalf("%d bytes were stored again, %d doubts", m.Stats.NewBytes, r.Doubts())
			}
			before := packTime(t, r)
			_, pack := breakPacks(t, r.Dir(), 100_000)
			must(t, os.Chtimes(pack, time.Time{}, before.Add(time.Second)))
			if silent {
				must(t, os.Chtimes(pack, time.Time{}, before))
				if m := save(t, r, 3, b); m.Stats.NewBytes != 0 {
					t.Fatalf("%d bytes were stored again: the test shows nothing", m.Stats.NewBytes)
				}
				report, err := r.Verify(t.Context(), nil, nil)
				must(t, err)
				if len(report.Damage) == 0 {
					t.Fatal("no damage was found")
				}
			}
			if m := save(t, r, 4, b); m.Stats.NewBytes < int64(len(b)) || r.Doubts() != 1 {
				t.Errorf("%d bytes were stored again, %d doubts", m.Stats.NewBytes, r.Doubts())
			}
			if m := save(t, r, 5, b); m.Stats.NewBytes != 0 || r.Doubts() != 1 {
				t.Errorf("%d bytes were stored once more, %d doubts", m.Stats.NewBytes, r.Doubts())
			}
			fresh, err := Open(r.Dir())
			must(t, err)
			if !bytes.Equal(read(t, fresh, first.Components.Files.Files[0].Content), b) {
				t.Error("other bytes came back")
			}
		})
	}
}

// TestAPackThatWasOnlyTouchedIsReliedUpon, once it was read.
func TestAPackThatWasOnlyTouchedIsReliedUpon(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := noise(1, 10*checkpoint.ChunkSize)
	save(t, r, 1, b)
	_, pack := breakPacks(t, r.Dir(), 100)
	breakPacks(t, r.Dir(), 100) // and back
	must(t, os.Chtimes(pack, time.Time{}, time.Now().Add(time.Hour)))
	if m := save(t, r, 2, b); m.Stats.NewBytes != 0 {
		t.Errorf("%d bytes were stored again", m.Stats.NewBytes)
	}
}

// packTime returns when the only pack was written.
func packTime(t *testing.T, r *Repository) time.Time {
	t.Helper()
	packs, err := os.ReadDir(r.index.dir)
	must(t, err)
	info, err := packs[0].Info()
	must(t, err)
	return info.ModTime()
}
