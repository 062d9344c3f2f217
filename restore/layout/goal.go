package layout

import (
	"slices"
	"strconv"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// goal is what the live desktop can be of a saved one: the saved trees without
// the windows that are missing, in the space that is there now.
type goal struct {
	workspaces []*workspace // those with windows, in saved order
	// scratchpad are its members, hidden and shown, in saved order; the shown
	// ones also float on a workspace.
	scratchpad []*node
	// windows are all saved leaves.
	windows []leaf
	live    map[int64]bool // con_ids of those that are there
	// visits are the workspaces in the order in which the replay of the focus
	// visits them: the last is the focused one.
	visits []visit
	// standing are the same workspaces in the order in which they stand.
	standing []visit
	// focused is the saved id of the focused node; its con_id is found when
	// the tree stands.
	focused string
	// outranked is set when the focused node was not the most recent one of
	// its workspace, or what was fullscreen everywhere did not have the focus,
	// which no command can bring about.
	outranked bool
	// keep is the con_id to leave focused, instead of any replay.
	keep int64

	title int // height of a title bar in pixels, 0 when nothing tells
	// stage is the area of the stage.
	stage checkpoint.Rect
	// maximum is the floating_maximum_size that was configured; empty when it
	// is not known, and must not be changed.
	maximum string

	screens map[string]output // by saved name, those of today
	renamed map[string]string // saved id of a workspace → the name it gets
	scaled  []string          // saved ids of workspaces
	unknown []int64           // con_ids of floats whose own size was not saved
	carried []string          // saved ids of floats that go to the workspace that is shown
}

// leaf is a window of the checkpoint.
type leaf struct {
	id    string
	con   int64 // 0 when missing
	where standing
}

// visit is one stop of the replay.
type visit struct {
	workspace, output string
	layout            string // of a workspace without tiled windows; else empty
}

// newGoal works out what the desk d can be of saved, and looks up in d what
// stands already.
func newGoal(saved *checkpoint.Layout, d *desk, windows map[string]int64) *goal {
	g := &goal{
		live: map[int64]bool{}, focused: saved.Focused, screens: screensFor(saved, d),
		renamed: map[string]string{}, title: d.title,
	}
	if g.title == 0 {
		g.title = titleOf(saved)
	}
	if o, ok := d.output(d.focusedOn); ok {
		g.stage = o.area
	}
	taken := map[string]bool{}
	for _, w := range saved.Workspaces {
		taken[w.Name] = true
	}
	names := map[string]string{}
	members := map[string]*node{}
	for _, w := range saved.Workspaces {
		name := w.Name
		if _, ok := quote(name); !ok || ours(name) {
			name = sayable(name, taken)
			taken[name] = true
			g.renamed[w.ID] = name
		}
		names[w.ID] = name
		g.addWorkspace(w, name, d, windows, members)
	}
	for _, n := range saved.Scratchpad {
		if f := g.root(n, "", 1, hidden, d, windows); f != nil {
			g.rescale(f, outputAt(saved, f.box), d)
			members[n.ID] = f
		}
	}
	g.scratchpad = memberOrder(saved, members)
	g.visits = g.visitsOf(saved, names)
	for _, w := range saved.Workspaces {
		for _, v := range g.visits {
			if v.workspace == names[w.ID] {
				g.standing = append(g.standing, v)
			}
		}
	}
	g.carrySticky()
	g.focusGlobal()
	g.rankFocused()
	g.adopt(d)
	return g
}

// memberOrder puts the members of the scratchpad in order. Checkpoints before
// scratchpad_focus hold the order of the hidden ones only.
func memberOrder(saved *checkpoint.Layout, members map[string]*node) []*node {
	ids := slices.Clone(saved.ScratchpadFocus)
	slices.Reverse(ids)
	for _, n := range saved.Scratchpad {
		ids = append(ids, n.ID)
	}
	for _, w := range saved.Workspaces {
		for _, n := range w.Floating {
			ids = append(ids, n.ID)
		}
	}
	var out []*node
	for _, id := range ids {
		if n := members[id]; n != nil && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// addLeaves notes the windows below n and returns which of them are there.
func (g *goal) addLeaves(n *checkpoint.Node, where standing, d *desk, windows map[string]int64) map[string]int64 {
	here := map[string]int64{}
	n.Walk(func(n *checkpoint.Node, _ int) {
		if !n.Leaf() {
			return
		}
		con := windows[n.ID]
		if p, ok := d.places[con]; !ok || p.live.Window == nil || g.live[con] {
			con = 0
		}
		g.windows = append(g.windows, leaf{n.ID, con, where})
		if con != 0 {
			g.live[con] = true
		}
		here[n.ID] = con
	})
	return here
}

func (g *goal) addWorkspace(saved checkpoint.Workspace, name string, d *desk, windows map[string]int64, members map[string]*node) {
	screen := g.screens[saved.Output]
	w := &workspace{name: name, output: screen.name}
	w.node = node{id: saved.ID, layout: saved.Layout, box: saved.Rect}
	here := map[string]int64{}
	for _, n := range saved.Nodes {
		for id, con := range g.addLeaves(n, tiled, d, windows) {
			here[id] = con
		}
	}
	whole := w.take(saved.Nodes, saved.Focus, here)
	area := screen.area
	if live := d.workspace(name); live != nil && live.output == w.output {
		area = live.box
	}
	for _, n := range saved.Floating {
		f := g.root(n, saved.Layout, len(saved.Floating), floating, d, windows)
		if f == nil {
			continue
		}
		f.move(saved.Rect, area, g.title)
		w.floats = append(w.floats, f)
		if n.InScratchpad {
			members[n.ID] = f
		}
	}
	if len(w.roots()) == 0 {
		return
	}
	w.focus = ranked(saved.Focus, w.roots())
	if area != saved.Rect {
		g.scaled = append(g.scaled, saved.ID)
	}
	if len(w.nodes) > 0 && (!whole || area != saved.Rect) {
		w.arrange(area, g.title)
	}
	g.workspaces = append(g.workspaces, w)
}

// root takes a floating or hidden window or group; nil when all its windows
// are missing.
func (g *goal) root(saved *checkpoint.Node, layout string, siblings int, where standing, d *desk, windows map[string]int64) *node {
	here := g.addLeaves(saved, where, d, windows)
	n := &node{
		id: saved.ID, saved: saved, under: saved.FullscreenMode != 0,
		box: boxOf(saved.Rect, saved.DecoRect, layout, siblings),
	}
	if saved.Leaf() {
		if n.con = here[saved.ID]; n.con == 0 {
			return nil
		}
	} else {
		n.layout = saved.Layout
		whole := n.take(saved.Nodes, saved.Focus, here)
		if len(n.nodes) == 0 {
			return nil
		}
		// What is hidden Sway does not arrange before it is shown.
		if !whole || where == hidden && g.title > 0 {
			n.arrange(n.box, g.title)
		}
	}
	if saved.FullscreenMode != 0 {
		g.unknown = append(g.unknown, n.first().con)
	}
	return n
}

// move gives a floating node the place in the area to that it had in from.
func (n *node) move(from, to checkpoint.Rect, title int) {
	if from == to || from.Width <= 0 || from.Height <= 0 {
		return
	}
	scale := func(v, of, into int) int { return int(float64(v) * float64(into) / float64(of)) }
	n.arrange(checkpoint.Rect{
		X:     to.X + scale(n.box.X-from.X, from.Width, to.Width),
		Y:     to.Y + scale(n.box.Y-from.Y, from.Height, to.Height),
		Width: scale(n.box.Width, from.Width, to.Width), Height: scale(n.box.Height, from.Height, to.Height),
	}, title)
}

// rescale moves a hidden node along with the output that it was over.
func (g *goal) rescale(n *node, saved checkpoint.Output, d *desk) {
	if o, ok := d.output(g.screens[saved.Name].name); ok {
		n.move(saved.Rect, o.box, g.title)
	}
}

// take gives n the saved children that have a window in here. It reports
// whether their saved rectangles stand for themselves: none is missing.
func (n *node) take(saved []*checkpoint.Node, focus []string, here map[string]int64) (whole bool) {
	whole = true
	n.gap = gapOf(saved, n.layout)
	for _, s := range saved {
		c := &node{
			id: s.ID, layout: s.Layout, saved: s, under: n.under || s.FullscreenMode != 0,
			box: boxOf(s.Rect, s.DecoRect, n.layout, len(saved)),
		}
		if s.FullscreenMode != 0 {
			n.unfullscreen(c, saved)
		}
		if s.Leaf() {
			c.layout, c.con = "", here[s.ID]
			if c.con == 0 {
				whole = false
				continue
			}
		} else {
			whole = c.take(s.Nodes, s.Focus, here) && whole
			if len(c.nodes) == 0 {
				continue
			}
		}
		n.nodes = append(n.nodes, c)
	}
	n.focus = ranked(focus, n.nodes)
	return whole
}

// ranked puts children in the order of a saved focus array.
func ranked(focus []string, children []*node) []*node {
	var out []*node
	for _, id := range focus {
		if i := slices.IndexFunc(children, func(n *node) bool { return n.id == id }); i >= 0 && !slices.Contains(out, children[i]) {
			out = append(out, children[i])
		}
	}
	for _, n := range children {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// unfullscreen gives a fullscreen child the space that its siblings leave: its
// own rectangle is that of the screen. What is below it keeps the sizes that
// it has while the screen is full.
func (n *node) unfullscreen(c *node, siblings []*checkpoint.Node) {
	c.box = n.box
	c.box.Width -= n.gap * (len(siblings) - 1)
	c.box.Height -= n.gap * (len(siblings) - 1)
	for _, s := range siblings {
		if s.ID != c.id && n.layout == splith {
			c.box.Width -= s.Rect.Width
		}
		if s.ID != c.id && n.layout == splitv {
			c.box.Height -= s.Rect.Height + s.DecoRect.Height
		}
	}
	c.box.Width, c.box.Height = max(c.box.Width, 1), max(c.box.Height, 1)
}

// gapOf is the space between the saved children of a container.
func gapOf(nodes []*checkpoint.Node, layout string) int {
	if len(nodes) < 2 || nodes[0].FullscreenMode != 0 || nodes[1].FullscreenMode != 0 {
		return 0
	}
	a, b := boxOf(nodes[0].Rect, nodes[0].DecoRect, layout, 0), boxOf(nodes[1].Rect, nodes[1].DecoRect, layout, 0)
	switch layout {
	case splith:
		return max(0, b.X-a.X-a.Width)
	case splitv:
		return max(0, b.Y-a.Y-a.Height)
	}
	return 0
}

// titleOf is the height of a title bar in the saved layout.
func titleOf(saved *checkpoint.Layout) int {
	height := 0
	saved.Walk(func(n *checkpoint.Node) { height = max(height, n.DecoRect.Height) })
	return height
}

// workspace returns the goal for a workspace of that name, or nil.
func (g *goal) workspace(name string) *workspace {
	for _, w := range g.workspaces {
		if w.name == name {
			return w
		}
	}
	return nil
}

// free returns the first name made of prefix and a number that no workspace has
// and none will have.
func (g *goal) free(d *desk, prefix string) string {
	for n := 1; ; n++ {
		name := prefix + strconv.Itoa(n)
		if d.workspace(name) == nil && !slices.ContainsFunc(g.visits, func(v visit) bool { return v.workspace == name }) {
			return name
		}
	}
}
