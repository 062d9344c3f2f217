package restore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore/files"
)

// Run restores. Without a report an error means that nothing was begun. With
// one it means that everything is as it was (Outcome RolledBack), or that not
// every file could be put in its place after the commit mark (no Outcome):
// Recover goes on from there.
//
// Cancelling ctx before the commit mark undoes, after it only ends the wait
// for windows.
//
// Errors: checkpoint.ErrInvalid, ErrNotFound, ErrNothing, ErrZedRunning,
// ErrDamaged, ErrNoSpace, ErrRequestReused, and here ErrMapNeeded and
// ErrUnfinished.
func (r *Restorer) Run(ctx context.Context, q Request) (*Report, error) {
	selected, err := q.selected()
	if err != nil {
		return nil, err
	}
	j, err := Load(r.Dir)
	if err != nil {
		return nil, err
	}
	if old := j.Restore; old != nil {
		same := q.ID != "" && q.ID == old.Report.RequestID
		switch {
		case same && old.Digest != q.Digest():
			return nil, fmt.Errorf("%w: %q", checkpoint.ErrRequestReused, q.ID)
		case !old.Phase.Ended():
			return nil, fmt.Errorf("%w: that of %s is %s", ErrUnfinished, old.Report.Checkpoint, old.Phase)
		case same:
			return r.replay(old.Report), nil
		}
	}
	// Without the desktop: what is wrong there refuses no files.
	p, _, err := r.planBest(ctx, q, selected)
	if err != nil {
		return nil, err
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	u := &run{Restorer: r, journal: j}
	if err := u.begin(q, selected); err != nil {
		return nil, err
	}
	if err := u.files(ctx, q, selected); err != nil {
		return u.report(), errors.Join(err, u.rolledBack(err.Error()))
	}
	if u.record().Phase == Committed {
		if err := u.apply(); err != nil {
			return u.report(), err
		}
	}
	u.desk(ctx)
	return u.report(), u.done()
}

// replay tells the events of a restore that has ended.
func (r *Restorer) replay(report *Report) *Report {
	if r.Emit != nil {
		for _, e := range report.Events() {
			r.Emit(e)
		}
	}
	return report
}

// run is a restore under way. What it knows is in the journal.
type run struct {
	*Restorer
	journal *Journal
	events  int64
}

func (u *run) record() *Record { return u.journal.Restore }
func (u *run) report() *Report { return u.journal.Restore.Report }

func (u *run) begin(q Request, selected []string) error {
	report := &Report{RequestID: q.ID, Checkpoint: q.Checkpoint, Start: u.now().UTC()}
	if q.Latest != q.Checkpoint {
		report.Latest = q.Latest
	}
	u.journal.begin(&Record{
		ID: strings.ToLower(rand.Text()[:12]), Digest: q.Digest(), Whole: q.whole(), Wait: q.wait(), Report: report,
	}, selected, report.Start)
	u.started()
	return u.reach(Planned)
}

// files stages what is selected and sets the commit mark. When it returns an
// error nothing is touched.
func (u *run) files(ctx context.Context, q Request, selected []string) error {
	stager := files.NewStager(u.record().ID, u.Source, files.StagerOptions{
		Hook: u.Hook,
		Begin: func(s files.Set) error {
			u.record().Set = &s
			return u.save()
		},
	})
	staged, err := u.choose(ctx, stager, q, selected)
	if err == nil && staged {
		err = u.commit(ctx, stager)
	}
	if err != nil || !staged {
		err = errors.Join(err, stager.Discard())
		u.record().Set = nil
	}
	return err
}

// choose takes every selected component from the newest checkpoint that has it
// undamaged: windows and layout as one unit from the first that can be read,
// files from any. It reports whether any file was staged.
func (u *run) choose(ctx context.Context, stager *files.Stager, q Request, selected []string) (staged bool, err error) {
	need, first := slices.Clone(selected), true
	for _, id := range append([]checkpoint.ID{q.Checkpoint}, q.Older...) {
		if len(need) == 0 {
			break
		}
		m, release, err := u.load(ctx, id)
		if ctxErr := ctx.Err(); ctxErr != nil {
			if err == nil {
				release()
			}
			return false, ctxErr
		}
		if err != nil {
			u.warn(fmt.Sprintf("checkpoint %s cannot be used: %v", id, err))
			continue
		}
		before := len(need)
		need, err = u.take(ctx, stager, m, need, first)
		release()
		if err != nil {
			return false, err
		}
		if id != q.Checkpoint && len(need) < before {
			u.warn(fmt.Sprintf("checkpoint %s is damaged: something was taken from the older %s", q.Checkpoint, id))
		}
		first = false
	}
	for _, name := range need {
		u.component(ComponentReport{Component: name, Result: Failed, Reason: "it is damaged, and no older checkpoint has it undamaged"})
	}
	staged = slices.ContainsFunc(u.report().Components, func(c ComponentReport) bool { return c.Result == "" && phases[c.Component] == ScopeFiles })
	if len(need) > 0 && !staged && len(u.record().Pending) == 0 {
		return false, fmt.Errorf("%w: nothing of checkpoint %s, or of an older one, could be restored", checkpoint.ErrDamaged, q.Checkpoint)
	}
	return staged, nil
}

// take takes what it can of need from one checkpoint, and returns what is
// damaged in it. What the first one does not have, or cannot give for another
// reason, is not looked for in older ones: it was not there.
func (u *run) take(ctx context.Context, stager *files.Stager, m *checkpoint.Manifest, need []string, first bool) ([]string, error) {
	p, err := u.plan(ctx, m, need)
	if err != nil {
		return nil, err
	}
	if err := p.Err(); err != nil && !errors.Is(err, checkpoint.ErrNothing) {
		if first {
			return nil, err
		}
		// It only stands in for a damaged one, such as from before a root moved.
		u.warn(fmt.Sprintf("checkpoint %s cannot be used: %v", m.ID, err))
		return need, nil
	}
	var left []string
	for _, name := range need {
		c := p.component(name)
		switch {
		case c.Action == ActionRestore && phases[name] != ScopeFiles:
			u.record().Desk, u.record().Pending = m.ID, append(u.record().Pending, name)
		case c.Action == ActionRestore:
			damaged, err := u.stage(ctx, stager, m.ID, p, c)
			if err != nil {
				return nil, err
			}
			if damaged {
				left = append(left, name)
			}
		case !first:
			left = append(left, name)
		case c.Action == ActionSkip:
			u.component(ComponentReport{Component: name, Result: Skipped, Reason: c.Reason})
		}
	}
	return left, nil
}

// stage stages one component, and reports whether it is damaged in checkpoint
// id. Of its files it reports those that will not come back.
func (u *run) stage(ctx context.Context, stager *files.Stager, id checkpoint.ID, p *Plan, c ComponentPlan) (damaged bool, err error) {
	if err := p.listDamage[c.Component]; err != nil {
		u.warn(fmt.Sprintf("checkpoint %s, %s: %v", id, c.Component, err))
		return true, nil
	}
	targets, err := stager.Stage(ctx, p.targets[c.Component])
	if errors.Is(err, checkpoint.ErrDamaged) {
		u.warn(fmt.Sprintf("checkpoint %s, %s: %v", id, c.Component, err))
		return true, nil
	}
	if err != nil {
		return false, err
	}
	unstored := p.unstored[c.Component]
	report := ComponentReport{Component: c.Component, Reason: c.Reason, Of: len(targets) + len(unstored)}
	if id != u.report().Checkpoint {
		report.From, report.Reason = id, "it is damaged in the checkpoint asked for"
	}
	u.report().component(report)
	for _, t := range targets {
		if t.Refused != nil {
			u.item(Item{Component: c.Component, Name: t.File.Name(), Result: Skipped, Reason: t.Refused.Error()})
		}
	}
	for _, f := range unstored {
		u.item(Item{Component: c.Component, Name: f.Name(), Result: Skipped, Reason: "it was not captured: " + f.Error})
	}
	return false, nil
}

// commit seals what is staged and sets the mark.
func (u *run) commit(ctx context.Context, stager *files.Stager) error {
	if err := u.reach(Verified); err != nil {
		return err
	}
	set, err := stager.Seal()
	if err != nil {
		return err
	}
	u.record().Set = &set
	if err := u.reach(Staged); err != nil {
		return err
	}
	// The last moment to see it: Zed may have been started meanwhile.
	if set.Has(checkpoint.NameZed) {
		if err := u.zedClosed(ctx); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return u.reach(Committed)
}

// apply puts the files in place and reports them.
func (u *run) apply() error {
	set := u.record().Set
	done, lost, err := set.Apply(u.Hook)
	if err != nil {
		return err
	}
	restored := map[string]int{}
	for _, d := range done {
		restored[d.Component]++
		item := Item{Component: d.Component, Name: d.Name, Result: Restored, Reason: d.Note, Aside: d.Aside}
		u.emit(Event{Item: &item})
		if item.Reason != "" || len(item.Aside) > 0 {
			u.report().add(item)
		}
	}
	missing := map[string]string{}
	for _, st := range lost {
		u.warn(fmt.Sprintf("%s, where files were staged, is gone; restore once more", set.Dir(st)))
		for name := range st.Files {
			missing[name] = "staged files are gone"
		}
	}
	for _, st := range set.Stages {
		keeps := func(d files.Done) bool {
			return slices.ContainsFunc(d.Aside, func(path string) bool { return strings.HasPrefix(path, set.Dir(st)+"/") })
		}
		if slices.ContainsFunc(done, keeps) {
			u.report().Aside = append(u.report().Aside, set.Dir(st))
		}
	}
	for _, c := range slices.Clone(u.report().Components) {
		if c.Result != "" {
			continue
		}
		c.Restored = restored[c.Component]
		c.Result = together(c.Restored, c.Of, missing[c.Component] != "")
		if c.Result == Restored && c.From != "" {
			c.Result = Partial
		}
		if why := missing[c.Component]; why != "" {
			c.Reason = why
		}
		u.component(c)
	}
	u.record().Deadline = u.now().UTC().Add(u.record().Wait)
	return u.reach(FilesReady)
}
