package match

import (
	"math"
	"regexp"
	"strings"
	"unicode"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Points of evidence. Their order says what is more like a name and less like a
// coincidence; of the amounts only the rough proportion matters: any title
// that is equal outweighs any place, any two places outweigh a word in common.
const (
	// decisive is more than all other evidence together.
	decisive = 1_000_000
	// byApplication speaks for any two windows of one application, so that the
	// only window of one is recognised whatever it shows now.
	byApplication = 1_000

	byTag          = 20_000 // xdg-toplevel-tag, which programs set to be recognised
	byTitle        = 8_000
	byTitleWords   = 3_000 // times the share of words in common
	byChildCwd     = 2_500
	byChildArgv    = 1_500
	byArgv         = 1_200
	byRole         = 800
	byInstance     = 600
	bySandbox      = 600
	byCwd          = 500
	againstTag     = -20_000
	againstTitle   = -500
	againstCwd     = -4_000 // of a terminal's child: more than that both run the usual shell
	againstSandbox = -2_000
	// againstMarker: the window of a program that we launched bears our
	// marker, so one without it hardly is it.
	againstMarker = -30_000
)

// edge is what speaks for and against one pair.
type edge struct {
	points    int
	forbidden bool
	reasons   []string
}

// possible reports whether the pair is better than none.
func (e *edge) possible() bool { return !e.forbidden && e.points > 0 }

// gain is the weight of the pair in the assignment: its points, and below
// them, as the last resort, how far apart the two stand in order of creation.
// The square makes the best pairing of equals the one that keeps their order.
func (e *edge) gain(distance int) int64 {
	const orderBits = 24
	if !e.possible() {
		return 0
	}
	apart := min(int64(distance)*int64(distance), 1<<orderBits-1)
	return int64(e.points)<<orderBits - apart
}

func (e *edge) add(points int, reason string) {
	e.points += points
	if points > 0 {
		e.reasons = append(e.reasons, reason)
	}
}

// both adds one of two amounts for a key that both sides have, none for one
// that either lacks.
func (e *edge) both(saved, live string, equal, unequal int, reason string) {
	switch {
	case saved == "" || live == "":
	case saved == live:
		e.add(equal, reason)
	default:
		e.add(unequal, "")
	}
}

func compare(saved, live *window, launched map[string]string) edge {
	if saved.application() != live.application() {
		return edge{forbidden: true}
	}
	var e edge
	if e.byProcess(saved, live, launched); e.forbidden {
		return e
	}
	e.both(saved.Tag, live.Tag, byTag, againstTag, "tag "+saved.Tag)
	e.byTitle(saved.title, live.title)
	s, l := childOf(saved.process), childOf(live.process)
	e.both(s.Cwd, l.Cwd, byChildCwd, againstCwd, "terminal in "+s.Cwd)
	if sameArgv(s.Argv, l.Argv) {
		e.add(byChildArgv, "same program in the terminal")
	}
	if sameArgv(saved.process.Argv, live.process.Argv) {
		e.add(byArgv, "same command line")
	}
	e.both(saved.Role, live.Role, byRole, 0, "role "+saved.Role)
	e.both(saved.Instance, live.Instance, byInstance, 0, "instance "+saved.Instance)
	e.both(saved.SandboxEngine+saved.SandboxAppID, live.SandboxEngine+live.SandboxAppID, bySandbox, againstSandbox, "same sandbox")
	e.both(saved.process.Cwd, live.process.Cwd, byCwd, 0, "started in "+saved.process.Cwd)
	e.add(byApplication, saved.application())
	return e
}

// byProcess weighs what identifies the process as a whole: it is the very
// same, or it bears the marker that it was launched with.
func (e *edge) byProcess(saved, live *window, launched map[string]string) {
	if sameLife(saved.process, live.process) {
		e.add(decisive, "the same process")
		return
	}
	if process, ours := launched[live.process.LaunchID]; ours && live.process.LaunchID != "" {
		if process != saved.process.ID {
			e.forbidden = true
			return
		}
		e.add(decisive, "launched for it")
		return
	}
	for _, process := range launched {
		if process == saved.process.ID && process != "" {
			e.add(againstMarker, "")
			return
		}
	}
}

func sameLife(a, b checkpoint.Process) bool {
	return a.PID != 0 && a.StartTicks != 0 && a.PID == b.PID && a.StartTicks == b.StartTicks
}

func (e *edge) byTitle(saved, live string) {
	switch share := wordsInCommon(saved, live); {
	case saved == "" || live == "":
	case saved == live:
		e.add(byTitle, "title")
	case share > 0:
		e.add(int(math.Round(byTitleWords*share)), "similar title")
	default:
		e.add(againstTitle, "")
	}
}

var (
	// program is the name that browsers and editors append to their titles.
	program = regexp.MustCompile(` (?:-|—|–) (?:Google Chrome|Chromium|Mozilla Firefox|Visual Studio Code|Zed)(?: (?:Dev|Nightly|Preview))?$`)
	// counter is a number of unread things at either end.
	counter = regexp.MustCompile(`^\(\d+\+?\)\s*|\s*\(\d+\+?\)$`)
	// spinner is a sign in front that says that something runs or is unsaved.
	spinner = regexp.MustCompile(`^[\s*•●○◐◓◑◒✳✶✻✽⠀-⣿]+`)
)

// normalise drops from a title what comes and goes while the window stays.
func normalise(title string) string {
	title = spinner.ReplaceAllString(title, "")
	title = program.ReplaceAllString(title, "")
	title = counter.ReplaceAllString(title, "")
	return strings.Join(strings.Fields(title), " ")
}

// wordsInCommon is the share, from 0 to 1, of words that stand in both of all
// that stand in either.
func wordsInCommon(a, b string) float64 {
	in := map[string]int{}
	for _, w := range strings.Fields(a) {
		in[w] |= 1
	}
	for _, w := range strings.Fields(b) {
		in[w] |= 2
	}
	both := 0
	for w, sides := range in {
		if sides == 3 && strings.ContainsFunc(w, isLetterOrDigit) {
			both++
		}
	}
	if len(in) == 0 {
		return 0
	}
	return float64(both) / float64(len(in))
}

func isLetterOrDigit(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
