package layout

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrDangerous is returned instead of sending a batch with a command that is
// known to kill Sway, or not known to be safe.
var ErrDangerous = errors.New("a command that may kill the compositor was not sent")

// guard checks a batch against a model of the places of d, which follows the
// commands. What it refuses was seen to kill Sway 1.7 to 1.12:
//
//   - layout, swap, floating disable and move left|right|up|down on a child of
//     a hidden scratchpad group; on 1.7 also resize set N ppt and urgent. Such
//     a child may only be moved to a workspace.
//   - split on a scratchpad window that is shown alone on an invisible
//     workspace: the window vanishes. Refused for all shown ones.
//   - layout while something is fullscreen global (1.7).
//
// Everything that no step needs is refused too.
func guard(d *desk, batch []command) error {
	m := model{places: maps.Clone(d.places), marks: map[string]int64{}}
	for i, c := range batch {
		if err := m.run(c); err != nil {
			return fmt.Errorf("%w: %d, %q: %w", ErrDangerous, i, c, err)
		}
	}
	return nil
}

// model knows where everything stands while a batch runs.
type model struct {
	places map[int64]place
	last   int64 // whose parent is focused, for glued commands
	// marks are those of this batch, and who holds them; a container made in
	// it goes by a window in it.
	marks map[string]int64
}

// verbs are the commands that steps are made of, as they begin.
var verbs = []string{
	"focus", "focus parent", "fullscreen disable", "sticky disable", "floating disable", "floating enable",
	"split v", "layout tabbed", "layout stacking", "layout splith", "layout splitv",
	"move container to mark " + anchor,
}

var openVerbs = []string{
	"move --no-auto-back-and-forth container to workspace ", "workspace --no-auto-back-and-forth ",
	"mark --add " + prefix, "unmark " + prefix,
	"resize grow right ", "resize grow down ", "resize shrink right ", "resize shrink down ",
}

func (m *model) run(c command) error {
	if !slices.Contains(verbs, c.text) && !slices.ContainsFunc(openVerbs, func(v string) bool { return strings.HasPrefix(c.text, v) }) {
		return errors.New("no step needs it")
	}
	con := c.con
	switch {
	case c.mark != "":
		con = m.marks[c.mark]
	case con == 0 && (strings.HasPrefix(c.text, "workspace") || strings.HasPrefix(c.text, "unmark")):
		return nil // acts on nobody
	case con == 0 && c.glued:
		con = m.last
	}
	p, known := m.places[con]
	if !known {
		return errors.New("whom it acts on is not known")
	}
	if err := m.check(c.text, p); err != nil {
		return err
	}
	m.apply(c.text, con, p)
	if c.glued || strings.HasPrefix(c.text, "focus") {
		m.last = con // what follows acts around the same place
	} else {
		m.last = 0
	}
	return nil
}

func (m *model) check(text string, p place) error {
	verb, _, _ := strings.Cut(text, " ")
	toWorkspace := strings.HasPrefix(text, "move --no-auto-back-and-forth container to workspace ")
	switch {
	case p.standing == inHidden && !toWorkspace:
		return errors.New("it is on a child of a hidden scratchpad group")
	case p.standing == hidden && !toWorkspace:
		return errors.New("it is on a hidden scratchpad window")
	case verb == "split" && p.scratch:
		return errors.New("it splits a scratchpad window")
	case verb == "layout" && m.global():
		return errors.New("something is fullscreen global")
	case strings.HasPrefix(text, "move container to mark") && m.places[m.marks[anchor]].standing != tiled:
		return errors.New("the mark is not on a tiled window")
	}
	return nil
}

// global reports whether something covers all outputs.
func (m *model) global() bool {
	for _, p := range m.places {
		if p.fullscreen == 2 {
			return true
		}
	}
	return false
}

// apply makes the change to the model that the command makes to Sway.
func (m *model) apply(text string, con int64, p place) {
	switch {
	case strings.HasPrefix(text, "move"):
		switch p.standing {
		case hidden:
			p.standing = floating // it is shown there
		case inHidden, inFloating:
			p.standing, p.scratch = tiled, false // it leaves its group
		}
	case text == "floating disable":
		p.standing, p.scratch = tiled, false
	case text == "floating enable":
		p.standing = floating
	case text == "fullscreen disable":
		p.fullscreen = 0
	case strings.HasPrefix(text, "mark"):
		m.marks[strings.TrimPrefix(text, "mark --add ")] = con
	}
	m.places[con] = p
}
