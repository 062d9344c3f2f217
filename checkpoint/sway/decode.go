package sway

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/joshuarubin/go-sway"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// maxDepth bounds the nesting that is followed, far above what a person can
// make.
const maxDepth = 200

// fromLibrary converts what go-sway decoded.
func fromLibrary(n *sway.Node) *Node { return fromLibraryAt(n, 0) }

func fromLibraryAt(n *sway.Node, depth int) *Node {
	out := &Node{
		ID: n.ID, Type: string(n.Type), Name: n.Name, Layout: string(n.Layout),
		Rect: rect(n.Rect), DecoRect: rect(n.DecoRect), WindowRect: rect(n.WindowRect),
		Border: string(n.Border), BorderWidth: int(n.CurrentBorderWidth),
		Marks: n.Marks, Focused: n.Focused, Sticky: n.Sticky, Urgent: deref(n.Urgent),
		FullscreenMode: int(n.FullscreenMode), InhibitIdle: n.IdleInhibitors.User, Focus: n.Focus,
	}
	if p := deref(n.Percent); !math.IsNaN(p) && !math.IsInf(p, 0) {
		out.Percent = p
	}
	if n.PID != nil {
		out.Window = &Window{PID: int(*n.PID), Shell: deref(n.Shell), AppID: deref(n.AppID), Visible: deref(n.Visible)}
		if p := n.WindowProperties; p != nil {
			out.Window.Class, out.Window.Instance, out.Window.Role = p.Class, p.Instance, p.Role
		}
	}
	if depth == maxDepth {
		return out
	}
	children := func(from []*sway.Node) []*Node {
		var to []*Node
		for _, c := range from {
			if c != nil {
				to = append(to, fromLibraryAt(c, depth+1))
			}
		}
		return to
	}
	out.Nodes, out.Floating = children(n.Nodes), children(n.FloatingNodes)
	return out
}

func rect(r sway.Rect) checkpoint.Rect {
	return checkpoint.Rect{X: int(r.X), Y: int(r.Y), Width: int(r.Width), Height: int(r.Height)}
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// extra is what go-sway leaves out of a window. All of it stays the same for
// the life of a window, so it may be read a moment later than the tree.
type extra struct {
	ID            int64   `json:"id"`
	Tag           string  `json:"tag"`
	SandboxEngine string  `json:"sandbox_engine"`
	SandboxAppID  string  `json:"sandbox_app_id"`
	Nodes         []extra `json:"nodes"`
	Floating      []extra `json:"floating_nodes"`
}

func parseExtras(raw []byte) (map[int64]extra, error) {
	var root extra
	if err := json.Unmarshal(raw, &root); err != nil {
		return nil, fmt.Errorf("sway get_tree: %w", err)
	}
	found := map[int64]extra{}
	var visit func(e extra)
	visit = func(e extra) {
		if e.Tag != "" || e.SandboxEngine != "" || e.SandboxAppID != "" {
			found[e.ID] = e
		}
		for _, c := range slices.Concat(e.Nodes, e.Floating) {
			visit(c)
		}
	}
	visit(root)
	return found, nil
}

// complete sets what go-sway left out and what follows from the place of a
// node.
func (n *Node) complete(more map[int64]extra) {
	var members []int64
	if s := n.Scratchpad(); s != nil {
		members = s.Focus
		for _, c := range slices.Concat(s.Nodes, s.Floating) {
			members = append(members, c.ID)
		}
	}
	for _, o := range n.Outputs() {
		for _, w := range o.Nodes {
			w.Output, w.Num = o.Name, number(w.Name)
		}
	}
	n.Walk(func(n *Node) {
		n.InScratchpad = slices.Contains(members, n.ID)
		if e, ok := more[n.ID]; ok && n.Window != nil {
			n.Window.Tag, n.Window.SandboxEngine, n.Window.SandboxAppID = e.Tag, e.SandboxEngine, e.SandboxAppID
		}
	})
}

// number is the number that the name of a workspace begins with, by which
// Sway sorts it, or -1.
func number(name string) int {
	digits := 0
	for digits < len(name) && name[digits] >= '0' && name[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseInt(name[:digits], 10, 32)
	if err != nil {
		return -1
	}
	return int(n)
}

// finite replaces by null what json-c writes of a number that is none: NaN,
// Infinity and -Infinity. Texts keep theirs.
func finite(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	inText := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			inText = !inText
		case inText && c == '\\' && i+1 < len(raw):
			out = append(out, c)
			i++
		case !inText && (c == 'N' || c == 'I' || c == '-'):
			if token := infinite.Find(raw[i:]); token != nil {
				out = append(out, "null"...)
				i += len(token) - 1
				continue
			}
		}
		out = append(out, raw[i])
	}
	return out
}

var infinite = regexp.MustCompile(`^-?(NaN|Infinity)`)
