package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

func durationOf(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

// testArchive is some random bytes over several messages.
func testArchive() []byte {
	b := make([]byte, 3*transferChunk+17)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// export reads an archive from offset.
func export(t *testing.T, c ckptv1.CheckpointServiceClient, offset int64) (*ckptv1.ExportHeader, []byte, error) {
	t.Helper()
	stream, err := c.ExportCheckpoint(ctxOf(t), &ckptv1.ExportCheckpointRequest{Offset: offset})
	if err != nil {
		return nil, nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	var data []byte
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return first.GetHeader(), data, nil
		}
		if err != nil {
			return first.GetHeader(), data, err
		}
		data = append(data, in.GetData()...)
	}
}

func TestExportFromAnyOffset(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.entries, m.archive = []checkpoint.Entry{testEntry(1)}, testArchive()
	c := ckptv1.NewCheckpointServiceClient(serve(t, m, Options{}).dial(t))
	size := int64(len(m.archive))
	for _, offset := range []int64{0, 1, transferChunk, size - 1, size} {
		header, data, err := export(t, c, offset)
		if err != nil {
			t.Fatal(err)
		}
		if header.GetSize() != size || header.GetSha256() != checkpoint.Sum(m.archive).String() || header.GetId() != string(m.entries[0].ID) {
			t.Errorf("header %v", header)
		}
		if !bytes.Equal(data, m.archive[offset:]) {
			t.Errorf("from %d: %d bytes that differ", offset, len(data))
		}
	}
	if _, _, err := export(t, c, size+1); !errors.Is(err, checkpoint.ErrInvalid) {
		t.Errorf("beyond the end: %v", err)
	}
}

// truncated is a backend whose archive ends early.
type truncated struct{ *memory }

func (b truncated) Export(ctx context.Context, selector string, offset int64) (Archive, error) {
	a, err := b.memory.Export(ctx, selector, offset)
	a.Size++
	return a, err
}

func TestExportThatEndsEarlyIsNoSuccess(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.entries, m.archive = []checkpoint.Entry{testEntry(1)}, testArchive()
	c := ckptv1.NewCheckpointServiceClient(serve(t, truncated{m}, Options{}).dial(t))
	if _, _, err := export(t, c, 0); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.entries = []checkpoint.Entry{testEntry(1)}
	archive := testArchive()
	c := NewClient(serve(t, m, Options{}).dial(t))
	h := ImportHeader{Size: int64(len(archive)), SHA256: checkpoint.Sum(archive)}
	got, err := c.Import(ctxOf(t), h, bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != m.entries[0].ID || !bytes.Equal(m.archive, archive) {
		t.Errorf("got %v and %d bytes", got.ID, len(m.archive))
	}
	h.SHA256 = checkpoint.Sum([]byte("something else"))
	if _, err := c.Import(ctxOf(t), h, bytes.NewReader(archive)); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("with a digest that is not its own: %v", err)
	}
}

// An import whose connection breaks goes on where it was, on another one.
func TestImportResumesAfterABrokenConnection(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.entries = []checkpoint.Entry{testEntry(1)}
	archive := testArchive()
	sum := checkpoint.Sum(archive)
	r := serve(t, m, Options{})

	conn, err := Dial(t.Context(), r.socket)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := ckptv1.NewCheckpointServiceClient(conn).ImportCheckpoint(ctxOf(t))
	if err != nil {
		t.Fatal(err)
	}
	sendHeader(t, stream, int64(len(archive)), sum.String())
	if first, err := stream.Recv(); err != nil || first.GetResumeOffset() != 0 {
		t.Fatalf("resume from %v, %v", first, err)
	}
	if err := send(stream, dataOf(archive[:transferChunk])); err != nil {
		t.Fatal(err)
	}
	// The outside world gives no event for "the other side has written it".
	for end := time.Now().Add(deadline); m.arrived(sum) < transferChunk; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the first chunk never arrived")
		}
	}
	conn.Close()

	// Only the rest is read: the part that is there is poisoned.
	rest := bytes.Clone(archive)
	clear(rest[:transferChunk])
	got, err := NewClient(r.dial(t)).Import(ctxOf(t), ImportHeader{Size: int64(len(archive)), SHA256: sum}, bytes.NewReader(rest))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != m.entries[0].ID || !bytes.Equal(m.archive, archive) {
		t.Errorf("what was imported differs")
	}
}

func sendHeader(t *testing.T, stream ckptv1.CheckpointService_ImportCheckpointClient, size int64, sum string) {
	t.Helper()
	err := stream.Send(&ckptv1.ImportCheckpointRequest{Part: &ckptv1.ImportCheckpointRequest_Header{Header: &ckptv1.ImportHeader{Size: size, Sha256: sum}}})
	if err != nil {
		t.Fatal(err)
	}
}

func dataOf(b []byte) *ckptv1.ImportCheckpointRequest {
	return &ckptv1.ImportCheckpointRequest{Part: &ckptv1.ImportCheckpointRequest_Data{Data: b}}
}

// Callers that do not keep to the protocol are told so, and commit nothing.
func TestImportProtocolErrors(t *testing.T) {
	t.Parallel()
	sum := checkpoint.Sum([]byte("abc")).String()
	for name, talk := range map[string]func(t *testing.T, s ckptv1.CheckpointService_ImportCheckpointClient){
		"nothing at all": func(*testing.T, ckptv1.CheckpointService_ImportCheckpointClient) {},
		"data first": func(t *testing.T, s ckptv1.CheckpointService_ImportCheckpointClient) {
			t.Helper()
			sendData(t, s, "abc")
		},
		"a size of 0": func(t *testing.T, s ckptv1.CheckpointService_ImportCheckpointClient) {
			t.Helper()
			sendHeader(t, s, 0, sum)
		},
		"an impossible size": func(t *testing.T, s ckptv1.CheckpointService_ImportCheckpointClient) {
			t.Helper()
			sendHeader(t, s, checkpoint.MaxSize+1, sum)
		},
		"no digest": func(t *testing.T, s ckptv1.CheckpointService_ImportCheckpointClient) {
			t.Helper()
			sendHeader(t, s, 3, "abc")
		},
		"two headers": func(t *testing.T, s ckptv1.CheckpointService_ImportCheckpointClient) {
			t.Helper()
			sendHeader(t, s, 3, sum)
			sendHeader(t, s, 3, sum)
		},
		"too little": func(t *testing.T, s ckptv1.CheckpointService_ImportCheckpointClient) {
			t.Helper()
			sendHeader(t, s, 3, sum)
			sendData(t, s, "ab")
		},
		"too much": func(t *testing.T, s ckptv1.CheckpointService_ImportCheckpointClient) {
			t.Helper()
			sendHeader(t, s, 3, sum)
			sendData(t, s, "abcd")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMemory()
			m.entries = []checkpoint.Entry{testEntry(1)}
			stream, err := ckptv1.NewCheckpointServiceClient(serve(t, m, Options{}).dial(t)).ImportCheckpoint(ctxOf(t))
			if err != nil {
				t.Fatal(err)
			}
			talk(t, stream)
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			for err == nil {
				var in *ckptv1.ImportCheckpointResponse
				if in, err = stream.Recv(); in.GetCheckpoint() != nil {
					t.Errorf("it committed %v", in)
				}
			}
			if status.Code(err) != codes.InvalidArgument || !errors.Is(err, checkpoint.ErrInvalid) {
				t.Errorf("got %v", err)
			}
			if m.archive != nil {
				t.Error("something was committed")
			}
		})
	}
}

func sendData(t *testing.T, s ckptv1.CheckpointService_ImportCheckpointClient, data string) {
	t.Helper()
	if err := s.Send(dataOf([]byte(data))); err != nil {
		t.Fatal(err)
	}
}
