// Package sway reads and commands the compositor by its IPC socket. It is the
// only place that knows go-sway, and the limits within which it is safe.
//
//	Find ──► Socket ──┬─ Probe      who answers: version, pid, start time
//	                  ├─ Tree       the tree as it is now
//	                  ├─ Snapshot   windows and layout of a checkpoint, settled
//	                  ├─ Run        commands, each with its result
//	                  └─ Watch      what happens
//
// Every operation is a client of its own with a deadline of its own. A go-sway
// client that timed out once delivers the late reply as the next call's
// success, and it cannot be closed; so none is ever used twice, and what it
// returns is checked for sense. Connecting, get_tree and closing take 0.4 ms,
// so nothing is lost by it.
//
// Beside it stands a small reader of the same protocol (ipc.go), for the tree,
// in which go-sway drops tags and sandbox ids and cannot read a NaN, and for
// events: go-sway subscribes at $SWAYSOCK only, and an event it does not know makes it
// take the middle of a message for its beginning.
package sway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/joshuarubin/go-sway"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/process"
)

// Socket is the path of an IPC socket on which Sway listens.
type Socket string

// operationTimeout bounds one request and its reply. Sway answers in under a
// millisecond; while it starts or a big transaction runs, in tens of them.
const operationTimeout = 5 * time.Second

// probeTimeout bounds one look at a socket that may be of a Sway that hangs.
const probeTimeout = time.Second

// Find returns the socket of the Sway that answers, of the places where one
// can listen: $SWAYSOCK, then those in $XDG_RUNTIME_DIR, the newest first. After a
// crash the socket of the dead Sway is still there and the new one listens
// beside it, so each is asked; nothing is deleted. It returns an error that
// wraps checkpoint.ErrNoCompositor when none answers.
//
// getenv is os.Getenv or another environment.
func Find(ctx context.Context, getenv func(string) string) (Socket, checkpoint.Compositor, error) {
	var tried []error
	for _, s := range candidates(getenv) {
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		c, err := s.Probe(probe)
		cancel()
		if err == nil {
			return s, c, nil
		}
		tried = append(tried, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(tried) == 0 {
		return "", checkpoint.Compositor{}, fmt.Errorf("%w: no Sway socket of this user in $SWAYSOCK or $XDG_RUNTIME_DIR",
			checkpoint.ErrNoCompositor)
	}
	return "", checkpoint.Compositor{}, fmt.Errorf("%w: no Sway answers: %w", checkpoint.ErrNoCompositor, errors.Join(tried...))
}

func candidates(getenv func(string) string) []Socket {
	var found []Socket
	if path := strings.TrimSpace(getenv("SWAYSOCK")); path != "" {
		found = append(found, Socket(path))
	}
	dir := getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = fmt.Sprintf("/run/user/%d", os.Getuid())
	}
	type candidate struct {
		path  string
		since time.Time
	}
	var in []candidate
	for _, pattern := range []string{"sway*.sock", "sway*.socket"} {
		paths, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is well formed
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.Mode().Type() == os.ModeSocket {
				in = append(in, candidate{path, info.ModTime()})
			}
		}
	}
	slices.SortFunc(in, func(a, b candidate) int { return b.since.Compare(a.since) })
	for _, c := range in {
		if !slices.Contains(found, Socket(c.path)) {
			found = append(found, Socket(c.path))
		}
	}
	return found
}

// Probe asks who listens. The pid is the kernel's word, in our pid namespace;
// it and the start time are 0 for a Sway that lives outside of it.
func (s Socket) Probe(ctx context.Context) (checkpoint.Compositor, error) {
	c := checkpoint.Compositor{Name: "sway"}
	err := s.with(ctx, "get_version", func(ctx context.Context, client sway.Client) error {
		v, err := client.GetVersion(ctx)
		if err != nil {
			return err
		}
		if v.Major < 1 || v.HumanReadable == "" {
			return errSenseless
		}
		c.Version = v.HumanReadable
		return nil
	})
	if err != nil {
		return checkpoint.Compositor{}, err
	}
	if c.PID, err = s.peer(ctx); err != nil {
		return checkpoint.Compositor{}, err
	}
	if c.PID != 0 {
		if c.StartTicks, err = process.StartTicks(c.PID); err != nil {
			return checkpoint.Compositor{}, fmt.Errorf("sway at %s: %w", s, err)
		}
	}
	return c, nil
}

// errSenseless is the sign of a reply that go-sway did not read: zero values
// and no error.
var errSenseless = errors.New("a reply that is not of this request")

// with runs one operation on a client of its own. Cancelling its context is
// what closes the connection.
func (s Socket) with(ctx context.Context, what string, f func(context.Context, sway.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	client, err := sway.New(ctx, sway.WithSocketPath(string(s)))
	if err == nil {
		err = f(ctx, client)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // a connection closed by the deadline says something else
		err = ctx.Err()
	}
	return fmt.Errorf("sway %s at %s: %w", what, s, err)
}
