package layout

import "math"

// Sway refuses a resize that leaves a side below these, in pixels
// (MIN_SANE_W and MIN_SANE_H in sway/tree/container.h).
const (
	minWidth  = 100
	minHeight = 60
)

// sizeStep gives the scaffolds their layouts and sizes. Innermost first: as
// long as all around a container is tabbed, it has the whole workspace, less
// one title bar for each container around it. Its borders are moved there, in
// steps finer than the final pixels, far from Sway's minimum, and as nothing
// was sized before, the sizes to start from are equal shares.
//
// A container that ends up higher than it was in the scaffold (by those title
// bars) cannot be given every height there; such are touched up by a pixel
// when all stand, outermost first.
func sizeStep(g *goal, d *desk) step {
	var s script
	for _, w := range g.workspaces {
		if examine(w, d) == scaffold {
			s.shape(w, &d.workspace(w.name).node)
		}
	}
	return step{commands: s}
}

// shape gives a workspace that stands as a scaffold its layouts and sizes.
func (s *script) shape(w *workspace, scaffold *node) {
	touch := s.size(&w.node, scaffold, true)
	*s = append(*s, touch...)
}

// scaffoldOf foretells the scaffold of n in its box.
func scaffoldOf(n *node, title int) *node {
	s := n.scaffold(true)
	s.arrange(n.box, title)
	return s
}

func (n *node) scaffold(isWorkspace bool) *node {
	out := *n
	if isWorkspace || len(n.nodes) > 1 {
		out.layout = tabbed
	}
	out.nodes = nil
	for _, c := range n.nodes {
		out.nodes = append(out.nodes, c.scaffold(false))
	}
	return &out
}

// size shapes all below n and then n, whose twin live stands in the scaffold.
// It returns the touch-ups, to be sent when all stands.
func (s *script) size(n, live *node, isWorkspace bool) (touch script) {
	var below script
	for i, c := range n.nodes {
		if !c.window() {
			below = append(below, s.size(c, live.nodes[i], false)...)
		}
	}
	if len(n.nodes) < 2 && !isWorkspace {
		return below // a link of a chain, complete since it was built
	}
	if n.layout != live.layout {
		if isWorkspace {
			s.at(n.nodes[0], "focus parent")
			s.then("layout %s", commandFor(n.layout))
		} else {
			s.at(n.nodes[0], "layout %s", commandFor(n.layout))
		}
	}
	if n.splits() {
		final := n.extents()
		space := sum(final)
		if !isWorkspace {
			space = live.extentAlong(n.layout)
		}
		s.borders(n, equal(len(final), space), scale(final, space))
		touch.borders(n, outcome(final, space), final)
	}
	return append(touch, below...)
}

// extentAlong is how long n is along the axis of a layout.
func (n *node) extentAlong(layout string) int {
	if layout == splith {
		return n.box.Width
	}
	return n.box.Height
}

// adjustStep moves borders where only sizes are wrong. A container that will
// get another size itself is taken as if its children had grown with it; what
// rounding makes of that is left to the next time.
func adjustStep(g *goal, d *desk) step {
	var s script
	for _, w := range g.workspaces {
		if examine(w, d) == unsized {
			pairs(&w.node, &d.workspace(w.name).node, func(n, live *node) {
				if n.splits() {
					final := n.extents()
					s.borders(n, divide(live.extents(), sum(final)), final)
				}
			})
		}
	}
	return step{commands: s}
}

// borders moves the borders between the children of n, whose extents are now
// from, so that they become to. Borders that move right go from right to left
// and those that move left from left to right: so there is always room.
func (s *script) borders(n *node, from, to []int) {
	from = append([]int(nil), from...)
	shift := make([]int, len(from)) // of the border behind each child
	total := 0
	for i := range from {
		total += to[i] - from[i]
		shift[i] = total
	}
	axis, least := "right", minWidth
	if n.layout == splitv {
		axis, least = "down", minHeight
	}
	move := func(i int, verb string, by int) {
		if from[i]+by < least || from[i+1]-by < least {
			return // Sway would refuse it, and all that follows
		}
		s.at(n.nodes[i], "resize %s %s %d px", verb, axis, max(by, -by))
		from[i] += by
		from[i+1] -= by
	}
	for i := len(from) - 2; i >= 0; i-- {
		if shift[i] > 0 {
			move(i, "grow", shift[i])
		}
	}
	for i := range len(from) - 1 {
		if shift[i] < 0 {
			move(i, "shrink", shift[i])
		}
	}
}

// equal is what Sway gives n children that were never sized.
func equal(n, space int) []int { return divide(make([]int, n), space) }

// scale returns extents that add up to space and of which Sway, when the space
// becomes that of final, makes final, as far as whole pixels allow. Equal
// shares stay what they are.
func scale(final []int, space int) []int {
	total := sum(final)
	if isEqual(final) {
		return equal(len(final), space)
	}
	out := make([]int, len(final))
	rest := space
	for i, want := range final[:len(final)-1] {
		best := int(math.Round(float64(want) * float64(space) / float64(total)))
		for _, p := range []int{best - 1, best + 1} {
			if math.Abs(exactly(p, space, total)-float64(want)) < math.Abs(exactly(best, space, total)-float64(want)) {
				best = p
			}
		}
		out[i] = best
		rest -= best
	}
	out[len(out)-1] = rest
	return out
}

// exactly is what p of space becomes in total, before it is rounded.
func exactly(p, space, total int) float64 { return float64(p) / float64(space) * float64(total) }

// outcome is what Sway makes of scale(final, space) in the final space.
func outcome(final []int, space int) []int {
	if isEqual(final) {
		return final
	}
	return divide(scale(final, space), sum(final))
}

// isEqual reports whether extents are those of children never sized.
func isEqual(extents []int) bool {
	for i, e := range equal(len(extents), sum(extents)) {
		if e != extents[i] {
			return false
		}
	}
	return true
}

func sum(values []int) int {
	total := 0
	for _, v := range values {
		total += v
	}
	return total
}
