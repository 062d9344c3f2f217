package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// VerifyRequest says what to read back.
type VerifyRequest struct {
	// Selector is one checkpoint; it does not count with All.
	Selector string
	All      bool
	// Repair takes damaged files out of use.
	Repair bool
}

// VerifyEvent is one event of a verification; one field is set. What is damaged
// and repaired comes before the report, which ends it.
type VerifyEvent struct {
	Progress *Progress
	Damage   *Damage
	Repaired *Repaired
	Report   *VerifyReport
}

// Progress is how far something is, in bytes. Total may grow.
type Progress struct{ Done, Total int64 }

// MaxHurt is how many checkpoints a Damage names at most.
const MaxHurt = 100

// Damage is something that is not what it was when it was written.
type Damage struct {
	// File is relative to the session's directory; empty where it is not one file.
	File string `json:"file,omitempty"`
	// Checkpoints are those that it touches, newest first, at most MaxHurt, and
	// Hurt how many there are.
	Checkpoints []checkpoint.ID `json:"checkpoints,omitempty"`
	Hurt        int             `json:"hurt"`
	Component   string          `json:"component,omitempty"`
	Path        string          `json:"path,omitempty"`
	Problem     string          `json:"problem"`
	// Repaired: a repair has ended it.
	Repaired bool `json:"repaired,omitempty"`
}

// Repaired is a damaged file that was taken out of use: see
// repository.Repaired.
type Repaired struct {
	File       string `json:"file"`
	Quarantine string `json:"quarantine"`
	Chunks     int    `json:"chunks,omitempty"`
	Kept       int    `json:"kept,omitempty"`
	Rewritten  bool   `json:"rewritten,omitempty"`
}

// VerifyReport says what was read.
type VerifyReport struct {
	// Checkpoints were read, and Damaged of them cannot be restored in full.
	Checkpoints int   `json:"checkpoints"`
	Damaged     int   `json:"damaged"`
	Packs       int   `json:"packs"`
	PackBytes   int64 `json:"pack_bytes"`
	PlainBytes  int64 `json:"plain_bytes"`
	// Orphans is what no checkpoint needs; nil where that was not counted.
	Orphans *Orphans `json:"orphans,omitempty"`
}

// Orphans is what no checkpoint needs: whole packs, and chunks in all packs.
type Orphans struct {
	Packs     int   `json:"packs"`
	PackBytes int64 `json:"pack_bytes"`
	Chunks    int   `json:"chunks"`
}

// VerifyCheckpoint sends what the Backend tells. When the caller is lost, the
// reading ends.
func (s *checkpointService) VerifyCheckpoint(in *ckptv1.VerifyCheckpointRequest, stream grpc.ServerStreamingServer[ckptv1.VerifyCheckpointResponse]) error {
	if err := validSelector(in.GetSelector()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	var lost error
	err := s.backend.Verify(ctx, VerifyRequest{Selector: in.GetSelector(), All: in.GetAll(), Repair: in.GetRepair()}, func(e VerifyEvent) {
		if lost == nil {
			if lost = stream.Send(verifyEvent(e)); lost != nil {
				cancel()
			}
		}
	})
	if lost != nil {
		return lost
	}
	return err
}

func verifyEvent(e VerifyEvent) *ckptv1.VerifyCheckpointResponse {
	switch {
	case e.Progress != nil:
		p := &ckptv1.TransferProgress{DoneBytes: e.Progress.Done, TotalBytes: e.Progress.Total}
		return &ckptv1.VerifyCheckpointResponse{Event: &ckptv1.VerifyCheckpointResponse_Progress{Progress: p}}
	case e.Damage != nil:
		d := &ckptv1.Damage{
			Place: text(e.Damage.File, maxWord), Problem: text(e.Damage.Problem, maxWord), Checkpoints: int32(e.Damage.Hurt),
			Component: e.Damage.Component, Path: text(e.Damage.Path, maxWord), Repaired: e.Damage.Repaired,
		}
		for _, id := range e.Damage.Checkpoints[:min(len(e.Damage.Checkpoints), MaxHurt)] {
			d.CheckpointIds = append(d.CheckpointIds, string(id))
		}
		return &ckptv1.VerifyCheckpointResponse{Event: &ckptv1.VerifyCheckpointResponse_Damage{Damage: d}}
	case e.Repaired != nil:
		r := &ckptv1.Repaired{
			Place: text(e.Repaired.File, maxWord), Quarantine: text(e.Repaired.Quarantine, maxWord),
			Chunks: int32(e.Repaired.Chunks), Kept: int32(e.Repaired.Kept), Rewritten: e.Repaired.Rewritten,
		}
		return &ckptv1.VerifyCheckpointResponse{Event: &ckptv1.VerifyCheckpointResponse_Repaired{Repaired: r}}
	}
	r := &ckptv1.VerifyReport{
		Checkpoints: int32(e.Report.Checkpoints), Damaged: int32(e.Report.Damaged), PlainBytes: e.Report.PlainBytes,
		Packs: int32(e.Report.Packs), PackBytes: e.Report.PackBytes,
	}
	if o := e.Report.Orphans; o != nil {
		r.OrphansCounted, r.Orphans, r.OrphanBytes, r.OrphanChunks = true, int32(o.Packs), o.PackBytes, int32(o.Chunks)
	}
	return &ckptv1.VerifyCheckpointResponse{Event: &ckptv1.VerifyCheckpointResponse_Report{Report: r}}
}

// Verify is Backend.Verify. The end of ctx ends it, but no repair that has begun.
func (c *Client) Verify(ctx context.Context, r VerifyRequest, emit func(VerifyEvent)) error {
	stream, err := c.checkpoints.VerifyCheckpoint(ctx, &ckptv1.VerifyCheckpointRequest{Selector: r.Selector, All: r.All, Repair: r.Repair})
	ended := false
	for err == nil {
		var in *ckptv1.VerifyCheckpointResponse
		if in, err = stream.Recv(); err == nil {
			e := verifyEventOf(in)
			ended = ended || e.Report != nil
			emit(e)
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if !ended {
		return fmt.Errorf("verify: %w before its report", ErrNoAgent)
	}
	return nil
}

// verifyEventOf is the inverse of verifyEvent. An event that this program does
// not know has no field set.
func verifyEventOf(in *ckptv1.VerifyCheckpointResponse) VerifyEvent {
	switch e := in.GetEvent().(type) {
	case *ckptv1.VerifyCheckpointResponse_Progress:
		return VerifyEvent{Progress: &Progress{e.Progress.GetDoneBytes(), e.Progress.GetTotalBytes()}}
	case *ckptv1.VerifyCheckpointResponse_Damage:
		d := &Damage{
			File: e.Damage.GetPlace(), Hurt: int(e.Damage.GetCheckpoints()), Component: e.Damage.GetComponent(), Path: e.Damage.GetPath(),
			Problem: e.Damage.GetProblem(), Repaired: e.Damage.GetRepaired(),
		}
		for _, id := range e.Damage.GetCheckpointIds() {
			d.Checkpoints = append(d.Checkpoints, checkpoint.ID(id))
		}
		return VerifyEvent{Damage: d}
	case *ckptv1.VerifyCheckpointResponse_Repaired:
		r := e.Repaired
		return VerifyEvent{Repaired: &Repaired{r.GetPlace(), r.GetQuarantine(), int(r.GetChunks()), int(r.GetKept()), r.GetRewritten()}}
	case *ckptv1.VerifyCheckpointResponse_Report:
		r := &VerifyReport{
			Checkpoints: int(e.Report.GetCheckpoints()), Damaged: int(e.Report.GetDamaged()), Packs: int(e.Report.GetPacks()),
			PackBytes: e.Report.GetPackBytes(), PlainBytes: e.Report.GetPlainBytes(),
		}
		if e.Report.GetOrphansCounted() {
			r.Orphans = &Orphans{int(e.Report.GetOrphans()), e.Report.GetOrphanBytes(), int(e.Report.GetOrphanChunks())}
		}
		return VerifyEvent{Report: r}
	}
	return VerifyEvent{}
}
