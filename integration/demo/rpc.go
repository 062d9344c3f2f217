package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// importPiece is how much of an archive one message carries, in bytes: well
// below the megabyte that a message may have.
const importPiece = 256 << 10

// dial connects to the agent in the box, as an orchestrator does from outside.
func (b *box) dial() (*grpc.ClientConn, error) {
	socket := filepath.Join(b.runtime(), "helix-ckpt.sock")
	return grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// awaitAgent returns when the agent answers.
func awaitAgent(ctx context.Context, conn *grpc.ClientConn) error {
	var last error
	err := await(ctx, "the agent to answer", func() bool {
		_, last = ckptv1.NewSessionServiceClient(conn).GetStatus(ctx, &ckptv1.GetStatusRequest{})
		return last == nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// importArchive sends an archive and returns the id of its checkpoint.
func importArchive(ctx context.Context, conn *grpc.ClientConn, file string) (string, error) {
	archive, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	stream, err := ckptv1.NewCheckpointServiceClient(conn).ImportCheckpoint(ctx)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(archive)
	header := &ckptv1.ImportHeader{Size: int64(len(archive)), Sha256: hex.EncodeToString(sum[:])}
	err = stream.Send(&ckptv1.ImportCheckpointRequest{Part: &ckptv1.ImportCheckpointRequest_Header{Header: header}})
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	answer, err := stream.Recv()
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	for rest := archive[answer.GetResumeOffset():]; len(rest) > 0; {
		piece := rest[:min(len(rest), importPiece)]
		rest = rest[len(piece):]
		err := stream.Send(&ckptv1.ImportCheckpointRequest{Part: &ckptv1.ImportCheckpointRequest_Data{Data: piece}})
		if errors.Is(err, io.EOF) {
			break // the reason comes with Recv
		} else if err != nil {
			return "", err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return "", err
	}
	if answer, err = stream.Recv(); err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	return answer.GetCheckpoint().GetId(), nil
}

// restore brings a checkpoint back and narrates its events. Whatever the
// report names as not restored is an error.
func restore(ctx context.Context, conn *grpc.ClientConn, id string, tell narrator) error {
	stream, err := ckptv1.NewRestoreServiceClient(conn).Restore(ctx, &ckptv1.RestoreRequest{
		RequestId: "demo-restore",
		Options: &ckptv1.RestoreOptions{
			Selector: id,
			Scope:    ckptv1.RestoreScope_RESTORE_SCOPE_ALL,
			Wait:     durationpb.New(patience),
		},
	})
	if err != nil {
		return err
	}
	var phases []string
	last := time.Now()
	for {
		event, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		switch event := event.GetEvent().(type) {
		case *ckptv1.RestoreResponse_Phase:
			name := strings.ToLower(strings.TrimPrefix(event.Phase.String(), "RESTORE_PHASE_"))
			phases = append(phases, fmt.Sprintf("%s +%d ms", name, time.Since(last).Milliseconds()))
			last = time.Now()
		case *ckptv1.RestoreResponse_Warning:
			tell.line("warning: %s", event.Warning)
		case *ckptv1.RestoreResponse_Report:
			tell.line("%s", strings.Join(phases, ", "))
			return verdictOf(event.Report)
		}
	}
}

func verdictOf(report *ckptv1.RestoreReport) error {
	var missing []error
	if report.GetOutcome() != ckptv1.RestorePhase_RESTORE_PHASE_DONE {
		missing = append(missing, fmt.Errorf("the restore ended as %s %s", report.GetOutcome(), report.GetError()))
	}
	for _, item := range report.GetItems() {
		if item.GetResult() != ckptv1.RestoreResult_RESTORE_RESULT_RESTORED {
			missing = append(missing, fmt.Errorf("%s %s: %s: %s", item.GetName(), item.GetLabel(), item.GetResult(), item.GetReason()))
		}
	}
	return errors.Join(missing...)
}
