// Package desktop gives tests a real desktop: a headless Sway with real foot
// windows, and a judge that reads it with swaymsg.
//
//	d := desktop.Start(t, desktop.Options{})
//	d.Foot("editor", "main.go", "")
//	d.Swaymsg(`[app_id="^editor$"] floating enable`)
//	before := d.Settled()
//	…
//	if diff := desktop.Diff(before, d.Settled()); diff != "" { t.Error(diff) }
//
// It knows nothing of helix-ckpt and imports none of it, because it judges it:
// what it says of a desktop comes from `swaymsg -t get_tree` alone.
//
// Every desktop is private: its own runtime directory and home, its own
// environment, and, because Sway 1.7 refuses to run as root, the uid nobody
// when the test runs as root. What it started ends with the test, also when
// the test process is killed. A missing sway, swaymsg or foot fails the test.
package desktop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// TB is what a desktop needs of a test: *testing.T, *rapid.T, or a program
// that wants a desktop and has no test.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// Options of a desktop. The zero value is one output of 1920×1080.
type Options struct {
	// Outputs is how many outputs there are, named HEADLESS-1 and on, side by
	// side from left to right.
	Outputs int
	// Resolution of every output, such as 1280x720.
	Resolution string
	// ExtraConfig is appended to Sway's configuration.
	ExtraConfig string
}

// Desktop is a running Sway and its windows.
type Desktop struct {
	tb   TB
	opts Options
	dir  string
	cred *syscall.Credential // whom to run as; nil for ourselves

	sway    *process
	socket  string
	windows []*process
}

const (
	// unprivileged is nobody on Debian: a uid that owns nothing else.
	unprivileged = 65534
	// patience bounds every wait for the outside world. Sway answers after
	// 0.1 s and foot maps after 0.04 s on an idle machine; a loaded one with
	// the race detector takes many times that.
	patience = 30 * time.Second
	// pollEvery is how often a state without an event is looked at.
	pollEvery = 10 * time.Millisecond
)

// Start returns a Sway that answers.
func Start(tb TB, opts Options) *Desktop {
	tb.Helper()
	for _, tool := range []string{"sway", "swaymsg", "foot"} {
		if _, err := exec.LookPath(tool); err != nil {
			tb.Fatalf("desktop: %v; install it with: apt-get install sway foot", err)
		}
	}
	if opts.Outputs == 0 {
		opts.Outputs = 1
	}
	if opts.Resolution == "" {
		opts.Resolution = "1920x1080"
	}
	d := &Desktop{tb: tb, opts: opts}
	if os.Getuid() == 0 {
		d.cred = &syscall.Credential{Uid: unprivileged, Gid: unprivileged}
	}
	// Not tb.TempDir: its path is too long for a unix socket (108 bytes), and
	// nobody may not enter it.
	dir, err := os.MkdirTemp("/tmp", "desk-")
	if err != nil {
		tb.Fatalf("desktop: %v", err)
	}
	d.dir = dir
	tb.Cleanup(d.stop)
	d.own(dir)
	d.Dir("")
	d.mkdir(d.RuntimeDir())
	d.writeConfig()
	d.launch()
	return d
}

// Restart starts Sway again after Kill9, in the same runtime directory. As the
// socket of the one killed is still there, the new one listens on another.
func (d *Desktop) Restart() {
	d.tb.Helper()
	d.launch()
}

// Kill9 kills Sway without warning, as a crash does, and returns when it and
// the windows, which lose their connection, are gone.
func (d *Desktop) Kill9() {
	d.tb.Helper()
	d.sway.kill()
	for _, w := range d.windows {
		w.await(d.tb)
	}
	d.windows = nil
}

// RuntimeDir is its XDG_RUNTIME_DIR.
func (d *Desktop) RuntimeDir() string { return filepath.Join(d.dir, "run") }

// Socket is the path of Sway's IPC socket.
func (d *Desktop) Socket() string { return d.socket }

// PID is that of Sway.
func (d *Desktop) PID() int { return d.sway.pid() }

// Credential is whom the desktop's processes run as; nil when that is the user
// of the test.
func (d *Desktop) Credential() *syscall.Credential { return d.cred }

// Dir creates a directory below the desktop's HOME, owned by its user, and
// returns its path. The empty path is HOME itself.
func (d *Desktop) Dir(rel string) string {
	d.tb.Helper()
	path := filepath.Join(d.dir, "home")
	d.mkdir(path)
	for part := range strings.SplitSeq(rel, "/") {
		path = filepath.Join(path, part)
		d.mkdir(path)
	}
	return path
}

// Env is the environment of a program of this desktop, and nothing of the
// test's own.
func (d *Desktop) Env() []string {
	return []string{
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"HOME=" + filepath.Join(d.dir, "home"),
		"SHELL=/bin/sh",
		"LANG=C.UTF-8",
		"XDG_RUNTIME_DIR=" + d.RuntimeDir(),
		"WAYLAND_DISPLAY=" + display,
		"SWAYSOCK=" + d.socket,
	}
}

// Command prepares a program to run as one of this desktop. The caller starts
// it and waits for it; it is killed with the test process.
func (d *Desktop) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...) //nolint:noctx // it ends with the desktop
	cmd.Env = d.Env()
	cmd.Dir = filepath.Join(d.dir, "home")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.cred, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// display is the name that Sway's Wayland socket gets: the first free one, and
// the runtime directory is private.
const display = "wayland-1"

func (d *Desktop) writeConfig() {
	d.tb.Helper()
	var width, height int
	if _, err := fmt.Sscanf(d.opts.Resolution, "%dx%d", &width, &height); err != nil {
		d.tb.Fatalf("desktop: resolution %q: want e.g. 1920x1080", d.opts.Resolution)
	}
	var config strings.Builder
	config.WriteString("xwayland disable\nfocus_follows_mouse no\n")
	for i := range d.opts.Outputs {
		fmt.Fprintf(&config, "output HEADLESS-%d resolution %s position %d 0\n", i+1, d.opts.Resolution, i*width)
	}
	config.WriteString(d.opts.ExtraConfig + "\n")
	if err := os.WriteFile(d.configFile(), []byte(config.String()), 0o644); err != nil {
		d.tb.Fatalf("desktop: %v", err)
	}
}

func (d *Desktop) configFile() string { return filepath.Join(d.dir, "config") }

// launch starts Sway and waits until its socket answers.
func (d *Desktop) launch() {
	d.tb.Helper()
	fixed := filepath.Join(d.RuntimeDir(), "sway.sock")
	d.socket = fixed
	cmd := d.Command("sway", "-c", d.configFile())
	cmd.Env = append(d.Env(),
		"WLR_BACKENDS=headless", "WLR_LIBINPUT_NO_DEVICES=1", "WLR_RENDERER=pixman",
		fmt.Sprintf("WLR_HEADLESS_OUTPUTS=%d", d.opts.Outputs))
	cmd.Env = without(cmd.Env, "WAYLAND_DISPLAY") // else it would run inside another
	d.sway = d.start(cmd, "sway.log")
	fallback := filepath.Join(d.RuntimeDir(), fmt.Sprintf("sway-ipc.%d.%d.sock", d.uid(), d.PID()))
	d.await("sway to answer", func() bool {
		for _, path := range []string{fixed, fallback} {
			if answers(path) {
				d.socket = path
				return d.outputs() == d.opts.Outputs
			}
		}
		if d.sway.exited() {
			d.tb.Fatalf("desktop: sway ended: %s", d.sway.output())
		}
		return false
	})
}

func answers(socket string) bool {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "unix", socket)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func (d *Desktop) outputs() int {
	tree, err := d.tree()
	if err != nil {
		return 0
	}
	return len(tree.outputs())
}

func (d *Desktop) uid() int {
	if d.cred != nil {
		return int(d.cred.Uid)
	}
	return os.Getuid()
}

// stop kills what was started and removes what was written.
func (d *Desktop) stop() {
	if d.sway != nil {
		d.sway.kill()
	}
	for _, w := range d.windows {
		w.kill()
	}
	if err := os.RemoveAll(d.dir); err != nil {
		d.tb.Logf("desktop: %v", err)
	}
}

func (d *Desktop) own(path string) {
	d.tb.Helper()
	if d.cred == nil {
		return
	}
	if err := os.Chown(path, int(d.cred.Uid), int(d.cred.Gid)); err != nil {
		d.tb.Fatalf("desktop: %v", err)
	}
}

func (d *Desktop) mkdir(path string) {
	d.tb.Helper()
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, os.ErrExist) {
		return
	}
	if err != nil {
		d.tb.Fatalf("desktop: %v", err)
	}
	d.own(path)
}

// await polls for what gives no event.
func (d *Desktop) await(what string, done func() bool) {
	d.tb.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			d.tb.Fatalf("desktop: waited %v for %s; sway says: %s", patience, what, d.sway.output())
		}
	}
}

func without(env []string, name string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, name+"=") {
			kept = append(kept, e)
		}
	}
	return kept
}

// process is a started program, reaped as soon as it ends.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	once sync.Once
}

func (d *Desktop) start(cmd *exec.Cmd, log string) *process {
	d.tb.Helper()
	path := filepath.Join(d.dir, log)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.tb.Fatalf("desktop: %v", err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		d.tb.Fatalf("desktop: start %s: %v", cmd.Path, err)
	}
	p := &process{cmd: cmd, log: path, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		cmd.Wait() //nolint:errcheck // how it ended is read from ProcessState
	}()
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process group; done once, as the pid may be another's later.
func (p *process) kill() {
	p.once.Do(func() {
		if !p.exited() {
			syscall.Kill(-p.pid(), syscall.SIGKILL) //nolint:errcheck // it may have just ended
		}
	})
	<-p.done
}

func (p *process) await(tb TB) {
	tb.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		tb.Fatalf("desktop: %s (pid %d) has not ended after %v", p.cmd.Path, p.pid(), patience)
	}
}

// output is the end of what the process printed.
func (p *process) output() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const tail = 4 << 10
	return strings.TrimSpace(string(b[max(0, len(b)-tail):]))
}
