package layout

import "slices"

// focusStep replays the focus if any of it is not as saved.
func focusStep(g *goal, d *desk) step {
	if g.keep == 0 && len(compareFocus(g, d)) == 0 || g.keep != 0 && d.focused == g.keep {
		return step{}
	}
	return step{commands: replay(g, d, g.stands(d))}
}

// replay focuses one window after the other. A focused window becomes the most
// recent of every container around it, so visiting the windows depth first,
// each container's children from the least to the most recent one, leaves every
// order as saved; the same holds for the workspaces of an output.
//
// Workspaces of which stands says no are only visited.
func replay(g *goal, d *desk, stands func(*workspace) bool) script {
	var s script
	if g.keep != 0 {
		if p, there := d.places[g.keep]; there && p.standing != hidden && p.standing != inHidden {
			s.to(g.keep, "focus")
		}
		return s
	}
	for i, name := range g.visits {
		w := g.workspace(name)
		if w != nil && len(w.nodes) > 0 && stands(w) {
			s.replay(&w.node)
		} else if d.workspace(name) != nil || i == len(g.visits)-1 {
			s.plain("workspace --no-auto-back-and-forth %s", mustQuote(name))
		}
	}
	if w, n := g.find(g.focused); n != nil && stands(w) {
		s.last(n)
	}
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

// last focuses n, from the window that is the most recent one in it.
func (s *script) last(n *node) {
	up := 0
	for ; !n.window(); n = n.nodes[n.focus[0]] {
		up++
	}
	if len(*s) == 0 || (*s)[len(*s)-1].con != n.con {
		s.to(n.con, "focus")
	}
	for range up {
		s.then("focus parent")
	}
}

// stands returns whether the containers of a workspace are the right ones.
func (g *goal) stands(d *desk) func(*workspace) bool {
	return func(w *workspace) bool { return examine(w, d) != wrong }
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
