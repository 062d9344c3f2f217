package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
	requestID string

	mu     sync.Mutex
	events []restore.Event
	ended  bool
	err    error
	more   chan struct{} // closed and replaced when something is added
}

func newRestoreView(requestID string) *restoreView {
	return &restoreView{requestID: requestID, more: make(chan struct{})}
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
	v, isNew, err := a.attach(r.RequestID)
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
func (a *Agent) attach(requestID string) (*restoreView, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.views {
		if requestID != "" && v.requestID == requestID {
			return v, false, nil
		}
	}
	if n := len(a.views); n > 0 {
		last := a.views[n-1]
		last.mu.Lock()
		ended := last.ended
		last.mu.Unlock()
		if !ended {
			return nil, false, fmt.Errorf("%w: a restore is running (request %q)", checkpoint.ErrBusy, last.requestID)
		}
	}
	v := newRestoreView(requestID)
	a.views = append(a.views, v)
	if over := len(a.views) - maxViews; over > 0 {
		a.views = a.views[over:]
	}
	return v, true, nil
}

// restoreRequest runs a restore that was asked for, in the loop.
func (a *Agent) restoreRequest(ctx context.Context, r rpc.RestoreRequest, v *restoreView) {
	before := a.shown()
	q, err := NewRequest(ctx, a.k.dir, a.k.repo, r)
	if err == nil {
		err = a.runRestore(ctx, q, v)
	} else {
		v.end(err)
	}
	if err == nil && !a.decided {
		a.decidedBy(ctx, q)
	}
	a.state(before)
}

// decidedBy makes a restore that the orchestrator asked for the start decision.
func (a *Agent) decidedBy(ctx context.Context, q restore.Request) {
	d := Decision{Files: restore.ChoiceRestore, Desk: restore.ChoiceRestore, Reason: "restored on request"}
	if err := a.k.decide(d, q.Checkpoint); err != nil {
		a.log.Error("start decision not journaled", "error", err)
	}
	a.decided = true
	// Its windows were restored or reported; the compositor is accepted as it is.
	if _, now, err := a.k.compositor(ctx); err == nil {
		a.desk.accepted = now
	}
	a.desk.wanted = true
}

// restore runs a restore of the agent's own, in the loop.
func (a *Agent) restore(ctx context.Context, q restore.Request) error {
	v, _, err := a.attach("")
	if err != nil {
		return err
	}
	entries, _, err := a.k.repo.List(ctx)
	if err != nil {
		v.end(err)
		return err
	}
	q.Older, q.Latest, q.Wait = restore.Candidates(entries, q.Checkpoint), a.k.entry.ID, a.o.StartTimeout
	return a.runRestore(ctx, q, v)
}

// runRestore runs a restore and shows it in v and the status.
func (a *Agent) runRestore(ctx context.Context, q restore.Request, v *restoreView) error {
	a.mu.Lock()
	a.view.Restore = &rpc.RestoreSummary{RequestID: q.ID, Checkpoint: q.Checkpoint, Phase: restore.Planned}
	a.mu.Unlock()
	a.state(rpc.SessionRestoring)
	start := time.Now()
	report, err := a.k.restorer(a.shows(v)).Run(ctx, q)
	v.end(err)
	if err != nil {
		return err
	}
	a.log.Info("restore ended", "id", q.Checkpoint, "outcome", report.Outcome, "ms", time.Since(start).Milliseconds())
	if report.Outcome == restore.RolledBack {
		return errors.New(report.Error)
	}
	return nil
}

// resume goes on with the windows of a restore that a crash of the agent
// interrupted.
func (a *Agent) resume(ctx context.Context) {
	a.state(rpc.SessionRestoring)
	v, _, err := a.attach("")
	if err == nil {
		_, err = a.k.restorer(a.shows(v)).Resume(ctx)
		v.end(err)
	}
	if err != nil {
		a.log.Error("windows of an earlier restore are not back", "error", err)
	}
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
	id, err := a.k.Decline(reason)
	if err != nil {
		return "", err
	}
	a.decided = true
	if _, now, err := a.k.compositor(ctx); err == nil {
		a.desk.accepted = now
	}
	a.desk.wanted, a.desk.target = a.desk.accepted != checkpoint.Compositor{} && a.mode != Never, ""
	return id, nil
}
