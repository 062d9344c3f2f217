package checkpoint

import "slices"

// State says how well a file or component was captured.
type State string

// The states. Of a file: ok, partial, carried, failed. Of a component: also
// absent.
const (
	// OK: what is stored is what was there.
	OK State = "ok"
	// Partial: a file without its torn last line; a component of which not
	// every file is ok.
	Partial State = "partial"
	// Carried: taken over unchanged from an earlier checkpoint, because it
	// could not be captured well now.
	Carried State = "carried"
	// Failed: nothing was captured and there was nothing to carry.
	Failed State = "failed"
	// Absent: nothing exists, now or before.
	Absent State = "absent"
)

// Known reports whether s is one of the states of the format.
func (s State) Known() bool {
	return slices.Contains([]State{OK, Partial, Carried, Failed, Absent}, s)
}

// Usable reports whether there is something of it to restore.
func (s State) Usable() bool { return s == OK || s == Partial || s == Carried }

// Complete reports whether nothing of it is missing or old: what makes a
// checkpoint command exit 0.
func (s State) Complete() bool { return s == OK || s == Absent }

// Combine gives a component the state that its files' states add up to: ok if
// all are ok, carried if all are carried, failed if nothing was captured or
// carried, absent if there is none, else partial.
func Combine(files []State) State {
	if len(files) == 0 {
		return Absent
	}
	count := map[State]int{}
	for _, s := range files {
		count[s]++
	}
	switch len(files) {
	case count[OK]:
		return OK
	case count[Carried]:
		return Carried
	case count[Failed]:
		return Failed
	}
	return Partial
}
