package fault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A trap holds every system call with which a program opens, reads or changes
// files, one at a time and in the order in which the kernel meets them, whatever thread they
// come from (seccomp's user notification), and says what becomes of each.

// call is a system call that waits.
type call struct {
	name string
	path string // of the file or directory
	to   string // of a rename
	flag int    // of openat
	size int    // of a write, in bytes

	pid  int // of the thread
	args [6]uint64
}

// verdict is what becomes of a call. The zero one lets it through.
type verdict struct {
	errno unix.Errno // it fails with it, and nothing is done
	skip  bool       // it says 0, and nothing is done
	short bool       // a write writes the half
	kill  bool       // the program is killed before anything is done
	poke  []byte     // with skip: is put where the call wants its answer
}

// trapped are the calls that are held, and whether the first argument is the
// descriptor of what they are about.
var trapped = map[int32]struct {
	name string
	fd   bool
}{
	unix.SYS_READ:      {"read", true},
	unix.SYS_PREAD64:   {"pread", true},
	unix.SYS_WRITE:     {"write", true},
	unix.SYS_PWRITE64:  {"pwrite", true},
	unix.SYS_FSYNC:     {"fsync", true},
	unix.SYS_FDATASYNC: {"fdatasync", true},
	unix.SYS_FTRUNCATE: {"ftruncate", true},
	unix.SYS_FCNTL:     {"lock", true}, // of open file descriptions
	unix.SYS_OPENAT:    {"openat", false},
	unix.SYS_MKDIRAT:   {"mkdir", false},
	unix.SYS_UNLINKAT:  {"unlink", false},
	unix.SYS_RENAMEAT:  {"rename", false},
	// The clock, which a program is asked for only where it has no vDSO (clock).
	unix.SYS_CLOCK_GETTIME: {"clock", true},
}

// trap decides on the calls of one process.
type trap struct {
	decide func(call) verdict
	told   *os.File // where calls are told
	self   int      // the thread that the filter was set on to be inherited
	pid    *os.File // the process
	stop   *os.File // ends serve
	done   chan error
}

// trapStart starts cmd with its calls decided by decide, which is never called
// twice at the same time. The returned function waits for the end.
func trapStart(cmd *exec.Cmd, decide func(call) verdict) (wait func() error, err error) {
	t := &trap{decide: decide, done: make(chan error, 1)}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	t.stop = reader
	started := make(chan error)
	go func() {
		// Never unlocked: the filter stays on the thread, which ends with this.
		runtime.LockOSThread()
		t.self = unix.Gettid()
		if t.told, err = listen(); err == nil {
			go func() { t.done <- t.serve() }() // Start opens files too
			err = cmd.Start()
		}
		started <- err
	}()
	err = <-started
	end := func() error {
		writer.Close() // ends serve
		err := <-t.done
		reader.Close()
		t.told.Close()
		if t.pid != nil {
			t.pid.Close()
		}
		return err
	}
	if err != nil {
		if t.told != nil {
			err = errors.Join(err, end())
		}
		return nil, fmt.Errorf("trap: %w", err)
	}
	return func() error {
		cmd.Wait() //nolint:errcheck // the code says it
		return end()
	}, nil
}

// listen sets the filter on this thread and returns where its calls are told.
func listen() (*os.File, error) {
	const load, jumpEqual, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	const nr, arg0, arg1 = 0, 16, 24 // offsets in struct seccomp_data
	notify := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF}
	allow := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}
	prog := []unix.SockFilter{{Code: load, K: nr}}
	for n := range trapped {
		switch n {
		case unix.SYS_FCNTL: // only locks
			prog = append(prog,
				unix.SockFilter{Code: jumpEqual, Jf: 5, K: uint32(n)}, unix.SockFilter{Code: load, K: arg1},
				unix.SockFilter{Code: jumpEqual, Jt: 1, K: unix.F_OFD_SETLK}, unix.SockFilter{Code: jumpEqual, Jf: 1, K: unix.F_OFD_GETLK},
				notify, allow)
		case unix.SYS_CLOCK_GETTIME: // only the time of day
			prog = append(prog,
				unix.SockFilter{Code: jumpEqual, Jf: 4, K: uint32(n)}, unix.SockFilter{Code: load, K: arg0},
				unix.SockFilter{Code: jumpEqual, Jf: 1, K: unix.CLOCK_REALTIME}, notify, allow)
		default:
			prog = append(prog, unix.SockFilter{Code: jumpEqual, Jf: 1, K: uint32(n)}, notify)
		}
	}
	prog = append(prog, allow)
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return nil, fmt.Errorf("seccomp user notification (Linux 5.19, CAP_SYS_ADMIN): %w", errno)
	}
	return os.NewFile(fd, "seccomp"), nil
}

// notification is struct seccomp_notif.
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// serve answers until it is told to stop.
func (t *trap) serve() error {
	told := t.told.Fd()
	for {
		fds := []unix.PollFd{{Fd: int32(told), Events: unix.POLLIN}, {Fd: int32(t.stop.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return err
		}
		if fds[1].Revents != 0 {
			return nil
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			if fds[0].Revents&unix.POLLHUP != 0 { // nobody is left; the stop comes
				fds[0].Fd = -1
				unix.Poll(fds[1:], -1) //nolint:errcheck // either way it ends
				return nil
			}
			continue
		}
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, told, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			if errno == unix.ENOENT || errno == unix.EINTR { // it died before it was heard
				continue
			}
			return fmt.Errorf("trap: receive: %w", errno)
		}
		r := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if int(n.pid) != t.self {
			r = t.answer(n)
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, told, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r))); errno != 0 && errno != unix.ENOENT {
			return fmt.Errorf("trap: answer: %w", errno)
		}
	}
}

func (t *trap) answer(n notification) response {
	through := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	c, ok := t.read(n)
	if !ok {
		return through
	}
	v := t.decide(c)
	switch {
	case v.kill:
		unix.Kill(c.pid, unix.SIGKILL) //nolint:errcheck // it may have ended
		return response{id: n.id, err: -int32(unix.EIO)}
	case v.errno != 0:
		return response{id: n.id, err: -int32(v.errno)}
	case v.skip:
		if len(v.poke) > 0 {
			to := c.args[2]
			if c.name == "clock" {
				to = c.args[1]
			}
			poke(c.pid, uintptr(to), v.poke)
		}
		return response{id: n.id}
	case v.short && c.size > 1:
		return response{id: n.id, val: t.half(c)}
	}
	return through
}

// read finds out what a call is about.
func (t *trap) read(n notification) (call, bool) {
	kind := trapped[n.nr]
	c := call{name: kind.name, pid: int(n.pid), args: n.args}
	if kind.name == "clock" {
		return c, true
	}
	if kind.fd {
		var err error
		if c.path, err = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, n.args[0])); err != nil {
			return c, false
		}
		c.size = int(n.args[2])
		return c, strings.HasPrefix(c.path, "/")
	}
	c.path = at(c.pid, n.args[0], n.args[1])
	switch kind.name {
	case "openat":
		c.flag = int(n.args[2])
	case "rename":
		c.to = at(c.pid, n.args[2], n.args[3])
	}
	return c, true
}

// at is the path that a call names by a directory and a string.
func at(pid int, dir, address uint64) string {
	name := text(pid, uintptr(address))
	if filepath.IsAbs(name) {
		return name
	}
	link := fmt.Sprintf("/proc/%d/fd/%d", pid, dir)
	if int32(dir) == unix.AT_FDCWD {
		link = fmt.Sprintf("/proc/%d/cwd", pid)
	}
	base, err := os.Readlink(link)
	if err != nil {
		return name
	}
	return filepath.Join(base, name)
}

// text reads a string of another process.
func text(pid int, address uintptr) string {
	var all []byte
	for len(all) < unix.PathMax {
		b := peek(pid, address, 4096-int(address%4096)) // a string may end at the end of its memory
		if end := bytes.IndexByte(b, 0); end >= 0 {
			return string(append(all, b[:end]...))
		}
		if len(b) == 0 {
			break
		}
		all, address = append(all, b...), address+uintptr(len(b))
	}
	return string(all)
}

func peek(pid int, address uintptr, size int) []byte {
	b := make([]byte, size)
	local := []unix.Iovec{{Base: &b[0], Len: uint64(size)}}
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: address, Len: size}}, 0)
	if err != nil {
		return nil
	}
	return b[:n]
}

func poke(pid int, address uintptr, b []byte) {
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	unix.ProcessVMWritev(pid, local, []unix.RemoteIovec{{Base: address, Len: len(b)}}, 0) //nolint:errcheck // it shows in what the program does
}

// half really writes the first half of what a call would write, through the
// program's own descriptor, and returns what the call then says.
func (t *trap) half(c call) int64 {
	if t.pid == nil {
		fd, err := unix.PidfdOpen(leader(c.pid), 0)
		if err != nil {
			return 0
		}
		t.pid = os.NewFile(uintptr(fd), "process")
	}
	fd, err := unix.PidfdGetfd(int(t.pid.Fd()), int(c.args[0]), 0)
	if err != nil {
		return 0
	}
	f := os.NewFile(uintptr(fd), c.path)
	defer f.Close() // a copy
	b := peek(c.pid, uintptr(c.args[1]), c.size/2)
	if c.name == "pwrite" {
		n, _ := f.WriteAt(b, int64(c.args[3]))
		return int64(n)
	}
	n, _ := f.Write(b)
	return int64(n)
}

// leader is the process that a thread belongs to. What started it may not know yet.
func leader(thread int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return thread
	}
	_, line, _ := bytes.Cut(b, []byte("\nTgid:"))
	pid := thread
	fmt.Sscan(string(line), &pid) //nolint:errcheck // the first word is a number
	return pid
}
