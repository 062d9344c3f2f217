package capture_test

import (
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/capture"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// The property commits to a real repository, which syncs; RAPID_CHECKS or
// -rapid.checks ask for more.
func TestMain(m *testing.M) {
	if os.Getenv("RAPID_CHECKS") == "" {
		if err := flag.Set("rapid.checks", "15"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// Logical paths of Zed's databases.
const (
	workspaceDB = "$ZED_DATA/db/0-dev/db.sqlite"
	threadsDB   = "$ZED_DATA/threads/threads.db"
)

// old is a time that proves that a file is not being written.
var old = time.Date(2026, 7, 1, 12, 0, 0, 1, time.UTC)

// site is a session with a real repository. Its checkpoints are taken as the
// agent takes them: commit what is new, read back what was committed.
type site struct {
	t        *testing.T
	home     string
	data     string // Zed's
	repo     *repository.Repository
	capturer capture.Capturer
	prev     *capture.Previous // the latest checkpoint
	socket   sway.Socket
	desk     *checkpoint.Compositor
	spool    string                            // directory; "" is the system's
	store    func(capture.Store) capture.Store // what a test puts in between
}

// newSite has Zed's two databases, as Zed's own migrations made them.
func newSite(t *testing.T) *site {
	t.Helper()
	s := newEmptySite(t)
	s.plant(workspaceDB, testdata(t, "db.sqlite"))
	s.plant(threadsDB, testdata(t, "threads.db"))
	return s
}

func newEmptySite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	repo, err := repository.Open(filepath.Join(dir, "sessions", "s"))
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, home: filepath.Join(dir, "home"), data: filepath.Join(dir, "home/.local/share/zed"), repo: repo}
}

// testdataEnv is where the databases lie for a test that runs as another user.
const testdataEnv = "CAPTURE_TESTDATA"

func testdata(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv(testdataEnv)
	if dir == "" {
		dir = "../zed/testdata"
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *site) roots() map[string]string {
	return map[string]string{checkpoint.RootHome: s.home, checkpoint.RootZedData: s.data}
}

// path is where a logical path lies.
func (s *site) path(logical string) string { return checkpoint.Absolute(s.roots(), logical) }

// plant puts a file in place that nobody has written for long.
func (s *site) plant(logical string, content []byte) {
	s.t.Helper()
	path := s.path(logical)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err == nil {
		err = os.Chtimes(path, old, old)
	}
	s.must(err)
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// remove deletes what lies at a logical path, with its side files.
func (s *site) remove(logical string) {
	s.t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		s.must(os.RemoveAll(s.path(logical) + suffix))
	}
}

// sqlite runs a statement with the sqlite3 command on a live database.
func (s *site) sqlite(logical, sql string) string {
	s.t.Helper()
	return sqlite3(s.t, s.path(logical), sql)
}

// sqlite3 is the independent writer and reader here.
func sqlite3(t *testing.T, path, sql string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sqlite3", "-bail", path, sql).CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3 (apt-get install sqlite3) %s: %v\n%s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

// taken is what became of a capture.
type taken struct {
	capture.Captured
	change capture.Change
	newID  checkpoint.ID // of the checkpoint that was committed, if one was
	bytes  int64         // that the packs grew by
	puts   int           // contents that were read into the store
}

func (s *site) source() capture.Source {
	places, err := zed.Find(s.data, filepath.Join(s.home, ".config/zed"))
	if err != nil {
		s.t.Logf("find Zed: %v", err) // as the agent does: what was found stands in places
	}
	return capture.Source{Roots: s.roots(), Home: s.home, Zed: places, Socket: s.socket, Desk: s.desk, SpoolDir: s.spool}
}

// take captures the session and commits what is new.
func (s *site) take() taken {
	s.t.Helper()
	got, err := s.try()
	s.must(err)
	return got
}

func (s *site) try() (taken, error) {
	ctx := s.t.Context()
	start := time.Now().UTC().Truncate(time.Millisecond)
	tx, err := s.repo.Begin(ctx)
	if err != nil {
		return taken{}, err
	}
	defer tx.Abort()
	counted := &countingStore{Store: tx}
	var store capture.Store = counted
	if s.store != nil {
		store = s.store(counted)
	}
	var got taken
	got.Captured, err = s.capturer.Capture(ctx, s.source(), s.prev, store)
	if err != nil {
		s.capturer.Forget()
		return got, err
	}
	got.puts, got.bytes = counted.puts, tx.NewBytes()
	if got.change = capture.Compare(s.prev, got.Captured); got.change != capture.New {
		return got, nil
	}
	got.newID, err = s.commit(tx, start, got.Captured)
	return got, err
}

// commit makes a capture the latest checkpoint.
func (s *site) commit(tx *repository.Tx, start time.Time, c capture.Captured) (checkpoint.ID, error) {
	m := &checkpoint.Manifest{
		Format: checkpoint.Format, ID: checkpoint.NewID(start), Session: "s", Epoch: 1, Seq: 1,
		Created: start, Reason: "test", Roots: s.roots(), Components: c.Components,
	}
	if s.prev != nil {
		m.Seq = s.prev.Manifest.Seq + 1
	}
	_, err := tx.Commit(s.t.Context(), m, nil)
	if err == nil {
		s.prev, err = capture.Load(s.t.Context(), s.repo, m.ID)
	}
	return m.ID, err
}

// countingStore counts what is read into it.
type countingStore struct {
	capture.Store
	puts int
}

func (c *countingStore) Put(ctx context.Context, r io.Reader, chunkSize int) (checkpoint.Content, error) {
	c.puts++
	return c.Store.Put(ctx, r, chunkSize)
}

func (c *countingStore) PutHinted(ctx context.Context, key string, r io.Reader, chunkSize int) (checkpoint.Content, error) {
	c.puts++
	return c.Store.PutHinted(ctx, key, r, chunkSize)
}

// file returns the file with that logical path.
func (g taken) file(t *testing.T, component, logical string) checkpoint.File {
	t.Helper()
	for _, f := range g.Files[component] {
		if f.Name() == logical {
			return f
		}
	}
	t.Fatalf("%s is not in %s: %v", logical, component, names(g.Files[component]))
	return checkpoint.File{}
}

func names(files []checkpoint.File) []string {
	list := make([]string, len(files))
	for i, f := range files {
		list[i] = f.Name()
	}
	return list
}

// stored returns a file of the latest checkpoint as it is in the repository.
func (s *site) stored(f checkpoint.File) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), filepath.Base(f.Name()))
	out, err := os.Create(path)
	s.must(err)
	defer out.Close()
	s.must(s.repo.CopyTo(s.t.Context(), out, f.Content))
	return path
}

// wantFile demands what is true of every file in a state.
func (s *site) wantFile(f checkpoint.File, state checkpoint.State) {
	s.t.Helper()
	if f.State != state {
		s.t.Fatalf("%s is %s (%s), want %s", f.Name(), f.State, f.Error, state)
	}
	if carried := state == checkpoint.Carried; carried != (f.From != "") || carried != (f.AsOf != nil) || carried != (f.Error != "") {
		s.t.Errorf("%s is %s from %q, as of %v, error %q", f.Name(), state, f.From, f.AsOf, f.Error)
	}
}

// wantCarried demands that f is carried from the checkpoint m, where it was ok.
func (s *site) wantCarried(f checkpoint.File, m *capture.Previous, component string) {
	s.t.Helper()
	s.wantFile(f, checkpoint.Carried)
	for _, was := range m.Files[component] {
		if was.Name() != f.Name() {
			continue
		}
		asOf := m.Manifest.Components.Head(component).AsOf
		if f.From != m.Manifest.ID || !f.AsOf.Equal(*asOf) {
			s.t.Errorf("%s carried from %s as of %v, want from %s as of %v", f.Name(), f.From, f.AsOf, m.Manifest.ID, asOf)
		}
		if !f.Equal(was.Content) || f.Mode != was.Mode || f.MtimeNS != was.MtimeNS || f.Kind != was.Kind {
			s.t.Errorf("%s is carried as something else:\n%+v\nwant\n%+v", f.Name(), f, was)
		}
		return
	}
	s.t.Errorf("%s was not in checkpoint %s", f.Name(), m.Manifest.ID)
}

func (s *site) wantChange(got taken, want capture.Change) {
	s.t.Helper()
	if got.change != want {
		s.t.Errorf("change %d, want %d (0 none, 1 worse, 2 new): %+v", got.change, want, got.Components.States())
	}
	if want != capture.New && got.newID != "" {
		s.t.Error("a checkpoint was committed although nothing is new")
	}
}
