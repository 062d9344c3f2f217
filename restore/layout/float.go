package layout

import (
	"math"
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Sway keeps floating windows between these sizes and that of all outputs
// together, unless it was told otherwise (floating_minimum_size).
const (
	minFloatWidth  = 75
	minFloatHeight = 50
)

// place gives a floating node its box. Its workspace must be the one that its
// output shows: Sway puts a float that is moved on the workspace that is shown
// where its centre comes to lie. screen is its output; the zero one for a float
// that will be hidden, which may be anywhere.
//
// A size beyond the limits is reached by way of the border, which the limits
// include: the content keeps its size and place when the border changes.
func (s *script) place(f *node, screen output, d *desk) {
	box := f.box
	if f.saved.FullscreenMode != 0 {
		return // its own size was not saved
	}
	if !f.window() || !slices.Contains([]string{"none", "pixel", "normal"}, f.saved.Border) {
		s.put(f, atLeast(box, minFloatWidth, minFloatHeight), screen, d)
		return
	}
	title := f.saved.DecoRect.Height
	if f.saved.Border == "normal" { // of what is hidden Sway tells none
		title = max(title, d.title)
	}
	content := checkpoint.Rect{
		X:     box.X + f.saved.WindowRect.X,
		Y:     box.Y + title + f.saved.WindowRect.Y,
		Width: box.Width - f.saved.Rect.Width + f.saved.WindowRect.Width,
		// Height is that of Rect without the title.
		Height: box.Height - f.saved.Rect.Height - f.saved.DecoRect.Height + f.saved.WindowRect.Height,
	}
	content = atLeast(content, 1, 1) // Sway dies of a box that is narrower than its decorations
	// The border with which the content is within the limits.
	thick := max(0, (minFloatWidth-content.Width+1)/2, (minFloatHeight-content.Height+1)/2)
	within := func(box checkpoint.Rect) bool {
		return box.Width >= minFloatWidth && box.Height >= minFloatHeight && box.Width <= d.box.Width && box.Height <= d.box.Height
	}
	if within(box) {
		s.put(f, box, screen, d)
		return
	}
	s.at(f, "border pixel %d", thick)
	s.put(f, checkpoint.Rect{
		X: content.X - thick, Y: content.Y - thick,
		Width: content.Width + 2*thick, Height: content.Height + 2*thick,
	}, screen, d)
	s.at(f, "border %s %d", f.saved.Border, f.saved.BorderWidth)
}

func atLeast(box checkpoint.Rect, width, height int) checkpoint.Rect {
	box.Width, box.Height = max(box.Width, width), max(box.Height, height)
	return box
}

// put gives a floating node a box within the limits.
func (s *script) put(f *node, box checkpoint.Rect, screen output, d *desk) {
	switch {
	case screen.name == "" || d.home(box) == screen.name:
		s.at(f, "resize set width %d px height %d px", box.Width, box.Height)
		s.at(f, "move absolute position %d px %d px", box.X, box.Y)
	default:
		s.overhang(f, box, screen.box)
	}
	if !f.window() {
		// The windows of a group moved by the half pixels that it moved by;
		// setting a size arranges them anew.
		s.at(f, "resize set width %d px height %d px", box.Width, box.Height)
	}
}

// home is the output that Sway would take a float of that box to: the one with
// its centre, or else the nearest to it.
func (d *desk) home(box checkpoint.Rect) string {
	nearest, least := "", math.MaxInt
	for _, o := range d.outputs {
		x, y := 2*box.X+box.Width, 2*box.Y+box.Height // twice, as there may be a half
		dx := x - max(2*o.box.X, min(2*(o.box.X+o.box.Width)-1, x))
		dy := y - max(2*o.box.Y, min(2*(o.box.Y+o.box.Height)-1, y))
		if distance := dx*dx + dy*dy; distance < least {
			nearest, least = o.name, distance
		}
	}
	return nearest
}

// overhang places a float whose centre lies beyond its output. Only a move
// takes a float elsewhere, growing and shrinking do not: so it is put at the
// edge of its output, grown until it covers its box, and shrunk to it.
func (s *script) overhang(f *node, box, screen checkpoint.Rect) {
	const w, h = minFloatWidth, minFloatHeight
	x := max(screen.X, min(screen.X+screen.Width-w, box.X))
	y := max(screen.Y, min(screen.Y+screen.Height-h, box.Y))
	s.at(f, "resize set width %d px height %d px", w, h)
	s.at(f, "move absolute position %d px %d px", x, y)
	sides := []struct {
		name string
		by   int
	}{
		{"left", x - box.X},
		{"right", box.X + box.Width - x - w},
		{"up", y - box.Y},
		{"down", box.Y + box.Height - y - h},
	}
	for _, side := range sides {
		if side.by > 0 {
			s.at(f, "resize grow %s %d px", side.name, side.by)
		}
	}
	for _, side := range sides {
		if side.by < 0 {
			s.at(f, "resize shrink %s %d px", side.name, -side.by)
		}
	}
}

// adjustStep moves borders where only sizes are wrong, and floats that are in
// the wrong place. A container that will get another size itself is taken as
// if its children had grown with it; what rounding makes of that is left to
// the next time.
func adjustStep(g *goal, d *desk) script {
	var s script
	for _, w := range g.workspaces {
		live := d.workspace(w.name)
		if examine(w, d) == unsized {
			s.adjust(&w.node, &live.node)
		}
		for _, f := range w.floats {
			if g.examineFloat(f, w, d) == unsized {
				s.replace(f, w, g, d)
			}
		}
	}
	return s
}

func (s *script) adjust(want, live *node) {
	var moves script
	pairs(want, live, func(n, live *node) {
		if n.splits() {
			final := n.extents()
			moves.borders(n, divide(live.extents(), sum(final)), final)
		}
	})
	n := covering(live)
	if n != nil && len(moves) > 0 && live.live.Type == "workspace" && !below(want, live, n) {
		s.to(n.con, "fullscreen disable") // behind it, Sway arranges nothing
		return
	}
	*s = append(*s, moves...)
}

// covering returns the node that is fullscreen on a live workspace, or nil.
func covering(live *node) *node {
	var found *node
	live.walk(func(n *node) {
		if n.live != nil && n.live.FullscreenMode != 0 && n.live.Type != "workspace" {
			found = n
		}
	})
	return found
}

// below reports whether all that differs is below the fullscreen node.
func below(want, live, fullscreen *node) bool {
	all := true
	compared(want, live, func(w, l *node) { all = all && (w.box == l.box || fullscreen.holds(l)) })
	return all
}

// replace puts a float that stands into its place.
func (s *script) replace(f *node, w *workspace, g *goal, d *desk) {
	live := d.places[f.first().con].root
	was, box := live.box, f.box
	switch {
	case was == box:
	case was.X == box.X && was.Y == box.Y && box.Width >= minFloatWidth && box.Height >= minFloatHeight:
		// Only its size is wrong: growing takes it nowhere else.
		s.grow(f, "right", box.Width-was.Width)
		s.grow(f, "down", box.Height-was.Height)
	default:
		if o, _ := d.output(w.output); o.shown != w.name {
			s.show(w.name, w.output)
		}
		s.place(f, g.screen(w.output), d)
	}
	if !f.window() {
		s.adjust(f, live)
	}
}

func (s *script) grow(f *node, side string, by int) {
	switch {
	case by > 0:
		s.at(f, "resize grow %s %d px", side, by)
	case by < 0:
		s.at(f, "resize shrink %s %d px", side, -by)
	}
}

// scratchpadStands reports whether the scratchpad has its members, as they
// should be and in order. Whether those are shown that should be is a matter
// of the last step.
func (g *goal) scratchpadStands(d *desk) bool {
	var want, got []int64
	for _, f := range g.scratchpad {
		p := d.places[f.first().con]
		shown := f.onWorkspace(g)
		switch {
		case p.root == nil || !p.scratch || !alike(f, p.root) || !sameLayouts(f, p.root):
			return false
		case !shown && !p.away():
			return false
		case !shown && (!g.placed(f, p.root) || !g.dressed(f, d)):
			return false
		}
		want = append(want, f.con)
	}
	for _, con := range d.scratchpad {
		if slices.Contains(want, con) {
			got = append(got, con)
		}
	}
	return slices.Equal(want, got)
}

// screen returns the live output of that name.
func (g *goal) screen(name string) output {
	for _, o := range g.screens {
		if o.name == name {
			return o
		}
	}
	return output{}
}
