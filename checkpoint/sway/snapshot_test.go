package sway_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
)

// A snapshot, written by a renderer of its own in the words of the judge, must
// read like what swaymsg shows: nothing is lost on the way into a checkpoint.
func TestSnapshotHoldsTheWholeDesktop(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	d := desktop.Start(t, desktop.Options{Outputs: 2})
	d.BuildTree(rand.New(rand.NewPCG(seed, 2)), desktop.BuildOptions{Windows: 9, Workspaces: 3})
	for _, command := range []string{
		`[app_id="^w0$"] floating enable, mark --add "a b"`,
		`[app_id="^w1$"] floating enable; [app_id="^w1$"] sticky enable`,
		`[app_id="^w2$"] move scratchpad`,
		`[app_id="^w3$"] inhibit_idle visible`,
		`[app_id="^w4$"] border pixel 3`,
		`[app_id="^w5$"] fullscreen enable`,
		`focus output HEADLESS-2; workspace "mail, and more"`,
	} {
		d.Swaymsg(command)
	}
	windows, layout, raw := snapshot(t, d)
	want, err := desktop.Normalise(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := render(windows, layout); got != want {
		t.Errorf("the snapshot reads\n%s\nswaymsg shows\n%s", got, want)
	}
	if layout.Compositor.PID != d.PID() || layout.State != checkpoint.OK || windows.State != checkpoint.OK {
		t.Errorf("compositor %+v, states %s and %s", layout.Compositor, layout.State, windows.State)
	}

	m := checkpoint.Manifest{
		Format: checkpoint.Format, ID: checkpoint.NewID(time.Now()), Session: "s", Epoch: 1, Seq: 1, Created: time.Now(),
		Components: checkpoint.Components{Windows: windows, Layout: layout},
	}
	encoded, err := checkpoint.Encode(&m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Decode(encoded); err != nil {
		t.Error(err)
	}

	again, sameLayout, _ := snapshot(t, d)
	again.Head, sameLayout.Head = windows.Head, layout.Head
	if !reflect.DeepEqual(again, windows) || !reflect.DeepEqual(sameLayout, layout) {
		t.Error("a second snapshot of the same desktop differs")
	}
}

// snapshot takes one between two equal words of the judge: a client that draws
// late changes the desktop at any time.
func snapshot(t *testing.T, d *desktop.Desktop) (*checkpoint.Windows, *checkpoint.Layout, []byte) {
	t.Helper()
	for before := d.Settled(); ; {
		windows, layout, err := sway.Socket(d.Socket()).Snapshot(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		after := d.Settled()
		if bytes.Equal(before, after) {
			return windows, layout, after
		}
		before = after
	}
}

// render writes a snapshot as desktop.Normalise writes a tree.
func render(w *checkpoint.Windows, l *checkpoint.Layout) string {
	r := renderer{focused: l.Focused, windows: map[string]checkpoint.Window{}}
	for _, item := range w.Items {
		r.windows[item.Leaf] = item
	}
	names := map[string]string{}
	for _, ws := range l.Workspaces {
		names[ws.ID] = ws.Name
	}
	outputs := slices.SortedFunc(slices.Values(l.Outputs), func(a, b checkpoint.Output) int { return strings.Compare(a.Name, b.Name) })
	for _, o := range outputs {
		var focus string
		for _, id := range o.Focus {
			focus += " " + names[id]
		}
		fmt.Fprintf(&r.b, "output %s %s shows %q focus%s\n", o.Name, box(o.Rect), names[o.CurrentWorkspace], focus)
		for _, ws := range l.Workspaces {
			if ws.Output != o.Name {
				continue
			}
			fmt.Fprintf(&r.b, "  workspace %q %s %s%s focus%s\n", ws.Name, ws.Layout, box(ws.Rect), r.focus(ws.ID), r.names(ws.Focus, ws.Nodes, ws.Floating))
			r.nodes("", ws.Nodes, 2)
			r.nodes("floating ", ws.Floating, 2)
		}
	}
	if len(l.Scratchpad) > 0 {
		fmt.Fprintf(&r.b, "scratchpad focus%s\n", r.names(ids(l.Scratchpad), nil, l.Scratchpad))
		r.nodes("floating ", l.Scratchpad, 1)
	}
	return r.b.String()
}

type renderer struct {
	b       strings.Builder
	focused string
	windows map[string]checkpoint.Window
}

func (r *renderer) nodes(kind string, nodes []*checkpoint.Node, depth int) {
	for _, n := range nodes {
		fmt.Fprintf(&r.b, "%s%s", strings.Repeat("  ", depth), kind)
		if n.Leaf() {
			fmt.Fprintf(&r.b, "window %s %q", r.windows[n.ID].AppID, r.windows[n.ID].Title)
		} else {
			r.b.WriteString(n.Layout)
		}
		fmt.Fprintf(&r.b, " %s deco %s content %s border %s %d%s", box(n.Rect), box(n.DecoRect), box(n.WindowRect), n.Border, n.BorderWidth, r.focus(n.ID))
		for name, set := range map[string]bool{" sticky": n.Sticky, " fullscreen": n.FullscreenMode == 1} {
			if set {
				r.b.WriteString(name)
			}
		}
		if n.InhibitIdle != "" && n.InhibitIdle != "none" {
			r.b.WriteString(" inhibits-idle-" + n.InhibitIdle)
		}
		if len(n.Marks) > 0 {
			fmt.Fprintf(&r.b, " marks %q", n.Marks)
		}
		if len(n.Focus) > 0 {
			r.b.WriteString(" focus" + r.names(n.Focus, n.Nodes, nil))
		}
		r.b.WriteString("\n")
		r.nodes("", n.Nodes, depth+1)
	}
}

func (r *renderer) focus(id string) string {
	if id == r.focused {
		return " FOCUSED"
	}
	return ""
}

func (r *renderer) names(focus []string, tiled, floating []*checkpoint.Node) string {
	var s string
	for _, id := range focus {
		if w, ok := r.windows[id]; ok {
			s += " " + w.AppID
			continue
		}
		if i := slices.Index(ids(tiled), id); i >= 0 {
			s += fmt.Sprintf(" #%d", i)
		} else {
			s += fmt.Sprintf(" ~%d", slices.Index(ids(floating), id))
		}
	}
	return s
}

func ids(nodes []*checkpoint.Node) []string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.ID)
	}
	return all
}

func box(r checkpoint.Rect) string { return fmt.Sprintf("%d,%d %dx%d", r.X, r.Y, r.Width, r.Height) }

func TestSnapshotStoresLogicalPathsAndNoSecrets(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	d.Foot("one", "login --password hunter2", d.Dir("app"))
	windows, _, err := sway.Socket(d.Socket()).Snapshot(t.Context(), map[string]string{checkpoint.RootWorkspace: strings.TrimSuffix(d.Dir("app"), "/")})
	if err != nil {
		t.Fatal(err)
	}
	if len(windows.Processes) != 1 || windows.Processes[0].Cwd != checkpoint.RootWorkspace {
		t.Errorf("processes %+v, want one in %s", windows.Processes, checkpoint.RootWorkspace)
	}
	if text := fmt.Sprintf("%+v", windows); strings.Contains(text, "hunter2") {
		t.Errorf("a secret in %s", text)
	}
}

func TestDigestSeesWhatHasNoEventAndIgnoresTitles(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	d.Foot("one", "one", "")
	d.Foot("two", "two", "")
	last := digest(t, d)
	for _, command := range []string{
		`[app_id="^one$"] resize grow right 7 px`, `[app_id="^one$"] splitv`, `[app_id="^two$"] layout tabbed`,
		`[app_id="^one$"] border pixel 4`, `[app_id="^one$"] focus`, `[app_id="^one$"] floating enable`, `[app_id="^one$"] sticky enable`,
	} {
		d.Swaymsg(command)
		now := digest(t, d)
		if now == last {
			t.Errorf("%s is not seen", command)
		}
		last = now
	}
	d.Swaymsg(`[app_id="^one$"] title_format "%title %title"`)
	if digest(t, d) != last {
		t.Error("a title is taken for a change of the layout")
	}
}

func digest(t *testing.T, d *desktop.Desktop) checkpoint.Hash {
	t.Helper()
	root, err := sway.Socket(d.Socket()).Settled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sway.Digest(root)
}

func TestConIDReadsSnapshotIDs(t *testing.T) {
	t.Parallel()
	for node, want := range map[string]int64{"w12": 12, "c7": 7} {
		if got, err := sway.ConID(node); err != nil || got != want {
			t.Errorf("ConID(%q) = %d, %v; want %d", node, got, err, want)
		}
	}
	for _, node := range []string{"", "w", "12", "ws:1", "wx", "w1 kill"} {
		if got, err := sway.ConID(node); err == nil {
			t.Errorf("ConID(%q) = %d", node, got)
		}
	}
}

func TestDisplayIsTheSocketOfTheSameSway(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	path, err := sway.Socket(d.Socket()).Display(t.Context(), func(string) string { return "" })
	if err != nil || path != d.RuntimeDir()+"/wayland-1" {
		t.Errorf("display %q, %v; want wayland-1 of %s", path, err, d.RuntimeDir())
	}
}
