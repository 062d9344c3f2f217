// Package agent keeps a session's checkpoints while the session lives.
//
//	            ┌ jobs (RPC) ─────┐
//	start ─ decide ─ restore ─ loop ◄── changes: files, compositor
//	            └ nothing is      │ ▲
//	              committed here  ▼ └── timer (schedule)
//	                          checkpoint ─ Keeper ─ repository
//
// A Keeper owns the session: it holds the lock and is the only one that
// writes. An Agent drives a Keeper: everything that writes happens one after
// the other in its loop, and everything that only reads goes beside it. What to
// do at the start is a function of what is found (Decide).
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/agent/schedule"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/discover"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/session"
	"github.com/helixml/helix-ckpt/restore"
)

// Options of an agent.
type Options struct {
	Interval, Quiet time.Duration
	// StartTimeout bounds the wait of Mode Wait, and that for the windows of a
	// restore at the start; StopTimeout the last checkpoint and the calls under
	// way when it ends.
	StartTimeout, StopTimeout time.Duration
	Restore                   Mode
	Epoch                     uint64
	Reflection                bool
	Version                   string
	Limits                    Limits
	Compression               repository.Compression
	Log                       *slog.Logger
}

// Agent is the loop and what the API sees of it.
type Agent struct {
	k    *Keeper
	o    Options
	log  *slog.Logger
	jobs chan job
	// ended is closed when no job is taken any more.
	ended chan struct{}

	// The loop's own.
	sched    schedule.Schedule
	mode     Mode
	decided  bool
	desk     deskState
	watcher  *schedule.Watcher
	deskSeen chan struct{}

	retention retention

	transfers transfers

	mu   sync.Mutex // guards what follows
	view rpc.Status
	// unsaved is since when something has changed that is in no checkpoint;
	// problem is why the last one failed.
	unsaved time.Time
	problem string
	// unpruned is why old checkpoints were not deleted, or what they take not
	// freed.
	unpruned string
	// misled is why the start was not as it was asked for.
	misled string
	// written is what status.json says of the components.
	written map[string]checkpoint.State
	views   []*restoreView // the newest last
}

// job is work for the loop.
type job struct {
	do   func(ctx context.Context)
	done chan struct{}
}

// Run is the agent of the session at site: it takes the session, decides,
// restores, and checkpoints until ctx ends; then once more. The error is that of
// a start that failed, such as checkpoint.ErrLocked.
func Run(ctx context.Context, site discover.Session, o Options) error {
	if site.Quiet != "" {
		o.Log.Info("nothing to do here", "reason", site.Quiet)
		return nil
	}
	listener, err := rpc.Listen(ctx, site.Socket)
	if err != nil {
		// Two agents of one session meet at the socket; who it is stands in the lock.
		if holder, held := session.Holder(session.Dir(site.Dir, site.ID)); held && errors.Is(err, checkpoint.ErrLocked) {
			return fmt.Errorf("session %s in %s: %w by %s", site.ID, site.Dir, checkpoint.ErrLocked, holder)
		}
		return err
	}
	k, err := Open(ctx, site, KeeperOptions{Command: "run", Socket: site.Socket, Epoch: o.Epoch, Version: o.Version, Limits: o.Limits, Compression: o.Compression, Log: o.Log})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer k.Close() //nolint:errcheck // the process ends
	a := newAgent(k, o)
	server := rpc.NewServer(a, rpc.Options{Session: site.ID, Reflection: o.Reflection, StopTimeout: o.StopTimeout, Log: o.Log})
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, listener) }()
	o.Log.Info("agent started", "session", site.ID, "dir", site.Dir, "epoch", k.epoch, "socket", site.Socket)
	err = a.run(ctx)
	stopServing()
	return errors.Join(err, <-served)
}

func newAgent(k *Keeper, o Options) *Agent {
	a := &Agent{
		k: k, o: o, log: o.Log, jobs: make(chan job), ended: make(chan struct{}), mode: o.Restore, deskSeen: make(chan struct{}, 1),
		sched:     schedule.Schedule{Interval: o.Interval, Quiet: o.Quiet},
		transfers: newTransfers(k), retention: retention{due: true},
	}
	a.view = rpc.Status{
		Session: k.site.ID, State: rpc.SessionStarting, Instance: k.record.Instance.ID, AgentVersion: o.Version,
		AgentPID: os.Getpid(), Started: time.Now().UTC(), Dir: k.dir,
	}
	a.publish()
	return a
}

func (a *Agent) run(ctx context.Context) error {
	watcher, err := schedule.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close() //nolint:errcheck // the process ends
	a.watcher = watcher
	desk, stop := context.WithCancel(ctx)
	deskDone := make(chan struct{})
	go func() { defer close(deskDone); a.watchDesk(desk) }()
	defer func() { stop(); <-deskDone }()
	defer close(a.ended)
	a.k.record.AgentPID, a.k.record.Started = os.Getpid(), a.view.Started

	if err := a.start(ctx); err != nil {
		return err
	}
	a.loop(ctx)
	a.last(ctx)
	return nil
}

// loop takes checkpoints until ctx ends.
func (a *Agent) loop(ctx context.Context) {
	a.state(rpc.SessionRunning)
	a.tendDesk(ctx)
	// Before the first look, or what changes during it would wait for the interval.
	a.watcher.Watch(a.k.watchDirs())
	a.checkpoint(ctx, "start")
	a.retain(ctx)
	for ctx.Err() == nil {
		due, reason := a.sched.Next()
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
		case <-timer.C:
			a.tendDesk(ctx)
			a.checkpoint(ctx, string(reason))
		case <-a.watcher.Changes():
			a.changed()
		case <-a.deskSeen:
			a.changed()
			a.tendDesk(ctx)
		case j := <-a.jobs:
			a.perform(ctx, j)
		}
		timer.Stop()
		a.retain(ctx)
	}
}

func (a *Agent) changed() {
	now := time.Now()
	a.sched.Changed(now)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unsaved.IsZero() {
		a.unsaved = now
	}
}

// checkpoint takes one by itself. A failure is logged and shown in the status;
// the next one tries again.
func (a *Agent) checkpoint(ctx context.Context, reason string) {
	if _, err := a.take(ctx, Request{Reason: reason}); err != nil && ctx.Err() == nil && !errors.Is(err, checkpoint.ErrNothing) {
		a.log.Error("checkpoint failed", "reason", reason, "error", err)
	}
}

// take takes a checkpoint and notes what it means for the schedule and the
// status.
func (a *Agent) take(ctx context.Context, r Request) (Result, error) {
	start, before := time.Now(), cpuTime()
	accepted := a.desk.accepted
	r.Desk, r.Wanted = &accepted, a.wanted()
	result, err := a.k.Checkpoint(ctx, r)
	if result.Repeated || (err != nil && ctx.Err() != nil) {
		return result, err // nothing was captured: what has changed is still due
	}
	a.sched.Done(start, time.Now(), cpuTime()-before)
	a.mu.Lock()
	a.problem = ""
	switch {
	case err != nil:
		if !errors.Is(err, checkpoint.ErrNothing) {
			a.problem = err.Error()
			if a.unsaved.IsZero() {
				a.unsaved = start // nobody has looked whether something has changed
			}
		}
	case result.Confirmed || result.New:
		a.view.Confirmed = start.UTC()
		if complete(result.Entry.Components) && !a.unsaved.After(start) {
			a.unsaved = time.Time{}
		}
		fallthrough
	default:
		a.view.Components = result.Heads
	}
	moved := result.Heads != nil && !maps.Equal(states(result.Heads), a.written)
	a.mu.Unlock()
	a.publish()
	if moved {
		a.state(a.shown())
	}
	a.watcher.Watch(a.k.watchDirs())
	if result.New {
		a.retention.due = true
		a.log.Info("checkpoint", "id", result.Entry.ID, "reason", r.Reason, "new_bytes", result.Entry.NewBytes, "ms", time.Since(start).Milliseconds())
	}
	return result, err
}

// complete reports whether every component is as it was in the session.
func complete(states map[string]checkpoint.State) bool {
	for _, s := range states {
		if !s.Complete() {
			return false
		}
	}
	return true
}

// last takes the last checkpoint, in what the stop timeout leaves.
func (a *Agent) last(ctx context.Context) {
	a.state(rpc.SessionStopping)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.o.StopTimeout)
	defer cancel()
	a.checkpoint(ctx, "stop")
	a.state(rpc.SessionStopping) // with the last checkpoint
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perform does a job of the API.
func (a *Agent) perform(ctx context.Context, j job) {
	defer close(j.done)
	j.do(ctx)
}

// errStopping: the agent takes no more work.
var errStopping = errors.New("the agent is stopping")

// submit has the loop do something, and returns when it is done. The end of
// ctx takes back what has not begun.
func (a *Agent) submit(ctx context.Context, do func(context.Context)) error {
	j := job{do: do, done: make(chan struct{})}
	select {
	case a.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-a.ended:
		return errStopping
	}
	<-j.done
	return nil
}

// start finds out what is there, decides, and restores files. It returns once
// the session may be captured.
func (a *Agent) start(ctx context.Context) error {
	rec, err := a.k.restorer(nil).Recover(ctx)
	if err != nil {
		return fmt.Errorf("an earlier restore is unfinished: %w", err)
	}
	if rec.Pending {
		a.resume(ctx, rec)
	}
	if err := a.checkMode(ctx); err != nil {
		return err
	}
	found, err := a.k.find(ctx, a.mode)
	if err != nil {
		return err
	}
	d := Decide(found)
	if d.Wait {
		if d, err = a.wait(ctx); err != nil || a.decided {
			return err
		}
	}
	a.log.Info("start decision", "files", d.Files, "desk", d.Desk, "reason", d.Reason)
	return a.carryOut(ctx, d, found.Decided == nil)
}

// wait waits for a restore or a decline by the orchestrator; when neither comes
// in time it decides as Mode Auto would.
func (a *Agent) wait(ctx context.Context) (Decision, error) {
	a.state(rpc.SessionWaiting)
	timeout := time.NewTimer(a.o.StartTimeout)
	defer timeout.Stop()
	for !a.decided {
		select {
		case <-ctx.Done():
			return Decision{}, ctx.Err()
		case j := <-a.jobs:
			a.perform(ctx, j)
			if !a.decided {
				a.state(rpc.SessionWaiting)
			}
		case <-timeout.C:
			a.log.Warn("nobody restored or declined in time", "timeout", a.o.StartTimeout)
			now, err := a.k.find(ctx, Auto)
			return Decide(now), err
		}
	}
	return Decision{}, nil
}

// carryOut journals a decision that is new and restores the files it says. It
// fails open: what could not be restored stays protected, and the session goes
// on.
func (a *Agent) carryOut(ctx context.Context, d Decision, isNew bool) error {
	mode := a.mode
	if !isNew {
		mode = Auto // a checkpoint that was asked for by its id was so once
	}
	files, desk, err := a.k.targets(ctx, mode)
	if err != nil {
		return err
	}
	if isNew {
		target := desk
		if d.Files == restore.ChoiceRestore {
			target = files
		}
		if err := a.k.decide(d, target); err != nil {
			return err
		}
	}
	a.decided = true
	a.desk.wanted, a.desk.target = d.Desk == restore.ChoiceRestore, desk
	_, a.desk.named = mode.checkpoint()
	if d.Files != restore.ChoiceRestore {
		return nil
	}
	if err := a.restore(ctx, restore.Request{Selector: string(files), Checkpoint: files, Scope: restore.ScopeFiles}); err != nil {
		a.log.Error("files were not restored; their checkpoint is kept", "id", files, "error", err)
	}
	return nil
}

// state shows a new state in the status and, durably, in status.json.
func (a *Agent) state(s rpc.SessionState) {
	a.mu.Lock()
	a.view.State = s
	view := a.view
	a.mu.Unlock()
	a.k.record.State = string(s)
	if err := a.k.save(); err != nil {
		a.log.Warn("session record not written", "error", err)
	}
	status := session.Status{Session: view.Session, State: string(s), Since: time.Now().UTC(), PID: view.AgentPID, Epoch: a.k.epoch, LastCheckpoint: a.k.entry.ID}
	if s == rpc.SessionRestoring && view.Restore != nil {
		status.Restoring = view.Restore.Checkpoint
	}
	status.Components = states(view.Components)
	a.mu.Lock()
	a.written = status.Components
	a.mu.Unlock()
	if err := session.SaveStatus(a.k.dir, status); err != nil {
		a.log.Warn("status not written", "error", err)
	}
}

// states returns the states of components alone.
func states(heads map[string]checkpoint.Head) map[string]checkpoint.State {
	s := make(map[string]checkpoint.State, len(heads))
	for name, h := range heads {
		s[name] = h.State
	}
	return s
}

// shown returns the state that the status shows.
func (a *Agent) shown() rpc.SessionState {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.view.State
}

// publish shows what the Keeper holds in the status.
func (a *Agent) publish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.view.Epoch = a.k.epoch
	a.view.Latest = nil
	if a.k.entry.ID != "" {
		entry := a.k.entry
		a.view.Latest = &entry
	}
}
