package capture_test

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/capture"
)

func TestAFreshCaptureHoldsWhatIsThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	// The newest rows are in the WAL only, as they are while Zed runs.
	live := s.hold(workspaceDB, "INSERT INTO kv_store(key, value) VALUES ('newest', 'in the WAL');")
	got := s.take()
	s.wantChange(got, capture.New)

	z := got.Components.Zed
	if z.State != checkpoint.OK || z.Channel != "dev" || z.From != "" || z.AsOf == nil || len(z.Windows) != 3 {
		t.Errorf("zed is %+v", z)
	}
	if want := s.sqlite(workspaceDB, "SELECT value FROM kv_store WHERE key = 'session_id'"); z.Pointer != want {
		t.Errorf("pointer %q, want %q", z.Pointer, want)
	}
	if want := s.sqlite(threadsDB, "SELECT count(*) FROM threads"); z.Threads == nil || want != "2" || len(got.Threads) != 2 {
		t.Errorf("threads %+v, want %s", got.Threads, want)
	}
	for _, logical := range []string{workspaceDB, threadsDB} {
		f := got.file(t, checkpoint.NameZed, logical)
		s.wantFile(f, checkpoint.OK)
		copied := s.stored(f)
		if sound := sqlite3(t, copied, "PRAGMA integrity_check"); sound != "ok" {
			t.Errorf("%s: %s", logical, sound)
		}
		if sqlite3(t, copied, ".dump") != s.sqlite(logical, ".dump") {
			t.Errorf("%s: the stored database is not the live one", logical)
		}
	}
	live.end()
	if names := s.prev.Manifest.Components.States(); names[checkpoint.NameConversations] != checkpoint.Absent || names[checkpoint.NameLayout] != checkpoint.Absent {
		t.Errorf("states %v", names)
	}
}

// held is a process with a database open.
type held struct {
	s     *site
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// hold opens a database with the sqlite3 command, runs sql, and stays there
// until it is ended: within the transaction that sql began, if it did.
func (s *site) hold(logical, sql string) *held {
	s.t.Helper()
	h := &held{s: s, cmd: exec.CommandContext(s.t.Context(), "sqlite3", "-bail", s.path(logical))}
	var err error
	h.stdin, err = h.cmd.StdinPipe()
	s.must(err)
	stdout, err := h.cmd.StdoutPipe()
	s.must(err)
	h.cmd.Stderr = os.Stderr
	s.must(h.cmd.Start())
	_, err = io.WriteString(h.stdin, sql+"\n.print held\n")
	s.must(err)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if lines.Text() == "held" {
			return h
		}
	}
	s.t.Fatalf("sqlite3 did not run %q", sql)
	return nil
}

// end closes the connection; what was not committed is rolled back.
func (h *held) end() {
	h.s.t.Helper()
	h.s.must(h.stdin.Close())
	h.s.must(h.cmd.Wait())
}

// saving is a save of a conversation that does not come to its end: it holds
// RESERVED, and its journal is on disk.
const saving = "PRAGMA cache_size=1; BEGIN IMMEDIATE; UPDATE threads SET summary = hex(randomblob(20000));"

func TestABusyThreadsDatabaseIsCarriedAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.take()
	first := s.prev

	// Zed shows a new conversation, whose row is being written.
	s.sqlite(workspaceDB, "INSERT INTO sidebar_threads(thread_id, session_id, title, updated_at) VALUES (x'77', 'not-there-yet', 't', '2026-07-22T17:10:59Z')")
	busy := s.hold(threadsDB, saving)
	got := s.take()
	s.wantChange(got, capture.New)
	if z := got.Components.Zed; z.State != checkpoint.Partial || z.From != "" || !z.AsOf.After(*first.Manifest.Components.Zed.AsOf) || z.Error == "" {
		t.Errorf("zed is %+v", z.Head)
	}
	s.wantFile(got.file(t, checkpoint.NameZed, workspaceDB), checkpoint.OK)
	s.wantCarried(got.file(t, checkpoint.NameZed, threadsDB), first, checkpoint.NameZed)
	if z := got.Components.Zed; !slices.Equal(z.Dangling, []string{"not-there-yet"}) || z.Threads.Count != 2 {
		t.Errorf("dangling %q, %d threads", z.Dangling, z.Threads.Count)
	}

	// An agent that starts now knows no more than what is in the repository.
	s.capturer = capture.Capturer{}
	s.sqlite(workspaceDB, "INSERT INTO kv_store(key, value) VALUES ('more', '1')")
	got = s.take()
	s.wantChange(got, capture.New)
	// Carried twice, it is still from the checkpoint that captured it.
	s.wantCarried(got.file(t, checkpoint.NameZed, threadsDB), first, checkpoint.NameZed)
	if !slices.Equal(got.Components.Zed.Dangling, []string{"not-there-yet"}) {
		t.Errorf("dangling %q", got.Components.Zed.Dangling)
	}

	// Nothing but the busy file: nothing to write, nothing to confirm.
	got = s.take()
	s.wantChange(got, capture.Worse)

	busy.end()
	s.sqlite(threadsDB, "INSERT INTO threads(id, summary, updated_at, data_type, data) VALUES ('not-there-yet', 's', '2026-07-22T17:10:59Z', 'json', x'7b7d')")
	got = s.take()
	s.wantChange(got, capture.New)
	if z := got.Components.Zed; z.State != checkpoint.OK || len(z.Dangling) != 0 || z.Threads.Count != 3 {
		t.Errorf("zed is %+v, dangling %q", z.Head, z.Dangling)
	}
}

func TestCarriedAndThenSeenAgainIsNew(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.take()
	// The same content throughout: a save that is rolled back in the end.
	busy := s.hold(threadsDB, saving)
	got := s.take()
	s.wantChange(got, capture.Worse)
	s.sqlite(workspaceDB, "INSERT INTO kv_store(key, value) VALUES ('more', '1')")
	got = s.take()
	s.wantChange(got, capture.New)
	carried := got.file(t, checkpoint.NameZed, threadsDB)
	busy.end()
	got = s.take()
	s.wantChange(got, capture.New)
	if f := got.file(t, checkpoint.NameZed, threadsDB); f.State != checkpoint.OK || !f.Equal(carried.Content) {
		t.Errorf("threads.db is %s", f.State)
	}
}

// Zed sets the pointer to its new session when it starts and writes its windows
// later: what lies between is no state to come back to.
func TestAZedThatStartsIsCarried(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.take()
	first := s.prev
	s.sqlite(workspaceDB, "UPDATE kv_store SET value = 'new session' WHERE key = 'session_id'")
	s.sqlite(threadsDB, "UPDATE threads SET summary = 'fresh'")
	got := s.take()
	s.wantChange(got, capture.New)
	s.wantCarried(got.file(t, checkpoint.NameZed, workspaceDB), first, checkpoint.NameZed)
	s.wantFile(got.file(t, checkpoint.NameZed, threadsDB), checkpoint.OK)
	was := first.Manifest.Components.Zed
	if z := got.Components.Zed; z.Pointer != was.Pointer || len(z.Windows) != len(was.Windows) || len(z.Migrations) != len(was.Migrations) {
		t.Errorf("zed says %+v of a db.sqlite that was carried", z)
	}
}

// A carried db.sqlite names what it named; what came since does not dangle.
func TestDanglingThreadsOfACarriedWorkspaceMayCome(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.sqlite(threadsDB, "DELETE FROM threads")
	got := s.take()
	const dangling = "0c5d1a52-0b53-4df0-8b2a-3f0f8f3b7a10" // the one thread of Zed's own in the sidebar
	if z := got.Components.Zed; z.State != checkpoint.OK || !slices.Equal(z.Dangling, []string{dangling}) || z.Threads != nil {
		t.Errorf("zed is %+v, dangling %q", z.Head, z.Dangling)
	}
	s.sqlite(workspaceDB, "UPDATE kv_store SET value = 'new session' WHERE key = 'session_id'")
	s.plant(threadsDB, testdata(t, "threads.db"))
	if got = s.take(); got.Components.Zed.State != checkpoint.Partial || len(got.Components.Zed.Dangling) != 0 {
		t.Errorf("zed is %+v, dangling %q", got.Components.Zed.Head, got.Components.Zed.Dangling)
	}
}

func TestBothDatabasesGoneAreCarried(t *testing.T) {
	t.Parallel()
	for _, gone := range []struct {
		name   string
		delete []string
	}{
		{"the files", []string{workspaceDB, threadsDB}},
		{"their directories", []string{"$ZED_DATA/db", "$ZED_DATA/threads"}},
		{"all of Zed's data", []string{"$ZED_DATA"}},
	} {
		t.Run(gone.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.take()
			first := s.prev
			for _, logical := range gone.delete {
				s.remove(logical)
			}
			got := s.take()
			s.wantChange(got, capture.Worse)
			for _, logical := range []string{workspaceDB, threadsDB} {
				s.wantCarried(got.file(t, checkpoint.NameZed, logical), first, checkpoint.NameZed)
			}
			was, z := first.Manifest.Components.Zed, got.Components.Zed
			if z.State != checkpoint.Carried || z.From != first.Manifest.ID || !z.AsOf.Equal(*was.AsOf) || z.Error == "" {
				t.Errorf("zed is %+v", z.Head)
			}
			if z.Channel != was.Channel || z.Pointer != was.Pointer || z.Threads == nil || z.Threads.SHA256 != was.Threads.SHA256 || len(got.Threads) != 2 {
				t.Errorf("zed says %+v of what was carried from %+v", z, was)
			}
		})
	}
}

// A component that is carried from several checkpoints is as old as its oldest
// file, and says so of the same one.
func TestACarriedComponentIsAsOldAsItsOldestFile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.take()
	first := s.prev.Manifest
	s.plant(threadsDB, []byte("no database"))
	s.sqlite(workspaceDB, "INSERT INTO kv_store(key, value) VALUES ('more', '1')")
	s.take()
	second := s.prev.Manifest
	s.remove("$ZED_DATA")
	got := s.take()
	if f := got.file(t, checkpoint.NameZed, workspaceDB); f.From != second.ID {
		t.Errorf("db.sqlite is from %s, want %s", f.From, second.ID)
	}
	if z := got.Components.Zed; z.State != checkpoint.Carried || z.From != first.ID || !z.AsOf.Equal(*first.Components.Zed.AsOf) {
		t.Errorf("zed is %+v, want from %s as of %v", z.Head, first.ID, first.Components.Zed.AsOf)
	}
}

func TestADatabaseThatIsGoneIsNoLongerListed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ gone, left string }{{workspaceDB, threadsDB}, {threadsDB, workspaceDB}} {
		t.Run(filepath.Base(c.gone), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.take()
			s.remove(c.gone)
			got := s.take()
			s.wantChange(got, capture.New)
			if listed := names(got.Files[checkpoint.NameZed]); !slices.Equal(listed, []string{c.left}) {
				t.Errorf("listed are %v", listed)
			}
			// Nothing is said of what is not there.
			z := got.Components.Zed
			if c.gone == workspaceDB && (z.Pointer != "" || z.Windows != nil || z.Migrations != nil || z.Dangling != nil || z.Threads.Count != 2) {
				t.Errorf("zed says %+v", z)
			}
			if c.gone == threadsDB && (z.Pointer == "" || z.Threads != nil || len(z.Dangling) != 1) {
				t.Errorf("zed says %+v", z)
			}
			s.wantChange(s.take(), capture.None)
		})
	}
}

// Not seen is not gone. A loop of links stops everybody, root too.
func TestWhatLiesInAnUnreadableDirectoryIsCarried(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, dir string
		carried   []string
	}{
		{"of a channel", "$ZED_DATA/db/0-dev", []string{workspaceDB}},
		{"of all channels", "$ZED_DATA/db", []string{workspaceDB}},
		{"of threads", "$ZED_DATA/threads", []string{threadsDB}},
		{"of Zed", "$ZED_DATA", []string{workspaceDB, threadsDB}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.take()
			first := s.prev
			dir := s.path(c.dir)
			s.must(os.Rename(dir, dir+".away"))
			s.must(os.Symlink(dir, dir))
			s.wantOnlyCarried(s.take(), first, c.carried)
			s.must(os.Remove(dir))
			s.must(os.Rename(dir+".away", dir))
			got := s.take()
			s.wantChange(got, capture.None)
			if z := got.Components.Zed; z.State != checkpoint.OK {
				t.Errorf("zed is %+v", z.Head)
			}
		})
	}
}

// wantOnlyCarried demands that of Zed's databases just these are carried, the
// others fresh.
func (s *site) wantOnlyCarried(got taken, from *capture.Previous, carried []string) {
	s.t.Helper()
	s.wantChange(got, capture.Worse)
	for _, logical := range []string{workspaceDB, threadsDB} {
		if f := got.file(s.t, checkpoint.NameZed, logical); slices.Contains(carried, logical) {
			s.wantCarried(f, from, checkpoint.NameZed)
		} else {
			s.wantFile(f, checkpoint.OK)
		}
	}
}

func TestADirectoryWithoutPermissionIsNotEmpty(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		asNobody(t)
		return
	}
	s := newSite(t)
	s.plant("$HOME/.claude/projects/p/a.jsonl", []byte("{}\n"))
	s.take()
	first := s.prev
	for _, c := range []struct {
		dir     string
		carried []string
	}{
		{"$ZED_DATA/db", []string{workspaceDB}},
		{"$ZED_DATA/db/0-dev", []string{workspaceDB}},
		{"$ZED_DATA/threads", []string{threadsDB}},
		{"$ZED_DATA", []string{workspaceDB, threadsDB}},
		{"$HOME/.claude/projects/p", nil},
		{"$HOME/.claude/projects", nil},
		{"$HOME/.claude", nil},
	} {
		dir := s.path(c.dir)
		s.must(os.Chmod(dir, 0))
		got := s.take()
		s.must(os.Chmod(dir, 0o700))
		s.wantOnlyCarried(got, first, c.carried)
		f := got.file(t, checkpoint.NameConversations, "$HOME/.claude/projects/p/a.jsonl")
		if c.carried != nil {
			s.wantFile(f, checkpoint.OK)
			continue
		}
		s.wantCarried(f, first, checkpoint.NameConversations)
		if h := got.Components.Conversations.Head; h.State != checkpoint.Carried || h.From != first.Manifest.ID || !strings.Contains(h.Error, c.dir) {
			t.Errorf("conversations without %s are %+v", c.dir, h)
		}
	}
}

// asNobody runs the test once more as a user who is not root, who may read
// everything.
func asNobody(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "capture-") //nolint:usetesting // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"db.sqlite", "threads.db"} {
		if err := os.WriteFile(filepath.Join(dir, name), testdata(t, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"TMPDIR=/tmp", "PATH=" + os.Getenv("PATH"), testdataEnv + "=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("as uid 65534: %v\n%s", err, out)
	}
}

func TestWithNothingBeforeItIsFailed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.plant(threadsDB, bytes.Repeat([]byte("no database "), 1000))
	got := s.take()
	s.wantChange(got, capture.New)
	f := got.file(t, checkpoint.NameZed, threadsDB)
	if f.State != checkpoint.Failed || f.Error == "" || f.Size != 0 || f.From != "" {
		t.Errorf("threads.db is %+v", f)
	}
	if z := got.Components.Zed; z.State != checkpoint.Partial || z.Error != f.Error || z.Threads != nil || len(z.Dangling) != 1 {
		t.Errorf("zed is %+v", z)
	}
	s.wantChange(s.take(), capture.Worse)
	// What failed is nothing to carry.
	s.remove(workspaceDB)
	s.plant(workspaceDB, []byte("no database either"))
	s.wantFile(s.take().file(t, checkpoint.NameZed, workspaceDB), checkpoint.Carried)
	s.remove(workspaceDB)
	s.remove(threadsDB)
	if got = s.take(); !slices.Equal(names(got.Files[checkpoint.NameZed]), []string{workspaceDB}) {
		t.Errorf("listed are %v", names(got.Files[checkpoint.NameZed]))
	}

	s = newEmptySite(t)
	s.plant(threadsDB, bytes.Repeat([]byte("no database "), 1000))
	if got = s.take(); got.Components.Zed.State != checkpoint.Failed {
		t.Errorf("zed is %+v", got.Components.Zed.Head)
	}
}

func TestThreadsWithTheSameNameDoNotEndTheCapture(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.sqlite(threadsDB, "INSERT INTO threads(id, summary, updated_at, data_type, data) SELECT CAST(v AS TEXT), 's', '2026-07-22T17:10:59Z', 'json', x'7b7d' FROM (SELECT x'fe' AS v UNION SELECT x'ff')")
	got := s.take()
	s.wantFile(got.file(t, checkpoint.NameZed, threadsDB), checkpoint.OK)
	if got.Components.Zed.Threads.Count != 3 {
		t.Errorf("%d threads", got.Components.Zed.Threads.Count)
	}
}
