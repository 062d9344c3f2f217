package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// Difference is something that is not as it was saved.
type Difference struct {
	// Node is the saved id of the workspace, container or window, or the name
	// of an output.
	Node string
	// What: structure, layout, size, place, border, marks, sticky, urgent,
	// fullscreen, inhibit_idle, scratchpad, stacking, order, focus, focused,
	// shown.
	What      string
	Want, Got string
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: %s: want %s, got %s", d.Node, d.What, d.Want, d.Got)
}

// Compare lists what differs between a saved layout and a live tree in which
// windows maps ids of saved leaves to con_ids, as far as Restore would mend
// it.
func Compare(saved *checkpoint.Layout, live *sway.Node, windows map[string]int64) []Difference {
	d := readDesk(live)
	return compare(newGoal(saved, d, windows), d)
}

func compare(g *goal, d *desk) []Difference {
	var out []Difference
	for _, w := range g.workspaces {
		out = append(out, compareTree(w, d)...)
		for _, f := range w.floats {
			out = append(out, g.compareFloat(f, w, d)...)
		}
	}
	out = append(out, g.compareScratchpad(d)...)
	g.walk(func(n *node) { out = append(out, n.compareAttributes(d)...) })
	for _, o := range d.outputs {
		if want, got := g.order(o); !slices.Equal(want, got) {
			out = append(out, Difference{o.name, "order", fmt.Sprintf("%q", want), fmt.Sprintf("%q", got)})
		}
	}
	return append(out, compareFocus(g, d)...)
}

func compareTree(w *workspace, d *desk) []Difference {
	var out []Difference
	live := d.workspace(w.name)
	switch examine(w, d) {
	case shaped:
		return nil
	case wrong:
		got := "no such workspace"
		if live != nil {
			got = live.String() + " on " + live.output
		}
		return []Difference{{w.id, "structure", w.String() + " on " + w.output, got}}
	}
	pairs(&w.node, &live.node, func(n, live *node) {
		if n.layout != live.layout {
			out = append(out, Difference{n.id, "layout", n.layout, live.layout})
		}
	})
	return append(out, compareBoxes(&w.node, &live.node, "size")...)
}

func compareBoxes(want, live *node, what string) []Difference {
	var out []Difference
	compared(want, live, func(n, live *node) {
		if n.box != live.box {
			out = append(out, Difference{n.id, what, fmt.Sprint(n.box), fmt.Sprint(live.box)})
		}
	})
	return out
}

func (g *goal) compareFloat(f *node, w *workspace, d *desk) []Difference {
	p := d.places[f.first().con]
	switch g.examineFloat(f, w, d) {
	case wrong:
		return []Difference{{f.id, "structure", "floating on " + w.name + ": " + f.String(), p.String()}}
	case unsized:
		return compareBoxes(f, p.root, "place")
	}
	return nil
}

func (g *goal) compareScratchpad(d *desk) []Difference {
	var out []Difference
	for _, f := range g.scratchpad {
		p := d.places[f.first().con]
		shown := f.onWorkspace(g)
		switch {
		case p.root == nil || !p.scratch || !shown && !p.away() || !alike(f, p.root) || !sameLayouts(f, p.root):
			out = append(out, Difference{f.id, "scratchpad", f.String(), p.String()})
		case !shown && !g.placed(f, p.root):
			out = append(out, compareBoxes(f, p.root, "place")...)
		}
	}
	if len(out) == 0 && !g.scratchpadStands(d) {
		var want []int64
		for _, f := range g.scratchpad {
			want = append(want, f.con)
		}
		out = append(out, Difference{"scratchpad", "order", fmt.Sprint(want), fmt.Sprint(d.scratchpad)})
	}
	return out
}

func (n *node) compareAttributes(d *desk) []Difference {
	p, there := d.places[n.con]
	if !there {
		return nil // its structure is wrong, which says it all
	}
	var out []Difference
	add := func(what string, want, got any) {
		if want != got {
			out = append(out, Difference{n.id, what, fmt.Sprint(want), fmt.Sprint(got)})
		}
	}
	if n.window() {
		if n.saved.Border != "" {
			add("border", fmt.Sprint(n.saved.Border, n.saved.BorderWidth), fmt.Sprint(p.live.Border, p.live.BorderWidth))
		}
		add("inhibit_idle", orNone(n.saved.InhibitIdle), orNone(p.live.InhibitIdle))
		add("urgent", n.saved.Urgent, p.live.Urgent)
	}
	add("marks", fmt.Sprintf("%q", sayableMarks(n.saved.Marks)), fmt.Sprintf("%q", notOurs(p.live.Marks)))
	add("sticky", n.saved.Sticky, p.live.Sticky)
	add("fullscreen", n.fullscreen(), p.live.FullscreenMode)
	return out
}

// compareFocus looks at what focus is about, where the containers are the right
// ones: the order of focus, what is shown, and what is above what.
func compareFocus(g *goal, d *desk) []Difference {
	var out []Difference
	shown := map[string]string{}
	for _, v := range g.visits {
		shown[v.output] = v.workspace
		if live := d.workspace(v.workspace); live != nil && g.otherLayout(v, d) {
			out = append(out, Difference{v.workspace, "layout", v.layout, live.layout})
		}
	}
	for _, o := range d.outputs {
		if want := shown[o.name]; want != "" && o.shown != want {
			out = append(out, Difference{o.name, "shown", want, o.shown})
		}
	}
	for _, name := range ghosts(d) {
		out = append(out, Difference{name, "structure", "no such workspace", "an empty one"})
	}
	for _, w := range g.workspaces {
		for _, f := range g.toShow(w, d) {
			out = append(out, Difference{f.id, "shown", "on " + w.name, d.places[f.first().con].String()})
		}
	}
	if g.keep != 0 {
		if p, there := d.places[g.keep]; there && d.focused != g.keep && !p.away() {
			out = append(out, Difference{"the window of the user", "focused", fmt.Sprint(g.keep), fmt.Sprint(d.focused)})
		}
		return out
	}
	for _, w := range g.workspaces {
		out = append(out, g.compareOrder(w, d)...)
	}
	for _, o := range d.outputs {
		var want []string
		for _, v := range slices.Backward(g.visits) {
			if v.output == o.name && slices.Contains(o.focus, v.workspace) {
				want = append(want, v.workspace)
			}
		}
		got := slices.DeleteFunc(slices.Clone(o.focus), func(name string) bool { return !slices.Contains(want, name) })
		if !slices.Equal(want, got) {
			out = append(out, Difference{o.name, "focus", fmt.Sprintf("%q", want), fmt.Sprintf("%q", got)})
		}
	}
	if last := len(g.visits) - 1; last >= 0 && g.workspace(g.visits[last].workspace) == nil {
		if w := d.workspace(g.visits[last].workspace); w != nil && w.con != d.focused {
			out = append(out, Difference{w.name, "focused", fmt.Sprint(w.con), fmt.Sprint(d.focused)})
		}
	}
	if w, n := g.find(g.focused); n != nil && n.con != 0 && (n == &w.node || g.stands(n, w, d)) && d.focused != n.con {
		out = append(out, Difference{g.focused, "focused", fmt.Sprint(n.con), fmt.Sprint(d.focused)})
	}
	return out
}

// compareOrder compares the focus arrays of a workspace and of all on it, and
// the stacking order of its floats.
func (g *goal) compareOrder(w *workspace, d *desk) []Difference {
	live := d.workspace(w.name)
	if live == nil {
		return nil
	}
	var out []Difference
	order := func(id, what string, want, got []*node) {
		w, l := cons(want), cons(got)
		w = slices.DeleteFunc(w, func(con int64) bool { return !slices.Contains(l, con) })
		l = slices.DeleteFunc(l, func(con int64) bool { return !slices.Contains(w, con) })
		if !slices.Equal(w, l) {
			out = append(out, Difference{id, what, fmt.Sprint(w), fmt.Sprint(l)})
		}
	}
	order(w.id, "focus", w.focus, live.focus)
	order(w.id, "stacking", w.floats, live.floats)
	below := func(want, live *node) {
		pairs(want, live, func(n, l *node) { order(n.id, "focus", n.focus, l.focus) })
	}
	if len(w.nodes) > 0 && examine(w, d) != wrong {
		for i, n := range w.nodes {
			below(n, live.nodes[i])
		}
	}
	for _, f := range w.floats {
		if p := d.places[f.first().con]; p.root != nil && p.workspace == w.name && alike(f, p.root) {
			below(f, p.root)
		}
	}
	return out
}

func cons(nodes []*node) []int64 {
	var out []int64
	for _, n := range nodes {
		if n.con != 0 {
			out = append(out, n.con)
		}
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// String writes the structure of a tree: windows by their con_id.
func (n *node) String() string {
	if n.window() {
		return fmt.Sprint(n.con)
	}
	var parts []string
	for _, c := range n.nodes {
		parts = append(parts, c.String())
	}
	return n.layout + "(" + strings.Join(parts, " ") + ")"
}

func (p place) String() string {
	switch {
	case p.live == nil:
		return "not there"
	case p.away():
		return "hidden: " + p.root.String()
	case p.root != nil:
		return "floating on " + p.workspace + ": " + p.root.String()
	}
	return "tiled on " + p.workspace
}
