package sway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func environment(d *desktop.Desktop) func(string) string {
	return func(name string) string {
		for _, e := range d.Env() {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return ""
	}
}

func TestFindSkipsTheSocketOfADeadSway(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	stale := d.Socket()
	first := find(t, d, "")
	if first.PID != d.PID() || first.StartTicks == 0 || first.Name != "sway" || !strings.HasPrefix(first.Version, "1.") {
		t.Errorf("found %+v, want sway 1.x with pid %d", first, d.PID())
	}
	d.Kill9()
	if s, _, err := sway.Find(t.Context(), environment(d)); !errors.Is(err, checkpoint.ErrNoCompositor) {
		t.Errorf("with Sway dead, Find = %q, %v, want ErrNoCompositor", s, err)
	}
	d.Restart()
	second := find(t, d, stale)
	if first.Same(second) {
		t.Errorf("two lives of Sway look the same: %+v", second)
	}
	if _, err := os.Stat(stale); err != nil {
		t.Errorf("the stale socket was touched: %v", err)
	}
}

// find looks with $SWAYSOCK set to swaysock, and checks that it is d that
// was found.
func find(t *testing.T, d *desktop.Desktop, swaysock string) checkpoint.Compositor {
	t.Helper()
	env := environment(d)
	s, c, err := sway.Find(t.Context(), func(name string) string {
		if name == "SWAYSOCK" {
			return swaysock
		}
		return env(name)
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(s) != d.Socket() {
		t.Errorf("found %s, want %s", s, d.Socket())
	}
	return c
}

func TestOperationsEndWhenSwayHangs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() }) //nolint:errcheck // it accepted nothing: connects, and never answers
	s := sway.Socket(path)
	for name, operation := range map[string]func(context.Context) error{
		"probe":    func(ctx context.Context) error { _, err := s.Probe(ctx); return err },
		"tree":     func(ctx context.Context) error { _, err := s.Tree(ctx); return err },
		"outputs":  func(ctx context.Context) error { _, err := s.Outputs(ctx); return err },
		"run":      func(ctx context.Context) error { _, err := s.Run(ctx, []string{"nop"}); return err },
		"watch":    func(ctx context.Context) error { return s.Watch(ctx, func(sway.Event) {}) },
		"snapshot": func(ctx context.Context) error { _, _, err := s.Snapshot(ctx, nil); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := operation(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want DeadlineExceeded", name, err)
		}
		cancel()
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sway-") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestRunGivesOneResultForEachCommand(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	d.Foot("one", "one", "")
	s := sway.Socket(d.Socket())

	results, err := s.Run(t.Context(), []string{`[app_id="^one$"] border pixel 3`, `[app_id="^none$"] focus`, `mark --add m`})
	if err != nil || len(results) != 3 || !results[0].Success || results[1].Success || results[1].Error == "" || !results[2].Success {
		t.Errorf("results %+v, %v; want success, failure, success", results, err)
	}
	results, err = s.Run(t.Context(), []string{`nop`, `nonsense`, `mark --add n`})
	var invalid *sway.InvalidCommand
	if !errors.As(err, &invalid) || invalid.Index != 1 || len(results) != 2 {
		t.Errorf("results %+v, %v; want command 1 to be invalid", results, err)
	}
	if strings.Contains(string(d.Tree()), `"n"`) {
		t.Error("the command after the invalid one was run")
	}
	if _, err := s.Run(t.Context(), []string{"nop; nop"}); err == nil {
		t.Error("two commands in one string were taken")
	}
	if _, err := s.Run(t.Context(), []string{"nop " + strings.Repeat("x", sway.MaxPayload)}); !errors.Is(err, sway.ErrPayload) {
		t.Errorf("a payload that Sway never reads: %v, want ErrPayload", err)
	}
	full := []string{"nop " + strings.Repeat("x", sway.MaxPayload-4)}
	if results, err := s.Run(t.Context(), full); err != nil || len(results) != 1 {
		t.Errorf("the largest payload: %+v, %v", results, err)
	}
}

func TestWatchSignalsUntilSwayEnds(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	events := make(chan sway.Event, 100)
	ended := make(chan error)
	go func() {
		ended <- sway.Socket(d.Socket()).Watch(t.Context(), func(e sway.Event) { events <- e })
	}()
	expect(t, events, sway.Event{Kind: sway.Subscribed})
	d.Foot("one", "one", "")
	expect(t, events, sway.Event{Kind: "window", Change: "new"})
	d.Swaymsg("workspace 2")
	expect(t, events, sway.Event{Kind: "workspace", Change: "focus"})
	d.Kill9()
	if err := <-ended; err == nil {
		t.Error("Watch ended without an error")
	}
}

func expect(t *testing.T, events <-chan sway.Event, want sway.Event) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case e := <-events:
			if e == want {
				return
			}
		case <-timeout:
			t.Fatalf("no event %+v", want)
		}
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	err := sway.Socket(d.Socket()).Watch(ctx, func(sway.Event) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v, want Canceled", err)
	}
}

// What swaymsg says of every node must be found in our own tree.
func TestTreeHoldsWhatSwaymsgShows(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	d := desktop.Start(t, desktop.Options{Outputs: 2})
	d.BuildTree(rand.New(rand.NewPCG(seed, 1)), desktop.BuildOptions{Windows: 8, Workspaces: 2})
	d.Swaymsg(`[app_id="^w0$"] floating enable, mark --add "a b"; [app_id="^w1$"] floating enable, sticky enable; [app_id="^w2$"] move scratchpad; ` +
		`[app_id="^w3$"] move scratchpad; [app_id="^w3$"] scratchpad show; [app_id="^w4$"] inhibit_idle visible; [app_id="^w5$"] border pixel 3; [app_id="^w6$"] fullscreen enable`)
	var root *sway.Node
	var raw []byte
	for before := []byte(nil); before == nil || !bytes.Equal(before, raw); { // a client may draw late
		before = d.Settled()
		var err error
		if root, err = sway.Socket(d.Socket()).Tree(t.Context()); err != nil {
			t.Fatal(err)
		}
		raw = d.Settled()
	}
	var judge map[string]any
	if err := json.Unmarshal(raw, &judge); err != nil {
		t.Fatal(err)
	}
	compareNode(t, judge, root)
	if n := len(root.Windows()); n != 8 {
		t.Errorf("%d windows, want 8", n)
	}
	hidden := root.Scratchpad()
	if len(hidden.Floating) != 1 || !hidden.Floating[0].InScratchpad {
		t.Errorf("the scratchpad holds %d, want 1 that is marked", len(hidden.Floating))
	}
	shown := 0
	for _, w := range root.Workspaces() {
		w.Walk(func(n *sway.Node) {
			if n.InScratchpad {
				shown++
			}
		})
	}
	if shown != 1 {
		t.Errorf("%d shown windows are marked as of the scratchpad, want 1", shown)
	}
}

func compareNode(t *testing.T, want map[string]any, got *sway.Node) {
	t.Helper()
	check := func(field string, got any) {
		t.Helper()
		w := want[field]
		if w == nil {
			return
		}
		if a, b := encode(t, w), encode(t, got); a != b {
			t.Errorf("node %v: %s is %s, swaymsg says %s", want["id"], field, b, a)
		}
	}
	box := func(r checkpoint.Rect) any {
		return map[string]int{"x": r.X, "y": r.Y, "width": r.Width, "height": r.Height}
	}
	list := func(marks []string) any { return append([]string{}, marks...) }
	check("id", got.ID)
	check("type", got.Type)
	check("name", got.Name)
	check("layout", got.Layout)
	check("rect", box(got.Rect))
	check("deco_rect", box(got.DecoRect))
	check("window_rect", box(got.WindowRect))
	check("border", got.Border)
	check("current_border_width", got.BorderWidth)
	check("percent", got.Percent)
	check("marks", list(got.Marks))
	check("focused", got.Focused)
	check("sticky", got.Sticky)
	check("urgent", got.Urgent)
	check("fullscreen_mode", got.FullscreenMode)
	check("focus", append([]int64{}, got.Focus...))
	if want["num"] != nil {
		check("num", got.Num)
		check("output", got.Output)
	}
	if want["pid"] != nil {
		check("pid", got.Window.PID)
		check("app_id", got.Window.AppID)
		check("shell", got.Window.Shell)
		check("visible", got.Window.Visible)
		check("idle_inhibitors", map[string]any{"user": got.InhibitIdle, "application": "none"})
	}
	if want["current_workspace"] != nil && got.Type == "output" {
		for _, w := range got.Nodes {
			if w.ID == got.CurrentWorkspace() {
				check("current_workspace", w.Name)
			}
		}
	}
	for field, children := range map[string][]*sway.Node{"nodes": got.Nodes, "floating_nodes": got.Floating} {
		nodes, _ := want[field].([]any)
		if len(nodes) != len(children) {
			t.Fatalf("node %v: %d %s, swaymsg says %d", want["id"], len(children), field, len(nodes))
		}
		for i, c := range nodes {
			compareNode(t, c.(map[string]any), children[i])
		}
	}
}

// encode brings numbers and maps of both sides to one form.
func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(b, &plain); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(plain)
}
