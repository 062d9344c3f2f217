package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
	"github.com/helixml/helix-ckpt/restore"
)

// story is a restore with an event of every kind.
func story() []restore.Event {
	id := testEntry(1).ID
	return []restore.Event{
		{Started: &restore.Started{RequestID: "r-1", Checkpoint: id, Latest: testEntry(2).ID}},
		{Phase: restore.Planned},
		{Phase: restore.Verified},
		{Phase: restore.Staged},
		{Phase: restore.Committed},
		{Item: &restore.Item{Component: "zed", Name: "$ZED_DATA/threads/threads.db", Result: restore.Restored}},
		{Phase: restore.FilesReady},
		{Item: &restore.Item{Component: "windows", Name: "w1", Label: "foot", Result: restore.Failed, Reason: "no such program"}},
		{Warning: "a window came late"},
		{Component: &restore.ComponentReport{Component: "windows", Result: restore.Partial, Restored: 1, Of: 2}},
		{Phase: restore.InWindows},
		{Phase: restore.InLayout},
		{Report: &restore.Report{
			RequestID: "r-1", Checkpoint: id, Outcome: restore.Degraded, Start: time.Unix(1, 0).UTC(), End: time.Unix(2, 0).UTC(), Aside: []string{"/a"}, Latest: testEntry(2).ID, Warnings: []string{"late"},
			Components: []restore.ComponentReport{{Component: "zed", Result: restore.Restored, Restored: 1, Of: 1}, {Component: "windows", Result: restore.Partial, Reason: "1 of 2", From: id, Restored: 1, Of: 2}},
			Items:      []restore.Item{{Component: "windows", Name: "w1", Result: restore.Failed, Aside: []string{"/a/b"}}}, Error: "x",
		}},
	}
}

// watch collects the events of a restore.
func watch(ctx context.Context, c *Client, r RestoreRequest) (events []restore.Event, err error) {
	for e, err := range c.Restore(ctx, r) {
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

func TestRestoreIsTold(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := newScript()
	m.restores["r-1"] = s
	c := NewClient(serve(t, m, Options{}).dial(t))
	for _, e := range story() {
		s.play(e)
	}
	want := RestoreRequest{
		RequestID: "r-1", Selector: "latest~2", Scope: restore.ScopeFiles, Only: []string{"zed", "layout"}, Map: []Mapping{{"/old", "/new"}},
		Force: true, Wait: 5 * time.Second, Threads: ThreadsSkip, IgnoreVersion: true,
	}
	got, err := watch(ctxOf(t), c, want)
	if err != nil {
		t.Fatal(err)
	}
	if diff(m.askedRestore, want) {
		t.Errorf("asked %+v, want %+v", m.askedRestore, want)
	}
	if diff(got, s.events) {
		t.Errorf("got  %+v\nwant %+v", got, s.events)
	}
}

// A stream is a view: the restore goes on without it, and who attaches again
// sees the same events from the first.
func TestRestoreGoesOnWithoutItsViewer(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := newScript()
	m.restores["r-1"] = s
	r := serve(t, m, Options{})
	all := story()

	conn, err := Dial(t.Context(), r.socket)
	if err != nil {
		t.Fatal(err)
	}
	s.play(all[0])
	var seen []restore.Event
	for e, err := range NewClient(conn).Restore(ctxOf(t), RestoreRequest{RequestID: "r-1"}) {
		if err != nil {
			if !errors.Is(err, ErrNoAgent) && !errors.Is(err, context.Canceled) {
				t.Errorf("a lost connection: %v", err)
			}
			break
		}
		if seen = append(seen, e); len(seen) == 3 {
			conn.Close()
			continue
		}
		s.play(all[len(seen)])
	}
	if len(seen) != 3 {
		t.Fatalf("%d events before the connection broke", len(seen))
	}

	for _, e := range all[3:] {
		s.play(e)
	}
	for range 2 { // also after its end
		got, err := watch(ctxOf(t), NewClient(r.dial(t)), RestoreRequest{RequestID: "r-1"})
		if err != nil {
			t.Fatal(err)
		}
		if diff(got, s.events) || diff(got[:3], seen) {
			t.Errorf("attached again: %+v\nwant %+v", got, s.events)
		}
	}
}

// Leaving the sequence ends the view at once, not when the restore ends.
func TestLeavingARestore(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := newScript()
	m.restores["r-1"] = s
	s.play(restore.Event{Phase: restore.Planned})
	c := NewClient(serve(t, m, Options{}).dial(t))
	for _, err := range c.Restore(ctxOf(t), RestoreRequest{RequestID: "r-1"}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range c.Restore(ctx, RestoreRequest{RequestID: "r-1"}) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		cancel()
	}
}

func TestRestoreThatCannotBegin(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.fail = fmt.Errorf("restore: %w", &checkpoint.ZedRunning{PID: 12})
	conn := serve(t, m, Options{}).dial(t)
	events, err := watch(ctxOf(t), NewClient(conn), RestoreRequest{})
	if !errors.Is(err, checkpoint.ErrZedRunning) || len(events) != 0 {
		t.Errorf("got %v after %d events", err, len(events))
	}
	for name, o := range map[string]*ckptv1.RestoreOptions{
		"scope":      {Scope: 99},
		"threads":    {Threads: 99},
		"components": {Components: []ckptv1.Component{99}},
		"min_age":    {MinAge: durationOf(-time.Second)},
		"both":       {MinAge: durationOf(time.Second), Selector: "latest"},
		"wait":       {Wait: durationOf(-1)},
		"mappings":   {Mappings: make([]*ckptv1.PathMapping, maxMappings+1)},
	} {
		for i := range o.Mappings {
			o.Mappings[i] = &ckptv1.PathMapping{}
		}
		stream, err := ckptv1.NewRestoreServiceClient(conn).Restore(ctxOf(t), &ckptv1.RestoreRequest{Options: o})
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecline(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.declined = testEntry(4).ID
	c := NewClient(serve(t, m, Options{}).dial(t))
	if id, err := c.DeclineRestore(ctxOf(t), "fresh start"); err != nil || id != m.declined {
		t.Errorf("got %v, %v", id, err)
	}
}

// A report of a desk with thousands of broken windows still is one message, and
// says how much it leaves out.
func TestReportFitsAMessage(t *testing.T) {
	t.Parallel()
	r := restore.Report{Outcome: restore.Degraded}
	for range 5000 {
		r.Items = append(r.Items, restore.Item{Component: "windows", Label: strings.Repeat("t", 5000), Result: restore.Failed, Reason: strings.Repeat("r", 9000)})
	}
	out := restoreReport(r)
	if size := proto.Size(out); size > maxMessage {
		t.Errorf("%d bytes", size)
	}
	if n := len(out.GetItems()); n == 0 || n+int(out.GetItemsLeftOut()) != 5000 {
		t.Errorf("%d items, %d left out", n, out.GetItemsLeftOut())
	}
}

// What a caller asks for is read the same whoever wrote it.
func FuzzRestoreRequest(f *testing.F) {
	for _, r := range []RestoreRequest{{}, {RequestID: "r", Only: []string{"zed"}, Map: []Mapping{{"/a", "/b"}}, MinAge: time.Minute}} {
		b, err := proto.Marshal(restoreRequestOf(r))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &ckptv1.RestoreRequest{}
		if proto.Unmarshal(b, in) != nil {
			return
		}
		r, err := restoreRequest(in)
		if err != nil {
			return
		}
		again, err := restoreRequest(restoreRequestOf(r))
		if err != nil || diff(r, again) {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
		if !slices.Contains([]restore.Scope{restore.ScopeAll, restore.ScopeFiles, restore.ScopeWindows, restore.ScopeLayout}, r.Scope) {
			t.Errorf("scope %q", r.Scope)
		}
	})
}
