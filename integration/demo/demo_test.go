package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The verdict of the demo is worth what its readers notice.
func TestDifferencesNoticesWhatIsNotTheSame(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	home := writtenHome(t)
	database := zedwriter.DB.Path(filepath.Join(home, zedData))
	tree := []byte(`{"type":"root","nodes":[{"name":"HEADLESS-1","nodes":[{"type":"workspace","name":"1","layout":"splith"}]}]}`)
	look := func(t *testing.T, tree []byte, pid int, home string) evidence {
		t.Helper()
		e := evidence{tree: tree, pids: map[string]int{"editor": pid}}
		if err := e.lookAtFiles(ctx, home); err != nil {
			t.Fatal(err)
		}
		return e
	}
	want := look(t, tree, 7, home)
	if len(want.files) != 3 {
		t.Fatalf("looked at %v, want two databases and a conversation", want.files)
	}

	cases := map[string]struct {
		damage func(t *testing.T, home string)
		tree   string
		pid    int
		says   string
	}{
		"the same":                        {pid: 8},
		"a layout":                        {pid: 8, tree: strings.Replace(string(tree), "splith", "tabbed", 1), says: "tree differs"},
		"a process that was never killed": {pid: 7, says: "is the process that it was"},
		"a row": {pid: 8, says: "db.sqlite came back with other content", damage: func(t *testing.T, home string) {
			t.Helper()
			path := zedwriter.DB.Path(filepath.Join(home, zedData))
			if out, err := exec.CommandContext(ctx, "sqlite3", path, `UPDATE workspaces SET timestamp = 'x'`).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}},
		"a conversation cut short": {pid: 8, says: "talk.jsonl came back with other content", damage: func(t *testing.T, home string) {
			t.Helper()
			if err := os.Truncate(filepath.Join(home, ".claude/projects/-w/talk.jsonl"), 10); err != nil {
				t.Fatal(err)
			}
		}},
		"a conversation that is missing": {pid: 8, says: "talk.jsonl did not come back", damage: func(t *testing.T, home string) {
			t.Helper()
			if err := os.Remove(filepath.Join(home, ".claude/projects/-w/talk.jsonl")); err != nil {
				t.Fatal(err)
			}
		}},
		"a file from elsewhere": {pid: 8, says: "was not there before", damage: func(t *testing.T, home string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(home, ".claude/projects/-w/other.jsonl"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := t.TempDir()
			if err := os.CopyFS(other, os.DirFS(home)); err != nil {
				t.Fatal(err)
			}
			if c.damage != nil {
				c.damage(t, other)
			}
			if c.tree == "" {
				c.tree = string(tree)
			}
			found := differences(want, look(t, []byte(c.tree), c.pid, other))
			if c.says == "" && len(found) > 0 {
				t.Errorf("found %q where nothing differs", found)
			}
			if c.says != "" && !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, c.says) }) {
				t.Errorf("found %q, want one that says %q", found, c.says)
			}
		})
	}
	// Looking leaves the originals alone: their log was not taken over.
	if info, err := os.Stat(database + "-wal"); err != nil || info.Size() == 0 {
		t.Errorf("the write-ahead log of %s is gone: %v", database, err)
	}
}

// writtenHome is a home with databases whose last transactions stand in the
// write-ahead log only, as after a kill -9, and one conversation.
func writtenHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	binary, err := zedwriter.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	p, err := zedwriter.Start(t.Context(), binary, log, zedwriter.Config{
		Data: filepath.Join(home, zedData), DBSize: 1 << 20, ThreadsSize: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = await(t.Context(), "some commits", func() bool {
		entries, err := p.Log()
		return err == nil && entries.Committed(zedwriter.DB, time.Now()) > 5 && entries.Committed(zedwriter.Threads, time.Now()) > 2
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	talk := filepath.Join(home, ".claude", "projects", "-w", "talk.jsonl")
	if err := os.MkdirAll(filepath.Dir(talk), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(talk, []byte(strings.Repeat("{\"line\":1}\n", 9)), 0o600); err != nil {
		t.Fatal(err)
	}
	return home
}

// A desktop that could see another's files would prove nothing.
func TestBoxIsAloneAndLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := findSandbox(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "helix-demo-") //nolint:usetesting // the path of a unix socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := demo{sandbox: s, dir: dir, programs: t.TempDir()}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a, b := booted(ctx, t, d, "A"), booted(ctx, t, d, "B")

	if err := d.isolated(ctx, b); err == nil {
		t.Error("B is called isolated while A's directory still exists")
	}
	if out, err := b.run(ctx, s, "ls "+a.dir); err == nil {
		t.Errorf("B can list A's directory: %s", out)
	}
	if out, err := b.run(ctx, s, "ps -e -o comm="); err != nil || strings.Count(out, "sway\n") != 1 {
		t.Errorf("B sees other processes than its own (%v):\n%s", err, out)
	}
	if len(a.processes()) == 0 {
		t.Error("no process is found in A while Sway runs there")
	}
	if err := a.destroy(); err != nil {
		t.Error(err)
	}
	if left := a.processes(); len(left) > 0 {
		t.Errorf("processes %v outlived A", left)
	}
	if err := d.isolated(ctx, b); err != nil {
		t.Errorf("B is not called isolated although A is gone: %v", err)
	}
}

func booted(ctx context.Context, t *testing.T, d demo, name string) *box {
	t.Helper()
	b, err := d.newBox(name, d.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.destroy(); err != nil {
			t.Error(err)
		}
	})
	if err := b.boot(ctx, d.sandbox, d.programs); err != nil {
		t.Fatal(err)
	}
	return b
}
