package layout

import (
	"fmt"
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// finish writes the report of what is there now.
func (r *run) finish(saved *checkpoint.Layout) {
	g, d := r.goal, r.desk
	r.report.Differences = compare(g, d)
	r.report.Scaled = g.scaled
	for _, l := range g.windows {
		r.report.Windows = append(r.report.Windows, r.window(l))
	}
	for _, con := range d.sorted() {
		p := d.places[con]
		if p.live.Window != nil && !g.live[con] {
			r.report.Extra = append(r.report.Extra, Extra{con, p.live.Name, p.workspace, r.moved[con]})
		}
	}
	r.report.NotRestored = notRestored(saved, g)
}

func (r *run) window(l leaf) Window {
	out := Window{Leaf: l.id, ConID: l.con, State: Exact}
	if l.con == 0 {
		out.State, out.Why = Missing, "no live window stands for it"
		return out
	}
	w, path := r.goal.path(l.id)
	for _, d := range r.report.Differences {
		if slices.Contains(path, d.Node) && places[d.What] {
			out.State, out.Why = Placed, d.String()
		}
	}
	if out.State != Exact || w == nil {
		return out
	}
	switch _, renamed := r.goal.renamed[w.id]; {
	case renamed:
		out.State, out.Why = Placed, fmt.Sprintf("its workspace is now called %q", w.name)
	case slices.Contains(r.goal.scaled, w.id):
		out.State, out.Why = Placed, "its workspace has another size or is elsewhere; proportions are kept"
	}
	return out
}

// places are the differences that mean that a window is not in its place.
var places = map[string]bool{"structure": true, "layout": true, "size": true, "place": true, "scratchpad": true}

// path returns the workspace of a saved node, nil for the scratchpad, and the
// ids from it to the node.
func (g *goal) path(id string) (*workspace, []string) {
	for _, w := range g.workspaces {
		for _, n := range w.roots() {
			if path := n.pathTo(id); path != nil {
				if !slices.Contains(w.floats, n) { // those do not depend on its tree
					path = append(path, w.id)
				}
				return w, path
			}
		}
	}
	for _, n := range g.scratchpad {
		if path := n.pathTo(id); path != nil {
			return nil, path
		}
	}
	return nil, nil
}

func (n *node) pathTo(id string) []string {
	if n.id == id {
		return []string{id}
	}
	for _, c := range n.nodes {
		if path := c.pathTo(id); path != nil {
			return append(path, n.id)
		}
	}
	return nil
}

// notRestored names what no command can say, node by node.
func notRestored(saved *checkpoint.Layout, g *goal) []NotRestored {
	var out []NotRestored
	add := func(node, what, why string) { out = append(out, NotRestored{node, what, why}) }
	for _, name := range savedOutputs(saved) {
		if now := g.screens[name].name; now != name {
			add(name, "output", fmt.Sprintf("it is not there; its workspaces are on %s", now))
		}
	}
	for _, w := range saved.Workspaces {
		if name, ok := g.renamed[w.ID]; ok {
			add(w.ID, "name", fmt.Sprintf("the name %q cannot be given to sway in a command; it is %q instead", w.Name, name))
		}
	}
	for _, id := range g.carried {
		add(id, "workspace", "it is sticky and was on a workspace that was not shown; sway carries it to the one that is")
	}
	if g.outranked {
		add(saved.Focused, "focus", "it had the focus without being the most recent of its workspace, or below what is fullscreen everywhere, to which no command leads")
	}
	g.walk(func(n *node) {
		for _, m := range notOurs(n.saved.Marks) {
			if _, ok := quoteMark(m); !ok {
				add(n.id, "marks", fmt.Sprintf("the mark %q cannot be given to sway in a command", m))
			}
		}
		if n.con != 0 && slices.Contains(g.unknown, n.con) {
			add(n.id, "place", "it floats and was fullscreen; sway does not tell the size it has otherwise")
		}
	})
	return out
}
