package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

// maxViews is how many restores can be attached to after they have ended.
const maxViews = 4

// restoreView is a restore as its watchers see it: all its events, from the
// first.
type restoreView struct {
	requestID, digest string // digest is restore.Request.Digest

	mu     sync.Mutex
	events []restore.Event
	ended  bool
	err    error
	more   chan struct{} // closed and replaced when something is added
}

func newRestoreView(requestID, digest string) *restoreView {
	return &restoreView{requestID: requestID, digest: digest, more: make(chan struct{})}
}

func (v *restoreView) add(e restore.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events = append(v.events, e)
	v.wake()
}

// end ends the view; err is why the restore ended without a report.
func (v *restoreView) end(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended, v.err = true, err
	v.wake()
}

func (v *restoreView) hasEnded() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ended
}

func (v *restoreView) wake() {
	close(v.more)
	v.more = make(chan struct{})
}

// next returns the event at index i, waiting for it; false when there is none
// any more.
func (v *restoreView) next(ctx context.Context, i int) (restore.Event, bool, error) {
	for {
		v.mu.Lock()
		events, ended, err, more := v.events, v.ended, v.err, v.more
		v.mu.Unlock()
		switch {
		case i < len(events):
			return events[i], true, nil
		case ended:
			return restore.Event{}, false, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return restore.Event{}, false, ctx.Err()
		}
	}
}

// all yields the events from the first on.
func (v *restoreView) all(ctx context.Context) iter.Seq2[restore.Event, error] {
	return func(yield func(restore.Event, error) bool) {
		for i := 0; ; i++ {
			e, ok, err := v.next(ctx, i)
			switch {
			case err != nil:
				yield(restore.Event{}, err)
				return
			case !ok || !yield(e, nil):
				return
			}
		}
	}
}

// Restore is part of rpc.Backend.
func (a *Agent) Restore(ctx context.Context, r rpc.RestoreRequest) (iter.Seq2[restore.Event, error], error) {
	if r.RequestID == "" {
		r.RequestID = rand.Text() // told by the first event, so that anyone can attach again
	}
	v, isNew, err := a.attach(r.RequestID, asked(r).Digest())
	if err != nil {
		return nil, err
	}
	if isNew {
		// The restore is the loop's and outlives this call.
		go func() {
			err := a.submit(context.WithoutCancel(ctx), func(ctx context.Context) { a.restoreRequest(ctx, r, v) })
			if err != nil {
				v.end(err)
			}
		}()
	}
	// An error before the first event is this call's.
	if _, _, err := v.next(ctx, 0); err != nil {
		return nil, err
	}
	return v.all(ctx), nil
}

// attach returns the view of a restore that runs or has run, or a new one. One
// restore at a time: while one runs, another is checkpoint.ErrBusy.
func (a *Agent) attach(requestID, digest string) (*restoreView, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.views {
		switch {
		case requestID == "" || v.requestID != requestID:
		case v.digest != digest:
			return nil, false, fmt.Errorf("%w: %q", checkpoint.ErrRequestReused, requestID)
		default:
			return v, false, nil
		}
	}
	for _, v := range a.views {
		if !v.hasEnded() {
			return nil, false, fmt.Errorf("%w: a restore is running (request %q)", checkpoint.ErrBusy, v.requestID)
		}
	}
	v := newRestoreView(requestID, digest)
	a.addView(v)
	return v, true, nil
}

// ownView returns the view of a restore that the loop runs by itself. One that
// was asked for meanwhile waits for the loop: it must not keep the agent from
// restoring, or what is to be restored would be captured over.
func (a *Agent) ownView(requestID, digest string) *restoreView {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := newRestoreView(requestID, digest)
	a.addView(v)
	return v
}

func (a *Agent) addView(v *restoreView) {
	a.views = append(a.views, v)
	if over := len(a.views) - maxViews; over > 0 {
		a.views = a.views[over:]
	}
}

// restoreRequest runs a restore that was asked for, in the loop.
func (a *Agent) restoreRequest(ctx context.Context, r rpc.RestoreRequest, v *restoreView) {
	before := a.shown()
	var q restore.Request
	_, err := a.k.journal(ctx)
	if err == nil {
		q, err = NewRequest(ctx, a.k.dir, a.k.repo, r)
	}
	if err != nil {
		v.end(err)
	} else if report, err := a.runRestore(ctx, q, v); err == nil && !a.decided {
		a.decidedBy(ctx, report)
	}
	a.state(before)
}

// decidedBy makes a restore that the orchestrator asked for the start decision.
func (a *Agent) decidedBy(ctx context.Context, report *restore.Report) {
	d := Decision{Files: restore.ChoiceRestore, Desk: restore.ChoiceRestore, Reason: "restored on request"}
	if err := a.k.decide(d, report.Checkpoint); err != nil {
		a.log.Error("start decision not journaled", "error", err)
	}
	a.decided = true
	// Windows that were not asked for yet, or had no compositor to come back to,
	// are still to come.
	a.desk.wanted, a.desk.target = true, report.Checkpoint
	if _, now, err := a.k.compositor(ctx); err == nil && triedDesk(report) {
		a.desk.accepted, a.desk.target = now, ""
	}
}

// triedDesk reports whether a restore has acted on the desktop.
func triedDesk(r *restore.Report) bool {
	return slices.ContainsFunc(r.Components, func(c restore.ComponentReport) bool {
		return (c.Component == checkpoint.NameWindows || c.Component == checkpoint.NameLayout) && c.Result != restore.Skipped
	})
}

// restore runs a restore of the agent's own, in the loop.
func (a *Agent) restore(ctx context.Context, q restore.Request) error {
	entries, err := Entries(ctx, a.k.repo)
	if err != nil {
		return err
	}
	q.Older, q.Latest, q.Wait = restore.Candidates(entries, q.Checkpoint), a.k.entry.ID, a.o.StartTimeout
	_, err = a.runRestore(ctx, q, a.ownView("", ""))
	return err
}

// runRestore runs a restore and shows it in v and the status. One that was
// rolled back is an error.
func (a *Agent) runRestore(ctx context.Context, q restore.Request, v *restoreView) (*restore.Report, error) {
	a.restoring(q.ID, q.Checkpoint)
	start := time.Now()
	var report *restore.Report
	err := a.k.finish(ctx)
	if err == nil {
		report, err = a.k.restorer(a.shows(v)).Run(ctx, q)
	}
	v.end(err)
	if err != nil {
		return report, err
	}
	a.log.Info("restore ended", "id", q.Checkpoint, "outcome", report.Outcome, "ms", time.Since(start).Milliseconds())
	if report.Outcome == restore.RolledBack {
		return report, errors.New(report.Error)
	}
	return report, nil
}

// resume goes on with the windows of a restore that a crash of the agent
// interrupted. Who asked for it can attach again.
func (a *Agent) resume(ctx context.Context, rec restore.Recovery) {
	a.restoring(rec.Report.RequestID, rec.Report.Checkpoint)
	v := a.ownView(rec.Report.RequestID, rec.Digest)
	_, err := a.k.restorer(a.shows(v)).Resume(ctx)
	v.end(err)
	if err != nil {
		a.log.Error("windows of an earlier restore are not back", "error", err)
	}
}

// restoring shows in the status that a restore begins.
func (a *Agent) restoring(requestID string, id checkpoint.ID) {
	a.mu.Lock()
	a.view.Restore = &rpc.RestoreSummary{RequestID: requestID, Checkpoint: id, Phase: restore.Planned}
	a.mu.Unlock()
	a.state(rpc.SessionRestoring)
}

// shows returns what takes the events of a restore to its view, the status and
// the log.
func (a *Agent) shows(v *restoreView) func(restore.Event) {
	return func(e restore.Event) {
		v.add(e)
		switch {
		case e.Phase != "":
			a.mu.Lock()
			if a.view.Restore != nil {
				a.view.Restore.Phase = e.Phase
			}
			a.mu.Unlock()
		case e.Warning != "":
			a.log.Warn("restore", "warning", e.Warning)
		case e.Item != nil && e.Item.Result == restore.Failed:
			a.log.Warn("not restored", "component", e.Item.Component, "name", e.Item.Name, "reason", e.Item.Reason)
		}
	}
}

// DeclineRestore is part of rpc.Backend.
func (a *Agent) DeclineRestore(ctx context.Context, reason string) (checkpoint.ID, error) {
	var id checkpoint.ID
	var err error
	if ctxErr := a.submit(ctx, func(ctx context.Context) { id, err = a.decline(ctx, reason) }); ctxErr != nil {
		return "", ctxErr
	}
	return id, err
}

func (a *Agent) decline(ctx context.Context, reason string) (checkpoint.ID, error) {
	id, err := a.k.Decline(ctx, reason)
	if err != nil {
		return "", err
	}
	// Also when there was nothing to decline: a restart must not wait again.
	d := Decision{Files: restore.ChoiceDeclined, Desk: restore.ChoiceDeclined, Reason: reason}
	if err := a.k.decideOnce(d, ""); err != nil {
		return "", err
	}
	a.decided = true
	if _, now, err := a.k.compositor(ctx); err == nil {
		a.desk.accepted = now
	}
	a.desk.wanted, a.desk.target = a.desk.accepted != checkpoint.Compositor{} && a.mode != Never, ""
	return id, nil
}
