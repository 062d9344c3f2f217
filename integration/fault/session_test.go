package fault

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// session is a session on a host: a HOME with Zed's databases and conversations, a
// workspace with the repository, and what was acknowledged.
type session struct {
	root, homeDir string
	program       string // the built one, or a variant of it
	// repo is the directory of the repositories; the session's own is below it.
	repo string
	rnd  *rand.Rand
	n    int // of changes
	// acked holds, of each acknowledged checkpoint that nobody has begun to
	// delete, the sha256 of each file that was in the session when it was taken;
	// order holds them from the oldest.
	acked  map[string]map[string]string
	order  []string
	pinned map[string]bool
	total  int // of all that were ever acknowledged
	judge  *judge
}

func newSession(root string, stream uint64) (*session, error) {
	s := &session{
		root: root, program: program, homeDir: filepath.Join(root, "home"), repo: filepath.Join(root, "ws/.helix"), rnd: draw(stream),
		acked: map[string]map[string]string{}, pinned: map[string]bool{}, judge: newJudge(),
	}
	for _, dir := range []string{"home", "ws", "run"} {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// empty is a session on a host that has nothing yet.
func empty(t *testing.T) *session {
	t.Helper()
	s, err := newSession(temp(t), 0)
	must(t, err)
	return s
}

// template is the session that most cases begin with a copy of: it has more
// checkpoints than retention keeps, and packs of which little is needed by those
// that it keeps.
var template *session

// newTemplate makes a session with n checkpoints, one after each change.
func newTemplate(root string, n int) (*session, error) {
	s, err := newSession(root, 0)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(s.talk()), 0o700); err != nil {
		return nil, err
	}
	for name, seed := range map[string]string{"db/0-dev/db.sqlite": "db.sql", "threads/threads.db": "threads.sql"} {
		path := filepath.Join(s.zed(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if err := sqlite(path, ".read ../zedwriter/testdata/"+seed); err != nil {
			return nil, err
		}
	}
	if err := sqlite(s.db(), "PRAGMA journal_mode=WAL"); err != nil {
		return nil, err
	}
	for range n {
		if err := s.change(); err != nil {
			return nil, err
		}
		if _, err := s.checkpoint(); err != nil {
			return nil, err
		}
	}
	var f findings
	if s.examine(&f); !f.ok() {
		return nil, fmt.Errorf("before anything was broken: %v", f)
	}
	return s, nil
}

// copyTo copies the session, as it is now, to another root. It draws its own
// random numbers.
func (s *session) copyTo(root string, stream uint64) (*session, error) {
	c, err := newSession(root, stream)
	if err != nil {
		return nil, err
	}
	c.n, c.acked, c.order, c.pinned, c.judge = s.n, maps.Clone(s.acked), slices.Clone(s.order), maps.Clone(s.pinned), s.judge.clone()
	if out, err := exec.Command("cp", "-a", s.root+"/.", root).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cp: %w: %s", err, out)
	}
	return c, nil
}

// start is a copy of the template.
func start(t *testing.T, stream uint64) *session {
	t.Helper()
	s, err := template.copyTo(temp(t), stream)
	must(t, err)
	return s
}

// temp is a new directory with a short name: sockets are made in it.
func temp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // its path is short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) }) // goes with the tmpfs
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *session) dir() string { return filepath.Join(s.repo, "sessions", "default") }
func (s *session) zed() string { return filepath.Join(s.homeDir, ".local/share/zed") }
func (s *session) db() string  { return filepath.Join(s.zed(), "db/0-dev/db.sqlite") }

// path is that of a file of the host.
func (s *session) path(name string) string { return filepath.Join(s.root, name) }

// restored is the sha256 of a file that stands at its logical path; "" where it
// does not.
func (s *session) restored(logical string) string {
	b, err := os.ReadFile(strings.NewReplacer("$ZED_DATA", s.zed(), "$HOME", s.homeDir).Replace(logical))
	if err != nil {
		return ""
	}
	return sha(b)
}

// talk is the conversation that is written now. Each lives for 4 changes; then its
// bytes are needed by old checkpoints only.
func (s *session) talk() string {
	return filepath.Join(s.homeDir, fmt.Sprintf(".claude/projects/-app/7d1f0a52-0b9e-4a53-9c0e-%012d.jsonl", s.n/4))
}

func sqlite(path string, commands ...string) error {
	if out, err := exec.Command("sqlite3", append([]string{"-bail", path}, commands...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("sqlite3 %s: %w: %s", path, err, out)
	}
	return nil
}

// change changes the session, as Zed and an agent do: a row in threads.db, now and
// then one in db.sqlite that stays in its WAL, and lines of a conversation.
func (s *session) change() error {
	old := s.talk()
	s.n++
	if s.talk() != old {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(s.talk(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	noise := make([]byte, 30_000) // as much as a few tool results
	if s.n == 1 {
		noise = make([]byte, 600_000) // most of the first pack, and soon not needed
	}
	for i := range noise {
		noise[i] = byte(s.rnd.Uint32())
	}
	_, err = fmt.Fprintf(f, `{"type":"assistant","message":{"role":"assistant","content":"%x"}}`+"\n", noise)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if s.n%3 == 0 {
		stamp := fmt.Sprintf("UPDATE workspaces SET timestamp = '2026-01-01 00:%02d:%02d'", s.n/60%60, s.n%60)
		if err := sqlite(s.db(), ".dbconfig no_ckpt_on_close on", stamp); err != nil {
			return err
		}
	}
	return sqlite(filepath.Join(s.zed(), "threads/threads.db"), fmt.Sprintf("UPDATE threads SET summary = 'state %d'", s.n))
}

// changed changes the session and returns its files.
func (s *session) changed() (map[string]string, error) {
	if err := s.change(); err != nil {
		return nil, err
	}
	return s.files()
}

// files returns the sha256 of each file that a checkpoint taken now has to hold,
// by logical path. The WAL is applied by the sqlite3 command.
func (s *session) files() (map[string]string, error) {
	image := s.path("image")
	if err := errors.Join(copyFile(s.db(), image), copyFile(s.db()+"-wal", image+"-wal")); err != nil {
		return nil, err
	}
	if err := sqlite(image, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return nil, err
	}
	all := map[string]string{}
	for path, file := range map[string]string{
		"$ZED_DATA/db/0-dev/db.sqlite":                    image,
		"$ZED_DATA/threads/threads.db":                    filepath.Join(s.zed(), "threads/threads.db"),
		"$HOME" + strings.TrimPrefix(s.talk(), s.homeDir): s.talk(),
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all[path] = sha(b)
	}
	return all, nil
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// copyFile copies a file; one that is not there becomes an empty one.
func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// ack notes that a checkpoint of these files was acknowledged.
func (s *session) ack(id string, files map[string]string) {
	if s.acked[id] == nil {
		s.order = append(s.order, id)
		s.total++
	}
	s.acked[id] = files
}

// forget notes that checkpoints may be deleted from now on.
func (s *session) forget(ids ...string) {
	for _, id := range ids {
		delete(s.acked, id)
		delete(s.pinned, id)
	}
	s.order = slices.DeleteFunc(s.order, func(id string) bool { return slices.Contains(ids, id) })
}

// checkpoint takes one, which must succeed.
func (s *session) checkpoint() (string, error) {
	files, err := s.files()
	if err != nil {
		return "", err
	}
	r, err := s.run(nil, "checkpoint", "-o", "json", "-q")
	if err := done(r, err); err != nil {
		return "", err
	}
	id := r.acknowledged()
	s.ack(id, files)
	return id, nil
}

// examine judges the repository: everything that was acknowledged has to be there
// with its bytes, everything that is there has to be whole, and the program's own
// verify has to say so too. It returns what is there.
func (s *session) examine(f *findings) stored {
	there, bad := s.judge.read(s.dir())
	f.unreadable = append(f.unreadable, bad...)
	for id, files := range s.acked {
		got, ok := there[id]
		if !ok {
			f.lost = append(f.lost, id)
			continue
		}
		for path, sum := range files {
			if got[path] != sum {
				f.unreadable = append(f.unreadable, fmt.Errorf("checkpoint %s: %s is %.8s, was %.8s", id, path, got[path], sum))
			}
		}
	}
	for id := range s.pinned {
		if _, err := os.Lstat(filepath.Join(s.dir(), "pins", id)); err != nil {
			f.add(err)
		}
	}
	if err := s.do("verify", "--all", "-q"); err != nil {
		f.unreadable = append(f.unreadable, err)
	}
	return there
}

// goesOn takes one more checkpoint: whatever happened, the next one works, and is
// the latest.
func (s *session) goesOn(f *findings) {
	id, err := "", s.change()
	if err == nil {
		id, err = s.checkpoint()
	}
	if err != nil {
		f.add(fmt.Errorf("it does not go on: %w", err))
		return
	}
	s.listed(id, f)
}

// listed looks that id is the latest checkpoint.
func (s *session) listed(id string, f *findings) {
	r, err := s.run(nil, "list", "-o", "json", "-q") // 5 where another one is damaged
	var entries []struct{ ID string }
	if err == nil {
		err = json.Unmarshal([]byte(r.stdout), &entries)
	}
	if err == nil && (len(entries) == 0 || entries[0].ID != id) {
		err = fmt.Errorf("the latest is not %s: %s", id, r)
	}
	f.add(err)
}

// drops is what the program says that a prune would delete.
func (s *session) drops() ([]string, error) {
	r, err := s.run(nil, "prune", "--dry-run", "-o", "json", "-q")
	if err := done(r, err); err != nil {
		return nil, err
	}
	return r.deleted()
}

// take changes the session and takes a checkpoint of it, which may be killed.
func (s *session) take(e *fate, args ...string) (result, error) {
	files, err := s.changed()
	if err != nil {
		return result{}, err
	}
	r, err := s.run(e, append([]string{"checkpoint", "-o", "json", "-q"}, args...)...)
	if id := r.acknowledged(); id != "" {
		s.ack(id, files)
		if slices.Contains(args, "--pin") {
			s.pinned[id] = true
		}
	}
	return r, err
}
