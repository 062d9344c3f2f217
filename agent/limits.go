package agent

import (
	"context"
	"errors"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
)

// Limits bound what the checkpoints of a session take, in bytes. 0 is no limit, and
// below 0 it depends on the size of the disk.
type Limits struct {
	// MaxSize is how much they take at most: above it the oldest go that may.
	MaxSize int64
	// KeepFree is how much of the disk they leave free: below it there is no new
	// one.
	KeepFree int64
}

// DefaultLimits leave most of a disk to the session: checkpoints that are full lose
// history, a disk that is full stops the user. A tenth and 4 GiB are what journald
// takes by default. 256 MiB are several times what a checkpoint brings that is not
// the first, and room for databases to grow and be saved once more; on a small disk
// a twentieth is what ext4 keeps for root.
func DefaultLimits() Limits { return Limits{MaxSize: -1, KeepFree: -1} }

// on returns the limits on a disk of so many bytes.
func (l Limits) on(total int64) Limits {
	if l.MaxSize < 0 {
		l.MaxSize = min(total/10, 4<<30)
	}
	if l.KeepFree < 0 {
		l.KeepFree = min(total/20, 256<<20)
	}
	return l
}

// begin begins a transaction. Where too little is free, it prunes first.
func (k *Keeper) begin(ctx context.Context, wanted []checkpoint.ID) (*repository.Tx, error) {
	tx, err := k.repo.Begin(ctx)
	if !errors.Is(err, checkpoint.ErrNoSpace) {
		return tx, err
	}
	if _, pruneErr := k.Prune(ctx, false, wanted...); pruneErr != nil {
		return nil, errors.Join(err, pruneErr)
	}
	return k.repo.Begin(ctx)
}
