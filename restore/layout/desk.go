package layout

import (
	"maps"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// desk is the live desktop as the steps need it: the tiled trees, and for
// every container and window where it stands.
type desk struct {
	outputs    []output
	workspaces []*workspace
	places     map[int64]place
	focused    int64
	title      int // height of a title bar in pixels, 0 when none is shown
}

type output struct {
	name  string
	box   checkpoint.Rect
	shown string   // name of the workspace that it shows
	focus []string // names of its workspaces, most recently focused first
	area  checkpoint.Rect
}

// standing is how a container or window is in the desktop. What a command may do
// depends on it.
type standing int

const (
	tiled standing = iota
	floating
	inFloating // below a floating group
	hidden     // in the scratchpad
	inHidden   // below a hidden scratchpad group
)

// place is where a container or window stands.
type place struct {
	live      *sway.Node
	standing  standing
	workspace string // empty when hidden
	// scratch is set for a member of the scratchpad, hidden or shown.
	scratch    bool
	fullscreen int
}

// readDesk takes from Sway's tree what the steps need.
func readDesk(root *sway.Node) *desk {
	d := &desk{places: map[int64]place{}}
	root.Walk(func(n *sway.Node) {
		if n.Focused {
			d.focused = n.ID
		}
	})
	for _, o := range root.Outputs() {
		out := output{name: o.Name, box: o.Rect}
		names := map[int64]string{}
		for _, w := range o.Nodes {
			names[w.ID] = w.Name
			d.workspaces = append(d.workspaces, d.readWorkspace(w, o.Name))
		}
		for _, id := range o.Focus {
			out.focus = append(out.focus, names[id])
		}
		out.shown = names[o.CurrentWorkspace()]
		if i := slices.IndexFunc(o.Nodes, func(w *sway.Node) bool { return w.Name == out.shown }); i >= 0 {
			out.area = o.Nodes[i].Rect
		}
		d.outputs = append(d.outputs, out)
	}
	if s := root.Scratchpad(); s != nil {
		for _, n := range slices.Concat(s.Nodes, s.Floating) {
			d.readPlaces(n, place{standing: hidden}, inHidden)
		}
	}
	return d
}

func (d *desk) readWorkspace(w *sway.Node, output string) *workspace {
	out := &workspace{name: w.Name, output: output}
	out.node = node{con: w.ID, layout: w.Layout, box: w.Rect}
	for _, n := range w.Nodes {
		d.readPlaces(n, place{standing: tiled, workspace: w.Name}, tiled)
		out.nodes = append(out.nodes, d.readNode(n, w.Layout, len(w.Nodes)))
	}
	for _, n := range w.Floating {
		d.readPlaces(n, place{standing: floating, workspace: w.Name}, inFloating)
		n.Walk(func(n *sway.Node) {
			if n.Window != nil {
				out.floating = append(out.floating, n.ID)
			}
		})
	}
	out.focus = indices(w.Focus, out.nodes)
	return out
}

func (d *desk) readNode(n *sway.Node, parent string, siblings int) *node {
	out := &node{con: n.ID, box: boxOf(n.Rect, n.DecoRect, parent, siblings)}
	d.title = max(d.title, n.DecoRect.Height)
	if n.Window == nil {
		out.layout = n.Layout
	}
	for _, c := range n.Nodes {
		out.nodes = append(out.nodes, d.readNode(c, n.Layout, len(n.Nodes)))
	}
	out.focus = indices(n.Focus, out.nodes)
	return out
}

// readPlaces notes the place of n and of all below, which stand as below says.
func (d *desk) readPlaces(n *sway.Node, p place, below standing) {
	p.live, p.fullscreen = n, n.FullscreenMode
	p.scratch = p.scratch || n.InScratchpad
	d.places[n.ID] = p
	p.standing = below
	for _, c := range slices.Concat(n.Nodes, n.Floating) {
		d.readPlaces(c, p, below)
	}
}

// indices turns ids of children, most recently focused first, into their
// indices. Children that were never focused come last.
func indices(focus []int64, nodes []*node) []int {
	var out []int
	for _, id := range focus {
		if i := slices.IndexFunc(nodes, func(n *node) bool { return n.con == id }); i >= 0 && !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	for i := range nodes {
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

// sorted are the ids of all places, in order.
func (d *desk) sorted() []int64 { return slices.Sorted(maps.Keys(d.places)) }

// workspace returns the live workspace of that name, or nil.
func (d *desk) workspace(name string) *workspace {
	for _, w := range d.workspaces {
		if w.name == name {
			return w
		}
	}
	return nil
}

// output returns the output of that name, or else the first: windows of a
// screen that is not there go to one that is.
func (d *desk) output(name string) (output, bool) {
	for _, o := range d.outputs {
		if o.name == name {
			return o, true
		}
	}
	if len(d.outputs) == 0 {
		return output{}, false
	}
	return d.outputs[0], true
}

// ours reports whether a workspace is one of ours, left by a killed run.
func ours(workspace string) bool { return strings.HasPrefix(workspace, prefix) }
