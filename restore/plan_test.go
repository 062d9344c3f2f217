package restore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

func TestPlanChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := simple(t, s)
	s.write(t, convPath, "live\n")
	before := s.live(t)
	p, err := s.restorer(st).Plan(t.Context(), restore.Request{Checkpoint: idNew, Latest: idNew})
	if err != nil || p.Refused != "" {
		t.Fatal(err, p)
	}
	if d := difference(s.live(t), before); d != "" || len(s.stagingDirs(t)) > 0 {
		t.Errorf("a plan changed the session: %s", d)
	}
	if len(p.Files) != 3 || len(p.Components) != 3 {
		t.Errorf("plan: %+v", p)
	}
}

func TestRefusalsTouchNothing(t *testing.T) {
	t.Parallel()
	running := func(context.Context) error { return &checkpoint.ZedRunning{PID: 4711} }
	for _, c := range []struct {
		name    string
		change  func(s session, st *store, r *restore.Restorer)
		q       restore.Request
		want    error
		message string
	}{
		{"zed is running", func(_ session, _ *store, r *restore.Restorer) { r.ZedClosed = running }, restore.Request{}, checkpoint.ErrZedRunning, "4711"},
		{"zed is running, but it is not asked for", func(_ session, _ *store, r *restore.Restorer) { r.ZedClosed = running }, restore.Request{Only: []string{"files"}}, nil, ""},
		{"a tab lies below a root that has moved", func(_ session, st *store, _ *restore.Restorer) {
			m := st.manifests[idNew]
			m.Roots = map[string]string{checkpoint.RootWorkspace: "/elsewhere/w"}
			m.Components.Zed.Windows = []checkpoint.ZedWindow{{Roots: []string{"/srv"}, Tabs: []checkpoint.ZedTab{{Path: "$WORKSPACE/app/a.go"}}}}
		}, restore.Request{}, restore.ErrMapNeeded, "--map /elsewhere/w="},
		{"a root has moved, and nothing names it", func(_ session, st *store, _ *restore.Restorer) {
			st.manifests[idNew].Roots = map[string]string{checkpoint.RootHome: "/elsewhere/home"}
		}, restore.Request{}, nil, ""},
		{"a conversation is filed under a directory that has moved", func(_ session, st *store, _ *restore.Restorer) {
			st.manifests[idNew].Roots = map[string]string{checkpoint.RootWorkspace: "/workspace"}
		}, restore.Request{}, restore.ErrMapNeeded, "-workspace-app"},
		{"unknown checkpoint", func(session, *store, *restore.Restorer) {}, restore.Request{Checkpoint: idOld}, checkpoint.ErrNotFound, ""},
		{"unknown component", func(session, *store, *restore.Restorer) {}, restore.Request{Only: []string{"zde"}}, checkpoint.ErrInvalid, "zde"},
		{"a component out of its phase", func(session, *store, *restore.Restorer) {}, restore.Request{Scope: restore.ScopeLayout, Only: []string{"zed"}}, checkpoint.ErrInvalid, ""},
		{"nothing of it in the checkpoint", func(session, *store, *restore.Restorer) {}, restore.Request{Scope: restore.ScopeWindows}, checkpoint.ErrNothing, "windows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			st := simple(t, s)
			r := s.restorer(st)
			c.change(s, st, r)
			if c.q.Checkpoint == "" {
				c.q.Checkpoint = idNew
			}
			before := s.live(t)
			report, err := r.Run(t.Context(), c.q)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), c.message) {
				t.Errorf("message %q does not say %q", err, c.message)
			}
			if d := difference(s.live(t), before); d != "" || report != nil || len(s.stagingDirs(t)) > 0 {
				t.Errorf("something was begun: %s %+v", d, report)
			}
			j, err := restore.Load(s.dir)
			if err != nil || j.Restore != nil {
				t.Errorf("journal %+v, %v", j, err)
			}
		})
	}
}

// Zed opens its databases between the plan and the commit mark.
func TestZedStartedMeanwhileUndoes(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := simple(t, s)
	s.write(t, dbPath, "live")
	before := s.live(t)
	r := s.restorer(st)
	opened := false
	st.copied = func() { opened = true }
	r.ZedClosed = func(context.Context) error {
		if opened {
			return &checkpoint.ZedRunning{PID: 1}
		}
		return nil
	}
	report, err := r.Run(t.Context(), restore.Request{Checkpoint: idNew})
	if !errors.Is(err, checkpoint.ErrZedRunning) || report == nil || report.Outcome != restore.RolledBack || report.Class() != restore.Nothing {
		t.Fatalf("%v %+v", err, report)
	}
	if d := difference(s.live(t), before); d != "" || len(s.stagingDirs(t)) > 0 {
		t.Errorf("not as it was: %s", d)
	}
	j, err := restore.Load(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	const latest checkpoint.ID = "20261123T111500.000Z-00000009"
	if j.Target(latest) != idNew {
		t.Errorf("after a failed restore, latest means %s", j.Target(latest))
	}
	opened, st.copied = false, nil
	run(t, r, restore.Request{Checkpoint: idNew})
	if j, err = restore.Load(s.dir); err != nil || j.Target(latest) != latest {
		t.Errorf("after a good restore, latest still means %s (%v)", j.Target(latest), err)
	}
}

func TestCancelBeforeTheMarkUndoes(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := simple(t, s)
	before := s.live(t)
	ctx, cancel := context.WithCancel(t.Context())
	st.copied = cancel
	report, err := s.restorer(st).Run(ctx, restore.Request{Checkpoint: idNew})
	if !errors.Is(err, context.Canceled) || report.Outcome != restore.RolledBack {
		t.Fatalf("%v %+v", err, report)
	}
	if d := difference(s.live(t), before); d != "" || len(s.stagingDirs(t)) > 0 {
		t.Errorf("not as it was: %s", d)
	}
}
