package sway

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"github.com/joshuarubin/go-sway"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Node is a node of Sway's tree: the root, an output, a workspace, a
// container or a window. Ids are Sway's con_ids: unique in one life of it.
type Node struct {
	ID int64
	// Type is root, output, workspace, con or floating_con.
	Type string
	// Name is that of the output or workspace, or the title of the window.
	Name string
	// Layout is splith, splitv, tabbed or stacked; none for a window, output
	// for an output.
	Layout string
	// Rect is where the node is, without its decorations; DecoRect is
	// relative to the parent, WindowRect to Rect.
	Rect, DecoRect, WindowRect checkpoint.Rect
	Border                     string
	BorderWidth                int
	// Percent is the part of the parent's area, 0 where Sway gives none.
	Percent        float64
	Marks          []string
	Focused        bool
	Sticky         bool
	Urgent         bool
	FullscreenMode int
	// InhibitIdle is the user's inhibitor: none, focus, fullscreen, open or
	// visible; empty for what is no window.
	InhibitIdle string
	// InScratchpad is set for the roots of what is in the scratchpad, hidden
	// or shown.
	InScratchpad bool
	// Focus holds the ids of the children, most recently focused first. That
	// of the scratchpad also names its members that are shown elsewhere.
	Focus []int64
	// Nodes are the tiled children.
	Nodes []*Node
	// Floating are the floating children, lowest first.
	Floating []*Node

	// Window is nil for everything else.
	Window *Window
	// Num and Output are of a workspace: the number its name begins with, or
	// -1, and the name of its output.
	Num    int
	Output string
}

// Window is what Sway knows of a window's client.
type Window struct {
	PID   int
	Shell string // xdg_shell or xwayland
	AppID string
	// Class, Instance and Role are of windows of X11.
	Class, Instance, Role string
	// Tag and the sandbox are told by Sway 1.12 and newer.
	Tag, SandboxEngine, SandboxAppID string
	Visible                          bool
}

// The names by which Sway shows the scratchpad in its tree.
const (
	ScratchOutput    = "__i3"
	ScratchWorkspace = "__i3_scratch"
)

// Tree reads the whole tree.
//
// It is asked for by our own reader, as go-sway drops what it does not know
// (tags, sandboxes) and cannot read the NaN that Sway writes as the share of
// something without a size.
func (s Socket) Tree(ctx context.Context) (*Node, error) {
	raw, err := s.request(ctx, getTree, nil)
	if err != nil {
		return nil, err
	}
	raw = finite(raw)
	var n sway.Node
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, fmt.Errorf("sway get_tree at %s: %w", s, err)
	}
	if n.Type != sway.NodeRoot {
		return nil, fmt.Errorf("sway get_tree at %s: %w", s, errSenseless)
	}
	more, err := parseExtras(raw)
	if err != nil {
		return nil, err
	}
	root := fromLibrary(&n)
	root.complete(more)
	return root, nil
}

// Walk calls f for n and everything below it, parents first, tiled children
// before floating ones.
func (n *Node) Walk(f func(*Node)) {
	f(n)
	for _, c := range n.Nodes {
		c.Walk(f)
	}
	for _, c := range n.Floating {
		c.Walk(f)
	}
}

// Windows returns all windows in the order of Walk, hidden ones included.
func (n *Node) Windows() []*Node {
	var found []*Node
	n.Walk(func(n *Node) {
		if n.Window != nil {
			found = append(found, n)
		}
	})
	return found
}

// Outputs returns the active outputs, without the scratchpad's.
func (n *Node) Outputs() []*Node {
	var found []*Node
	for _, o := range n.Nodes {
		if o.Type == "output" && o.Name != ScratchOutput {
			found = append(found, o)
		}
	}
	return found
}

// Workspaces returns the workspaces of all outputs, without the scratchpad.
func (n *Node) Workspaces() []*Node {
	var found []*Node
	for _, o := range n.Outputs() {
		found = append(found, o.Nodes...)
	}
	return found
}

// Scratchpad returns the node that holds the hidden windows, nil if there is
// none.
func (n *Node) Scratchpad() *Node {
	for _, o := range n.Nodes {
		if o.Name != ScratchOutput {
			continue
		}
		for _, w := range o.Nodes {
			if w.Name == ScratchWorkspace {
				return w
			}
		}
	}
	return nil
}

// CurrentWorkspace returns the id of the workspace that an output shows: the
// one focused last. It is 0 when there is none.
func (n *Node) CurrentWorkspace() int64 {
	if len(n.Focus) == 0 {
		return 0
	}
	return n.Focus[0]
}

// Digest tells one state of the desktop from another, for polling: most
// changes come without an event. Titles are left out, which some programs
// change every second and which have an event, as is what follows from the
// rest (percent, visible).
func Digest(root *Node) checkpoint.Hash {
	h := sha256.New()
	root.digest(h)
	return checkpoint.Hash(h.Sum(nil))
}

func (n *Node) digest(h hash.Hash) {
	own := *n
	own.Nodes, own.Floating, own.Percent = nil, nil, 0
	if n.Window != nil {
		w := *n.Window
		w.Visible = false
		own.Window, own.Name = &w, ""
	}
	// Its fields are strings, numbers and lists of them: it always encodes.
	json.NewEncoder(h).Encode(own) //nolint:errcheck,errchkjson // see above
	for _, children := range [][]*Node{n.Nodes, n.Floating} {
		io.WriteString(h, "[") //nolint:errcheck // a hash takes everything
		for _, c := range children {
			c.digest(h)
		}
		io.WriteString(h, "]") //nolint:errcheck // a hash takes everything
	}
}
