package checkpoint

import (
	"slices"
	"time"
)

// The rules of retention. Ages count back from the newest checkpoint, not from
// now: while nothing is committed, nothing is deleted.
const (
	// keepAll is how long every checkpoint is kept, but keepAllMost at most: a
	// busy session commits one every few seconds.
	keepAll     = 5 * time.Minute
	keepAllMost = 30
)

// tier keeps the last checkpoint of each unit of time (UTC) in which there is
// one, as far back as count units before that of the newest checkpoint.
type tier struct {
	unit  time.Duration
	count int
}

func tiers() []tier {
	return []tier{{time.Minute, 60}, {time.Hour, 24}, {24 * time.Hour, 7}}
}

// maxAge bounds every age, so that no sum of hostile times overflows. It is far
// beyond the last tier.
const maxAge = 100 * 24 * time.Hour

// Expired returns which of entries, sorted newest first, retention deletes:
//
//	the last 5 minutes   all, at most 30
//	the last hour        the last of each minute
//	the last day         the last of each hour
//	the last week        the last of each day, UTC
//
// The newest, the pinned ones and those in keep always stay. What stays, stays
// when the rules are applied again, until there is a newer checkpoint.
//
// Epochs and hosts do not count: the order is that of (epoch, seq, id), and ages
// come from Created. Where a clock went back, checkpoints stand in the order
// before the newest and yet were created after it. They are a time of their own,
// in which each is as old as the way from the newest back to it, steps that lead
// forward left out: whatever a wrong clock says, what was there before stays as
// long as it would have.
func Expired(entries []Entry, keep []ID) []ID {
	var expired []ID
	type period struct {
		ahead bool
		unit  time.Duration
		start time.Time
	}
	taken := map[period]bool{}
	recent, way := 0, time.Duration(0)
	for i, e := range entries {
		age, ahead := time.Duration(0), false
		if i > 0 {
			way = min(way+span(e.Created, entries[i-1].Created), maxAge)
			age = way
			if ahead = e.Created.After(entries[0].Created); !ahead {
				age = span(e.Created, entries[0].Created)
			}
		}
		stays := i == 0 || e.Pinned || slices.Contains(keep, e.ID)
		if age <= keepAll && recent < keepAllMost {
			recent++
			stays = true
		}
		for _, t := range tiers() {
			p := period{ahead, t.unit, e.Created.Truncate(t.unit)}
			if !taken[p] && within(entries[0].Created, age, t) {
				stays = true
			}
			taken[p] = true
		}
		if !stays {
			expired = append(expired, e.ID)
		}
	}
	return expired
}

// Expendable returns, of entries, sorted newest first, those that may go besides
// when they take too much: all but the newest, the pinned ones and those in keep.
func Expendable(entries []Entry, keep []ID) []ID {
	var ids []ID
	for i, e := range entries {
		if i > 0 && !e.Pinned && !slices.Contains(keep, e.ID) {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// span returns how long b is after a; 0 when it is not.
func span(a, b time.Time) time.Duration { return max(0, min(b.Sub(a), maxAge)) }

// within reports whether something of that age lies in t, of which newest is
// the end.
func within(newest time.Time, age time.Duration, t tier) bool {
	return newest.Truncate(t.unit).Sub(newest.Add(-age).Truncate(t.unit)) <= time.Duration(t.count)*t.unit
}
