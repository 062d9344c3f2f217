package layout

import (
	"slices"
	"strconv"
)

// buildStep makes the tree of each workspace whose containers are not the right
// ones. All windows of these first leave to the
// stage, so that the workspaces are empty and no size of before is left. Then
// each tree grows from the first windows of its branches.
//
// The stage and workspaces without windows vanish by themselves.
func buildStep(g *goal, d *desk, adjusted bool) step {
	b := builder{goal: g, desk: d}
	var rebuild []*workspace
	for _, w := range g.workspaces {
		c := examine(w, d)
		if c == wrong || c == unshaped || c == unsized && adjusted {
			rebuild = append(rebuild, w)
		}
	}
	for _, w := range rebuild {
		b.clearOut(w)
	}
	for _, w := range g.workspaces {
		b.float(w)
	}
	for _, w := range rebuild {
		b.workspace(w)
	}
	if b.goal.title > 0 && len(rebuild) > 0 {
		b.complete(rebuild)
	}
	for _, m := range b.marks {
		b.plain("unmark %s", m)
	}
	return step{commands: b.script, moved: b.moved}
}

// complete adds layouts, sizes and focus at once, foretelling the scaffold. So
// the clients see the final sizes only: in the scaffold each would draw itself
// in the size of the screen. Where the foretelling fails, the next look at the
// tree shows it.
func (b *builder) complete(rebuilt []*workspace) {
	for _, w := range rebuilt {
		b.shape(w, scaffoldOf(&w.node, b.goal.title))
	}
	b.script = append(b.script, replay(b.goal, b.desk, func(w *workspace) bool {
		return slices.Contains(rebuilt, w) || examine(w, b.desk) != wrong
	})...)
}

type builder struct {
	script

	goal  *goal
	desk  *desk
	spare string
	marks []string // that were set
	moved []int64
}

// clearOut takes the windows of a workspace to the stage, wherever they are,
// and sends away those that stand among the tiled ones and were not saved there:
// with them no size could be as saved.
func (b *builder) clearOut(w *workspace) {
	for _, n := range w.windows() {
		p := b.desk.places[n.con]
		b.move(n.con, stage)
		if p.standing == floating || p.standing == hidden {
			b.to(n.con, "floating disable")
		}
	}
	live := b.desk.workspace(w.name)
	if live == nil {
		return
	}
	for _, n := range live.windows() {
		if b.goal.tiled(n.con) || b.goal.floating[n.con] != "" {
			continue
		}
		if b.spare == "" {
			b.spare = b.goal.spare(b.desk)
		}
		b.move(n.con, b.spare)
		b.moved = append(b.moved, n.con)
	}
}

func (b *builder) move(con int64, workspace string) {
	b.to(con, "move --no-auto-back-and-forth container to workspace %s", mustQuote(workspace))
}

// float takes the floating windows of a workspace there and lets them float.
func (b *builder) float(w *workspace) {
	for _, con := range w.floating {
		p := b.desk.places[con]
		if p.standing == hidden || p.standing == inHidden {
			continue // the user has hidden it since: not lost, and out of the way
		}
		if p.workspace != w.name && !p.live.Sticky {
			b.move(con, w.name)
		}
		if p.standing == tiled {
			b.to(con, "floating enable")
		}
	}
}

// workspace builds the tree of a workspace without tiled windows. Its layout is
// set with the workspace focused: a window as the target would have all its
// children wrapped. And a window must be there before, to focus it by.
func (b *builder) workspace(w *workspace) {
	first := w.first().con
	b.move(first, w.name)
	b.to(first, "focus parent")
	b.then("layout tabbed")
	b.children(w.nodes)
}

// children puts the first window of each branch beside the first window of the
// first, and then grows the branches. So a container is split off only where
// all its siblings stand: an only child of an only child would be flattened
// (Sway 1.12).
func (b *builder) children(nodes []*node) {
	if len(nodes) > 1 {
		b.to(nodes[0].first().con, "mark --add %s", anchor)
		if !slices.Contains(b.marks, anchor) {
			b.marks = append(b.marks, anchor)
		}
		// Each lands right behind the mark, so the last comes first.
		for i := len(nodes) - 1; i > 0; i-- {
			b.to(nodes[i].first().con, "move container to mark %s", anchor)
		}
	}
	for _, n := range nodes {
		if !n.window() {
			b.container(n)
		}
	}
}

// container wraps the first window of n, which stands in the place of n in a
// tabbed parent. A chain of containers with one child each is wrapped from the
// innermost outwards, in final layouts: there is nothing to size in it.
func (b *builder) container(n *node) {
	chain := []*node{n}
	for len(n.nodes) == 1 && !n.nodes[0].window() {
		n = n.nodes[0]
		chain = append(chain, n)
	}
	first := n.first().con
	b.to(first, "split v")
	if len(n.nodes) > 1 {
		b.to(first, "layout tabbed")
	} else {
		b.to(first, "layout %s", commandFor(n.layout))
	}
	b.to(first, "focus parent")
	for _, outer := range slices.Backward(chain[:len(chain)-1]) {
		b.then("split v")
		b.then("layout %s", commandFor(outer.layout))
		b.then("focus parent")
	}
	chain[0].mark = branch + strconv.Itoa(len(b.marks))
	b.marks = append(b.marks, chain[0].mark)
	b.then("mark --add %s", chain[0].mark)
	b.children(n.nodes)
}
