package session

import (
	"bytes"
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
	// Ended: no process of this host has that PID any more. Who holds the lock is
	// another one, which has not written its name yet.
	Ended bool `json:"-"`
}

func (o Owner) String() string {
	if o.PID == 0 {
		return "another process"
	}
	name := fmt.Sprintf("helix-ckpt %s, pid %d on %s, since %s", o.Command, o.PID, o.Hostname, o.Since.Format(time.RFC3339))
	if o.Ended {
		return "another process (the last that gave its name has ended: " + name + ")"
	}
	return name
}

// Lock is the right to write to a session. The kernel takes it back when its
// process ends, however that happens, so a dead owner never blocks anyone.
type Lock struct {
	f     *os.File
	owner Owner
}

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
	if err := writeOwner(f, owner); err != nil {
		f.Close() // the write's error counts
		return nil, fmt.Errorf("session lock %s: %w", path, err)
	}
	return &Lock{f, owner}, nil
}

// Refresh writes the owner's name again if it was damaged: without it nobody finds
// the socket.
func (l *Lock) Refresh() error {
	b := make([]byte, maxOwner)
	n, _ := l.f.ReadAt(b, 0) // a short or empty file holds no name
	if decodeOwner(b[:n]) == l.owner {
		return nil
	}
	return writeOwner(l.f, l.owner)
}

// writeOwner writes the owner over the one before, in one piece and padded to its
// length, so that for who reads meanwhile there is a name at all times but for the
// moment of the write itself.
func writeOwner(f *os.File, o Owner) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	size := len(b)
	if info, err := f.Stat(); err == nil && info.Size() <= maxOwner {
		b = append(b, bytes.Repeat([]byte(" "), max(0, int(info.Size())-size))...)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Truncate(int64(size))
}

// Release gives the lock back. It unlocks, since closing would not be enough while
// a child that is being started still has the file.
func (l *Lock) Release() error {
	unlock := whole()
	unlock.Type = unix.F_UNLCK
	return errors.Join(unix.FcntlFlock(l.f.Fd(), unix.F_OFD_SETLK, unlock), l.f.Close())
}

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

// maxOwner bounds what is read of a lock, in bytes.
const maxOwner = 4096

// ownerReads is how often a lock is read that holds no name: one that is being
// written is there within microseconds.
const ownerReads = 100

func readOwner(f *os.File) Owner {
	var o Owner
	b := make([]byte, maxOwner)
	for range ownerReads {
		n, _ := f.ReadAt(b, 0) // a short or empty file is an unknown owner
		if o = decodeOwner(b[:n]); o.PID != 0 {
			break
		}
	}
	// Only of this host it can be told.
	if host, err := os.Hostname(); err == nil && host == o.Hostname && o.PID > 0 {
		o.Ended = errors.Is(unix.Kill(o.PID, 0), unix.ESRCH)
	}
	return o
}

// decodeOwner reads what writeOwner writes; anything else is an unknown owner.
func decodeOwner(b []byte) Owner {
	var o Owner
	if json.Unmarshal(b, &o) != nil {
		return Owner{}
	}
	return o
}
