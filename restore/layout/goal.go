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
	// floating are the windows to float, by their workspace: where they float
	// is not restored, but they must not stand among the tiled ones.
	floating map[int64]string
	// windows are all saved leaves.
	windows []leaf
	live    map[int64]bool // con_ids of those that are there
	// visits are names of workspaces in the order in which the replay of the
	// focus visits them: the last is the focused one.
	visits []string
	// focused is the saved id of the focused node; its con_id is found when
	// the tree stands.
	focused string
	// keep is the con_id to leave focused, instead of any replay.
	keep int64

	title int // height of a title bar in pixels, 0 when nothing tells

	renamed map[string]string // saved id of a workspace → the name it gets
	scaled  []string
}

// leaf is a window of the checkpoint.
type leaf struct {
	id    string
	con   int64 // 0 when missing
	where standing
}

// newGoal works out what the desk d can be of saved.
func newGoal(saved *checkpoint.Layout, d *desk, windows map[string]int64) *goal {
	g := &goal{
		floating: map[int64]string{}, live: map[int64]bool{}, focused: saved.Focused,
		renamed: map[string]string{}, title: d.title,
	}
	if g.title == 0 {
		g.title = titleOf(saved)
	}
	taken := map[string]bool{}
	for _, w := range saved.Workspaces {
		taken[w.Name] = true
	}
	names := map[string]string{}
	for _, w := range saved.Workspaces {
		name := w.Name
		if _, ok := quote(name); !ok {
			name = sayable(name, taken)
			taken[name] = true
			g.renamed[w.ID] = name
		}
		names[w.ID] = name
		g.addWorkspace(w, name, d, windows)
	}
	for _, n := range saved.Scratchpad {
		g.addLeaves(n, hidden, d, windows)
	}
	g.visits = visits(saved, names)
	return g
}

// addLeaves notes the windows below n and returns the con_ids of those that
// are there.
func (g *goal) addLeaves(n *checkpoint.Node, where standing, d *desk, windows map[string]int64) []int64 {
	var found []int64
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
			found = append(found, con)
		}
	})
	return found
}

func (g *goal) addWorkspace(saved checkpoint.Workspace, name string, d *desk, windows map[string]int64) {
	w := &workspace{name: name, output: saved.Output}
	w.node = node{id: saved.ID, layout: saved.Layout, box: saved.Rect}
	here := map[string]int64{}
	for _, n := range saved.Nodes {
		from := len(g.windows)
		g.addLeaves(n, tiled, d, windows)
		for _, l := range g.windows[from:] {
			here[l.id] = l.con
		}
	}
	for _, n := range saved.Floating {
		for _, con := range g.addLeaves(n, floating, d, windows) {
			g.floating[con] = name
			w.floating = append(w.floating, con)
		}
	}
	whole := w.take(saved.Nodes, saved.Focus, here)
	if len(w.nodes) == 0 {
		if len(w.floating) > 0 {
			g.workspaces = append(g.workspaces, w)
		}
		return
	}
	area := saved.Rect
	if live := d.workspace(name); live != nil {
		area = live.box
	} else if o, ok := d.output(saved.Output); ok && o.area != (checkpoint.Rect{}) {
		area = o.area
	}
	if area != saved.Rect {
		g.scaled = append(g.scaled, saved.ID)
	}
	if !whole || area != saved.Rect {
		w.arrange(area, g.title)
	}
	g.workspaces = append(g.workspaces, w)
}

// take gives n the saved children that have a window in here. It reports
// whether their saved rectangles stand for themselves: none is missing and
// none is distorted by fullscreen.
func (n *node) take(saved []*checkpoint.Node, focus []string, here map[string]int64) (whole bool) {
	whole = true
	n.gap = gapOf(saved, n.layout)
	var kept []string
	for _, s := range saved {
		c := &node{
			id: s.ID, layout: s.Layout,
			box: boxOf(s.Rect, s.DecoRect, n.layout, len(saved)),
		}
		if s.FullscreenMode != 0 {
			whole = false
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
		kept = append(kept, s.ID)
	}
	for _, id := range focus {
		if i := slices.Index(kept, id); i >= 0 && !slices.Contains(n.focus, i) {
			n.focus = append(n.focus, i)
		}
	}
	for i := range n.nodes {
		if !slices.Contains(n.focus, i) {
			n.focus = append(n.focus, i)
		}
	}
	return whole
}

// unfullscreen gives a fullscreen child the space that its siblings leave: its
// own rectangle is that of the screen.
func (n *node) unfullscreen(c *node, siblings []*checkpoint.Node) {
	c.box.Width = n.box.Width - n.gap*(len(siblings)-1)
	c.box.Height = n.box.Height - n.gap*(len(siblings)-1)
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
	if len(nodes) < 2 {
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

// visits lists the workspaces from the least to the most recently focused,
// output by output, the focused output last.
func visits(saved *checkpoint.Layout, names map[string]string) []string {
	var order []string
	visit := func(id string) {
		name, ok := names[id]
		if !ok {
			return
		}
		order = slices.DeleteFunc(order, func(n string) bool { return n == name })
		order = append(order, name)
	}
	for _, w := range saved.Workspaces {
		visit(w.ID)
	}
	focusedOn := ""
	for _, w := range saved.Workspaces {
		if holds(w, saved.Focused) {
			focusedOn = w.Output
		}
	}
	outputs := slices.Clone(saved.Outputs)
	slices.SortStableFunc(outputs, func(a, b checkpoint.Output) int {
		return boolCompare(a.Name == focusedOn, b.Name == focusedOn)
	})
	for _, o := range outputs {
		for _, id := range slices.Backward(o.Focus) {
			visit(id)
		}
		visit(o.CurrentWorkspace)
	}
	return order
}

// holds reports whether the node of that id is w or below it.
func holds(w checkpoint.Workspace, id string) bool {
	found := w.ID == id
	for _, n := range slices.Concat(w.Nodes, w.Floating) {
		n.Walk(func(n *checkpoint.Node, _ int) { found = found || n.ID == id })
	}
	return found
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
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

// tiled reports whether a window has its place among the tiled ones.
func (g *goal) tiled(con int64) bool {
	return slices.ContainsFunc(g.windows, func(l leaf) bool { return l.con == con && l.where == tiled })
}

// spare returns the name of a workspace for windows that stand in the way: the
// lowest number that nobody uses.
func (g *goal) spare(d *desk) string {
	for n := 1; ; n++ {
		name := strconv.Itoa(n)
		if d.workspace(name) == nil && !slices.Contains(g.visits, name) {
			return name
		}
	}
}
