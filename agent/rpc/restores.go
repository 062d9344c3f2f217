package rpc

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// restoreService brings a session back.
type restoreService struct {
	ckptv1.UnimplementedRestoreServiceServer
	backend Backend
}

// Restore starts a restore or attaches to one. The end of the stream's context
// ends this view of it only.
func (s *restoreService) Restore(in *ckptv1.RestoreRequest, stream grpc.ServerStreamingServer[ckptv1.RestoreResponse]) error {
	r, err := restoreRequest(in)
	if err != nil {
		return err
	}
	if err := validSelector(r.Selector); err != nil {
		return err
	}
	events, err := s.backend.Restore(stream.Context(), r)
	if err != nil {
		return err
	}
	for e, err := range events {
		if err != nil {
			return err
		}
		if err := stream.Send(restoreResponse(e)); err != nil {
			return err
		}
	}
	return stream.Context().Err()
}

// DeclineRestore bounds what the caller writes into the journal.
func (s *restoreService) DeclineRestore(ctx context.Context, in *ckptv1.DeclineRestoreRequest) (*ckptv1.DeclineRestoreResponse, error) {
	if len(in.GetReason()) > maxDeclineReason {
		return nil, fmt.Errorf("%w: reason has %d bytes, at most %d are allowed", checkpoint.ErrInvalid, len(in.GetReason()), maxDeclineReason)
	}
	id, err := s.backend.DeclineRestore(ctx, in.GetReason())
	if err != nil {
		return nil, err
	}
	return &ckptv1.DeclineRestoreResponse{DeclinedId: string(id)}, nil
}
