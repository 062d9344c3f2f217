package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// DefaultSocket returns the socket of the agent in a runtime directory, usually
// $XDG_RUNTIME_DIR.
func DefaultSocket(runtimeDir string) string { return filepath.Join(runtimeDir, "helix-ckpt.sock") }

// maxSocketPath is what sockaddr_un holds, without the NUL at its end.
const maxSocketPath = 107

// shortPath returns a path of the same socket that the kernel accepts, and what
// to call when it was used. A path that is too long is reached through an open
// directory, /proc/self/fd/N/NAME: the socket lies where it was asked for, and
// a client finds it by the same path and the same way. A client that cannot do
// so changes into the directory and uses the bare name.
func shortPath(path string) (short string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", nil, fmt.Errorf("directory of the socket: %w", err)
	}
	short = "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path)
	if len(short) > maxSocketPath {
		dir.Close()
		return "", nil, fmt.Errorf("%w: the socket's name %s has %d bytes; use one of at most 64", checkpoint.ErrInvalid, filepath.Base(path), len(filepath.Base(path)))
	}
	return short, func() { dir.Close() }, nil
}

// socket is a listening unix socket whose path nobody else may take.
type socket struct {
	net.Listener
	path string
	lock *flock.Flock
}

// Listen makes the socket at path, for its owner only, with the directory if
// that is missing. Beside it stays an empty PATH.lock: whoever locks it owns
// the name, so that the socket of a dead agent is replaced and that of a living
// one never is (checkpoint.ErrLocked), also when two agents start at once.
// Closing the listener removes the socket.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("directory of the socket: %w", err)
	}
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock the socket %s: %w", path, err)
	case !ok:
		return nil, fmt.Errorf("%w: another agent has the socket %s; give this one another --socket", checkpoint.ErrLocked, path)
	}
	l, err := listen(ctx, path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &socket{Listener: l, path: path, lock: lock}, nil
}

// listen binds the socket. The caller owns its name.
func listen(ctx context.Context, path string) (*net.UnixListener, error) {
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	short, release, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer release()
	// The mode of the unbound socket becomes that of the file: there is no
	// moment in which another user could connect.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		err := c.Control(func(fd uintptr) { chmod = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmod)
	}}
	l, err := config.Listen(ctx, "unix", short)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		l.Close() //nolint:errcheck // cannot happen: the network is "unix"
		return nil, fmt.Errorf("listen on %s: not a unix socket", path)
	}
	unixListener.SetUnlinkOnClose(false) // it knows the short path only
	return unixListener, nil
}

// removeStale removes a socket at path that nobody answers on. It removes
// nothing else: a path given by mistake costs nobody a file.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%w: %s is there and is no socket; give another --socket", checkpoint.ErrInvalid, path)
	}
	conn, err := dialSocket(ctx, path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%w: another program answers on the socket %s; give another --socket", checkpoint.ErrLocked, path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	return os.Remove(path)
}

// Close stops listening and removes the socket. The lock goes last, so that the
// socket removed is ours.
func (s *socket) Close() error {
	err := s.Listener.Close()
	if errors.Is(err, net.ErrClosed) { // gRPC closes it more than once
		return nil
	}
	if rm := os.Remove(s.path); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return errors.Join(err, s.lock.Close())
}

// dialSocket connects to the socket at path, however long that is.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	short, release, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer release()
	var d net.Dialer
	return d.DialContext(ctx, "unix", short)
}
