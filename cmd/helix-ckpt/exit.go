package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

// Exit codes, part of the contract with scripts.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitPart     = 3 // done in part; the report says what
	exitNothing  = 4 // nothing to restore
	exitDamaged  = 5
	exitRefused  = 6 // Zed is running, fenced, lock held, wrong epoch
	exitDeadline = 7
)

// codeError ends the program with a code; without a message when err is nil,
// because the result on stdout has said it.
type codeError struct {
	code int
	err  error
	// remedy is what the user can do about it, where that is another thing than
	// for err elsewhere.
	remedy string
}

func (e *codeError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// exitCode returns the code that err means.
func exitCode(err error) int {
	var code *codeError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return code.code
	case isAny(err, checkpoint.ErrZedRunning, checkpoint.ErrLocked, checkpoint.ErrFenced, checkpoint.ErrEpoch,
		checkpoint.ErrUndecided, checkpoint.ErrBusy, checkpoint.ErrProtected, checkpoint.ErrOtherSession, restore.ErrMapNeeded):
		return exitRefused
	case isAny(err, checkpoint.ErrDamaged):
		return exitDamaged
	case isAny(err, checkpoint.ErrInvalid, checkpoint.ErrRequestReused):
		return exitUsage
	case isAny(err, context.DeadlineExceeded):
		return exitDeadline
	}
	return exitFailed
}

func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// remedy returns what a user can do about an error whose own text does not say
// it.
func remedy(err error) string {
	var code *codeError
	switch {
	case errors.As(err, &code) && code.remedy != "":
		return code.remedy
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("this is uid %d: give it the right, or name another place (checkpoints: --dir, an archive: --file, sockets: XDG_RUNTIME_DIR)", os.Getuid())
	case errors.Is(err, syscall.EROFS):
		return "mount it writable, or name another place (checkpoints: --dir, an archive: --file, sockets: XDG_RUNTIME_DIR)"
	case errors.Is(err, checkpoint.ErrRequestReused):
		return "a new request needs a new --request-id"
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, checkpoint.ErrNoSpace):
		return "free some space, or name another directory with --dir"
	case errors.Is(err, checkpoint.ErrZedRunning):
		return "close Zed first; checkpoints are not lost by waiting"
	case errors.Is(err, checkpoint.ErrDamaged):
		return "'helix-ckpt verify --all' and 'helix-ckpt doctor' say what is damaged; older checkpoints may be whole"
	}
	return ""
}
