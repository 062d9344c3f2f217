package rpc

import (
	"context"
	"log/slog"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

const (
	// maxMessage bounds a message in bytes, both ways (part of the contract).
	maxMessage = 1 << 20
	// connectTimeout is how long a peer may take to speak HTTP/2.
	connectTimeout = 10 * time.Second
	// pingAfter and pingTimeout find a peer that was stopped or whose tunnel
	// broke: its streams end within 40 s.
	pingAfter   = 30 * time.Second
	pingTimeout = 10 * time.Second
	// minPing is how often a client may ping; ours does every pingAfter.
	minPing = 10 * time.Second
	// maxStreams bounds the calls under way on one connection.
	maxStreams = 100
)

// Options are what a Server can be told.
type Options struct {
	// Session is the id of the session that the backend serves.
	Session string
	// Reflection lets grpcurl and the like find out what there is.
	Reflection bool
	// StopTimeout is how long calls may go on when the server stops.
	StopTimeout time.Duration
	// Log gets a line for every call.
	Log *slog.Logger
}

// Server serves a Backend.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
	stop   time.Duration
}

// NewServer returns a server of backend, not yet serving.
func NewServer(backend Backend, o Options) *Server {
	guards := []guard{logged(o.Log), recovered(o.Log), translated()}
	var unary []grpc.UnaryServerInterceptor
	var stream []grpc.StreamServerInterceptor
	for _, g := range guards {
		unary, stream = append(unary, g.unary()), append(stream, g.stream())
	}
	s := grpc.NewServer(
		grpc.Creds(peerCredentials{owner: uint32(os.Getuid()), log: o.Log}),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(append(unary, fits)...),
		grpc.ChainStreamInterceptor(stream...),
	)
	ckptv1.RegisterCheckpointServiceServer(s, &checkpointService{backend: backend, session: o.Session})
	ckptv1.RegisterRestoreServiceServer(s, &restoreService{backend: backend})
	ckptv1.RegisterSessionServiceServer(s, &sessionService{backend: backend})

	h := health.NewServer()
	for name := range s.GetServiceInfo() {
		h.SetServingStatus(name, healthv1.HealthCheckResponse_SERVING)
	}
	healthv1.RegisterHealthServer(s, h)
	if o.Reflection {
		reflection.Register(s)
	}
	return &Server{grpc: s, health: h, stop: o.StopTimeout}
}

// Serve answers on l, which it closes, until ctx ends. Then it takes no new
// calls, gives those under way StopTimeout to end, and cuts them off: their
// contexts end, but a Backend that does not heed that is not waited for.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.grpc.Stop()
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	s.health.Shutdown()
	cut := time.AfterFunc(s.stop, s.grpc.Stop)
	defer cut.Stop()
	s.grpc.GracefulStop()
	if err := <-served; !closed(err) {
		return err
	}
	return nil
}
