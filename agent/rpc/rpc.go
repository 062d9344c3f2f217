// Package rpc serves the wire of helix.ckpt.v1 on a unix socket, and is the
// client of it. It decides nothing about a session: what an answer says is the
// Backend's, which the agent is; this package knows messages, pages, streams,
// who may connect, and which status code an error is.
//
//	caller ── unix socket ──▶ peer check ─▶ interceptors ─▶ service ─▶ Backend
//	          0600, one uid                 (log, panic,    (messages,
//	                                         errors)         pages, streams)
//
// A stream is a view. Losing it ends the view and never the work behind it: a
// restore goes on and can be attached to again by its request id, and an
// import keeps what has arrived.
//
// A socket lies at the path asked for, however long that is. sockaddr_un holds
// 107 bytes; a longer path is bound and dialed through /proc/self/fd (see
// shortPath). A foreign client, which cannot do that, changes into the socket's
// directory and dials "unix:NAME".
//
// A call that this program does not have yet answers UNIMPLEMENTED.
package rpc

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

// Backend is what the services need of an agent. Its errors wrap those of
// package checkpoint where a caller can act on them. Methods are called
// concurrently and return soon after ctx ends, unless they say otherwise.
type Backend interface {
	// Create takes a checkpoint now and returns when it is durable.
	Create(ctx context.Context, r CreateRequest) (Created, error)
	// List returns all checkpoints, newest first.
	List(ctx context.Context) ([]checkpoint.Entry, error)
	// Get returns the checkpoint that selector means.
	Get(ctx context.Context, selector string) (Found, error)
	// Files yields the files of the named component of m, in stored order, those
	// kept as a list included.
	Files(ctx context.Context, m *checkpoint.Manifest, component string) iter.Seq2[checkpoint.File, error]
	// Threads yields the threads of m, in stored order.
	Threads(ctx context.Context, m *checkpoint.Manifest) iter.Seq2[checkpoint.Thread, error]
	// Pin pins the checkpoint that selector means, or removes its pin.
	Pin(ctx context.Context, selector string, pinned bool) (checkpoint.Entry, error)
	// Delete deletes a checkpoint, and returns how many bytes that has freed.
	// checkpoint.ErrProtected is one that must stay.
	Delete(ctx context.Context, id checkpoint.ID) (int64, error)
	// Prune applies the retention rules, or with dryRun says what they would do.
	Prune(ctx context.Context, dryRun bool) (Pruned, error)
	// Verify reads back what r says, and tells emit, one event at a time, how far
	// it is, what is damaged, and the report. The end of ctx ends it, but no
	// repair that has begun.
	Verify(ctx context.Context, r VerifyRequest, emit func(VerifyEvent)) error
	// Export opens the archive of the checkpoint that selector means, at offset.
	// An offset beyond its end is checkpoint.ErrInvalid.
	Export(ctx context.Context, selector string, offset int64) (Archive, error)
	// Import begins to take an archive, or resumes one of the same digest. A
	// second import at the same time is checkpoint.ErrBusy.
	Import(ctx context.Context, h ImportHeader) (Upload, error)
	// Restore starts a restore, or attaches to the one of this request id, and
	// yields its events from the first to the report. An error before the first
	// event is returned, one after it is yielded. ctx ends the view only: the
	// restore goes on.
	Restore(ctx context.Context, r RestoreRequest) (iter.Seq2[restore.Event, error], error)
	// DeclineRestore decides that nothing is restored, and returns the
	// checkpoint that could have been, if there was one.
	DeclineRestore(ctx context.Context, reason string) (checkpoint.ID, error)
	// Status returns the state of the agent and its session, soon.
	Status(ctx context.Context) (Status, error)
}

// CreateRequest asks for a checkpoint.
type CreateRequest struct {
	Reason string
	Pin    bool
	// RequestID makes it idempotent when it is not empty.
	RequestID string
}

// Created is a durable checkpoint.
type Created struct {
	Entry checkpoint.Entry
	// Confirmed: nothing had changed, and this is an earlier one.
	Confirmed bool
	// Declined is the checkpoint whose restore this call declined, if it did.
	Declined checkpoint.ID
}

// Found is a checkpoint in a repository. Entry alone says whether it is pinned.
type Found struct {
	Entry    checkpoint.Entry
	Manifest *checkpoint.Manifest
}

// Pruned is what retention deleted, or would delete.
type Pruned struct {
	// Deleted are checkpoints, newest first, at most 1000 of Count.
	Deleted []checkpoint.ID
	Count   int
	// Kept is how many are left; Held are those of them that are only there
	// because somebody reads them, at most 1000.
	Kept       int
	Held       []checkpoint.ID
	FreedBytes int64
	// Blocked says in sentences for people why nothing but manifests was deleted.
	Blocked []string
	// Over says so, for people, when more is left than the limit of size. An agent
	// has it in its status and does not send it.
	Over string
}

// Archive is an export, read from the offset asked for.
type Archive struct {
	ID checkpoint.ID
	// Size and SHA256 are of the whole archive.
	Size   int64
	SHA256 checkpoint.Hash
	// Body holds the bytes from the offset to the end.
	Body io.ReadCloser
}

// ImportHeader describes an archive that is to come.
type ImportHeader struct {
	Size   int64
	SHA256 checkpoint.Hash
}

// Upload is an import under way. Without a Commit, Close keeps what was
// written, so that an Import of the same digest resumes it.
type Upload interface {
	// Offset is how much of the archive is here: Write appends there.
	Offset() int64
	io.Writer
	// Commit verifies the whole archive and commits its checkpoint. A digest
	// that is not the header's is checkpoint.ErrDamaged, and drops what is here.
	Commit(ctx context.Context) (checkpoint.Entry, error)
	io.Closer
}

// RestoreRequest asks for a restore.
type RestoreRequest struct {
	// RequestID names it; the agent chooses one when it is empty.
	RequestID string
	Selector  string
	// MinAge, when not 0, asks for the newest checkpoint at least this old
	// instead of Selector.
	MinAge time.Duration
	Scope  restore.Scope
	// Only names the components to restore; all when empty.
	Only []string
	// Map lists directories that have moved.
	Map   []Mapping
	Force bool
	// Wait is how long to wait for windows; 0 means the default.
	Wait          time.Duration
	Threads       Threads
	IgnoreVersion bool
}

// Mapping is a directory that has moved from Old to New.
type Mapping struct{ Old, New string }

// Threads is what a restore does with agent threads.
type Threads string

// The policies.
const (
	ThreadsMerge   Threads = "merge"
	ThreadsReplace Threads = "replace"
	ThreadsSkip    Threads = "skip"
)

// SessionState is what an agent is about.
type SessionState string

// The states of a session.
const (
	SessionStarting  SessionState = "starting"
	SessionWaiting   SessionState = "waiting"
	SessionRestoring SessionState = "restoring"
	SessionRunning   SessionState = "running"
	SessionDrained   SessionState = "drained"
	SessionFenced    SessionState = "fenced"
	SessionStopping  SessionState = "stopping"
)

// Status is the state of an agent and its session.
type Status struct {
	Session      string
	State        SessionState
	Epoch        uint64
	Fence        uint64
	Instance     string
	AgentVersion string
	AgentPID     int
	Started      time.Time
	// Dir is the session's directory.
	Dir string
	// Latest is nil when there is no checkpoint yet.
	Latest *checkpoint.Entry
	// Confirmed is when nothing was last found to have changed since Latest.
	Confirmed time.Time
	// Unsaved is how long something has changed and is in no checkpoint.
	Unsaved time.Duration
	// Components says how well each was captured last.
	Components map[string]checkpoint.Head
	// Restore is the one that runs or ran last; nil when there was none.
	Restore *RestoreSummary
	// Problems are sentences for people.
	Problems []string
}

// RestoreSummary is a restore in short.
type RestoreSummary struct {
	RequestID  string
	Checkpoint checkpoint.ID
	Phase      restore.Phase
}
