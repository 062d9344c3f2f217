package layout

import "slices"

// replay focuses one window after the other. A focused window becomes the most
// recent of every container around it, so visiting the windows depth first,
// each container's children from the least to the most recent one, leaves every
// order as saved; the same holds for the workspaces of an output.
//
// A workspace that does not stand is only visited.
func replay(g *goal, d *desk) script {
	var s script
	var left *node
	for _, name := range ghosts(d) {
		s.plain("workspace --no-auto-back-and-forth %s", mustQuote(name))
	}
	for _, v := range g.visits {
		w := g.workspace(v.workspace)
		if w == nil || g.keep != 0 {
			s.show(v.workspace, v.output)
			if w == nil && g.otherLayout(v, d) {
				s.then("layout %s", commandFor(v.layout))
			}
			left = nil
			if w != nil {
				s.showMembers(w, g, d)
			}
			continue
		}
		shown := false
		if len(g.toShow(w, d)) > 0 || d.workspace(w.name) == nil {
			s.show(v.workspace, v.output)
			shown = true
		}
		s.showMembers(w, g, d)
		left = nil
		if g.otherLayout(v, d) {
			s.focusOn(w.focus[0])
			s.then("focus parent")
			s.then("layout %s", commandFor(v.layout))
		}
		for _, n := range slices.Backward(w.focus) {
			if g.stands(n, w, d) {
				s.replay(n)
				left = n
			}
		}
		if left == nil && !shown {
			s.show(v.workspace, v.output)
		}
		s.restack(w, left, g, d)
	}
	if g.keep != 0 {
		if p, there := d.places[g.keep]; there && !p.away() {
			s.to(g.keep, "focus")
		}
		return s
	}
	if _, n := g.find(g.focused); n != nil && left != nil {
		leaf, up := n.leaf()
		if leaf != left.recent() { // else it is focused, and would be raised
			s.to(leaf.con, "focus")
		}
		s.up(up)
	}
	return s
}

// otherLayout reports whether a workspace without tiled windows has another
// layout than it was saved with: the next window will be put in it.
func (g *goal) otherLayout(v visit, d *desk) bool {
	live := d.workspace(v.workspace)
	return v.layout != "" && (live == nil || live.layout != v.layout && len(live.nodes) == 0)
}

func (s *script) replay(n *node) {
	if n.window() {
		s.to(n.con, "focus")
	}
	for _, c := range slices.Backward(n.focus) {
		s.replay(c)
	}
}

// focusOn focuses n, from the window that is the most recent one in it.
func (s *script) focusOn(n *node) {
	leaf, up := n.leaf()
	s.to(leaf.con, "focus")
	s.up(up)
}

// leaf is the most recent window of n, and how far up from there n is.
func (n *node) leaf() (leaf *node, up int) {
	for ; !n.window(); n = n.focus[0] {
		up++
	}
	return n, up
}

func (s *script) up(levels int) {
	for range levels {
		s.then("focus parent")
	}
}

// ghosts are the workspaces that are empty and that nobody sees. Sway forgets
// to remove them when their last window is hidden; they go when they are left.
func ghosts(d *desk) []string {
	var names []string
	for _, w := range d.workspaces {
		if _, sayable := quote(w.name); !sayable || len(w.roots()) > 0 {
			continue
		}
		if o, _ := d.output(w.output); o.shown != w.name {
			names = append(names, w.name)
		}
	}
	return names
}

// toShow are the members of the scratchpad that a workspace shows and that are
// not there yet.
func (g *goal) toShow(w *workspace, d *desk) []*node {
	return slices.DeleteFunc(slices.Clone(w.floats), func(f *node) bool {
		p := d.places[f.first().con]
		return !f.scratch() || !p.scratch || p.workspace == w.name
	})
}

// showMembers shows them on the workspace, which is focused.
func (s *script) showMembers(w *workspace, g *goal, d *desk) {
	for _, f := range g.toShow(w, d) {
		s.to(f.first().con, "scratchpad show")
		if live := d.workspace(w.name); live == nil || !centred(f.box, live.box) {
			s.place(f, g.screen(w.output), d) // Sway has moved it to the middle
		}
	}
}

// stands reports whether a root of a workspace has the right containers there,
// so that its windows can be focused.
func (g *goal) stands(n *node, w *workspace, d *desk) bool {
	if slices.Contains(w.floats, n) {
		p := d.places[n.first().con]
		return p.root != nil && alike(n, p.root) && (p.workspace == w.name || slices.Contains(g.toShow(w, d), n))
	}
	return examine(w, d) != wrong
}

// restack puts the floats of a workspace above one another as saved. Focus has
// raised each; one that leaves and comes back is raised without it. left is
// the root of what is focused: leaving would cost it the focus, but focusing
// it once more raises it.
func (s *script) restack(w *workspace, left *node, g *goal, d *desk) {
	var now []*node
	if live := d.workspace(w.name); live != nil {
		for _, l := range live.floats {
			if i := slices.IndexFunc(w.floats, func(f *node) bool { return f.con == l.con }); i >= 0 {
				now = append(now, w.floats[i])
			}
		}
	}
	now = append(now, g.toShow(w, d)...)
	for _, n := range slices.Backward(w.focus) {
		if i := slices.Index(now, n); i >= 0 && g.stands(n, w, d) {
			now = append(slices.Delete(now, i, i+1), n)
		}
	}
	want := slices.DeleteFunc(slices.Clone(w.floats), func(f *node) bool { return !slices.Contains(now, f) })
	kept := 0 // how many stand in order already, from the lowest
	for _, f := range now {
		if kept < len(want) && f == want[kept] {
			kept++
		}
	}
	away := g.free(d, stage)
	for _, f := range want[kept:] {
		if f == left {
			s.to(f.recent().con, "focus")
			continue
		}
		s.at(f, "move --no-auto-back-and-forth container to workspace %s", mustQuote(away))
		s.at(f, "move --no-auto-back-and-forth container to workspace %s", mustQuote(w.name))
	}
}

// find returns the node of that saved id and its workspace.
func (g *goal) find(id string) (in *workspace, found *node) {
	for _, w := range g.workspaces {
		if w.id == id && len(w.roots()) > 0 {
			return w, &w.node
		}
		for _, n := range w.roots() {
			n.walk(func(n *node) {
				if n.id == id {
					in, found = w, n
				}
			})
		}
	}
	return in, found
}
