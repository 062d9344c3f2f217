package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds what a test waits for; it is no measurement.
const deadline = 20 * time.Second

// buffer is a log that tests can read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running is a server on a real socket in a directory of its own.
type running struct {
	socket string
	log    *buffer
	stop   func() error
}

// serve starts one for backend and stops it when the test ends.
func serve(t *testing.T, backend Backend, o Options) *running {
	t.Helper()
	r := &running{socket: filepath.Join(t.TempDir(), "helix-ckpt.sock"), log: &buffer{}}
	o.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.StopTimeout == 0 {
		o.StopTimeout = deadline
	}
	l, err := Listen(t.Context(), r.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- NewServer(backend, o).Serve(ctx, l) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return r
}

// dial connects to it.
func (r *running) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := Dial(t.Context(), r.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func ctxOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func testEntry(seq uint64) checkpoint.Entry {
	created := time.Date(2026, 11, 23, 10, 15, 0, 0, time.UTC).Add(time.Duration(seq) * time.Second)
	return checkpoint.Entry{
		ID: checkpoint.ID(fmt.Sprintf("%s-%08x", created.Format("20060102T150405.000Z"), seq)), Epoch: 1, Seq: seq, Created: created, Reason: "interval",
		Components: map[string]checkpoint.State{
			"zed": checkpoint.OK, "windows": checkpoint.Carried, "layout": checkpoint.Carried, "conversations": checkpoint.Absent, "files": checkpoint.Absent,
		},
		PlainBytes: 10, NewBytes: 5, ManifestSHA256: checkpoint.Sum([]byte{byte(seq)}),
	}
}

func TestServerSaysWhatItServes(t *testing.T) {
	t.Parallel()
	conn := serve(t, newMemory(), Options{Reflection: true}).dial(t)

	services := []string{"helix.ckpt.v1.CheckpointService", "helix.ckpt.v1.RestoreService", "helix.ckpt.v1.SessionService"}
	for _, name := range append([]string{""}, services...) {
		got, err := healthv1.NewHealthClient(conn).Check(ctxOf(t), &healthv1.HealthCheckRequest{Service: name})
		if err != nil || got.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", name, got.GetStatus(), err)
		}
	}

	listed, err := listServices(ctxOf(t), conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(services, "grpc.health.v1.Health") {
		if !slices.Contains(listed, name) {
			t.Errorf("reflection lists %v, without %s", listed, name)
		}
	}
}

func TestReflectionIsOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	conn := serve(t, newMemory(), Options{}).dial(t)
	if _, err := listServices(ctxOf(t), conn); status.Code(err) != codes.Unimplemented {
		t.Errorf("reflection: %v, want UNIMPLEMENTED", err)
	}
}

// listServices asks by the reflection protocol, as grpcurl does.
func listServices(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	if err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	return names, nil
}

// Every method of the services either works or says that it does not exist yet,
// so that a method forgotten in a refactoring is noticed.
func TestMethodsThatAreNotBuiltSaySo(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.fail = checkpoint.ErrNothing
	conn := serve(t, m, Options{}).dial(t)
	works := []string{
		"CreateCheckpoint", "UpdateCheckpoint", "DeleteCheckpoint", "PruneCheckpoints", "VerifyCheckpoint", "ListCheckpoints", "GetCheckpoint", "ExportCheckpoint", "ImportCheckpoint",
		"Restore", "DeclineRestore", "GetStatus",
	}
	for _, d := range []grpc.ServiceDesc{ckptv1.CheckpointService_ServiceDesc, ckptv1.RestoreService_ServiceDesc, ckptv1.SessionService_ServiceDesc} {
		for _, method := range methods(d) {
			err := call(ctxOf(t), conn, "/"+d.ServiceName+"/"+method)
			unimplemented := status.Code(err) == codes.Unimplemented
			if unimplemented == slices.Contains(works, method) {
				t.Errorf("%s: %v", method, err)
			}
		}
	}
}

func methods(d grpc.ServiceDesc) []string {
	var names []string
	for _, m := range d.Methods {
		names = append(names, m.MethodName)
	}
	for _, s := range d.Streams {
		names = append(names, s.StreamName)
	}
	return names
}

// call sends one empty message to a method, as a stream of both directions:
// every kind of method understands that.
func call(ctx context.Context, conn *grpc.ClientConn, method string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&ckptv1.GetStatusRequest{}); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(&ckptv1.GetStatusResponse{})
}

func TestPanicEndsOneCallOnly(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.panics = true
	r := serve(t, m, Options{})
	conn := r.dial(t)
	_, err := NewClient(conn).Status(ctxOf(t))
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "planted") {
		t.Errorf("Status: %v, want INTERNAL that names the panic", err)
	}
	if log := r.log.String(); !strings.Contains(log, "backend_test.go") {
		t.Errorf("no stack in the log:\n%s", log)
	}
	if _, err := ckptv1.NewCheckpointServiceClient(conn).ListCheckpoints(ctxOf(t), &ckptv1.ListCheckpointsRequest{}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestMessagesAboveTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.entries = []checkpoint.Entry{testEntry(1)}
	big := &checkpoint.Windows{}
	for range 2000 {
		big.Items = append(big.Items, checkpoint.Window{Title: strings.Repeat("t", maxTitle)})
	}
	m.manifests[m.entries[0].ID] = &checkpoint.Manifest{ID: m.entries[0].ID, Session: "s", Components: checkpoint.Components{Windows: big}}
	c := ckptv1.NewCheckpointServiceClient(serve(t, m, Options{}).dial(t))

	_, err := c.GetCheckpoint(ctxOf(t), &ckptv1.GetCheckpointRequest{View: ckptv1.CheckpointView_CHECKPOINT_VIEW_FULL})
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("an answer of 2 MB: %v", err)
	}
	if _, err := c.GetCheckpoint(ctxOf(t), &ckptv1.GetCheckpointRequest{}); err != nil {
		t.Errorf("its view BASIC: %v", err)
	}
	// A foreign client without a limit of its own.
	_, err = c.ListCheckpoints(ctxOf(t), &ckptv1.ListCheckpointsRequest{PageToken: strings.Repeat("x", maxMessage+1)}, grpc.MaxCallSendMsgSize(10*maxMessage))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a request above the limit: %v", err)
	}
}

func TestCreateSaysWhatItIsAskedAndWhatCameOfIt(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.created = Created{Entry: testEntry(7), Confirmed: true, Declined: testEntry(3).ID}
	c := NewClient(serve(t, m, Options{Session: "ses_01"}).dial(t))
	want := CreateRequest{Reason: "before upgrade", Pin: true, RequestID: "r-1"}
	got, err := c.Create(ctxOf(t), want)
	if err != nil {
		t.Fatal(err)
	}
	if m.askedCreate != want {
		t.Errorf("asked %+v, want %+v", m.askedCreate, want)
	}
	if diff(got, m.created) {
		t.Errorf("got %+v, want %+v", got, m.created)
	}
	if _, err := c.Create(ctxOf(t), CreateRequest{}); err != nil || m.askedCreate.Reason != "request" {
		t.Errorf("without a reason: %q, %v", m.askedCreate.Reason, err)
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	t.Parallel()
	conn := serve(t, newMemory(), Options{}).dial(t)
	c, r := ckptv1.NewCheckpointServiceClient(conn), ckptv1.NewRestoreServiceClient(conn)
	long := strings.Repeat("x", 300)
	calls := map[string]func() error{
		"request_id": func() error {
			_, err := c.CreateCheckpoint(ctxOf(t), &ckptv1.CreateCheckpointRequest{RequestId: long})
			return err
		},
		"reason": func() error {
			_, err := c.CreateCheckpoint(ctxOf(t), &ckptv1.CreateCheckpointRequest{Reason: long})
			return err
		},
		"page_size": func() error {
			_, err := c.ListCheckpoints(ctxOf(t), &ckptv1.ListCheckpointsRequest{PageSize: -1})
			return err
		},
		"page_token": func() error {
			_, err := c.ListCheckpoints(ctxOf(t), &ckptv1.ListCheckpointsRequest{PageToken: "nonsense"})
			return err
		},
		"selector": func() error {
			_, err := c.GetCheckpoint(ctxOf(t), &ckptv1.GetCheckpointRequest{Selector: long})
			return err
		},
		"decline reason": func() error {
			_, err := r.DeclineRestore(ctxOf(t), &ckptv1.DeclineRestoreRequest{Reason: long})
			return err
		},
		"offset": func() error {
			stream, err := c.ExportCheckpoint(ctxOf(t), &ckptv1.ExportCheckpointRequest{Offset: -1})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
	}
	for name, do := range calls {
		if err := do(); !errors.Is(err, checkpoint.ErrInvalid) || status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want INVALID_ARGUMENT", name, err)
		}
	}
}

// A stop gives a call under way its time and no more.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.block = make(chan struct{})
	r := serve(t, m, Options{StopTimeout: time.Millisecond})
	c := NewClient(r.dial(t))
	failed := make(chan error, 1)
	go func() {
		_, err := c.Create(context.Background(), CreateRequest{})
		failed <- err
	}()
	<-m.block
	if err := r.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-failed; !errors.Is(err, ErrNoAgent) {
		t.Errorf("the call that was cut off: %v, want ErrNoAgent", err)
	}
	if _, err := os.Lstat(r.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A deadline that the caller sets ends the work, and is told as such.
func TestTimeoutEndsTheWork(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.block = make(chan struct{})
	c := ckptv1.NewCheckpointServiceClient(serve(t, m, Options{}).dial(t))
	_, err := c.CreateCheckpoint(ctxOf(t), &ckptv1.CreateCheckpointRequest{Timeout: durationOf(time.Millisecond)})
	if !errors.Is(err, context.DeadlineExceeded) || status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want DEADLINE_EXCEEDED", err)
	}
}
