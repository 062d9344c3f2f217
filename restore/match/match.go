// Package match decides which live window is which saved one. After a restart
// every id and pid is new, so windows are recognised by what they show and who
// shows it.
//
// Two windows can be the same only if they are of the same application, and if
// no launch marker says otherwise. Among those, evidence adds up (see
// evidence), and contradictions count against; a pair with nothing in its
// favour is worse than none. Of all ways to pair them the one with the most
// evidence in sum is taken (assign): one window that looks like two saved ones
// goes where the other fits less.
//
// It is a function from values to values; rematch when a title changes or a
// window comes late, and a better answer replaces this one.
package match

import (
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Pair is a saved window and the live one that it is, by their leaf ids.
type Pair struct {
	Saved, Live string
	// Reasons tells in words what speaks for it, the strongest first.
	Reasons []string
	// Instead lists saved windows that the live one could be just as well:
	// only the order of creation decided.
	Instead []string
}

// Result of a match. Every window of both sides stands in it once.
type Result struct {
	Pairs []Pair
	// Missing are saved windows that no live one is.
	Missing []string
	// Extra are live windows that were not saved.
	Extra []string
}

// Match pairs saved windows with live ones. Both sides list their windows in
// order of creation, and their paths relative to the same roots. Launched maps
// the launch ids that this restore gave out to the ids of saved processes; leave
// out programs that hand over to a running instance, whose windows belong to
// that instance and bear its marker or none.
func Match(saved, live *checkpoint.Windows, launched map[string]string) Result {
	s, l := describe(saved), describe(live)
	edges := make([][]edge, len(l))
	for i := range l {
		edges[i] = make([]edge, len(s))
		for j := range s {
			edges[i][j] = compare(&s[j], &l[i], launched)
		}
	}
	partner := assign(len(l), len(s), func(i, j int) int64 { return edges[i][j].gain(s[j].rank - l[i].rank) })

	var r Result
	owner := make([]int, len(s)) // of saved window j: its live window, or -1
	for j := range owner {
		owner[j] = -1
	}
	for i, j := range partner {
		if j < 0 {
			r.Extra = append(r.Extra, l[i].Leaf)
			continue
		}
		owner[j] = i
	}
	for j, i := range owner {
		if i < 0 {
			r.Missing = append(r.Missing, s[j].Leaf)
			continue
		}
		p := Pair{Saved: s[j].Leaf, Live: l[i].Leaf, Reasons: edges[i][j].reasons}
		for other, k := range owner {
			if other != j && interchangeable(edges, i, j, k, other) {
				p.Instead = append(p.Instead, s[other].Leaf)
			}
		}
		r.Pairs = append(r.Pairs, p)
	}
	return r
}

// interchangeable reports whether live i, now saved j, could be saved other
// without loss, when live k (or none, if negative), now other, took j.
func interchangeable(edges [][]edge, i, j, k, other int) bool {
	if !edges[i][other].possible() {
		return false
	}
	now, then := edges[i][j].points, edges[i][other].points
	if k >= 0 {
		if !edges[k][j].possible() {
			return false
		}
		now, then = now+edges[k][other].points, then+edges[k][j].points
	}
	return now == then
}

// window is a window with what is known of its process.
type window struct {
	checkpoint.Window
	process checkpoint.Process
	// title is what stays of its title (normalise).
	title string
	// rank is its place among the windows of its application, by creation.
	rank int
}

func describe(w *checkpoint.Windows) []window {
	if w == nil {
		return nil
	}
	processes := map[string]checkpoint.Process{}
	for _, p := range w.Processes {
		processes[p.ID] = p
	}
	ranks := map[string]int{}
	var out []window
	for _, item := range w.Items {
		d := window{Window: item, process: processes[item.Process], title: normalise(item.Title)}
		d.rank = ranks[d.application()]
		ranks[d.application()]++
		out = append(out, d)
	}
	return out
}

// application is what two windows must share. A window of X11 has a class, any
// other an app_id.
func (w *window) application() string {
	if w.AppID != "" {
		return "app_id " + w.AppID
	}
	return "class " + w.Class
}

// childOf is what runs in the terminal, or nothing.
func childOf(p checkpoint.Process) checkpoint.Child {
	if p.Child == nil {
		return checkpoint.Child{}
	}
	return *p.Child
}

func sameArgv(a, b []string) bool { return len(a) > 0 && slices.Equal(a, b) }
