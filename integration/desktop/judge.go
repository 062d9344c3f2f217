package desktop

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// node is the part of get_tree's answer that is judged.
type node struct {
	ID           int64    `json:"id"`
	Type         string   `json:"type"`
	Name         string   `json:"name"`
	Layout       string   `json:"layout"`
	Rect         rect     `json:"rect"`
	DecoRect     rect     `json:"deco_rect"`
	WindowRect   rect     `json:"window_rect"`
	Border       string   `json:"border"`
	BorderWidth  int      `json:"current_border_width"`
	Marks        []string `json:"marks"`
	Sticky       bool     `json:"sticky"`
	Urgent       bool     `json:"urgent"`
	Focused      bool     `json:"focused"`
	Fullscreen   int      `json:"fullscreen_mode"`
	Focus        []int64  `json:"focus"`
	Nodes        []*node  `json:"nodes"`
	Floating     []*node  `json:"floating_nodes"`
	PID          int      `json:"pid"`
	AppID        *string  `json:"app_id"`
	Window       *int64   `json:"window"`
	WorkspaceNow string   `json:"current_workspace"`
	Properties   struct {
		Class string `json:"class"`
	} `json:"window_properties"`
	Idle struct {
		User string `json:"user"`
	} `json:"idle_inhibitors"`
}

type rect struct{ X, Y, Width, Height int }

func (r rect) String() string { return fmt.Sprintf("%d,%d %dx%d", r.X, r.Y, r.Width, r.Height) }

func parse(raw []byte) (*node, error) {
	var root node
	if err := json.Unmarshal(raw, &root); err != nil {
		return nil, fmt.Errorf("get_tree: %w", err)
	}
	if root.Type != "root" {
		return nil, fmt.Errorf("get_tree: a root of type %q", root.Type)
	}
	return &root, nil
}

func (n *node) isWindow() bool { return n.PID != 0 }

func (n *node) walk(f func(*node)) {
	f(n)
	for _, c := range n.Nodes {
		c.walk(f)
	}
	for _, c := range n.Floating {
		c.walk(f)
	}
}

func (n *node) windows() []*node {
	var found []*node
	n.walk(func(n *node) {
		if n.isWindow() {
			found = append(found, n)
		}
	})
	return found
}

// outputs are the real ones, by name: Sway's own order differs between
// versions.
func (n *node) outputs() []*node {
	outputs := slices.DeleteFunc(slices.Clone(n.Nodes), func(o *node) bool { return o.Name == "__i3" })
	slices.SortFunc(outputs, func(a, b *node) int { return strings.Compare(a.Name, b.Name) })
	return outputs
}

// Normalise writes a tree as text, one node a line, indented by depth. It
// holds all that a person or a later command could tell apart, and nothing
// that differs between two lives of the same desktop: windows go by app_id,
// containers by their index in the parent, and ids and pids are left out.
func Normalise(tree []byte) (string, error) {
	root, err := parse(tree)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, o := range root.outputs() {
		fmt.Fprintf(&b, "output %s %s shows %q focus%s\n", o.Name, o.Rect, o.WorkspaceNow, o.focusNames())
		for _, w := range o.Nodes {
			fmt.Fprintf(&b, "  workspace %q %s %s%s%s focus%s\n", w.Name, w.Layout, w.Rect, w.attributes(), w.marks(), w.focusNames())
			w.writeChildren(&b, 2)
		}
	}
	for _, o := range root.Nodes {
		if o.Name != "__i3" {
			continue
		}
		for _, scratch := range o.Nodes {
			if len(scratch.Nodes)+len(scratch.Floating) > 0 {
				fmt.Fprintf(&b, "scratchpad focus%s\n", scratch.focusNames())
				scratch.writeChildren(&b, 1)
			}
		}
	}
	return b.String(), nil
}

func (n *node) writeChildren(b *strings.Builder, depth int) {
	write := func(kind string, nodes []*node) {
		for _, c := range nodes {
			fmt.Fprintf(b, "%s%s", strings.Repeat("  ", depth), kind)
			if c.isWindow() {
				fmt.Fprintf(b, "window %s %q", c.app(), c.Name)
			} else {
				b.WriteString(c.Layout)
			}
			fmt.Fprintf(b, " %s deco %s content %s border %s %d%s%s", c.Rect, c.DecoRect, c.WindowRect, c.Border, c.BorderWidth, c.attributes(), c.marks())
			if len(c.Focus) > 0 {
				fmt.Fprintf(b, " focus%s", c.focusNames())
			}
			b.WriteString("\n")
			c.writeChildren(b, depth+1)
		}
	}
	write("", n.Nodes)
	write("floating ", n.Floating)
}

func (n *node) app() string {
	switch {
	case n.AppID != nil:
		return *n.AppID
	case n.Properties.Class != "":
		return n.Properties.Class
	}
	return "?"
}

// attributes are those that are rarely set.
func (n *node) attributes() string {
	var s string
	for _, a := range []struct {
		name string
		set  bool
	}{
		{"FOCUSED", n.Focused},
		{"sticky", n.Sticky},
		{"urgent", n.Urgent},
		{"fullscreen", n.Fullscreen == 1 && n.Type != "workspace"}, // Sway says 1 of every workspace
		{"fullscreen-global", n.Fullscreen == 2},
	} {
		if a.set {
			s += " " + a.name
		}
	}
	if n.Idle.User != "" && n.Idle.User != "none" {
		s += " inhibits-idle-" + n.Idle.User
	}
	return s
}

func (n *node) marks() string {
	if len(n.Marks) == 0 {
		return ""
	}
	return fmt.Sprintf(" marks %q", n.Marks)
}

// focusNames is the focus array, most recent first.
func (n *node) focusNames() string {
	names := map[int64]string{}
	for prefix, nodes := range map[string][]*node{"#": n.Nodes, "~": n.Floating} {
		for i, c := range nodes {
			switch {
			case c.isWindow():
				names[c.ID] = c.app()
			case c.Type == "workspace":
				names[c.ID] = c.Name
			default:
				names[c.ID] = fmt.Sprintf("%s%d", prefix, i)
			}
		}
	}
	var s strings.Builder
	for _, id := range n.Focus {
		name, ok := names[id]
		if !ok {
			name = "elsewhere" // a member of the scratchpad that is shown
		}
		s.WriteString(" " + name)
	}
	return s.String()
}

// Diff compares two trees as Normalise writes them. It is empty when they are
// equal, else the lines that differ, those of want with "-" and those of got
// with "+", below the lines that they hang on.
func Diff(want, got []byte) string {
	w, err := Normalise(want)
	if err != nil {
		return "want: " + err.Error()
	}
	g, err := Normalise(got)
	if err != nil {
		return "got: " + err.Error()
	}
	if w == g {
		return ""
	}
	return diffLines(strings.Split(w, "\n"), strings.Split(g, "\n"))
}

// diffLines is the longest common subsequence, written out; trees have tens of
// lines.
func diffLines(want, got []string) string {
	common := make([][]int, len(want)+1)
	for i := range common {
		common[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			if want[i] == got[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var b strings.Builder
	i, j := 0, 0
	for i < len(want) || j < len(got) {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			fmt.Fprintf(&b, "  %s\n", want[i])
			i, j = i+1, j+1
		case j == len(got) || (i < len(want) && common[i+1][j] >= common[i][j+1]):
			fmt.Fprintf(&b, "- %s\n", want[i])
			i++
		default:
			fmt.Fprintf(&b, "+ %s\n", got[j])
			j++
		}
	}
	return b.String()
}
