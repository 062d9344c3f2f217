package line

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

// entry is a checkpoint as list -o json prints it.
type entry struct {
	ID     string `json:"id"`
	Epoch  uint64 `json:"epoch"`
	Seq    uint64 `json:"seq"`
	Reason string `json:"reason"`
}

func (r *rig) list() []entry {
	r.t.Helper()
	var entries []entry
	if err := json.Unmarshal([]byte(r.run("list", "-o", "json", "-q")), &entries); err != nil {
		r.t.Fatal(err)
	}
	return entries
}

// TestTheAgentByItself takes a checkpoint at the start, by the timer of what no
// event tells, by a change of a file, and none when nothing has changed; the
// last one on SIGTERM.
func TestTheAgentByItself(t *testing.T) {
	r := newRig(t)
	w := r.writer(zedwriter.Config{DBSize: 1 << 20, ThreadsSize: 1 << 20, Idle: true})
	if _, err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	a := r.agent("--interval=1s", "--quiet=50ms")
	r.await("the first checkpoint", func() bool { return len(r.list()) == 1 })
	if first := r.list()[0]; first.Reason != "start" || first.Epoch != 1 || first.Seq != 1 {
		t.Errorf("the first checkpoint is %+v", first)
	}

	// Three confirmations are three intervals in which nothing was written.
	before := r.listing()
	for range 3 {
		last := r.confirmed()
		r.await("it is confirmed again", func() bool { return r.confirmed() != last })
	}
	if after := r.listing(); after != before {
		t.Errorf("an unchanged session changed the repository from\n%sto\n%s", before, after)
	}

	conversations := filepath.Join(r.home, ".claude/projects/-workspace")
	if err := os.MkdirAll(conversations, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(conversations, "c.jsonl"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.await("the change is captured", func() bool { return len(r.list()) == 2 })
	if out, err := exec.Command("sqlite3", zedwriter.DB.Path(r.data), "UPDATE ckpt_page SET seq = seq + 1 WHERE id = 1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.await("the change of the database is captured", func() bool { return len(r.list()) >= 3 })
	for _, e := range r.list()[:len(r.list())-1] {
		if e.Reason != "change" && e.Reason != "interval" {
			t.Errorf("a checkpoint for %q", e.Reason)
		}
	}

	if err := os.WriteFile(filepath.Join(conversations, "d.jsonl"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := a.stop(); code != 0 {
		t.Errorf("the agent ended with %d\n%s", code, a.log)
	}
	if files := r.run("show", "--files", "-q"); !strings.Contains(files, "d.jsonl") {
		t.Errorf("the last checkpoint lacks what was written before SIGTERM:\n%s", files)
	}
}

// confirmed is when the agent last found nothing to have changed.
func (r *rig) confirmed() time.Time {
	r.t.Helper()
	var s struct {
		Confirmed time.Time `json:"confirmed"`
	}
	if err := json.Unmarshal([]byte(r.run("status", "-o", "json", "-q")), &s); err != nil {
		r.t.Fatal(err)
	}
	return s.Confirmed
}

// TestStartDecisions: what an agent does with what it finds, on real files.
func TestStartDecisions(t *testing.T) {
	r := newRig(t)
	w := r.writer(zedwriter.Config{DBSize: 1 << 20, ThreadsSize: 1 << 20, Idle: true})
	if _, err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	a := r.agent("--interval=1h")
	r.await("the first checkpoint", func() bool { return len(r.list()) == 1 })
	a.kill()
	content := func() string {
		out, err := exec.Command("sh", "-c", `sqlite3 "$0" .dump | sha256sum`, zedwriter.DB.Path(r.data)).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	want := content()

	t.Run("the agent was killed and comes back: nothing is restored", func(t *testing.T) {
		a := r.agent("--interval=1h")
		defer a.kill()
		if strings.Contains(a.log.String(), "restoring") || content() != want {
			t.Errorf("log:\n%s", a.log)
		}
	})
	lose := func() {
		if err := os.RemoveAll(r.data); err != nil {
			t.Fatal(err)
		}
		r.otherHost()
	}
	t.Run("another host, never: nothing is restored", func(t *testing.T) {
		lose()
		a := r.agent("--interval=1h", "--restore=never")
		defer a.kill()
		if _, err := os.Stat(r.data); err == nil {
			t.Error("files are there")
		}
		// And what could not be captured is carried, not lost.
		if c, err := r.checkpoint(); err != nil || c.Components["zed"] != "carried" {
			t.Errorf("checkpoint %+v, %v", c, err)
		}
	})
	t.Run("another host, wait: nothing is captured until the timeout, then files come back", func(t *testing.T) {
		lose()
		before := r.list()
		a := r.agent("--interval=1h", "--restore=wait", "--start-timeout=2s")
		defer a.kill()
		if content() != want {
			t.Errorf("the databases are not what they were; log:\n%s", a.log)
		}
		if !strings.Contains(a.log.String(), "nobody restored or declined") {
			t.Errorf("log:\n%s", a.log)
		}
		if now := r.list(); !slices.ContainsFunc(now, func(e entry) bool { return e == before[0] }) {
			t.Errorf("%+v is gone from %+v", before[0], now)
		}
	})
	t.Run("another host, databases missing: files come back by themselves", func(t *testing.T) {
		lose()
		a := r.agent("--interval=1h")
		defer a.kill()
		if content() != want {
			t.Errorf("the databases are not what they were; log:\n%s", a.log)
		}
	})
	t.Run("another host, databases there: they are kept", func(t *testing.T) {
		if out, err := exec.Command("sqlite3", zedwriter.DB.Path(r.data), "UPDATE ckpt_page SET seq = seq + 1 WHERE id = 1").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		newer := content()
		r.otherHost()
		a := r.agent("--interval=1h")
		defer a.kill()
		if content() != newer {
			t.Errorf("newer databases were replaced; log:\n%s", a.log)
		}
	})
}

// otherHost gives the session a new runtime directory, as another container
// does.
func (r *rig) otherHost() {
	r.t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(r.home), "run-")
	if err != nil {
		r.t.Fatal(err)
	}
	r.env = append(r.env, "XDG_RUNTIME_DIR="+dir)
}

// TestWindowsWaitForTheCompositor: on another host the agent starts before
// Sway, as it does in a container; the windows come back when Sway is there, and
// until then the checkpoint still holds them.
func TestWindowsWaitForTheCompositor(t *testing.T) {
	r := newRig(t)
	d := desktop.Start(t, desktop.Options{})
	for _, name := range []string{"one", "two", "three"} {
		d.Foot("wait-"+name, name, "")
	}
	d.Swaymsg(`[app_id="^wait-two$"] focus; splitv; layout stacking`)
	want := d.Settled()
	r.env = append(r.env, "XDG_RUNTIME_DIR="+d.RuntimeDir())
	if c, err := r.checkpoint(); err != nil || c.Components["layout"] != "ok" {
		t.Fatalf("%+v, %v", c, err)
	}
	d.Kill9()

	// Another life of the runtime directory, and no Sway in it yet.
	if err := os.RemoveAll(filepath.Join(d.RuntimeDir(), "helix-ckpt")); err != nil {
		t.Fatal(err)
	}
	a := r.agent("--interval=1h", "--quiet=50ms")
	if c, err := r.checkpoint(); err != nil || c.Components["windows"] != "carried" || c.Components["layout"] != "carried" {
		t.Errorf("without a compositor: %+v, %v\n%s", c, err, a.log)
	}
	d.Restart()
	d.WaitWindows(3)
	r.await("the layout is back", func() bool { return desktop.Diff(want, d.Tree()) == "" })
	r.await("the desk is captured again", func() bool {
		c, err := r.checkpoint()
		return err == nil && c.Components["layout"] == "ok"
	})
	if code := a.stop(); code != 0 {
		t.Errorf("the agent ended with %d\n%s", code, a.log)
	}
}
