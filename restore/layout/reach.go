package layout

import (
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Sway makes states itself to which no command leads. The goal is then the
// nearest one that can be reached, and the report names what it is not.

// carrySticky takes sticky floats from workspaces that nobody sees to the ones
// that are shown on their outputs, as Sway does the next time it shows another.
func (g *goal) carrySticky() {
	shown := map[string]*workspace{}
	for _, v := range g.visits {
		shown[v.output] = g.workspace(v.workspace)
	}
	for _, w := range g.workspaces {
		to := shown[w.output]
		if to == w || to == nil {
			continue
		}
		for _, f := range slices.Clone(w.floats) {
			if !f.saved.Sticky {
				continue
			}
			g.carried = append(g.carried, f.id)
			is := func(n *node) bool { return n == f }
			w.floats, w.focus = slices.DeleteFunc(w.floats, is), slices.DeleteFunc(w.focus, is)
			to.floats, to.focus = append(to.floats, f), append(to.focus, f)
		}
	}
	g.workspaces = slices.DeleteFunc(g.workspaces, func(w *workspace) bool { return len(w.roots()) == 0 })
}

// focusGlobal gives the focus to what is fullscreen on all outputs: no command
// leaves it elsewhere.
func (g *goal) focusGlobal() {
	for _, w := range g.workspaces {
		for _, root := range w.roots() {
			root.walk(func(n *node) {
				if n.fullscreen() != 2 {
					return
				}
				if _, focused := g.find(g.focused); focused == nil || !n.holds(focused) {
					g.outranked, g.focused = true, n.id
				}
				i := slices.IndexFunc(g.visits, func(v visit) bool { return v.workspace == w.name })
				v := g.visits[i]
				g.visits = append(slices.Delete(g.visits, i, i+1), v)
			})
		}
	}
}

// rankFocused makes the focused node the most recent one of all around it.
func (g *goal) rankFocused() {
	w, focused := g.find(g.focused)
	if focused == nil || focused == &w.node {
		return
	}
	first := func(in *node, which func(*node) bool) {
		i := slices.IndexFunc(in.focus, which)
		if i > 0 {
			g.outranked = true
			n := in.focus[i]
			in.focus = slices.Insert(slices.Delete(in.focus, i, i+1), 0, n)
		}
	}
	w.walk(func(n *node) {
		first(n, func(c *node) bool { return c.holds(focused) })
	})
	for _, f := range w.floats {
		f.walk(func(n *node) {
			first(n, func(c *node) bool { return c.holds(focused) })
		})
	}
}

// visitsOf lists the workspaces from the least to the most recently focused,
// output by output, the focused output last.
func (g *goal) visitsOf(saved *checkpoint.Layout, names map[string]string) []visit {
	var order []visit
	layouts := map[string]string{}
	for _, w := range saved.Workspaces {
		if len(w.Nodes) == 0 {
			layouts[w.ID] = w.Layout
		}
	}
	visitOn := func(id, output string) {
		name, ok := names[id]
		if !ok {
			return
		}
		order = slices.DeleteFunc(order, func(v visit) bool { return v.workspace == name })
		order = append(order, visit{name, g.screens[output].name, layouts[id]})
	}
	focusedOn := ""
	for _, w := range saved.Workspaces {
		if len(w.Nodes)+len(w.Floating) > 0 {
			visitOn(w.ID, w.Output)
		}
		if holds(w, saved.Focused) {
			focusedOn = w.Output
		}
	}
	// Those of a missing output come first: what the one that stands in for it
	// showed itself is shown.
	rank := func(o checkpoint.Output) int {
		switch {
		case o.Name == focusedOn:
			return 2
		case g.screens[o.Name].name == o.Name:
			return 1
		}
		return 0
	}
	outputs := slices.Clone(saved.Outputs)
	slices.SortStableFunc(outputs, func(a, b checkpoint.Output) int { return rank(a) - rank(b) })
	for _, o := range outputs {
		for _, id := range slices.Backward(o.Focus) {
			visitOn(id, o.Name)
		}
		visitOn(o.CurrentWorkspace, o.Name)
	}
	// A workspace without windows vanishes unless it is the one shown.
	return slices.DeleteFunc(order, func(v visit) bool {
		last := v
		for _, o := range order {
			if o.output == v.output {
				last = o
			}
		}
		return v != last && g.workspace(v.workspace) == nil
	})
}

// holds reports whether the node of that id is w or below it.
func holds(w checkpoint.Workspace, id string) bool {
	found := w.ID == id
	for _, n := range slices.Concat(w.Nodes, w.Floating) {
		n.Walk(func(n *checkpoint.Node, _ int) { found = found || n.ID == id })
	}
	return found
}
