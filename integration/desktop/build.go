package desktop

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// Rand is where BuildTree takes its decisions from: a *rand.Rand of
// math/rand/v2, or Draw of a property test.
type Rand interface{ IntN(n int) int }

// Draw makes decisions by rapid, which can then shrink and replay them.
func Draw(t *rapid.T) Rand { return drawn{t} }

type drawn struct{ t *rapid.T }

// IntN draws one decision.
func (d drawn) IntN(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "decision") }

// BuildOptions say how large a random desktop is.
type BuildOptions struct {
	Windows, Workspaces int
}

// BuildTree makes a random desktop of tiled windows as a person would: opens
// windows named w0, w1, … on workspaces named 1, 2, …, between them splits and
// changes layouts somewhere in what is there already, then moves borders and
// focus about. Splits, tabs and stacks of any nesting come out of it, chains
// of single children included. The first windows go to each workspace in turn,
// so that none stays empty while there are enough.
//
// It logs what it did, so that a failure can be read and repeated.
func (d *Desktop) BuildTree(r Rand, opts BuildOptions) []*Window {
	d.tb.Helper()
	b := &builder{d: d, r: r, home: make([][]string, opts.Workspaces)}
	for i := range opts.Windows {
		b.open(i)
	}
	for range 2 * opts.Windows {
		b.resize()
	}
	for range opts.Windows {
		b.focus()
	}
	d.tb.Logf("desktop: built %d windows on %d workspaces:\n%s", opts.Windows, opts.Workspaces, strings.Join(b.log, "\n"))
	return b.windows
}

// arrangements are what a person does to the containers. Splits stand twice:
// below a tabbed or stacked container there is no border to move.
var arrangements = []string{
	"splith", "splitv", "splith", "splitv",
	"layout splith", "layout splitv", "layout tabbed", "layout stacking",
}

type builder struct {
	d       *Desktop
	r       Rand
	home    [][]string // app_ids by workspace
	windows []*Window
	log     []string
}

// run tries a command: as with a person's keys, one that Sway refuses (a
// resize without room) is no failure.
func (b *builder) run(format string, args ...any) {
	command := fmt.Sprintf(format, args...)
	if b.d.try(command) != nil {
		command += "  # refused"
	}
	b.log = append(b.log, command)
}

func (b *builder) pick(from []string) string { return from[b.r.IntN(len(from))] }

func (b *builder) open(i int) {
	ws := i
	if i >= len(b.home) {
		ws = b.r.IntN(len(b.home))
	}
	b.run("workspace %d", ws+1)
	if len(b.home[ws]) > 0 {
		command := criterion(b.pick(b.home[ws])) + " focus" + strings.Repeat("; focus parent", b.r.IntN(3))
		for range b.r.IntN(3) {
			command += "; " + b.pick(arrangements)
		}
		b.run("%s", command)
	}
	name := fmt.Sprintf("w%d", i)
	b.log = append(b.log, "open "+name)
	b.windows = append(b.windows, b.d.Foot(name, "title of "+name, ""))
	b.home[ws] = append(b.home[ws], name)
}

func (b *builder) anyWindow() string { return b.pick(b.home[b.busyWorkspace()]) }

func (b *builder) busyWorkspace() int {
	for {
		if ws := b.r.IntN(len(b.home)); len(b.home[ws]) > 0 {
			return ws
		}
	}
}

func (b *builder) resize() {
	b.run("%s resize %s %s %d px", criterion(b.anyWindow()),
		b.pick([]string{"grow", "shrink"}), b.pick([]string{"left", "right", "up", "down"}), 1+b.r.IntN(200))
}

func (b *builder) focus() {
	b.run("%s focus%s", criterion(b.anyWindow()), strings.Repeat("; focus parent", b.r.IntN(5)/3))
}

func criterion(appID string) string { return fmt.Sprintf("[app_id=%q]", "^"+appID+"$") }
