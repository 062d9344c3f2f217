package layout

import "slices"

// focusStep replays the focus if any of it is not as saved.
func focusStep(g *goal, d *desk, _ bool) step {
	if g.keep == 0 && len(compareFocus(g, d)) == 0 || g.keep != 0 && d.focused == g.keep {
		return step{}
	}
	return step{commands: replay(g, d)}
}

// replay focuses one window after the other. A focused window becomes the most
// recent of every container around it, so visiting the windows depth first,
// each container's children from the least to the most recent one, leaves every
// order as saved; the same holds for the workspaces of an output.
func replay(g *goal, d *desk) script {
	var s script
	if g.keep != 0 {
		if p, there := d.places[g.keep]; there && p.standing != hidden && p.standing != inHidden {
			s.to(g.keep, "focus")
		}
		return s
	}
	for i, name := range g.visits {
		w := g.workspace(name)
		if w != nil && len(w.nodes) > 0 && examine(w, d) != wrong {
			s.replay(&w.node)
		} else if d.workspace(name) != nil || i == len(g.visits)-1 {
			s.plain("workspace --no-auto-back-and-forth %s", mustQuote(name))
		}
	}
	s.last(g, d)
	return s
}

func (s *script) replay(n *node) {
	if n.window() {
		s.to(n.con, "focus")
	}
	for _, i := range slices.Backward(n.focus) {
		s.replay(n.nodes[i])
	}
}

// last focuses what is focused when it is a container or a workspace, or a
// window that is not the most recent one of its workspace.
func (s *script) last(g *goal, d *desk) {
	w, n := g.find(g.focused)
	switch {
	case n == nil || examine(w, d) == wrong:
	case n == &w.node:
		s.to(n.nodes[0].con, "focus parent")
	case !n.window() || (*s)[len(*s)-1].con != n.con:
		s.to(n.con, "focus")
	}
}

// find returns the node of that saved id and its workspace.
func (g *goal) find(id string) (in *workspace, found *node) {
	for _, w := range g.workspaces {
		w.walk(func(n *node) {
			if n.id == id && (len(w.nodes) > 0 || n != &w.node) {
				in, found = w, n
			}
		})
	}
	return in, found
}
