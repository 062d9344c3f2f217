package checkpoint

import (
	"encoding/json"
	"fmt"
)

// Windows is who shows what: the processes of the session that have windows,
// and their windows.
type Windows struct {
	Head
	Processes []Process `json:"processes,omitempty"`
	Items     []Window  `json:"items,omitempty"`
}

// Process is a program with windows. Argv and Child are redacted: no secret
// stands in them.
type Process struct {
	ID   string   `json:"id"`
	Argv []string `json:"argv"`
	// Cwd is logical where it lies below a root.
	Cwd string `json:"cwd,omitempty"`
	PID int    `json:"pid,omitempty"`
	// StartTicks is the start time of PID in clock ticks since boot: with it,
	// a pid names one process only.
	StartTicks uint64 `json:"start_ticks,omitempty"`
	// LaunchID is the marker the agent gave it when it launched it.
	LaunchID string `json:"launch_id,omitempty"`
	// Child is what runs in a terminal.
	Child *Child `json:"child,omitempty"`
}

// Child is the foreground program of a terminal.
type Child struct {
	Argv []string `json:"argv"`
	Cwd  string   `json:"cwd,omitempty"`
}

// Window is one window. Leaf is the id of its node in the layout of the same
// checkpoint.
type Window struct {
	Leaf     string `json:"leaf"`
	Process  string `json:"process,omitempty"`
	AppID    string `json:"app_id,omitempty"`
	Class    string `json:"class,omitempty"`
	Instance string `json:"instance,omitempty"`
	Role     string `json:"role,omitempty"`
	Title    string `json:"title"`
	Tag      string `json:"tag,omitempty"`
	// SandboxEngine and SandboxAppID name the sandbox (such as Flatpak) that
	// the window's client connected from.
	SandboxEngine string `json:"sandbox_engine,omitempty"`
	SandboxAppID  string `json:"sandbox_app_id,omitempty"`
}

// Layout is where the windows are shown: Sway's tree.
type Layout struct {
	Head
	Compositor Compositor  `json:"compositor,omitzero"`
	Outputs    []Output    `json:"outputs,omitempty"`
	Workspaces []Workspace `json:"workspaces,omitempty"`
	// Scratchpad holds the hidden windows, in Sway's order.
	Scratchpad []*Node `json:"scratchpad,omitempty"`
	// Focused is the id of the focused node or workspace.
	Focused string `json:"focused,omitempty"`
}

// Compositor is the Sway that was asked. (PID, StartTicks) tell one life of it
// from the next.
type Compositor struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	PID        int    `json:"pid"`
	StartTicks uint64 `json:"start_ticks"`
}

// Same reports whether c and o are the same life of a compositor.
func (c Compositor) Same(o Compositor) bool { return c.PID == o.PID && c.StartTicks == o.StartTicks }

// Output is a screen.
type Output struct {
	Name      string  `json:"name"`
	Make      string  `json:"make"`
	Model     string  `json:"model"`
	Serial    string  `json:"serial"`
	Active    bool    `json:"active"`
	Rect      Rect    `json:"rect"`
	Scale     float64 `json:"scale"`
	Transform string  `json:"transform"`
	// CurrentWorkspace is the id of the workspace it shows.
	CurrentWorkspace string `json:"current_workspace,omitempty"`
	// Focus lists ids of its workspaces, most recently focused first.
	Focus []string `json:"focus,omitempty"`
}

// Workspace is one workspace. Num is -1 for one whose name has no number.
type Workspace struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Num    int      `json:"num"`
	Output string   `json:"output"`
	Layout string   `json:"layout"`
	Rect   Rect     `json:"rect"`
	Focus  []string `json:"focus,omitempty"`
	// FullscreenMode is 1 for every workspace in Sway's tree; kept as read.
	FullscreenMode int     `json:"fullscreen_mode,omitempty"`
	Nodes          []*Node `json:"nodes,omitempty"`
	// Floating holds the floating windows and groups, lowest first.
	Floating []*Node `json:"floating,omitempty"`
}

// Node is a container or, when it has no Nodes, a window. Rectangles are
// Sway's: x, y, width and height in layout pixels; DecoRect is relative to the
// parent, WindowRect to Rect.
type Node struct {
	ID string `json:"id"`
	// Layout is splith, splitv, tabbed or stacked; none for a window.
	Layout         string   `json:"layout,omitempty"`
	Rect           Rect     `json:"rect"`
	DecoRect       Rect     `json:"deco_rect"`
	WindowRect     Rect     `json:"window_rect"`
	Border         string   `json:"border,omitempty"`
	BorderWidth    int      `json:"border_width,omitempty"`
	Marks          []string `json:"marks,omitempty"`
	Sticky         bool     `json:"sticky,omitempty"`
	Urgent         bool     `json:"urgent,omitempty"`
	FullscreenMode int      `json:"fullscreen_mode,omitempty"`
	InhibitIdle    string   `json:"inhibit_idle,omitempty"`
	// InScratchpad marks a member of the scratchpad, hidden or shown.
	InScratchpad bool `json:"in_scratchpad,omitempty"`
	// Percent is the part of the parent's area, as Sway states it.
	Percent float64 `json:"percent,omitempty"`
	// Focus lists ids of the children, most recently focused first.
	Focus []string `json:"focus,omitempty"`
	Nodes []*Node  `json:"nodes,omitempty"`
}

// Leaf reports whether n is a window.
func (n *Node) Leaf() bool { return len(n.Nodes) == 0 }

// Walk calls f for n and every node below it, parents first, with its depth
// below n.
func (n *Node) Walk(f func(n *Node, depth int)) { n.walk(f, 0) }

func (n *Node) walk(f func(*Node, int), depth int) {
	f(n, depth)
	for _, c := range n.Nodes {
		c.walk(f, depth+1)
	}
}

// Walk calls f for every node of the layout, parents first: workspace by
// workspace, tiled before floating, and the scratchpad last.
func (l *Layout) Walk(f func(*Node)) {
	all := func(nodes []*Node) {
		for _, n := range nodes {
			n.Walk(func(n *Node, _ int) { f(n) })
		}
	}
	for _, w := range l.Workspaces {
		all(w.Nodes)
		all(w.Floating)
	}
	all(l.Scratchpad)
}

// Rect is a rectangle in layout pixels, written as [x, y, width, height].
type Rect struct{ X, Y, Width, Height int }

// MarshalJSON writes [x, y, width, height].
func (r Rect) MarshalJSON() ([]byte, error) {
	return json.Marshal([4]int{r.X, r.Y, r.Width, r.Height})
}

// UnmarshalJSON reads [x, y, width, height], or [] for an empty rectangle.
func (r *Rect) UnmarshalJSON(b []byte) error {
	var v []int
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("rect: %w", err)
	}
	switch len(v) {
	case 0:
		*r = Rect{}
	case 4:
		*r = Rect{v[0], v[1], v[2], v[3]}
	default:
		return fmt.Errorf("rect of %d numbers: want [x, y, width, height]", len(v))
	}
	return nil
}

// Limits of a desk: far above what a person can make, low enough that a
// hostile checkpoint cannot exhaust the stack or the compositor.
const (
	maxDepth = 64
	maxNodes = 10000
)

// validateDesk checks that every node has an id of its own, that focus arrays
// name children, and that leaves and windows are one to one. Either may be nil,
// when it is absent or of a version that is not known; then the other is checked
// alone.
func validateDesk(w *Windows, l *Layout) error {
	var leaves map[string]bool
	if l != nil {
		d := desk{ids: map[string]bool{}, leaves: map[string]bool{}}
		if err := d.validate(l); err != nil {
			return err
		}
		leaves = d.leaves
	}
	if w == nil {
		return nil
	}
	return validateWindows(w, leaves)
}

// desk gathers the nodes of a layout.
type desk struct{ ids, leaves map[string]bool }

func (d desk) validate(l *Layout) error {
	for _, ws := range l.Workspaces {
		if err := d.add(ws.ID); err != nil {
			return err
		}
		if err := validateFocus(ws.ID, ws.Focus, ws.Nodes, ws.Floating); err != nil {
			return err
		}
		for _, nodes := range [][]*Node{ws.Nodes, ws.Floating} {
			if err := d.visit(nodes, 1); err != nil {
				return err
			}
		}
	}
	if err := d.visit(l.Scratchpad, 1); err != nil {
		return err
	}
	if l.Focused != "" && !d.ids[l.Focused] {
		return fmt.Errorf("focused node %s is not there", l.Focused)
	}
	return nil
}

func (d desk) add(id string) error {
	if id == "" {
		return fmt.Errorf("a node without an id")
	}
	if d.ids[id] {
		return fmt.Errorf("node %s stands twice", id)
	}
	d.ids[id] = true
	if len(d.ids) > maxNodes {
		return fmt.Errorf("more than %d nodes", maxNodes)
	}
	return nil
}

func (d desk) visit(nodes []*Node, depth int) error {
	if len(nodes) > 0 && depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	for _, n := range nodes {
		if n == nil {
			return fmt.Errorf("a node that is null")
		}
		if err := d.add(n.ID); err != nil {
			return err
		}
		if n.Leaf() {
			d.leaves[n.ID] = true
		}
		if err := validateFocus(n.ID, n.Focus, n.Nodes); err != nil {
			return err
		}
		if err := d.visit(n.Nodes, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func validateFocus(id string, focus []string, children ...[]*Node) error {
	known := map[string]bool{}
	for _, nodes := range children {
		for _, n := range nodes {
			if n != nil {
				known[n.ID] = true
			}
		}
	}
	for _, f := range focus {
		if !known[f] {
			return fmt.Errorf("focus of %s names %s, which is no child of it or stands twice", id, f)
		}
		delete(known, f)
	}
	return nil
}

// validateWindows takes nil for leaves that are not known.
func validateWindows(w *Windows, leaves map[string]bool) error {
	processes := map[string]bool{}
	for _, p := range w.Processes {
		if p.ID == "" || processes[p.ID] {
			return fmt.Errorf("process %q has no id of its own", p.ID)
		}
		processes[p.ID] = true
	}
	for _, item := range w.Items {
		if leaves != nil && !leaves[item.Leaf] {
			return fmt.Errorf("window %q (%s) has no leaf of its own", item.Title, item.Leaf)
		}
		delete(leaves, item.Leaf)
		if item.Process != "" && !processes[item.Process] {
			return fmt.Errorf("window %s is of an unknown process %s", item.Leaf, item.Process)
		}
	}
	for id := range leaves {
		return fmt.Errorf("leaf %s has no window", id)
	}
	return nil
}
