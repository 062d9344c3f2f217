// Package desk brings the windows of a checkpoint back to a live compositor
// and puts them in their places: it is what package restore calls a Desk.
//
//	saved ─ match ─ live          what is there is taken, never started twice
//	      └ missing ─ launch ─┐
//	   ┌──────────────────────┘
//	   └ events ─ match again ─ … until all are there, or the deadline
//	saved, matched ─ layout ─► exact places
package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/restore"
	"github.com/helixml/helix-ckpt/restore/launch"
	"github.com/helixml/helix-ckpt/restore/layout"
	"github.com/helixml/helix-ckpt/restore/match"
)

// Desk restores onto the Sway that Find finds.
type Desk struct {
	// Find returns the Sway that answers now.
	Find func(context.Context) (sway.Socket, error)
	// Allowed are the programs that may be started.
	Allowed launch.List
	// Env is the environment that they get, but for what names a desktop.
	Env []string

	// launched maps launch ids that were given out to saved processes.
	launched map[string]string
}

var _ restore.Desk = (*Desk)(nil)

// view is the live desktop beside the saved one.
type view struct {
	live    *checkpoint.Windows
	matched match.Result
}

// look reads the desktop and matches it.
func (k *Desk) look(ctx context.Context, s sway.Socket, d restore.Desktop) (view, error) {
	live, _, err := s.Snapshot(ctx, d.Roots)
	if err != nil {
		return view{}, err
	}
	return view{live, match.Match(d.Windows, live, k.launched)}, nil
}

// Plan says which windows are there and which would be launched.
func (k *Desk) Plan(ctx context.Context, d restore.Desktop) ([]restore.WindowPlan, error) {
	s, err := k.Find(ctx)
	if err != nil {
		return nil, err
	}
	v, err := k.look(ctx, s, d)
	if err != nil {
		return nil, err
	}
	pairs := map[string]match.Pair{}
	for _, p := range v.matched.Pairs {
		pairs[p.Saved] = p
	}
	var plans []restore.WindowPlan
	for _, w := range d.Windows.Items {
		plan := restore.WindowPlan{Leaf: w.Leaf, App: application(w), Title: w.Title}
		if p, ok := pairs[w.Leaf]; ok {
			plan.Action, plan.Reason = restore.ActionMatch, reasons(p)
		} else if c, err := k.command(d, w); err != nil {
			plan.Action, plan.Reason = restore.ActionSkip, err.Error()
		} else {
			plan.Action, plan.Reason = restore.ActionLaunch, c.String()
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

func reasons(p match.Pair) string {
	text := strings.Join(p.Reasons, ", ")
	if len(p.Instead) > 0 {
		text += fmt.Sprintf("; it could as well be %s", strings.Join(p.Instead, ", "))
	}
	return text
}

func application(w checkpoint.Window) string {
	if w.AppID != "" {
		return w.AppID
	}
	return w.Class
}

// command plans the launch of the process that shows w.
func (k *Desk) command(d restore.Desktop, w checkpoint.Window) (launch.Command, error) {
	for _, p := range d.Windows.Processes {
		if p.ID == w.Process {
			return k.Allowed.Plan(p, d.Roots)
		}
	}
	return launch.Command{}, errors.New("its process was not seen when it was saved")
}

// Windows launches what is missing and waits for it.
func (k *Desk) Windows(ctx context.Context, d restore.Desktop, report func(restore.Item)) error {
	ctx, cancel := context.WithTimeout(ctx, d.Wait)
	defer cancel()
	s, err := k.await(ctx)
	if err != nil {
		return err
	}
	// Subscribed before anything is launched, so that no window is missed.
	events := watch(ctx, s)
	v, err := k.look(ctx, s, d)
	for errors.Is(err, sway.ErrUnsettled) && ctx.Err() == nil { // others start windows too
		v, err = k.look(ctx, s, d)
	}
	if err != nil {
		return err
	}
	l, err := k.launch(ctx, s, d, v.matched.Missing)
	if err != nil {
		return err
	}
	for len(l.awaited(v.matched.Missing)) > 0 && events.wait(ctx, l.ended) {
		// A desktop that does not come to rest yet is looked at again.
		if now, err := k.look(ctx, s, d); err == nil {
			v = now
		} else if !errors.Is(err, sway.ErrUnsettled) && ctx.Err() == nil {
			return err
		}
	}
	for _, w := range d.Windows.Items {
		item := restore.Item{Component: checkpoint.NameWindows, Name: w.Leaf, Label: w.Title, Result: restore.Restored}
		if slices.Contains(v.matched.Missing, w.Leaf) {
			item.Result, item.Reason = l.why(w.Leaf)
		}
		report(item)
	}
	return nil
}

// await waits for a compositor until ctx ends: files are restored before the
// desktop starts.
func (k *Desk) await(ctx context.Context) (sway.Socket, error) {
	tick := time.NewTicker(searchGap)
	defer tick.Stop()
	for {
		s, err := k.Find(ctx)
		if err == nil || !errors.Is(err, checkpoint.ErrNoCompositor) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-tick.C:
		}
	}
}

// launches are the programs that were started, and those that could not be.
type launches struct {
	running map[string]*launch.Running // by leaf
	failed  map[string]error           // by leaf
	skipped map[string]error           // by leaf
	ended   chan struct{}
}

// launch starts the process of each missing window, once each.
func (k *Desk) launch(ctx context.Context, s sway.Socket, d restore.Desktop, missing []string) (*launches, error) {
	l := &launches{
		running: map[string]*launch.Running{}, failed: map[string]error{}, skipped: map[string]error{}, ended: make(chan struct{}, 1),
	}
	if len(missing) == 0 {
		return l, nil
	}
	display, err := s.Display(ctx, environ(k.Env))
	if err != nil {
		return nil, err
	}
	env := launch.Environment(k.Env, display, string(s))
	if k.launched == nil {
		k.launched = map[string]string{}
	}
	started := map[string]*launch.Running{}
	refused := map[string]error{}
	for _, w := range d.Windows.Items {
		if !slices.Contains(missing, w.Leaf) {
			continue
		}
		c, err := k.command(d, w)
		switch {
		case err != nil:
			l.skipped[w.Leaf] = err
			continue
		case refused[w.Process] != nil:
			l.failed[w.Leaf] = refused[w.Process]
			continue
		case started[w.Process] != nil:
			l.running[w.Leaf] = started[w.Process]
			continue
		}
		r, err := launch.Start(c, env)
		if err != nil {
			refused[w.Process], l.failed[w.Leaf] = err, err
			continue
		}
		if !c.HandsOver {
			k.launched[c.LaunchID] = c.Process
		}
		started[w.Process], l.running[w.Leaf] = r, r
		go l.notify(ctx, r)
	}
	return l, nil
}

// notify wakes the wait when a program ends: its windows will not come.
func (l *launches) notify(ctx context.Context, r *launch.Running) {
	select {
	case <-ctx.Done():
	case <-r.Done():
		select {
		case l.ended <- struct{}{}:
		default:
		}
	}
}

// awaited returns those of missing that may still come: their program runs, or
// has handed over to another.
func (l *launches) awaited(missing []string) []string {
	var out []string
	for _, leaf := range missing {
		r := l.running[leaf]
		if r == nil {
			continue
		}
		select {
		case <-r.Done():
			if !r.Command.HandsOver || r.Err() != nil {
				continue
			}
		default:
		}
		out = append(out, leaf)
	}
	return out
}

// why says why the window of a leaf has not come.
func (l *launches) why(leaf string) (restore.Result, string) {
	if err := l.skipped[leaf]; err != nil {
		return restore.Skipped, err.Error()
	}
	if err := l.failed[leaf]; err != nil {
		return restore.Failed, err.Error()
	}
	r := l.running[leaf]
	if r == nil {
		return restore.Failed, "it went while the others were waited for"
	}
	select {
	case <-r.Done():
		if err := r.Err(); err != nil {
			return restore.Failed, err.Error()
		}
		return restore.Failed, fmt.Sprintf("%s (pid %d) ended without showing it", r.Command.Programs[0], r.PID)
	default:
		return restore.Failed, fmt.Sprintf("%s (pid %d) has not shown it in time", r.Command.Programs[0], r.PID)
	}
}

// Layout puts the windows that are there in their places.
func (k *Desk) Layout(ctx context.Context, d restore.Desktop, report func(restore.Item)) error {
	s, err := k.Find(ctx)
	if err != nil {
		return err
	}
	v, err := k.look(ctx, s, d)
	if err != nil {
		return err
	}
	windows := map[string]int64{}
	for _, p := range v.matched.Pairs {
		if windows[p.Saved], err = sway.ConID(p.Live); err != nil {
			return err
		}
	}
	r, err := layout.Restore(ctx, s, d.Layout, windows, layout.Options{})
	titles := map[string]string{}
	for _, w := range d.Windows.Items {
		titles[w.Leaf] = w.Title
	}
	for _, w := range r.Windows {
		report(restore.Item{Component: checkpoint.NameLayout, Name: w.Leaf, Label: titles[w.Leaf], Result: placed(w.State), Reason: w.Why})
	}
	for _, diff := range r.Differences {
		if _, isWindow := titles[diff.Node]; !isWindow { // a window's says so itself
			why := fmt.Sprintf("want %s, got %s", diff.Want, diff.Got)
			report(restore.Item{Component: checkpoint.NameLayout, Name: diff.Node, Label: diff.What, Result: restore.Partial, Reason: why})
		}
	}
	for _, n := range r.NotRestored {
		report(restore.Item{Component: checkpoint.NameLayout, Name: n.Node, Label: n.What, Result: restore.Skipped, Reason: n.Why})
	}
	return err
}

func placed(s layout.State) restore.Result {
	switch s {
	case layout.Exact:
		return restore.Restored
	case layout.Placed:
		return restore.Partial
	case layout.Left:
		return restore.Skipped
	}
	return restore.Failed
}

// environ looks variables up in a list of them.
func environ(env []string) func(string) string {
	return func(name string) string {
		for _, entry := range slices.Backward(env) {
			if k, v, ok := strings.Cut(entry, "="); ok && k == name {
				return v
			}
		}
		return ""
	}
}

// searchGap lies between two looks for a compositor that has not come yet. Its
// socket answers 50 to 130 ms after its start.
const searchGap = 200 * time.Millisecond

// debounce is how long the desktop must have been quiet before it is looked at
// after an event: windows that start together come together.
const debounce = 30 * time.Millisecond
