package restore

import (
	"context"
	"errors"
	"fmt"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore/files"
)

// Recovery is what Recover found and did.
type Recovery struct {
	// Report is of the restore that was unfinished; nil when none was.
	Report *Report
	// Finished means that its files had to be put in place, and are now.
	Finished bool
	// Pending means that windows or layout are still to come: Resume.
	Pending bool
	// Digest is the Request's.
	Digest string
}

// Recover comes before anything else when a session is taken up: what a crash
// left of a restore is undone before its commit mark, and finished after it.
// It may be called at any time, also when there is nothing to do.
//
// An error that wraps checkpoint.ErrZedRunning means that Zed was started while
// its files were not in place; they stay staged until it is closed.
func (r *Restorer) Recover(ctx context.Context) (Recovery, error) {
	j, err := Load(r.Dir)
	if err != nil {
		return Recovery{}, err
	}
	u := &run{Restorer: r, journal: j}
	if old := j.expire(r.now(), false); len(old) > 0 {
		if err := u.forget(old); err != nil {
			return Recovery{}, err
		}
	}
	rec := j.Restore
	if rec == nil || rec.Phase.Ended() {
		return Recovery{}, nil
	}
	u.started()
	if rec.Phase.before(Committed) {
		if rec.Set != nil {
			if err := rec.Set.Discard(r.Hook); err != nil {
				return Recovery{}, fmt.Errorf("undo the restore of %s: %w", rec.Report.Checkpoint, err)
			}
			rec.Set = nil
		}
		return Recovery{Report: rec.Report}, u.rolledBack("interrupted before its commit mark")
	}
	did := Recovery{Report: rec.Report, Finished: rec.Phase == Committed, Pending: len(rec.Pending) > 0, Digest: rec.Digest}
	if rec.Phase == Committed {
		if rec.Set.Has(checkpoint.NameZed) {
			if err := r.zedClosed(ctx); err != nil {
				return Recovery{Report: rec.Report}, err
			}
		}
		if err := u.apply(); err != nil {
			return Recovery{Report: rec.Report}, fmt.Errorf("finish the restore of %s: %w", rec.Report.Checkpoint, err)
		}
	}
	if !did.Pending {
		return did, u.done()
	}
	return did, nil
}

// Resume restores the windows and layout that Recover called pending, until
// the deadline that the restore had.
func (r *Restorer) Resume(ctx context.Context) (*Report, error) {
	j, err := Load(r.Dir)
	if err != nil {
		return nil, err
	}
	rec := j.Restore
	if rec == nil || rec.Phase.Ended() || !Committed.before(rec.Phase) {
		return nil, fmt.Errorf("%w to resume", checkpoint.ErrNothing)
	}
	rec.Report.forgetDesk()
	u := &run{Restorer: r, journal: j}
	u.started()
	u.desk(ctx)
	return rec.Report, u.done()
}

// Decide records a start decision, such as that nothing is restored. It does
// not while a restore is unfinished (ErrUnfinished).
func (r *Restorer) Decide(d Decision) error {
	j, err := Load(r.Dir)
	if err != nil {
		return err
	}
	if rec := j.Restore; rec != nil && !rec.Phase.Ended() {
		return fmt.Errorf("%w: that of %s is %s", ErrUnfinished, rec.Report.Checkpoint, rec.Phase)
	}
	j.Decide(d)
	return Save(r.Dir, j)
}

// rolledBack ends a restore that has touched nothing.
func (u *run) rolledBack(why string) error {
	report := u.report()
	report.Outcome, report.Error = RolledBack, why
	u.record().Pending = nil
	for _, c := range report.Components {
		if c.Result == "" {
			c.Result, c.Reason = Failed, "everything was left as it was"
			report.component(c)
		}
	}
	return u.end()
}

// done ends a restore of which everything was tried.
func (u *run) done() error {
	u.report().Outcome = u.report().outcome()
	return u.end()
}

// end writes the last of the journal and tells it.
func (u *run) end() error {
	old := u.journal.end(u.now().UTC())
	if err := u.forget(old); err != nil {
		return err
	}
	u.emit(Event{Phase: u.record().Phase})
	u.emit(Event{Report: u.report()})
	return nil
}

// forget deletes what earlier restores moved aside and saves the journal,
// which names it no more.
func (u *run) forget(old []files.Set) error {
	var errs []error
	for _, set := range old {
		errs = append(errs, set.Discard(u.Hook))
	}
	return errors.Join(append(errs, u.save())...)
}

// reach journals that the restore is in a phase, and tells it.
func (u *run) reach(p Phase) error {
	u.record().Phase = p
	if err := u.save(); err != nil {
		return err
	}
	u.emit(Event{Phase: p})
	return nil
}

func (u *run) save() error {
	if u.Hook != nil {
		u.Hook("journal")
	}
	return Save(u.Dir, u.journal)
}

func (u *run) emit(e Event) {
	if u.Emit == nil {
		return
	}
	u.events++
	e.Number, e.Time = u.events, u.now().UTC()
	u.Emit(e)
}

func (u *run) started() {
	r := u.report()
	u.emit(Event{Started: &Started{RequestID: r.RequestID, Checkpoint: r.Checkpoint, Latest: r.Latest}})
}

func (u *run) item(i Item) {
	u.report().add(i)
	u.emit(Event{Item: &i})
}

func (u *run) component(c ComponentReport) {
	u.report().component(c)
	u.emit(Event{Component: &c})
}

func (u *run) warn(text string) {
	u.report().warn(text)
	u.emit(Event{Warning: text})
}
