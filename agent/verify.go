package agent

import (
	"context"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
)

// repairer takes damaged files out of use: see repository.Repair.
type repairer func(ctx context.Context, damage []repository.Damage) ([]repository.Repaired, error)

// Verify reads back what r says of a repository, whoever owns it, and tells emit
// about it; see rpc.Backend. It repairs nothing.
func Verify(ctx context.Context, repo *repository.Repository, r rpc.VerifyRequest, emit func(rpc.VerifyEvent)) error {
	return verify(ctx, repo, r, nil, emit)
}

// Verify is Verify of the Keeper's repository, with the repair that r may ask for.
func (k *Keeper) Verify(ctx context.Context, r rpc.VerifyRequest, emit func(rpc.VerifyEvent)) error {
	return verify(ctx, k.repo, r, k.Repair, emit)
}

// Verify is part of rpc.Backend. It reads beside the loop; the loop repairs.
func (a *Agent) Verify(ctx context.Context, r rpc.VerifyRequest, emit func(rpc.VerifyEvent)) error {
	if r.Repair {
		if err := a.ready(); err != nil { // before all is read for nothing
			return err
		}
	}
	return verify(ctx, a.k.repo, r, func(ctx context.Context, damage []repository.Damage) (done []repository.Repaired, err error) {
		err = a.write(ctx, func(ctx context.Context) error {
			done, err = a.k.Repair(ctx, damage)
			return err
		})
		return done, err
	}, emit)
}

func verify(ctx context.Context, repo *repository.Repository, r rpc.VerifyRequest, repair repairer, emit func(rpc.VerifyEvent)) error {
	var ids []checkpoint.ID
	if !r.All {
		// A damaged one can be named too: to say that is what this is for.
		entries, err := Entries(ctx, repo)
		if err != nil {
			return err
		}
		e, err := checkpoint.Select(entries, r.Selector)
		if err != nil {
			return err
		}
		ids = []checkpoint.ID{e.ID}
	}
	t := &teller{emit: emit}
	report, err := repo.Verify(ctx, ids, t.progress)
	if err != nil {
		return err
	}
	found := report.Damage
	var repaired []repository.Repaired
	if r.Repair && len(found) > 0 {
		repaired, err = repair(ctx, found)
		if err != nil {
			return err
		}
	}
	if len(repaired) > 0 {
		t.again()
		if report, err = repo.Verify(ctx, ids, t.progress); err != nil {
			return err
		}
	}
	t.damage(found, report.Damage)
	for _, d := range repaired {
		emit(rpc.VerifyEvent{Repaired: &rpc.Repaired{File: d.File, Quarantine: d.Quarantine, Chunks: d.Chunks, Kept: d.Kept, Rewritten: d.Rewritten}})
	}
	emit(rpc.VerifyEvent{Report: summary(report)})
	return nil
}

// summary is a report without its damage.
func summary(r repository.VerifyReport) *rpc.VerifyReport {
	damaged := map[checkpoint.ID]bool{}
	for _, d := range r.Damage {
		if d.Checkpoint != "" {
			damaged[d.Checkpoint] = true
		}
	}
	s := &rpc.VerifyReport{Checkpoints: r.Checkpoints, Damaged: len(damaged), Packs: r.Packs, PackBytes: r.PackBytes, PlainBytes: r.PlainBytes}
	if o := r.Orphans; o != nil {
		s.Orphans = &rpc.Orphans{Packs: o.Packs, PackBytes: o.PackBytes, Chunks: o.Chunks}
	}
	return s
}

// teller tells what a verification finds.
type teller struct {
	emit func(rpc.VerifyEvent)
	// before is what was read before the last verification began, told the last
	// that was said.
	before, told repository.Progress
}

// progress tells how far it is, a thousand times at most while the total stands.
func (t *teller) progress(p repository.Progress) {
	p.Done, p.Total = p.Done+t.before.Done, p.Total+t.before.Total
	if p.Total != t.told.Total && p.Done == t.told.Done {
		t.told.Total = p.Total // a part more to read is not worth a word
		return
	}
	if p.Done-t.told.Done < p.Total/1000 && p.Done != p.Total {
		return
	}
	t.told = p
	t.emit(rpc.VerifyEvent{Progress: &rpc.Progress{Done: p.Done, Total: p.Total}})
}

// again notes that all is read once more.
func (t *teller) again() { t.before = t.told }

// damage tells what was found, and what is left of it after a repair: each once,
// with the checkpoints that it touches.
func (t *teller) damage(found, left []repository.Damage) {
	key := func(d repository.Damage) repository.Damage {
		d.Err = nil // it may be worded otherwise
		return d
	}
	known, still := map[repository.Damage]bool{}, map[repository.Damage]bool{}
	for _, d := range found {
		known[key(d)] = true
	}
	for _, d := range left {
		if still[key(d)] = true; !known[key(d)] {
			found = append(found, d)
		}
	}
	type part struct{ file, component, path, problem string }
	var order []part
	told := map[part]*rpc.Damage{}
	for _, d := range found {
		p := part{d.File, d.Component, d.Path, d.Err.Error()}
		one := told[p]
		if one == nil {
			one = &rpc.Damage{File: p.file, Component: p.component, Path: p.path, Problem: p.problem, Repaired: true}
			order, told[p] = append(order, p), one
		}
		if d.Checkpoint != "" {
			one.Checkpoints = append(one.Checkpoints, d.Checkpoint)
		}
		one.Repaired = one.Repaired && !still[key(d)]
	}
	for _, p := range order {
		d := told[p]
		slices.SortFunc(d.Checkpoints, func(a, b checkpoint.ID) int { return strings.Compare(string(b), string(a)) })
		d.Hurt = len(d.Checkpoints)
		d.Checkpoints = d.Checkpoints[:min(d.Hurt, rpc.MaxHurt)]
		t.emit(rpc.VerifyEvent{Damage: d})
	}
}

// Repair takes damaged files out of use, and looks again for what the next
// checkpoint is built on.
func (k *Keeper) Repair(ctx context.Context, damage []repository.Damage) ([]repository.Repaired, error) {
	done, err := k.repo.Repair(ctx, damage, k.guard)
	for _, d := range done {
		k.log.Warn("damaged data was put into quarantine", "file", d.File, "quarantine", d.Quarantine, "chunks", d.Chunks, "kept", d.Kept, "rewritten", d.Rewritten)
	}
	if len(done) == 0 {
		return done, err
	}
	k.capturer.Forget()
	if loadErr := k.load(ctx); err == nil {
		err = loadErr
	}
	return done, err
}
