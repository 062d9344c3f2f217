package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"time"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
)

var _ rpc.Backend = (*Agent)(nil)

// Create is part of rpc.Backend.
func (a *Agent) Create(ctx context.Context, r rpc.CreateRequest) (rpc.Created, error) {
	if err := a.ready(); err != nil {
		return rpc.Created{}, err
	}
	var result Result
	var err error
	submitErr := a.submit(ctx, func(loop context.Context) {
		// The caller's deadline counts, and so does the end of the agent.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(loop, cancel)()
		result, err = a.take(ctx, Request{Reason: r.Reason, Pin: r.Pin, RequestID: r.RequestID})
	})
	if submitErr != nil {
		return rpc.Created{}, submitErr
	}
	return rpc.Created{Entry: result.Entry, Confirmed: result.Confirmed}, err
}

// ready returns why the session must not be written to now.
func (a *Agent) ready() error {
	switch s := a.shown(); s {
	case rpc.SessionStarting, rpc.SessionWaiting:
		return fmt.Errorf("%w: the agent is %s; restore, or decline it", checkpoint.ErrUndecided, s)
	case rpc.SessionRestoring:
		return fmt.Errorf("%w: a restore is running", checkpoint.ErrBusy)
	}
	return nil
}

// List is part of rpc.Backend.
func (a *Agent) List(ctx context.Context) ([]checkpoint.Entry, error) {
	entries, _, err := a.k.repo.List(ctx)
	return entries, err
}

// Get is part of rpc.Backend.
func (a *Agent) Get(ctx context.Context, selector string) (rpc.Found, error) {
	// Damaged ones too: who asks for the latest must learn that it is.
	entries, err := Entries(ctx, a.k.repo)
	if err != nil {
		return rpc.Found{}, err
	}
	entry, err := checkpoint.Select(entries, selector)
	if err != nil {
		return rpc.Found{}, err
	}
	m, _, err := a.k.repo.Load(ctx, entry.ID)
	return rpc.Found{Entry: entry, Manifest: m}, err
}

// Files is part of rpc.Backend.
func (a *Agent) Files(ctx context.Context, m *checkpoint.Manifest, component string) iter.Seq2[checkpoint.File, error] {
	return func(yield func(checkpoint.File, error) bool) {
		set := m.Components.FileSet(component)
		if set == nil {
			return
		}
		release, err := a.k.repo.Hold(m.ID)
		if err != nil {
			yield(checkpoint.File{}, err)
			return
		}
		defer release()
		files, err := a.k.repo.Files(ctx, set)
		if err != nil {
			yield(checkpoint.File{}, err)
			return
		}
		for _, f := range files {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// Threads is part of rpc.Backend.
func (a *Agent) Threads(ctx context.Context, m *checkpoint.Manifest) iter.Seq2[checkpoint.Thread, error] {
	return func(yield func(checkpoint.Thread, error) bool) {
		if m.Components.Zed == nil || m.Components.Zed.Threads == nil {
			return
		}
		release, err := a.k.repo.Hold(m.ID)
		if err != nil {
			yield(checkpoint.Thread{}, err)
			return
		}
		defer release()
		stopped := fmt.Errorf("stopped")
		err = a.k.repo.ReadList(ctx, *m.Components.Zed.Threads, func(entry json.RawMessage) error {
			var t checkpoint.Thread
			if err := json.Unmarshal(entry, &t); err != nil {
				return fmt.Errorf("list of threads: %w: %w", checkpoint.ErrDamaged, err)
			}
			if !yield(t, nil) {
				return stopped
			}
			return nil
		})
		if err != nil && err != stopped { //nolint:errorlint // our own value, handed through
			yield(checkpoint.Thread{}, err)
		}
	}
}

// Status is part of rpc.Backend.
func (a *Agent) Status(context.Context) (rpc.Status, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.view
	s.Components = maps.Clone(s.Components)
	if !a.unsaved.IsZero() {
		s.Unsaved = time.Since(a.unsaved)
	}
	for _, problem := range []string{a.problem, a.unpruned, a.misled} {
		if problem != "" {
			s.Problems = append(s.Problems, problem)
		}
	}
	if s.Restore != nil {
		r := *s.Restore
		s.Restore = &r
	}
	return s, nil
}
