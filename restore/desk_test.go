package restore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

// script is a Desk that says what it is told to.
type script struct {
	windows, layout       []restore.Item
	planErr               error
	windowsErr, layoutErr error
	asked                 []string
	desktop               restore.Desktop
}

func (d *script) Plan(context.Context, restore.Desktop) ([]restore.WindowPlan, error) {
	return []restore.WindowPlan{{Leaf: "w1", Action: restore.ActionLaunch}}, d.planErr
}

func (d *script) Windows(_ context.Context, desktop restore.Desktop, report func(restore.Item)) error {
	d.asked, d.desktop = append(d.asked, "windows"), desktop
	for _, i := range d.windows {
		report(i)
	}
	return d.windowsErr
}

func (d *script) Layout(_ context.Context, _ restore.Desktop, report func(restore.Item)) error {
	d.asked = append(d.asked, "layout")
	for _, i := range d.layout {
		report(i)
	}
	return d.layoutErr
}

// withDesk is a store with one checkpoint of two windows and one file.
func withDesk(s session) *store {
	st := newStore()
	st.add(idNew, s.roots, checkpoint.Components{
		Windows: &checkpoint.Windows{Head: head(), Items: []checkpoint.Window{{Leaf: "w1", Title: "one"}, {Leaf: "w2", Title: "two"}}},
		Layout: &checkpoint.Layout{Head: head(), Workspaces: []checkpoint.Workspace{
			{ID: "ws:1", Name: "1", Nodes: []*checkpoint.Node{{ID: "w1"}, {ID: "w2"}}},
		}},
		Files: filesOf(st.file(filePath, checkpoint.KindFile, []byte("x"))),
	})
	return st
}

func TestDesk(t *testing.T) {
	t.Parallel()
	item := func(leaf string, r restore.Result) restore.Item {
		return restore.Item{Name: leaf, Result: r, Reason: "because"}
	}
	both := []restore.Item{item("w1", restore.Restored), item("w2", restore.Restored)}
	for _, c := range []struct {
		name            string
		desk            *script
		q               restore.Request
		asked           string
		windows, layout restore.Result
		outcome         restore.Phase
		protected       bool
	}{
		{"all come", &script{windows: both}, restore.Request{}, "windows layout", restore.Restored, restore.Restored, restore.Done, false},
		{
			"one is never heard of", &script{windows: both[:1], layout: []restore.Item{item("w2", restore.Failed)}},
			restore.Request{},
			"windows layout", restore.Partial, restore.Partial, restore.Degraded, true,
		},
		{
			"one may not be launched", &script{windows: []restore.Item{both[0], item("w2", restore.Skipped)}},
			restore.Request{},
			"windows layout", restore.Partial, restore.Restored, restore.Degraded, false,
		},
		{
			"a float is not restored yet", &script{windows: both, layout: []restore.Item{item("HEADLESS-2", restore.Skipped)}},
			restore.Request{},
			"windows layout", restore.Restored, restore.Partial, restore.Degraded, false,
		},
		{
			"no compositor", &script{windowsErr: checkpoint.ErrNoCompositor},
			restore.Request{},
			"windows", restore.Skipped, restore.Skipped, restore.Degraded, false,
		},
		{
			"it breaks in the middle", &script{windows: both, layoutErr: errors.New("sway went")},
			restore.Request{},
			"windows layout", restore.Restored, restore.Failed, restore.Degraded, true,
		},
		{
			"it could not be planned", &script{windows: both, planErr: errors.New("the desktop does not come to rest")},
			restore.Request{},
			"windows layout", restore.Restored, restore.Restored, restore.Done, false,
		},
		{"windows only", &script{windows: both}, restore.Request{Scope: restore.ScopeWindows}, "windows", restore.Restored, "", restore.Done, false},
		{"layout only", &script{}, restore.Request{Scope: restore.ScopeLayout}, "layout", "", restore.Restored, restore.Done, false},
		{"files only", &script{}, restore.Request{Scope: restore.ScopeFiles}, "", "", "", restore.Done, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			r := s.restorer(withDesk(s))
			r.Desk = c.desk
			c.q.Checkpoint = idNew
			report := run(t, r, c.q)
			if got := strings.Join(c.desk.asked, " "); got != c.asked {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
			for name, want := range map[string]restore.Result{"windows": c.windows, "layout": c.layout} {
				if want != "" && component(t, report, name).Result != want {
					t.Errorf("%s: %+v, want %s", name, component(t, report, name), want)
				}
			}
			if report.Outcome != c.outcome {
				t.Errorf("outcome %s, want %s", report.Outcome, c.outcome)
			}
			j, err := restore.Load(s.dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(j.Protected) > 0; got != c.protected {
				t.Errorf("protected: %v, want %v", got, c.protected)
			}
		})
	}
}

// TestFilesAreNotHeldBackByWindows: a restore of windows that failed keeps its
// checkpoint for the next of windows, but files that were checkpointed since
// are newer.
func TestFilesAreNotHeldBackByWindows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		q     restore.Request
		files checkpoint.ID
	}{
		{restore.Request{Only: []string{checkpoint.NameWindows, checkpoint.NameLayout}}, idOld},
		{restore.Request{}, idNew},
	} {
		s := newSession(t)
		r := s.restorer(withDesk(s))
		r.Desk = &script{}
		c.q.Checkpoint = idNew
		run(t, r, c.q)
		j, err := restore.Load(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := j.FilesTarget(idOld); got != c.files || j.Target(idOld) != idNew {
			t.Errorf("after %v: files of %s, want %s; windows of %s", c.q.Only, got, c.files, j.Target(idOld))
		}
	}
}

func TestUnheardWindowsAreNamed(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	r := s.restorer(withDesk(s))
	r.Desk = &script{}
	report := run(t, r, restore.Request{Checkpoint: idNew, Wait: 3 * time.Second})
	var named []string
	for _, i := range report.Items {
		if i.Component == checkpoint.NameWindows && i.Result == restore.Failed {
			named = append(named, i.Name+" "+i.Label+": "+i.Reason)
		}
	}
	if !slices.Equal(named, []string{"w1 one: it did not come within 3s", "w2 two: it did not come within 3s"}) {
		t.Errorf("named: %q", named)
	}
}

// The agent dies while windows are waited for; the next one goes on, with what
// is left of the time.
func TestResume(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	type died struct{}
	r := s.restorer(withDesk(s))
	r.Now = func() time.Time { return now }
	r.Desk = &script{}
	r.Emit = func(e restore.Event) {
		if e.Phase == restore.InLayout {
			panic(died{})
		}
	}
	func() {
		defer func() {
			if v := recover(); v != (died{}) {
				t.Errorf("it did not die: %v", v)
			}
		}()
		_, err := r.Run(t.Context(), restore.Request{ID: "r", Checkpoint: idNew})
		t.Error("it came to its end", err)
	}()
	if _, err := r.Run(t.Context(), restore.Request{ID: "other", Checkpoint: idNew}); !errors.Is(err, restore.ErrUnfinished) || !errors.Is(err, checkpoint.ErrBusy) {
		t.Errorf("another restore was begun: %v", err)
	}

	now = now.Add(15 * time.Second)
	desk := &script{windows: []restore.Item{{Name: "w1", Result: restore.Restored}, {Name: "w2", Result: restore.Restored}}}
	r.Desk, r.Emit = desk, nil
	did, err := r.Recover(t.Context())
	if err != nil || !did.Pending || did.Finished {
		t.Fatalf("%+v %v", did, err)
	}
	report, err := r.Resume(t.Context())
	if err != nil || report.Outcome != restore.Done {
		t.Fatalf("%+v %v", report, err)
	}
	if desk.desktop.Wait != 5*time.Second {
		t.Errorf("left of 20 s after 15: %v", desk.desktop.Wait)
	}
	if len(report.Items) != 2 {
		t.Errorf("items of the attempt that died are still there: %+v", report.Items)
	}
	if _, err := r.Resume(t.Context()); !errors.Is(err, checkpoint.ErrNothing) {
		t.Errorf("resumed twice: %v", err)
	}
	if did, err := r.Recover(t.Context()); err != nil || did.Report != nil {
		t.Errorf("recovered again: %+v %v", did, err)
	}
}
