package layout_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
)

// names are the app_ids of n windows.
func names(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("w%d", i))
	}
	return out
}

// open starts windows of these names, in the order in which they come.
func open(d *desktop.Desktop, apps []string) []*desktop.Window {
	var want []desktop.Window
	for _, app := range apps {
		want = append(want, desktop.Window{AppID: app, Title: "title of " + app})
	}
	return d.Feet(want, "")
}

// closeAll kills windows all at once.
func closeAll(tb testing.TB, d *desktop.Desktop, windows []*desktop.Window) {
	tb.Helper()
	for _, w := range windows {
		if err := syscall.Kill(-w.PID, syscall.SIGKILL); err != nil {
			tb.Fatalf("kill foot %d: %v", w.PID, err)
		}
	}
	d.WaitWindows(0)
}

// user makes a random person's changes to a desktop.
type user struct {
	ctx  context.Context
	tb   testing.TB
	d    *desktop.Desktop
	rand *rand.Rand
	apps []string

	pending, log []string
}

// try adds a command to those that act runs.
func (u *user) try(format string, args ...any) {
	u.pending = append(u.pending, fmt.Sprintf(format, args...))
}

// act runs the commands in few messages. One that Sway refuses changes
// nothing, as with a key.
func (u *user) act() {
	u.tb.Helper()
	for len(u.pending) > 0 {
		results, err := socket(u.d).Run(u.ctx, u.pending)
		if len(results) == 0 {
			u.tb.Fatalf("%q after %q: %v", u.pending, u.log, err)
		}
		for i, r := range results {
			if r.Success {
				u.log = append(u.log, u.pending[i])
			}
		}
		u.pending = u.pending[len(results):]
	}
}

func criterion(app string) string { return fmt.Sprintf("[app_id=%q]", "^"+app+"$") }

func (u *user) window() string { return criterion(u.pick(u.apps)) }

func (u *user) pick(from []string) string { return from[u.rand.IntN(len(from))] }

// tile makes a random desktop of tiled windows on two workspaces out of
// whatever is there. It returns how often it had to begin again because Sway
// showed a window of no or a negative size, which no command can bring about
// and which clients do not survive for long.
func (u *user) tile() (again int) {
	u.tb.Helper()
	for u.tileOnce(); ; again++ {
		tree, err := socket(u.d).Tree(u.ctx)
		if err != nil {
			u.tb.Fatal(err)
		}
		if !slices.ContainsFunc(tree.Windows(), func(w *sway.Node) bool { return w.Rect.Width <= 0 || w.Rect.Height <= 0 }) {
			return again
		}
		u.tileOnce()
	}
}

func (u *user) tileOnce() {
	u.tb.Helper()
	for i, app := range u.apps {
		w := criterion(app)
		u.try("%s fullscreen disable", w)
		u.try("%s move container to workspace %d", w, 1+i%2)
		u.try("%s floating disable", w)
	}
	u.arrangeAll(5 * len(u.apps))
	for range 4 * len(u.apps) {
		u.try("%s resize %s %s %d px", u.window(), u.pick([]string{"grow", "shrink"}),
			u.pick([]string{"left", "right", "up", "down"}), 1+u.rand.IntN(250))
	}
	for range 2 * len(u.apps) {
		u.try("%s focus", u.window())
		for range u.rand.IntN(5) - 2 {
			u.try("focus parent")
		}
	}
	// Sway keeps old rectangles on a workspace that it has not arranged since;
	// this makes it arrange all, and changes nothing else.
	u.try("gaps inner all plus 0")
	u.act()
}

// arrangeAll makes up to n changes of the trees. It stops when a window becomes
// small: some levels further down Sway makes negative sizes of its own, and
// dies of drawing them.
func (u *user) arrangeAll(n int) {
	u.tb.Helper()
	const look = 6 // how many to make between two looks
	for range n / look {
		for range look {
			u.arrange()
		}
		u.act()
		tree, err := socket(u.d).Tree(u.ctx)
		if err != nil {
			u.tb.Fatal(err)
		}
		if slices.ContainsFunc(tree.Windows(), func(w *sway.Node) bool { return w.Rect.Width < 300 || w.Rect.Height < 300 }) {
			return
		}
	}
}

func (u *user) arrange() {
	u.try("%s focus", u.window())
	for range u.rand.IntN(4) - 1 {
		u.try("focus parent")
	}
	switch u.rand.IntN(9) {
	case 0, 1, 2, 3:
		u.try("%s", u.pick([]string{"split v", "split h"}))
	case 4, 5:
		u.try("layout %s", u.pick([]string{"splith", "splitv", "tabbed", "stacking"}))
	case 6:
		// Windows only: with a container focused it can kill Sway 1.7.
		u.try("%s move %s", u.window(), u.pick([]string{"left", "right", "up", "down"}))
	case 7:
		u.try("mark --add here")
		u.try("%s move container to mark here", u.window())
		u.try("unmark here")
	case 8:
		u.try("mark --add here")
		u.try("%s swap container with mark here", u.window())
		u.try("unmark here")
	}
}

// wreck changes the desktop in ways that a restore must undo: other trees, other
// workspaces, floats, fullscreen and the scratchpad. The trees come first:
// with groups in the scratchpad, which a split of a float would make, the
// commands of arrange would kill Sway.
func (u *user) wreck() {
	u.arrangeAll(2 * len(u.apps))
	for _, w := range u.apps {
		switch w := criterion(w); u.rand.IntN(9) {
		case 0, 1:
			u.try("%s move container to workspace %d", w, 1+u.rand.IntN(4))
		case 2:
			u.try("%s floating enable", w)
		case 3:
			u.try("%s fullscreen enable", w)
		case 4:
			u.try("%s move scratchpad", w)
		case 5:
			u.try("%s floating enable", w)
			u.try("%s sticky enable", w)
		case 6:
			u.try("workspace %d", 1+u.rand.IntN(4))
		}
	}
	u.act()
}

// shape says how deep a saved layout is nested, containers only, and whether a
// tabbed or stacked one is part of that.
func shape(saved *checkpoint.Layout) (depth int, tabs bool) {
	for _, w := range saved.Workspaces {
		for _, n := range w.Nodes {
			n.Walk(func(n *checkpoint.Node, d int) {
				if !n.Leaf() {
					depth = max(depth, d+1)
					tabs = tabs || n.Layout == "tabbed" || n.Layout == "stacked"
				}
			})
		}
	}
	return depth, tabs
}

func shuffled(r *rand.Rand, s []string) []string {
	out := slices.Clone(s)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
