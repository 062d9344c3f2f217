package desktop

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// Window is a foot window that was started here.
type Window struct {
	AppID, Title string
	// PID is that of foot; a shell runs below it.
	PID int

	process *process
}

// Foot opens a foot window with the user's shell in cwd (HOME when empty) and
// returns when Sway shows it.
func (d *Desktop) Foot(appID, title, cwd string) *Window {
	d.tb.Helper()
	return d.Feet([]Window{{AppID: appID, Title: title}}, cwd)[0]
}

// Feet opens several windows at once, which is faster than one by one; the
// order in which they appear is not defined.
func (d *Desktop) Feet(want []Window, cwd string) []*Window {
	d.tb.Helper()
	var windows []*Window
	for _, w := range want {
		cmd := d.Command("foot", "-a", w.AppID, "-T", w.Title)
		if cwd != "" {
			cmd.Dir = cwd
		}
		w.process = d.start(cmd, fmt.Sprintf("foot-%d.log", len(d.windows)))
		w.PID = w.process.pid()
		d.windows = append(d.windows, w.process)
		windows = append(windows, &w)
	}
	d.await("windows to appear", func() bool {
		shown := d.pids()
		for _, w := range windows {
			if w.process.exited() {
				d.tb.Fatalf("desktop: foot %s ended: %s", w.AppID, w.process.output())
			}
			if !shown[w.PID] {
				return false
			}
		}
		return true
	})
	return windows
}

// Close ends the window and returns when Sway no longer shows it.
func (d *Desktop) Close(w *Window) {
	d.tb.Helper()
	w.process.kill()
	d.await("window "+w.AppID+" to go", func() bool { return !d.pids()[w.PID] })
}

// WaitWindows waits until Sway shows n windows, whoever started them.
func (d *Desktop) WaitWindows(n int) {
	d.tb.Helper()
	d.await(fmt.Sprintf("%d windows", n), func() bool {
		tree, err := d.tree()
		return err == nil && len(tree.windows()) == n
	})
}

// pids are the processes that have a window now.
func (d *Desktop) pids() map[int]bool {
	pids := map[int]bool{}
	if tree, err := d.tree(); err == nil {
		for _, w := range tree.windows() {
			pids[w.PID] = true
		}
	}
	return pids
}

// Swaymsg runs Sway commands in one message; one that fails fails the test.
// Where no window matches its criteria, a command fails.
func (d *Desktop) Swaymsg(commands string) {
	d.tb.Helper()
	if _, err := d.swaymsg("--", commands); err != nil {
		d.tb.Fatalf("desktop: %v", err)
	}
}

// Tree is what `swaymsg -t get_tree` prints: the independent word on what the
// desktop looks like.
func (d *Desktop) Tree() []byte {
	d.tb.Helper()
	raw, err := d.swaymsg("-t", "get_tree")
	if err != nil {
		d.tb.Fatalf("desktop: %v", err)
	}
	return raw
}

// Settled is Tree once it no longer changes: a border or a size lags its
// command by up to 200 ms, until the client has drawn.
func (d *Desktop) Settled() []byte {
	d.tb.Helper()
	const quiet = 250 * time.Millisecond
	last := d.Tree()
	since, deadline := time.Now(), time.Now().Add(patience)
	for time.Since(since) < quiet {
		if time.Now().After(deadline) {
			d.tb.Fatalf("desktop: the tree still changes after %v", patience)
		}
		time.Sleep(quiet / 10)
		if now := d.Tree(); !bytes.Equal(now, last) {
			last, since = now, time.Now()
		}
	}
	return last
}

func (d *Desktop) tree() (*node, error) {
	raw, err := d.ask(getTree, "")
	if err != nil {
		return nil, err
	}
	return parse(raw)
}

func (d *Desktop) swaymsg(args ...string) ([]byte, error) {
	cmd := d.Command("swaymsg", append([]string{"--raw", "--socket", d.socket}, args...)...)
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	if refused := failure(out); len(out) > 0 && refused != nil {
		return nil, fmt.Errorf("swaymsg %q: %w", args, refused)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("swaymsg %q: %w: %s%s", args, err, out, exit.Stderr)
	}
	return nil, fmt.Errorf("swaymsg %q: %w", args, err)
}
