// Package layout brings the tiled windows of a live Sway into the places that
// a checkpoint holds: workspaces, split, tabbed and stacked containers of any
// nesting, single-child chains included, sizes to the pixel, and the order of
// focus everywhere.
//
// Sway has no command for that. What it has acts on one container at a time,
// refuses sizes below a minimum and rearranges what lies around. So a tree is
// built as a scaffold in which everything is tabbed: nothing is squashed, a
// split always wraps, and every container has the whole workspace for itself.
// Then each gets its layout and its sizes from the innermost outwards, still
// with the room of the scaffold, and the focus is replayed.
//
//	            ┌──────────────── Tree ◄───────────────┐
//	            ▼                                      │
//	saved ─► goal ─► next ─┬─ sweep   what is in the way      ─┐
//	                       ├─ build   all, on wrong workspaces │
//	                       ├─ size    a scaffold that was left ├─ guard ─► Run
//	                       ├─ adjust  sizes alone              │
//	                       ├─ focus   the order of focus      ─┘
//	                       └─ nothing left: the report
//
// Each step is a function of the goal and of the tree just read, so what a
// client or the user spoiled is found and repaired by the next, a killed run
// is completed by the next run, and a desktop that is as it was saved gets no
// command at all. As a rule one message does it: what comes out of the
// scaffold is foretold, so that clients draw only in their final sizes, and
// the second look at the tree finds nothing to do.
//
// Some commands kill Sway, such as layout on a window of a hidden scratchpad
// group. guard.go checks each command of each batch against a model of the
// tree before anything is sent.
//
// Files: goal.go and node.go (what is wanted), desk.go (what is there), plan.go
// (which step is next), build.go, size.go, focus.go (the steps), command.go and
// guard.go (what is sent), compare.go and report.go (what came of it).
package layout

import (
	"context"
	"fmt"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// Compositor is a live Sway; sway.Socket is one.
type Compositor interface {
	// Tree reads the whole tree.
	Tree(ctx context.Context) (*sway.Node, error)
	// Run executes commands in one message of at most sway.MaxPayload bytes,
	// with one result for each. It returns a *sway.InvalidCommand with the
	// results so far when Sway stopped at one it does not understand.
	Run(ctx context.Context, commands []string) ([]sway.Result, error)
}

// Options of a Restore. The zero value is the full restore.
type Options struct {
	// KeepFocus leaves the focused window and the order of focus as they are
	// found, for windows that come late, when the user has begun to work.
	KeepFocus bool
}

// Report says what became of a Restore.
type Report struct {
	// Windows has every window of the checkpoint, in the order of its layout.
	Windows []Window
	// Extra are the live windows that the checkpoint does not know, or that
	// were not said to be one of its windows.
	Extra []Extra
	// NotRestored names what was saved and was not brought back, node by node.
	NotRestored []NotRestored
	// Differences is what differs from the checkpoint at the end in what
	// Restore does bring back. A size is compared with the saved one, or,
	// where windows are missing or the screen is another, with the share of
	// the space that it stands for.
	Differences []Difference
	// Scaled are the ids of the workspaces that have another size than when
	// they were saved: their proportions were kept.
	Scaled []string
	// RoundTrips counts requests to Sway, Commands and Bytes what was sent.
	RoundTrips, Commands, Bytes int
	// Failed are commands that Sway refused, in its own words. They need not
	// matter: Differences has the result.
	Failed []string
}

// Exact reports whether every window of the checkpoint is back in its place
// and nothing of what Restore brings back differs.
func (r Report) Exact() bool {
	for _, w := range r.Windows {
		if w.State != Exact {
			return false
		}
	}
	return len(r.Differences) == 0
}

// State is what became of a window.
type State string

// What can become of a window.
const (
	// Exact: in its place, in every container and size around it.
	Exact State = "exact"
	// Placed: on its workspace, but not exactly as saved.
	Placed State = "placed"
	// Missing: no live window stands for it.
	Missing State = "missing"
	// Left: it is there and was not touched, as its place (the scratchpad)
	// is not restored.
	Left State = "left"
)

// Window is what became of one window of the checkpoint.
type Window struct {
	Leaf  string
	ConID int64 // 0 when missing
	State State
	// Why says why the state is not exact.
	Why string
}

// Extra is a live window outside of the checkpoint.
type Extra struct {
	ConID int64
	Title string
	// Workspace is where it is now; empty for the hidden scratchpad.
	Workspace string
	// Moved is set when it stood in the way and was given a workspace of its
	// own.
	Moved bool
}

// NotRestored is something that was saved and not brought back.
type NotRestored struct {
	// Node is the saved id of the node, workspace or output.
	Node string
	// What is the attribute, such as marks or fullscreen.
	What string
	Why  string
}

// limits of how often each step is tried. Once does it when nobody interferes;
// rules that move windows and a user at work need another. What four do not
// reach, more do not.
var limits = map[kind]int{sweep: 2, build: 4, size: 4, adjust: 2, focus: 2}

// Restore brings the live desktop to saved. windows maps ids of saved leaves
// to live con_ids. A leaf without one, or whose window has gone, is left out:
// the containers around it are built without it, and the report says so.
// Restore can be called again with more windows, or because something
// changed; it sends only what is needed.
//
// It returns an error only when Sway cannot be asked or a step was refused by
// the guard; the report then says what was reached. Everything else is in the
// report.
func Restore(ctx context.Context, c Compositor, saved *checkpoint.Layout, windows map[string]int64, o Options) (Report, error) {
	r := run{compositor: c, options: o, tried: map[kind]int{}, moved: map[int64]bool{}}
	for {
		if err := r.read(ctx, saved, windows); err != nil {
			return r.report, fmt.Errorf("restore the layout: %w", err)
		}
		step := next(r.goal, r.desk, r.may)
		if step.kind == done {
			r.finish(saved)
			return r.report, nil
		}
		r.tried[step.kind]++
		if err := r.send(ctx, step); err != nil {
			r.finish(saved)
			return r.report, fmt.Errorf("restore the layout: %s: %w", step.kind, err)
		}
	}
}

// run is one Restore under way.
type run struct {
	compositor Compositor
	options    Options
	tried      map[kind]int
	moved      map[int64]bool // extra windows that were moved
	focused    int64          // what was focused in the beginning
	goal       *goal
	desk       *desk
	report     Report
}

// may reports whether a step may still be tried.
func (r *run) may(k kind) bool { return r.tried[k] < limits[k] }

func (r *run) read(ctx context.Context, saved *checkpoint.Layout, windows map[string]int64) error {
	tree, err := r.compositor.Tree(ctx)
	r.report.RoundTrips++
	if err != nil {
		return err
	}
	r.desk = readDesk(tree)
	if r.goal == nil {
		r.focused = r.desk.focused
	}
	r.goal = newGoal(saved, r.desk, windows)
	if r.options.KeepFocus {
		r.goal.keep = r.focused
	}
	return nil
}

// send checks a whole step and runs it.
func (r *run) send(ctx context.Context, s step) error {
	if err := guard(r.desk, s.commands); err != nil {
		return err
	}
	for _, con := range s.moved {
		r.moved[con] = true
	}
	for _, payload := range payloads(s.commands, sway.MaxPayload) {
		results, err := r.compositor.Run(ctx, payload)
		r.report.RoundTrips++
		r.report.Commands += len(payload)
		for i, command := range payload {
			r.report.Bytes += len(command) + len(sway.Separator)
			if i < len(results) && !results[i].Success {
				r.report.Failed = append(r.report.Failed, fmt.Sprintf("%s: %s", command, results[i].Error))
			}
		}
		if err := tolerate(err); err != nil {
			return err
		}
	}
	return nil
}
