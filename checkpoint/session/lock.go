package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
)

// Owner says who holds a session's lock.
type Owner struct {
	PID      int    `json:"pid"`
	Hostname string `json:"hostname"`
	Instance string `json:"instance"`
	Command  string `json:"command"`
	// Socket is where the owner takes requests; "" for a command that takes
	// none.
	Socket string    `json:"socket,omitempty"`
	Since  time.Time `json:"since"`
}

func (o Owner) String() string {
	if o.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("helix-ckpt %s, pid %d on %s, since %s", o.Command, o.PID, o.Hostname, o.Since.Format(time.RFC3339))
}

// Lock is the right to write to a session. The kernel takes it back when its
// process ends, however that happens, so a dead owner never blocks anyone.
type Lock struct{ f *os.File }

// Acquire takes the lock of the session directory dir, creating the directory,
// for this process, of which owner says Instance, Command and Socket. When another process holds it, the error wraps
// checkpoint.ErrLocked and names the holder.
func Acquire(dir string, owner Owner) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("session directory: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := atomicfile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, atomicfile.ErrForeign) {
		err = fmt.Errorf("%w: %w; move it away", checkpoint.ErrDamaged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("session lock: %w", err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, whole()); err != nil {
		defer f.Close() // nothing was written
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("%w by %s", checkpoint.ErrLocked, readOwner(f))
		}
		return nil, fmt.Errorf("session lock %s: %w", path, err)
	}
	owner.PID, owner.Since = os.Getpid(), time.Now().UTC().Truncate(time.Second)
	owner.Hostname, _ = os.Hostname() // it only informs
	b, err := json.Marshal(owner)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err != nil {
		f.Close() // the write's error counts
		return nil, fmt.Errorf("session lock %s: %w", path, err)
	}
	return &Lock{f: f}, nil
}

// Release gives the lock back.
func (l *Lock) Release() error { return l.f.Close() }

// Holder reports who holds the lock of the session directory dir. It asks the
// kernel and takes no lock itself, so it never gets in an owner's way.
func Holder(dir string) (Owner, bool) {
	f, err := atomicfile.Open(filepath.Join(dir, "lock"), os.O_RDONLY, 0)
	if err != nil {
		return Owner{}, false
	}
	defer f.Close() // read only
	lock := whole()
	if unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, lock) != nil || lock.Type == unix.F_UNLCK {
		return Owner{}, false
	}
	return readOwner(f), true
}

// whole is a write lock on the whole file. Locks of the open file description
// (OFD) hold across containers on one bind mount, can be asked for without
// being taken, and do not vanish when the process closes another descriptor of
// the file, as classic POSIX locks do.
func whole() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK} }

func readOwner(f *os.File) Owner {
	var o Owner
	b := make([]byte, 4096)
	n, _ := f.ReadAt(b, 0)                // a short or empty file is an unknown owner
	if json.Unmarshal(b[:n], &o) != nil { // torn by a holder that is just writing
		return Owner{}
	}
	return o
}
