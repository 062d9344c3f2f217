package restore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

// killEnv makes this test binary a process that restores (or recovers) the
// session of a directory and kills itself before its n-th change to the disk.
const killEnv = "RESTORE_TEST_KILL"

type killSpec struct {
	Top     string
	Point   int
	Recover bool
}

func killedChild(spec string) {
	fail := func(a ...any) { fmt.Fprintln(os.Stderr, a...); os.Exit(1) }
	var k killSpec
	if err := json.Unmarshal([]byte(spec), &k); err != nil {
		fail(err)
	}
	r := openSession(k.Top, fail).restorer(loadStore(k.Top, fail))
	n := 0
	r.Hook = func(point string) {
		if n++; n == k.Point {
			fmt.Println(point)
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				fail(err)
			}
			select {}
		}
	}
	var err error
	if k.Recover {
		_, err = r.Recover(context.Background())
	} else {
		_, err = r.Run(context.Background(), restore.Request{Checkpoint: idNew})
	}
	if err != nil {
		fail(err)
	}
	os.Exit(0)
}

// killAt starts the child and returns the point at which it was killed; false
// when it came to its end.
func killAt(t *testing.T, k killSpec) (string, bool) {
	t.Helper()
	spec, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+string(spec))
	out, err := cmd.Output()
	if err == nil {
		return "", false
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
			return string(out[:max(0, len(out)-1)]), true
		}
		t.Fatalf("child failed: %v: %s", err, exit.Stderr)
	}
	t.Fatal(err)
	return "", false
}

// save and loadStore hand a store to the child.
func (s *store) save(t *testing.T, top string) {
	t.Helper()
	b, err := json.Marshal(s.manifests)
	if err == nil {
		err = os.WriteFile(filepath.Join(top, "manifests.json"), b, 0o600)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(top, "content"), 0o700)
	}
	for sum, b := range s.content {
		if err == nil {
			err = os.WriteFile(filepath.Join(top, "content", sum.String()), b, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func loadStore(top string, fail func(...any)) *store {
	s := newStore()
	b, err := os.ReadFile(filepath.Join(top, "manifests.json"))
	if err == nil {
		err = json.Unmarshal(b, &s.manifests)
	}
	if err != nil {
		fail(err)
	}
	names, err := filepath.Glob(filepath.Join(top, "content", "*"))
	if err != nil {
		fail(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			fail(err)
		}
		s.content[checkpoint.Sum(b)] = b
	}
	return s
}

// killable is what sessions are made of, all alike, of which a restore is killed.
type killable struct {
	main, wal, shm []byte
	content        *store // of the first session
}

func newKillable(t *testing.T) *killable {
	t.Helper()
	main, wal, shm, err := database("live", 300)
	if err != nil {
		t.Fatal(err)
	}
	return &killable{main: main, wal: wal, shm: shm}
}

// session makes one more, with live files, and returns the directory it stands
// in.
func (k *killable) session(t *testing.T) (session, string) {
	t.Helper()
	s := newSession(t)
	if k.content == nil {
		k.content = simple(t, s)
	}
	k.content.manifests[idNew].Roots = s.roots
	top := filepath.Dir(s.dir)
	k.content.save(t, top)
	for suffix, b := range map[string][]byte{"": k.main, "-wal": k.wal, "-shm": k.shm, "-journal": []byte("stale")} {
		s.write(t, dbPath+suffix, string(b))
	}
	s.write(t, convPath, "{\"live\":1}\n{\"live\":2}\n")
	s.write(t, "$HOME/.claude/projects/-workspace-app/other.jsonl", "{\"other\":1}\n")
	s.write(t, "$WORKSPACE/other.txt", "stays")
	return s, top
}

// A restore is killed before each of its changes to the disk, and its recovery
// too. Afterwards the session is the old one or the new one, and what is left
// to do is done by the next recovery.
func TestKilledAnywhereIsOldOrNew(t *testing.T) {
	t.Parallel()
	made := newKillable(t)

	s, top := made.session(t)
	before := s.live(t)
	if point, killed := killAt(t, killSpec{Top: top}); killed {
		t.Fatalf("killed at %s without being asked to", point)
	}
	after := s.live(t)
	if difference(before, after) == "" {
		t.Fatal("the restore changed nothing")
	}

	undone, finished, mixed := 0, 0, 0
	for k := 1; ; k++ {
		s, top := made.session(t)
		point, killed := killAt(t, killSpec{Top: top, Point: k})
		if !killed {
			t.Logf("%d kills: %d undone, %d finished; %d left a mix until the recovery", k-1, undone, finished, mixed)
			break
		}
		j, err := restore.Load(s.dir)
		if err != nil {
			t.Fatalf("killed at %q: %v", point, err)
		}
		now := s.live(t)
		old, new := difference(now, before), difference(now, after)
		committed := j.Restore != nil && !phaseBefore(j.Restore.Phase, restore.Committed)
		if !committed && old != "" {
			t.Errorf("killed at %q, before the commit mark: %s", point, old)
		}
		if old != "" && new != "" {
			mixed++
		}
		second := "not again"
		if k%3 == 0 {
			second, _ = killAt(t, killSpec{Top: top, Point: 1 + k%7, Recover: true})
		}
		if _, err := s.restorer(made.content).Recover(t.Context()); err != nil {
			t.Fatalf("killed at %q and %q: recover: %v", point, second, err)
		}
		now = s.live(t)
		want, what := before, "undone"
		if committed {
			want, what = after, "finished"
			finished++
		} else {
			undone++
		}
		if d := difference(now, want); d != "" {
			t.Errorf("killed at %q and %q: not %s: %s", point, second, what, d)
		}
		if left := s.stagingDirs(t); !committed && len(left) > 0 {
			t.Errorf("killed at %q and %q: left behind: %q", point, second, left)
		}
		if committed {
			continue
		}
		if _, err := s.restorer(made.content).Run(t.Context(), restore.Request{Checkpoint: idNew}); err != nil {
			t.Fatalf("killed at %q: once more: %v", point, err)
		}
		if d := difference(s.live(t), after); d != "" {
			t.Errorf("killed at %q: once more: %s", point, d)
		}
	}
	// Without the recovery some of these kills leave a mix: the check can tell.
	if undone < 5 || finished < 10 || mixed < 5 {
		t.Errorf("too few cases to prove anything: %d undone, %d finished, %d mixed", undone, finished, mixed)
	}
}

func phaseBefore(p, o restore.Phase) bool {
	order := []restore.Phase{restore.Planned, restore.Verified, restore.Staged, restore.Committed}
	for _, q := range order {
		if q == o {
			return false
		}
		if q == p {
			return true
		}
	}
	return p == restore.RolledBack
}
