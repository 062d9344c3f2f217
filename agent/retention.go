package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/capture"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
)

// Prune applies the retention rules and the limit of size, or with dryRun says
// what they would do. What is wanted or held, a restore may still need, or is the
// newest good one stays.
func (k *Keeper) Prune(ctx context.Context, dryRun bool, wanted ...checkpoint.ID) (rpc.Pruned, error) {
	entries, _, err := k.repo.List(ctx)
	if err != nil {
		return rpc.Pruned{}, err
	}
	keep, err := k.kept(ctx)
	if err != nil {
		return rpc.Pruned{}, err
	}
	keep = append(keep, wanted...)
	drop := checkpoint.Expired(entries, keep)
	expendable := slices.DeleteFunc(checkpoint.Expendable(entries, keep), func(id checkpoint.ID) bool { return slices.Contains(drop, id) })
	p, err := k.prune(ctx, drop, repository.PruneOptions{DryRun: dryRun, MaxBytes: k.limits.MaxSize, Expendable: expendable})
	if err != nil || dryRun || k.limits.MaxSize == 0 {
		return p, err
	}
	size, err := k.repo.Size()
	if err == nil && size > k.limits.MaxSize {
		p.Over = fmt.Sprintf("checkpoints take %d bytes, more than %d (--max-size), and none of the %d that are left may go", size, k.limits.MaxSize, p.Kept)
	}
	return p, err
}

// kept returns the checkpoints that must not go by rule.
func (k *Keeper) kept(ctx context.Context) ([]checkpoint.ID, error) {
	j, err := k.journal(ctx)
	if err != nil {
		return nil, err
	}
	keep := j.Kept(time.Now())
	if j.Decision != nil {
		keep = append(keep, j.Decision.Checkpoint) // its windows may be yet to come
	}
	if j.Restore != nil && !j.Restore.Phase.Ended() {
		keep = append(keep, j.Restore.Desk) // it may be an older one than was asked for
	}
	if k.latest != nil {
		keep = append(keep, k.latest.Manifest.ID)
	}
	return keep, nil
}

// prune deletes checkpoints and what nobody needs.
func (k *Keeper) prune(ctx context.Context, drop []checkpoint.ID, o repository.PruneOptions) (rpc.Pruned, error) {
	k.capturer.Keep(k.latest)
	o.Guard = k.guard
	report, err := k.repo.Prune(ctx, drop, o)
	p := rpc.Pruned{Deleted: report.Deleted, Count: len(report.Deleted), Kept: report.Kept, Held: report.Held, FreedBytes: report.FreedBytes}
	for _, d := range report.Blocked {
		p.Blocked = append(p.Blocked, d.String())
	}
	for _, d := range report.Damaged {
		k.log.Warn("damaged data in the repository", "what", d.String())
	}
	return p, err
}

// Delete deletes a checkpoint, pinned or not, and returns what that has freed and
// why it is not more. One that must stay is checkpoint.ErrProtected, one that
// somebody holds checkpoint.ErrBusy.
func (k *Keeper) Delete(ctx context.Context, id checkpoint.ID) (rpc.Pruned, error) {
	entries, err := Entries(ctx, k.repo)
	if err != nil {
		return rpc.Pruned{}, err
	}
	if !slices.ContainsFunc(entries, func(e checkpoint.Entry) bool { return e.ID == id }) {
		return rpc.Pruned{}, fmt.Errorf("%w: %s", checkpoint.ErrNotFound, id)
	}
	j, err := k.journal(ctx)
	if err != nil {
		return rpc.Pruned{}, err
	}
	if slices.Contains(j.Kept(time.Now()), id) {
		return rpc.Pruned{}, fmt.Errorf("%w: its restore failed or was declined, and it is what could still be restored: %s", checkpoint.ErrProtected, id)
	}
	latest := k.latest != nil && k.latest.Manifest.ID == id
	if latest && !k.another(ctx, entries, id) {
		return rpc.Pruned{}, fmt.Errorf("%w: it is the only good one: %s", checkpoint.ErrProtected, id)
	}
	p, err := k.prune(ctx, []checkpoint.ID{id}, repository.PruneOptions{})
	if err == nil && len(p.Held) > 0 {
		err = fmt.Errorf("%w: checkpoint %s is being read: exported, restored, shown or verified", checkpoint.ErrBusy, id)
	}
	if err != nil || (!latest && k.entry.ID != id) {
		return p, err
	}
	// What the next checkpoint is compared with has gone.
	k.capturer.Forget()
	if err := k.load(ctx); err != nil {
		return p, err
	}
	k.record.LastCheckpoint = k.entry.ID
	if err := k.summarize(); err != nil {
		k.log.Warn("summary not written", "error", err)
	}
	return p, nil
}

// another reports whether there is a good checkpoint beside id.
func (k *Keeper) another(ctx context.Context, entries []checkpoint.Entry, id checkpoint.ID) bool {
	return slices.ContainsFunc(entries, func(e checkpoint.Entry) bool {
		if e.ID == id {
			return false
		}
		_, err := capture.Load(ctx, k.repo, e.ID)
		return err == nil
	})
}

// Pin pins a checkpoint or removes its pin.
func (k *Keeper) Pin(ctx context.Context, selector string, pinned bool) (checkpoint.Entry, error) {
	entries, err := Entries(ctx, k.repo)
	if err != nil {
		return checkpoint.Entry{}, err
	}
	e, err := checkpoint.Select(entries, selector)
	if err == nil {
		err = k.guard()
	}
	if err != nil {
		return e, err
	}
	e.Pinned = pinned
	if pinned {
		err = k.repo.Pin(ctx, e.ID)
	} else {
		err = k.repo.Unpin(ctx, e.ID)
	}
	if err == nil && k.entry.ID == e.ID {
		k.entry.Pinned = pinned
	}
	return e, err
}

// pruneEvery is how often an agent prunes at most: the finest rule of retention
// is one a minute.
const pruneEvery = time.Minute

// retention is when the loop prunes.
type retention struct {
	// due: a checkpoint was committed since the last prune, or there was none.
	due  bool
	last time.Time
}

// retain prunes when it is time. The first time it also frees what an
// interrupted prune has left. A failure is shown in the status; the next one
// tries again.
func (a *Agent) retain(ctx context.Context) {
	r := &a.retention
	if !r.due || time.Since(r.last) < pruneEvery || ctx.Err() != nil {
		return
	}
	r.due, r.last = false, time.Now()
	p, err := a.k.Prune(ctx, false, a.wanted()...)
	if ctx.Err() != nil {
		return
	}
	problem := ""
	switch {
	case err != nil:
		problem = err.Error()
	case len(p.Blocked) > 0:
		problem = "disk space is not freed: what is needed is not known in full: " + p.Blocked[0]
	case p.Over != "":
		problem = p.Over
	case p.Count > 0:
		a.log.Debug("pruned", "deleted", p.Count, "kept", p.Kept, "held", len(p.Held), "freed_bytes", p.FreedBytes, "ms", time.Since(r.last).Milliseconds())
	}
	a.mu.Lock()
	isNew := problem != "" && problem != a.unpruned
	a.unpruned = problem
	a.mu.Unlock()
	if isNew {
		a.log.Warn("retention", "problem", problem)
	}
}

// wanted returns the checkpoint whose windows are yet to be restored, if there is
// one.
func (a *Agent) wanted() []checkpoint.ID {
	if a.desk.wanted && a.desk.target != "" {
		return []checkpoint.ID{a.desk.target}
	}
	return nil
}

// write has the loop do something to the repository, once the start decision is
// made.
func (a *Agent) write(ctx context.Context, do func(context.Context) error) error {
	if err := a.ready(); err != nil {
		return err
	}
	var err error
	if submitErr := a.submit(ctx, func(ctx context.Context) { err = do(ctx) }); submitErr != nil {
		return submitErr
	}
	a.publish()
	return err
}

// Pin is part of rpc.Backend.
func (a *Agent) Pin(ctx context.Context, selector string, pinned bool) (checkpoint.Entry, error) {
	var e checkpoint.Entry
	err := a.write(ctx, func(ctx context.Context) (err error) {
		e, err = a.k.Pin(ctx, selector, pinned)
		return err
	})
	return e, err
}

// Delete is part of rpc.Backend.
func (a *Agent) Delete(ctx context.Context, id checkpoint.ID) (int64, error) {
	var p rpc.Pruned
	err := a.write(ctx, func(ctx context.Context) (err error) {
		if slices.Contains(a.wanted(), id) {
			return fmt.Errorf("%w: its windows are yet to be restored: %s", checkpoint.ErrProtected, id)
		}
		p, err = a.k.Delete(ctx, id)
		return err
	})
	return p.FreedBytes, err
}

// Prune is part of rpc.Backend.
func (a *Agent) Prune(ctx context.Context, dryRun bool) (rpc.Pruned, error) {
	var p rpc.Pruned
	err := a.write(ctx, func(ctx context.Context) (err error) {
		p, err = a.k.Prune(ctx, dryRun, a.wanted()...)
		return err
	})
	return p, err
}
