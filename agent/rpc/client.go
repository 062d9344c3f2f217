package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
	"github.com/helixml/helix-ckpt/restore"
)

// Dial connects to the agent on the socket at path, and returns ErrNoAgent when
// nobody answers there. Errors of calls on the connection are those that the
// agent's Backend returned, as far as package checkpoint has a name for them.
func Dial(ctx context.Context, path string) (*grpc.ClientConn, error) {
	probe, err := dialSocket(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("%w on %s: start one with 'helix-ckpt run'", ErrNoAgent, path)
	case err != nil:
		return nil, fmt.Errorf("connect to the agent: %w", err)
	}
	probe.Close()
	return grpc.NewClient("passthrough:///helix-ckpt",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dialSocket(ctx, path) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the peer check is the server's
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithUnaryInterceptor(fromStatusUnary),
		grpc.WithStreamInterceptor(fromStatusStream),
		grpc.WithNoProxy(),
	)
}

// Client asks an agent for what only the agent may do while it runs, in the
// words of Backend.
type Client struct {
	checkpoints ckptv1.CheckpointServiceClient
	restores    ckptv1.RestoreServiceClient
	sessions    ckptv1.SessionServiceClient
}

// NewClient returns a client on a connection made by Dial.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{
		ckptv1.NewCheckpointServiceClient(conn), ckptv1.NewRestoreServiceClient(conn), ckptv1.NewSessionServiceClient(conn),
	}
}

// Create is Backend.Create; a deadline of ctx travels with it.
func (c *Client) Create(ctx context.Context, r CreateRequest) (Created, error) {
	out, err := c.checkpoints.CreateCheckpoint(ctx, &ckptv1.CreateCheckpointRequest{Reason: r.Reason, Pin: r.Pin, RequestId: r.RequestID})
	if err != nil {
		return Created{}, err
	}
	return Created{Entry: entry(out.GetCheckpoint()), Confirmed: out.GetConfirmed(), Declined: checkpoint.ID(out.GetDeclinedId())}, nil
}

// Pin is Backend.Pin.
func (c *Client) Pin(ctx context.Context, selector string, pinned bool) (checkpoint.Entry, error) {
	out, err := c.checkpoints.UpdateCheckpoint(ctx, &ckptv1.UpdateCheckpointRequest{Selector: selector, Pinned: pinned})
	if err != nil {
		return checkpoint.Entry{}, err
	}
	return entry(out.GetCheckpoint()), nil
}

// Delete is Backend.Delete.
func (c *Client) Delete(ctx context.Context, id checkpoint.ID) (int64, error) {
	out, err := c.checkpoints.DeleteCheckpoint(ctx, &ckptv1.DeleteCheckpointRequest{Id: string(id)})
	return out.GetFreedBytes(), err
}

// Prune is Backend.Prune.
func (c *Client) Prune(ctx context.Context, dryRun bool) (Pruned, error) {
	out, err := c.checkpoints.PruneCheckpoints(ctx, &ckptv1.PruneCheckpointsRequest{DryRun: dryRun})
	if err != nil {
		return Pruned{}, err
	}
	p := Pruned{Count: int(out.GetDeleted()), Kept: int(out.GetKept()), FreedBytes: out.GetFreedBytes(), Blocked: out.GetBlocked()}
	for _, id := range out.GetDeletedIds() {
		p.Deleted = append(p.Deleted, checkpoint.ID(id))
	}
	for _, id := range out.GetHeldIds() {
		p.Held = append(p.Held, checkpoint.ID(id))
	}
	return p, nil
}

// Import sends the archive that h describes and returns its checkpoint. It
// resumes where an earlier import of the same archive broke off.
func (c *Client) Import(ctx context.Context, h ImportHeader, archive io.ReaderAt) (checkpoint.Entry, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.checkpoints.ImportCheckpoint(ctx)
	if err != nil {
		return checkpoint.Entry{}, err
	}
	header := &ckptv1.ImportHeader{Size: h.Size, Sha256: h.SHA256.String()}
	if err := send(stream, &ckptv1.ImportCheckpointRequest{Part: &ckptv1.ImportCheckpointRequest_Header{Header: header}}); err != nil {
		return checkpoint.Entry{}, err
	}
	first, err := stream.Recv()
	if err != nil {
		return checkpoint.Entry{}, err
	}
	rest := io.NewSectionReader(archive, first.GetResumeOffset(), h.Size-first.GetResumeOffset())
	buf := make([]byte, transferChunk)
	for {
		n, err := io.ReadFull(rest, buf)
		if n > 0 {
			if err := send(stream, &ckptv1.ImportCheckpointRequest{Part: &ckptv1.ImportCheckpointRequest_Data{Data: buf[:n]}}); err != nil {
				return checkpoint.Entry{}, err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return checkpoint.Entry{}, fmt.Errorf("read the archive: %w", err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return checkpoint.Entry{}, err
	}
	last, err := stream.Recv()
	if err != nil {
		return checkpoint.Entry{}, err
	}
	if last.GetCheckpoint() == nil {
		return checkpoint.Entry{}, errors.New("import: the agent ended the call without a checkpoint")
	}
	return entry(last.GetCheckpoint()), nil
}

// send sends m; when the other side has ended the call, it returns why.
func send(stream grpc.BidiStreamingClient[ckptv1.ImportCheckpointRequest, ckptv1.ImportCheckpointResponse], m *ckptv1.ImportCheckpointRequest) error {
	err := stream.Send(m)
	if errors.Is(err, io.EOF) {
		if _, why := stream.Recv(); why != nil {
			return why
		}
	}
	return err
}

// Restore is Backend.Restore. Leaving the sequence, or the end of ctx, leaves
// the restore to itself.
func (c *Client) Restore(ctx context.Context, r RestoreRequest) iter.Seq2[restore.Event, error] {
	return func(yield func(restore.Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.restores.Restore(ctx, restoreRequestOf(r))
		for err == nil {
			var in *ckptv1.RestoreResponse
			if in, err = stream.Recv(); err == nil && !yield(restoreEvent(in), nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(restore.Event{}, err)
		}
	}
}

// DeclineRestore is Backend.DeclineRestore.
func (c *Client) DeclineRestore(ctx context.Context, reason string) (checkpoint.ID, error) {
	out, err := c.restores.DeclineRestore(ctx, &ckptv1.DeclineRestoreRequest{Reason: reason})
	return checkpoint.ID(out.GetDeclinedId()), err
}

// Status is Backend.Status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	out, err := c.sessions.GetStatus(ctx, &ckptv1.GetStatusRequest{})
	if err != nil {
		return Status{}, err
	}
	return statusOf(out.GetStatus()), nil
}
