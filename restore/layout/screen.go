package layout

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// screensFor says which live output stands for each saved one: the one of the
// same name, else one that no saved output has, else the first.
func screensFor(saved *checkpoint.Layout, d *desk) map[string]output {
	screens := map[string]output{}
	if len(d.outputs) == 0 {
		return screens
	}
	names := savedOutputs(saved)
	spare := slices.DeleteFunc(slices.Clone(d.outputs), func(o output) bool { return slices.Contains(names, o.name) })
	for _, name := range names {
		if o, ok := d.output(name); ok {
			screens[name] = o
		} else if len(spare) > 0 {
			screens[name], spare = spare[0], spare[1:]
		} else {
			screens[name] = d.outputs[0]
		}
	}
	return screens
}

// savedOutputs are the names of the outputs that show something.
func savedOutputs(saved *checkpoint.Layout) []string {
	var names []string
	for _, o := range saved.Outputs {
		if o.Active {
			names = append(names, o.Name)
		}
	}
	for _, w := range saved.Workspaces {
		if !slices.Contains(names, w.Output) {
			names = append(names, w.Output)
		}
	}
	return names
}

// outputAt is the saved output on which the centre of a box lies, or the zero
// one.
func outputAt(saved *checkpoint.Layout, box checkpoint.Rect) checkpoint.Output {
	for _, o := range saved.Outputs {
		if o.Active && centred(box, o.Rect) {
			return o
		}
	}
	return checkpoint.Output{}
}

// centred reports whether the centre of box lies in area.
func centred(box, area checkpoint.Rect) bool {
	// Sway has floating point here, so twice the centre.
	x, y := 2*box.X+box.Width, 2*box.Y+box.Height
	return x >= 2*area.X && x < 2*(area.X+area.Width) && y >= 2*area.Y && y < 2*(area.Y+area.Height)
}

// orderStep puts the workspaces of each output in saved order. Sway sorts
// those whose name begins with a number by it, and before the others; among
// equals it keeps the order in which they came. So renaming one to a name of
// another kind and back makes it the last of its number, or the first of those
// without.
func orderStep(g *goal, d *desk) script {
	var s script
	aside := func(name, temporary string) {
		s.plain("rename workspace %s to %s", mustQuote(name), mustQuote(temporary))
		s.plain("rename workspace %s to %s", mustQuote(temporary), mustQuote(name))
	}
	for _, o := range d.outputs {
		want, got := g.order(o)
		if slices.Equal(want, got) {
			continue
		}
		for _, name := range want {
			if numbered(name) && movable(name) {
				aside(name, prefix+"_order")
			}
		}
		for _, name := range slices.Backward(want) {
			if !numbered(name) && movable(name) {
				aside(name, "0"+prefix+"_order")
			}
		}
	}
	return s
}

// order are the workspaces of the goal on an output as they should stand and as
// they do.
func (g *goal) order(o output) (want, got []string) {
	for _, v := range g.standing {
		if v.output == o.name && slices.Contains(o.order, v.workspace) {
			want = append(want, v.workspace)
		}
	}
	slices.SortStableFunc(want, func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	for _, name := range o.order {
		if slices.Contains(want, name) {
			got = append(got, name)
		}
	}
	return want, got
}

// number is what Sway sorts a workspace by.
func number(name string) int64 {
	digits := 0
	for digits < len(name) && name[digits] >= '0' && name[digits] <= '9' {
		digits++
	}
	if digits == 0 {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(name[:digits], 10, 32)
	if err != nil {
		return math.MaxInt64 - 1
	}
	return n
}

func numbered(name string) bool { return number(name) != math.MaxInt64 }

// movable is false for the names that the rename command takes for a word of
// its own.
func movable(name string) bool { return name != "to" }
