package capture

import (
	"context"
	"errors"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// desk captures windows and layout, or carries them as one unit: the leaves of
// a layout mean something beside the windows of the same checkpoint only.
func (r *run) desk(ctx context.Context) {
	out := &r.out.Components
	err := checkpoint.ErrNoCompositor
	if r.src.Socket != "" {
		if out.Windows, out.Layout, err = r.snapshot(ctx); err == nil {
			return
		}
	}
	before := &r.prev.Manifest.Components
	if !hasDesk(before) {
		out.Windows, out.Layout = nil, nil
		if !errors.Is(err, errOtherDesk) && !errors.Is(err, checkpoint.ErrNoCompositor) {
			h := checkpoint.Head{V: checkpoint.ComponentVersion, State: checkpoint.Failed, Error: err.Error()}
			out.Windows, out.Layout = &checkpoint.Windows{Head: h}, &checkpoint.Layout{Head: h}
		}
		return
	}
	windows, layout := *before.Windows, *before.Layout
	windows.Head = r.carriedHead(windows.Head, err)
	layout.Head = r.carriedHead(layout.Head, err)
	out.Windows, out.Layout = &windows, &layout
}

// hasDesk reports whether there is a desk to carry or to compare with.
func hasDesk(c *checkpoint.Components) bool {
	return c.Windows != nil && c.Windows.State.Usable() && c.Layout != nil && c.Layout.State.Usable()
}

// errOtherDesk is why the desk of a compositor is not captured yet.
var errOtherDesk = errors.New("another Sway than before: its windows are still to be restored")

func (r *run) snapshot(ctx context.Context) (*checkpoint.Windows, *checkpoint.Layout, error) {
	windows, layout, err := r.src.Socket.Snapshot(ctx, r.src.Roots)
	if err == nil && r.src.Desk != nil && !layout.Compositor.Same(*r.src.Desk) {
		err = errOtherDesk
	}
	return windows, layout, err
}

func (r *run) carriedHead(h checkpoint.Head, why error) checkpoint.Head {
	if h.State != checkpoint.Carried {
		h.From = r.prev.Manifest.ID
	}
	h.State, h.Error = checkpoint.Carried, why.Error()
	return h
}
