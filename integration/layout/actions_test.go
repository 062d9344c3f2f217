package layout_test

import (
	"fmt"
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// actions is the generator that acts like a person with keys: splits, layouts,
// moves, resizes, floats, scratchpad and all else in any order, on whatever is
// there. Left out are only the commands that are known to kill Sway.
func (u *user) actions() error {
	for range 4 * len(u.apps) {
		tree, err := u.look()
		if err != nil {
			return err
		}
		commands := u.action(tree)
		if len(commands) == 0 {
			continue
		}
		if err := u.run(commands...); err != nil {
			return err
		}
	}
	return u.settle()
}

// action is what the user does next.
func (u *user) action(tree *sway.Node) []string {
	inHidden := childrenOfHidden(tree)
	var shown, floats, members []*sway.Node
	global, small := false, false
	for _, w := range tree.Workspaces() {
		floats = append(floats, w.Floating...)
		shown = append(shown, w.Windows()...)
	}
	tree.Walk(func(n *sway.Node) {
		global = global || n.FullscreenMode == 2
		if n.InScratchpad {
			members = append(members, n)
		}
	})
	for _, w := range shown {
		small = small || w.Rect.Width < 250 || w.Rect.Height < 250
	}
	if len(shown) == 0 {
		return []string{on(u.pick(u.apps...)) + "move container to workspace 1"}
	}
	w := shown[u.rand.IntN(len(shown))]
	inScratchpad := slices.ContainsFunc(members, func(m *sway.Node) bool {
		return m == w || slices.ContainsFunc(m.Windows(), func(c *sway.Node) bool { return c == w })
	})
	focusUp := func(commands ...string) []string {
		out := []string{con(w) + "focus"}
		for range u.rand.IntN(4) - 1 {
			out = append(out, "focus parent")
		}
		return append(out, commands...)
	}
	switch u.rand.IntN(24) {
	case 0, 1, 2:
		if small || inScratchpad {
			return nil
		}
		return focusUp(u.pick("split v", "split h"))
	case 3, 4, 5:
		if global {
			return nil
		}
		layouts := []string{"splith", "splitv", "tabbed", "toggle split"}
		if !small { // the titles of many windows leave no room for them
			layouts = append(layouts, "stacking")
		}
		return focusUp("layout " + u.pick(layouts...))
	case 6, 7:
		return []string{con(w) + "move " + u.pick("left", "right", "up", "down")}
	case 8:
		return []string{con(w) + "move container to workspace " + quoted(u.pick(workspaces...))}
	case 9:
		return append(focusUp("move container to workspace "+quoted(u.pick(workspaces...))), "workspace "+quoted(u.pick(workspaces...)))
	case 10:
		return []string{con(w) + "move container to output " + u.pick(outputs...)}
	case 11:
		other := shown[u.rand.IntN(len(shown))]
		if inHidden[other.ID] || inHidden[w.ID] {
			return nil
		}
		return []string{con(other) + "mark --add here", con(w) + "move container to mark here", "unmark here"}
	case 12, 13, 14:
		return []string{con(w) + fmt.Sprintf("resize %s %s %d px", u.pick("grow", "shrink"), u.pick("left", "right", "up", "down", "width", "height"), 1+u.rand.IntN(300))}
	case 15:
		return focusUp("floating toggle")
	case 16, 17:
		if len(floats) == 0 {
			return []string{con(w) + "floating enable"}
		}
		f := floats[u.rand.IntN(len(floats))]
		return []string{con(f) + u.pick(
			fmt.Sprintf("resize set width %d px height %d px", 120+u.rand.IntN(1000), 80+u.rand.IntN(700)),
			fmt.Sprintf("move absolute position %d px %d px", u.rand.IntN(3600)-100, u.rand.IntN(900)-50),
			fmt.Sprintf("move %s %d px", u.pick("left", "right", "up", "down"), 1+u.rand.IntN(400)),
			fmt.Sprintf("resize grow %s %d px", u.pick("left", "right", "up", "down"), 1+u.rand.IntN(500)),
			"border "+u.pick("none", "pixel 3", "normal 2"),
		)}
	case 18:
		if len(members) > 0 && u.chance(60) {
			m := members[u.rand.IntN(len(members))]
			return []string{con(m) + u.pick("scratchpad show", "move scratchpad")}
		}
		if u.chance(50) {
			return focusUp("move scratchpad")
		}
		return []string{con(w) + "move scratchpad"}
	case 19:
		return []string{"workspace " + quoted(u.pick(workspaces...))}
	case 20:
		return []string{u.pick("focus output "+u.pick(outputs...), "focus mode_toggle", "move workspace to output "+u.pick(outputs...))}
	case 21:
		return []string{con(w) + u.pick("sticky toggle", "mark --add "+u.pick("a", "b", "c"), "border "+u.pick("none", "pixel 2", "normal 3"),
			"inhibit_idle "+u.pick("open", "none"), "urgent enable")}
	case 22:
		if u.chance(50) {
			return nil
		}
		return focusUp(u.pick("fullscreen toggle", "fullscreen toggle", "fullscreen toggle global"))
	default:
		return focusUp()
	}
}
