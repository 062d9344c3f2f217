package rpc

import (
	"context"
	"fmt"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// Bounds of the answer to PruneCheckpoints.
const (
	maxPrunedIDs = 1000
	maxBlocked   = 100
)

// UpdateCheckpoint pins a checkpoint or removes its pin.
func (s *checkpointService) UpdateCheckpoint(ctx context.Context, in *ckptv1.UpdateCheckpointRequest) (*ckptv1.UpdateCheckpointResponse, error) {
	if err := validSelector(in.GetSelector()); err != nil {
		return nil, err
	}
	e, err := s.backend.Pin(ctx, in.GetSelector(), in.GetPinned())
	if err != nil {
		return nil, err
	}
	return &ckptv1.UpdateCheckpointResponse{Checkpoint: basic(s.session, e)}, nil
}

// DeleteCheckpoint takes a full id only: no selector that could mean another
// checkpoint by now.
func (s *checkpointService) DeleteCheckpoint(ctx context.Context, in *ckptv1.DeleteCheckpointRequest) (*ckptv1.DeleteCheckpointResponse, error) {
	id, err := checkpoint.ParseID(text(in.GetId(), maxSelector))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", checkpoint.ErrInvalid, err)
	}
	freed, err := s.backend.Delete(ctx, id)
	if err != nil {
		return nil, err
	}
	return &ckptv1.DeleteCheckpointResponse{FreedBytes: freed}, nil
}

// PruneCheckpoints applies the retention rules.
func (s *checkpointService) PruneCheckpoints(ctx context.Context, in *ckptv1.PruneCheckpointsRequest) (*ckptv1.PruneCheckpointsResponse, error) {
	p, err := s.backend.Prune(ctx, in.GetDryRun())
	if err != nil {
		return nil, err
	}
	out := &ckptv1.PruneCheckpointsResponse{
		Deleted: int32(p.Count), Kept: int32(p.Kept), FreedBytes: p.FreedBytes, Blocked: texts(p.Blocked[:min(len(p.Blocked), maxBlocked)], maxWord),
	}
	out.DeletedIds, out.HeldIds = firstIDs(p.Deleted), firstIDs(p.Held)
	return out, nil
}

func firstIDs(ids []checkpoint.ID) []string {
	var first []string
	for _, id := range ids[:min(len(ids), maxPrunedIDs)] {
		first = append(first, string(id))
	}
	return first
}
