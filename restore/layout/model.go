package layout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// model is as much of Sway's tree as says what a command acts on.
type model struct {
	members map[int64]*member // containers and windows that Sway showed
	marks   map[string]*member
	global  *member // what is fullscreen on all outputs
	// focused is the container or window with the focus; nil when that is a
	// workspace, focusedOn, or not known.
	focused   *member
	focusedOn string
	populated map[string]int // how many roots a workspace has
	// vast are the floats that are larger than clients can draw.
	vast map[*member]bool
}

// member is a container or a window.
type member struct {
	parent    *member
	children  []*member
	window    bool
	layout    string // of a container; of what is beside it, for a root: see model.layouts
	workspace string // of a root; empty when hidden
	floats    bool
	scratch   bool
}

func newModel(d *desk) *model {
	m := &model{members: map[int64]*member{}, marks: map[string]*member{}, populated: map[string]int{}, vast: map[*member]bool{}}
	for con, p := range d.places {
		m.members[con] = &member{window: p.live.Window != nil, layout: p.live.Layout}
	}
	for con, p := range d.places {
		n := m.members[con]
		for _, c := range p.live.Nodes {
			if child := m.members[c.ID]; child != nil {
				child.parent = n
				n.children = append(n.children, child)
			}
		}
		for _, mark := range p.live.Marks {
			m.marks[mark] = n
		}
		if p.live.FullscreenMode == 2 {
			m.global = n
		}
	}
	for con, p := range d.places {
		if n := m.members[con]; n.parent == nil {
			n.workspace, n.scratch = p.workspace, p.scratch || p.away()
			n.floats = p.standing != tiled
			m.populated[p.workspace]++
		}
	}
	m.focused = m.members[d.focused]
	return m
}

func (n *member) root() *member {
	for n.parent != nil {
		n = n.parent
	}
	return n
}

func (n *member) standing() standing {
	r := n.root()
	switch away := r.scratch && r.workspace == ""; {
	case away && r == n:
		return hidden
	case away:
		return inHidden
	case r.floats && r == n:
		return floating
	case r.floats:
		return inFloating
	}
	return tiled
}

// plain follows a command without a target, or with a workspace as its target.
func (m *model) plain(text string) error {
	verb, rest, _ := strings.Cut(text, " ")
	switch {
	case verb == "workspace":
		_, m.focusedOn, _ = strings.Cut(rest, " ")
		m.focused = nil // any window of it; not known
	case strings.HasPrefix(text, "focus output "):
		m.focused, m.focusedOn = nil, ""
	case verb == "unmark":
		delete(m.marks, strings.Trim(rest, `"`))
	case verb == "rename" || verb == "floating_maximum_size" || strings.HasPrefix(text, "move workspace to output"):
	case verb == "layout" && m.global == nil && (m.populated[strings.Trim(m.focusedOn, `"`)] == 0 || m.focusedOn == onParent):
	case verb == "focus" && m.focusedOn == onParent:
	default:
		return errors.New("it acts on a workspace, where what is focused is not known")
	}
	return nil
}

// onParent stands in for the name of a workspace that is focused itself.
const onParent = "\x00"

// detach takes n out of its parent. Containers that become empty vanish.
func (m *model) detach(n *member) {
	p := n.parent
	if p == nil {
		m.populated[n.workspace]--
		return
	}
	n.parent = nil
	p.children = slices.DeleteFunc(p.children, func(c *member) bool { return c == n })
	if len(p.children) == 0 {
		m.detach(p)
		for con, other := range m.members {
			if other == p {
				delete(m.members, con)
			}
		}
	}
}

// apply follows a command on n.
func (m *model) apply(text string, n *member) error {
	switch {
	case strings.HasPrefix(text, "move --no-auto-back-and-forth container to workspace "):
		_, name, _ := strings.Cut(text, "workspace ")
		m.toWorkspace(n, strings.Trim(name, `"`))
	case strings.HasPrefix(text, "move container to mark "):
		m.toMark(n, m.marks[anchor])
	case text == "split v":
		m.split(n)
	case strings.HasPrefix(text, "layout ") && n.parent != nil:
		n.parent.layout = strings.TrimPrefix(text, "layout ")
	case text == "floating enable" && n.standing() == tiled:
		m.toRoot(n, n.root().workspace, true)
	case text == "floating disable" && n.root().floats:
		r := n.root()
		r.floats, r.scratch = false, false
		delete(m.vast, r)
	case text == "move scratchpad":
		r := n.root()
		m.populated[r.workspace]--
		r.workspace, r.scratch = "", true
		m.focused, m.focusedOn = nil, ""
	case text == "scratchpad show":
		if m.focusedOn == "" {
			return errors.New("where it will be shown is not known")
		}
		r := n.root()
		r.workspace = strings.Trim(m.focusedOn, `"`)
		m.populated[r.workspace]++
		m.focused = nil
	case strings.HasPrefix(text, "resize set width "):
		var width, height int
		if _, err := fmt.Sscanf(text, "resize set width %d px height %d px", &width, &height); err != nil || width < minFloatWidth || height < minFloatHeight {
			return errors.New("it may be narrower than its decorations")
		}
		delete(m.vast, n)
		if width >= vast || height >= vast {
			m.vast[n] = true
		}
	case strings.HasPrefix(text, "mark --add "):
		m.marks[strings.Trim(strings.TrimPrefix(text, "mark --add "), `"`)] = n
	case strings.HasPrefix(text, "fullscreen "):
		if m.global == n || strings.HasSuffix(text, "global") {
			m.global = nil
		}
		if strings.HasSuffix(text, "global") {
			m.global = n
		}
	case text == "focus":
		m.focused, m.focusedOn = n, ""
	case text == "focus parent":
		m.focused, m.focusedOn = n.parent, ""
		if n.parent == nil {
			m.focusedOn = onParent
		}
	}
	return nil
}

func (m *model) toRoot(n *member, workspace string, floats bool) {
	m.detach(n)
	n.workspace, n.floats = workspace, floats
	m.populated[workspace]++
}

// toWorkspace follows Sway: what comes out of a hidden group floats; a group
// that comes to an empty workspace leaves its children there.
func (m *model) toWorkspace(n *member, workspace string) {
	s := n.standing()
	m.toRoot(n, workspace, s != tiled && s != inFloating)
}

func (m *model) toMark(n, mark *member) {
	m.detach(n)
	n.parent = mark.parent
	n.workspace, n.floats = mark.root().workspace, false
	if mark.parent == nil {
		m.populated[n.workspace]++
		return
	}
	n.parent.children = append(n.parent.children, n)
}

// split puts n into a container of its own. Sway changes the layout around an
// only child instead, where that is split.
func (m *model) split(n *member) {
	if p := n.parent; p != nil && len(p.children) == 1 && (p.layout == splith || p.layout == splitv) {
		return
	}
	c := &member{parent: n.parent, children: []*member{n}, layout: splitv, workspace: n.workspace, floats: n.floats, scratch: n.scratch}
	if n.parent != nil {
		n.parent.children[slices.Index(n.parent.children, n)] = c
	}
	n.parent, n.floats, n.scratch = c, false, false
}
