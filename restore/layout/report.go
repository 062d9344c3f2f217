package layout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// later is why what is not restored is not.
const later = "not restored yet"

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
	r.report.NotRestored = notRestored(saved, g, d)
}

func (r *run) window(l leaf) Window {
	out := Window{Leaf: l.id, ConID: l.con}
	switch {
	case l.con == 0:
		out.State, out.Why = Missing, "no live window stands for it"
		return out
	case l.where == hidden:
		out.State, out.Why = Left, "the scratchpad is "+later
		return out
	case l.where == floating:
		out.State, out.Why = Placed, "it floats on its workspace; where, is "+later
		return out
	}
	out.State = Exact
	w, path := r.goal.path(l.id)
	for _, d := range r.report.Differences {
		if slices.Contains(path, d.Node) && (d.What == "structure" || d.What == "layout" || d.What == "size") {
			out.State, out.Why = Placed, d.String()
		}
	}
	switch _, renamed := r.goal.renamed[w.id]; {
	case out.State == Exact && renamed:
		out.State, out.Why = Placed, fmt.Sprintf("its workspace is now called %q", w.name)
	case out.State == Exact && slices.Contains(r.goal.scaled, w.id):
		out.State, out.Why = Placed, "its workspace has another size; proportions are kept"
	}
	return out
}

// path returns the workspace of a saved node and the ids from it to the node.
func (g *goal) path(id string) (*workspace, []string) {
	for _, w := range g.workspaces {
		if path := w.pathTo(id); path != nil {
			return w, path
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
			return append([]string{n.id}, path...)
		}
	}
	return nil
}

// notRestored names, node by node, what was saved and is not there.
func notRestored(saved *checkpoint.Layout, g *goal, d *desk) []NotRestored {
	var out []NotRestored
	add := func(node, what, why string) { out = append(out, NotRestored{node, what, why}) }
	con := map[string]int64{}
	for _, l := range g.windows {
		con[l.id] = l.con
	}
	for _, w := range g.workspaces {
		w.walk(func(n *node) { con[n.id] = n.con })
	}
	for _, w := range saved.Workspaces {
		if name, ok := g.renamed[w.ID]; ok {
			add(w.ID, "name", fmt.Sprintf("the name %q cannot be given to sway in a command; it is %q instead", w.Name, name))
		}
		if live := d.workspace(w.Name); live != nil && live.output != w.Output {
			add(w.ID, "output", fmt.Sprintf("it is on %s and was on %s: several outputs are %s", live.output, w.Output, later))
		}
		for _, n := range w.Nodes {
			n.Walk(func(n *checkpoint.Node, _ int) { attributes(n, con[n.ID], d, add) })
		}
		for _, n := range w.Floating {
			what := "floating"
			if !n.Leaf() {
				what = "floating group"
			}
			add(n.ID, what, "position, size and stacking order are "+later)
			n.Walk(func(n *checkpoint.Node, _ int) { attributes(n, con[n.ID], d, add) })
		}
	}
	for _, n := range saved.Scratchpad {
		add(n.ID, "scratchpad", later)
		n.Walk(func(n *checkpoint.Node, _ int) { attributes(n, con[n.ID], d, add) })
	}
	return out
}

// attributes names those of one node that its live twin does not have.
func attributes(n *checkpoint.Node, con int64, d *desk, add func(node, what, why string)) {
	p, there := d.places[con]
	if !there && n.Leaf() {
		return // missing, which says it all
	}
	var marks []string
	var sticky, urgent bool
	border, width, idle, fullscreen := n.Border, n.BorderWidth, "none", 0
	if there {
		marks, sticky, urgent, fullscreen = p.live.Marks, p.live.Sticky, p.live.Urgent, p.live.FullscreenMode
		border, width = p.live.Border, p.live.BorderWidth
		idle = cmp.Or(p.live.InhibitIdle, "none")
	}
	var lost []string
	for _, m := range n.Marks {
		if !slices.Contains(marks, m) {
			lost = append(lost, m)
		}
	}
	if len(lost) > 0 {
		add(n.ID, "marks", strings.Join(lost, ", ")+": "+later)
	}
	for _, a := range []struct {
		what string
		lost bool
	}{
		{"sticky", n.Sticky && !sticky},
		{"urgent", n.Urgent && !urgent && n.Leaf()},
		{"fullscreen", n.FullscreenMode != fullscreen},
		{"inhibit_idle", cmp.Or(n.InhibitIdle, "none") != idle},
		{"border", n.Leaf() && (n.Border != border || n.BorderWidth != width)},
		{"scratchpad", n.InScratchpad && !p.scratch},
	} {
		if a.lost {
			add(n.ID, a.what, later)
		}
	}
}
