package layout

import (
	"slices"
	"strings"
)

// Some sizes are below Sway's minimum even where a container has the whole
// screen: a window that others were added to later is smaller than a resize
// may make it. Such trees are sized while they float, larger than any screen.
// It happens within one message, so no client ever sees that size.

// vast is the side of a float with room for everything, in pixels.
const vast = 60000

// cramped reports whether n has children that are smaller than a resize may
// make them in the scaffold that stands for it.
func cramped(n, scaffold *node) bool {
	found := false
	pairs(n, scaffold, func(n, live *node) {
		if !n.splits() || len(n.nodes) < 2 || isEqual(n.extents()) {
			return
		}
		least := minWidth
		if n.layout == splitv {
			least = minHeight
		}
		for _, e := range scale(n.extents(), live.extentAlong(n.layout)) {
			found = found || e < least
		}
	})
	return found
}

// cramped reports whether any part of the goal is.
func (g *goal) cramped() bool {
	for _, w := range g.workspaces {
		if cramped(&w.node, scaffoldOf(&w.node, g.title)) {
			return true
		}
		for _, f := range w.floats {
			if cramped(f, g.stageFor(f).nodes[0]) {
				return true
			}
		}
	}
	for _, f := range g.scratchpad {
		if cramped(f, g.stageFor(f).nodes[0]) {
			return true
		}
	}
	return false
}

// stageFor is the scaffold of a float on the stage.
func (g *goal) stageFor(f *node) *node {
	return scaffoldOf(&node{layout: tabbed, nodes: []*node{f}, box: g.stage}, g.title)
}

// sizeVast gives a container that floats on the stage its layouts and sizes.
func (b *builder) sizeVast(n *node) {
	scaffold := n.scaffold(false)
	box := n.box
	box.X, box.Y, box.Width, box.Height = 0, 0, vast, vast
	scaffold.arrange(box, b.goal.title)
	b.plain("floating_maximum_size -1 x -1")
	b.at(n, "resize set width %d px height %d px", vast, vast)
	b.size(n, scaffold, false)
	b.plain("floating_maximum_size %s", b.goal.maximum)
}

// roomy builds the tree of a workspace that is cramped: as a floating container
// on the stage, of which the workspace, which must be empty, then takes the
// layout and the children. What floats there steps aside meanwhile, to a
// workspace on the same output: on another it would lose its place.
func (b *builder) roomy(w *workspace) {
	n := &node{layout: w.layout, nodes: w.nodes, focus: w.nodes, box: w.box}
	b.container(n)
	b.at(n, "floating enable")
	b.sizeVast(n)
	b.at(n, "floating disable")
	var floats []*node
	if live := b.desk.workspace(w.name); live != nil {
		floats = slices.DeleteFunc(slices.Clone(live.floats), func(f *node) bool {
			return f.live.Sticky || b.leaves[f.first().con]
		})
		if len(floats) > 0 {
			aside := b.goal.free(b.desk, stage+"aside_")
			b.show(aside, live.output)
			for _, f := range floats {
				b.move(f.con, aside)
			}
		}
	}
	b.show(w.name, w.output)
	b.at(n, "move --no-auto-back-and-forth container to workspace %s", mustQuote(w.name))
	for _, f := range floats {
		b.move(f.con, w.name)
	}
}

// maximumIn is the floating_maximum_size of a configuration.
func maximumIn(config string) string {
	size := "0 x 0"
	for line := range strings.Lines(config) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == "floating_maximum_size" {
			size = strings.Join(f[1:], " ")
		}
	}
	return size
}
