// Package layout_test proves on a real Sway that any layout comes back: states
// made by two generators are captured, destroyed, restored, and judged by what
// swaymsg says before and after.
package layout_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/restore/layout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var cases = flag.Int("layout-cases", 40, "how many states each generator makes")

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

func TestRandomTreesComeBack(t *testing.T) {
	t.Parallel()
	property(t, (*user).trees, features{nested: 33, floats: 25, scratchpad: 25})
}

func TestRandomActionsComeBack(t *testing.T) {
	t.Parallel()
	property(t, (*user).actions, features{floats: 25, scratchpad: 25})
}

// features are what so many in a hundred cases must have.
type features struct{ nested, floats, scratchpad int }

// property restores *cases states, of which at least so many in a hundred have
// the features. Each has a seed of its own, that of the test plus its number,
// so that one can be had again alone. They are tried on two desktops at a
// time, with up to 10 and up to 20 windows.
func property(t *testing.T, generate func(*user) error, least features) {
	t.Helper()
	s := seed(t)
	score := score{excluded: map[string]int{}}
	var workers sync.WaitGroup
	for odd, windows := range []int{10, 20} {
		workers.Go(func() {
			b := &bench{tb: worker{t}, ctx: t.Context(), generate: generate, windows: windows}
			for i := range *cases {
				if s := s + uint64(i); s%2 == uint64(odd) {
					score.add(t, s, b.try(s))
				}
			}
		})
	}
	workers.Wait()
	score.print(t)
	score.check(t, least)
}

// worker is a test outside of its own goroutine.
type worker struct{ *testing.T }

// Fatalf fails the test and ends the goroutine.
func (w worker) Fatalf(format string, args ...any) {
	w.Helper()
	w.Errorf(format, args...)
	runtime.Goexit()
}

// bench is a desktop on which one case after another is tried.
type bench struct {
	tb       worker
	ctx      context.Context
	generate func(*user) error
	windows  int

	d    *desktop.Desktop
	feet []*desktop.Window
	apps []string
}

// outcome of a case.
type outcome struct {
	died     []string // what killed Sway while the state was made
	excluded []string // why states were drawn again that no command leads to
	has      shape
	miss     string // what differs; empty when exact
	trips    int
}

func (b *bench) start() {
	b.tb.Helper()
	b.d = desktop.Start(b.tb, desktop.Options{Outputs: 2})
	b.apps, b.feet = nil, nil
	for i := range b.windows {
		b.apps = append(b.apps, fmt.Sprintf("w%d", i))
	}
	b.open(b.apps)
}

// open starts windows, all at once.
func (b *bench) open(apps []string) {
	b.tb.Helper()
	var windows []desktop.Window
	for _, app := range apps {
		windows = append(windows, desktop.Window{AppID: app, Title: "title of " + app})
	}
	b.feet = append(b.feet, b.d.Feet(windows, "")...)
}

// renew closes all windows and opens as many new ones, in another order and
// at random moments, on a desktop that has other workspaces.
func (b *bench) renew(r *rand.Rand) {
	b.tb.Helper()
	for _, w := range b.feet {
		b.d.Close(w)
	}
	b.feet = nil
	apps := slices.Clone(b.apps)
	r.Shuffle(len(apps), func(i, j int) { apps[i], apps[j] = apps[j], apps[i] })
	for len(apps) > 0 {
		n := 1 + r.IntN(len(apps))
		b.open(apps[:n])
		apps = apps[n:]
	}
}

func (b *bench) try(seed uint64) (out outcome) {
	b.tb.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	var u *user
	var was captured
	for {
		if b.d == nil {
			b.start()
		}
		n := len(b.apps)/2 + 1 + r.IntN(len(b.apps)/2)
		u = &user{ctx: b.ctx, d: b.d, rand: r, apps: append([]string(nil), b.apps[:n]...)}
		err := u.state(b)
		why := ""
		if err == nil {
			why, err = u.unreachable()
		}
		if err == nil && why == "" {
			was, err = b.capture()
		}
		if err == nil && why == "" {
			break
		}
		out.count(b, u, why, err)
	}
	var err error
	if out.has, err = u.shape(); err != nil {
		b.tb.Fatalf("%v", err)
	}
	made := u.log
	u.log = nil
	if r.IntN(4) == 0 {
		b.renew(r)
	} else if err := u.wreck(); err != nil {
		out.count(b, u, "", err)
		b.start()
	}
	if _, err := b.d.TrySettled(); err != nil { // a border of before may still show
		out.count(b, u, "", fmt.Errorf("%w: %w", errDied, err))
		b.start()
	}
	wrecked := u.log
	report, err := b.restore(was)
	out.trips = report.RoundTrips
	if err == nil {
		out.miss, err = judge(was.tree, b.d, report)
	}
	if err != nil {
		out.miss = fmt.Sprintf("restore: %v", err)
		if !b.d.Alive() {
			out.miss = "sway died of it: " + out.miss
			b.d = nil
		}
	}
	if out.miss != "" {
		out.miss += "\nmade by:\n" + strings.Join(made, "\n") + "\nwrecked by:\n" + strings.Join(wrecked, "\n")
	}
	return out
}

// count notes a state that is not tried: Sway died of it, or it is one that no
// command brings about.
func (o *outcome) count(b *bench, u *user, why string, err error) {
	b.tb.Helper()
	switch {
	case errors.Is(err, errDied):
		o.died = append(o.died, fmt.Sprintf("%v, the last of %d commands: %q", err, len(u.log), u.log[max(0, len(u.log)-3):]))
		b.d = nil
	case err != nil:
		b.tb.Fatalf("%v", err)
	default:
		o.excluded = append(o.excluded, why)
	}
}

// captured is a state, and what swaymsg says of it.
type captured struct {
	tree    []byte
	windows *checkpoint.Windows
	layout  *checkpoint.Layout
}

func (b *bench) capture() (c captured, err error) {
	for same := false; !same; same = desktop.Diff(c.tree, b.d.Tree()) == "" { // what a loaded machine shows late
		if c.tree, err = b.d.TrySettled(); err != nil {
			return c, fmt.Errorf("%w: %w", errDied, err)
		}
		if c.windows, c.layout, err = sway.Socket(b.d.Socket()).Snapshot(b.ctx, nil); err != nil {
			return c, err
		}
	}
	return c, nil
}

// state makes the state of a case out of whatever is there.
func (u *user) state(b *bench) error {
	all := &user{ctx: u.ctx, d: u.d, rand: u.rand, apps: b.apps}
	if err := all.reset(); err != nil {
		return err
	}
	return b.generate(u)
}

// wreck changes what was made in ways that a restore must undo.
func (u *user) wreck() error {
	if u.chance(50) {
		if err := u.reset(); err != nil {
			return err
		}
	}
	return u.actions()
}

func (b *bench) restore(was captured) (layout.Report, error) {
	b.tb.Helper()
	socket := sway.Socket(b.d.Socket())
	tree, err := socket.Tree(b.ctx)
	if err != nil {
		return layout.Report{}, err
	}
	byApp := map[string]int64{}
	for _, n := range tree.Windows() {
		byApp[n.Window.AppID] = n.ID
	}
	match := map[string]int64{}
	for _, w := range was.windows.Items {
		match[w.Leaf] = byApp[w.AppID]
	}
	return layout.Restore(b.ctx, socket, was.layout, match, layout.Options{})
}

// judge compares a desktop with what swaymsg said of the saved one, and our own
// report with that.
func judge(want []byte, d *desktop.Desktop, report layout.Report) (string, error) {
	got, err := d.TrySettled()
	if err == nil && desktop.Diff(want, got) != "" { // what a loaded machine shows late
		got, err = d.TrySettled()
	}
	if err != nil {
		return "", err
	}
	diff := desktop.Diff(want, got)
	short := report
	short.Windows = nil
	switch {
	case diff == "" && !report.Exact():
		return fmt.Sprintf("it is exact, but the report says otherwise: %+v", short), nil
	case diff != "" && report.Exact() && len(report.NotRestored) == 0:
		return diff + fmt.Sprintf("\nand the report says that it is exact: %+v", short), nil
	case diff != "":
		return fmt.Sprintf("%s\nreport: %+v", diff, short), nil
	case bytes.Contains(got, []byte("__helix_ckpt")):
		return "a temporary name is left in the tree", nil
	}
	return "", nil
}

type score struct {
	mu sync.Mutex

	cases, exact, nested, floats, scratchpad, trips int

	excluded map[string]int // by why

	died []string
}

func (s *score) add(t *testing.T, seed uint64, o outcome) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cases++
	for _, why := range o.excluded {
		s.excluded[why]++
	}
	s.trips = max(s.trips, o.trips)
	s.died = append(s.died, o.died...)
	for _, f := range []struct {
		has   bool
		count *int
	}{{o.has.nested, &s.nested}, {o.has.floats, &s.floats}, {o.has.scratchpad, &s.scratchpad}} {
		if f.has {
			*f.count++
		}
	}
	if o.miss == "" {
		s.exact++
		return
	}
	t.Errorf("again by HELIX_CKPT_TEST_SEED=%d and -layout-cases 1: %s", seed, o.miss)
}

func (s *score) print(t *testing.T) {
	t.Helper()
	t.Logf("%d cases: %d exact, %d missed; %d nested three deep with tabs or stacks, %d with floats, %d with a scratchpad; "+
		"sway died %d times while the states were made; at most %d round trips",
		s.cases, s.exact, s.cases-s.exact, s.nested, s.floats, s.scratchpad, len(s.died), s.trips)
	for why, n := range s.excluded {
		t.Logf("drawn again, as no command leads there: %d: %s", n, why)
	}
	for _, d := range s.died {
		t.Logf("%s", d)
	}
}

// check fails the test when the cases were not the ones that were meant. Few
// cases say nothing about that.
func (s *score) check(t *testing.T, least features) {
	t.Helper()
	if s.cases != *cases {
		t.Errorf("%d cases were tried, want %d", s.cases, *cases)
	}
	if *cases < 20 {
		return
	}
	for _, f := range []struct {
		name        string
		have, least int
	}{
		{"nested three deep with tabs or stacks", s.nested, least.nested},
		{"with floats", s.floats, least.floats},
		{"with a scratchpad", s.scratchpad, least.scratchpad},
	} {
		if 100*f.have < f.least*s.cases {
			t.Errorf("%d of %d cases are %s, want %d %%", f.have, s.cases, f.name, f.least)
		}
	}
}
