package desktop

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStartShowsWindowsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	var dir string
	var pids []int
	t.Run("desktop", func(t *testing.T) {
		d := Start(t, Options{Outputs: 2, Resolution: "1280x720"})
		dir = d.dir
		if len(d.Socket()) > 107 {
			t.Errorf("the socket path %s is too long for its clients", d.Socket())
		}
		w := d.Foot("one", "a title", d.Dir("some/where"))
		pids = []int{d.PID(), w.PID}
		d.WaitWindows(1)
		text, err := Normalise(d.Settled())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`output HEADLESS-1 0,0 1280x720 shows "1"`,
			`output HEADLESS-2 1280,0 1280x720`,
			`window one "a title" 0,`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in\n%s", want, text)
			}
		}
		d.Close(w)
		d.WaitWindows(0)
	})
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d is still there", pid)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}

func TestRestartAfterCrashAnswersOnAnotherSocket(t *testing.T) {
	t.Parallel()
	d := Start(t, Options{})
	d.Foot("one", "one", "")
	before, pid := d.Socket(), d.PID()
	d.Kill9()
	d.Restart()
	if d.PID() == pid {
		t.Errorf("the pid is still %d", pid)
	}
	if d.Socket() == before {
		t.Errorf("the socket is still %s, though a stale one lay there", before)
	}
	d.Foot("two", "two", "")
	d.WaitWindows(1)
}

func TestDiffSeesEveryChange(t *testing.T) {
	t.Parallel()
	d := Start(t, Options{})
	d.Foot("a", "first", "")
	d.Foot("b", "second", "")
	d.Foot("c", "third", "")
	before := d.Settled()
	if diff := Diff(before, d.Settled()); diff != "" {
		t.Fatalf("two looks at the same desktop differ:\n%s", diff)
	}
	for _, command := range []string{
		`[app_id="^a$"] resize grow right 1 px`,
		`[app_id="^b$"] focus`,
		`[app_id="^b$"] splitv`,
		`[app_id="^a$"] layout tabbed`,
		`[app_id="^a$"] swap container with con_id ` + conID(t, d, "c"),
		`[app_id="^a$"] border pixel 3`,
		`[app_id="^a$"] mark --add m`,
		`[app_id="^a$"] floating enable`,
		`[app_id="^a$"] fullscreen enable`,
		`[app_id="^a$"] move scratchpad`,
		`rename workspace 1 to 2`,
	} {
		d.Swaymsg(command)
		after := d.Settled()
		if Diff(before, after) == "" {
			t.Errorf("%s: no difference is seen", command)
		}
		before = after
	}
}

func conID(t *testing.T, d *Desktop, appID string) string {
	t.Helper()
	tree, err := d.tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range tree.windows() {
		if w.app() == appID {
			return strconv.FormatInt(w.ID, 10)
		}
	}
	t.Fatalf("no window %s", appID)
	return ""
}

func TestBuildTreeOfEveryLayout(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	d := Start(t, Options{})
	d.BuildTree(r, BuildOptions{Windows: 12, Workspaces: 2})
	d.WaitWindows(12)
	text, err := Normalise(d.Settled())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", text)
	if n := strings.Count(text, "window w"); n != 12 {
		t.Errorf("the judge sees %d windows, want 12", n)
	}
}

func TestNormaliseRefusesWhatIsNoTree(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "{}", "[]", `{"type":"output"}`} {
		if text, err := Normalise([]byte(raw)); err == nil {
			t.Errorf("Normalise(%q) = %q, want an error", raw, text)
		}
	}
}
