package launch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/helixml/helix-ckpt/checkpoint/process"
)

// Environment returns base changed so that programs appear on the desktop
// whose Wayland socket is display and whose IPC socket is socket. What names
// another desktop, or was meant for helix-ckpt itself, is left out.
func Environment(base []string, display, socket string) []string {
	env := slices.DeleteFunc(slices.Clone(base), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY", "SWAYSOCK", "I3SOCK", "XDG_RUNTIME_DIR",
			"XDG_ACTIVATION_TOKEN", "DESKTOP_STARTUP_ID":
			return true
		}
		return strings.HasPrefix(name, "HELIX_CKPT_")
	})
	return append(env,
		"XDG_RUNTIME_DIR="+filepath.Dir(display),
		"WAYLAND_DISPLAY="+filepath.Base(display),
		"SWAYSOCK="+socket)
}

// Running is a program that was started.
type Running struct {
	Command Command
	PID     int
	// Dir is where it was started: where Command says or, when that is gone,
	// what is left of the way there.
	Dir string

	done chan struct{}
	err  error
}

// Done is closed when the program has ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Err says how it ended, once Done is closed; nil means with success.
func (r *Running) Err() error {
	<-r.done
	return r.err
}

// Start starts a command in env (see Environment), detached: in a session of
// its own and without our files, so that it lives on when we end. It is reaped
// when it ends before us.
func Start(c Command, env []string) (*Running, error) {
	path, err := c.lookup()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, c.Args...) //nolint:noctx // it is to outlive every context of ours
	cmd.Dir = existing(c.Dir, env)
	cmd.Env = append(slices.Clone(env), process.LaunchVar+"="+c.LaunchID)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Programs[0], err)
	}
	r := &Running{Command: c, PID: cmd.Process.Pid, Dir: cmd.Dir, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := cmd.Wait(); err != nil {
			r.err = fmt.Errorf("%s (pid %d) ended: %w", c.Programs[0], r.PID, err)
		}
	}()
	return r, nil
}

func (c Command) lookup() (string, error) {
	var errs []error
	for _, program := range c.Programs {
		path, err := exec.LookPath(program)
		if err == nil {
			return path, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("start process %s: %w", c.Process, errors.Join(errs...))
}

// existing returns dir or the nearest directory above it that is there; HOME
// when none is known.
func existing(dir string, env []string) string {
	if dir == "" {
		for _, entry := range env {
			if home, ok := strings.CutPrefix(entry, "HOME="); ok {
				dir = home
			}
		}
	}
	for dir != "" && dir != "/" && dir != "." {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "/"
}
