package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Each interceptor does one thing, for calls and for streams alike: handle is
// the rest of the call, and what guard returns is what the caller gets.
type guard func(ctx context.Context, method string, handle func() error) error

// unary makes an interceptor of calls of g.
func (g guard) unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		var out any
		err := g(ctx, info.FullMethod, func() (err error) {
			out, err = next(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

// stream makes an interceptor of streams of g.
func (g guard) stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return g(ss.Context(), info.FullMethod, func() error { return next(srv, ss) })
	}
}

// logged tells of every call when it ends.
func logged(log *slog.Logger) guard {
	return func(ctx context.Context, method string, handle func() error) error {
		start := time.Now()
		err := handle()
		level := slog.LevelDebug
		if code := status.Code(err); code == codes.Internal || code == codes.Unknown || code == codes.DataLoss {
			level = slog.LevelWarn
		}
		log.Log(ctx, level, "rpc", "method", method, "code", status.Code(err).String(), "duration", time.Since(start), "error", err)
		return err
	}
}

// recovered turns a panic of a handler into an error of that call: a bug in one
// must not end the agent.
func recovered(log *slog.Logger) guard {
	return func(ctx context.Context, method string, handle func() error) (err error) {
		defer func() {
			if p := recover(); p != nil {
				log.ErrorContext(ctx, "rpc panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
				err = status.Errorf(codes.Internal, "%s panicked: %v; the agent's log has the stack", method, p)
			}
		}()
		return handle()
	}
}

// translated turns errors of the domain into statuses.
func translated() guard {
	return func(_ context.Context, _ string, handle func() error) error { return ToStatus(handle()) }
}

// fits refuses an answer that no message can carry, where gRPC would only say
// that it failed.
func fits(ctx context.Context, in any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	out, err := next(ctx, in)
	if m, ok := out.(proto.Message); ok && err == nil {
		if size := proto.Size(m); size > maxMessage {
			return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed; export the checkpoint instead", ErrTooLarge, size, maxMessage)
		}
	}
	return out, err
}

// fromStatusUnary gives a client the errors of the other side.
func fromStatusUnary(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return FromStatus(call(ctx, method, in, out, cc, opts...))
}

// fromStatusStream does the same for streams.
func fromStatusStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, FromStatus(err)
	}
	return clientStream{s}, nil
}

// clientStream is a stream whose errors are those of the other side.
type clientStream struct{ grpc.ClientStream }

// RecvMsg receives; io.EOF stays io.EOF.
func (s clientStream) RecvMsg(m any) error { return FromStatus(s.ClientStream.RecvMsg(m)) }

// SendMsg sends. When the other side has ended the call, gRPC says io.EOF here
// and the reason in RecvMsg.
func (s clientStream) SendMsg(m any) error { return FromStatus(s.ClientStream.SendMsg(m)) }

// closed reports whether err only says that the server was stopped.
func closed(err error) bool { return err == nil || errors.Is(err, grpc.ErrServerStopped) }
