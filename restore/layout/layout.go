// Package layout brings a live Sway into the layout that a checkpoint holds:
// workspaces on their outputs, in order; split, tabbed and stacked containers
// of any nesting, single-child chains included; floating windows and groups,
// one above the other; the scratchpad; sizes to the pixel; marks, borders and
// what else a window has; and the order of focus everywhere.
//
// Sway has no command for that. What it has acts on one container at a time,
// refuses sizes below a minimum and rearranges what lies around. So a tree is
// built as a scaffold in which everything is tabbed: nothing is squashed, a
// split always wraps, and every container has the whole workspace for itself.
// Then each gets its layout and its sizes from the innermost outwards, still
// with the room of the scaffold. Floats are built the same way on a stage, a
// workspace of our own, and then put in their places. What focus and attributes
// are about comes last, when all stands.
//
//	            ┌──────────────── Tree ◄───────────────┐
//	            ▼                                      │
//	saved ─► goal ─► next ─┬─ sweep   what is in the way      ─┐
//	                       ├─ build   what does not stand      │
//	                       ├─ size    a scaffold that was left ├─ guard ─► Run
//	                       ├─ adjust  sizes and places alone   │
//	                       ├─ finish  attributes and focus    ─┘
//	                       └─ nothing left: the report
//
// Each step is a function of the goal and of the tree just read, so what a
// client or the user spoiled is found and repaired by the next, a killed run
// is completed by the next run, and a desktop that is as it was saved gets no
// command at all. As a rule two messages do it, one to build and one to finish:
// what comes out of the scaffold is foretold, so that clients draw only in
// their final sizes. After floats were placed the desktop is watched for a
// second: a client that answers an old size late resizes its window again.
//
// Some commands kill Sway, such as layout on a window of a hidden scratchpad
// group. guard.go checks each command of each batch against a model of the
// tree before anything is sent.
//
// Files: goal.go, reach.go, screen.go and node.go (what is wanted), desk.go
// (what is there), plan.go (which step is next), build.go, size.go, room.go,
// float.go, attribute.go, focus.go (the steps), command.go, guard.go and
// model.go (what is sent), compare.go and report.go (what came of it).
package layout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
	// Config reads the text of the configuration.
	Config(ctx context.Context) (string, error)
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
var limits = map[kind]int{sweep: 2, build: 4, size: 4, adjust: 3, finish: 6}

const (
	// borderLag bounds the wait for a border to show in the tree: Sway gives
	// clients 200 ms to draw it.
	borderLag = 300 * time.Millisecond
	// lateLooks times lateGap is how long floats are watched after they were
	// placed. A client that answers an old size late resizes its window again;
	// all seen did within a second (facts of Sway 1.7 to 1.12).
	lateLooks = 4
	lateGap   = 250 * time.Millisecond
	pollGap   = 20 * time.Millisecond
)

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
	r := run{compositor: c, options: o, saved: saved, windows: windows, tried: map[kind]int{}, moved: map[int64]bool{}}
	for looks := lateLooks; ; {
		if err := r.read(ctx); err != nil {
			return r.report, fmt.Errorf("restore the layout: %w", err)
		}
		step := next(r.goal, r.desk, r.may)
		if step.kind == done {
			if looks == 0 || !r.placed || !wait(ctx, lateGap) {
				r.finish(saved)
				return r.report, nil
			}
			looks--
			clear(r.tried) // what comes from now on is another's doing
			continue
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
	saved      *checkpoint.Layout
	windows    map[string]int64
	tried      map[kind]int
	moved      map[int64]bool // extra windows that were moved
	keep       int64          // what was focused in the beginning
	shown      []visit        // and the workspaces that were shown
	placed     bool           // a float was given a place or size
	bordered   bool           // a border was set by the last step
	maximum    string         // the configured floating_maximum_size, if it matters
	goal       *goal
	desk       *desk
	report     Report
}

// may reports whether a step may still be tried.
func (r *run) may(k kind) bool { return r.tried[k] < limits[k] }

// read looks at the desktop. After borders were set it waits until they show.
func (r *run) read(ctx context.Context) error {
	deadline := time.Now().Add(borderLag)
	for {
		if err := r.look(ctx); err != nil {
			return err
		}
		if !r.bordered || !r.goal.unbordered(r.desk) || time.Now().After(deadline) {
			r.bordered = false
			return nil
		}
		if !wait(ctx, pollGap) {
			return ctx.Err()
		}
	}
}

func (r *run) look(ctx context.Context) error {
	tree, err := r.compositor.Tree(ctx)
	r.report.RoundTrips++
	if err != nil {
		return err
	}
	r.desk = readDesk(tree)
	if r.goal == nil {
		r.keep = r.desk.focused
		r.shown = r.desk.shown()
	}
	r.goal = newGoal(r.saved, r.desk, r.windows)
	if r.maximum == "" && r.goal.cramped() {
		config, err := r.compositor.Config(ctx)
		r.report.RoundTrips++
		if err != nil {
			return err
		}
		r.maximum = maximumIn(config)
	}
	r.goal.maximum = r.maximum
	if r.options.KeepFocus {
		r.goal.keep, r.goal.visits = r.keep, r.shown
	}
	return nil
}

// shown are the visits that show what is shown now, the focused output last.
func (d *desk) shown() []visit {
	var out []visit
	for _, o := range d.outputs {
		switch {
		case o.shown == "" || ours(o.shown):
		case o.name == d.focusedOn:
			out = append(out, visit{workspace: o.shown, output: o.name})
		default:
			out = slices.Insert(out, 0, visit{workspace: o.shown, output: o.name})
		}
	}
	return out
}

// wait reports whether that time has passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// send checks a whole step and runs it.
func (r *run) send(ctx context.Context, s step) error {
	if err := guard(r.desk, s.commands); err != nil {
		return err
	}
	for _, con := range s.moved {
		r.moved[con] = true
	}
	for _, c := range s.commands {
		r.placed = r.placed || strings.HasPrefix(c.text, "resize set") || strings.HasPrefix(c.text, "move absolute")
		r.bordered = r.bordered || strings.HasPrefix(c.text, "border")
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
