package layout

import "slices"

// kind is what a step does.
type kind string

const (
	sweep  kind = "sweep what is in the way"
	build  kind = "build"
	size   kind = "layouts and sizes"
	adjust kind = "adjust sizes and places"
	finish kind = "attributes and focus"
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
	if s := plan(size, func() step { return step{commands: sizeStep(g, d)} }); s.kind != done {
		return s
	}
	if s := plan(adjust, func() step { return step{commands: adjustStep(g, d)} }); s.kind != done {
		return s
	}
	return plan(finish, func() step { return step{commands: finishStep(g, d)} })
}

// condition is how far a live workspace or float is from its goal.
type condition int

const (
	wrong    condition = iota // other windows or containers, or elsewhere
	scaffold                  // the right containers, all tabbed
	unshaped                  // the right containers, other layouts
	unsized                   // the right layouts, other sizes or place
	shaped                    // all but attributes and focus
)

// examine compares the tiled tree of a workspace with the live one.
func examine(w *workspace, d *desk) condition {
	live := d.workspace(w.name)
	switch {
	case len(w.nodes) == 0:
		return shaped
	case live == nil || live.output != w.output || !alike(&w.node, &live.node):
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

// examineFloat compares a float of a workspace with the live one. A member of
// the scratchpad that has to be shown yet counts as shaped.
func (g *goal) examineFloat(f *node, w *workspace, d *desk) condition {
	p := d.places[f.first().con]
	live := p.root
	switch {
	case live == nil || !alike(f, live) || !sameLayouts(f, live) || f.scratch() != p.scratch:
		return wrong
	case p.away() || p.workspace != w.name || p.output != w.output:
		if f.scratch() {
			return shaped
		}
		return wrong
	case g.placed(f, live):
		return shaped
	}
	return unsized
}

// placed reports whether a float is where it should be, as far as that was
// saved.
func (g *goal) placed(f, live *node) bool {
	return slices.Contains(g.unknown, f.first().con) || sameBoxes(f, live)
}

// adopt gives the goal's containers the con_ids of those that stand.
func (g *goal) adopt(d *desk) {
	for _, w := range g.workspaces {
		if live := d.workspace(w.name); live != nil {
			w.con = live.con
			if alike(&w.node, &live.node) {
				take(&w.node, &live.node)
			}
		}
		for _, f := range w.floats {
			if live := d.places[f.first().con].root; live != nil && alike(f, live) {
				take(f, live)
			}
		}
	}
	for _, f := range g.scratchpad {
		if live := d.places[f.first().con].root; live != nil && alike(f, live) {
			take(f, live)
		}
	}
}

func take(want, live *node) {
	pairs(want, live, func(want, live *node) { want.con = live.con })
}

// alike reports whether both trees have the same windows in the same
// containers.
func alike(want, live *node) bool {
	if len(want.nodes) != len(live.nodes) || want.window() != live.window() {
		return false
	}
	if want.window() {
		return want.con == live.con
	}
	for i := range want.nodes {
		if !alike(want.nodes[i], live.nodes[i]) {
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
	compared(want, live, func(w, l *node) { same = same && w.box == l.box })
	return same
}

// compared calls f for every pair of nodes whose boxes can be compared:
// fullscreen hides the own box of a node and changes all below it.
func compared(want, live *node, f func(want, live *node)) {
	switch {
	case want.fullscreen() == 0 || live.live == nil:
		f(want, live)
	case live.live.FullscreenMode != want.fullscreen():
		return
	}
	for i := range want.nodes {
		compared(want.nodes[i], live.nodes[i], f)
	}
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

// sweepStep ends what nobody wants and would make other steps fail:
// fullscreen, and what a killed run left behind.
func sweepStep(g *goal, d *desk) step {
	var s step
	for _, con := range d.sorted() {
		p := d.places[con]
		if p.away() {
			continue
		}
		ofGoal := p.live.FullscreenMode == 2 || g.live[con] || g.workspace(p.workspace) != nil
		if p.live.FullscreenMode != 0 && ofGoal && g.node(con).fullscreen() != p.live.FullscreenMode {
			s.commands.to(con, "fullscreen disable")
		}
		for _, m := range p.live.Marks {
			if name, ok := quote(m); ok && ours(m) {
				s.commands.plain("unmark %s", name)
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
			spare = g.free(d, "")
		}
		s.commands.to(con, "move --no-auto-back-and-forth container to workspace %s", mustQuote(spare))
		s.moved = append(s.moved, con)
	}
	return s
}

// pause ends for a while what would stop the commands to come: fullscreen,
// which hides windows from them, and sticky, whose windows wander. And what is
// urgent would cease to be some time after it had the focus.
func pause(g *goal, d *desk) script {
	var s script
	for _, con := range d.sorted() {
		p := d.places[con]
		if p.away() || g.node(con) == nothing {
			continue
		}
		if p.live.FullscreenMode != 0 && g.node(con).fullscreen() == p.live.FullscreenMode { // else sweep ends it
			s.to(con, "fullscreen disable")
		}
		if p.live.Sticky {
			s.to(con, "sticky disable")
		}
		if p.live.Urgent && p.live.Window != nil {
			s.to(con, "urgent disable")
		}
	}
	return s
}

// nothing stands for a container or window that the goal does not know.
var nothing = &node{}

// node returns the node of the goal with that con_id, or nothing.
func (g *goal) node(con int64) *node {
	found := nothing
	g.walk(func(n *node) {
		if n.con == con && con != 0 {
			found = n
		}
	})
	return found
}

// walk calls f for every container and window of the goal.
func (g *goal) walk(f func(*node)) {
	for _, w := range g.workspaces {
		for _, n := range w.roots() {
			n.walk(f)
		}
	}
	for _, n := range g.scratchpad {
		if !n.onWorkspace(g) {
			n.walk(f)
		}
	}
}

// onWorkspace reports whether a member of the scratchpad is one that is shown.
func (n *node) onWorkspace(g *goal) bool { return g.home(n) != nil }

// home is the workspace on which a float stands; nil for a hidden one.
func (g *goal) home(n *node) *workspace {
	for _, w := range g.workspaces {
		if slices.Contains(w.floats, n) {
			return w
		}
	}
	return nil
}
