package session_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/session"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("HELIX_CKPT_TEST_HOLD"); dir != "" {
		hold(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// hold is the other process of TestLock: it takes the lock, says so and waits
// to be killed.
func hold(dir string) {
	if _, err := session.Acquire(dir, session.Owner{Instance: "other", Command: "run"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("held")
	select {}
}

func TestLockOfAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sessions", "s1")
	if _, held := session.Holder(dir); held {
		t.Fatal("a directory that is not there is held")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HELIX_CKPT_TEST_HOLD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held\n" {
		t.Fatalf("the other process said %q (%v)", line, err)
	}

	owner, held := session.Holder(dir)
	if !held || owner.PID != cmd.Process.Pid || owner.Command != "run" {
		t.Errorf("holder is %+v (%v), want pid %d", owner, held, cmd.Process.Pid)
	}
	_, err = session.Acquire(dir, session.Owner{Instance: "me", Command: "checkpoint"})
	if !errors.Is(err, checkpoint.ErrLocked) || !strings.Contains(err.Error(), "helix-ckpt run") {
		t.Errorf("acquire while held: %v", err)
	}

	// A dead owner, even one killed without warning, blocks nobody.
	cmd.Process.Kill() //nolint:errcheck // Wait tells
	cmd.Wait()         //nolint:errcheck // killed
	if o, held := session.Holder(dir); held {
		t.Errorf("still held by %+v after its death", o)
	}
	lock, err := session.Acquire(dir, session.Owner{Instance: "me", Command: "checkpoint"})
	if err != nil {
		t.Fatal(err)
	}
	if o, held := session.Holder(dir); !held || o.PID != os.Getpid() {
		t.Errorf("holder is %+v (%v), want this process", o, held)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestInstanceIsOneForAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ids := make([]string, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			in, err := session.Instance(dir)
			if err != nil {
				t.Error(err)
			}
			ids[i] = in.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("ids differ: %q", ids)
		}
	}
	other, err := session.Instance(t.TempDir())
	if err != nil || other.ID == ids[0] {
		t.Fatalf("another runtime directory has id %q (%v)", other.ID, err)
	}
}

func TestEpoch(t *testing.T) {
	t.Parallel()
	record := func(epoch uint64, instance string, fence uint64) session.Record {
		r := session.Record{Epoch: epoch, Instance: checkpoint.Instance{ID: instance}}
		if fence != 0 {
			r.Fence = &session.Fence{Epoch: fence}
		}
		return r
	}
	for _, tc := range []struct {
		name          string
		record        session.Record
		latest, asked uint64
		want          uint64
		err           error
	}{
		{name: "a new session", want: 1},
		{name: "the agent was restarted", record: record(3, "me", 0), latest: 3, want: 3},
		{name: "another container", record: record(3, "other", 0), latest: 3, want: 4},
		{name: "after an import", record: record(0, "", 0), latest: 7, want: 8},
		{name: "an import into a living instance", record: record(2, "me", 0), latest: 7, want: 8},
		{name: "given by the orchestrator", record: record(3, "other", 0), latest: 3, asked: 9, want: 9},
		{name: "the same again", record: record(9, "other", 0), latest: 9, asked: 9, want: 9},
		{name: "below what is known", record: record(9, "me", 0), latest: 3, asked: 8, err: checkpoint.ErrEpoch},
		{name: "fenced", record: record(3, "me", 5), latest: 3, err: checkpoint.ErrFenced},
		{name: "the one who fenced", record: record(3, "other", 5), latest: 3, asked: 5, want: 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := session.Epoch(tc.record, "me", tc.latest, tc.asked)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("epoch %d, error %v; want %d, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestRecordRoundTripAndDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if r, err := session.Load(dir); err != nil || r.Epoch != 0 {
		t.Fatalf("a new session: %+v, %v", r, err)
	}
	want := session.Record{Session: "s1", Epoch: 4, Fence: &session.Fence{Epoch: 5, RequestID: "r"}}
	if err := session.Save(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := session.Load(dir)
	if err != nil || got.Epoch != 4 || *got.Fence != *want.Fence {
		t.Fatalf("got %+v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "session.json"), []byte(`{"epoch":`), 0o600); err != nil {
		t.Fatal(err)
	}
	// A damaged record must stop an owner: to take it for a new session would
	// start again at epoch 1, below checkpoints that are there.
	if _, err := session.Load(dir); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Fatalf("damaged record: %v", err)
	}
}

// TestForeignFilesAreNotFollowed: a session's directory may have been copied from
// anywhere. What stands in it under the names of ours is not followed, waited
// for or written through.
func TestForeignFilesAreNotFollowed(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(path string) error{
		"a link":            func(path string) error { return os.Symlink("../precious", path) },
		"a link to nothing": func(path string) error { return os.Symlink("../new", path) },
		"a pipe":            func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a directory":       func(path string) error { return os.Mkdir(path, 0o700) },
		"a file too long":   func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			dir := filepath.Join(root, "session")
			must(t, os.Mkdir(dir, 0o700))
			const precious = `{"epoch":7}`
			must(t, os.WriteFile(filepath.Join(root, "precious"), []byte(precious), 0o600))
			for _, file := range []string{"session.json", "status.json", "lock"} {
				must(t, plant(filepath.Join(dir, file)))
			}
			if r, err := session.Load(dir); !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("session.json: %+v, %v", r, err)
			}
			if s, err := session.LoadStatus(dir); !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("status.json: %+v, %v", s, err)
			}
			if o, held := session.Holder(dir); held {
				t.Errorf("held by %s", o)
			}
			if l, err := session.Acquire(dir, session.Owner{}); err == nil {
				must(t, l.Release()) // a long file is one all the same
				if name != "a file too long" {
					t.Error("the lock was taken")
				}
			}
			names, err := filepath.Glob(filepath.Join(root, "*"))
			must(t, err)
			if b, err := os.ReadFile(filepath.Join(root, "precious")); string(b) != precious || err != nil || len(names) != 2 {
				t.Errorf("%q, %v beside %v", b, err, names)
			}
		})
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// Who reads the lock sees the owner before or the one that is, never a part of
// either: names of different lengths are written over one another all the time.
func TestTheOwnerIsNeverTorn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sessions", "s1")
	commands := []string{"run", "a-command-with-a-much-longer-name", "x"}
	acquire := func(i int) *session.Lock {
		lock, err := session.Acquire(dir, session.Owner{Instance: "me", Command: commands[i%len(commands)]})
		if err != nil {
			t.Fatal(err)
		}
		return lock
	}
	if err := acquire(0).Release(); err != nil {
		t.Fatal(err)
	}
	stop, seen := make(chan struct{}), make(chan map[string]int)
	go func() {
		names := map[string]int{}
		for {
			select {
			case <-stop:
				seen <- names
				return
			default:
			}
			if o, held := session.Holder(dir); held {
				names[o.Command]++
			}
		}
	}()
	for i := range 2000 {
		if err := acquire(i).Release(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	names := <-seen
	for name := range names {
		if !slices.Contains(commands, name) {
			t.Errorf("the owner was read as %q: %v", name, names)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "lock"))
	if err != nil || !strings.HasSuffix(string(b), "}") {
		t.Errorf("the lock holds %q, %v", b, err)
	}
}

// The name of an owner that has ended is not taken for that of the holder.
func TestAnOwnerThatHasEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := session.Acquire(dir, session.Owner{Instance: "me", Command: "run"})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release() //nolint:errcheck // the test ends
	if o, held := session.Holder(dir); !held || o.Ended || strings.Contains(o.String(), "ended") {
		t.Errorf("the holder is %s", o)
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{host: true, host + "-another": false} {
		b := fmt.Sprintf(`{"pid":%d,"hostname":%q,"command":"run"}`, ended.Process.Pid, name)
		if err := os.WriteFile(filepath.Join(dir, "lock"), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		o, held := session.Holder(dir)
		if !held || o.Ended != want || strings.Contains(o.String(), "has ended") != want {
			t.Errorf("on %s: the holder is %s", name, o)
		}
	}
}

func TestADamagedNameIsWrittenAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := session.Acquire(dir, session.Owner{Instance: "me", Command: "run", Socket: "/run/a.sock"})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release() //nolint:errcheck // the test ends
	want, _ := session.Holder(dir)
	for _, text := range []string{"", "{", `{"pid":1,"hostname":"h"}`, strings.Repeat("x", 10_000)} {
		if err := os.WriteFile(filepath.Join(dir, "lock"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := lock.Refresh(); err != nil {
			t.Fatal(err)
		}
		if got, held := session.Holder(dir); !held || got != want {
			t.Errorf("after %.20q: %+v, want %+v", text, got, want)
		}
	}
}
