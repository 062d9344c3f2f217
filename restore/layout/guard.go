package layout

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ErrDangerous is returned instead of sending a batch with a command that is
// known to kill Sway, or not known to be safe.
var ErrDangerous = errors.New("a command that may kill the compositor was not sent")

// guard checks a batch against a model of the tree of d, which follows the
// commands. What it refuses was seen to kill Sway 1.7 to 1.12:
//
//   - layout, swap, floating disable and move left|right|up|down on a child of
//     a hidden scratchpad group; on 1.7 also resize set N ppt, urgent and
//     sticky. Such a child may only be moved to a workspace.
//   - split on a scratchpad window that is shown alone on an invisible
//     workspace: the window vanishes. Refused for all of the scratchpad.
//   - layout while something is fullscreen global (1.7).
//   - a visible box narrower than its decorations (1.7).
//
// Everything that no step needs is refused too.
func guard(d *desk, batch []command) error {
	m := newModel(d)
	for i, c := range batch {
		if err := m.run(c); err != nil {
			return fmt.Errorf("%w: %d, %q: %w", ErrDangerous, i, c, err)
		}
	}
	if len(m.vast) > 0 {
		return fmt.Errorf("%w: it leaves a window of %d pixels, which no client can draw", ErrDangerous, vast)
	}
	return nil
}

// A verb is a command that steps are made of, and whom it may act on.
type verb struct {
	pattern *regexp.Regexp
	// on are the standings that its target may have; none for a command that
	// has no target.
	on []standing
}

var (
	shownOnes   = []standing{tiled, floating, inFloating}
	floatRoots  = []standing{floating}
	notInHidden = []standing{tiled, floating, inFloating, hidden}
)

const quotedPattern = `("[^"]*"|'"')+`

func only(pattern string) *regexp.Regexp { return regexp.MustCompile("^(" + pattern + ")$") }

var verbs = []verb{
	{only(`move --no-auto-back-and-forth container to workspace ` + quotedPattern), []standing{tiled, floating, inFloating, hidden, inHidden}},
	{only(`focus|focus parent|fullscreen (disable|enable( global)?)|floating (enable|disable)`), shownOnes},
	{only(`split v|layout (tabbed|stacking|splith|splitv)|move container to mark ` + anchor), shownOnes},
	{only(`resize (grow|shrink) (left|right|up|down) [0-9]+ px`), shownOnes},
	{only(`resize set width [0-9]+ px height [0-9]+ px|move absolute position -?[0-9]+ px -?[0-9]+ px`), floatRoots},
	{only(`move scratchpad`), []standing{floating, inFloating}},
	{only(`scratchpad show`), []standing{floating, inFloating, hidden, inHidden}},
	{only(`sticky (enable|disable)`), shownOnes},
	{only(`urgent (enable|disable)`), notInHidden},
	{only(`border (none|normal|pixel)( [0-9]+)?|inhibit_idle [a-z]+`), shownOnes},
	{only(`mark --add (` + quotedPattern + `|` + prefix + `[a-z0-9_]*)|unmark ` + quotedPattern), shownOnes},
	{only(`move workspace to output ` + quotedPattern), shownOnes},
	{only(`focus output ` + quotedPattern), nil},
	{only(`workspace --no-auto-back-and-forth ` + quotedPattern), nil},
	{only(`unmark (` + prefix + `[a-z0-9_]*|` + quotedPattern + `)`), nil},
	{only(`floating_maximum_size -?[0-9]+ x -?[0-9]+`), nil},
	{only(`rename workspace ` + quotedPattern + ` to ` + quotedPattern), nil},
}

// run checks one command and makes the change to the model that it makes to
// Sway.
func (m *model) run(c command) error {
	matching := func(v verb) bool { return v.pattern.MatchString(c.text) }
	if !slices.ContainsFunc(verbs, matching) {
		return errors.New("no step needs it")
	}
	target, err := m.target(c)
	if err != nil {
		return err
	}
	if target == nil { // it acts on a workspace, or on nobody
		return m.plain(c.text)
	}
	if !slices.ContainsFunc(verbs, func(v verb) bool { return matching(v) && slices.Contains(v.on, target.standing()) }) {
		return fmt.Errorf("it is on what is %s", standingNames[target.standing()])
	}
	switch verb, _, _ := strings.Cut(c.text, " "); {
	case verb == "split" && target.root().scratch:
		return errors.New("it splits what is in the scratchpad")
	case verb == "layout" && m.global != nil:
		return errors.New("something is fullscreen global")
	case verb == "layout" && target.standing() == floating:
		return errors.New("it is on a float")
	case strings.HasPrefix(c.text, "move container to mark") && (m.marks[anchor] == nil || m.marks[anchor].standing() != tiled):
		return errors.New("the mark is not on what is tiled")
	}
	return m.apply(c.text, target)
}

var standingNames = map[standing]string{
	tiled: "tiled", floating: "floating", inFloating: "in a floating group",
	hidden: "hidden in the scratchpad", inHidden: "in a group hidden in the scratchpad",
}

// target is whom a command acts on; nil for nobody, and for a workspace.
func (m *model) target(c command) (*member, error) {
	switch {
	case c.con != 0:
		if n := m.members[c.con]; n != nil {
			return n, nil
		}
		return nil, errors.New("whom it acts on is not known")
	case c.mark != "":
		if n := m.marks[c.mark]; n != nil {
			return n, nil
		}
		return nil, errors.New("nobody has the mark")
	case slices.ContainsFunc(verbs, func(v verb) bool { return v.on == nil && v.pattern.MatchString(c.text) }):
		return nil, nil
	case !c.glued:
		return nil, errors.New("it acts on whatever is focused")
	case m.focused == nil && m.focusedOn == "":
		return nil, errors.New("what is focused is not known")
	}
	return m.focused, nil
}
