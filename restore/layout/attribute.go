package layout

import (
	"cmp"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// Attributes come back in this order: borders, as they change sizes; marks and
// idle inhibitors; then, when the focus is where it belongs, sticky, which
// would wander with it, urgent, which it would end, and last fullscreen.

// bare is what a container has that was just made.
var bare = &sway.Node{Border: "none"}

// liveOf is the live twin of a node of the goal, bare if there is none yet.
func (n *node) liveOf(d *desk) *sway.Node {
	if p, ok := d.places[n.con]; ok && n.mark == "" {
		return p.live
	}
	return bare
}

// border sets the border of a window, which changes the size of a float. A
// border that the client draws itself it also has by itself.
func (s *script) border(n *node, d *desk) {
	live := n.liveOf(d)
	if n.window() && n.saved.Border != "" && n.saved.Border != "csd" &&
		(n.saved.Border != live.Border || n.saved.BorderWidth != live.BorderWidth) {
		s.at(n, "border %s %d", n.saved.Border, n.saved.BorderWidth)
	}
}

// attributes sets the marks and the idle inhibitor of a node.
func (s *script) attributes(n *node, d *desk) {
	live := n.liveOf(d)
	if n.window() {
		if want := cmp.Or(n.saved.InhibitIdle, "none"); want != cmp.Or(live.InhibitIdle, "none") {
			s.at(n, "inhibit_idle %s", want)
		}
	}
	want := sayableMarks(n.saved.Marks)
	if slices.Equal(want, notOurs(live.Marks)) {
		return
	}
	for _, m := range notOurs(live.Marks) {
		if name, ok := quoteMark(m); ok {
			s.at(n, "unmark %s", name)
		}
	}
	for _, m := range want {
		name, _ := quoteMark(m)
		s.at(n, "mark --add %s", name)
	}
}

func notOurs(marks []string) []string {
	return slices.DeleteFunc(slices.Clone(marks), ours)
}

func sayableMarks(marks []string) []string {
	return slices.DeleteFunc(notOurs(marks), func(m string) bool { _, ok := quoteMark(m); return !ok })
}

// quoteMark is quote for a mark, which must not look like an option and may be
// any word.
func quoteMark(m string) (string, bool) {
	if strings.HasPrefix(m, "--") {
		return "", false
	}
	return quoteText(m)
}

// dressed reports whether a hidden float has all attributes that must be set
// before it is hidden.
func (g *goal) dressed(f *node, d *desk) bool {
	var s script
	f.walk(func(n *node) {
		s.border(n, d)
		s.attributes(n, d)
		if n.saved.Sticky != n.liveOf(d).Sticky {
			s.at(n, "sticky")
		}
	})
	return len(s) == 0
}

// finishStep sets the attributes, shows what is to be shown, puts workspaces,
// floats and focus in order.
func finishStep(g *goal, d *desk) script {
	var s script
	g.walk(func(n *node) {
		if !d.places[n.con].away() {
			s.border(n, d)
			s.attributes(n, d)
		}
	})
	s = append(s, orderStep(g, d)...)
	paused := len(compareFocus(g, d)) > 0
	if paused {
		s = append(pause(g, d), s...)
		s = append(s, replay(g, d)...)
	}
	return append(s, last(g, d, paused)...)
}

// last sets what focus would undo. paused says that pause ended it before.
func last(g *goal, d *desk, paused bool) script {
	var s script
	var fullscreen []*node
	g.walk(func(n *node) {
		live, standing := n.liveOf(d), d.places[n.con].standing
		away := standing == hidden
		if n.con == 0 || standing == inHidden {
			return
		}
		if n.saved.Sticky != (live.Sticky && !paused) && !away {
			s.at(n, "sticky %s", ability(n.saved.Sticky))
		}
		if n.window() && (n.saved.Urgent != live.Urgent || n.saved.Urgent && paused) {
			s.at(n, "urgent %s", ability(n.saved.Urgent))
		}
		if n.fullscreen() != 0 && (live.FullscreenMode != n.fullscreen() || paused) && !away {
			fullscreen = append(fullscreen, n)
		}
	})
	slices.SortStableFunc(fullscreen, func(a, b *node) int { return cmp.Compare(a.fullscreen(), b.fullscreen()) })
	for _, n := range fullscreen {
		s.at(n, "fullscreen enable%s", map[int]string{1: "", 2: " global"}[n.fullscreen()])
		// A container that becomes fullscreen takes the focus from what is in it.
		if _, focused := g.find(g.focused); focused != nil && focused != n && n.holds(focused) && g.keep == 0 {
			s.focusOn(focused)
		}
	}
	return s
}

func ability(on bool) string {
	if on {
		return "enable"
	}
	return "disable"
}

// unbordered reports whether a window does not show its border yet.
func (g *goal) unbordered(d *desk) bool {
	var s script
	g.walk(func(n *node) { s.border(n, d) })
	return len(s) > 0
}
