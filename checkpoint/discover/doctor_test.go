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
	t    *testing.T
	root string
	env  map[string]string
}

func newWorld(t *testing.T) world {
	t.Helper()
	root, err := os.MkdirTemp("", "doctor") //nolint:usetesting // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	w := world{t, root, map[string]string{}}
	w.env["HOME"], w.env["XDG_RUNTIME_DIR"], w.env["WORKSPACE_DIR"] = w.path("home"), w.path("run"), w.path("work")
	for _, dir := range []string{"home", "run", "work/.helix", zedDir + "/db/0-dev", zedDir + "/threads"} {
		if err := os.MkdirAll(w.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.copy("../zed/testdata/db.sqlite", zedDir+"/db/0-dev/db.sqlite")
	w.copy("../zed/testdata/threads.db", zedDir+"/threads/threads.db")
	return w
}

const zedDir = "home/.local/share/zed"

func (w world) path(rel string) string { return filepath.Join(w.root, rel) }

// must fails the test on err, which is one of the test's own.
func (w world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w world) copy(from, to string) {
	b, err := os.ReadFile(from)
	w.must(err)
	w.must(os.WriteFile(w.path(to), b, 0o600))
}

func (w world) write(rel, content string)          { w.must(os.WriteFile(w.path(rel), []byte(content), 0o600)) }
func (w world) mkdir(rel string)                   { w.must(os.MkdirAll(w.path(rel), 0o700)) }
func (w world) remove(rel string)                  { w.must(os.RemoveAll(w.path(rel))) }
func (w world) chmod(rel string, mode os.FileMode) { w.must(os.Chmod(w.path(rel), mode)) }
func (w world) symlink(target, rel string)         { w.must(os.Symlink(target, w.path(rel))) }

// staleSocket leaves what a process leaves that is killed while it listens.
func (w world) staleSocket(rel string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: w.path(rel), Net: "unix"})
	w.must(err)
	l.SetUnlinkOnClose(false)
	w.must(l.Close())
}

func (w world) sql(rel, sql string) {
	out, err := exec.CommandContext(w.t.Context(), "sqlite3", w.path(rel), sql).CombinedOutput()
	if err != nil {
		w.t.Fatalf("sqlite3 (apt install sqlite3): %v: %s", err, out)
	}
}

func (w world) diagnose() []Finding {
	s, err := Find(Options{Env: func(k string) string { return w.env[k] }, Mounts: []string{}})
	w.must(err)
	return Diagnose(w.t.Context(), s)
}

// usual are the findings in a world where only Sway and the agent are missing.
func isUsual(f Finding) bool {
	return f.Level == OK || f.What == "owner" && strings.Contains(f.Detail, "no agent runs") ||
		f.What == "compositor" && strings.Contains(f.Detail, "no Sway socket") || f.What == "disk"
}

func TestDoctorFindsNothingWrongWhereNothingIs(t *testing.T) {
	t.Parallel()
	findings := newWorld(t).diagnose()
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
		spoil  func(w world)
		level  Level
		what   string
		detail string
	}{
		{"golden build", func(w world) { w.env["HELIX_GOLDEN_BUILD"] = "1" }, Warn, "mode", "golden"},
		{"directory is a file", func(w world) {
			w.remove("work/.helix")
			w.write("work/.helix", "")
		}, Problem, "directory", "no directory"},
		{"directory open to others", func(w world) { w.chmod("work/.helix", 0o755) }, Warn, "directory", "mode 0755"},
		{"directory below a file", func(w world) {
			w.write("file", "")
			w.env["HELIX_CKPT_DIR"] = w.path("file/helix")
		}, Problem, "directory", "not a directory"},
		{"directory in memory", func(w world) {
			dir, err := os.MkdirTemp("/dev/shm", "doctor") //nolint:usetesting // in memory
			w.must(err)
			w.t.Cleanup(func() { os.RemoveAll(dir) })
			w.env["HELIX_CKPT_DIR"] = dir
		}, Warn, "disk", "in memory"},
		{"no workspace", func(w world) { delete(w.env, "WORKSPACE_DIR") }, Warn, "workspace", "no persistent directory"},
		{"workspace not mounted", func(w world) { w.env["WORKSPACE_DIR"] = w.path("gone") }, Problem, "workspace", "no such file"},
		{"session.json is damaged", func(w world) {
			w.mkdir("work/.helix/sessions/default")
			w.write("work/.helix/sessions/default/session.json", "{")
		}, Problem, "owner", "session.json"},
		{"fenced", func(w world) {
			w.mkdir("work/.helix/sessions/default")
			w.must(session.Save(w.path("work/.helix/sessions/default"), session.Record{Session: "default", Epoch: 3, Fence: &session.Fence{Epoch: 4}}))
		}, Warn, "owner", "fenced by 4"},
		{"no runtime directory", func(w world) { w.env["XDG_RUNTIME_DIR"] = w.path("gone") }, Problem, "runtime directory", "does not exist"},
		{"runtime directory open to others", func(w world) { w.chmod("run", 0o755) }, Warn, "runtime directory", "mode 0755"},
		{"socket path too long", func(w world) {
			w.env["HELIX_CKPT_SOCKET"] = "/" + strings.Repeat("s", maxSocketPath)
		}, Warn, "agent's socket", "108 bytes"},
		{"socket of a dead agent", func(w world) { w.staleSocket("run/helix-ckpt.sock") }, Warn, "agent's socket", "left behind"},
		{"no Sway", func(world) {}, Problem, "compositor", "no compositor"},
		{"socket of a dead Sway", func(w world) { w.staleSocket("run/sway.socket") }, Warn, "compositor", "left behind"},
		{"SWAYSOCK of a dead Sway", func(w world) {
			w.staleSocket("x")
			w.env["SWAYSOCK"] = w.path("x")
		}, Warn, "compositor", "left behind"},
		{"stateless Zed", func(w world) { w.env["ZED_STATELESS"] = "1" }, Problem, "zed", "keeps nothing"},
		{"Zed never ran", func(w world) { w.remove(zedDir) }, Warn, "zed", "does not exist"},
		{"no database", func(w world) { w.remove(zedDir + "/db") }, Warn, "zed", "holds no database"},
		{"link to nothing", func(w world) {
			w.remove(zedDir)
			w.symlink(w.path("unmounted"), zedDir)
		}, Problem, "zed", "leads to nothing"},
		{"a second channel", func(w world) {
			w.mkdir(zedDir + "/db/0-stable")
			w.copy("../zed/testdata/db.sqlite", zedDir+"/db/0-stable/db.sqlite")
		}, Warn, "zed", "other channels"},
		{"databases unreadable", func(w world) {
			w.remove(zedDir + "/db")
			w.write(zedDir+"/db", "")
		}, Problem, "zed", "not a directory"},
		{"damaged database", func(w world) {
			w.write(zedDir+"/threads/threads.db", strings.Repeat("no database", 1000))
		}, Problem, "zed", "threads.db"},
		{"Zed is starting", func(w world) {
			w.sql(zedDir+"/db/0-dev/db.sqlite", "UPDATE kv_store SET value = 'new' WHERE key = 'session_id'")
		}, Warn, "zed", "no windows yet"},
		{"conversations not mounted", func(w world) { w.symlink(w.path("unmounted"), "home/.claude") }, Problem, "conversations", "carried"},
		{"clock behind the files", func(w world) {
			later := time.Now().Add(time.Hour)
			w.must(os.Chtimes(w.path(zedDir+"/threads/threads.db"), later, later))
		}, Warn, "clock", "threads.db"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.spoil(w)
			findings := w.diagnose()
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
	if findings := w.diagnose(); !slices.ContainsFunc(findings, running) {
		t.Errorf("not seen: %+v", findings)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if findings := w.diagnose(); slices.ContainsFunc(findings, running) {
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
