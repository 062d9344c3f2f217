package checkpoint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// noon is a moment far from the start of an hour or a day.
var noon = time.Date(2026, 11, 23, 12, 30, 30, 0, time.UTC)

// line returns the checkpoints created at those times, in that order, newest
// first.
func line(created ...time.Time) []checkpoint.Entry {
	entries := make([]checkpoint.Entry, len(created))
	for i, at := range created {
		id := checkpoint.ID(at.UTC().Format("20060102T150405.000Z") + fmt.Sprintf("-%08x", i))
		entries[i] = checkpoint.Entry{ID: id, Epoch: 1, Seq: uint64(i + 1), Created: at}
	}
	checkpoint.SortEntries(entries)
	return entries
}

// every returns n times, a step apart, the last of them end.
func every(step time.Duration, n int, end time.Time) []time.Time {
	times := make([]time.Time, n)
	for i := range times {
		times[i] = end.Add(-step * time.Duration(n-1-i))
	}
	return times
}

// prune returns what is left of entries.
func prune(entries []checkpoint.Entry, keep ...checkpoint.ID) []checkpoint.Entry {
	expired := checkpoint.Expired(entries, keep)
	return slices.DeleteFunc(slices.Clone(entries), func(e checkpoint.Entry) bool { return slices.Contains(expired, e.ID) })
}

// ages returns how much older than the newest each is.
func ages(entries []checkpoint.Entry) string {
	var s []string
	for _, e := range entries {
		s = append(s, entries[0].Created.Sub(e.Created).String())
	}
	return strings.Join(s, " ")
}

func TestRetentionKeepsLessOfWhatIsOlder(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for _, c := range []struct {
		name  string
		times []time.Time
		want  string // ages
	}{
		{"nothing", nil, ""},
		{"one, however old", []time.Time{{}}, "0s"},
		{
			"the last 30 of one a second, then one a minute", every(time.Second, 300, noon),
			"0s 1s 2s 3s 4s 5s 6s 7s 8s 9s 10s 11s 12s 13s 14s 15s 16s 17s 18s 19s 20s 21s 22s 23s 24s 25s 26s 27s 28s 29s 31s 1m31s 2m31s 3m31s 4m31s",
		},
		{"one a minute of two", every(30*time.Second, 25, noon), "0s 30s 1m0s 1m30s 2m0s 2m30s 3m0s 3m30s 4m0s 4m30s 5m0s 6m0s 7m0s 8m0s 9m0s 10m0s 11m0s 12m0s"},
		{"the last of each hour", every(20*time.Minute, 13, noon), "0s 20m0s 40m0s 1h0m0s 1h40m0s 2h40m0s 3h40m0s"},
		{"the last of each day", every(8*time.Hour, 10, noon), "0s 8h0m0s 16h0m0s 24h0m0s 40h0m0s 64h0m0s"},
		{"a week of days", every(day, 20, noon), "0s 24h0m0s 48h0m0s 72h0m0s 96h0m0s 120h0m0s 144h0m0s 168h0m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := ages(prune(line(c.times...))); got != c.want {
				t.Errorf("kept\n%s, want\n%s", got, c.want)
			}
		})
	}
}

// TestAPauseDeletesNothing: however long nothing is committed, everything stays;
// what comes after a week still finds the day before.
func TestAPauseDeletesNothing(t *testing.T) {
	t.Parallel()
	before := prune(line(every(time.Minute, 3000, noon)...))
	if again := prune(before); len(again) != len(before) {
		t.Errorf("%d of %d are left though nothing has happened", len(again), len(before))
	}
	after := prune(append(line(noon.Add(7*24*time.Hour)), before...))
	if len(after) != 2 {
		t.Errorf("%d are left after a week's pause, want the new one and the last before", len(after))
	}
}

// TestAWrongClockDeletesNothing: a checkpoint of 1970 on top of a full history,
// and a history in whose middle the clock was a year ahead.
func TestAWrongClockDeletesNothing(t *testing.T) {
	t.Parallel()
	history := prune(line(every(time.Minute, 10000, noon)...))
	newest := history[0]
	newest.ID, newest.Seq, newest.Created = "19700101T000000.000Z-00000000", newest.Seq+1, time.Unix(0, 0)
	if got := prune(append([]checkpoint.Entry{newest}, history...)); len(got) != len(history)+1 {
		t.Errorf("%d of %d are left after the clock went back to 1970", len(got), len(history)+1)
	}
	ahead := line(append(every(time.Minute, 3, noon), append(every(time.Minute, 3, noon.AddDate(1, 0, 0)), every(time.Minute, 3, noon.Add(5*time.Minute))...)...)...)
	if got := prune(ahead); len(got) != len(ahead) {
		t.Errorf("%d of %d are left though the clock was a year ahead for a while", len(got), len(ahead))
	}
}

// genLine draws checkpoints of several epochs whose clock mostly goes on.
func genLine(t *rapid.T) []checkpoint.Entry {
	at, epoch := noon, uint64(1)
	var entries []checkpoint.Entry
	for i := range rapid.IntRange(0, 120).Draw(t, "n") {
		unit := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "unit")
		step := unit * time.Duration(rapid.IntRange(0, 50).Draw(t, "step"))
		if rapid.IntRange(0, 9).Draw(t, "back") == 0 {
			step = -step
		}
		if rapid.IntRange(0, 9).Draw(t, "epoch") == 0 {
			epoch++
		}
		at = at.Add(step)
		e := line(at)[0]
		e.ID, e.Epoch, e.Seq = e.ID[:len(e.ID)-8]+checkpoint.ID(fmt.Sprintf("%08x", i)), epoch, uint64(i+1)
		e.Pinned = rapid.IntRange(0, 9).Draw(t, "pinned") == 0
		entries = append(entries, e)
	}
	checkpoint.SortEntries(entries)
	return entries
}

func TestRetentionKeepsWhatItMustAndAgreesWithItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entries := genLine(t)
		var keep []checkpoint.ID
		for _, e := range entries {
			if rapid.IntRange(0, 9).Draw(t, "keep") == 0 {
				keep = append(keep, e.ID)
			}
		}
		left := prune(entries, keep...)
		for i, e := range entries {
			stays := slices.ContainsFunc(left, func(o checkpoint.Entry) bool { return o.ID == e.ID })
			if must := i == 0 || e.Pinned || slices.Contains(keep, e.ID); must && !stays {
				t.Fatalf("%s is gone", e.ID)
			}
		}
		if most := 2*(30+61+25+8) + len(keep); len(left) > most+len(entries)/3 { // pins
			t.Fatalf("%d of %d are left", len(left), len(entries))
		}
		if again := prune(left, keep...); len(again) != len(left) {
			t.Fatalf("%d of %d are left of what had stayed", len(again), len(left))
		}
	})
}

// TestEveryPeriodKeepsOne prunes after every commit, as an agent does, on a
// clock that goes on: of each minute of the last hour, hour of the last day, day
// of the last week there is still the last checkpoint that it ever had.
func TestEveryPeriodKeepsOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(1, 4*3600), 1, 150).Draw(t, "seconds")
		at := noon
		var left []checkpoint.Entry
		last := map[time.Duration]map[time.Time]checkpoint.ID{time.Minute: {}, time.Hour: {}, 24 * time.Hour: {}}
		for i, s := range steps {
			at = at.Add(time.Duration(s) * time.Second)
			e := line(at)[0]
			e.Seq = uint64(i + 1)
			left = prune(append([]checkpoint.Entry{e}, left...))
			for unit, ids := range last {
				ids[at.Truncate(unit)] = e.ID
			}
		}
		for unit, reach := range map[time.Duration]time.Duration{time.Minute: time.Hour, time.Hour: 24 * time.Hour, 24 * time.Hour: 7 * 24 * time.Hour} {
			for start, id := range last[unit] {
				if at.Sub(start) <= reach && !slices.ContainsFunc(left, func(e checkpoint.Entry) bool { return e.ID == id }) {
					t.Fatalf("%s, the last of the %s from %s, is gone", id, unit, start)
				}
			}
		}
	})
}

func TestExpendableIsWhatNothingKeeps(t *testing.T) {
	t.Parallel()
	entries := []checkpoint.Entry{{ID: "newest"}, {ID: "c"}, {ID: "pinned", Pinned: true}, {ID: "good"}, {ID: "a"}}
	if got := checkpoint.Expendable(entries, []checkpoint.ID{"good"}); !slices.Equal(got, []checkpoint.ID{"c", "a"}) {
		t.Errorf("got %v", got)
	}
}
