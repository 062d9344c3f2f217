package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
)

func TestSocketIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "helix-ckpt.sock")
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, l)
	for name, want := range map[string]fs.FileMode{
		path: fs.ModeSocket | 0o600, path + ".lock": 0o600, filepath.Dir(path): fs.ModeDir | 0o700,
	} {
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(name), info.Mode(), want)
		}
	}
}

// The whole protocol on a path that sockaddr_un cannot hold.
func TestLongSocketPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for len(dir) < 3*maxSocketPath {
		dir = filepath.Join(dir, strings.Repeat("d", 40))
	}
	path := filepath.Join(dir, "helix-ckpt.sock")
	if _, err := net.Listen("unix", path); err == nil {
		t.Fatal("the kernel takes this path: the test shows nothing")
	}
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- NewServer(newMemory(), Options{Log: slog.New(slog.DiscardHandler)}).Serve(ctx, l) }()
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := NewClient(conn).Status(ctxOf(t)); err != nil {
		t.Errorf("Status: %v", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestSocketNameThatIsTooLongIsExplained(t *testing.T) {
	t.Parallel()
	_, err := Listen(t.Context(), filepath.Join(t.TempDir(), strings.Repeat("n", 120)))
	if !errors.Is(err, checkpoint.ErrInvalid) || !strings.Contains(err.Error(), "120 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestSocketOfADeadAgentIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "helix-ckpt.sock")
	leaveStale(t, path)
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNoAgent) {
		t.Errorf("Dial of a stale socket: %v, want ErrNoAgent", err)
	}
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, l)
}

// closing closes c when the test ends.
func closing(t *testing.T, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// leaveStale leaves the socket of a process that was killed.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// keepsLiving checks that listen never takes the socket of a living agent away,
// also when several start at once over a stale one.
func keepsLiving(t *testing.T, listen func(context.Context, string) (net.Listener, error)) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "helix-ckpt.sock")
	leaveStale(t, path)
	var (
		mu   sync.Mutex
		wins []net.Listener
		errs []error
		wg   sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			l, err := listen(t.Context(), path)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			wins = append(wins, l)
		})
	}
	wg.Wait()
	for _, l := range wins {
		closing(t, l)
	}
	if len(wins) != 1 {
		return fmt.Errorf("%d agents have the socket", len(wins))
	}
	for _, err := range errs {
		if !errors.Is(err, checkpoint.ErrLocked) {
			return fmt.Errorf("a loser says %w", err)
		}
	}
	return nil
}

func TestSocketOfALivingAgentIsKept(t *testing.T) {
	t.Parallel()
	if err := keepsLiving(t, Listen); err != nil {
		t.Error(err)
	}
	// The check can fail: this is what most programs do.
	unlinkFirst := func(ctx context.Context, path string) (net.Listener, error) {
		os.Remove(path)
		var c net.ListenConfig
		return c.Listen(ctx, "unix", path)
	}
	if err := keepsLiving(t, unlinkFirst); err == nil {
		t.Error("a variant that unlinks whatever is there passes the check")
	}
}

func TestOtherProgramsKeepTheirSocketsAndFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), file); !errors.Is(err, checkpoint.ErrInvalid) {
		t.Errorf("on a file: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file is %q, %v", b, err)
	}
	other, err := net.Listen("unix", filepath.Join(dir, "ssh-agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, other)
	if _, err := Listen(t.Context(), other.Addr().String()); !errors.Is(err, checkpoint.ErrLocked) {
		t.Errorf("on the socket of another program: %v", err)
	}
}

func TestNoAgent(t *testing.T) {
	t.Parallel()
	for _, path := range []string{filepath.Join(t.TempDir(), "none.sock"), filepath.Join(t.TempDir(), "no", "directory.sock")} {
		if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNoAgent) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAdmitted(t *testing.T) {
	t.Parallel()
	c := peerCredentials{owner: 1000}
	for uid, want := range map[uint32]bool{1000: true, 0: true, 1001: false, 65534: false} {
		if c.admits(uid) != want {
			t.Errorf("uid %d: %v", uid, !want)
		}
	}
}

// The kernel's word on who connects decides, whatever the socket's mode. Only
// root can be two users; a user is a stranger to a session of another one.
func TestStrangerIsRefused(t *testing.T) {
	t.Parallel()
	owner, stranger := uint32(os.Getuid()), uint32(65534)
	if owner != 0 {
		owner, stranger = owner+1, owner
	}
	for _, test := range []struct {
		owner    uint32
		admitted bool
	}{{owner, false}, {stranger, true}} {
		err := shakeHands(t, peerCredentials{owner: test.owner, log: slog.New(slog.DiscardHandler)}, stranger)
		if (err == nil) != test.admitted {
			t.Errorf("uid %d at a session of uid %d: %v", stranger, test.owner, err)
		}
	}
}

// shakeHands connects as uid and returns what the server says to that.
func shakeHands(t *testing.T, c peerCredentials, uid uint32) error {
	t.Helper()
	// An abstract socket has no mode, as one that somebody opened to all.
	l, err := net.Listen("unix", fmt.Sprintf("@helix-ckpt-test-%d-%d", os.Getpid(), c.owner))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, l)
	done := make(chan error, 1)
	go func() {
		if os.Getuid() == 0 {
			// Of this thread only: it is never given back and ends with the goroutine.
			runtime.LockOSThread()
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
				done <- errno
				return
			}
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: l.Addr().String()})
			err = errors.Join(err, unix.Close(fd))
		}
		done <- err
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_, _, err = c.ServerHandshake(conn)
	return err
}
