package layout_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
)

// errDied is returned when Sway itself ended.
var errDied = errors.New("sway died")

// user makes changes to a desktop as a person would: one command at a time,
// and one that Sway refuses changes nothing.
type user struct {
	ctx  context.Context
	d    *desktop.Desktop
	rand *rand.Rand
	apps []string

	log []string // the commands that were run
	// tree is what Sway showed last; nil when a command was run since.
	tree *sway.Node
}

// run runs commands in one message.
func (u *user) run(commands ...string) error {
	u.tree = nil
	for len(commands) > 0 {
		results, err := sway.Socket(u.d.Socket()).Run(u.ctx, commands)
		u.log = append(u.log, commands[:max(1, len(results))]...)
		if len(results) == 0 {
			if !u.d.Alive() {
				return fmt.Errorf("%w of one of %q", errDied, commands)
			}
			return err
		}
		commands = commands[len(results):]
	}
	return nil
}

func (u *user) look() (*sway.Node, error) {
	if u.tree != nil {
		return u.tree, nil
	}
	tree, err := sway.Socket(u.d.Socket()).Tree(u.ctx)
	if err != nil && !u.d.Alive() {
		return nil, fmt.Errorf("%w after %q", errDied, u.log[max(0, len(u.log)-3):])
	}
	u.tree = tree
	return tree, err
}

func (u *user) pick(from ...string) string { return from[u.rand.IntN(len(from))] }

func (u *user) chance(percent int) bool { return u.rand.IntN(100) < percent }

func on(app string) string { return fmt.Sprintf("[app_id=%q] ", "^"+app+"$") }

func con(n *sway.Node) string { return fmt.Sprintf("[con_id=%d] ", n.ID) }

// names of workspaces, numbered and not, and of outputs.
var (
	workspaces = []string{"1", "2", "3", "7: mail", "web", "notes"}
	outputs    = []string{"HEADLESS-1", "HEADLESS-2"}
)

// reset brings all windows back to the tiled ones of a fresh workspace, so that
// each case begins alike.
func (u *user) reset() error {
	tree, err := u.look()
	if err != nil {
		return err
	}
	var commands []string
	for _, n := range tree.Windows() {
		commands = append(commands, con(n)+"fullscreen disable")
	}
	tree.Walk(func(n *sway.Node) {
		if n.Type == "con" || n.Type == "floating_con" {
			commands = append(commands, con(n)+"fullscreen disable", con(n)+"sticky disable", con(n)+"unmark")
		}
	})
	// Nothing may be done to a child of a hidden group but this.
	hidden := tree.Scratchpad().Windows()
	commands = slices.DeleteFunc(commands, func(c string) bool {
		return slices.ContainsFunc(hidden, func(n *sway.Node) bool { return strings.HasPrefix(c, con(n)) })
	})
	commands = append(commands, "focus output HEADLESS-1", "workspace reset")
	for _, app := range u.apps {
		commands = append(commands, on(app)+"move container to workspace reset")
	}
	for _, app := range u.apps {
		commands = append(commands, on(app)+"floating disable", on(app)+"border normal 2", on(app)+"inhibit_idle none",
			on(app)+"urgent disable", on(app)+"sticky disable", on(app)+"unmark")
	}
	// Once more from nothing, so that no container is left around them.
	commands = append(commands, "workspace again", "move workspace to output HEADLESS-1")
	for _, app := range u.apps {
		commands = append(commands, on(app)+"move container to workspace again")
	}
	commands = append(commands, on(u.apps[0])+"focus", "focus parent", "layout splith", on(u.apps[0])+"focus")
	if err := u.run(commands...); err != nil {
		return err
	}
	u.log = nil
	return nil
}

// settle makes Sway arrange everything: on a workspace that it has not
// arranged since, it shows old rectangles. And it leaves empty workspaces that
// nobody sees, until somebody passes by.
func (u *user) settle() error {
	tree, err := u.look()
	if err != nil {
		return err
	}
	// Nor does it arrange what is behind a fullscreen window.
	var commands, again []string
	tree.Walk(func(n *sway.Node) {
		if n.Type != "workspace" && n.FullscreenMode != 0 {
			commands = append(commands, con(n)+"fullscreen disable")
			again = append(again, con(n)+"fullscreen enable"+map[int]string{1: "", 2: " global"}[n.FullscreenMode])
		}
	})
	commands = append(commands, "gaps inner all plus 0")
	for _, o := range tree.Outputs() {
		passed := false
		for _, w := range o.Nodes {
			if w.ID != o.CurrentWorkspace() && len(w.Windows()) == 0 {
				commands = append(commands, "workspace "+quoted(w.Name))
				passed = true
			}
		}
		if passed {
			i := slices.IndexFunc(o.Nodes, func(w *sway.Node) bool { return w.ID == o.CurrentWorkspace() })
			commands = append(commands, "workspace "+quoted(o.Nodes[i].Name))
		}
	}
	// Nor does it arrange a group that is hidden.
	for _, n := range tree.Scratchpad().Floating {
		if n.Window == nil {
			commands = append(commands, con(n)+"scratchpad show", con(n)+"move scratchpad")
		}
	}
	// Nor does it see what is urgent on a workspace that it comes to.
	for _, w := range tree.Workspaces() {
		for _, n := range w.Windows() {
			if n.Urgent {
				commands = append(commands, con(n)+"urgent disable", con(n)+"urgent enable")
			}
		}
	}
	return u.run(append(commands, again...)...)
}

// unreachable says why no command can bring about the state, which Sway has
// made itself; it is empty for all others.
func (u *user) unreachable() (string, error) {
	tree, err := u.look()
	if err != nil {
		return "", err
	}
	why := ""
	when := func(is bool, reason string) {
		if is {
			why = reason
		}
	}
	for _, o := range tree.Outputs() {
		for _, w := range o.Nodes {
			unseen := w.ID != o.CurrentWorkspace()
			urgent := slices.ContainsFunc(w.Windows(), func(n *sway.Node) bool { return n.Urgent })
			when(w.Urgent != urgent, "a workspace is called urgent, or not, unlike its windows")
			when(outranked(w), "the focused node is not the most recent of its workspace: Sway has put a container around it since")
			when(unseen && len(w.Windows()) == 0, "an empty workspace that nobody sees")
			for _, n := range w.Floating {
				when(unseen && n.Sticky, "a sticky float on a workspace that nobody sees")
				x, y := n.Rect.X-w.Rect.X, n.Rect.Y-n.DecoRect.Height-w.Rect.Y
				when(n.DecoRect.Height > 0 && (n.DecoRect.X != x || w.Layout != "stacked" && n.DecoRect.Y != y),
					"a float at half a pixel, where only centring puts one")
			}
		}
	}
	tree.Walk(func(n *sway.Node) {
		if n.Type != "con" && n.Type != "floating_con" {
			return
		}
		when(n.FullscreenMode == 2 && n.Rect != tree.Rect, "something is called fullscreen on all outputs and is not")
		when(n.FullscreenMode == 2 && !focusedIn(n), "the focus is below what is fullscreen on all outputs")
		when(n.Window != nil && (n.WindowRect.X < 0 || n.WindowRect.Width > n.Rect.Width),
			"a window is larger inside than outside: it was fullscreen when it was hidden")
		when(n.Rect.Width <= 0 || n.Rect.Height <= 0 || n.Window != nil && (n.WindowRect.Width <= 0 || n.WindowRect.Height <= 0),
			"a window or container of no or a negative size")
	})
	return why, nil
}

func focusedIn(n *sway.Node) bool {
	inside := false
	n.Walk(func(n *sway.Node) { inside = inside || n.Focused })
	return inside
}

// outranked reports whether the focused node is below n, but not below what
// was focused last.
func outranked(n *sway.Node) bool {
	for _, c := range slices.Concat(n.Nodes, n.Floating) {
		if focusedIn(c) && (len(n.Focus) == 0 || n.Focus[0] != c.ID) || outranked(c) {
			return true
		}
	}
	return false
}

// shape says what a state has in it.
type shape struct{ nested, floats, scratchpad bool }

func (u *user) shape() (shape, error) {
	tree, err := u.look()
	if err != nil {
		return shape{}, err
	}
	var f shape
	for _, w := range tree.Workspaces() {
		f.floats = f.floats || len(w.Floating) > 0
		for _, n := range w.Nodes {
			f.nested = f.nested || depth(n) >= 3 && tabs(n)
		}
	}
	tree.Walk(func(n *sway.Node) { f.scratchpad = f.scratchpad || n.InScratchpad })
	return f, nil
}

func depth(n *sway.Node) int {
	deepest := 0
	for _, c := range n.Nodes {
		deepest = max(deepest, depth(c))
	}
	if n.Window == nil {
		deepest++
	}
	return deepest
}

func tabs(n *sway.Node) bool {
	return n.Window == nil && (n.Layout == "tabbed" || n.Layout == "stacked") || slices.ContainsFunc(n.Nodes, tabs)
}
