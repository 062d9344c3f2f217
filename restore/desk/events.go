package desk

import (
	"context"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// poll is how often the desktop is looked at without an event: should the
// subscription break, windows are still found.
const poll = time.Second

// events are the compositor's, while windows are waited for.
type events struct{ signal chan struct{} }

// watch subscribes until ctx ends, and returns once nothing is missed any more
// or the subscription has failed, in which case polling is left.
func watch(ctx context.Context, s sway.Socket) events {
	e := events{make(chan struct{}, 1)}
	subscribed := make(chan struct{})
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		s.Watch(ctx, func(ev sway.Event) { //nolint:errcheck // polling is left
			if ev.Kind == sway.Subscribed {
				close(subscribed)
			}
			select {
			case e.signal <- struct{}{}:
			default:
			}
		})
	}()
	select {
	case <-subscribed:
	case <-failed:
	}
	return e
}

// wait returns true when the desktop should be looked at again, and false when
// ctx has ended.
func (e events) wait(ctx context.Context, also <-chan struct{}) bool {
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-also:
		return true
	case <-timer.C:
		return true
	case <-e.signal:
	}
	for {
		timer.Reset(debounce)
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-e.signal:
		}
	}
}
