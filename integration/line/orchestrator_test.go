package line

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/integration/zedwriter"
	"github.com/helixml/helix-ckpt/restore"
)

// client connects to the agent, as an orchestrator does.
func (r *rig) client() *rpc.Client {
	r.t.Helper()
	var run string
	for _, e := range r.env { // the last one counts
		if v, ok := strings.CutPrefix(e, "XDG_RUNTIME_DIR="); ok {
			run = v
		}
	}
	conn, err := rpc.Dial(r.t.Context(), filepath.Join(run, "helix-ckpt.sock"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() }) // nothing is under way
	return rpc.NewClient(conn)
}

// state is what status says that the agent does.
func (r *rig) state() string {
	r.t.Helper()
	var s struct {
		State string `json:"state"`
	}
	if err := json.Unmarshal([]byte(r.run("status", "-o", "json", "-q")), &s); err != nil {
		r.t.Fatal(err)
	}
	return s.State
}

// saved is a session with two checkpoints, and what its databases held in the
// older one.
func saved(t *testing.T) (r *rig, old, latest taken, content string) {
	t.Helper()
	r = newRig(t)
	w := r.writer(zedwriter.Config{DBSize: 1 << 20, ThreadsSize: 1 << 20, Idle: true})
	if _, err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	r.converse("c.jsonl")
	var err error
	if old, err = r.checkpoint(); err != nil {
		t.Fatal(err)
	}
	content = r.content()
	r.change()
	if latest, err = r.checkpoint(); err != nil {
		t.Fatal(err)
	}
	return r, old, latest, content
}

// converse writes a conversation.
func (r *rig) converse(name string) {
	r.t.Helper()
	dir := filepath.Join(r.home, ".claude/projects/-workspace")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("{}\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// change changes something in a database.
func (r *rig) change() {
	r.t.Helper()
	if out, err := exec.Command("sqlite3", zedwriter.DB.Path(r.data), "UPDATE ckpt_page SET seq = seq + 1 WHERE id = 1").CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
}

func (r *rig) content() string {
	r.t.Helper()
	out, err := exec.Command("sh", "-c", `sqlite3 "$0" .dump | sha256sum`, zedwriter.DB.Path(r.data)).Output()
	if err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

// events reads a restore to its report.
func events(t *testing.T, c *rpc.Client, q rpc.RestoreRequest) (all []restore.Event, report *restore.Report) {
	t.Helper()
	for e, err := range c.Restore(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		report = e.Report
	}
	if report == nil {
		t.Fatalf("no report at the end of %+v", all)
	}
	return all, report
}

// TestAnOrchestratorRestores: an agent that waits takes an archive and restores
// from it, and nothing is committed before. A stream that was lost is attached
// to again by its request id, also after the agent was killed.
func TestAnOrchestratorRestores(t *testing.T) {
	from, old, _, content := saved(t)
	file := filepath.Join(from.ws, "archive")
	var exported struct {
		Size int64           `json:"size"`
		Sum  checkpoint.Hash `json:"sha256"`
	}
	if err := json.Unmarshal([]byte(from.run("export", old.ID, "-f", file, "-o", "json", "-q")), &exported); err != nil {
		t.Fatal(err)
	}
	archive, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()

	r := newRig(t)
	// The same paths: the rig's directories take the place of the first one's.
	r.home, r.ws, r.data = from.home, filepath.Join(filepath.Dir(from.ws), "ws2"), from.data
	r.env = append(from.env, "HELIX_CKPT_DIR="+r.ws)
	if err := os.RemoveAll(r.data); err != nil {
		t.Fatal(err)
	}
	r.otherHost()
	a := r.waitingAgent()
	c := r.client()
	if _, err := c.Create(t.Context(), rpc.CreateRequest{}); !errors.Is(err, checkpoint.ErrUndecided) {
		t.Errorf("a checkpoint before the decision: %v", err)
	}
	entry, err := c.Import(t.Context(), rpc.ImportHeader{Size: exported.Size, SHA256: exported.Sum}, archive)
	if err != nil || string(entry.ID) != old.ID {
		t.Fatalf("import: %+v, %v", entry, err)
	}
	if s, err := c.Status(t.Context()); err != nil || s.State != rpc.SessionWaiting || s.Epoch != old.Epoch+1 {
		t.Errorf("after the import: %+v, %v", s, err)
	}

	q := rpc.RestoreRequest{RequestID: "move-1"}
	ctx, drop := context.WithCancel(t.Context())
	for e, err := range c.Restore(ctx, q) {
		if err != nil || e.Started == nil {
			t.Fatalf("first event %+v, %v", e, err)
		}
		break
	}
	drop()
	all, report := events(t, c, q)
	if all[0].Number != 1 || all[0].Started == nil || report.Outcome != restore.Done || string(report.Checkpoint) != old.ID {
		t.Errorf("attached again: from %+v to %+v", all[0], report)
	}
	for _, err := range c.Restore(t.Context(), rpc.RestoreRequest{RequestID: "move-1", Scope: restore.ScopeFiles}) {
		if !errors.Is(err, checkpoint.ErrRequestReused) {
			t.Errorf("the same id with other arguments: %v", err)
		}
	}
	if r.content() != content {
		t.Errorf("the databases are not what they were; log:\n%s", a.log)
	}

	// The latest is another one now, and still it is the same request.
	r.change()
	if now, err := r.checkpoint(); err != nil || now.ID == old.ID || now.Epoch != old.Epoch+1 {
		t.Errorf("after the restore: %+v, %v", now, err)
	}
	a.kill()
	r.agent("--interval=1h", "--restore=wait")
	if _, again := events(t, r.client(), q); string(again.Checkpoint) != old.ID || !again.End.Equal(report.End) {
		t.Errorf("after a restart of the agent: %+v, want %+v", again, report)
	}
}

// waitingAgent starts an agent that waits for an orchestrator.
func (r *rig) waitingAgent() *agent {
	r.t.Helper()
	a := r.launch("--interval=1h", "--restore=wait", "--start-timeout=10m")
	r.await("the agent waits", func() bool { return r.state() == "waiting" })
	return a
}

// TestAnOrchestratorDeclines: what it declines is not restored, and the answer
// is remembered by the next agent of the same instance.
func TestAnOrchestratorDeclines(t *testing.T) {
	r, _, latest, _ := saved(t)
	if err := os.RemoveAll(r.data); err != nil {
		t.Fatal(err)
	}
	r.otherHost()
	a := r.waitingAgent()
	if id, err := r.client().DeclineRestore(t.Context(), "begin afresh"); err != nil || string(id) != latest.ID {
		t.Errorf("declined %s, %v; want %s", id, err, latest.ID)
	}
	r.await("the agent runs", func() bool { return r.state() == "running" })
	a.kill()
	r.agent("--interval=1h", "--restore=wait", "--start-timeout=10m")
	if _, err := os.Stat(r.data); err == nil {
		t.Error("files are there")
	}
}

// TestTheStartIsRestoredAfterAll: the restore of a start that was rolled back,
// here because no content could be read, is done by the next agent of the same
// instance, from what was to be restored.
func TestTheStartIsRestoredAfterAll(t *testing.T) {
	r, old, _, content := saved(t)
	for _, dir := range []string{r.data, filepath.Join(r.home, ".claude")} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	packs := filepath.Join(r.ws, ".helix/sessions/default/packs")
	if err := errors.Join(os.Rename(packs, packs+".away"), os.Mkdir(packs, 0o700)); err != nil {
		t.Fatal(err)
	}
	r.otherHost()
	a := r.agent("--interval=1h", "--restore="+old.ID)
	if !strings.Contains(a.log.String(), "files were not restored") {
		t.Errorf("log:\n%s", a.log)
	}
	a.kill()
	if err := errors.Join(os.RemoveAll(packs), os.Rename(packs+".away", packs)); err != nil {
		t.Fatal(err)
	}
	a = r.agent("--interval=1h", "--restore="+old.ID)
	if r.content() != content {
		t.Errorf("the databases are not what they were; log:\n%s", a.log)
	}
}

// TestARequestIsNoCapture: a request id that is known, also from before a
// restart, gives its checkpoint; what has changed meanwhile is captured as soon
// as without it.
func TestARequestIsNoCapture(t *testing.T) {
	r, _, _, _ := saved(t)
	a := r.agent("--interval=1h")
	first, err := r.client().Create(t.Context(), rpc.CreateRequest{Reason: "asked", RequestID: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	a.kill()
	r.agent("--interval=1h", "--quiet=2s")
	c := r.client()
	r.await("it has looked once", func() bool { return !r.confirmed().IsZero() })
	before := len(r.list())
	r.converse("d.jsonl")
	r.await("the change is seen", func() bool {
		s, err := c.Status(t.Context())
		return err == nil && s.Unsaved > 0
	})
	again, err := c.Create(t.Context(), rpc.CreateRequest{Reason: "asked", RequestID: "r1"})
	if err != nil || again.Entry.ID != first.Entry.ID || again.Confirmed {
		t.Errorf("the same request: %+v, %v; want %s", again, err, first.Entry.ID)
	}
	if s, err := c.Status(t.Context()); err != nil || (s.Unsaved == 0 && len(r.list()) == before) {
		t.Errorf("status forgets the change: %+v, %v", s, err)
	}
	r.await("the change is captured", func() bool { return len(r.list()) > before })
}
