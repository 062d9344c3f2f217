// Package schedule says when to take the next checkpoint: every interval, and
// sooner on change.
//
//	change ──quiet──▶ checkpoint      a change is captured once things are quiet
//	change change change … ──limit──▶ even when they never are
//	checkpoint ──cost × 50──▶ change  but captures take under 2 % of a core
//	checkpoint ──interval──▶ tick     and no change waits longer than this
//
// Schedule is a function of times, without a clock. Watcher is where changes of
// files come from.
package schedule

import "time"

const (
	// quietLimit times the quiet time is how long steady change can put a
	// checkpoint off: an agent that writes without pause is never quiet.
	quietLimit = 10
	// dutyCycle bounds the part of one core spent on captures that change asks
	// for: after one that cost t, the next waits for t times this.
	dutyCycle = 50
)

// Reason says why a checkpoint is due; it is stored with it.
type Reason string

// The reasons of the schedule.
const (
	Interval Reason = "interval"
	Change   Reason = "change"
)

// Schedule holds what decides when the next checkpoint is due.
type Schedule struct {
	// Interval is the longest time between two captures.
	Interval time.Duration
	// Quiet is how long nothing must have changed before a change is captured.
	Quiet time.Duration

	last                    time.Time // end of the last capture
	cost                    time.Duration
	firstChange, lastChange time.Time // zero: nothing has changed since
}

// Changed tells that something changed at now.
func (s *Schedule) Changed(now time.Time) {
	if s.firstChange.IsZero() {
		s.firstChange = now
	}
	s.lastChange = now
}

// Done tells that a capture that began at start ended at end, and what CPU time
// it cost. A change since start is still to be captured.
func (s *Schedule) Done(start, end time.Time, cost time.Duration) {
	s.last, s.cost = end, cost
	if s.lastChange.After(start) {
		// The first one of several is not known: none is older than start.
		s.firstChange = start
		return
	}
	s.firstChange, s.lastChange = time.Time{}, time.Time{}
}

// Next returns when the next capture is due, and why.
func (s *Schedule) Next() (time.Time, Reason) {
	tick := s.last.Add(s.Interval)
	if s.firstChange.IsZero() {
		return tick, Interval
	}
	if bound := s.firstChange.Add(s.Interval); bound.Before(tick) {
		tick = bound
	}
	at := s.lastChange.Add(s.Quiet)
	if limit := s.firstChange.Add(quietLimit * s.Quiet); limit.Before(at) {
		at = limit
	}
	if rest := s.last.Add(dutyCycle * s.cost); rest.After(at) {
		at = rest
	}
	if !at.Before(tick) {
		return tick, Interval
	}
	return at, Change
}
