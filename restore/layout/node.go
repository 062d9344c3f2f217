package layout

import (
	"math"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Layouts of a container, as Sway's tree and the checkpoint name them.
const (
	splith  = "splith"
	splitv  = "splitv"
	tabbed  = "tabbed"
	stacked = "stacked"
)

// node is a window or a container of tiled windows, in the goal or on the
// desk.
type node struct {
	id     string // in the checkpoint; empty on the desk
	con    int64  // in Sway; in the goal, that of a container is set by adopt
	mark   string // in the goal, of a container that build makes
	layout string // of a container
	nodes  []*node
	// focus holds indices of nodes, most recently focused first.
	focus []int
	// gap is the space between the children, in pixels; set in the goal.
	gap int
	// box is what commands act on: the rectangle with the decorations.
	box checkpoint.Rect
}

func (n *node) window() bool { return len(n.nodes) == 0 }

// first is the first window of n.
func (n *node) first() *node {
	for !n.window() {
		n = n.nodes[0]
	}
	return n
}

// walk calls f for n and all below, parents first.
func (n *node) walk(f func(*node)) {
	f(n)
	for _, c := range n.nodes {
		c.walk(f)
	}
}

// windows are all windows below n.
func (n *node) windows() []*node {
	var found []*node
	n.walk(func(n *node) {
		if n.window() && n.layout == "" {
			found = append(found, n)
		}
	})
	return found
}

// splits reports whether n shares its space among its children.
func (n *node) splits() bool { return n.layout == splith || n.layout == splitv }

// extent is how long a child of n is along the axis on which n splits.
func (n *node) extent(c *node) int {
	if n.layout == splith {
		return c.box.Width
	}
	return c.box.Height
}

// extents are those of all children of n.
func (n *node) extents() []int {
	var out []int
	for _, c := range n.nodes {
		out = append(out, n.extent(c))
	}
	return out
}

// workspace is one workspace; its node holds the tiled windows.
type workspace struct {
	node

	name, output string
	floating     []int64 // con_ids of floating windows, those of groups included
}

// boxOf adds its decorations to a rectangle: below a stacked container, there
// is a title for every sibling above a node.
func boxOf(rect, deco checkpoint.Rect, parent string, siblings int) checkpoint.Rect {
	height := deco.Height
	if parent == stacked {
		height *= siblings
	}
	rect.Y -= height
	rect.Height += height
	return rect
}

// arrange gives n and all below the boxes that Sway would give them, with the
// shares that their boxes have now (Sway 1.7 to 1.12, tree/arrange.c). title
// is the height of a title bar.
func (n *node) arrange(box checkpoint.Rect, title int) {
	extents := n.extents()
	n.box = box
	at := box
	for i, c := range n.nodes {
		switch n.layout {
		case splith:
			if i == 0 {
				extents = divide(extents, box.Width-n.gap*(len(n.nodes)-1))
			}
			at.Width = extents[i]
			c.arrange(at, title)
			at.X += at.Width + n.gap
		case splitv:
			if i == 0 {
				extents = divide(extents, box.Height-n.gap*(len(n.nodes)-1))
			}
			at.Height = extents[i]
			c.arrange(at, title)
			at.Y += at.Height + n.gap
		default:
			under := box
			if !c.window() {
				bars := title
				if n.layout == stacked {
					bars *= len(n.nodes)
				}
				under.Y += bars
				under.Height -= bars
			}
			c.arrange(under, title)
		}
	}
}

// divide shares total in the proportion of the weights, as Sway does: each
// rounded, the last takes the rest. Without any weight the shares are equal.
func divide(weights []int, total int) []int {
	sum, n := 0, len(weights)
	for _, w := range weights {
		sum += max(w, 0)
	}
	out := make([]int, n)
	rest := total
	for i := range out {
		share := float64(total) / float64(n)
		if sum > 0 {
			share = float64(max(weights[i], 0)) / float64(sum) * float64(total)
		}
		out[i] = int(math.Round(share))
		if i == n-1 {
			out[i] = rest
		}
		rest -= out[i]
	}
	return out
}
