package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

// Difference is something that Restore brings back and that is not as it was
// saved.
type Difference struct {
	// Node is the saved id of the workspace, container or window.
	Node string
	// What: structure, layout, size, focus, focused, shown.
	What      string
	Want, Got string
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: %s: want %s, got %s", d.Node, d.What, d.Want, d.Got)
}

// Compare lists what differs between a saved layout and a live tree in which
// windows maps ids of saved leaves to con_ids, as far as Restore would mend
// it.
func Compare(saved *checkpoint.Layout, live *sway.Node, windows map[string]int64) []Difference {
	d := readDesk(live)
	return compare(newGoal(saved, d, windows), d)
}

func compare(g *goal, d *desk) []Difference {
	var out []Difference
	for _, w := range g.workspaces {
		out = append(out, compareShape(w, d)...)
	}
	if g.keep == 0 {
		out = append(out, compareFocus(g, d)...)
	}
	return out
}

func compareShape(w *workspace, d *desk) []Difference {
	var out []Difference
	switch examine(w, d) {
	case shaped:
		return nil
	case wrong:
		got := "no such workspace"
		if live := d.workspace(w.name); live != nil {
			got = live.String()
		}
		return []Difference{{w.id, "structure", w.String(), got}}
	}
	pairs(&w.node, &d.workspace(w.name).node, func(n, live *node) {
		if n.layout != live.layout {
			out = append(out, Difference{n.id, "layout", n.layout, live.layout})
		}
		if n.box != live.box {
			out = append(out, Difference{n.id, "size", fmt.Sprint(n.box), fmt.Sprint(live.box)})
		}
	})
	return out
}

// compareFocus looks at the workspaces whose containers are the right ones.
func compareFocus(g *goal, d *desk) []Difference {
	var out []Difference
	for _, w := range g.workspaces {
		if len(w.nodes) == 0 || examine(w, d) == wrong {
			continue
		}
		pairs(&w.node, &d.workspace(w.name).node, func(n, live *node) {
			if !slices.Equal(n.focus, live.focus) {
				out = append(out, Difference{n.id, "focus", fmt.Sprint(n.focus), fmt.Sprint(live.focus)})
			}
		})
	}
	for _, o := range d.outputs {
		var want []string
		for _, name := range slices.Backward(g.visits) {
			if slices.Contains(o.focus, name) {
				want = append(want, name)
			}
		}
		got := slices.DeleteFunc(slices.Clone(o.focus), func(name string) bool { return !slices.Contains(want, name) })
		if !slices.Equal(want, got) {
			out = append(out, Difference{o.name, "focus", fmt.Sprintf("%q", want), fmt.Sprintf("%q", got)})
		}
		if len(want) > 0 && o.shown != want[0] {
			out = append(out, Difference{o.name, "shown", want[0], o.shown})
		}
	}
	if w, n := g.find(g.focused); n != nil && examine(w, d) != wrong && d.focused != n.con {
		out = append(out, Difference{g.focused, "focused", fmt.Sprint(n.con), fmt.Sprint(d.focused)})
	}
	return out
}

// String writes the structure of a tree: windows by their con_id.
func (n *node) String() string {
	if n.layout == "" {
		return fmt.Sprint(n.con)
	}
	var parts []string
	for _, c := range n.nodes {
		parts = append(parts, c.String())
	}
	return n.layout + "(" + strings.Join(parts, " ") + ")"
}
