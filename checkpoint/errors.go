package checkpoint

import (
	"errors"
	"fmt"
)

// Errors that a caller acts on, wherever they come from. The command line
// turns them into exit codes, the API into status codes.
var (
	// ErrNotFound: no checkpoint is what was asked for.
	ErrNotFound = errors.New("checkpoint not found")
	// ErrNothing: there is nothing to restore, or nothing to capture.
	ErrNothing = errors.New("nothing there")
	// ErrDamaged: stored data is not what it was when it was written.
	ErrDamaged = errors.New("damaged data")
	// ErrZedRunning: Zed has its databases open, so they cannot be replaced.
	ErrZedRunning = errors.New("zed is running")
	// ErrLocked: another process holds the session's lock.
	ErrLocked = errors.New("session is locked")
	// ErrFenced: another owner has taken the session over.
	ErrFenced = errors.New("session is fenced")
	// ErrEpoch: the epoch asked for is not above the one that is known.
	ErrEpoch = errors.New("wrong epoch")
	// ErrUndecided: nothing is committed before the start decision is made.
	ErrUndecided = errors.New("start decision is not made yet")
	// ErrNoCompositor: no compositor answers.
	ErrNoCompositor = errors.New("no compositor")
	// ErrNoSpace: the disk or a configured budget is exhausted.
	ErrNoSpace = errors.New("no space")
	// ErrInvalid: an argument has a value that it cannot have, or a selector
	// means more than one checkpoint.
	ErrInvalid = errors.New("invalid argument")
	// ErrBusy: another restore or import of this session is running, or somebody
	// reads the checkpoint that was to be deleted.
	ErrBusy = errors.New("session is busy")
	// ErrProtected: the checkpoint must not be deleted: it is the only good one,
	// or a restore still needs it.
	ErrProtected = errors.New("checkpoint is protected")
	// ErrOtherSession: a checkpoint or archive is of another session.
	ErrOtherSession = errors.New("of another session")
	// ErrRequestReused: the request id was used before with other arguments.
	ErrRequestReused = errors.New("request id was used with other arguments")
)

// ZedRunning is ErrZedRunning with the process that has the databases open.
//
//nolint:errname // it reads as what it is: a Zed that runs
type ZedRunning struct {
	// PID is 0 where it is not known, as for a Zed in another container.
	PID int
}

func (e *ZedRunning) Error() string {
	if e.PID == 0 {
		return ErrZedRunning.Error() + " (its process cannot be seen from here)"
	}
	return fmt.Sprintf("%v (pid %d)", ErrZedRunning, e.PID)
}

// Unwrap makes errors.Is(e, ErrZedRunning) true.
func (e *ZedRunning) Unwrap() error { return ErrZedRunning }
