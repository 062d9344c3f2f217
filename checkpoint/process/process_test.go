package process_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint/process"
	"github.com/helixml/helix-ckpt/integration/desktop"
)

func TestFactsOfAProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sleep", "100000")
	cmd.Dir = dir
	cmd.Env = []string{"SECRET=hunter2", process.LaunchVar + "=run-1.a", "PATH=/bin"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	table, err := process.Scan()
	if err != nil {
		t.Fatal(err)
	}
	f, err := table.Facts(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := process.StartTicks(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.Argv, []string{"sleep", "100000"}) || f.Cwd != dir || f.LaunchID != "run-1.a" ||
		f.Parent != os.Getpid() || f.StartTicks != ticks || filepath.Base(f.Exe) != "sleep" || f.Child != nil {
		t.Errorf("facts %+v", f)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
	if _, err := table.Facts(cmd.Process.Pid); !errors.Is(err, process.ErrGone) {
		t.Errorf("facts of a process that ended: %v, want ErrGone", err)
	}
	if _, err := process.StartTicks(cmd.Process.Pid); !errors.Is(err, process.ErrGone) {
		t.Errorf("start of a process that ended: %v, want ErrGone", err)
	}
}

func TestALaunchIDThatIsNoneOfOursIsNotTaken(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "a b", "x;rm", strings.Repeat("x", 129)} {
		cmd := exec.CommandContext(t.Context(), "sleep", "100000")
		cmd.Env = []string{process.LaunchVar + "=" + value, "PATH=/bin"}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		table, err := process.Scan()
		if err != nil {
			t.Fatal(err)
		}
		if f, err := table.Facts(cmd.Process.Pid); err != nil || f.LaunchID != "" {
			t.Errorf("%q: launch id %q, %v", value, f.LaunchID, err)
		}
		cmd.Process.Kill() //nolint:errcheck // Wait tells
		cmd.Wait()         //nolint:errcheck // it was killed
	}
}

// The foreground program of a real terminal, from the shell to what it runs.
func TestFactsOfATerminal(t *testing.T) {
	t.Parallel()
	d := desktop.Start(t, desktop.Options{})
	dir := d.Dir("project")
	w := d.Foot("term", "term", dir)
	f := facts(t, w.PID, func(f process.Facts) bool { return f.Child != nil })
	if !slices.Equal(f.Argv, []string{"foot", "-a", "term", "-T", "term"}) {
		t.Errorf("argv %q", f.Argv)
	}
	if f.Child.Cwd != dir || !strings.HasSuffix(f.Child.Argv[0], "sh") {
		t.Errorf("child %+v, want a shell in %s", f.Child, dir)
	}

	cmd := d.Command("foot", "-a", "busy", "sh", "-ic", "cd "+dir+" && sleep 100000; true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // Wait tells
		cmd.Wait()                                      //nolint:errcheck // it was killed
	})
	f = facts(t, cmd.Process.Pid, func(f process.Facts) bool { return f.Child != nil && f.Child.Argv[0] == "sleep" })
	if f.Child.Cwd != dir {
		t.Errorf("child %+v, want sleep in %s", f.Child, dir)
	}
}

// facts waits until what is true of a process that was just started shows in
// its facts; the kernel gives no event for it.
func facts(t *testing.T, pid int, want func(process.Facts) bool) process.Facts {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		table, err := process.Scan()
		if err != nil {
			t.Fatal(err)
		}
		f, err := table.Facts(pid)
		if err == nil && want(f) {
			return f
		}
		if time.Now().After(deadline) {
			t.Fatalf("facts are still %+v, %v", f, err)
		}
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	tail := " S 1 7 8 34816 9 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 0 0"
	for _, name := range []string{"sh", "a b", ")", "x) S 5 (y", "((", ""} {
		s, err := process.ParseStat([]byte("42 (" + name + ")" + tail))
		want := process.Stat{PID: 42, Comm: name, State: 'S', Parent: 1, Group: 7, Session: 8, TTY: 34816, ForegroundGroup: 9, StartTicks: 123456}
		if err != nil || s != want {
			t.Errorf("name %q: %+v, %v; want %+v", name, s, err, want)
		}
	}
	for _, line := range []string{"", "42", "42 (sh", "42 sh) S 1", "42 (sh) S 1 2 3", "x (sh)" + tail, "42 (sh) SS" + tail[2:]} {
		if s, err := process.ParseStat([]byte(line)); err == nil {
			t.Errorf("%q was read as %+v", line, s)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) b) S 1 7 8 34816 9 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 0 0"))
	f.Add([]byte("1 () R"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := process.ParseStat(line)
		if err != nil && s != (process.Stat{}) {
			t.Errorf("an error and %+v", s)
		}
	})
}
