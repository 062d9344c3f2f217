package rpc

import (
	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// windows and layout return a desk for the wire, field by field.
func windows(w *checkpoint.Windows) *ckptv1.Windows {
	out := &ckptv1.Windows{}
	for _, p := range w.Processes {
		process := &ckptv1.Process{
			Id: p.ID, Argv: texts(p.Argv, maxWord), Cwd: text(p.Cwd, maxWord), Pid: int32(p.PID), StartTicks: p.StartTicks,
			LaunchId: text(p.LaunchID, maxTitle),
		}
		if p.Child != nil {
			process.Child = &ckptv1.ChildProcess{Argv: texts(p.Child.Argv, maxWord), Cwd: text(p.Child.Cwd, maxWord)}
		}
		out.Processes = append(out.Processes, process)
	}
	for _, i := range w.Items {
		out.Items = append(out.Items, &ckptv1.Window{
			Leaf: i.Leaf, Process: i.Process, AppId: text(i.AppID, maxTitle), Class: text(i.Class, maxTitle),
			Instance: text(i.Instance, maxTitle), Title: text(i.Title, maxWord), Tag: text(i.Tag, maxTitle), Role: text(i.Role, maxTitle),
			SandboxEngine: text(i.SandboxEngine, maxTitle), SandboxAppId: text(i.SandboxAppID, maxTitle),
		})
	}
	return out
}

func layout(l *checkpoint.Layout) *ckptv1.Layout {
	out := &ckptv1.Layout{
		Compositor: &ckptv1.Compositor{
			Name: l.Compositor.Name, Version: l.Compositor.Version, Pid: int32(l.Compositor.PID), StartTicks: l.Compositor.StartTicks,
		},
		Scratchpad: nodes(l.Scratchpad), Focused: l.Focused,
	}
	for _, o := range l.Outputs {
		out.Outputs = append(out.Outputs, &ckptv1.Output{
			Name: o.Name, Make: o.Make, Model: o.Model, Serial: o.Serial, Active: o.Active, Rect: rect(o.Rect),
			Scale: o.Scale, Transform: o.Transform, CurrentWorkspace: o.CurrentWorkspace, Focus: o.Focus,
		})
	}
	for _, w := range l.Workspaces {
		out.Workspaces = append(out.Workspaces, &ckptv1.Workspace{
			Id: w.ID, Name: w.Name, Num: int32(w.Num), Output: w.Output, Layout: w.Layout, Rect: rect(w.Rect), Focus: w.Focus,
			Nodes: nodes(w.Nodes), Floating: nodes(w.Floating), FullscreenMode: int32(w.FullscreenMode),
		})
	}
	return out
}

func nodes(in []*checkpoint.Node) []*ckptv1.Node {
	out := make([]*ckptv1.Node, 0, len(in))
	for _, n := range in {
		out = append(out, &ckptv1.Node{
			Id: n.ID, Layout: n.Layout, Rect: rect(n.Rect), DecoRect: rect(n.DecoRect), WindowRect: rect(n.WindowRect),
			Border: n.Border, BorderWidth: int32(n.BorderWidth), Marks: n.Marks, Sticky: n.Sticky, Urgent: n.Urgent,
			FullscreenMode: int32(n.FullscreenMode), InhibitIdle: n.InhibitIdle, Focus: n.Focus, Nodes: nodes(n.Nodes),
			InScratchpad: n.InScratchpad, Percent: n.Percent,
		})
	}
	return out
}

func rect(r checkpoint.Rect) *ckptv1.Rect {
	return &ckptv1.Rect{X: int32(r.X), Y: int32(r.Y), Width: int32(r.Width), Height: int32(r.Height)}
}
