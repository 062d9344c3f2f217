package restore

import (
	"cmp"
	"slices"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Result is what became of a component, file or window.
type Result string

// The results.
const (
	// Restored: it came back.
	Restored Result = "restored"
	// Kept: what was there stayed, as was decided.
	Kept Result = "kept"
	// Partial: it came back in part, or from an older checkpoint.
	Partial Result = "partial"
	// Skipped: it was not to be restored, or this program cannot.
	Skipped Result = "skipped"
	// Failed: it should have come back and did not.
	Failed Result = "failed"
)

// fine reports whether nothing of it is missing.
func (r Result) fine() bool { return r == Restored || r == Kept }

// Item is what became of a file or window.
type Item struct {
	Component string `json:"component"`
	// Name is the logical path of a file or the leaf of a window.
	Name string `json:"name"`
	// Label is a window's title, or another word for people.
	Label  string `json:"label,omitempty"`
	Result Result `json:"result"`
	// Reason says why, or what else a person should know.
	Reason string `json:"reason,omitempty"`
	// Aside says where what was there before lies now.
	Aside []string `json:"aside,omitempty"`
}

// ComponentReport is what became of a component.
type ComponentReport struct {
	Component string `json:"component"`
	Result    Result `json:"result"`
	Reason    string `json:"reason,omitempty"`
	// From is the checkpoint it came from, where that is an older one.
	From checkpoint.ID `json:"from,omitempty"`
	// Restored of Of files or windows came back.
	Restored int `json:"restored"`
	Of       int `json:"of"`
}

// Report is how a restore ended.
type Report struct {
	RequestID  string        `json:"request_id,omitempty"`
	Checkpoint checkpoint.ID `json:"checkpoint"`
	// Latest is the latest checkpoint, where that is another one.
	Latest checkpoint.ID `json:"latest,omitempty"`
	// Outcome is Done, Degraded, Declined or RolledBack; empty while it runs.
	Outcome    Phase             `json:"outcome,omitempty"`
	Components []ComponentReport `json:"components"`
	// Items holds every window, and the files that did not simply come back or
	// replaced another; at most maxItems.
	Items   []Item    `json:"items"`
	LeftOut int       `json:"items_left_out,omitempty"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end,omitzero"`
	// Aside are the directories in which what was there before is kept.
	Aside []string `json:"aside,omitempty"`
	// Warnings are what a person should know and what stopped nothing.
	Warnings []string `json:"warnings,omitempty"`
	// Error is why it was rolled back.
	Error string `json:"error,omitempty"`
}

const (
	// maxItems bounds the items of a report: what a person can read, and what
	// the API promises.
	maxItems = 1000
	// maxWarnings bounds the warnings.
	maxWarnings = 100
)

// Class is how much came back: what the exit code says.
type Class int

// The classes.
const (
	// Complete: everything that was asked for.
	Complete Class = iota
	// InPart: the report says what did not.
	InPart
	// Nothing at all.
	Nothing
)

// Class returns how much came back.
func (r *Report) Class() Class {
	some := false
	for _, c := range r.Components {
		some = some || c.Result.fine() || c.Result == Partial
	}
	switch {
	case r.Outcome == Done:
		return Complete
	case some && r.Outcome != RolledBack && r.Outcome != Declined:
		return InPart
	}
	return Nothing
}

// Sound reports whether nothing failed: what was merely skipped would be
// skipped again. The checkpoint of a restore that is not sound stays
// protected.
func (r *Report) Sound() bool {
	if r.Outcome == RolledBack {
		return false
	}
	for _, c := range r.Components {
		if c.Result == Failed {
			return false
		}
	}
	for _, i := range r.Items {
		if i.Result == Failed {
			return false
		}
	}
	return true
}

// add notes an item. The ones that failed are never those left out.
func (r *Report) add(i Item) {
	if len(r.Items) < maxItems {
		r.Items = append(r.Items, i)
		return
	}
	r.LeftOut++
	if i.Result != Failed {
		return
	}
	if at := slices.IndexFunc(r.Items, func(o Item) bool { return o.Result.fine() }); at >= 0 {
		r.Items[at] = i
	}
}

func (r *Report) warn(text string) {
	if len(r.Warnings) < maxWarnings {
		r.Warnings = append(r.Warnings, text)
	}
}

// component notes what became of a component; the last word counts.
func (r *Report) component(c ComponentReport) {
	r.Components = slices.DeleteFunc(r.Components, func(o ComponentReport) bool { return o.Component == c.Component })
	r.Components = append(r.Components, c)
	order := checkpoint.Names()
	slices.SortStableFunc(r.Components, func(a, b ComponentReport) int {
		return cmp.Compare(slices.Index(order, a.Component), slices.Index(order, b.Component))
	})
}

// outcome is how a restore with these components ended.
func (r *Report) outcome() Phase {
	for _, c := range r.Components {
		if !c.Result.fine() {
			return Degraded
		}
	}
	return Done
}

// together is the result of a component of whose parts some are fine.
func together(fine, of int, failed bool) Result {
	switch {
	case fine >= of:
		return Restored
	case fine > 0:
		return Partial
	case failed:
		return Failed
	}
	return Skipped
}
