package layout

import (
	"strings"
)

// kind is what a step does.
type kind string

const (
	sweep  kind = "sweep what is in the way"
	build  kind = "build"
	size   kind = "layouts and sizes"
	adjust kind = "adjust sizes"
	focus  kind = "focus"
	done   kind = "done"
)

// step is a batch of commands, after which the tree is read again.
type step struct {
	kind     kind
	commands script
	moved    []int64 // extra windows that it moves away
}

// next is the step that brings d closer to g: the first that may be tried and
// has something to do. What need not wait for another look at the tree goes
// with it.
func next(g *goal, d *desk, may func(kind) bool) step {
	plan := func(k kind, commands func() step) step {
		if !may(k) {
			return step{kind: done}
		}
		s := commands()
		s.kind = k
		if len(s.commands) == 0 {
			s.kind = done
		}
		return s
	}
	swept := plan(sweep, func() step { return sweepStep(g, d) })
	if s := plan(build, func() step { return buildStep(g, d, !may(adjust)) }); s.kind != done {
		s.commands = append(swept.commands, s.commands...)
		s.moved = append(swept.moved, s.moved...)
		return s
	}
	if swept.kind != done {
		return swept
	}
	if s := plan(size, func() step { return sizeStep(g, d) }); s.kind != done {
		if may(focus) {
			s.commands = append(s.commands, replay(g, d, g.stands(d))...)
		}
		return s
	}
	if s := plan(adjust, func() step { return adjustStep(g, d) }); s.kind != done {
		return s
	}
	return plan(focus, func() step { return focusStep(g, d) })
}

// condition is how far a live workspace is from its goal.
type condition int

const (
	wrong    condition = iota // other windows or containers
	scaffold                  // the right containers, all tabbed
	unshaped                  // the right containers, other layouts
	unsized                   // the right layouts, other sizes
	shaped                    // all but the focus
)

// examine compares a workspace of the goal with the live one. Where the
// containers are the right ones it notes their con_ids in the goal.
func examine(w *workspace, d *desk) condition {
	live := d.workspace(w.name)
	switch {
	case len(w.nodes) == 0:
		return shaped // only floating windows, which have no places here
	case live == nil || !adopt(&w.node, &live.node):
		return wrong
	case sameLayouts(&w.node, &live.node):
		if sameBoxes(&w.node, &live.node) {
			return shaped
		}
		return unsized
	case isScaffold(&w.node, &live.node):
		return scaffold
	}
	return unshaped
}

// adopt reports whether both trees have the same windows in the same
// containers, and gives the goal's containers their con_ids.
func adopt(want, live *node) bool {
	if len(want.nodes) != len(live.nodes) || (want.layout == "") != (live.layout == "") {
		return false
	}
	if want.layout == "" {
		return want.con == live.con
	}
	want.con = live.con
	for i := range want.nodes {
		if !adopt(want.nodes[i], live.nodes[i]) {
			return false
		}
	}
	return true
}

// pairs calls f for every node of two trees of the same structure, parents
// first.
func pairs(want, live *node, f func(want, live *node)) {
	f(want, live)
	for i := range want.nodes {
		pairs(want.nodes[i], live.nodes[i], f)
	}
}

func sameLayouts(want, live *node) bool {
	same := true
	pairs(want, live, func(w, l *node) { same = same && w.layout == l.layout })
	return same
}

func sameBoxes(want, live *node) bool {
	same := true
	pairs(want, live, func(w, l *node) { same = same && w.box == l.box })
	return same
}

// isScaffold reports whether live is want as build leaves it: all tabbed, but
// for chains, which are complete.
func isScaffold(want, live *node) bool {
	is := true
	pairs(want, live, func(w, l *node) {
		switch {
		case len(w.nodes) > 1 || w == want:
			is = is && l.layout == tabbed
		case len(w.nodes) == 1:
			is = is && l.layout == w.layout
		}
	})
	return is
}

// sweepStep ends what would make every other step fail: fullscreen, which
// hides windows from commands, sticky windows, which cannot leave what is
// shown, and what a killed run left behind.
func sweepStep(g *goal, d *desk) step {
	var s step
	for _, con := range d.sorted() {
		p := d.places[con]
		if p.standing == hidden || p.standing == inHidden {
			continue
		}
		covers := p.fullscreen == 2 || g.live[con] || g.workspace(p.workspace) != nil
		if p.fullscreen != 0 && covers {
			s.commands.to(con, "fullscreen disable")
		}
		if p.live.Sticky && g.tiled(con) {
			s.commands.to(con, "sticky disable")
		}
		for _, m := range p.live.Marks {
			if ours(m) && !strings.ContainsAny(m, "\"'\\;,$ ") {
				s.commands.plain("unmark %s", m)
			}
		}
	}
	var spare string
	for _, con := range d.sorted() {
		p := d.places[con]
		if p.live.Window == nil || !ours(p.workspace) || g.live[con] || p.live.Sticky {
			continue
		}
		if spare == "" {
			spare = g.spare(d)
		}
		s.commands.to(con, "move --no-auto-back-and-forth container to workspace %s", mustQuote(spare))
		s.moved = append(s.moved, con)
	}
	return s
}
