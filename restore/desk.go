package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// desk restores what is pending of windows and layout. It fails open: whatever
// happens is in the report.
func (u *run) desk(ctx context.Context) {
	names := u.record().Pending
	if len(names) == 0 {
		return
	}
	m, _, err := u.Source.Load(ctx, u.record().Desk)
	if err == nil && u.Desk == nil {
		err = checkpoint.ErrNoCompositor
	}
	if u.record().Deadline.IsZero() {
		u.record().Deadline = u.now().UTC().Add(u.record().Wait)
	}
	for _, name := range names {
		phase, restore := InWindows, u.windows
		if name == checkpoint.NameLayout {
			phase, restore = InLayout, u.layout
		}
		if err == nil {
			err = u.reach(phase)
		}
		if err != nil {
			u.component(ComponentReport{Component: name, Result: deskFailure(err), Reason: err.Error()})
			continue
		}
		// Without a compositor there is no layout either; other failures of
		// windows leave those that came.
		if failed := restore(ctx, m); errors.Is(failed, checkpoint.ErrNoCompositor) {
			err = failed
		}
	}
	u.record().Pending = nil
}

// deskFailure is what a desk's error makes of its component. No compositor is
// no failure: there is nothing to restore onto.
func deskFailure(err error) Result {
	if errors.Is(err, checkpoint.ErrNoCompositor) {
		return Skipped
	}
	return Failed
}

func (u *run) windows(ctx context.Context, m *checkpoint.Manifest) error {
	d := u.desktop(m, max(0, u.record().Deadline.Sub(u.now())))
	said := map[string]Result{}
	err := u.Desk.Windows(ctx, d, func(i Item) {
		i.Component = checkpoint.NameWindows
		said[i.Name] = i.Result
		u.item(i)
	})
	report := ComponentReport{Component: checkpoint.NameWindows}
	if errors.Is(err, checkpoint.ErrNoCompositor) {
		report.Result, report.Reason, report.Of = Skipped, err.Error(), len(d.Windows.Items)
		u.component(report)
		return err
	}
	failed := false
	for _, w := range d.Windows.Items {
		result, ok := said[w.Leaf]
		if !ok {
			result = Failed
			u.item(Item{
				Component: checkpoint.NameWindows, Name: w.Leaf, Label: w.Title, Result: Failed,
				Reason: fmt.Sprintf("it did not come within %s", u.record().Wait),
			})
		}
		report.Of++
		if result.fine() {
			report.Restored++
		}
		failed = failed || result == Failed
	}
	report.Result = together(report.Restored, report.Of, failed)
	u.deskComponent(m, report, err)
	return err
}

func (u *run) layout(ctx context.Context, m *checkpoint.Manifest) error {
	d := u.desktop(m, max(0, u.record().Deadline.Sub(u.now())))
	report := ComponentReport{Component: checkpoint.NameLayout, Of: len(d.Windows.Items)}
	bad, failed := map[string]bool{}, false
	err := u.Desk.Layout(ctx, d, func(i Item) {
		i.Component = checkpoint.NameLayout
		u.item(i)
		if !i.Result.fine() {
			bad[i.Name] = true
			failed = failed || i.Result == Failed
		}
	})
	leaves := 0
	for _, w := range d.Windows.Items {
		if bad[w.Leaf] {
			leaves++
		}
	}
	report.Restored = report.Of - leaves
	report.Result = together(report.Restored, report.Of, failed)
	if report.Result == Restored && len(bad) > 0 {
		report.Result = Partial // something that is no window, such as an output
	}
	if err != nil {
		report.Restored = 0
	}
	u.deskComponent(m, report, err)
	return err
}

// deskComponent reports windows or layout, with the error that ended them.
func (u *run) deskComponent(m *checkpoint.Manifest, c ComponentReport, err error) {
	if m.ID != u.report().Checkpoint {
		c.From, c.Reason = m.ID, "the checkpoint asked for is damaged"
		if c.Result == Restored {
			c.Result = Partial
		}
	}
	if err != nil {
		c.Reason = err.Error()
		switch {
		case c.Restored == 0:
			c.Result = deskFailure(err)
		case c.Result == Restored:
			c.Result = Partial
		}
	}
	u.component(c)
}

// forgetDesk takes what an interrupted attempt said of windows and layout out
// of the report: the next one says it again.
func (r *Report) forgetDesk() {
	desk := func(name string) bool { return name == checkpoint.NameWindows || name == checkpoint.NameLayout }
	r.Items = slices.DeleteFunc(r.Items, func(i Item) bool { return desk(i.Component) })
	r.Components = slices.DeleteFunc(r.Components, func(c ComponentReport) bool { return desk(c.Component) })
}
