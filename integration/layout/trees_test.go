package layout_test

import (
	"fmt"
	"strconv"

	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// trees is the generator that builds random trees directly: the windows are
// dealt to workspaces on both outputs, to containers nested at random, to
// floats, floating groups and the scratchpad; then everything gets random
// sizes, places, attributes and focus.
func (u *user) trees() error {
	t := &treeBuilder{user: u}
	u.rand.Shuffle(len(u.apps), func(i, j int) { u.apps[i], u.apps[j] = u.apps[j], u.apps[i] })
	rest := u.apps
	for i, name := range workspaces[:2+u.rand.IntN(3)] {
		if len(rest) == 0 {
			break
		}
		n := max(1, len(rest)/2) + u.rand.IntN(1+len(rest)/2)
		n = min(n, len(rest))
		output := outputs[i%2]
		if i > 1 {
			output = u.pick(outputs...)
		}
		if err := t.workspace(name, output, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if err := u.settle(); err != nil {
		return err
	}
	if err := t.attributes(); err != nil {
		return err
	}
	if err := t.focus(); err != nil {
		return err
	}
	if err := u.settle(); err != nil {
		return err
	}
	return t.last()
}

type treeBuilder struct {
	*user

	marks int
}

func (t *treeBuilder) workspace(name, output string, apps []string) error {
	if err := t.run("workspace "+quoted(name), "move workspace to output "+output); err != nil {
		return err
	}
	floats := 0
	if t.chance(70) {
		floats = t.rand.IntN(len(apps)/2 + 1)
	}
	tiled := apps[floats:]
	var commands []string
	for _, app := range tiled {
		commands = append(commands, on(app)+"move container to workspace "+quoted(name))
	}
	commands = append(commands, on(tiled[0])+"focus", "focus parent", "layout "+t.pick("splith", "splitv", "tabbed", "stacking"))
	if err := t.run(commands...); err != nil {
		return err
	}
	if err := t.run(t.nest(tiled, 0)...); err != nil {
		return err
	}
	if err := t.sizes(tiled); err != nil {
		return err
	}
	for floats > 0 {
		n := 1
		if t.chance(35) {
			n = min(floats, 1+t.rand.IntN(3))
		}
		if err := t.float(name, output, apps[:n]); err != nil {
			return err
		}
		apps, floats = apps[n:], floats-n
	}
	return nil
}

// nest makes containers among siblings: they are dealt to branches, and a
// branch of several becomes a container, which is nested further.
func (t *treeBuilder) nest(apps []string, deep int) []string {
	if deep > 4 {
		return nil
	}
	var commands []string
	for len(apps) > 0 {
		n := 1 + t.rand.IntN(len(apps))
		branch := apps[:n]
		apps = apps[n:]
		if n == 1 && !t.chance(15) {
			continue
		}
		commands = append(commands, on(branch[0])+"split "+t.pick("v", "h"),
			on(branch[0])+"layout "+t.pick("splith", "splitv", "tabbed", "stacking"))
		for i := len(branch) - 1; i > 0; i-- {
			t.marks++
			mark := "here" + strconv.Itoa(t.marks)
			commands = append(commands, on(branch[0])+"mark --add "+mark, on(branch[i])+"move container to mark "+mark, "unmark "+mark)
		}
		if n > 1 {
			commands = append(commands, t.nest(branch, deep+1)...)
		}
	}
	return commands
}

func (t *treeBuilder) sizes(apps []string) error {
	var commands []string
	for range 2 * len(apps) {
		commands = append(commands, on(t.pick(apps...))+fmt.Sprintf("resize %s %s %d px",
			t.pick("grow", "shrink"), t.pick("left", "right", "up", "down"), 1+t.rand.IntN(250)))
	}
	return t.run(commands...)
}

// float makes a floating window or group of apps, and now and then puts it into
// the scratchpad.
func (t *treeBuilder) float(workspace, output string, apps []string) error {
	if err := t.run("workspace " + quoted(workspace)); err != nil {
		return err
	}
	// Built on a workspace of its own, where it is the only one.
	commands := []string{on(apps[0]) + "move container to workspace tmp"}
	float := on(apps[0])
	if len(apps) > 1 || t.chance(10) {
		commands = append(commands, on(apps[0])+"split "+t.pick("v", "h"), on(apps[0])+"layout tabbed", on(apps[0])+"split v")
		for _, app := range apps[1:] {
			commands = append(commands, on(apps[0])+"mark --add group", on(app)+"move container to mark group", "unmark group")
		}
		commands = append(commands, on(apps[0])+"layout "+t.pick("splith", "splitv", "tabbed", "stacking"),
			on(apps[0])+"focus", "focus parent", "mark --add float")
		float = "[con_mark=^float$] "
	}
	commands = append(commands, float+"floating enable", float+"move container to workspace "+quoted(workspace), "workspace "+quoted(workspace))
	if t.chance(30) && len(apps) == 1 {
		commands = append(commands, float+"border "+t.pick("none", "pixel 1", "pixel 5", "normal 3", "normal 0"))
	}
	x := t.rand.IntN(1700)
	if output == outputs[1] {
		x += 1920
	}
	commands = append(commands, float+fmt.Sprintf("resize set width %d px height %d px", 150+t.rand.IntN(900), 100+t.rand.IntN(700)),
		float+fmt.Sprintf("move absolute position %d px %d px", x-100, t.rand.IntN(900)-50))
	if t.chance(20) { // out over the edge
		commands = append(commands, float+fmt.Sprintf("resize grow %s %d px", t.pick("left", "right", "up", "down"), 1+t.rand.IntN(900)))
	}
	if t.chance(60) {
		commands = append(commands, float+"move scratchpad")
		if t.chance(50) {
			commands = append(commands, "workspace "+quoted(workspace), float+"scratchpad show")
		}
	}
	commands = append(commands, "unmark float")
	return t.run(commands...)
}

// attributes gives some windows and containers marks, borders and the like.
func (t *treeBuilder) attributes() error {
	tree, err := t.look()
	if err != nil {
		return err
	}
	inHidden := childrenOfHidden(tree)
	var commands []string
	tree.Walk(func(n *sway.Node) {
		if n.Type != "con" && n.Type != "floating_con" || inHidden[n.ID] {
			return
		}
		if t.chance(20) {
			commands = append(commands, con(n)+"mark --add "+t.pick("a", "b", "c", "_d", `"two words"`))
		}
		if n.Window == nil {
			return
		}
		if t.chance(15) && n.Type == "con" {
			commands = append(commands, con(n)+"border "+t.pick("none", "pixel 1", "pixel 7", "normal 4"))
		}
		if t.chance(10) {
			commands = append(commands, con(n)+"inhibit_idle "+t.pick("open", "focus", "visible", "fullscreen"))
		}
	})
	return t.run(commands...)
}

func (t *treeBuilder) focus() error {
	tree, err := t.look()
	if err != nil {
		return err
	}
	var shown []*sway.Node
	for _, w := range tree.Workspaces() {
		shown = append(shown, w.Windows()...)
	}
	var commands []string
	for range 2 * len(shown) {
		commands = append(commands, con(shown[t.rand.IntN(len(shown))])+"focus")
		for range t.rand.IntN(6) - 3 {
			commands = append(commands, "focus parent")
		}
	}
	return t.run(commands...)
}

// last sets what focus would undo.
func (t *treeBuilder) last() error {
	tree, err := t.look()
	if err != nil {
		return err
	}
	var commands []string
	var candidates []*sway.Node
	for _, w := range tree.Workspaces() {
		for _, n := range w.Floating {
			if t.chance(15) {
				commands = append(commands, con(n)+"sticky enable")
			}
		}
		for _, n := range w.Windows() {
			if t.chance(5) {
				commands = append(commands, con(n)+"urgent enable")
			}
		}
		for _, n := range w.Nodes {
			n.Walk(func(n *sway.Node) { candidates = append(candidates, n) })
		}
	}
	if t.chance(20) && len(candidates) > 0 {
		commands = append(commands, con(candidates[t.rand.IntN(len(candidates))])+t.pick("fullscreen enable", "fullscreen enable", "fullscreen enable global"))
	}
	if len(commands) == 0 {
		return nil
	}
	return t.run(commands...)
}

// childrenOfHidden are what is below a hidden group: most commands on them
// kill Sway.
func childrenOfHidden(tree *sway.Node) map[int64]bool {
	found := map[int64]bool{}
	for _, n := range tree.Scratchpad().Floating {
		n.Walk(func(c *sway.Node) { found[c.ID] = c != n })
	}
	return found
}

func quoted(name string) string { return `"` + name + `"` }
