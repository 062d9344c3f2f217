package restore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

const (
	dbPath   = "$ZED_DATA/db/0-dev/db.sqlite"
	convPath = "$HOME/.claude/projects/-workspace-app/one.jsonl"
	filePath = "$WORKSPACE/notes/todo.txt"
)

// simple is a store with one checkpoint of three components.
func simple(t *testing.T, s session) *store {
	t.Helper()
	st := newStore()
	main, _, _, err := database("new", 200)
	if err != nil {
		t.Fatal(err)
	}
	st.add(idNew, s.roots, checkpoint.Components{
		Zed:           zedOf(st.file(dbPath, checkpoint.KindSQLite, main)),
		Conversations: filesOf(st.file(convPath, checkpoint.KindJSONL, []byte("{\"a\":1}\n"))),
		Files:         filesOf(st.file(filePath, checkpoint.KindFile, []byte("buy milk\n"))),
	})
	return st
}

func TestRunBringsFilesBackAndKeepsWhatWasThere(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := simple(t, s)
	s.write(t, convPath, "{\"a\":1}\n{\"live\":\"and longer\"}\n")
	r := s.restorer(st)
	var events []restore.Event
	r.Emit = func(e restore.Event) { events = append(events, e) }

	report := run(t, r, restore.Request{Checkpoint: idNew, Latest: idNew})
	if report.Outcome != restore.Done || report.Class() != restore.Complete {
		t.Fatalf("outcome %s: %+v", report.Outcome, report)
	}
	if got := s.read(t, convPath); got != "{\"a\":1}\n" {
		t.Errorf("conversation is %q", got)
	}
	info, err := os.Stat(s.path(filePath))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o640 || info.ModTime().UnixNano() != 1763892900123456789 {
		t.Errorf("mode %v, mtime %d", info.Mode(), info.ModTime().UnixNano())
	}
	link, err := os.Readlink(s.roots[checkpoint.RootZedData])
	if err != nil || link != filepath.Join(s.roots[checkpoint.RootWorkspace], ".zed-state") {
		t.Errorf("the link of zed's data is %q, %v", link, err)
	}
	var kept restore.Item
	for _, i := range report.Items {
		if i.Name == convPath {
			kept = i
		}
	}
	if len(kept.Aside) != 1 || !strings.Contains(kept.Reason, "newer and larger") {
		t.Fatalf("the report says of the live conversation: %+v", kept)
	}
	if b, err := os.ReadFile(kept.Aside[0]); err != nil || !strings.Contains(string(b), "and longer") {
		t.Errorf("kept aside: %q, %v", b, err)
	}
	var phases []restore.Phase
	for _, e := range events {
		if e.Phase != "" {
			phases = append(phases, e.Phase)
		}
	}
	want := "planned verified staged committed files-ready done"
	if got := strings.Trim(strings.Join(strings.Fields(join(phases)), " "), " "); got != want {
		t.Errorf("phases %q, want %q", got, want)
	}
	if events[0].Started == nil || events[len(events)-1].Report == nil {
		t.Errorf("first event %+v, last %+v", events[0], events[len(events)-1])
	}
	j, err := restore.Load(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if j.Restore.Phase != restore.Done || len(j.Protected) != 0 || j.Target(idOld) != idOld {
		t.Errorf("journal: %+v", j)
	}
}

func join(phases []restore.Phase) string {
	var b strings.Builder
	for _, p := range phases {
		b.WriteString(string(p) + " ")
	}
	return b.String()
}

// A stale WAL beside a restored database is what makes it malformed, or undoes
// it. The last case leaves one there, and must be caught by the same check.
func TestRestoredDatabaseIsSoundForSQLite(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := simple(t, s)
	want := filepath.Join(t.TempDir(), "want.sqlite")
	if err := os.WriteFile(want, st.content[st.manifests[idNew].Components.Zed.Files[0].SHA256], 0o600); err != nil {
		t.Fatal(err)
	}
	wantDump, err := sqliteCLI(want, ".dump")
	if err != nil || !strings.Contains(wantDump, "new1") {
		t.Fatalf("sqlite3 is needed: %v %.100s", err, wantDump)
	}
	main, wal, shm, err := database("live", 900)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, b := range map[string][]byte{"": main, "-wal": wal, "-shm": shm} {
		s.write(t, dbPath+suffix, string(b))
	}
	s.write(t, dbPath+"-journal", "a stale journal")
	check := func() string {
		if said, err := sqliteCLI(s.path(dbPath), "PRAGMA integrity_check"); err != nil || said != "ok" {
			return "integrity_check: " + said
		}
		if dump, err := sqliteCLI(s.path(dbPath), ".dump"); err != nil || dump != wantDump {
			return "its dump is another"
		}
		return ""
	}
	report := run(t, s.restorer(st), restore.Request{Checkpoint: idNew, Only: []string{"zed"}})
	if wrong := check(); wrong != "" {
		t.Fatal(wrong)
	}
	aside := report.Items[0].Aside
	if len(aside) != 4 {
		t.Fatalf("kept aside: %q", aside)
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		os.Remove(s.path(dbPath) + suffix)
	}
	// The broken variant: the stale WAL is left beside.
	s.write(t, dbPath+"-wal", string(wal))
	if wrong := check(); wrong == "" {
		t.Fatal("a stale -wal beside the restored database was not noticed: the check is worth nothing")
	} else {
		t.Logf("with a stale -wal left beside, as it must: %s", wrong)
	}
}

func TestRunTwiceWithOneRequestIDIsOneRestore(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := simple(t, s)
	q := restore.Request{ID: "r1", Selector: "latest", Checkpoint: idNew}
	first := run(t, s.restorer(st), q)
	s.write(t, filePath, "changed since")
	again := run(t, s.restorer(st), q)
	if again.Start != first.Start && !again.Start.Equal(first.Start) {
		t.Errorf("a second restore was made: %v and %v", first.Start, again.Start)
	}
	if got := s.read(t, filePath); got != "changed since" {
		t.Errorf("it was restored again: %q", got)
	}
	q.Wait = time.Minute
	if _, err := s.restorer(st).Run(t.Context(), q); err == nil {
		t.Error("the same request id with other options was accepted")
	}
}

// Helix keeps the agents' directories behind links into the workspace, which
// may be empty on a new machine. The link stays, its target is filled.
func TestLinkIntoTheWorkspaceIsFollowedAndKept(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := simple(t, s)
	target := filepath.Join(s.roots[checkpoint.RootWorkspace], ".claude-state")
	link := filepath.Join(s.roots[checkpoint.RootHome], ".claude")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	report := run(t, s.restorer(st), restore.Request{Checkpoint: idNew, Only: []string{"conversations"}})
	if to, err := os.Readlink(link); err != nil || to != target {
		t.Errorf("the link is %q, %v", to, err)
	}
	if b, err := os.ReadFile(filepath.Join(target, "projects/-workspace-app/one.jsonl")); err != nil || string(b) != "{\"a\":1}\n" {
		t.Errorf("behind it: %q, %v", b, err)
	}
	if report.Outcome != restore.Done {
		t.Errorf("%+v", report)
	}
}

// BenchmarkRun restores a 30 MB database, the size of a busy session's, over a
// live one, with its integrity_check.
func BenchmarkRun(b *testing.B) {
	main, _, _, err := database("bench", 33000)
	if err != nil {
		b.Fatal(err)
	}
	s := openSession(b.TempDir(), b.Fatal)
	st := newStore()
	st.add(idNew, s.roots, checkpoint.Components{Zed: zedOf(st.file(dbPath, checkpoint.KindSQLite, main))})
	b.SetBytes(int64(len(main)))
	for b.Loop() {
		if _, err := s.restorer(st).Run(b.Context(), restore.Request{Checkpoint: idNew}); err != nil {
			b.Fatal(err)
		}
	}
}
