package agent

import (
	"context"
	"errors"
	"time"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/restore"
)

const (
	// deskPoll is how often the desktop is looked at: for a split, a resize, a
	// new layout there is no event. A look takes 0.3 ms.
	deskPoll = 2 * time.Second
	// deskSearch is how often a compositor is looked for while there is none.
	deskSearch = time.Second
	// deskTries is how often the windows of a new life of the compositor are
	// tried to be restored before it is captured as it is.
	deskTries = 3
)

// deskState is what the loop knows of the desktop.
type deskState struct {
	// accepted is the life of the compositor that is captured.
	accepted checkpoint.Compositor
	// wanted: the next life of a compositor gets the windows of target.
	wanted bool
	target checkpoint.ID
	// named: target was asked for by its id, so that it comes back also in the
	// very life of the compositor that it was captured in.
	named bool
	// tries is how often that failed before it began.
	tries int
}

// watchDesk signals deskSeen when the desktop may have changed or the
// compositor is another one, until ctx ends.
func (a *Agent) watchDesk(ctx context.Context) {
	for ctx.Err() == nil {
		socket, _, err := a.k.site.FindSway(ctx)
		if err == nil {
			a.watchSway(ctx, socket)
			a.signalDesk() // it has ended
		}
		select {
		case <-ctx.Done():
		case <-time.After(deskSearch):
		}
	}
}

// watchSway watches one life of a compositor until it or ctx ends.
func (a *Agent) watchSway(ctx context.Context, socket sway.Socket) {
	ctx, cancel := context.WithCancel(ctx)
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		a.pollSway(ctx, socket)
	}()
	err := socket.Watch(ctx, func(sway.Event) { a.signalDesk() })
	a.log.Debug("compositor is not watched any more", "error", err)
	cancel()
	<-polled
}

func (a *Agent) pollSway(ctx context.Context, socket sway.Socket) {
	tick := time.NewTicker(deskPoll)
	defer tick.Stop()
	var last checkpoint.Hash
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tree, err := socket.Tree(ctx)
		if err != nil {
			continue
		}
		if now := sway.Digest(tree); now != last {
			last = now
			a.signalDesk()
		}
	}
}

func (a *Agent) signalDesk() {
	select {
	case a.deskSeen <- struct{}{}:
	default:
	}
}

// tendDesk looks who the compositor is. A new life of it gets the windows back
// that it should have before it is captured, so that an empty desktop never
// replaces them in a checkpoint.
func (a *Agent) tendDesk(ctx context.Context) {
	_, now, err := a.k.compositor(ctx)
	if err != nil || now.Same(a.desk.accepted) {
		return
	}
	saved, ok := a.k.desk()
	if a.desk.wanted && (a.desk.named || ok && !saved.Same(now)) {
		target := a.desk.target
		if target == "" {
			target = a.k.entry.ID
		}
		a.log.Info("restoring windows", "id", target, "compositor", now.PID)
		q := restore.Request{Selector: string(target), Checkpoint: target, Only: []string{checkpoint.NameWindows, checkpoint.NameLayout}}
		err := a.restore(ctx, q)
		a.state(rpc.SessionRunning)
		if err != nil && !errors.Is(err, checkpoint.ErrNothing) {
			a.desk.tries++
			a.log.Error("windows were not restored", "id", target, "try", a.desk.tries, "error", err)
			if a.desk.tries < deskTries {
				return // not accepted: the checkpoints go on carrying what was saved
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	a.desk = deskState{accepted: now}
	// From now on, another life of the compositor means that it crashed.
	a.desk.wanted = a.mode != Never
}
