package zed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/ioutil"
	"github.com/ncruces/go-sqlite3/vfs/readervfs"
	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// The databases in testdata were made by the migrations of Zed 1.9 itself and
// filled with rows of every kind.
const session = "6f2b6a2e-3c1f-4b53-9a3d-0d7a2f6f9a11"

func copyOf(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func open(t *testing.T, name string) *sqlite3.Conn {
	t.Helper()
	conn, err := sqlite3.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func exec1(t *testing.T, conn *sqlite3.Conn, sql string) {
	t.Helper()
	if err := conn.Exec(sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ask runs a query with the sqlite3 command, which shares no code with us.
func ask[T any](t *testing.T, db, sql string) []T {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sqlite3", "-json", db, sql).Output()
	if err != nil {
		t.Fatalf("sqlite3 (apt install sqlite3): %v", err)
	}
	var rows []T
	if len(out) > 0 {
		if err := json.Unmarshal(out, &rows); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

func roots() map[string]string {
	return map[string]string{"$HOME": "/home/retro", "$WORKSPACE": "/home/retro/work"}
}

func inspect(t *testing.T, conn *sqlite3.Conn) zed.WorkspaceFacts {
	t.Helper()
	f, err := zed.InspectWorkspace(conn, roots())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestInspectWorkspaceShowsWhatAPersonHasOpen(t *testing.T) {
	t.Parallel()
	f := inspect(t, open(t, copyOf(t, "db.sqlite")))
	want := []checkpoint.ZedWindow{
		{Roots: []string{"$WORKSPACE/myapp", "$WORKSPACE/design-docs"}, Tabs: []checkpoint.ZedTab{
			{Path: "$WORKSPACE/myapp/cmd/main.go"},
			{Path: "$WORKSPACE/myapp/internal/server.go", Active: true, Dirty: true},
			{Active: true, Dirty: true},
			{Path: "$WORKSPACE/design-docs/arch.png", Kind: "ImageView"},
			{Path: "$WORKSPACE/myapp", Active: true, Kind: "Terminal"},
			{Path: "$WORKSPACE/design-docs/README.md", Kind: "MarkdownPreviewView"},
			{Kind: "ProjectDiff"},
		}},
		{Roots: []string{"$WORKSPACE/infra"}, Tabs: []checkpoint.ZedTab{{Path: "$WORKSPACE/infra/main.tf", Active: true}}},
		{Tabs: []checkpoint.ZedTab{{Active: true, Dirty: true}}},
	}
	if !reflect.DeepEqual(f.Windows, want) {
		t.Errorf("windows\n%+v\nwant\n%+v", f.Windows, want)
	}
	if f.Pointer != session || !f.PointerRows || !f.HasWorkspaces || !f.HasItems || len(f.Orphans) != 0 {
		t.Errorf("facts %+v", f)
	}
	if err := new(zed.Acceptance).Accept(f, time.Now()); err != nil {
		t.Errorf("not accepted: %v", err)
	}
}

func TestInspectWorkspaceAgreesWithTheSqlite3Command(t *testing.T) {
	t.Parallel()
	db := copyOf(t, "db.sqlite")
	f := inspect(t, open(t, db))
	type count struct{ Domain, ID, Agent string }
	type row struct {
		count
		N, Dirty, Active int
	}
	totals := ask[row](t, db, `SELECT count(*) AS N, sum(e.contents IS NOT NULL) AS Dirty, sum(i.active) AS Active FROM items i
		JOIN workspaces w USING (workspace_id) LEFT JOIN editors e USING (item_id, workspace_id)
		WHERE w.session_id = (SELECT value FROM kv_store WHERE key = 'session_id')`)[0]
	var got row
	for _, w := range f.Windows {
		for _, tab := range w.Tabs {
			got.N++
			if tab.Dirty {
				got.Dirty++
			}
			if tab.Active {
				got.Active++
			}
		}
	}
	if got != totals {
		t.Errorf("tabs %+v, sqlite3 says %+v", got, totals)
	}

	domains := ask[row](t, db, `SELECT domain AS Domain, count(*) AS N FROM migrations GROUP BY 1`)
	if len(domains) != len(f.Migrations) {
		t.Errorf("%d domains, sqlite3 says %d", len(f.Migrations), len(domains))
	}
	for _, d := range domains {
		if f.Migrations[d.Domain].Steps != d.N {
			t.Errorf("domain %s has %d steps, sqlite3 says %d", d.Domain, f.Migrations[d.Domain].Steps, d.N)
		}
	}
	texts := ask[struct{ Migration string }](t, db, `SELECT migration AS Migration FROM migrations WHERE domain = 'WorkspaceDb' ORDER BY step`)
	var all strings.Builder
	for _, s := range texts {
		all.WriteString(s.Migration + "\x00")
	}
	if got, want := f.Migrations["WorkspaceDb"].SHA256, checkpoint.Sum([]byte(all.String())); got != want {
		t.Errorf("WorkspaceDb digest %s, want %s", got, want)
	}

	var refs []zed.ThreadRef
	for _, r := range ask[row](t, db, `SELECT session_id AS ID, coalesce(agent_id, '') AS Agent FROM sidebar_threads WHERE session_id IS NOT NULL`) {
		refs = append(refs, zed.ThreadRef{ID: r.ID, Agent: r.Agent})
	}
	if !slices.Equal(f.Threads, refs) {
		t.Errorf("threads %v, sqlite3 says %v", f.Threads, refs)
	}
}

func TestInspectThreadsAgreesWithTheSqlite3Command(t *testing.T) {
	t.Parallel()
	db := copyOf(t, "threads.db")
	got, err := zed.InspectThreads(open(t, db))
	if err != nil {
		t.Fatal(err)
	}
	want := ask[checkpoint.Thread](t, db, `SELECT id, summary AS title, updated_at AS updated, length(data) AS bytes FROM threads ORDER BY id`)
	for i := range want {
		want[i].Updated = want[i].Updated.UTC()
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("threads\n%+v\nsqlite3 says\n%+v", got, want)
	}
	f := inspect(t, open(t, copyOf(t, "db.sqlite")))
	if ids := f.Dangling(got); len(ids) != 0 {
		t.Errorf("dangling %q; the only thread without a row is another agent's", ids)
	}
	if ids := f.Dangling(nil); !slices.Equal(ids, []string{"0c5d1a52-0b53-4df0-8b2a-3f0f8f3b7a10"}) {
		t.Errorf("without threads, dangling are %q", ids)
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	const settled, unsettled = zed.SettleTime, zed.SettleTime - 1
	orphan := zed.Item{Workspace: 1, ID: 4294967797}
	other := zed.Item{Workspace: 2, ID: 4294967897}
	lose := func(i zed.Item) string { return fmt.Sprintf(`DELETE FROM editors WHERE item_id = %d`, i.ID) }
	type look struct {
		after  time.Duration
		change string
		want   *zed.UnsettledError
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"as Zed leaves it", []look{{0, ``, nil}}},
		{"Zed has just started: the pointer is ahead of the windows, for as long as it takes", []look{
			{0, `UPDATE kv_store SET value = 'new' WHERE key = 'session_id'`, &zed.UnsettledError{Pointer: "new"}},
			{time.Hour, ``, &zed.UnsettledError{Pointer: "new"}},
			{time.Second, `UPDATE workspaces SET session_id = 'new' WHERE workspace_id = 1`, nil},
		}},
		{"a first start: no windows at all", []look{{0, `PRAGMA foreign_keys = on; DELETE FROM workspaces`, nil}}},
		{"no pointer", []look{{0, `DELETE FROM kv_store WHERE key = 'session_id'`, nil}}},
		{"a tab before its text, and one that never gets any", []look{
			{0, lose(orphan), &zed.UnsettledError{Items: []zed.Item{orphan}}},
			{unsettled, ``, &zed.UnsettledError{Items: []zed.Item{orphan}}},
			{settled - unsettled, ``, nil},
			{time.Second, lose(other), &zed.UnsettledError{Items: []zed.Item{other}}},
			{settled, ``, nil},
		}},
		{"a tab that loses its text again", []look{
			{0, lose(orphan), &zed.UnsettledError{Items: []zed.Item{orphan}}},
			{settled, `INSERT INTO editors (item_id, workspace_id) VALUES (4294967797, 1)`, nil},
			{settled, lose(orphan), &zed.UnsettledError{Items: []zed.Item{orphan}}},
		}},
		{"a tab of another session", []look{{0, `INSERT INTO items VALUES (9, 4, 1, 'Editor', 0, 1, 0)`, nil}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := open(t, copyOf(t, "db.sqlite"))
			var a zed.Acceptance
			now := time.Now()
			for i, l := range c.looks {
				exec1(t, conn, l.change)
				now = now.Add(l.after)
				err := a.Accept(inspect(t, conn), now)
				var got *zed.UnsettledError
				errors.As(err, &got)
				if !reflect.DeepEqual(got, l.want) {
					t.Errorf("look %d: unsettled %+v (%v), want %+v", i, got, err, l.want)
				}
			}
		})
	}
}

func TestATableThatIsNotThereIsEmpty(t *testing.T) {
	t.Parallel()
	whole := inspect(t, open(t, copyOf(t, "db.sqlite")))
	for _, table := range []string{"kv_store", "items", "editors", "terminals", "image_viewers", "markdown_previews", "sidebar_threads", "migrations", "workspaces"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			conn := open(t, copyOf(t, "db.sqlite"))
			exec1(t, conn, "PRAGMA foreign_keys = off; DROP TABLE "+table)
			f := inspect(t, conn)
			if err := new(zed.Acceptance).Accept(f, time.Now()); err != nil {
				t.Errorf("not accepted: %v", err)
			}
			if table != "migrations" && len(f.Migrations) != len(whole.Migrations) {
				t.Errorf("%d migration domains, want %d", len(f.Migrations), len(whole.Migrations))
			}
		})
	}
}

func TestAColumnThatIsNotThereIsNull(t *testing.T) {
	t.Parallel()
	conn := open(t, copyOf(t, "db.sqlite"))
	exec1(t, conn, `ALTER TABLE editors DROP COLUMN contents; ALTER TABLE sidebar_threads DROP COLUMN agent_id; ALTER TABLE items DROP COLUMN position`)
	f := inspect(t, conn)
	if len(f.Windows) != 3 || len(f.Windows[0].Tabs) != 0 || len(f.Threads) != 2 {
		t.Errorf("facts %+v", f)
	}
}

func TestADatabaseOfSomebodyElse(t *testing.T) {
	t.Parallel()
	conn := open(t, filepath.Join(t.TempDir(), "x.sqlite"))
	if f, err := zed.InspectWorkspace(conn, nil); err != nil || f.HasItems {
		t.Errorf("an empty database: %+v, %v", f, err)
	}
	if threads, err := zed.InspectThreads(conn); err != nil || len(threads) != 0 {
		t.Errorf("an empty database: %v, %v", threads, err)
	}
	exec1(t, conn, `CREATE TABLE moz_places (id)`)
	if _, err := zed.InspectWorkspace(conn, nil); !errors.Is(err, zed.ErrNotZed) {
		t.Errorf("Firefox's: %v, want ErrNotZed", err)
	}
	if _, err := zed.InspectThreads(conn); !errors.Is(err, zed.ErrNotZed) {
		t.Errorf("Firefox's: %v, want ErrNotZed", err)
	}
}

// counted is a database whose reads are counted.
type counted struct {
	*os.File
	size int64
	read *atomic.Int64
}

func (c counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.File.ReadAt(p, off)
	c.read.Add(int64(n))
	return n, err
}

func (c counted) Size() (int64, error) { return c.size, nil }

// A conversation or an unsaved buffer of many megabytes costs nothing: the
// facts do not hold it.
func TestInspectionReadsNoPayloads(t *testing.T) {
	t.Parallel()
	const big = 8 << 20
	for _, c := range []struct {
		db, grow string
		inspect  func(*sqlite3.Conn) error
	}{
		{
			db:   "threads.db",
			grow: fmt.Sprintf(`UPDATE threads SET data = zeroblob(%d) WHERE id LIKE '0c5d%%'`, big),
			inspect: func(conn *sqlite3.Conn) error {
				threads, err := zed.InspectThreads(conn)
				if err == nil && (len(threads) != 2 || threads[0].Bytes != big) {
					err = fmt.Errorf("threads %+v", threads)
				}
				return err
			},
		},
		{
			db: "db.sqlite",
			grow: fmt.Sprintf(`UPDATE editors SET contents = CAST(zeroblob(%d) AS TEXT) WHERE contents IS NOT NULL;
				UPDATE terminals SET working_directory = zeroblob(%d) WHERE item_id = 4294967800`, big, big),
			inspect: func(conn *sqlite3.Conn) error {
				f, err := zed.InspectWorkspace(conn, nil)
				if err == nil && (len(f.Windows) != 3 || !f.Windows[0].Tabs[1].Dirty || f.Windows[0].Tabs[4].Path != "") {
					err = fmt.Errorf("windows %+v", f.Windows)
				}
				return err
			},
		},
	} {
		t.Run(c.db, func(t *testing.T) {
			t.Parallel()
			name := copyOf(t, c.db)
			conn := open(t, name)
			exec1(t, conn, "PRAGMA journal_mode = delete; "+c.grow)
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			info, err := file.Stat()
			if err != nil {
				t.Fatal(err)
			}
			read := new(atomic.Int64)
			readervfs.Create(name, counted{file, info.Size(), read})
			defer readervfs.Delete(name)
			if err := c.inspect(open(t, "file:"+name+"?vfs=reader")); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d of %d bytes read", read.Load(), info.Size())
			if read.Load() > 512<<10 {
				t.Errorf("read %d bytes of a database of %d; want only what the facts hold", read.Load(), info.Size())
			}
		})
	}
}

func TestHostileValuesStayBounded(t *testing.T) {
	t.Parallel()
	conn := open(t, copyOf(t, "db.sqlite"))
	exec1(t, conn, `PRAGMA ignore_check_constraints = on;
		UPDATE editors SET path = CAST('/home/retro/' || x'ff' || '/a' AS BLOB) WHERE item_id = 4294967797;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 10000)
			INSERT INTO items SELECT i, 1, 1, 'Terminal', i, 0, 0 FROM n;
		WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i+1 FROM n WHERE i < 1000)
			INSERT INTO workspaces (workspace_id, paths, session_id) SELECT i, '/p' || i, '`+session+`' FROM n`)
	f := inspect(t, conn)
	tabs := 0
	for _, w := range f.Windows {
		tabs += len(w.Tabs)
	}
	if len(f.Windows) != zed.MaxWindows || tabs > zed.MaxTabs {
		t.Errorf("%d windows and %d tabs", len(f.Windows), tabs)
	}
	if _, err := json.Marshal(f.Windows); err != nil {
		t.Error(err)
	}

	threads := open(t, copyOf(t, "threads.db"))
	exec1(t, threads, `UPDATE threads SET summary = replace(hex(zeroblob(2000)), '0', 'é'), updated_at = '9999-12-31T23:59:59-23:00' WHERE parent_id IS NULL;
		UPDATE threads SET updated_at = 'yesterday' WHERE parent_id IS NOT NULL;
		INSERT INTO threads VALUES ('x', CAST(zeroblob(1000000) AS TEXT), '2026-07-22T17:10:59Z', 'zstd', x'00', NULL, NULL, NULL, NULL)`)
	list, err := zed.InspectThreads(threads)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list[0].Title); n > 512 || !strings.HasSuffix(list[0].Title, "…") {
		t.Errorf("title of %d bytes", n)
	}
	if list[2].Title != "" {
		t.Errorf("a title of %d bytes was read", len(list[2].Title))
	}
	if b, err := json.Marshal(list); err != nil {
		t.Errorf("%s: %v", b, err)
	}
	if !list[0].Updated.Equal(time.Time{}) || !list[1].Updated.IsZero() {
		t.Errorf("times %v and %v, want none", list[0].Updated, list[1].Updated)
	}
}

// encodePathList writes a list as Zed does: sorted, and for each sorted path
// its place in the user's order.
func encodePathList(paths []string) (string, string) {
	at := make([]int, len(paths))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(a, b int) int { return strings.Compare(paths[a], paths[b]) })
	var sorted, order []string
	for _, i := range at {
		sorted = append(sorted, paths[i])
		order = append(order, fmt.Sprint(i))
	}
	return strings.Join(sorted, "\n"), strings.Join(order, ",")
}

func TestPathListIsInTheUsersOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfNDistinct(rapid.StringMatching(`/[a-c/ é]{1,6}`), 1, 6, rapid.ID[string]).Draw(t, "paths")
		if got := zed.PathList(encodePathList(want)); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func FuzzPathList(f *testing.F) {
	f.Add("/a\n/b", "1,0")
	f.Add("/a\n/b", "1,1")
	f.Add("", "0")
	f.Add("/a", "-1")
	f.Fuzz(func(t *testing.T, paths, order string) {
		got := slices.Sorted(slices.Values(zed.PathList(paths, order)))
		var want []string
		if paths != "" {
			want = slices.Sorted(slices.Values(strings.Split(paths, "\n")))
		}
		if !slices.Equal(got, want) {
			t.Errorf("PathList(%q, %q) lost or invented paths: %q", paths, order, got)
		}
	})
}

// A database that is damaged anywhere, as a session could leave it, gives facts
// or an error. Damage to the schema's text is where SQLite says most.
func TestDamagedDatabasesGiveFactsOrAnError(t *testing.T) {
	t.Parallel()
	var whole [][]byte
	for _, name := range []string{"db.sqlite", "threads.db"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, b)
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		b := slices.Clone(rapid.SampledFrom(whole).Draw(t, "database"))
		for range rapid.IntRange(1, 20).Draw(t, "flips") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		n++
		name := fmt.Sprintf("damaged-%d", n)
		readervfs.Create(name, ioutil.NewSizeReaderAt(bytes.NewReader(b)))
		defer readervfs.Delete(name)
		conn, err := sqlite3.Open("file:" + name + "?vfs=reader")
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // read only
		if facts, err := zed.InspectWorkspace(conn, roots()); err == nil {
			if _, err := json.Marshal(facts); err != nil {
				t.Error(err)
			}
		}
		if threads, err := zed.InspectThreads(conn); err == nil {
			if _, err := json.Marshal(threads); err != nil {
				t.Error(err)
			}
		}
	})
}
