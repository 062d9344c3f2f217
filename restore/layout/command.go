package layout

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// Our own names in the compositor. They are recognised by their prefix, so
// that what a killed run left behind is swept by the next.
const (
	prefix = "__helix_ckpt"
	// stage is the workspace on which windows wait while theirs is built.
	stage = prefix + "_stage"
	// anchor marks the sibling after which windows are put. A mark that begins
	// with an underscore is not drawn, and Sway holds each mark once.
	anchor = prefix + "_anchor"
	// branch, with a number, marks a container that was just made and whose
	// con_id is not known yet.
	branch = prefix + "_branch_"
)

// command is one command of Sway.
type command struct {
	con  int64  // whom it acts on; 0: the one with mark, what is focused, or nobody
	mark string // whom it acts on, when the con_id is not known
	text string
	// glued binds it to the command before it, which gave it the focus that it
	// acts on: both go into one payload.
	glued bool
}

func (c command) String() string {
	switch {
	case c.con != 0:
		return fmt.Sprintf("[con_id=%d] %s", c.con, c.text)
	case c.mark != "":
		return fmt.Sprintf("[con_mark=\"^%s$\"] %s", c.mark, c.text)
	}
	return c.text
}

// script collects commands.
type script []command

// to adds a command on a window or container.
func (s *script) to(con int64, format string, args ...any) {
	*s = append(*s, command{con: con, text: fmt.Sprintf(format, args...)})
}

// at adds a command on a node of the goal.
func (s *script) at(n *node, format string, args ...any) {
	c := command{con: n.con, text: fmt.Sprintf(format, args...)}
	if n.mark != "" { // it was made in this batch
		c.con, c.mark = 0, n.mark
	}
	*s = append(*s, c)
}

// then adds a command on what the command before it focused.
func (s *script) then(format string, args ...any) {
	*s = append(*s, command{text: fmt.Sprintf(format, args...), glued: true})
}

// plain adds a command without a target.
func (s *script) plain(format string, args ...any) {
	*s = append(*s, command{text: fmt.Sprintf(format, args...)})
}

// payloads cuts commands into messages of at most limit bytes, without parting
// a glued command from the one before it.
func payloads(commands []command, limit int) [][]string {
	var out [][]string
	var current []string
	size := 0
	for i := 0; i < len(commands); {
		group, length := []string{}, 0
		for j := i; j == i || j < len(commands) && commands[j].glued; j++ {
			text := commands[j].String()
			group = append(group, text)
			length += len(text) + len(sway.Separator)
		}
		if size+length > limit && len(current) > 0 {
			out, current, size = append(out, current), nil, 0
		}
		current, size = append(current, group...), size+length
		i += len(group)
	}
	if len(current) > 0 {
		out = append(out, current)
	}
	return out
}

// tolerate lets a command pass that Sway does not understand, such as a resize
// that has no room: the next look at the tree shows what is missing.
func tolerate(err error) error {
	if invalid := (*sway.InvalidCommand)(nil); errors.As(err, &invalid) {
		return nil
	}
	return err
}

// keywords are workspace names that Sway takes for a direction or an option,
// quoted or not.
var keywords = map[string]bool{
	"next": true, "prev": true, "next_on_output": true, "prev_on_output": true,
	"current": true, "back_and_forth": true, "number": true,
	"output": true, "gaps": true, "--no-auto-back-and-forth": true,
}

// quote writes a workspace name as one argument of a command. Sway's parser
// joins adjacent quoted parts as a shell does, so a name may hold both quotes;
// it has no escape for a quote, keeps backslashes, and replaces $$ by $. It
// returns false for a name that cannot be said to Sway: keywords, line breaks,
// and a backslash before what the parser would take as escaped.
func quote(name string) (string, bool) {
	if name == "" || keywords[strings.ToLower(name)] || strings.ContainsAny(name, "\n\x00") {
		return "", false
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(name) {
		switch c := name[i]; c {
		case '\\':
			if i+1 == len(name) || strings.IndexByte("\"';,\\", name[i+1]) >= 0 {
				return "", false
			}
			b.WriteByte(c)
		case '$':
			b.WriteByte(c)
			if i == 0 || name[i-1] != '\\' { // \$ is kept as it is
				b.WriteByte(c)
			}
		case '"':
			b.WriteString(`"'"'"`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String(), true
}

// mustQuote is quote for names that were checked.
func mustQuote(name string) string {
	q, _ := quote(name)
	return q
}

// sayable returns a name like the one given that can be said to Sway and is
// not taken.
func sayable(name string, taken map[string]bool) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == ' ' || r == '-' {
			return r
		}
		return '_'
	}, name)
	if keywords[strings.ToLower(clean)] || clean == "" {
		clean = "_" + clean
	}
	for taken[clean] {
		clean += "_"
	}
	return clean
}

// commandFor is the name of a layout in a command, which in one case differs
// from the one in the tree.
func commandFor(layout string) string {
	if layout == stacked {
		return "stacking"
	}
	return layout
}
