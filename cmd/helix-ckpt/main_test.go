package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

// The scripts in testdata are the documentation of the command line, one theme
// a file. What they run besides helix-ckpt is what a user would: jq, sqlite3,
// tar, zstd, find; these also judge what helix-ckpt says.
//
// A script runs in a session of its own, with nothing of the caller's
// environment:
//
//	$HOME             $WORK/home
//	$XDG_RUNTIME_DIR  $WORK/run
//	$WORKSPACE_DIR    $WORK/workspace    so that checkpoints are in workspace/.helix
//
// Where the test runs as root, helix-ckpt and zed run as nobody, to whom all
// of $WORK is given: permissions mean something then, and Sway 1.7 refuses root.
// The commands that testscript does not have are in script_test.go.
func TestScripts(t *testing.T) {
	for _, tool := range []string{"jq", "sqlite3", "tar", "zstd", "find"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v; install it with: apt-get install jq sqlite3 tar zstd findutils", err)
		}
	}
	// Not t.TempDir, whose parents nobody may not enter.
	root, err := os.MkdirTemp("/tmp", "ckpt-scripts-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	program, err := exec.LookPath("helix-ckpt") // where testscript.Main put it
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, filepath.Dir(filepath.Dir(program))} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", WorkdirRoot: root, Setup: newSession, Cmds: commands(), RequireUniqueNames: true,
	})
}

func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){
		"helix-ckpt": func() { becomeUser(); main() },
		"zed":        func() { becomeUser(); zed() },
	})
}

// leakFree fails tests that leave goroutines behind.
type leakFree struct{ m *testing.M }

func (l leakFree) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// newSession prepares the directories of a session and its environment.
func newSession(env *testscript.Env) error {
	for variable, dir := range map[string]string{"HOME": "home", "XDG_RUNTIME_DIR": "run", "WORKSPACE_DIR": "workspace"} {
		path := filepath.Join(env.WorkDir, dir)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		env.Setenv(variable, path)
	}
	env.Setenv("TZ", "UTC")
	// With the race detector a program sleeps a second before it ends.
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	env.Setenv("SESSION", filepath.Join(env.WorkDir, "workspace/.helix/sessions/default"))
	env.Values[deskKey{}] = &desk{}
	return nil
}

// nobody owns nothing else on Debian.
const nobody = 65534

// becomeUser gives a process of root's to nobody, and $WORK with it. What is
// nobody's already stays as it is, its change time too.
func becomeUser() {
	if os.Getuid() != 0 {
		return
	}
	err := filepath.WalkDir(os.Getenv("WORK"), func(path string, _ fs.DirEntry, _ error) error {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil && (st.Uid != nobody || st.Gid != nobody) {
			os.Lchown(path, nobody, nobody) //nolint:errcheck // it may have gone meanwhile
		}
		return nil
	})
	for _, step := range []func() error{
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setgid(nobody) },
		func() error { return syscall.Setuid(nobody) },
		// Else /proc/PID stays root's, and other processes of the user's could not
		// see what this one has open.
		func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "become nobody:", err)
		os.Exit(127)
	}
}

// zed holds Zed's databases open as Zed does, makes the file zed.ready, and
// ends on SIGINT.
func zed() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := zedwriter.Config{
		Data:   filepath.Join(os.Getenv("HOME"), ".local/share/zed"),
		DBSize: 100_000, ThreadsSize: 100_000, ThreadSize: 10_000, Idle: true,
	}
	_, err := zedwriter.Run(ctx, c, io.Discard, func() {
		if err := os.WriteFile("zed.ready", nil, 0o600); err != nil {
			panic(err)
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "zed:", err)
		os.Exit(1)
	}
}
