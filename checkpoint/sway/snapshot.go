package sway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/process"
)

// ErrUnsettled is returned when the desktop kept changing.
var ErrUnsettled = errors.New("the desktop does not come to rest")

const (
	// settleGap lies between the two equal looks that show the desktop at
	// rest. Sway shows a border only when its client has drawn it, and waits
	// 200 ms for that: what was changed before the first look is in the second.
	settleGap = 250 * time.Millisecond
	// settleTimeout bounds the wait for rest: a person who drags a border
	// stops, an animation does not.
	settleTimeout = 3 * time.Second
)

// Snapshot reads the windows and the layout of a checkpoint from a desktop at
// rest. Paths below one of roots are stored relative to it. Ids of nodes come
// from Sway's, so that an unchanged desktop gives an equal snapshot.
//
// A window whose process has ended or cannot be seen is there without one.
func (s Socket) Snapshot(ctx context.Context, roots map[string]string) (*checkpoint.Windows, *checkpoint.Layout, error) {
	compositor, err := s.Probe(ctx)
	if err != nil {
		return nil, nil, err
	}
	root, err := s.Settled(ctx)
	if err != nil {
		return nil, nil, err
	}
	outputs, err := s.Outputs(ctx)
	if err != nil {
		return nil, nil, err
	}
	windows, err := root.Describe(roots)
	if err != nil {
		return nil, nil, err
	}
	layout := layoutOf(root, outputs)
	layout.Head = checkpoint.NewHead(checkpoint.OK, time.Now())
	layout.Compositor = compositor
	return windows, layout, nil
}

// Describe tells who shows what in a tree, as Snapshot does.
func (n *Node) Describe(roots map[string]string) (*checkpoint.Windows, error) {
	table, err := process.Scan()
	if err != nil {
		return nil, err
	}
	windows := windowsOf(n, roots, table.Facts)
	windows.Head = checkpoint.NewHead(checkpoint.OK, time.Now())
	return windows, nil
}

// Settled is Tree once two looks in a row agree. It returns ErrUnsettled when
// they do not within some seconds.
func (s Socket) Settled(ctx context.Context) (*Node, error) {
	last, err := s.Tree(ctx)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(settleGap)
	defer tick.Stop()
	deadline := time.After(settleTimeout)
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("sway at %s: %w", s, ctx.Err())
		case <-deadline:
			return nil, fmt.Errorf("sway at %s: %w: it changed for %v", s, ErrUnsettled, settleTimeout)
		case <-tick.C:
		}
		now, err := s.Tree(ctx)
		if err != nil {
			return nil, err
		}
		if Digest(now) == Digest(last) {
			return now, nil
		}
		last = now
	}
}

// layoutOf writes the tree in the words of a checkpoint.
func layoutOf(root *Node, outputs []checkpoint.Output) *checkpoint.Layout {
	l := &checkpoint.Layout{Outputs: outputs}
	for _, o := range root.Outputs() {
		i := slices.IndexFunc(l.Outputs, func(out checkpoint.Output) bool { return out.Name == o.Name })
		if i < 0 { // plugged in between the two reads
			l.Outputs = append(l.Outputs, checkpoint.Output{Name: o.Name, Active: true, Rect: o.Rect, Scale: 1, Transform: "normal"})
			i = len(l.Outputs) - 1
		}
		names := map[int64]string{}
		for _, w := range o.Nodes {
			names[w.ID] = workspaceID(w)
			l.Workspaces = append(l.Workspaces, workspaceOf(w))
		}
		l.Outputs[i].CurrentWorkspace = names[o.CurrentWorkspace()]
		l.Outputs[i].Focus = focusOf(o.Focus, names)
	}
	if s := root.Scratchpad(); s != nil {
		l.Scratchpad, _ = nodesOf(slices.Concat(s.Nodes, s.Floating))
	}
	root.Walk(func(n *Node) {
		switch {
		case !n.Focused:
		case n.Type == "workspace":
			l.Focused = workspaceID(n)
		case n.shown():
			l.Focused = nodeID(n)
		}
	})
	return l
}

func workspaceOf(w *Node) checkpoint.Workspace {
	tiled, names := nodesOf(w.Nodes)
	floating, more := nodesOf(w.Floating)
	for id, name := range more {
		names[id] = name
	}
	return checkpoint.Workspace{
		ID: workspaceID(w), Name: w.Name, Num: w.Num, Output: w.Output, Layout: w.Layout, Rect: w.Rect,
		Focus: focusOf(w.Focus, names), FullscreenMode: w.FullscreenMode, Nodes: tiled, Floating: floating,
	}
}

// nodesOf converts children, and returns their names by Sway's ids.
func nodesOf(children []*Node) ([]*checkpoint.Node, map[int64]string) {
	names := map[int64]string{}
	var out []*checkpoint.Node
	for _, n := range children {
		if !n.shown() {
			continue
		}
		names[n.ID] = nodeID(n)
		c := &checkpoint.Node{
			ID: nodeID(n), Rect: n.Rect, DecoRect: n.DecoRect, WindowRect: n.WindowRect,
			Border: n.Border, BorderWidth: n.BorderWidth, Marks: n.Marks, Sticky: n.Sticky, Urgent: n.Urgent,
			FullscreenMode: n.FullscreenMode, InhibitIdle: n.InhibitIdle, InScratchpad: n.InScratchpad, Percent: n.Percent,
		}
		if n.Window == nil {
			c.Layout = n.Layout
			var below map[int64]string
			c.Nodes, below = nodesOf(n.Nodes)
			c.Focus = focusOf(n.Focus, below)
		}
		out = append(out, c)
	}
	return out, names
}

// shown is false for a container in which there is no window: Sway is about
// to remove it.
func (n *Node) shown() bool { return len(n.Windows()) > 0 }

// focusOf keeps of a focus array what is a child: the scratchpad's names
// members that are shown elsewhere.
func focusOf(focus []int64, names map[int64]string) []string {
	var out []string
	for _, id := range focus {
		if name, ok := names[id]; ok {
			out = append(out, name)
		}
	}
	return out
}

func workspaceID(w *Node) string { return "ws:" + w.Name }

func nodeID(n *Node) string {
	if n.Window != nil {
		return fmt.Sprintf("w%d", n.ID)
	}
	return fmt.Sprintf("c%d", n.ID)
}

// ConID returns Sway's id of a node that a Snapshot calls so. It means
// something to the same life of Sway only.
func ConID(node string) (int64, error) {
	if len(node) < 2 || (node[0] != 'w' && node[0] != 'c') {
		return 0, fmt.Errorf("%w: %q is no node of a snapshot", checkpoint.ErrInvalid, node)
	}
	id, err := strconv.ParseInt(node[1:], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no node of a snapshot", checkpoint.ErrInvalid, node)
	}
	return id, nil
}

// windowsOf tells who shows what, in order of creation, which is that of
// Sway's ids.
func windowsOf(root *Node, roots map[string]string, facts func(pid int) (process.Facts, error)) *checkpoint.Windows {
	w := &checkpoint.Windows{}
	processes := map[int]string{}
	for _, n := range slices.SortedFunc(slices.Values(root.Windows()), func(a, b *Node) int { return cmp.Compare(a.ID, b.ID) }) {
		id, known := processes[n.Window.PID]
		if !known {
			if f, err := facts(n.Window.PID); err == nil {
				id = fmt.Sprintf("p%d", f.PID)
				w.Processes = append(w.Processes, processOf(id, f, roots))
			}
			processes[n.Window.PID] = id
		}
		w.Items = append(w.Items, checkpoint.Window{
			Leaf: nodeID(n), Process: id,
			AppID: n.Window.AppID, Class: n.Window.Class, Instance: n.Window.Instance, Role: n.Window.Role,
			// A shell shows the command it runs in the title.
			Title: process.RedactText(n.Name),
			Tag:   n.Window.Tag, SandboxEngine: n.Window.SandboxEngine, SandboxAppID: n.Window.SandboxAppID,
		})
	}
	return w
}

func processOf(id string, f process.Facts, roots map[string]string) checkpoint.Process {
	p := checkpoint.Process{
		ID: id, Argv: f.Argv, Cwd: checkpoint.Logical(roots, f.Cwd),
		PID: f.PID, StartTicks: f.StartTicks, LaunchID: f.LaunchID,
	}
	if f.Child != nil {
		p.Child = &checkpoint.Child{Argv: f.Child.Argv, Cwd: checkpoint.Logical(roots, f.Child.Cwd)}
	}
	return p
}
