package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/session"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// withAgent calls do with a client of the agent that holds the script's session.
func withAgent(ts *testscript.TestScript, do func(context.Context, ckptv1.CheckpointServiceClient) error) {
	holder, held := session.Holder(ts.Getenv("SESSION"))
	if !held {
		ts.Fatalf("no agent holds %s", ts.Getenv("SESSION"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := rpc.Dial(ctx, holder.Socket)
	ts.Check(err)
	defer conn.Close()
	ts.Check(do(ctx, ckptv1.NewCheckpointServiceClient(conn)))
}

// upload ends its side of the stream when it has sent so many bytes: the agent's
// answer then says that it has them.
func upload(ts *testscript.TestScript, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	withAgent(ts, func(ctx context.Context, c ckptv1.CheckpointServiceClient) error {
		stream, err := c.ImportCheckpoint(ctx)
		if err != nil {
			return err
		}
		header := &ckptv1.ImportHeader{Size: int64(len(b)), Sha256: checkpoint.Sum(b).String()}
		if err := stream.Send(&ckptv1.ImportCheckpointRequest{Part: &ckptv1.ImportCheckpointRequest_Header{Header: header}}); err != nil {
			return err
		}
		first, err := stream.Recv()
		if err != nil {
			return err
		}
		rest := b[first.GetResumeOffset():]
		if err := stream.Send(&ckptv1.ImportCheckpointRequest{Part: &ckptv1.ImportCheckpointRequest_Data{Data: rest[:min(n, len(rest))]}}); err != nil {
			return err
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		_, said := stream.Recv()
		_, err = fmt.Fprintf(ts.Stdout(), "from %d: %v\n", first.GetResumeOffset(), said)
		return err
	})
}

func download(ts *testscript.TestScript, args []string) {
	offset, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[1]), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	ts.Check(err)
	defer f.Close()
	withAgent(ts, func(ctx context.Context, c ckptv1.CheckpointServiceClient) error {
		stream, err := c.ExportCheckpoint(ctx, &ckptv1.ExportCheckpointRequest{Selector: "latest", Offset: offset})
		if err != nil {
			return err
		}
		for {
			in, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if h := in.GetHeader(); h != nil {
				fmt.Fprintln(ts.Stdout(), h.GetSha256(), h.GetSize())
			}
			if _, err := f.Write(in.GetData()); err != nil {
				return err
			}
		}
	})
}
