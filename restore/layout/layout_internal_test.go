package layout

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A desk with a window 10 on workspace 1, a floating group 20(21), a hidden
// scratchpad group 30(31), a hidden window 32, and a scratchpad window 40 that
// is shown.
func crowdedDesk() *desk {
	window := func(id int64) *sway.Node { return &sway.Node{ID: id, Type: "con", Window: &sway.Window{PID: 1}} }
	group := func(id int64, children ...*sway.Node) *sway.Node {
		return &sway.Node{ID: id, Type: "floating_con", Layout: splith, Nodes: children}
	}
	shown := window(40)
	shown.InScratchpad = true
	return readDesk(&sway.Node{Type: "root", Nodes: []*sway.Node{
		{Type: "output", Name: sway.ScratchOutput, Nodes: []*sway.Node{
			{ID: 2, Type: "workspace", Name: sway.ScratchWorkspace, Floating: []*sway.Node{group(30, window(31)), window(32)}},
		}},
		{Type: "output", Name: "HEADLESS-1", Nodes: []*sway.Node{
			{
				ID: 3, Type: "workspace", Name: "1", Layout: splith,
				Nodes:    []*sway.Node{window(10)},
				Floating: []*sway.Node{group(20, window(21)), shown},
			},
		}},
	}})
}

func TestGuardRefusesWhatKillsSway(t *testing.T) {
	t.Parallel()
	toWorkspace := `move --no-auto-back-and-forth container to workspace "1"`
	for _, c := range []struct {
		name  string
		batch []command
		safe  bool
	}{
		{"layout on a tiled window", []command{{con: 10, text: "layout tabbed"}}, true},
		{"layout on a child of a hidden group", []command{{con: 31, text: "layout tabbed"}}, false},
		{"floating disable on one", []command{{con: 31, text: "floating disable"}}, false},
		{"fullscreen disable on one", []command{{con: 31, text: "fullscreen disable"}}, false},
		{"a resize of one", []command{{con: 31, text: "resize grow right 1 px"}}, false},
		{"such a child may be moved out", []command{{con: 31, text: toWorkspace}}, true},
		{"and is as any other then", []command{{con: 31, text: toWorkspace}, {con: 31, text: "split v"}, {con: 31, text: "layout tabbed"}}, true},
		{"a hidden window is shown first", []command{{con: 32, text: "floating disable"}}, false},
		{"and then tiled", []command{{con: 32, text: toWorkspace}, {con: 32, text: "floating disable"}, {con: 32, text: "split v"}}, true},
		{"split on a shown scratchpad window", []command{{con: 40, text: "split v"}}, false},
		{"a glued command acts on the same place", []command{{con: 10, text: "focus parent"}, {text: "layout tabbed", glued: true}}, true},
		{"a command on whatever is focused", []command{{text: "layout tabbed"}}, false},
		{"a glued one after a command that focuses nothing", []command{{con: 10, text: "split v"}, {text: "layout tabbed", glued: true}}, false},
		{"a move to a mark on a hidden window", []command{{con: 32, text: "mark --add " + anchor}, {con: 10, text: "move container to mark " + anchor}}, false},
		{"swap", []command{{con: 10, text: "swap container with con_id 21"}}, false},
		{"move left", []command{{con: 10, text: "move left"}}, false},
		{"resize set", []command{{con: 10, text: "resize set 50 ppt"}}, false},
		{"urgent", []command{{con: 10, text: "urgent enable"}}, false},
		{"exec", []command{{text: "exec true"}}, false},
		{"nobody", []command{{con: 99, text: "layout tabbed"}}, false},
	} {
		err := guard(crowdedDesk(), c.batch)
		if c.safe && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.safe && !errors.Is(err, ErrDangerous) {
			t.Errorf("%s: it was let through", c.name)
		}
	}
	fullscreen := crowdedDesk()
	p := fullscreen.places[10]
	p.fullscreen = 2
	fullscreen.places[10] = p
	if err := guard(fullscreen, []command{{con: 10, text: "layout tabbed"}}); !errors.Is(err, ErrDangerous) {
		t.Error("layout under fullscreen global was let through")
	}
	if err := guard(fullscreen, []command{{con: 10, text: "fullscreen disable"}, {con: 10, text: "layout tabbed"}}); err != nil {
		t.Errorf("after it ended: %v", err)
	}
}

// Whatever a desk looks like and whatever is saved, no step is refused.
func TestNoStepIsDangerous(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		leaf := func(id string) *checkpoint.Node { return &checkpoint.Node{ID: id} }
		all := []string{"a", "b", "c", "d", "e", "f"}
		cons := []int64{10, 21, 31, 32, 40}
		windows := map[string]int64{}
		for _, con := range cons {
			windows[rapid.SampledFrom(all).Draw(t, "leaf")] = con
		}
		where := rapid.SliceOfN(rapid.IntRange(0, 3), len(all), len(all)).Draw(t, "where")
		saved := &checkpoint.Layout{}
		w := checkpoint.Workspace{ID: "ws:1", Name: "1", Layout: splitv, Rect: checkpoint.Rect{Width: 1000, Height: 1000}}
		group := &checkpoint.Node{ID: "g", Layout: splith}
		for i, id := range all {
			switch where[i] {
			case 0:
				w.Nodes = append(w.Nodes, leaf(id))
			case 1:
				group.Nodes = append(group.Nodes, leaf(id))
			case 2:
				w.Floating = append(w.Floating, leaf(id))
			case 3:
				saved.Scratchpad = append(saved.Scratchpad, leaf(id))
			}
		}
		if len(group.Nodes) > 0 {
			w.Nodes = append(w.Nodes, group)
		}
		saved.Workspaces = []checkpoint.Workspace{w}
		d := crowdedDesk()
		for _, tried := range []kind{"", sweep, build} {
			s := next(newGoal(saved, d, windows), d, func(k kind) bool { return k != tried })
			if err := guard(d, s.commands); err != nil {
				t.Fatalf("%s: %v", s.kind, err)
			}
		}
	})
}

func TestPayloadsKeepGluedCommandsTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s script
		for i := range rapid.IntRange(0, 60).Draw(t, "commands") {
			if rapid.Bool().Draw(t, "glued") && i > 0 {
				s.then("glued")
			} else {
				s.to(int64(i), "%s", strings.Repeat("x", rapid.IntRange(1, 40).Draw(t, "length")))
			}
		}
		const limit = 300
		var all []string
		for _, p := range payloads(s, limit) {
			if size := len(strings.Join(p, sway.Separator)); size > limit && slices.Contains(p[1:], "glued") == false && len(p) > 1 {
				t.Fatalf("a payload of %d bytes", size)
			}
			if p[0] == "glued" {
				t.Fatal("a payload begins with a glued command")
			}
			all = append(all, p...)
		}
		var want []string
		for _, c := range s {
			want = append(want, c.String())
		}
		if !slices.Equal(all, want) {
			t.Fatalf("commands were lost or reordered: %q, want %q", all, want)
		}
	})
}

// resized runs borders as Sway does: a resize that has no room is refused.
func resized(t *rapid.T, layout string, from, to []int) []int {
	n := &node{layout: layout}
	for i := range from {
		n.nodes = append(n.nodes, &node{con: int64(i)})
	}
	var s script
	s.borders(n, from, to)
	now := slices.Clone(from)
	least := map[string]int{splith: minWidth, splitv: minHeight}[layout]
	for _, c := range s {
		f := strings.Fields(c.text)
		by := 0
		for _, digit := range f[3] {
			by = 10*by + int(digit-'0')
		}
		if f[1] == "shrink" {
			by = -by
		}
		now[c.con] += by
		now[c.con+1] -= by
		if now[c.con] < least || now[c.con+1] < least {
			t.Fatalf("%s has no room: %v → %v, at %v", c, from, to, now)
		}
	}
	return now
}

func TestBordersReachEverySizeAboveTheMinimum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		layout := rapid.SampledFrom([]string{splith, splitv}).Draw(t, "layout")
		to := rapid.SliceOfN(rapid.IntRange(minWidth, 900), 1, 9).Draw(t, "to")
		from := equal(len(to), sum(to))
		if now := resized(t, layout, from, to); !slices.Equal(now, to) {
			t.Fatalf("from %v: %v, want %v", from, now, to)
		}
	})
}

// A container that is not larger in the end than in the scaffold gets every
// size there; one that is needs at most a pixel's touch-up per border.
func TestScaledSizesBecomeTheFinalOnes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		final := rapid.SliceOfN(rapid.IntRange(20, 400), 1, 9).Draw(t, "final")
		space := rapid.IntRange(sum(final)*9/10, sum(final)*4).Draw(t, "space")
		inScaffold := scale(final, space)
		if sum(inScaffold) != space {
			t.Fatalf("%v does not fill %d", inScaffold, space)
		}
		got := outcome(final, space)
		for i := range final[:len(final)-1] {
			off := got[i] - final[i]
			if space >= sum(final) && off != 0 || off < -1 || off > 1 {
				t.Fatalf("%v in %d becomes %v, want %v", inScaffold, space, got, final)
			}
		}
	})
}

func TestArrangeFillsTheBoxAndIsStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := drawTree(t, 3)
		box := checkpoint.Rect{X: 7, Y: 11, Width: 4000, Height: 4000}
		n.arrange(box, 25)
		first := boxes(n)
		n.arrange(box, 25)
		if !slices.Equal(first, boxes(n)) {
			t.Fatalf("arranged again: %v, before: %v", boxes(n), first)
		}
		n.walk(func(n *node) {
			if n.layout == splith && !n.window() && sum(n.extents()) != n.box.Width {
				t.Fatalf("children of %v leave a gap: %v", n.box, n.extents())
			}
		})
	})
}

func drawTree(t *rapid.T, depth int) *node {
	n := &node{box: checkpoint.Rect{Width: rapid.IntRange(100, 900).Draw(t, "width"), Height: rapid.IntRange(100, 900).Draw(t, "height")}}
	if depth == 0 || rapid.Bool().Draw(t, "window") {
		return n
	}
	n.layout = rapid.SampledFrom([]string{splith, splitv, tabbed, stacked}).Draw(t, "layout")
	for range rapid.IntRange(1, 4).Draw(t, "children") {
		n.nodes = append(n.nodes, drawTree(t, depth-1))
	}
	return n
}

func boxes(n *node) []checkpoint.Rect {
	var out []checkpoint.Rect
	n.walk(func(n *node) { out = append(out, n.box) })
	return out
}

func TestQuoteSaysNoToWhatSwayCannotRead(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		`a`: `"a"`, `it's`: `"it's"`, `say "hi"`: `"say "'"'"hi"'"'""`, `$x`: `"$$x"`, `\$x`: `"\$x"`, `a\b`: `"a\b"`,
		"": "", "next": "", "NUMBER": "", "a\nb": "", "a\x00b": "", `a\`: "", `a\"b`: "", `a\;b`: "",
	} {
		got, ok := quote(name)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %s, %v; want %s", name, got, ok, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		if clean := sayable(name, map[string]bool{"_": true}); mustQuote(clean) == "" || clean == "_" {
			t.Fatalf("%q becomes %q", name, clean)
		}
	})
}
