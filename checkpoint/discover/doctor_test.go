package discover

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/checkpoint/session"
	"github.com/helixml/helix-ckpt/integration/desktop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a machine on which everything is right but Sway, which is none: a
// test breaks one thing.
type world struct {
	root string
	env  map[string]string
}

func newWorld(t *testing.T) world {
	t.Helper()
	root, err := os.MkdirTemp("", "doctor") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	w := world{root, map[string]string{}}
	w.env["HOME"], w.env["XDG_RUNTIME_DIR"], w.env["WORKSPACE_DIR"] = w.path("home"), w.path("run"), w.path("work")
	for _, dir := range []string{"home", "run", "work/.helix", zedDir + "/db/0-dev", zedDir + "/threads"} {
		if err := os.MkdirAll(w.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.copy(t, "../zed/testdata/db.sqlite", zedDir+"/db/0-dev/db.sqlite")
	w.copy(t, "../zed/testdata/threads.db", zedDir+"/threads/threads.db")
	return w
}

const zedDir = "home/.local/share/zed"

func (w world) path(rel string) string { return filepath.Join(w.root, rel) }

func (w world) copy(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path(to), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w world) diagnose(t *testing.T) []Finding {
	t.Helper()
	s, err := Find(Options{Env: func(k string) string { return w.env[k] }, Mounts: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	return Diagnose(t.Context(), s)
}

func runSQL(t *testing.T, db, sql string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sqlite3", db, sql).CombinedOutput(); err != nil {
		t.Fatalf("sqlite3 (apt install sqlite3): %v: %s", err, out)
	}
}

// staleSocket leaves what a process leaves that is killed while it listens.
func staleSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// usual are the findings in a world where only Sway and the agent are missing.
func isUsual(f Finding) bool {
	return f.Level == OK || f.What == "owner" && strings.Contains(f.Detail, "no agent runs") ||
		f.What == "compositor" && strings.Contains(f.Detail, "no Sway socket") || f.What == "disk"
}

func TestDoctorFindsNothingWrongWhereNothingIs(t *testing.T) {
	t.Parallel()
	findings := newWorld(t).diagnose(t)
	for _, f := range findings {
		if !isUsual(f) {
			t.Errorf("%+v", f)
		}
	}
	for _, want := range []string{"session", "user", "directory", "disk", "owner", "workspace", "runtime directory", "agent's socket", "compositor", "zed", "conversations"} {
		if !slices.ContainsFunc(findings, func(f Finding) bool { return f.What == want }) {
			t.Errorf("nothing is said of the %s", want)
		}
	}
	for _, detail := range []string{"3 windows, 9 tabs (3 with unsaved text), 2 conversations named", "2 conversations"} {
		if !slices.ContainsFunc(findings, func(f Finding) bool { return strings.HasSuffix(f.Detail, detail) }) {
			t.Errorf("no finding ends with %q: %+v", detail, findings)
		}
	}
}

func TestDoctorNamesWhatIsWrongAndHowToMendIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		spoil  func(t *testing.T, w world)
		level  Level
		what   string
		detail string
	}{
		{"golden build", func(_ *testing.T, w world) { w.env["HELIX_GOLDEN_BUILD"] = "1" }, Warn, "mode", "golden"},
		{"directory is a file", func(t *testing.T, w world) {
			remove(t, w.path("work/.helix"))
			write(t, w.path("work/.helix"), "")
		}, Problem, "directory", "no directory"},
		{"directory open to others", func(t *testing.T, w world) { chmod(t, w.path("work/.helix"), 0o755) }, Warn, "directory", "mode 0755"},
		{"directory below a file", func(t *testing.T, w world) {
			write(t, w.path("file"), "")
			w.env["HELIX_CKPT_DIR"] = w.path("file/helix")
		}, Problem, "directory", "not a directory"},
		{"directory in memory", func(t *testing.T, w world) {
			dir, err := os.MkdirTemp("/dev/shm", "doctor")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			w.env["HELIX_CKPT_DIR"] = dir
		}, Warn, "disk", "in memory"},
		{"no workspace", func(_ *testing.T, w world) { delete(w.env, "WORKSPACE_DIR") }, Warn, "workspace", "no persistent directory"},
		{"workspace not mounted", func(_ *testing.T, w world) { w.env["WORKSPACE_DIR"] = w.path("gone") }, Problem, "workspace", "no such file"},
		{"session.json is damaged", func(t *testing.T, w world) {
			mkdir(t, session.Dir(w.path("work/.helix"), "default"))
			write(t, filepath.Join(session.Dir(w.path("work/.helix"), "default"), "session.json"), "{")
		}, Problem, "owner", "session.json"},
		{"fenced", func(t *testing.T, w world) {
			dir := session.Dir(w.path("work/.helix"), "default")
			mkdir(t, dir)
			if err := session.Save(dir, session.Record{Session: "default", Epoch: 3, Fence: &session.Fence{Epoch: 4}}); err != nil {
				t.Fatal(err)
			}
		}, Warn, "owner", "fenced by 4"},
		{"no runtime directory", func(_ *testing.T, w world) { w.env["XDG_RUNTIME_DIR"] = w.path("gone") }, Problem, "runtime directory", "does not exist"},
		{"runtime directory open to others", func(t *testing.T, w world) { chmod(t, w.path("run"), 0o755) }, Warn, "runtime directory", "mode 0755"},
		{"socket path too long", func(_ *testing.T, w world) {
			w.env["HELIX_CKPT_SOCKET"] = "/" + strings.Repeat("s", maxSocketPath)
		}, Warn, "agent's socket", "108 bytes"},
		{"socket of a dead agent", func(t *testing.T, w world) { staleSocket(t, w.path("run/helix-ckpt.sock")) }, Warn, "agent's socket", "left behind"},
		{"no Sway", func(*testing.T, world) {}, Problem, "compositor", "no compositor"},
		{"socket of a dead Sway", func(t *testing.T, w world) { staleSocket(t, w.path("run/sway.socket")) }, Warn, "compositor", "left behind"},
		{"SWAYSOCK of a dead Sway", func(t *testing.T, w world) {
			staleSocket(t, w.path("x"))
			w.env["SWAYSOCK"] = w.path("x")
		}, Warn, "compositor", "left behind"},
		{"stateless Zed", func(_ *testing.T, w world) { w.env["ZED_STATELESS"] = "1" }, Problem, "zed", "keeps nothing"},
		{"Zed never ran", func(t *testing.T, w world) { remove(t, w.path(zedDir)) }, Warn, "zed", "does not exist"},
		{"no database", func(t *testing.T, w world) { remove(t, w.path(zedDir+"/db")) }, Warn, "zed", "holds no database"},
		{"link to nothing", func(t *testing.T, w world) {
			remove(t, w.path(zedDir))
			symlink(t, w.path("unmounted"), w.path(zedDir))
		}, Problem, "zed", "leads to nothing"},
		{"a second channel", func(t *testing.T, w world) {
			mkdir(t, w.path(zedDir+"/db/0-stable"))
			w.copy(t, "../zed/testdata/db.sqlite", zedDir+"/db/0-stable/db.sqlite")
		}, Warn, "zed", "other channels"},
		{"databases unreadable", func(t *testing.T, w world) {
			remove(t, w.path(zedDir+"/db"))
			write(t, w.path(zedDir+"/db"), "")
		}, Problem, "zed", "not a directory"},
		{"damaged database", func(t *testing.T, w world) {
			write(t, w.path(zedDir+"/threads/threads.db"), strings.Repeat("no database", 1000))
		}, Problem, "zed", "threads.db"},
		{"Zed is starting", func(t *testing.T, w world) {
			runSQL(t, w.path(zedDir+"/db/0-dev/db.sqlite"), "UPDATE kv_store SET value = 'new' WHERE key = 'session_id'")
		}, Warn, "zed", "no windows yet"},
		{"conversations not mounted", func(t *testing.T, w world) { symlink(t, w.path("unmounted"), w.path("home/.claude")) }, Problem, "conversations", "carried"},
		{"clock behind the files", func(t *testing.T, w world) {
			later := time.Now().Add(time.Hour)
			if err := os.Chtimes(w.path(zedDir+"/threads/threads.db"), later, later); err != nil {
				t.Fatal(err)
			}
		}, Warn, "clock", "threads.db"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.spoil(t, w)
			findings := w.diagnose(t)
			i := slices.IndexFunc(findings, func(f Finding) bool {
				return f.Level == c.level && f.What == c.what && strings.Contains(f.Detail, c.detail)
			})
			if i < 0 {
				t.Fatalf("no %s about %s with %q in\n%+v", c.level, c.what, c.detail, findings)
			}
			if findings[i].Remedy == "" {
				t.Errorf("no remedy for %+v", findings[i])
			}
		})
	}
}

// Root may write everywhere and owns what it makes, so this is seen as another
// user. The test runs itself as one.
func TestDoctorSeesWhatBelongsToAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Dir, cmd.Env = "/", []string{"TMPDIR=/tmp"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("as uid 65534: %v\n%s", err, out)
		}
		return
	}
	env := map[string]string{"HOME": "/", "XDG_RUNTIME_DIR": "/", "HELIX_CKPT_DIR": "/"}
	s, err := Find(Options{Env: func(k string) string { return env[k] }, Mounts: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	findings := Diagnose(t.Context(), s)
	for _, want := range []Finding{
		{Level: Warn, What: "user", Detail: "/ belongs to uid 0"},
		{Level: Problem, What: "directory", Detail: "/ belongs to uid 0"},
		{Level: Problem, What: "directory", Detail: "/ cannot be written"},
		{Level: Problem, What: "runtime directory", Detail: "/ is not a directory of uid"},
	} {
		if !slices.ContainsFunc(findings, func(f Finding) bool {
			return f.Level == want.Level && f.What == want.What && strings.Contains(f.Detail, want.Detail) && f.Remedy != ""
		}) {
			t.Errorf("no %+v in %+v", want, findings)
		}
	}
}

func TestDoctorSeesThatZedRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Another process holds the database open, as an idle Zed does.
	cmd := exec.CommandContext(t.Context(), "sqlite3", w.path(zedDir+"/db/0-dev/db.sqlite"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("sqlite3 (apt install sqlite3): %v", err)
	}
	if _, err := in.Write([]byte("SELECT count(*) FROM items;\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	running := func(f Finding) bool { return f.What == "zed" && strings.Contains(f.Detail, "Zed is running") }
	if findings := w.diagnose(t); !slices.ContainsFunc(findings, running) {
		t.Errorf("not seen: %+v", findings)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if findings := w.diagnose(t); slices.ContainsFunc(findings, running) {
		t.Errorf("seen after it ended: %+v", findings)
	}
}

func TestDoctorSeesTheSwayThatAnswers(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	w := newWorld(t)
	w.env["XDG_RUNTIME_DIR"] = d.RuntimeDir()
	s, err := Find(Options{Env: func(k string) string { return w.env[k] }, Mounts: []string{}, SwaySocket: d.Socket()})
	if err != nil {
		t.Fatal(err)
	}
	socket, c, err := s.FindSway(t.Context())
	if err != nil || string(socket) != d.Socket() || c.PID != d.PID() {
		t.Errorf("found %s, %+v, %v; want pid %d at %s", socket, c, err, d.PID(), d.Socket())
	}
	if !slices.ContainsFunc(Diagnose(t.Context(), s), func(f Finding) bool {
		return f.What == "compositor" && f.Level == OK && strings.Contains(f.Detail, d.Socket())
	}) {
		t.Error("doctor does not see it")
	}
}

func TestDoctorEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, err := Find(Options{Env: func(k string) string { return w.env[k] }, Mounts: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if findings := Diagnose(ctx, s); len(findings) == 0 {
		t.Error("nothing was said")
	}
}

func TestSpace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		free, size    int64
		inodes, files uint64
		want          Level
	}{
		{1 << 40, 2 << 40, 1e6, 1e7, OK},
		{1 << 40, 2 << 40, 0, 0, OK}, // btrfs counts none
		{littleSpace - 1, 1 << 40, 1e6, 1e7, Warn},
		{noSpace - 1, 1 << 40, 1e6, 1e7, Problem},
		{0, 1 << 40, 1e6, 1e7, Problem},
		{1 << 40, 2 << 40, 10, 1e7, Problem},
	} {
		if got, detail := space(c.free, c.size, c.inodes, c.files); got != c.want {
			t.Errorf("%d of %d bytes, %d of %d files: %s (%s), want %s", c.free, c.size, c.inodes, c.files, got, detail, c.want)
		}
	}
}

func TestAClockThatIsNotSetIsAProblem(t *testing.T) {
	t.Parallel()
	d := doctor{now: time.Unix(0, 0)}
	d.clock(t.Context())
	if len(d.findings) != 1 || d.findings[0].Level != Problem {
		t.Errorf("%+v", d.findings)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(name, 0o700); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
