package schedule_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/agent/schedule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var zero = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func at(s float64) time.Time { return zero.Add(time.Duration(s * float64(time.Second))) }

func TestNext(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		cost    time.Duration
		changes []float64
		want    float64
		reason  schedule.Reason
	}{
		{"nothing changes", 0, nil, 60, schedule.Interval},
		{"a change, then quiet", 0, []float64{5}, 6, schedule.Change},
		{"quiet starts again with each change", 0, []float64{5, 5.5, 6.2}, 7.2, schedule.Change},
		{"steady change is captured all the same", 0, []float64{5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, 15, schedule.Change},
		{"a dear capture rests", 400 * time.Millisecond, []float64{5}, 20, schedule.Change},
		{"but never longer than the interval", 5 * time.Second, []float64{5}, 60, schedule.Interval},
		{"a change just before the tick", 0, []float64{59.5}, 60, schedule.Interval},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := schedule.Schedule{Interval: time.Minute, Quiet: time.Second}
			s.Done(at(-1), at(0), tc.cost)
			for _, c := range tc.changes {
				s.Changed(at(c))
			}
			if got, reason := s.Next(); !got.Equal(at(tc.want)) || reason != tc.reason {
				t.Errorf("next at %v for %s, want %v for %s", got.Sub(zero), reason, tc.want, tc.reason)
			}
		})
	}
}

// TestNoChangeWaitsLongerThanTheInterval, whatever happens: also a change that
// comes while a capture runs.
func TestNoChangeWaitsLongerThanTheInterval(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := schedule.Schedule{Interval: time.Minute, Quiet: time.Duration(rapid.IntRange(0, 10000).Draw(t, "quiet")) * time.Millisecond}
		now := zero
		s.Done(now, now, 0)
		step := func(label string) time.Duration {
			return time.Duration(rapid.IntRange(0, 5000).Draw(t, label)) * time.Millisecond
		}
		var open time.Time // the oldest change that no capture has seen
		for range 50 {
			now = now.Add(step("pause"))
			due, _ := s.Next()
			if due.Before(now) {
				start := now
				took := step("capture")
				var during time.Time
				if rapid.Bool().Draw(t, "change during the capture") {
					during = start.Add(took / 2).Add(1)
					s.Changed(during)
				}
				now = start.Add(took).Add(2)
				s.Done(start, now, step("cost"))
				open = during
				continue
			}
			s.Changed(now)
			if open.IsZero() {
				open = now
			}
			if due, _ := s.Next(); due.Sub(open) > s.Interval {
				t.Fatalf("a change at %v waits until %v", open.Sub(zero), due.Sub(zero))
			}
		}
	})
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	here, later := filepath.Join(dir, "here"), filepath.Join(dir, "a", "b", "later")
	if err := os.Mkdir(here, 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := schedule.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // a test
	w.Watch([]string{here, later})
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(time.Now().String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string) {
		t.Helper()
		select {
		case <-w.Changes():
		case <-time.After(10 * time.Second):
			t.Fatalf("no change was told: %s", what)
		}
	}
	write(filepath.Join(here, "db.sqlite-wal"))
	expect("a file of a watched directory")

	// What is none of our business, in an ancestor of a directory to come, is
	// followed by something that is: the first signal is of that.
	write(filepath.Join(dir, "unrelated"))
	if err := os.MkdirAll(later, 0o700); err != nil {
		t.Fatal(err)
	}
	expect("the directory appears")
	// Its watch is on once a second Watch, which the loop takes after that
	// event, has returned.
	w.Watch([]string{here, later})
	w.Watch([]string{here, later})
	select {
	case <-w.Changes():
	default:
	}
	write(filepath.Join(later, "threads.db"))
	expect("a file of the directory that came later")
}
