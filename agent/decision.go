package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
	"github.com/helixml/helix-ckpt/restore"
)

// restorer returns what restores into the Keeper's session.
func (k *Keeper) restorer(emit func(restore.Event)) *restore.Restorer {
	return NewRestorer(k.site, k.repo, emit)
}

// NewRequest turns what a user asked for into a restore: the selector, or the
// age, into a checkpoint of the repository of the session directory dir.
// "latest" is a checkpoint whose restore failed, if there is one. A damaged
// manifest can be chosen too: the restore then says so and takes an older one.
func NewRequest(ctx context.Context, dir string, repo *repository.Repository, r rpc.RestoreRequest) (restore.Request, error) {
	q := asked(r)
	if r.Force || r.IgnoreVersion || len(r.Map) > 0 || (r.Threads != "" && r.Threads != rpc.ThreadsMerge) {
		return q, fmt.Errorf("%w: this version restores without force, mappings, a policy for threads, or another version's data", checkpoint.ErrInvalid)
	}
	entries, err := Entries(ctx, repo)
	if err != nil {
		return q, err
	}
	j, err := restore.Load(dir)
	if err != nil {
		return q, err
	}
	var entry checkpoint.Entry
	switch {
	case r.MinAge > 0:
		entry, err = checkpoint.NotAfter(entries, time.Now().Add(-r.MinAge))
	case (r.Selector == "" || r.Selector == checkpoint.Latest) && len(entries) > 0:
		// A protected one may be gone, such as into quarantine; then the newest
		// there is stands in for it, and the restore says so.
		entry.ID = j.Target(entries[0].ID)
	default:
		entry, err = checkpoint.Select(entries, r.Selector)
	}
	if err != nil {
		return q, err
	}
	q.Checkpoint, q.Latest, q.Older = entry.ID, entries[0].ID, restore.Candidates(entries, entry.ID)
	return q, nil
}

// asked is r as far as it does not depend on what there is: the same words are
// the same request, whatever latest means when they are repeated.
func asked(r rpc.RestoreRequest) restore.Request {
	q := restore.Request{ID: r.RequestID, Selector: r.Selector, Scope: r.Scope, Only: r.Only, Wait: r.Wait}
	switch {
	case r.MinAge > 0:
		q.Selector = fmt.Sprintf("at least %s old", r.MinAge)
	case q.Selector == "":
		q.Selector = checkpoint.Latest
	}
	return q
}

// Entries returns the checkpoints of repo, newest first. One whose manifest
// cannot be read stands where the time in its id says, all that is known of it:
// who asks for the latest then learns that it is damaged.
func Entries(ctx context.Context, repo *repository.Repository) ([]checkpoint.Entry, error) {
	entries, damage, err := repo.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range damage {
		e := checkpoint.Entry{ID: d.Checkpoint, Created: d.Checkpoint.Time()}
		at := slices.IndexFunc(entries, func(o checkpoint.Entry) bool { return o.ID < e.ID })
		if at < 0 {
			at = len(entries)
		}
		entries = slices.Insert(entries, at, e)
	}
	return entries, nil
}

// Restore restores what is asked for, and returns its report; see
// restore.Restorer.Run. emit is told what happens meanwhile.
func (k *Keeper) Restore(ctx context.Context, r rpc.RestoreRequest, emit func(restore.Event)) (*restore.Report, error) {
	if _, err := k.journal(ctx); err != nil {
		return nil, err
	}
	q, err := NewRequest(ctx, k.dir, k.repo, r)
	if err != nil {
		return nil, err
	}
	if err := k.finish(ctx); err != nil {
		return nil, err
	}
	report, err := k.restorer(emit).Run(ctx, q)
	if err != nil {
		return report, err
	}
	return report, k.decideOnce(Decision{Files: restore.ChoiceRestore, Desk: restore.ChoiceRestore, Reason: "restored by hand"}, q.Checkpoint)
}

// finish ends a restore that was cut off, if one was: before that, nothing is
// restored, and nothing captured of files that may be half in their places.
func (k *Keeper) finish(ctx context.Context) error {
	if _, err := k.journal(ctx); err != nil {
		return err
	}
	restorer := k.restorer(nil)
	rec, err := restorer.Recover(ctx)
	if err == nil && rec.Pending {
		_, err = restorer.Resume(ctx)
	}
	if err != nil {
		return fmt.Errorf("an earlier restore is unfinished: %w", err)
	}
	return nil
}

// decideOnce journals a start decision unless one was made in this instance.
func (k *Keeper) decideOnce(d Decision, target checkpoint.ID) error {
	j, err := restore.Load(k.dir)
	if err != nil || j.DecidedFor(k.record.Instance.ID) {
		return err
	}
	return k.decide(d, target)
}

// Decline decides that nothing is restored in this instance, and returns the
// checkpoint that could have been, "" when there was nothing left to decide:
// what an instance captured itself, it has.
func (k *Keeper) Decline(ctx context.Context, reason string) (checkpoint.ID, error) {
	if err := k.finish(ctx); err != nil {
		return "", err
	}
	j, err := k.journal(ctx)
	if err != nil {
		return "", err
	}
	target := j.Target(k.entry.ID)
	own := k.latest != nil && k.latest.Manifest.Instance.ID == k.record.Instance.ID && target == k.entry.ID
	if target == "" || own || (j.DecidedFor(k.record.Instance.ID) && len(j.Protected) == 0) {
		return "", nil
	}
	d := Decision{Files: restore.ChoiceDeclined, Desk: restore.ChoiceDeclined, Reason: reason}
	return target, k.decide(d, target)
}

// find looks at everything that the start decision depends on.
func (k *Keeper) find(ctx context.Context, mode Mode) (Found, error) {
	j, err := k.journal(ctx)
	if err != nil {
		return Found{}, err
	}
	f := Found{Mode: mode, Committed: k.entry.ID != ""}
	if j.DecidedFor(k.record.Instance.ID) {
		f.Decided = j.Decision
		last := j.Restore
		f.Undone = last != nil && last.Phase == restore.RolledBack && last.Report.Checkpoint == j.Decision.Checkpoint
	}
	if k.latest != nil {
		f.SameInstance = k.latest.Manifest.Instance.ID == k.record.Instance.ID
	}
	if _, now, err := k.compositor(ctx); err == nil {
		saved, ok := k.desk()
		f.SameCompositor = !ok || saved.Same(now)
	}
	if f.Databases, err = k.databases(); err != nil {
		// What cannot be read may be there, and is not replaced.
		k.log.Warn("Zed's databases cannot be looked at", "error", err)
		f.Databases = true
	}
	f.ZedRunning = errors.Is(zedClosed(k.site), checkpoint.ErrZedRunning)
	return f, nil
}

// databases reports whether a database of Zed is there.
func (k *Keeper) databases() (bool, error) {
	places, err := zed.Find(k.site.Zed.Data, k.site.Zed.Config)
	if err != nil || places.Channel != "" {
		return true, err
	}
	_, err = os.Stat(places.ThreadsDB())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return true, err
}

// desk returns the compositor whose windows the latest checkpoint holds.
func (k *Keeper) desk() (checkpoint.Compositor, bool) {
	if k.latest == nil || k.latest.Manifest.Components.Layout == nil || !k.latest.Manifest.Components.Layout.State.Usable() {
		return checkpoint.Compositor{}, false
	}
	return k.latest.Manifest.Components.Layout.Compositor, true
}

// targets returns the checkpoints that a start restores files, and windows with
// layout, from: the one that mode names, else what "latest" means for them.
// A latest one whose manifest is damaged is still the latest: the restore says so
// and takes the next older.
func (k *Keeper) targets(ctx context.Context, mode Mode) (files, desk checkpoint.ID, err error) {
	if id, ok := mode.checkpoint(); ok {
		return id, id, nil
	}
	j, err := k.journal(ctx)
	if err != nil {
		return "", "", err
	}
	entries, err := Entries(ctx, k.repo)
	if err != nil {
		return "", "", err
	}
	var latest checkpoint.ID
	if len(entries) > 0 {
		latest = entries[0].ID
	}
	return j.FilesTarget(latest), j.Target(latest), nil
}

// has reports whether the repository has a checkpoint, damaged or not.
func (k *Keeper) has(ctx context.Context, id checkpoint.ID) (bool, error) {
	entries, err := Entries(ctx, k.repo)
	return slices.ContainsFunc(entries, func(e checkpoint.Entry) bool { return e.ID == id }), err
}

// decide journals a start decision.
func (k *Keeper) decide(d Decision, target checkpoint.ID) error {
	return k.restorer(nil).Decide(restore.Decision{
		Instance: k.record.Instance.ID, Files: d.Files, Desk: d.Desk, Checkpoint: target, Reason: d.Reason, Time: time.Now().UTC(),
	})
}

// watchDirs are the directories in which something changes when the session
// does.
func (k *Keeper) watchDirs() []string {
	dirs := []string{
		filepath.Join(k.site.Zed.Data, "db"), filepath.Join(k.site.Zed.Data, "threads"), filepath.Join(k.site.Home, ".claude", "projects"),
	}
	if places, err := zed.Find(k.site.Zed.Data, k.site.Zed.Config); err == nil {
		dirs = append(dirs, places.WatchDirs()...)
	}
	if k.latest != nil {
		for _, f := range k.latest.Files[checkpoint.NameConversations] {
			dirs = append(dirs, filepath.Dir(checkpoint.Absolute(k.site.Roots, f.Name())))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
