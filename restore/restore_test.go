package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(killEnv); spec != "" {
		killedChild(spec)
	}
	goleak.VerifyTestMain(m)
}

// The ids of checkpoints in these tests, oldest first.
const (
	idOld checkpoint.ID = "20261123T101400.000Z-00000001"
	idNew checkpoint.ID = "20261123T101500.000Z-00000002"
)

// store is a Source in memory. What is named in damaged comes back damaged.
type store struct {
	manifests map[checkpoint.ID]*checkpoint.Manifest
	content   map[checkpoint.Hash][]byte
	damaged   map[checkpoint.Hash]bool
	noLoad    map[checkpoint.ID]error
	copied    func() // called before content is copied
}

func newStore() *store {
	return &store{
		manifests: map[checkpoint.ID]*checkpoint.Manifest{}, content: map[checkpoint.Hash][]byte{},
		damaged: map[checkpoint.Hash]bool{}, noLoad: map[checkpoint.ID]error{},
	}
}

func (s *store) Hold(checkpoint.ID) (func(), error) { return func() {}, nil }

func (s *store) Load(_ context.Context, id checkpoint.ID) (*checkpoint.Manifest, checkpoint.Hash, error) {
	if err := s.noLoad[id]; err != nil {
		return nil, checkpoint.Hash{}, err
	}
	m, ok := s.manifests[id]
	if !ok {
		return nil, checkpoint.Hash{}, fmt.Errorf("%w: %s", checkpoint.ErrNotFound, id)
	}
	return m, checkpoint.Hash{}, nil
}

func (s *store) Files(_ context.Context, set *checkpoint.FileSet) ([]checkpoint.File, error) {
	return set.Files, nil
}

func (s *store) CopyTo(_ context.Context, w io.Writer, c checkpoint.Content) error {
	if s.copied != nil {
		s.copied()
	}
	b, ok := s.content[c.SHA256]
	if !ok {
		return fmt.Errorf("%w: no content %s", checkpoint.ErrDamaged, c.SHA256)
	}
	if s.damaged[c.SHA256] {
		b = slices.Clone(b)
		b[len(b)/2] ^= 1
	}
	_, err := w.Write(b)
	return err
}

// file stores b and returns a File of it.
func (s *store) file(path string, kind checkpoint.Kind, b []byte) checkpoint.File {
	sum := checkpoint.Sum(b)
	s.content[sum] = b
	f := checkpoint.File{
		Path: path, Kind: kind, State: checkpoint.OK, Mode: 0o640, MtimeNS: 1763892900123456789,
		Content: checkpoint.Content{Size: int64(len(b)), SHA256: sum},
	}
	return f
}

// add stores a checkpoint with these components.
func (s *store) add(id checkpoint.ID, roots map[string]string, c checkpoint.Components) {
	s.manifests[id] = &checkpoint.Manifest{
		Format: checkpoint.Format, ID: id, Session: "default", Epoch: 1, Seq: 1, Created: time.Unix(1763892900, 0), Roots: roots, Components: c,
	}
}

func head() checkpoint.Head { return checkpoint.NewHead(checkpoint.OK, time.Unix(1763892900, 0)) }

func zedOf(files ...checkpoint.File) *checkpoint.Zed {
	return &checkpoint.Zed{Head: head(), Channel: "dev", FileSet: checkpoint.FileSet{Files: files}}
}

func filesOf(files ...checkpoint.File) *checkpoint.Files {
	return &checkpoint.Files{Head: head(), FileSet: checkpoint.FileSet{Files: files}}
}

// session is a live session in a temporary directory: a home whose Zed data
// lies behind a link into the workspace, as in Helix.
type session struct {
	dir   string // of the checkpoints
	roots map[string]string
}

func newSession(t *testing.T) session {
	t.Helper()
	return openSession(t.TempDir(), t.Fatal)
}

func openSession(top string, fatal func(...any)) session {
	s := session{dir: filepath.Join(top, "ckpt"), roots: map[string]string{
		checkpoint.RootHome:      filepath.Join(top, "home"),
		checkpoint.RootWorkspace: filepath.Join(top, "workspace"),
		checkpoint.RootZedData:   filepath.Join(top, "home/.local/share/zed"),
	}}
	for _, dir := range []string{"ckpt", "home/.local/share", "workspace/.zed-state"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o700); err != nil {
			fatal(err)
		}
	}
	err := os.Symlink(filepath.Join(top, "workspace/.zed-state"), s.roots[checkpoint.RootZedData])
	if err != nil && !errors.Is(err, fs.ErrExist) {
		fatal(err)
	}
	return s
}

// path returns where a logical path is.
func (s session) path(logical string) string { return checkpoint.Absolute(s.roots, logical) }

func (s session) write(t *testing.T, logical, text string) {
	t.Helper()
	path := s.path(logical)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s session) read(t *testing.T, logical string) string {
	t.Helper()
	b, err := os.ReadFile(s.path(logical))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (s session) restorer(src restore.Source) *restore.Restorer {
	return &restore.Restorer{Dir: s.dir, Source: src, Roots: s.roots, KeepOut: []string{s.dir}}
}

// live is everything in the session but what restores keep for themselves.
func (s session) live(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, root := range []string{checkpoint.RootHome, checkpoint.RootWorkspace} {
		err := filepath.WalkDir(s.roots[root], func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if strings.HasPrefix(d.Name(), ".helix-ckpt-restore-") {
				return fs.SkipDir
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			what := info.Mode().String()
			if d.Type().IsRegular() {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				what += " " + checkpoint.Sum(b).String()
			}
			rel, err := filepath.Rel(filepath.Dir(s.dir), path)
			all[rel] = what
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// difference names the first path that differs, for a person.
func difference(got, want map[string]string) string {
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			return fmt.Sprintf("%s is %q, want %q", path, got[path], want[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[path]; !ok {
			return path + " should not be there"
		}
	}
	return ""
}

// stagingDirs returns the staging directories that there are.
func (s session) stagingDirs(t *testing.T) []string {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir(filepath.Dir(s.dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".helix-ckpt-restore-") {
			dirs = append(dirs, path)
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// database returns the bytes of a database whose table t holds n rows of text,
// and of a WAL left by a writer that died, which adds more.
func database(text string, n int) (main, wal, shm []byte, err error) {
	dir, err := os.MkdirTemp("", "restore-test-")
	if err != nil {
		return nil, nil, nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "x.sqlite")
	conn, err := sqlite3.Open(path)
	if err != nil {
		return nil, nil, nil, err
	}
	defer conn.Close() //nolint:errcheck // its files were read; it is thrown away
	rows := fmt.Sprintf(`WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT NULL, '%s' || i || hex(zeroblob(200)) FROM n;`, n, text)
	err = conn.Exec(`PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX tv ON t(v);` +
		rows + `PRAGMA wal_checkpoint(TRUNCATE);` + rows)
	for _, f := range []struct {
		suffix string
		to     *[]byte
	}{{"", &main}, {"-wal", &wal}, {"-shm", &shm}} {
		if err == nil {
			*f.to, err = os.ReadFile(path + f.suffix)
		}
	}
	return main, wal, shm, err
}

// sqliteCLI asks an independent reader.
func sqliteCLI(path, query string) (string, error) {
	out, err := exec.Command("sqlite3", path, query).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func run(t *testing.T, r *restore.Restorer, q restore.Request) *restore.Report {
	t.Helper()
	report, err := r.Run(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func component(t *testing.T, r *restore.Report, name string) restore.ComponentReport {
	t.Helper()
	for _, c := range r.Components {
		if c.Component == name {
			return c
		}
	}
	t.Errorf("no component %s in the report: %+v", name, r.Components)
	return restore.ComponentReport{}
}
