package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// nobody is the uid that a desktop runs as when the demo runs as root: Sway
// 1.7 refuses to be root, and nobody owns nothing that it could disturb.
const nobody = 65534

// patience bounds every wait for the outside world. Sway answers after 0.1 s on
// an idle machine.
const patience = 20 * time.Second

// pollEvery is how often something that gives no event is looked at.
const pollEvery = 20 * time.Millisecond

// box is a desktop's machine: a directory of the host that holds all it can
// write to, and the namespaces that its processes live in. Its root is a tmpfs
// with the host's /usr below it; nothing else of the host can be read in it.
//
//	inside                         on the host
//	/home/user                     <dir>/home
//	/workspace                     <dir>/workspace
//	/run/user/<uid>                <dir>/run        (the sockets are here)
//	/opt/demo                      the directory with the programs, read-only
type box struct {
	name string // A, B or C
	dir  string

	cmd   *exec.Cmd
	init  int    // pid of the first process inside, as the host sees it
	pidns string // its pid namespace, as /proc/PID/ns/pid names it
	calls int    // commands run so far

	known map[string]record // manifests read so far, by file
}

// sandbox says what a box could be made of here, tried once.
type sandbox struct {
	uid  int
	drop []string // what stands between bwrap and the program inside
	args []string // what bwrap needs beyond the mounts
}

// findSandbox tries the way that fits the caller: root makes the namespaces
// itself and drops to nobody inside; a user needs user namespaces.
func findSandbox(ctx context.Context) (sandbox, error) {
	s := sandbox{uid: os.Getuid(), args: []string{"--unshare-user"}}
	hint := "let users make namespaces of their own (sysctl kernel.unprivileged_userns_clone=1, " +
		"user.max_user_namespaces above 0, kernel.apparmor_restrict_unprivileged_userns=0), or run the demo as root"
	if s.uid == 0 {
		s = sandbox{uid: nobody, drop: []string{
			"setpriv", "--reuid=" + strconv.Itoa(nobody), "--regid=" + strconv.Itoa(nobody), "--clear-groups",
			"--bounding-set=-all", "--no-new-privs",
		}}
		hint = "give this container CAP_SYS_ADMIN (docker run --privileged), or run the demo as a user with user namespaces"
	}
	argv := append(s.bwrap(), "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64")
	argv = append(append(argv, s.drop...), "true")
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return s, fmt.Errorf("bubblewrap cannot make namespaces here (%s): %s", strings.TrimSpace(string(out)), hint)
	}
	return s, nil
}

func (s sandbox) bwrap() []string {
	return append([]string{
		"bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net",
		"--die-with-parent", "--new-session", "--clearenv", "--proc", "/proc", "--dev", "/dev",
	}, s.args...)
}

// newBox makes the directory of a machine called name below parent.
func (s sandbox) newBox(name, parent string) (*box, error) {
	b := &box{name: name, dir: filepath.Join(parent, strings.ToLower(name)), known: map[string]record{}}
	for _, dir := range []string{b.home(), b.workspace(), b.runtime()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if err := os.Lchown(dir, s.uid, s.gid()); err != nil {
			return nil, err
		}
	}
	return b, os.Chmod(b.dir, 0o755)
}

func (s sandbox) gid() int {
	if s.uid == nobody {
		return nobody
	}
	return os.Getgid()
}

func (b *box) home() string      { return filepath.Join(b.dir, "home") }
func (b *box) workspace() string { return filepath.Join(b.dir, "workspace") }
func (b *box) runtime() string   { return filepath.Join(b.dir, "run") }

func (s sandbox) runtimeInside() string { return "/run/user/" + strconv.Itoa(s.uid) }

// start runs argv inside as the box's first program, with the programs of
// programs at /opt/demo. Its output goes to <dir>/log.
func (b *box) start(ctx context.Context, s sandbox, programs string, argv ...string) error {
	run := s.runtimeInside()
	args := append(
		s.bwrap(),
		"--info-fd", "3", "--hostname", "desktop-"+strings.ToLower(b.name),
		"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
		// Made one by one: bwrap gives a missing parent to the caller alone.
		"--perms", "0755", "--dir", "/etc", "--ro-bind", "/etc/fonts", "/etc/fonts",
		"--perms", "0755", "--dir", "/run", "--perms", "0755", "--dir", "/run/user", "--bind", b.runtime(), run,
		"--perms", "0755", "--dir", "/home", "--bind", b.home(), "/home/user",
		"--perms", "0755", "--dir", "/opt", "--ro-bind", programs, "/opt/demo",
		"--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/dev/shm", // wlroots keeps its buffers there
		"--bind", b.workspace(), "/workspace", "--chdir", "/workspace",
	)
	for _, variable := range []string{
		"HOME=/home/user", "USER=user", "SHELL=/bin/sh", "LANG=C.UTF-8", "PATH=/opt/demo:/usr/bin:/bin",
		"XDG_RUNTIME_DIR=" + run, "SWAYSOCK=" + run + "/sway.sock",
		"WLR_BACKENDS=headless", "WLR_RENDERER=pixman", "WLR_LIBINPUT_NO_DEVICES=1",
		"HELIX_SESSION_ID=demo", "PS1=$PWD $ ", "WORKSPACE_DIR=/workspace",
	} {
		name, value, _ := strings.Cut(variable, "=")
		args = append(args, "--setenv", name, value)
	}
	args = append(append(args, s.drop...), argv...)

	info, childInfo, err := os.Pipe()
	if err != nil {
		return err
	}
	defer info.Close()
	log, err := os.Create(filepath.Join(b.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	b.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	b.cmd.Stdout, b.cmd.Stderr, b.cmd.ExtraFiles = log, log, []*os.File{childInfo}
	err = b.cmd.Start()
	childInfo.Close()
	if err != nil {
		return fmt.Errorf("desktop %s: %w", b.name, err)
	}
	return b.identify(info)
}

// identify learns from bwrap which process and namespace it made.
func (b *box) identify(info io.Reader) error {
	var made struct {
		Child int   `json:"child-pid"`
		PidNS int64 `json:"pid-namespace"`
	}
	if err := json.NewDecoder(info).Decode(&made); err != nil || made.Child == 0 {
		return errors.Join(fmt.Errorf("desktop %s: bwrap did not start: %w", b.name, err), b.complaint())
	}
	b.init, b.pidns = made.Child, fmt.Sprintf("pid:[%d]", made.PidNS)
	return nil
}

// complaint is the end of what the box logged.
func (b *box) complaint() error { return errors.New(lastLines(filepath.Join(b.dir, "log"))) }

// kill kills everything inside at once: when the first process of a pid
// namespace gets SIGKILL, the kernel sends it to all. It returns when none is
// left, which it reads from /proc.
func (b *box) kill() error {
	if b.cmd == nil {
		return nil
	}
	if err := syscall.Kill(b.init, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	b.cmd.Wait() //nolint:errcheck // it was killed, and says so
	b.cmd = nil
	// Not the caller's context: it may be over, which is why we clean up.
	err := await(context.Background(), "the end of desktop "+b.name, func() bool { return len(b.processes()) == 0 })
	if err != nil {
		return fmt.Errorf("processes %v outlived kill -9: %w", b.processes(), err)
	}
	return nil
}

// processes are the pids, on the host, of those that live in the box.
func (b *box) processes() []int {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	var pids []int
	for _, link := range links {
		if ns, err := os.Readlink(link); err == nil && ns == b.pidns {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2]) // the pattern admits digits only
			pids = append(pids, pid)
		}
	}
	return pids
}

// hostPIDs are the processes in the box: the pid that it has on the host, where
// no two boxes share one, by the pid that it has inside.
func (b *box) hostPIDs() (map[int]int, error) {
	pids := map[int]int{}
	for _, pid := range b.processes() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it ended meanwhile
		} else if err != nil {
			return nil, err
		}
		_, ns, _ := strings.Cut(string(status), "\nNSpid:")
		ns, _, _ = strings.Cut(ns, "\n")
		fields := strings.Fields(ns) // from the outermost namespace to the process's own
		if len(fields) == 0 {
			return nil, fmt.Errorf("/proc/%d/status has no NSpid", pid)
		}
		inside, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil {
			return nil, fmt.Errorf("/proc/%d/status: NSpid: %w", pid, err)
		}
		pids[inside] = pid
	}
	return pids, nil
}

// destroy kills everything inside and deletes all that it wrote.
func (b *box) destroy() error {
	if err := b.kill(); err != nil {
		return err
	}
	return os.RemoveAll(b.dir)
}
