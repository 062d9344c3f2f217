package rpc

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// ErrorDomain is the domain of google.rpc.ErrorInfo in errors of these
// services.
const ErrorDomain = "helix.ckpt"

var (
	// ErrTooLarge is returned for an answer that does not fit a message.
	ErrTooLarge = errors.New("answer is too large for a message")
	// ErrNoAgent is returned to a client when no agent answers on the socket,
	// or one went away during a call.
	ErrNoAgent = errors.New("no agent answers")
)

// rule says how one error travels.
type rule struct {
	is     error
	code   codes.Code
	reason ckptv1.ErrorReason
	// retry, when not 0, is when asking again makes sense: about the time that
	// the state it waits for takes to change.
	retry time.Duration
}

// rules is the one place where errors become status codes and back. The first
// that fits counts, so what is more specific stands before what it can wrap.
func rules() []rule {
	return []rule{
		{checkpoint.ErrPath, codes.DataLoss, ckptv1.ErrorReason_ERROR_REASON_UNSAFE_PATH, 0},
		{checkpoint.ErrDamaged, codes.DataLoss, ckptv1.ErrorReason_ERROR_REASON_DAMAGED, 0},
		{checkpoint.ErrFormat, codes.FailedPrecondition, ckptv1.ErrorReason_ERROR_REASON_UNKNOWN_FORMAT, 0},
		{checkpoint.ErrFenced, codes.Aborted, ckptv1.ErrorReason_ERROR_REASON_FENCED, 0},
		{checkpoint.ErrEpoch, codes.Aborted, ckptv1.ErrorReason_ERROR_REASON_WRONG_EPOCH, 0},
		{checkpoint.ErrLocked, codes.FailedPrecondition, ckptv1.ErrorReason_ERROR_REASON_LOCKED, 0},
		{checkpoint.ErrBusy, codes.Aborted, ckptv1.ErrorReason_ERROR_REASON_BUSY, time.Second},
		{checkpoint.ErrUndecided, codes.FailedPrecondition, ckptv1.ErrorReason_ERROR_REASON_UNDECIDED, time.Second},
		{checkpoint.ErrNoCompositor, codes.FailedPrecondition, ckptv1.ErrorReason_ERROR_REASON_NO_COMPOSITOR, 2 * time.Second},
		{checkpoint.ErrZedRunning, codes.FailedPrecondition, ckptv1.ErrorReason_ERROR_REASON_ZED_RUNNING, 0},
		{checkpoint.ErrProtected, codes.FailedPrecondition, ckptv1.ErrorReason_ERROR_REASON_PROTECTED, 0},
		{checkpoint.ErrOtherSession, codes.FailedPrecondition, ckptv1.ErrorReason_ERROR_REASON_OTHER_SESSION, 0},
		{checkpoint.ErrNoSpace, codes.ResourceExhausted, ckptv1.ErrorReason_ERROR_REASON_NO_SPACE, 0},
		{ErrTooLarge, codes.ResourceExhausted, ckptv1.ErrorReason_ERROR_REASON_TOO_LARGE, 0},
		{checkpoint.ErrRequestReused, codes.InvalidArgument, ckptv1.ErrorReason_ERROR_REASON_REQUEST_REUSED, 0},
		{checkpoint.ErrInvalid, codes.InvalidArgument, ckptv1.ErrorReason_ERROR_REASON_INVALID, 0},
		{checkpoint.ErrNotFound, codes.NotFound, ckptv1.ErrorReason_ERROR_REASON_NOT_FOUND, 0},
		{checkpoint.ErrNothing, codes.NotFound, ckptv1.ErrorReason_ERROR_REASON_NOTHING, 0},
		{context.DeadlineExceeded, codes.DeadlineExceeded, ckptv1.ErrorReason_ERROR_REASON_DEADLINE, 0},
	}
}

// reasonName is what stands in ErrorInfo.reason for r.
func reasonName(r ckptv1.ErrorReason) string { return strings.TrimPrefix(r.String(), "ERROR_REASON_") }

// maxErrorText bounds the message of an error in bytes: it travels in a header.
const maxErrorText = 4 << 10

// ToStatus turns an error of a Backend into a gRPC status with its details. An
// error that is a status already stays as it is; one that no rule knows is
// UNKNOWN, with its message.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	message := text(err.Error(), maxErrorText)
	for _, r := range rules() {
		if errors.Is(err, r.is) {
			return r.status(message, err)
		}
	}
	if errors.Is(err, context.Canceled) {
		return status.Error(codes.Canceled, message)
	}
	return status.Error(codes.Unknown, message)
}

// status returns err, whose message is given, as r says it travels.
func (r rule) status(message string, err error) error {
	info := &errdetails.ErrorInfo{Domain: ErrorDomain, Reason: reasonName(r.reason)}
	var zed *checkpoint.ZedRunning
	if errors.As(err, &zed) && zed.PID > 0 {
		info.Metadata = map[string]string{"pid": strconv.Itoa(zed.PID)}
	}
	details := []protoadapt.MessageV1{info}
	if r.retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.retry)})
	}
	s, err := status.New(r.code, message).WithDetails(details...)
	if err != nil {
		return status.Error(r.code, message)
	}
	return s.Err()
}

// remoteError is an error of the other side: its message, and the error that
// it was there. It still is a gRPC status for those who ask.
type remoteError struct {
	status *status.Status
	kind   error
}

func (e *remoteError) Error() string { return e.status.Message() }
func (e *remoteError) Unwrap() error { return e.kind }

// GRPCStatus is how gRPC finds the status in an error.
func (e *remoteError) GRPCStatus() *status.Status { return e.status }

// FromStatus turns an error of a call back into the error it was, so that
// errors.Is finds the same sentinel on both sides. An error that is none of
// ours is returned as it is.
func FromStatus(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	switch s.Code() {
	case codes.Unavailable:
		return &remoteError{status.New(s.Code(), ErrNoAgent.Error()+": "+s.Message()), ErrNoAgent}
	case codes.Canceled:
		return &remoteError{s, context.Canceled}
	}
	if kind := kindOf(s); kind != nil {
		return &remoteError{s, kind}
	}
	return err
}

// kindOf returns the error that s was made of, nil when it is none of ours.
func kindOf(s *status.Status) error {
	for _, d := range s.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != ErrorDomain {
			continue
		}
		for _, r := range rules() {
			if reasonName(r.reason) != info.GetReason() {
				continue
			}
			if pid, err := strconv.Atoi(info.GetMetadata()["pid"]); err == nil && errors.Is(r.is, checkpoint.ErrZedRunning) {
				return &checkpoint.ZedRunning{PID: pid}
			}
			return r.is
		}
	}
	if s.Code() == codes.DeadlineExceeded { // made by gRPC itself
		return context.DeadlineExceeded
	}
	return nil
}
