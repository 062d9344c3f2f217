package rpc

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// checkpointService takes, shows and moves checkpoints; transfer.go has its
// streams.
type checkpointService struct {
	ckptv1.UnimplementedCheckpointServiceServer
	backend Backend
	session string
}

// Bounds of what a caller writes into a manifest or a journal, in bytes.
const (
	maxRequestID     = 128
	maxReason        = 64
	maxDeclineReason = 256
	maxSelector      = 128
)

// validID checks a request id, which may be empty.
func validID(id string) error {
	if len(id) > maxRequestID {
		return fmt.Errorf("%w: request_id has %d bytes, at most %d are allowed", checkpoint.ErrInvalid, len(id), maxRequestID)
	}
	return nil
}

// validSelector bounds a selector; what it means is the repository's.
func validSelector(s string) error {
	if len(s) > maxSelector {
		return fmt.Errorf("%w: selector has %d bytes, at most %d are allowed", checkpoint.ErrInvalid, len(s), maxSelector)
	}
	return nil
}

// CreateCheckpoint bounds what the caller writes into a manifest, and the time
// it takes.
func (s *checkpointService) CreateCheckpoint(ctx context.Context, in *ckptv1.CreateCheckpointRequest) (*ckptv1.CreateCheckpointResponse, error) {
	if err := validID(in.GetRequestId()); err != nil {
		return nil, err
	}
	if len(in.GetReason()) > maxReason {
		return nil, fmt.Errorf("%w: reason has %d bytes, at most %d are allowed", checkpoint.ErrInvalid, len(in.GetReason()), maxReason)
	}
	timeout, err := span("timeout", in.GetTimeout())
	if err != nil {
		return nil, err
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	created, err := s.backend.Create(ctx, CreateRequest{
		Reason: cmp.Or(in.GetReason(), "request"), Pin: in.GetPin(), RequestID: in.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &ckptv1.CreateCheckpointResponse{
		Checkpoint: basic(s.session, created.Entry), Confirmed: created.Confirmed, DeclinedId: string(created.Declined),
	}, nil
}

// ListCheckpoints starts after the last one that the caller has seen.
func (s *checkpointService) ListCheckpoints(ctx context.Context, in *ckptv1.ListCheckpointsRequest) (*ckptv1.ListCheckpointsResponse, error) {
	p, err := newPage(in.GetPageSize(), maxListBytes)
	if err != nil {
		return nil, err
	}
	var from after
	resumed, err := decodeToken(in.GetPageToken(), &from)
	if err != nil {
		return nil, err
	}
	entries, err := s.backend.List(ctx)
	if err != nil {
		return nil, err
	}
	if resumed {
		last := checkpoint.Entry{Epoch: from.Epoch, Seq: from.Seq, ID: from.ID}
		start := slices.IndexFunc(entries, func(e checkpoint.Entry) bool { return e.Compare(last) < 0 })
		if start < 0 {
			start = len(entries)
		}
		entries = entries[start:]
	}
	out := &ckptv1.ListCheckpointsResponse{}
	for i, e := range entries {
		c := basic(s.session, e)
		if !p.take(c) {
			last := entries[i-1]
			out.NextPageToken, err = encodeToken(after{last.Epoch, last.Seq, last.ID})
			return out, err
		}
		out.Checkpoints = append(out.Checkpoints, c)
	}
	return out, nil
}

// GetCheckpoint answers with the checkpoint and the first pages of its lists,
// or, to a page token, with the page that it names.
func (s *checkpointService) GetCheckpoint(ctx context.Context, in *ckptv1.GetCheckpointRequest) (*ckptv1.GetCheckpointResponse, error) {
	if err := validSelector(in.GetSelector()); err != nil {
		return nil, err
	}
	p, err := newPage(in.GetPageSize(), maxPageBytes)
	if err != nil {
		return nil, err
	}
	var files, threads offset
	moreFiles, err := decodeToken(in.GetFilesPageToken(), &files)
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	moreThreads, err := decodeToken(in.GetThreadsPageToken(), &threads)
	if err != nil {
		return nil, fmt.Errorf("threads: %w", err)
	}
	found, err := s.backend.Get(ctx, in.GetSelector())
	if err != nil {
		return nil, err
	}
	first := !moreFiles && !moreThreads
	out := &ckptv1.GetCheckpointResponse{}
	switch {
	case first && in.GetView() != ckptv1.CheckpointView_CHECKPOINT_VIEW_FULL:
		out.Checkpoint = basic(s.session, found.Entry)
		return out, nil
	case first:
		out.Checkpoint = full(found)
	default:
		out.Checkpoint = &ckptv1.Checkpoint{Id: string(found.Entry.ID)}
	}
	if first || moreFiles {
		if err := s.pageFiles(ctx, found.Manifest, files, p, out); err != nil {
			return nil, err
		}
	}
	if first || moreThreads {
		if err := s.pageThreads(ctx, found.Manifest, threads, p, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// start returns where a page starts in a list of m.
func (o offset) start(m *checkpoint.Manifest) (int, error) {
	if o.ID != "" && o.ID != m.ID || o.N < 0 {
		return 0, fmt.Errorf("%w: page_token is of checkpoint %s, the selector means %s", checkpoint.ErrInvalid, o.ID, m.ID)
	}
	return o.N, nil
}

// pageFiles adds the page of m's files that starts at from.
func (s *checkpointService) pageFiles(ctx context.Context, m *checkpoint.Manifest, from offset, p page, out *ckptv1.GetCheckpointResponse) error {
	start, err := from.start(m)
	if err != nil {
		return err
	}
	n := 0
	for _, name := range checkpoint.Names() {
		if m.Components.FileSet(name) == nil {
			continue
		}
		for f, err := range s.backend.Files(ctx, m, name) {
			if err != nil {
				return err
			}
			if n++; n <= start {
				continue
			}
			one := file(name, f)
			if !p.take(one) {
				out.NextFilesPageToken, err = encodeToken(offset{m.ID, n - 1})
				return err
			}
			out.Files = append(out.Files, one)
		}
	}
	return nil
}

// pageThreads adds the page of m's threads that starts at from.
func (s *checkpointService) pageThreads(ctx context.Context, m *checkpoint.Manifest, from offset, p page, out *ckptv1.GetCheckpointResponse) error {
	start, err := from.start(m)
	if err != nil {
		return err
	}
	if m.Components.Zed == nil || m.Components.Zed.Threads == nil {
		return nil
	}
	n := 0
	for t, err := range s.backend.Threads(ctx, m) {
		if err != nil {
			return err
		}
		if n++; n <= start {
			continue
		}
		one := thread(t)
		if !p.take(one) {
			out.NextThreadsPageToken, err = encodeToken(offset{m.ID, n - 1})
			return err
		}
		out.Threads = append(out.Threads, one)
	}
	return nil
}
