package launch_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/restore/launch"
	"github.com/helixml/helix-ckpt/restore/match"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPlanKeepsOnlyWhatTheTemplateKeeps(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		argv []string
		want string
	}{
		{[]string{"foot"}, "foot"},
		{[]string{"/usr/bin/foot", "-a", "ed", "-T", "a title"}, "foot --app-id=ed --title=a title"},
		{[]string{"foot", "--app-id=ed", "--title", "x=y"}, "foot --app-id=ed --title=x=y"},
		{[]string{"foot", "-aed", "-m"}, "foot --app-id=ed"},
		{[]string{"foot", "-o", "shell=/tmp/evil", "-a", "ed"}, "foot --app-id=ed"},
		{[]string{"foot", "-o", "shell", "/tmp/evil", "-a", "ed"}, "foot --app-id=ed"}, // as foot rewrites it
		{[]string{"foot", "--override=shell", "/tmp/evil", "-a", "ed"}, "foot --app-id=ed"},
		{[]string{"foot", "-c", "/tmp/evil.ini", "-a", "ed"}, "foot --app-id=ed"},
		{[]string{"foot", "-a", "ed", "-e", "rm", "-T", "not a title"}, "foot --app-id=ed"},
		{[]string{"foot", "-a", "ed", "rm", "-T", "not a title"}, "foot --app-id=ed"},
		{[]string{"foot", "-a", "ed", "--", "-T", "no"}, "foot --app-id=ed"},
		{[]string{"foot", "-a"}, "foot"},
		{[]string{"foot", "-T", "--token [redacted]"}, "foot"},
		{[]string{"kitty", "--class", "term", "-o", "shell=x", "-1", "sh", "--title", "no"}, "kitty --class=term"},
		{
			[]string{"/opt/google/chrome/chrome", "--user-data-dir=/p", "--load-extension=/tmp/evil", "--renderer-cmd-prefix=evil", "https://x/"},
			"google-chrome --no-first-run --no-default-browser-check --restore-last-session --user-data-dir=/p",
		},
		{[]string{"/zed/libexec/zed-editor", "--foreground", "/workspace"}, "zed"},
	} {
		c, err := launch.Default().Plan(checkpoint.Process{ID: "p1", Argv: test.argv}, nil)
		if err != nil || c.String() != test.want {
			t.Errorf("%q becomes %q, %v; want %q", test.argv, c, err, test.want)
		}
	}
}

func TestPlanRefusesWhatIsNotOnTheList(t *testing.T) {
	t.Parallel()
	for _, argv := range [][]string{nil, {""}, {"/bin/sh", "-c", "evil"}, {"/tmp/foot/evil"}, {"foot "}, {"FOOT"}, {"foot/"}, {"."}} {
		c, err := launch.Default().Plan(checkpoint.Process{ID: "p1", Argv: argv}, nil)
		if len(argv) > 0 && argv[0] == "foot/" { // its base name is foot, and foot from PATH is what runs
			if err != nil || c.Programs[0] != "foot" {
				t.Errorf("%q: %+v, %v", argv, c, err)
			}
			continue
		}
		if !errors.Is(err, launch.ErrNotAllowed) {
			t.Errorf("%q becomes %q, %v; want ErrNotAllowed", argv, c.Args, err)
		}
	}
}

// Whatever a checkpoint claims, what runs is a program of the list, with flags
// of its template.
func TestPlanNeverRunsWhatIsRecorded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := []string{"foot", "-o", "-a", "-e", "--", "--app-id=x", "--title", "-T", "shell=/tmp/evil", "/tmp/evil", "-oshell=/tmp/evil", "--config=/tmp/evil", "sh", "-c", "--override"}
		argv := append([]string{"foot"}, rapid.SliceOfN(rapid.SampledFrom(words), 0, 8).Draw(t, "args")...)
		c, err := launch.Default().Plan(checkpoint.Process{Argv: argv}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, arg := range c.Args {
			if !strings.HasPrefix(arg, "--app-id=") && !strings.HasPrefix(arg, "--title=") {
				t.Fatalf("%q becomes %q", argv, c.Args)
			}
		}
	})
}

func TestPlanStartsATerminalWhereItsShellWas(t *testing.T) {
	t.Parallel()
	roots := map[string]string{checkpoint.RootWorkspace: "/new/workspace"}
	p := checkpoint.Process{Argv: []string{"foot"}, Cwd: "/home", Child: &checkpoint.Child{Argv: []string{"sh"}, Cwd: "$WORKSPACE/app"}}
	for _, test := range []struct {
		program, want string
		roots         map[string]string
	}{
		{"foot", "/new/workspace/app", roots},
		{"chromium", "/home", roots},
		{"foot", "", nil}, // a root that is not known here
	} {
		p.Argv = []string{test.program}
		c, err := launch.Default().Plan(p, test.roots)
		if err != nil || c.Dir != test.want {
			t.Errorf("%s starts in %q, %v; want %q", test.program, c.Dir, err, test.want)
		}
	}
}

func TestEnvironmentNamesOneDesktopOnly(t *testing.T) {
	t.Parallel()
	base := []string{"HOME=/h", "WAYLAND_DISPLAY=old", "DISPLAY=:1", "SWAYSOCK=old", "XDG_RUNTIME_DIR=/old", "HELIX_CKPT_LAUNCH=mine", "HELIX_SESSION_ID=s"}
	got := launch.Environment(base, "/run/d/wayland-1", "/run/d/sway.sock")
	want := []string{"HOME=/h", "HELIX_SESSION_ID=s", "XDG_RUNTIME_DIR=/run/d", "WAYLAND_DISPLAY=wayland-1", "SWAYSOCK=/run/d/sway.sock"}
	if !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	if base[1] != "WAYLAND_DISPLAY=old" {
		t.Error("base was changed")
	}
}

func TestStartSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	if _, err := launch.Start(launch.Command{Process: "p1", Programs: []string{"no-such-program", "nor-this"}}, nil); err == nil ||
		!strings.Contains(err.Error(), "no-such-program") || !strings.Contains(err.Error(), "nor-this") {
		t.Errorf("start of a program that is not there: %v", err)
	}
	r, err := launch.Start(launch.Command{Programs: []string{"false"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("a program that fails ended with %v", err)
	}
}

func TestStartGoesAsFarAsTheDirectoryStillGoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, test := range []struct{ dir, want string }{
		{filepath.Join(dir, "gone", "deeper"), dir},
		{"", "/"},
	} {
		r, err := launch.Start(launch.Command{Programs: []string{"true"}, Dir: test.dir}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Err(); err != nil || r.Dir != test.want {
			t.Errorf("in %q it started in %q, %v; want %q", test.dir, r.Dir, err, test.want)
		}
	}
}

// Windows of a desktop that is no more come back on another one, as what they
// were and where they were, and are recognised.
func TestWindowsComeBackOnAFreshDesktop(t *testing.T) {
	t.Parallel()
	a := desktop.Start(t, desktop.Options{})
	const work = "project/with space"
	a.Foot("editor", "main.go — [x]", a.Dir(work))
	a.Foot("logs", "tail", "")
	a.Foot("logs", "tail", a.Dir(work))
	saved := snapshot(t, a)
	a.Kill9()

	b := desktop.Start(t, desktop.Options{})
	b.Dir(work)
	b.Foot("logs", "tail", "") // a person's own
	launched := map[string]string{}
	for _, p := range saved.Processes {
		c, err := launch.Default().Plan(p, roots(b))
		if err != nil {
			t.Fatal(err)
		}
		launched[c.LaunchID] = p.ID
		start(t, b, c)
	}
	b.WaitWindows(4)
	live := snapshot(t, b)
	r := match.Match(saved, live, launched)
	if len(r.Pairs) != 3 || len(r.Missing) != 0 || len(r.Extra) != 1 {
		t.Fatalf("result %+v", r)
	}
	for _, p := range r.Pairs {
		s, l := find(t, saved, p.Saved), find(t, live, p.Live)
		if s != l || len(p.Instead) > 0 || p.Reasons[0] != "launched for it" {
			t.Errorf("%+v came back as %+v, recognised by %q", s, l, p.Reasons)
		}
	}
}

func roots(d *desktop.Desktop) map[string]string {
	return map[string]string{checkpoint.RootHome: strings.TrimSuffix(d.Dir(""), "/")}
}

// snapshot waits until the shells run, which start when their windows are
// already shown and give no event.
func snapshot(t *testing.T, d *desktop.Desktop) *checkpoint.Windows {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		windows, _, err := sway.Socket(d.Socket()).Snapshot(t.Context(), roots(d))
		if err != nil {
			t.Fatal(err)
		}
		starting := slices.ContainsFunc(windows.Processes, func(p checkpoint.Process) bool {
			return p.Child == nil || filepath.Base(p.Child.Argv[0]) == "foot"
		})
		if !starting {
			return windows
		}
		if time.Now().After(deadline) {
			t.Fatalf("a terminal without a shell in %+v", windows.Processes)
		}
	}
}

func start(t *testing.T, d *desktop.Desktop, c launch.Command) {
	t.Helper()
	display, err := sway.Socket(d.Socket()).Display(t.Context(), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	base := append(os.Environ(), "SHELL=/bin/sh", "LANG=C.UTF-8")
	r, err := launch.Start(c, launch.Environment(base, display, d.Socket()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-r.PID, syscall.SIGKILL) //nolint:errcheck // it may have ended with its Sway
		<-r.Done()
	})
}

// shown is what must come back of a window.
type shown struct{ appID, title, cwd string }

func find(t *testing.T, w *checkpoint.Windows, leaf string) shown {
	t.Helper()
	for _, item := range w.Items {
		if item.Leaf != leaf {
			continue
		}
		for _, p := range w.Processes {
			if p.ID == item.Process && p.Child != nil {
				return shown{item.AppID, item.Title, p.Child.Cwd}
			}
		}
	}
	t.Fatalf("window %s has no terminal in %+v", leaf, w)
	return shown{}
}
