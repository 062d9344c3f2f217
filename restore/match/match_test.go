package match_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore/match"
)

// win is a window with a process of its own.
type win struct {
	app, title string
	cwd        string // of the terminal's child
	process    string // default: one of its own
	launchID   string
	tag        string
	pid        int
}

func desk(side string, wins ...win) *checkpoint.Windows {
	w := &checkpoint.Windows{}
	known := map[string]bool{}
	for i, d := range wins {
		id := d.process
		if id == "" {
			id = fmt.Sprintf("%s-p%d", side, i)
		}
		if !known[id] {
			known[id] = true
			p := checkpoint.Process{ID: id, Argv: []string{d.app}, LaunchID: d.launchID, PID: d.pid, StartTicks: uint64(d.pid)}
			if d.cwd != "" {
				p.Child = &checkpoint.Child{Argv: []string{"sh"}, Cwd: d.cwd}
			}
			w.Processes = append(w.Processes, p)
		}
		w.Items = append(w.Items, checkpoint.Window{Leaf: fmt.Sprintf("%s%d", side, i), Process: id, AppID: d.app, Title: d.title, Tag: d.tag})
	}
	return w
}

// pairs writes a result as "saved=live" in order of saved windows.
func pairs(r match.Result) string {
	var s []string
	for _, p := range r.Pairs {
		s = append(s, p.Saved+"="+p.Live)
	}
	return strings.Join(s, " ")
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		saved, live []win
		launched    map[string]string
		want        string
	}{
		{
			name: "nothing", want: "",
		},
		{
			name:  "another application is never the same",
			saved: []win{{app: "foot", title: "x"}}, live: []win{{app: "kitty", title: "x"}},
			want: "",
		},
		{
			name:  "the only window of an application is it, whatever it shows",
			saved: []win{{app: "zed", title: "app — main.go"}}, live: []win{{app: "zed", title: "empty project"}},
			want: "s0=l0",
		},
		{
			name:  "titles, with what comes and goes in them",
			saved: []win{{app: "chrome", title: "News - Google Chrome"}, {app: "chrome", title: "(3) Mail - Google Chrome"}},
			live:  []win{{app: "chrome", title: "(12) Mail - Google Chrome"}, {app: "chrome", title: "News - Google Chrome"}},
			want:  "s0=l1 s1=l0",
		},
		{
			name:  "terminals by where they are",
			saved: []win{{app: "foot", title: "foot", cwd: "/a"}, {app: "foot", title: "foot", cwd: "/b"}},
			live:  []win{{app: "foot", title: "foot", cwd: "/b"}, {app: "foot", title: "foot", cwd: "/a"}},
			want:  "s0=l1 s1=l0",
		},
		{
			name:  "a terminal elsewhere with another title is another terminal",
			saved: []win{{app: "foot", title: "build", cwd: "/a"}}, live: []win{{app: "foot", title: "logs", cwd: "/b"}},
			want: "",
		},
		{
			name:     "a marker decides against a title",
			saved:    []win{{app: "foot", title: "one"}, {app: "foot", title: "two"}},
			live:     []win{{app: "foot", title: "two", launchID: "A"}, {app: "foot", title: "one", launchID: "B"}},
			launched: map[string]string{"A": "s-p0", "B": "s-p1"},
			want:     "s0=l0 s1=l1",
		},
		{
			name:     "a person's own terminal is not the one that is being launched",
			saved:    []win{{app: "foot", title: "one", cwd: "/a"}},
			live:     []win{{app: "foot", title: "one", cwd: "/a"}},
			launched: map[string]string{"A": "s-p0"},
			want:     "",
		},
		{
			name:  "a marker of another restore says nothing",
			saved: []win{{app: "foot", title: "one", launchID: "X"}}, live: []win{{app: "foot", title: "one", launchID: "Y"}},
			want: "s0=l0",
		},
		{
			name:  "a process that lives on is itself",
			saved: []win{{app: "foot", title: "one", pid: 7}, {app: "foot", title: "two", pid: 8}},
			live:  []win{{app: "foot", title: "two", pid: 7}, {app: "foot", title: "one", pid: 9}},
			want:  "s0=l0 s1=l1",
		},
		{
			name:  "windows of one process are told apart by title",
			saved: []win{{app: "kitty", title: "a", process: "p"}, {app: "kitty", title: "b", process: "p"}, {app: "kitty", title: "c", process: "p"}},
			live:  []win{{app: "kitty", title: "c", process: "q", launchID: "A"}, {app: "kitty", title: "a", process: "q"}},
			launched: map[string]string{
				"A": "p",
			},
			want: "s0=l1 s2=l0",
		},
		{
			name:  "equals keep their order of creation",
			saved: []win{{app: "foot"}, {app: "foot"}, {app: "foot"}}, live: []win{{app: "foot"}, {app: "foot"}},
			want: "s0=l0 s1=l1",
		},
		{
			name:  "a tag is a name",
			saved: []win{{app: "x", title: "same", tag: "left"}, {app: "x", title: "same", tag: "right"}},
			live:  []win{{app: "x", title: "same", tag: "right"}, {app: "x", title: "same", tag: "left"}},
			want:  "s0=l1 s1=l0",
		},
		{
			name:  "one that fits two goes where the other fits less",
			saved: []win{{app: "x", title: "a b c"}, {app: "x", title: "a b c d"}},
			live:  []win{{app: "x", title: "a b c d"}, {app: "x", title: "a b"}},
			want:  "s0=l1 s1=l0",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := match.Match(desk("s", test.saved...), desk("l", test.live...), test.launched)
			if got := pairs(r); got != test.want {
				t.Errorf("pairs %q, want %q\n%+v", got, test.want, r)
			}
			if len(r.Pairs)+len(r.Missing) != len(test.saved) || len(r.Pairs)+len(r.Extra) != len(test.live) {
				t.Errorf("not every window stands in the result once: %+v", r)
			}
		})
	}
}

func TestMatchExplainsItself(t *testing.T) {
	t.Parallel()
	saved := desk("s", win{app: "foot", title: "build", cwd: "/a"}, win{app: "foot", title: "foot"}, win{app: "foot", title: "foot"})
	live := desk("l", win{app: "foot", title: "build", cwd: "/a", launchID: "A"}, win{app: "foot", title: "foot"})
	r := match.Match(saved, live, map[string]string{"A": "s-p0"})
	if pairs(r) != "s0=l0 s1=l1" || !slices.Equal(r.Missing, []string{"s2"}) || len(r.Extra) != 0 {
		t.Fatalf("result %+v", r)
	}
	sure, unsure := r.Pairs[0], r.Pairs[1]
	want := []string{"launched for it", "title", "terminal in /a", "same program in the terminal", "same command line", "app_id foot"}
	if !slices.Equal(sure.Reasons, want) {
		t.Errorf("reasons %q, want %q", sure.Reasons, want)
	}
	if len(sure.Instead) != 0 {
		t.Errorf("%+v is called ambiguous", sure)
	}
	if !slices.Equal(unsure.Instead, []string{"s2"}) {
		t.Errorf("%+v could be s2 as well", unsure)
	}
}

// Fresh windows, some of them late, in any order: each that can be told from
// the others comes out as what it is.
func TestMatchFindsEveryWindowAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "windows")
		saved := make([]win, n)
		for i := range saved {
			saved[i].app = rapid.SampledFrom([]string{"foot", "kitty", "zed", "chrome"}).Draw(t, "app")
			saved[i].title = fmt.Sprintf("%s %d", rapid.SampledFrom([]string{"", "main.go", "logs"}).Draw(t, "title"), i)
			saved[i].cwd = rapid.SampledFrom([]string{"", "/a", "/b"}).Draw(t, "cwd")
		}
		order := rapid.Permutation(indexes(n)).Draw(t, "order")
		order = order[:rapid.IntRange(0, n).Draw(t, "here already")]
		launched := map[string]string{}
		var live []win
		for _, i := range order {
			w := saved[i]
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0: // launched, its title still to come
				w.launchID, w.title = fmt.Sprintf("id%d", i), w.app
				launched[w.launchID] = fmt.Sprintf("s-p%d", i)
			case 1: // a spinner before its title
				w.title = "✳ " + w.title
			}
			live = append(live, w)
		}
		r := match.Match(desk("s", saved...), desk("l", live...), launched)
		for _, p := range r.Pairs {
			var s, l int
			if _, err := fmt.Sscanf(p.Saved+p.Live, "s%dl%d", &s, &l); err != nil {
				t.Fatal(err)
			}
			if order[l] != s {
				t.Errorf("%s is taken for %s, is s%d: %v", p.Live, p.Saved, order[l], p.Reasons)
			}
		}
		if len(r.Pairs) != len(live) {
			t.Errorf("%d of %d windows are recognised", len(r.Pairs), len(live))
		}
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestMatchTakesNoDesktopAtAll(t *testing.T) {
	t.Parallel()
	if r := match.Match(nil, nil, nil); len(r.Pairs)+len(r.Missing)+len(r.Extra) != 0 {
		t.Errorf("result %+v of nothing", r)
	}
}
