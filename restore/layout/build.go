package layout

import (
	"slices"
	"strconv"
)

// buildStep makes what does not stand as it should: the trees of workspaces,
// floats, and the scratchpad. All windows of these first leave to the stage, so
// that no size of before is left. Then each tree grows from the first windows
// of its branches.
//
// The stage and workspaces without windows vanish by themselves.
func buildStep(g *goal, d *desk, adjusted bool) step {
	b := builder{goal: g, desk: d, stage: g.free(d, stage), floats: map[*workspace][]*node{}, leaves: map[int64]bool{}}
	for _, w := range g.workspaces {
		c := examine(w, d)
		if c == wrong || c == unshaped || c == unsized && adjusted {
			b.trees = append(b.trees, w)
		}
		for _, f := range w.floats {
			if !f.scratch() && g.examineFloat(f, w, d) == wrong {
				b.floats[w] = append(b.floats[w], f)
			}
		}
	}
	if !g.scratchpadStands(d) {
		b.scratchpad = g.scratchpad
	}
	if len(b.trees)+len(b.floats)+len(b.scratchpad) == 0 {
		return step{}
	}
	b.script = pause(g, d)
	b.forget()
	b.clearOut()
	for _, f := range b.scratchpad {
		b.hide(f)
	}
	for _, w := range g.workspaces {
		b.workspace(w)
	}
	for _, m := range b.marks {
		b.plain("unmark %s", m)
	}
	b.leaveStage()
	return step{commands: b.script, moved: b.moved}
}

type builder struct {
	script

	goal       *goal
	desk       *desk
	stage      string
	trees      []*workspace
	floats     map[*workspace][]*node
	scratchpad []*node

	leaves map[int64]bool // con_ids of windows that went to the stage
	marks  []string       // that were set
	moved  []int64
}

// forget gives up the con_ids of containers that will be made anew.
func (b *builder) forget() {
	forget := func(n *node) {
		n.walk(func(n *node) {
			if !n.window() {
				n.con = 0
			}
		})
	}
	for _, w := range b.trees {
		forget(&w.node)
	}
	for _, floats := range b.floats {
		for _, f := range floats {
			forget(f)
		}
	}
	for _, f := range b.scratchpad {
		forget(f)
	}
}

// clearOut takes all windows that will be placed to the stage, wherever they
// are, and sends away those that stand among the tiled ones and were not saved
// there: with them no size could be as saved.
func (b *builder) clearOut() {
	b.plain("workspace --no-auto-back-and-forth %s", mustQuote(b.stage))
	b.then("layout tabbed")
	for _, w := range b.trees {
		b.park(w.windows())
	}
	for _, w := range b.goal.workspaces {
		for _, f := range b.floats[w] {
			b.park(f.windows())
		}
	}
	for _, f := range b.scratchpad {
		b.park(f.windows())
	}
	spare := ""
	for _, w := range b.trees {
		live := b.desk.workspace(w.name)
		if live == nil {
			continue
		}
		for _, n := range live.windows() {
			if b.goal.live[n.con] {
				continue
			}
			if spare == "" {
				spare = b.goal.free(b.desk, "")
			}
			b.move(n.con, spare)
			b.moved = append(b.moved, n.con)
		}
	}
}

func (b *builder) park(windows []*node) {
	for _, n := range windows {
		b.leaves[n.con] = true
		b.move(n.con, b.stage)
		if p := b.desk.places[n.con]; p.standing == floating || p.away() {
			b.to(n.con, "floating disable")
		}
		b.border(n, b.desk)
	}
}

func (b *builder) move(con int64, workspace string) {
	b.to(con, "move --no-auto-back-and-forth container to workspace %s", mustQuote(workspace))
}

// workspace builds the tree of a workspace without tiled windows, and its
// floats. Its layout is set with the workspace focused: a window as the target
// would have all its children wrapped. And a window must be there before, to
// focus it by.
func (b *builder) workspace(w *workspace) {
	switch {
	case !slices.Contains(b.trees, w):
	case b.goal.maximum != "" && cramped(&w.node, scaffoldOf(&w.node, b.goal.title)):
		b.roomy(w)
	default:
		first := w.first().con
		b.move(first, w.name)
		b.toOutput(first, w.output)
		b.to(first, "focus parent")
		b.then("layout tabbed")
		b.children(w.nodes)
		// What comes out of the scaffold is foretold. So the clients see the
		// final sizes only: in the scaffold each would draw itself in the size
		// of the screen. Where the foretelling fails, the next look at the tree
		// shows it.
		if b.goal.title > 0 {
			b.shape(&w.node, scaffoldOf(&w.node, b.goal.title))
		}
	}
	if len(b.floats[w]) == 0 {
		return
	}
	touches := make([]script, len(b.floats[w]))
	for i, f := range b.floats[w] {
		touches[i] = b.root(f)
	}
	// A float that is put in a place goes to the workspace that is shown there.
	b.show(w.name, w.output)
	for i, f := range b.floats[w] {
		b.at(f, "move --no-auto-back-and-forth container to workspace %s", mustQuote(w.name))
		b.place(f, b.goal.screen(w.output), b.desk)
		b.script = append(b.script, touches[i]...)
	}
}

// toOutput moves the workspace of a window to an output.
func (b *builder) toOutput(con int64, output string) {
	if len(b.desk.outputs) > 1 {
		b.to(con, "move workspace to output %s", mustQuote(output))
	}
}

// show makes an output show a workspace, which is created if there is none:
// there, as anywhere else it would take the place of another.
func (s *script) show(workspace, output string) {
	s.plain("focus output %s", mustQuote(output))
	s.plain("workspace --no-auto-back-and-forth %s", mustQuote(workspace))
	s.then("move workspace to output %s", mustQuote(output))
}

// root builds a floating window or group out of windows on the stage, and
// makes it float there. It returns the touch-ups for its final size.
func (b *builder) root(f *node) (touch script) {
	if f.window() {
		b.at(f, "floating enable")
		return nil
	}
	b.container(f)
	scaffold := b.goal.stageFor(f).nodes[0]
	if b.goal.maximum != "" && cramped(f, scaffold) {
		b.at(f, "floating enable")
		b.sizeVast(f)
		return nil
	}
	touch = b.size(f, scaffold, false)
	b.at(f, "floating enable")
	return touch
}

// hide builds a member of the scratchpad and hides it; that which was shown is
// shown again with its workspace. While a group is hidden nothing may be done
// to its windows, so all is done before.
func (b *builder) hide(f *node) {
	touch := b.root(f)
	b.place(f, output{}, b.desk)
	b.script = append(b.script, touch...)
	shown := f.onWorkspace(b.goal)
	if !f.window() {
		b.replay(f)
	}
	f.walk(func(n *node) {
		b.attributes(n, b.desk)
		if sticky := n.saved.Sticky && !shown; sticky || n.liveOf(b.desk).Sticky {
			b.at(n, "sticky %s", ability(sticky))
		}
		if n.saved.Urgent && n.window() && n != f {
			b.at(n, "urgent enable")
		}
	})
	b.to(f.first().con, "move scratchpad")
}

// leaveStage leaves the stage where no visit will.
func (b *builder) leaveStage() {
	if slices.ContainsFunc(b.goal.visits, func(v visit) bool { return v.output == b.desk.focusedOn }) {
		return
	}
	b.show(b.goal.free(b.desk, ""), b.desk.focusedOn)
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
