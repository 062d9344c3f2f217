package capture_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/capture"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
)

// wantDesk demands the state of windows and layout, which are one unit, and
// how many windows there are.
func (s *site) wantDesk(got taken, state checkpoint.State, windows int) {
	s.t.Helper()
	w, l := got.Components.Windows, got.Components.Layout
	if (w == nil) != (l == nil) || got.Components.Head(checkpoint.NameWindows).State != state || got.Components.Head(checkpoint.NameLayout).State != state {
		s.t.Fatalf("windows %+v, layout %+v, want %s", got.Components.Head(checkpoint.NameWindows), got.Components.Head(checkpoint.NameLayout), state)
	}
	if w != nil && len(w.Items) != windows {
		s.t.Errorf("%d windows, want %d", len(w.Items), windows)
	}
}

// wantDeskFrom demands that windows and layout are those of m, captured there.
func (s *site) wantDeskFrom(got taken, m *checkpoint.Manifest, windows int) {
	s.t.Helper()
	s.wantDesk(got, checkpoint.Carried, windows)
	for _, name := range []string{checkpoint.NameWindows, checkpoint.NameLayout} {
		h, was := got.Components.Head(name), m.Components.Head(name)
		if h.From != m.ID || !h.AsOf.Equal(*was.AsOf) || h.Error == "" {
			s.t.Errorf("%s are %+v, want from %s as of %v", name, h, m.ID, was.AsOf)
		}
	}
	if got.Components.Layout.Compositor != m.Components.Layout.Compositor || got.Components.Windows.Items[0] != m.Components.Windows.Items[0] {
		s.t.Error("another desk than that of the checkpoint it is from")
	}
}

func TestTheDeskIsCapturedOrCarriedAsOne(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	s := newEmptySite(t)
	s.socket = sway.Socket(d.Socket())
	d.Feet([]desktop.Window{{AppID: "one", Title: "1"}, {AppID: "two", Title: "2"}}, "")
	got := s.take()
	s.wantChange(got, capture.New)
	s.wantDesk(got, checkpoint.OK, 2)
	s.wantChange(s.take(), capture.None)
	first := s.prev.Manifest
	seen := first.Components.Layout.Compositor

	// The compositor is gone.
	d.Kill9()
	s.desk = &seen
	for _, socket := range []sway.Socket{"", s.socket} {
		s.socket = socket
		got = s.take()
		s.wantChange(got, capture.Worse)
		s.wantDeskFrom(got, first, 2)
	}
	s.plant(conversation, []byte("{}\n"))
	got = s.take()
	s.wantChange(got, capture.New)
	s.wantDeskFrom(got, first, 2)

	// It is another one, onto which the windows are still to be restored.
	d.Restart()
	s.socket = sway.Socket(d.Socket())
	got = s.take()
	s.wantChange(got, capture.Worse)
	s.wantDeskFrom(got, first, 2)

	// The decision is made.
	s.desk = nil
	got = s.take()
	s.wantChange(got, capture.New)
	s.wantDesk(got, checkpoint.OK, 0)

	// While it lives, what is closed is closed.
	w := d.Foot("three", "3", "")
	s.wantDesk(s.take(), checkpoint.OK, 1)
	d.Close(w)
	got = s.take()
	s.wantChange(got, capture.New)
	s.wantDesk(got, checkpoint.OK, 0)
}

func TestADeskThatCannotBeReadIsFailed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	got := s.take() // no compositor, none before
	s.wantDesk(got, checkpoint.Absent, 0)

	// Something is there, and does not answer.
	socket := filepath.Join(s.t.TempDir(), "sway.sock")
	s.must(os.WriteFile(socket, nil, 0o600))
	s.socket = sway.Socket(socket)
	got = s.take()
	s.wantChange(got, capture.Worse)
	s.wantDesk(got, checkpoint.Failed, 0)
	if h := got.Components.Layout.Head; h.Error == "" {
		t.Errorf("layout is %+v", h)
	}
	s.plant(conversation, []byte("{}\n"))
	s.wantDesk(s.take(), checkpoint.Failed, 0)
	s.wantChange(s.take(), capture.Worse)

	// What failed is nothing to carry.
	s.socket = ""
	got = s.take()
	s.wantDesk(got, checkpoint.Absent, 0)
	s.wantChange(got, capture.New)
	s.wantChange(s.take(), capture.None)
}
