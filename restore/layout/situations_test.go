package layout_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/restore/layout"
)

// saved is a desktop that was captured, its windows still there.
type saved struct {
	*desktop.Desktop

	rand   *rand.Rand
	apps   []string
	layout *checkpoint.Layout
	leaves map[string]string // leaf id → app_id
	want   []byte            // what swaymsg says of it
}

// save makes a random desktop of n windows and captures it.
func save(tb testing.TB, n int, opts desktop.Options) saved {
	tb.Helper()
	d := saved{Desktop: desktop.Start(tb, opts), rand: rand.New(rand.NewPCG(seed(tb), 0)), apps: names(n)}
	open(d.Desktop, d.apps)
	d.user(tb).tile()
	d.take(tb)
	return d
}

func (d *saved) take(tb testing.TB) {
	tb.Helper()
	d.want = d.Settled()
	d.layout, d.leaves = capture(tb, d.Desktop)
}

func (d *saved) user(tb testing.TB) *user {
	tb.Helper()
	return &user{ctx: tb.Context(), tb: tb, d: d.Desktop, rand: d.rand, apps: d.apps}
}

// without leaves out the windows of some names.
func (d *saved) without(apps ...string) map[string]string {
	out := map[string]string{}
	for leaf, app := range d.leaves {
		if !slices.Contains(apps, app) {
			out[leaf] = app
		}
	}
	return out
}

// leaf is the id of the leaf with an app_id.
func (d *saved) leaf(app string) string {
	for leaf, a := range d.leaves {
		if a == app {
			return leaf
		}
	}
	return ""
}

// has reports whether a workspace is saved.
func (d *saved) has(workspace string) bool {
	return slices.ContainsFunc(d.layout.Workspaces, func(w checkpoint.Workspace) bool { return w.Name == workspace })
}

// broken is a Sway that does not do some commands.
type broken struct {
	sway.Socket

	deaf *regexp.Regexp
}

func (b broken) Run(ctx context.Context, commands []string) ([]sway.Result, error) {
	commands = slices.Clone(commands)
	for i, c := range commands {
		if b.deaf.MatchString(c) {
			commands[i] = "nop " + c
		}
	}
	return b.Socket.Run(ctx, commands)
}

// The judge must see what each step is for: without the step it fails.
func TestWithoutAStepTheJudgeFails(t *testing.T) {
	t.Parallel()
	d := save(t, 2, desktop.Options{})
	// By way of an empty one, so that w1 stands to the right of w0.
	for _, workspace := range []string{"9", "1"} {
		d.Swaymsg(`[app_id=w0] move container to workspace ` + workspace + `; [app_id=w1] move container to workspace ` + workspace)
	}
	d.Swaymsg(`[app_id=w0] focus; layout splith; [app_id=w1] resize grow left 123 px; [app_id=w0] split v; [app_id=w0] layout stacking; [app_id=w0] focus`)
	d.take(t)
	for step, deaf := range map[string]string{
		"focus": ` focus$`, "sizes": ` resize `, "layouts": ` layout (stacking|splith|splitv)$`, "splits": ` split v$`,
	} {
		d.Swaymsg(`[app_id=w0] move container to workspace 5, layout splitv; [app_id=w1] move container to workspace 5, focus`)
		b := broken{socket(d.Desktop), regexp.MustCompile(deaf)}
		report, err := layout.Restore(t.Context(), b, d.layout, match(t.Context(), t, d.Desktop, d.leaves), layout.Options{})
		if err != nil {
			t.Fatalf("without %s: %v", step, err)
		}
		if desktop.Diff(d.want, d.Settled()) == "" {
			t.Errorf("without %s the judge sees no difference", step)
		}
		if report.Exact() {
			t.Errorf("without %s the report says that it is exact", step)
		}
	}
	if diff := judge(d.want, d.Desktop, restore(t, d.Desktop, d.layout, d.leaves)); diff != "" {
		t.Errorf("with all steps: %s", diff)
	}
}

func TestLateWindowsAreLeftOutAndThenJoin(t *testing.T) {
	t.Parallel()
	d := save(t, 6, desktop.Options{})
	d.user(t).wreck()
	late := []string{"w0", "w3", "w4"}
	report := restore(t, d.Desktop, d.layout, d.without(late...))
	if len(report.Differences) > 0 {
		t.Errorf("without three windows: %v", report.Differences)
	}
	if len(report.Extra) != len(late) {
		t.Errorf("%d windows were not said to be saved, the report has %v", len(late), report.Extra)
	}
	for _, w := range report.Windows {
		want := layout.Exact
		if slices.Contains(late, d.leaves[w.Leaf]) {
			want = layout.Missing
		}
		if w.State != want {
			t.Errorf("%s is %s (%s), want %s", d.leaves[w.Leaf], w.State, w.Why, want)
		}
	}
	if again := restore(t, d.Desktop, d.layout, d.without(late...)); again.Commands != 0 {
		t.Errorf("nothing has changed, and %d commands are sent", again.Commands)
	}
	report = restore(t, d.Desktop, d.layout, d.without("w4"))
	if len(report.Differences) > 0 {
		t.Errorf("without one window: %v", report.Differences)
	}
	if diff := judge(d.want, d.Desktop, restore(t, d.Desktop, d.layout, d.leaves)); diff != "" {
		t.Errorf("with all windows: %s", diff)
	}
}

func TestWindowsNeverSavedAreKept(t *testing.T) {
	t.Parallel()
	d := save(t, 4, desktop.Options{})
	d.Foot("new", "new", "")
	d.Swaymsg("[app_id=w0] focus; split h")
	d.Foot("other", "other", "")
	report := restore(t, d.Desktop, d.layout, d.leaves)
	if !report.Exact() {
		t.Errorf("the saved windows: %v", report)
	}
	if len(report.Extra) != 2 {
		t.Fatalf("two windows were never saved, the report has %v", report.Extra)
	}
	for _, e := range report.Extra {
		if !e.Moved || d.has(e.Workspace) {
			t.Errorf("%q stood in the way; it should have moved to a workspace of its own: %+v", e.Title, e)
		}
	}
}

// dying is a run that is killed after some commands.
type dying struct {
	sway.Socket

	left int
}

var errKilled = errors.New("killed")

func (d *dying) Run(ctx context.Context, commands []string) ([]sway.Result, error) {
	n := min(d.left, len(commands))
	d.left -= n
	results, err := d.Socket.Run(ctx, commands[:n])
	if n < len(commands) {
		return results, errKilled
	}
	return results, err
}

func TestAKilledRunIsCompletedByTheNext(t *testing.T) {
	t.Parallel()
	d := save(t, 6, desktop.Options{})
	user := d.user(t)
	for range 5 {
		user.wreck()
		c := &dying{socket(d.Desktop), d.rand.IntN(60)}
		_, err := layout.Restore(t.Context(), c, d.layout, match(t.Context(), t, d.Desktop, d.leaves), layout.Options{})
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if diff := judge(d.want, d.Desktop, restore(t, d.Desktop, d.layout, d.leaves)); diff != "" {
			t.Fatalf("killed with %d commands left: %s", c.left, diff)
		}
	}
}

func TestWindowsLeftOnTheStageAreSwept(t *testing.T) {
	t.Parallel()
	d := save(t, 2, desktop.Options{})
	d.Foot("new", "new", "")
	d.Swaymsg(`[app_id=new] move container to workspace __helix_ckpt_stage; [app_id=new] mark --add __helix_ckpt_anchor`)
	report := restore(t, d.Desktop, d.layout, d.leaves)
	if !report.Exact() || len(report.Extra) != 1 || d.has(report.Extra[0].Workspace) {
		t.Errorf("%+v", report)
	}
	if strings.Contains(string(d.Tree()), "__helix_ckpt") {
		t.Error("a temporary name is left")
	}
}

func TestWorkspaceNames(t *testing.T) {
	t.Parallel()
	d := save(t, 2, desktop.Options{ExtraConfig: "set $foo expanded"})
	at := slices.IndexFunc(d.layout.Workspaces, func(w checkpoint.Workspace) bool { return len(w.Nodes) > 0 })
	for _, name := range []string{
		"plain", "two words", `it's`, `say "hi"`, `both " and '`, `'"'"'`, "a;b,c", "$foo", "$$", "a$", `\$foo`, `back\slash`,
		" edge ", "[con_id=1] kill", "x output y", "7: mail", "ünïcode ☃",
	} {
		d.layout.Workspaces[at].Name = name
		report := restore(t, d.Desktop, d.layout, d.leaves)
		if len(report.NotRestored) > 0 || !report.Exact() || len(report.Failed) > 0 {
			t.Errorf("%q: %+v", name, report)
		}
		if !slices.Contains(workspaces(t, d.Desktop), name) {
			t.Errorf("%q is not among %q", name, workspaces(t, d.Desktop))
		}
	}
	for _, name := range []string{"next", "Back_And_Forth", "number", "two\nlines", `trailing\`, "", "gaps"} {
		d.layout.Workspaces[at].Name = name
		report := restore(t, d.Desktop, d.layout, d.leaves)
		if len(report.Differences) > 0 || len(report.NotRestored) != 1 || report.NotRestored[0].What != "name" {
			t.Errorf("%q cannot be made, which should be reported: %+v", name, report)
		}
	}
}

func workspaces(t *testing.T, d *desktop.Desktop) []string {
	t.Helper()
	tree, err := socket(d).Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, w := range tree.Workspaces() {
		out = append(out, w.Name)
	}
	return out
}

func TestAnotherResolutionKeepsProportions(t *testing.T) {
	t.Parallel()
	d := save(t, 6, desktop.Options{})
	to := desktop.Start(t, desktop.Options{Resolution: "1280x800"})
	open(to, d.apps)
	report := restore(t, to, d.layout, d.leaves)
	if len(report.Differences) > 0 || len(report.Scaled) != 2 {
		t.Errorf("%+v", report)
	}
	if again := restore(t, to, d.layout, d.leaves); again.Commands != 0 {
		t.Errorf("a second restore sends %d commands", again.Commands)
	}
	tree, err := socket(to).Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	was := map[string]checkpoint.Rect{}
	d.layout.Walk(func(n *checkpoint.Node) { was[d.leaves[n.ID]] = n.Rect })
	for _, w := range tree.Windows() {
		// Widths only: titles take the same height on every screen.
		old := was[w.Window.AppID]
		for _, e := range [][2]int{{old.X, w.Rect.X}, {old.X + old.Width, w.Rect.X + w.Rect.Width}} {
			if ideal := float64(e[0]) * 1280 / 1920; math.Abs(ideal-float64(e[1])) > 1 {
				t.Errorf("%s: an edge at %d of 1920 is at %d of 1280", w.Window.AppID, e[0], e[1])
			}
		}
	}
}

func TestWhatIsNotRestoredIsNamedAndNoWindowIsLost(t *testing.T) {
	t.Parallel()
	d := save(t, 6, desktop.Options{})
	d.Swaymsg(`[app_id=w0] floating enable; [app_id=w1] floating enable, sticky enable; [app_id=w2] move scratchpad`)
	d.Swaymsg(`[app_id=w3] mark --add here; [app_id=w3] border pixel 5; [app_id=w4] inhibit_idle open; [app_id=w5] fullscreen enable`)
	d.take(t)
	to := desktop.Start(t, desktop.Options{})
	open(to, d.apps)
	report := restore(t, to, d.layout, d.leaves)
	if len(report.Differences) > 0 {
		t.Errorf("the tiled windows: %v", report.Differences)
	}
	for app, what := range map[string]string{
		"w0": "floating", "w1": "sticky", "w2": "scratchpad", "w3": "marks", "w4": "inhibit_idle", "w5": "fullscreen",
	} {
		if !slices.ContainsFunc(report.NotRestored, func(n layout.NotRestored) bool { return n.Node == d.leaf(app) && n.What == what }) {
			t.Errorf("%s was %s, which the report does not say: %+v", app, what, report.NotRestored)
		}
	}
	to.WaitWindows(len(d.apps))
	if again := restore(t, to, d.layout, d.leaves); again.Commands != 0 {
		t.Errorf("a second restore sends %d commands", again.Commands)
	}
}

func TestKeepFocusLeavesTheUserAlone(t *testing.T) {
	t.Parallel()
	d := save(t, 4, desktop.Options{})
	d.Foot("working", "working", "")
	d.user(t).wreck()
	d.Swaymsg("[app_id=working] move container to workspace 9; [app_id=working] focus")
	windows := match(t.Context(), t, d.Desktop, d.leaves)
	report, err := layout.Restore(t.Context(), socket(d.Desktop), d.layout, windows, layout.Options{KeepFocus: true})
	if err != nil || !report.Exact() {
		t.Errorf("%v: %+v", err, report)
	}
	tree, err := socket(d.Desktop).Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tree.Walk(func(n *sway.Node) {
		if n.Focused && (n.Window == nil || n.Window.AppID != "working") {
			t.Errorf("the focus went to %s %q", n.Type, n.Name)
		}
	})
}
