package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Reserve makes r leave so many bytes of its disk free to others: no transaction
// begins below that, and none goes on. Prune does. It is called before r is used.
func (r *Repository) Reserve(bytes int64) { r.reserve = bytes }

// Room returns an error that wraps checkpoint.ErrNoSpace when to write need bytes
// would leave less free than is reserved.
func (r *Repository) Room(need int64) error {
	if r.reserve == 0 {
		return nil
	}
	free, _, err := r.Space()
	if err != nil {
		return err
	}
	if free-need >= r.reserve {
		return nil
	}
	const mib = 1 << 20
	return fmt.Errorf("%w: %.1f MiB are free in %s, and %.1f MiB are needed: %.1f MiB are kept free for the session (--keep-free)",
		checkpoint.ErrNoSpace, float64(free)/mib, r.dir, float64(r.reserve+need)/mib, float64(r.reserve)/mib)
}

// Space returns how many bytes are free for this user on the disk of r, and how
// large it is.
func (r *Repository) Space() (free, total int64, err error) {
	dir := r.dir
	for {
		var s unix.Statfs_t
		err := unix.Statfs(dir, &s)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir) // it is yet to be made
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("free space in %s: %w", dir, err)
		}
		return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil
	}
}

// Size returns how many bytes the checkpoints of r take: manifests and packs.
func (r *Repository) Size() (int64, error) {
	total := int64(0)
	for _, dir := range []string{dirCheckpoints, dirPacks} {
		names, err := readDir(filepath.Join(r.dir, dir))
		if err != nil {
			return 0, err
		}
		for _, name := range names {
			info, err := os.Lstat(filepath.Join(r.dir, dir, name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
			if err == nil {
				total += info.Size()
			}
		}
	}
	return total, nil
}

// over returns which checkpoints are given up, because what is needed takes more
// than p.max; and whether so much is taken that packs must not hold much else.
func (p *pruner) over(packs, dead []usage, live marks) (victims []checkpoint.ID, tight bool, err error) {
	if p.max == 0 {
		return nil, false, nil
	}
	size, err := p.r.Size()
	for _, u := range dead {
		size -= u.size
	}
	if p.dry {
		size -= p.report.FreedBytes // they are still there
	}
	if err != nil || size <= p.max {
		return nil, false, err
	}
	needed := size
	for _, u := range packs {
		needed -= u.size - u.needed
	}
	// A little below, or it would be so every minute.
	most := p.max / 100 * tightBelow
	alone := p.r.index.alone(live)
	for i := len(p.expendable) - 1; i >= 0 && needed > most; i-- {
		id := p.expendable[i]
		needed -= alone[p.ranks[id]]
		victims = append(victims, id)
	}
	p.expendable = p.expendable[:len(p.expendable)-len(victims)]
	return victims, true, nil
}

// alone estimates, by the rank of a checkpoint, how many bytes on disk go when it
// goes after those of higher ranks.
func (x *index) alone(live marks) map[uint16]int64 {
	bytes := map[uint16]int64{}
	x.each(func(id checkpoint.Hash, p place) {
		if m, ok := live[keyOf(id)]; ok {
			bytes[m.rank] += p.stored()
		}
	})
	return bytes
}
