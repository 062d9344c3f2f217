package layout_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/restore/layout"
)

// seed returns $HELIX_CKPT_TEST_SEED or a new one, and prints it.
func seed(tb testing.TB) uint64 {
	tb.Helper()
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("HELIX_CKPT_TEST_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("HELIX_CKPT_TEST_SEED: %v", err)
		}
	}
	tb.Logf("seed: HELIX_CKPT_TEST_SEED=%d", s)
	return s
}

func socket(d *desktop.Desktop) sway.Socket { return sway.Socket(d.Socket()) }

// capture takes the layout of a desktop and the app_id of each leaf.
func capture(tb testing.TB, d *desktop.Desktop) (*checkpoint.Layout, map[string]string) {
	tb.Helper()
	windows, saved, err := socket(d).Snapshot(tb.Context(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	apps := map[string]string{}
	for _, w := range windows.Items {
		apps[w.Leaf] = w.AppID
	}
	return saved, apps
}

// match maps leaves to the windows that d shows under the same app_id.
func match(ctx context.Context, tb testing.TB, d *desktop.Desktop, apps map[string]string) map[string]int64 {
	tb.Helper()
	tree, err := socket(d).Tree(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	byApp := map[string]int64{}
	for _, w := range tree.Windows() {
		byApp[w.Window.AppID] = w.ID
	}
	windows := map[string]int64{}
	for leaf, app := range apps {
		if con, ok := byApp[app]; ok {
			windows[leaf] = con
		}
	}
	return windows
}

// cases is how many random desktops the property is tried on.
const cases = 30

// TestRandomTreesComeBackExactly restores random desktops twice each: into new
// processes on another Sway, and on their own Sway after everything was moved
// about. The judge is swaymsg.
func TestRandomTreesComeBackExactly(t *testing.T) {
	t.Parallel()
	s := seed(t)
	var score score
	t.Run("workers", func(t *testing.T) {
		for worker := range 2 {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(s, uint64(worker)))
				from, to := desktop.Start(t, desktop.Options{}), desktop.Start(t, desktop.Options{})
				apps := names(8)
				open(from, apps)
				for range cases / 2 {
					score.add(t, tryCase(t, r, from, to, apps))
				}
			})
		}
	})
	score.print(t)
}

// verdict on one random desktop.
type verdict struct {
	excluded   int // states drawn before this one that Sway could not show
	nested     bool
	fresh      string // the differences, when restored into new processes
	scrambled  string // the same on its own Sway
	roundTrips int
}

func tryCase(t *testing.T, r *rand.Rand, from, to *desktop.Desktop, apps []string) verdict {
	t.Helper()
	u := user{ctx: t.Context(), tb: t, d: from, rand: r, apps: apps}
	v := verdict{excluded: u.tile()}
	want := from.Settled()
	saved, leaves := capture(t, from)
	depth, tabs := shape(saved)
	v.nested = depth >= 3 && tabs
	windows := open(to, shuffled(r, apps))
	report := restore(t, to, saved, leaves)
	v.roundTrips = report.RoundTrips
	v.fresh = judge(want, to, report)
	if v.fresh == "" {
		again := restore(t, to, saved, leaves)
		if again.Commands != 0 {
			v.fresh = fmt.Sprintf("a second restore sends %d commands", again.Commands)
		}
	}
	closeAll(t, to, windows)

	built := len(u.log)
	u.wreck()
	v.scrambled = judge(want, from, restore(t, from, saved, leaves))
	if v.fresh != "" || v.scrambled != "" {
		t.Logf("commands that made it:\n%s\ncommands that wrecked it:\n%s",
			strings.Join(u.log[:built], "\n"), strings.Join(u.log[built:], "\n"))
	}
	return v
}

func restore(tb testing.TB, d *desktop.Desktop, saved *checkpoint.Layout, leaves map[string]string) layout.Report {
	tb.Helper()
	report, err := layout.Restore(tb.Context(), socket(d), saved, match(tb.Context(), tb, d, leaves), layout.Options{})
	if err != nil {
		tb.Fatalf("%v\n%+v", err, report)
	}
	return report
}

// judge compares a desktop with what swaymsg said of the saved one, and our own
// report with that.
func judge(want []byte, d *desktop.Desktop, report layout.Report) string {
	got := d.Settled()
	diff := desktop.Diff(want, got)
	switch {
	case diff == "" && !report.Exact():
		return fmt.Sprintf("it is exact, but the report says otherwise: %+v", report)
	case diff != "" && report.Exact():
		return diff + "\nand the report says that it is exact"
	case diff != "":
		return fmt.Sprintf("%s\nreport: %+v", diff, report)
	case bytes.Contains(got, []byte("__helix_ckpt")):
		return "a temporary name is left in the tree"
	}
	return ""
}

type score struct {
	mu sync.Mutex

	cases, exact, failed, nested, excluded, roundTrips int
}

func (s *score) add(t *testing.T, v verdict) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cases++
	s.excluded += v.excluded
	s.roundTrips = max(s.roundTrips, v.roundTrips)
	if v.nested {
		s.nested++
	}
	if v.fresh == "" && v.scrambled == "" {
		s.exact++
		return
	}
	s.failed++
	t.Errorf("case %d: fresh: %s\nscrambled: %s", s.cases, v.fresh, v.scrambled)
}

func (s *score) print(t *testing.T) {
	t.Helper()
	t.Logf("%d cases, each restored into new processes and on its own desktop: %d exact, %d failed; "+
		"%d excluded and drawn again, because Sway itself gave a window no or a negative size; "+
		"%d nested three deep with tabs or stacks; at most %d round trips",
		s.cases+s.excluded, s.exact, s.failed, s.excluded, s.nested, s.roundTrips)
	if s.cases != cases {
		t.Errorf("%d cases were tried, want %d", s.cases, cases)
	}
	if 3*s.nested < s.cases {
		t.Errorf("only %d of %d cases are nested three deep with tabs or stacks", s.nested, s.cases)
	}
	// A class of its own: no command brings Sway to such a state a second time.
	if allowed := (cases + 19) / 20; s.excluded > allowed {
		t.Errorf("%d states of Sway's own making, more than 5 %% (%d)", s.excluded, allowed)
	}
}
