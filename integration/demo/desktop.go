package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/helixml/helix-ckpt/integration/desktop"
)

// swayConfig is the least that gives a screen. Outputs are headless.
const swayConfig = `xwayland disable
output HEADLESS-1 resolution 1600x900 position 0 0
default_border normal 2
font monospace 10
`

// windows are what a developer has open. Each runs a shell in its directory,
// which a checkpoint knows from /proc. They are opened in this order.
var windows = []struct{ app, title, dir string }{
	{"editor", "editor — main.go", "app"},
	{"shell", "shell", "app"},
	{"logs", "server log", "app/log"},
	{"tests", "go test ./…", "app/internal"},
	{"build", "make build", "app/cmd"},
	{"notes", "notes", "docs"},
	{"db", "sqlite3", "app/data"},
	{"docs", "docs", "docs/api"},
	{"chat", "claude", "app"},
}

// arrange is what a person did with the windows, by keyboard: after the window
// named, these commands of Sway. The result nests tabbed in split and split in
// tabbed on workspace 1, and tabbed in split in stacked on workspace 2, with
// sizes that no default gives.
var arrange = map[string]string{
	"":       `workspace 1`,
	"shell":  `[app_id="^shell$"] focus; splitv; layout tabbed`,
	"tests":  `[app_id="^tests$"] focus; splitv`,
	"build":  `workspace 2; layout stacking`,
	"db":     `[app_id="^db$"] focus; splith`,
	"docs":   `[app_id="^docs$"] focus; splitv; layout tabbed`,
	"finish": `[app_id="^editor$"] resize grow right 173 px; [app_id="^tests$"] resize shrink down 91 px; [app_id="^db$"] resize grow right 57 px`,
	// The last change, which the last checkpoint is taken for.
	"last": `[app_id="^editor$"] resize shrink right 9 px; [app_id="^docs$"] focus; [app_id="^logs$"] focus; [app_id="^build$"] focus; [app_id="^editor$"] focus`,
}

// boot starts a Sway in the box and returns when it answers.
func (b *box) boot(ctx context.Context, s sandbox, programs string) error {
	config := filepath.Join(b.runtime(), "sway.conf")
	if err := os.WriteFile(config, []byte(swayConfig), 0o644); err != nil {
		return err
	}
	if err := b.start(ctx, s, programs, "sway", "-c", filepath.Join(s.runtimeInside(), "sway.conf")); err != nil {
		return err
	}
	err := await(ctx, "Sway to answer", func() bool {
		_, err := b.swaymsg(ctx, "-t", "get_version")
		return err == nil
	})
	if err != nil {
		return errors.Join(err, b.complaint())
	}
	return nil
}

// furnish opens the windows and arranges them.
func (b *box) furnish(ctx context.Context) error {
	if _, err := b.swaymsg(ctx, arrange[""]); err != nil {
		return err
	}
	for i, w := range windows {
		if _, err := b.swaymsg(ctx, fmt.Sprintf("exec foot -a %s -T '%s' -D '/workspace/%s'", w.app, w.title, w.dir)); err != nil {
			return err
		}
		if err := b.awaitWindows(ctx, i+1); err != nil {
			return err
		}
		if commands, ok := arrange[w.app]; ok {
			if _, err := b.swaymsg(ctx, commands); err != nil {
				return err
			}
		}
	}
	_, err := b.swaymsg(ctx, arrange["finish"])
	return err
}

func (b *box) awaitWindows(ctx context.Context, n int) error {
	return await(ctx, fmt.Sprintf("%d windows", n), func() bool {
		tree, err := b.swaymsg(ctx, "-t", "get_tree")
		return err == nil && len(windowPIDs(tree)) == n
	})
}

// drawn is after how long without a change a desktop is taken to have drawn
// itself: Sway waits 200 ms for a client.
const drawn = 500 * time.Millisecond

// photograph saves both workspaces as <shots>/<when>-<workspace>.png, and
// leaves the desktop as it was: it looks at workspace 2 and comes back. A
// workspace that was hidden shows its last frames until its clients have drawn
// anew, so each is looked at until it shows what it should: the photograph
// called like, or, where that is "", the same for a while.
func (d demo) photograph(ctx context.Context, b *box, when, like string) error {
	for _, workspace := range []string{"2", "1"} {
		if _, err := b.swaymsg(ctx, "workspace "+workspace); err != nil {
			return err
		}
		file := filepath.Join(d.shots, when+"-"+workspace+".png")
		var want []byte
		if like != "" {
			var err error
			if want, err = os.ReadFile(filepath.Join(d.shots, like+"-"+workspace+".png")); err != nil {
				return err
			}
		}
		var last error
		since := time.Now()
		err := await(ctx, fmt.Sprintf("workspace %s of desktop %s to look as it should (see %s)", workspace, b.name, file), func() bool {
			if last = b.grim(ctx, file); last != nil {
				return false
			}
			var got []byte
			if got, last = os.ReadFile(file); last != nil {
				return false
			}
			if bytes.Equal(got, want) {
				return like != "" || time.Since(since) > drawn
			}
			if like == "" {
				want, since = got, time.Now()
			}
			return false
		})
		if err != nil {
			return errors.Join(err, last)
		}
	}
	return nil
}

// tree is what swaymsg says of the desktop once two answers in a row agree:
// Sway gives no event when the last client has drawn itself anew.
func (b *box) tree(ctx context.Context) ([]byte, error) {
	var last []byte
	err := await(ctx, "the tree to rest", func() bool {
		now, err := b.swaymsg(ctx, "-t", "get_tree")
		rests := err == nil && last != nil && desktop.Diff(last, now) == ""
		last = now
		return rests
	})
	return last, err
}

// windowPIDs are the pids of a tree's windows by their app_id.
func windowPIDs(tree []byte) map[string]int {
	type node struct {
		PID   int    `json:"pid"`
		App   string `json:"app_id"`
		Nodes []node `json:"nodes"`
		Float []node `json:"floating_nodes"`
	}
	pids := map[string]int{}
	var walk func(node)
	walk = func(n node) {
		if n.PID != 0 {
			pids[n.App] = n.PID
		}
		for _, child := range append(n.Nodes, n.Float...) {
			walk(child)
		}
	}
	var root node
	if json.Unmarshal(tree, &root) == nil {
		walk(root)
	}
	return pids
}

func (b *box) swaymsg(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "swaymsg", append([]string{"-s", filepath.Join(b.runtime(), "sway.sock"), "-r"}, args...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("desktop %s: swaymsg %s: %w: %s", b.name, strings.Join(args, " "), err, out)
	}
	return out, nil
}

// grim saves what is on the screen, from outside.
func (b *box) grim(ctx context.Context, file string) error {
	display, err := filepath.Glob(filepath.Join(b.runtime(), "wayland-[0-9]"))
	if err != nil || len(display) != 1 {
		return fmt.Errorf("desktop %s: %d wayland sockets in %s", b.name, len(display), b.runtime())
	}
	grim := exec.CommandContext(ctx, "grim", file)
	grim.Env = append(os.Environ(), "WAYLAND_DISPLAY="+display[0], "XDG_RUNTIME_DIR="+b.runtime())
	if out, err := grim.CombinedOutput(); err != nil {
		return fmt.Errorf("desktop %s: grim: %w: %s", b.name, err, out)
	}
	return nil
}

// run runs a shell command inside, as a program that the desktop starts does,
// and returns what it printed. It reaches the inside by Sway's exec: bwrap
// leaves no other door.
func (b *box) run(ctx context.Context, s sandbox, command string) (string, error) {
	b.calls++
	name := "call-" + strconv.Itoa(b.calls)
	inside, outside := filepath.Join(s.runtimeInside(), name), filepath.Join(b.runtime(), name)
	script := fmt.Sprintf("cd /workspace\n( %s\n) >%s.out 2>&1 </dev/null\necho $? >%s.tmp\nmv %s.tmp %s.status\n", command, inside, inside, inside, inside)
	if err := os.WriteFile(outside, []byte(script), 0o755); err != nil {
		return "", err
	}
	if _, err := b.swaymsg(ctx, "exec sh "+inside); err != nil {
		return "", err
	}
	var status []byte
	err := await(ctx, command, func() bool {
		var err error
		status, err = os.ReadFile(outside + ".status")
		return err == nil
	})
	out, readErr := os.ReadFile(outside + ".out")
	if err = errors.Join(err, readErr); err != nil {
		return string(out), err
	}
	if code := strings.TrimSpace(string(status)); code != "0" {
		return string(out), fmt.Errorf("desktop %s: %s: exit status %s\n%s", b.name, command, code, out)
	}
	return string(out), nil
}

// spawn starts a program inside that goes on by itself and logs to
// <run>/NAME.log.
func (b *box) spawn(ctx context.Context, s sandbox, name, command string) error {
	_, err := b.run(ctx, s, fmt.Sprintf("%s >%s/%s.log 2>&1 </dev/null &", command, s.runtimeInside(), name))
	return err
}

// await polls until done says so, ctx ends or patience does.
func await(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}
