package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// PruneOptions are what Prune may be told beside what to delete.
type PruneOptions struct {
	// DryRun changes nothing and says what would be done. It needs no lock.
	DryRun bool
	// Guard is called before anything is deleted (it reads the session's epoch
	// again); an error of it ends the prune. It may be nil.
	Guard func() error
	// MaxBytes bounds what manifests and packs take on disk; 0 does not. Above it
	// packs are rid of what nobody needs, and if that is not enough, the last of
	// Expendable are deleted too.
	MaxBytes int64
	// Expendable are checkpoints, newest first.
	Expendable []checkpoint.ID
}

// PruneReport says what a prune deleted, or would delete.
type PruneReport struct {
	// Deleted are the checkpoints, in the order asked for, then those of
	// PruneOptions.Expendable; and Kept how many are left, damaged ones included.
	Deleted []checkpoint.ID
	Kept    int
	// Held are those of them that stay because somebody reads them: see Hold. A
	// dry run does not find out.
	Held []checkpoint.ID
	// Packs is how many were deleted, Repacked how many of them because what was
	// needed of them now stands in a new one.
	Packs, Repacked int
	// FreedBytes is what the files take less on disk, and WrittenBytes what the
	// new packs take of it again.
	FreedBytes, WrittenBytes int64
	// Blocked says why no pack was deleted: what those checkpoints need is not
	// known. None when packs were looked at.
	Blocked []Damage
	// Damaged are packs that were to be written anew and cannot be read; they
	// stay as they are.
	Damaged []Damage
}

// Prune deletes the checkpoints in drop, pinned or not, and then every pack that
// none of the others needs; packs of which little is needed, and many small ones,
// are written anew as one. One of drop that is not there is not deleted, nor is one
// that somebody holds. The caller holds the session's lock; Prune waits while a
// transaction of r is open.
//
//	manifests deleted ─▶ checkpoints/ synced ─▶ mark ─▶ packs deleted
//	                                              └▶ new pack synced ─▶ old packs deleted
//
// It may be stopped at any point: the next one goes on. Packs are never deleted
// that are not understood, nor any while the manifest, a list or a recipe of one
// checkpoint cannot be read in full, or lies in quarantine since less than a
// week: see PruneReport.Blocked. Of content, only that of packs written anew is
// read.
func (r *Repository) Prune(ctx context.Context, drop []checkpoint.ID, o PruneOptions) (PruneReport, error) {
	p := pruner{r: r, dry: o.DryRun, max: o.MaxBytes, expendable: slices.Clone(o.Expendable), ranks: map[checkpoint.ID]uint16{}, written: map[string]bool{}}
	for i, id := range p.expendable {
		p.ranks[id] = uint16(min(i+1, math.MaxUint16))
	}
	if !o.DryRun {
		t, err := r.begin(ctx)
		if err != nil {
			return p.report, err
		}
		defer t.Abort()
		p.tx = t
		if o.Guard != nil {
			if err := o.Guard(); err != nil {
				return p.report, fmt.Errorf("prune: %w", err)
			}
		}
	} else if err := r.index.scan(ctx); err != nil {
		return p.report, err
	}
	err := p.run(ctx, drop)
	return p.report, wrap("prune", err)
}

// pruner is one prune.
type pruner struct {
	r   *Repository
	tx  *Tx // nil in a dry run
	dry bool
	max int64 // 0 is no limit
	// expendable are what could be deleted besides, the last first. The later, the
	// higher their ranks; others have rank 0.
	expendable []checkpoint.ID
	ranks      map[checkpoint.ID]uint16
	// written are the packs that this prune has written, by path.
	written map[string]bool

	report PruneReport
}

func (p *pruner) run(ctx context.Context, drop []checkpoint.ID) error {
	if err := p.manifests(ctx, drop); err != nil {
		return err
	}
	live, err := p.mark(ctx)
	if err != nil {
		return err
	}
	quarantined, err := p.r.quarantined(time.Now())
	if err != nil {
		return err
	}
	if p.report.Blocked = append(p.report.Blocked, quarantined...); len(p.report.Blocked) > 0 {
		return nil
	}
	packs, err := p.r.index.usage(live)
	if err != nil {
		return err
	}
	var dead []usage
	packs = slices.DeleteFunc(packs, func(u usage) bool {
		if u.live == 0 {
			dead = append(dead, u)
		}
		return u.live == 0
	})
	victims, tight, err := p.over(packs, dead, live)
	if err != nil {
		return err
	}
	if len(victims) > 0 {
		return p.run(ctx, victims)
	}
	if err := p.remove(packsOf(dead)); err != nil {
		return err
	}
	below := int64(sparseBelow)
	if tight {
		below = tightBelow
	}
	return p.repack(ctx, rewritten(packs, below), live)
}

func packsOf(usages []usage) []*pack {
	var packs []*pack
	for _, u := range usages {
		packs = append(packs, u.pack)
	}
	return packs
}

// manifests deletes those of drop, and pins of what is not there.
func (p *pruner) manifests(ctx context.Context, drop []checkpoint.ID) error {
	for _, id := range drop {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.manifest(id); err != nil {
			return err
		}
	}
	// Durable before any pack goes: a manifest that came back without its packs
	// would be a damaged checkpoint.
	if err := p.sync(dirCheckpoints, len(p.report.Deleted)); err != nil {
		return err
	}
	pins, err := readDir(filepath.Join(p.r.dir, dirPins))
	if err != nil {
		return err
	}
	gone := 0
	for _, name := range pins {
		id, err := checkpoint.ParseID(name)
		if err != nil || p.dry {
			continue
		}
		if _, err := os.Lstat(filepath.Join(p.r.dir, manifestName(id))); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := p.delete(filepath.Join(dirPins, name)); err != nil {
			return err
		}
		gone++
	}
	return p.sync(dirPins, gone)
}

// manifest deletes one, unless somebody holds it.
func (p *pruner) manifest(id checkpoint.ID) error {
	if !p.dry {
		release, ok, err := claim(filepath.Join(p.r.dir, manifestName(id)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !ok:
			p.report.Held = append(p.report.Held, id)
			return nil
		}
		defer release()
	}
	there, err := p.delete(manifestName(id))
	if there {
		p.report.Deleted = append(p.report.Deleted, id)
	}
	return err
}

// delete removes a file, unless it is a dry run, and counts its bytes. It reports
// whether the file was there.
func (p *pruner) delete(name string) (bool, error) {
	path := filepath.Join(p.r.dir, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil && !p.dry {
		err = p.r.disk.remove(path)
	}
	if err != nil {
		return false, err
	}
	p.report.FreedBytes += info.Size()
	return true, nil
}

// sync makes durable that n files of a directory were deleted.
func (p *pruner) sync(dir string, n int) error {
	if n == 0 || p.dry {
		return nil
	}
	return p.r.disk.syncDir(filepath.Join(p.r.dir, dir))
}

// remove deletes packs.
func (p *pruner) remove(packs []*pack) error {
	for _, pack := range packs {
		there, err := p.delete(filepath.Join(dirPacks, filepath.Base(pack.path)))
		if err != nil {
			return err
		}
		if there {
			p.report.Packs++
		}
		if !p.dry {
			p.r.index.forget(pack)
		}
	}
	return p.sync(dirPacks, len(packs))
}
