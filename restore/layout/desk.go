package layout

import (
	"maps"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// desk is the live desktop as the steps need it: the trees, and for every
// container and window where it stands.
type desk struct {
	outputs    []output
	workspaces []*workspace
	// scratchpad are its members, hidden and shown, in Sway's order.
	scratchpad []int64
	places     map[int64]place
	focused    int64
	focusedOn  string          // name of the output with the focus
	title      int             // height of a title bar in pixels, 0 when none is shown
	box        checkpoint.Rect // around all outputs
}

type output struct {
	name  string
	box   checkpoint.Rect
	shown string   // name of the workspace that it shows
	focus []string // names of its workspaces, most recently focused first
	order []string // names of its workspaces, as they stand
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
	output    string // empty when hidden
	// root is the floating or hidden window or group that it belongs to.
	root *node
	// scratch is set for what belongs to a member of the scratchpad.
	scratch bool
}

// away reports whether it is out of sight in the scratchpad.
func (p place) away() bool { return p.standing == hidden || p.standing == inHidden }

// readDesk takes from Sway's tree what the steps need.
func readDesk(root *sway.Node) *desk {
	d := &desk{places: map[int64]place{}, box: root.Rect}
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
			out.order = append(out.order, w.Name)
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
		if len(root.Focus) > 0 && root.Focus[0] == o.ID || d.focusedOn == "" {
			d.focusedOn = o.Name
		}
	}
	if s := root.Scratchpad(); s != nil {
		for _, n := range slices.Concat(s.Nodes, s.Floating) {
			d.readRoot(n, place{standing: hidden}, inHidden, "", 1)
		}
		// Sway names all members, the shown ones too, in the focus array, last
		// one first.
		d.scratchpad = slices.Clone(s.Focus)
		slices.Reverse(d.scratchpad)
	}
	return d
}

func (d *desk) readWorkspace(w *sway.Node, output string) *workspace {
	out := &workspace{name: w.Name, output: output}
	out.node = node{con: w.ID, layout: w.Layout, box: w.Rect, live: w}
	p := place{standing: tiled, workspace: w.Name, output: output}
	for _, n := range w.Nodes {
		d.readPlaces(n, p, tiled)
		out.nodes = append(out.nodes, d.readNode(n, w.Layout, len(w.Nodes)))
	}
	p.standing = floating
	for _, n := range w.Floating {
		out.floats = append(out.floats, d.readRoot(n, p, inFloating, w.Layout, len(w.Floating)))
	}
	out.focus = inOrder(w.Focus, slices.Concat(out.nodes, out.floats))
	return out
}

// readRoot reads a floating or hidden window or group. Sway counts the titles
// of a float as if it were tiled on its workspace.
func (d *desk) readRoot(n *sway.Node, p place, below standing, layout string, siblings int) *node {
	p.root = d.readNode(n, layout, siblings)
	d.readPlaces(n, p, below)
	return p.root
}

func (d *desk) readNode(n *sway.Node, parent string, siblings int) *node {
	out := &node{con: n.ID, box: boxOf(n.Rect, n.DecoRect, parent, siblings), live: n}
	d.title = max(d.title, n.DecoRect.Height)
	if n.Window == nil {
		out.layout = n.Layout
	}
	for _, c := range n.Nodes {
		out.nodes = append(out.nodes, d.readNode(c, n.Layout, len(n.Nodes)))
	}
	out.focus = inOrder(n.Focus, out.nodes)
	return out
}

// readPlaces notes the place of n and of all below, which stand as below says.
func (d *desk) readPlaces(n *sway.Node, p place, below standing) {
	p.live = n
	p.scratch = p.scratch || n.InScratchpad
	d.places[n.ID] = p
	p.standing = below
	for _, c := range slices.Concat(n.Nodes, n.Floating) {
		d.readPlaces(c, p, below)
	}
}

// inOrder puts children in the order of a focus array. Those that were never
// focused come last.
func inOrder(focus []int64, children []*node) []*node {
	var out []*node
	for _, id := range focus {
		if i := slices.IndexFunc(children, func(n *node) bool { return n.con == id }); i >= 0 && !slices.Contains(out, children[i]) {
			out = append(out, children[i])
		}
	}
	for _, n := range children {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// sorted are the ids of all places, in order.
func (d *desk) sorted() []int64 { return slices.Sorted(maps.Keys(d.places)) }

// workspace returns the live workspace of that name, or nil. Sway takes names
// that differ in case only for the same.
func (d *desk) workspace(name string) *workspace {
	for _, w := range d.workspaces {
		if strings.EqualFold(w.name, name) {
			return w
		}
	}
	return nil
}

// output returns the live output of that name.
func (d *desk) output(name string) (output, bool) {
	for _, o := range d.outputs {
		if o.name == name {
			return o, true
		}
	}
	return output{}, false
}

// ours reports whether the name of a workspace or mark is one of ours, left by
// a killed run.
func ours(name string) bool { return strings.HasPrefix(name, prefix) }
