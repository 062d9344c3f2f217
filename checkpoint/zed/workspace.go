package zed

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// WorkspaceFacts is what a person and the acceptance rule (see Acceptance) want to
// know of db.sqlite.
type WorkspaceFacts struct {
	// Pointer is kv_store.session_id: the session that Zed restores at its next
	// start. "" in a database that has none.
	Pointer string
	// PointerRows says that the pointed-to session has windows.
	PointerRows bool
	// HasWorkspaces and HasItems say that any session has: a database without
	// items is what a Zed that lost its state writes.
	HasWorkspaces, HasItems bool
	// Windows are those of the pointed-to session, at most MaxWindows of them
	// and MaxTabs tabs, with paths made logical.
	Windows []checkpoint.ZedWindow
	// Orphans are editor tabs of that session without the row that holds their
	// path and text.
	Orphans []Item
	// Threads are the conversations that the sidebar shows.
	Threads []ThreadRef
	// Migrations holds, per domain, how far the schema is.
	Migrations map[string]checkpoint.Migration
}

// Item is the key of a tab.
type Item struct{ Workspace, ID int64 }

// ThreadRef names a conversation. Those without an Agent are Zed's own, rows
// of threads.db; the others are files of that agent, see conversations.
type ThreadRef struct{ ID, Agent string }

// InspectWorkspace reads the facts of a db.sqlite. Paths below one of roots are
// made logical. Its cost follows the number of windows, tabs and threads; the
// unsaved text of tabs is not read. It returns ErrNotZed for somebody else's
// database; an empty one has no facts.
func InspectWorkspace(conn *sqlite3.Conn, roots map[string]string) (WorkspaceFacts, error) {
	s, err := readSchema(conn, "kv_store", "workspaces", "items", "editors", "terminals", "image_viewers",
		"markdown_previews", "sidebar_threads", "migrations")
	if err != nil {
		return WorkspaceFacts{}, fmt.Errorf("inspect db.sqlite: %w", err)
	}
	if !s.has("workspaces") && !s.has("kv_store") && !s.has("migrations") {
		if err := notZed(conn, "workspaces, kv_store, migrations"); err != nil {
			return WorkspaceFacts{}, fmt.Errorf("inspect db.sqlite: %w", err)
		}
	}
	var f WorkspaceFacts
	for _, read := range []func(*sqlite3.Conn, schema, map[string]string, *WorkspaceFacts) error{
		readPointer, readWindows, readThreadRefs, readMigrations,
	} {
		if err := read(conn, s, roots, &f); err != nil {
			return WorkspaceFacts{}, fmt.Errorf("inspect db.sqlite: %w", err)
		}
	}
	return f, nil
}

func readPointer(conn *sqlite3.Conn, s schema, _ map[string]string, f *WorkspaceFacts) error {
	exists := func(table string, found *bool) error {
		if !s.has(table) {
			return nil
		}
		return each(conn, "SELECT 1 FROM "+table+" LIMIT 1", nil, func(*sqlite3.Stmt) error {
			*found = true
			return nil
		})
	}
	if err := exists("workspaces", &f.HasWorkspaces); err != nil {
		return err
	}
	if err := exists("items", &f.HasItems); err != nil {
		return err
	}
	if !s.has("kv_store", "key", "value") {
		return nil
	}
	return each(conn, "SELECT "+s.col("k", "kv_store", "value", maxID)+" FROM kv_store k WHERE k.key = 'session_id'", nil,
		func(row *sqlite3.Stmt) error {
			f.Pointer = text(row, 0)
			return nil
		})
}

// window is one row of workspaces. A window of Zed may hold several, of which
// each has its own folders and tabs and is listed as one.
type window struct {
	id   int64
	seen checkpoint.ZedWindow
	tabs []tab
}

// tab is a row of items with what it shows. pane and position order it.
type tab struct {
	pane, position int64
	seen           checkpoint.ZedTab
}

// readWindows lists the workspaces of the pointed-to session with their tabs.
func readWindows(conn *sqlite3.Conn, s schema, roots map[string]string, f *WorkspaceFacts) error {
	if f.Pointer == "" || !s.has("workspaces", "workspace_id", "session_id") {
		return nil
	}
	var windows []*window
	byID := map[int64]*window{}
	sql := "SELECT w.workspace_id, " + s.col("w", "workspaces", "paths", maxPaths) + ", " + s.col("w", "workspaces", "paths_order", maxPaths) +
		" FROM workspaces w WHERE w.session_id = ? LIMIT " + strconv.Itoa(MaxWindows)
	err := each(conn, sql, []string{f.Pointer}, func(row *sqlite3.Stmt) error {
		f.PointerRows = true
		w := &window{id: row.ColumnInt64(0)}
		for _, dir := range PathList(text(row, 1), text(row, 2)) {
			w.seen.Roots = append(w.seen.Roots, checkpoint.Logical(roots, dir))
		}
		windows = append(windows, w)
		byID[w.id] = w
		return nil
	})
	if err != nil {
		return err
	}
	if err := readTabs(conn, s, roots, f, byID); err != nil {
		return err
	}
	slices.SortFunc(windows, func(a, b *window) int { return cmp.Compare(a.id, b.id) })
	for _, w := range windows {
		slices.SortFunc(w.tabs, func(a, b tab) int {
			return cmp.Or(cmp.Compare(a.pane, b.pane), cmp.Compare(a.position, b.position))
		})
		for _, t := range w.tabs {
			w.seen.Tabs = append(w.seen.Tabs, t.seen)
		}
		f.Windows = append(f.Windows, w.seen)
	}
	return nil
}

// shows says where a kind of item keeps the path of what it shows.
type shows struct{ kind, table, column string }

func showings() []shows {
	return []shows{
		{kindEditor, "editors", "path"},
		{"Terminal", "terminals", "working_directory"},
		{"ImageView", "image_viewers", "image_path"},
		{"MarkdownPreviewView", "markdown_previews", "abs_path"},
	}
}

const kindEditor = "Editor"

// readTabs distributes the items of the pointed-to session among windows. It
// scans items once, which Zed keeps without an index but small, and joins the
// rest by primary key. The dirty text and what lies behind it in the row
// (buffer_path) are not read: that text can be large.
func readTabs(conn *sqlite3.Conn, s schema, roots map[string]string, f *WorkspaceFacts, windows map[int64]*window) error {
	if !s.has("items", "workspace_id", "item_id", "pane_id", "position", "active", "kind") {
		return nil
	}
	columns := "i.workspace_id, i.item_id, i.pane_id, i.position, i.active, " + s.col("i", "items", "kind", maxID)
	dirty, known := "0", "1"
	if s.has("editors", "item_id", "workspace_id") {
		known = "t0.item_id IS NOT NULL"
		if s.has("editors", "contents") {
			dirty = "typeof(t0.contents) <> 'null'"
		}
	}
	columns += ", " + dirty + ", " + known
	joins := ""
	for n, w := range showings() {
		if !s.has(w.table, "item_id", "workspace_id") {
			columns += ", NULL"
			continue
		}
		alias := "t" + strconv.Itoa(n)
		columns += ", " + s.col(alias, w.table, w.column, maxPath)
		joins += fmt.Sprintf(" LEFT JOIN %s %s ON i.kind = '%s' AND %s.item_id = i.item_id AND %s.workspace_id = i.workspace_id",
			w.table, alias, w.kind, alias, alias)
	}
	sql := "SELECT " + columns + " FROM items i CROSS JOIN workspaces w ON w.workspace_id = i.workspace_id" + joins +
		" WHERE w.session_id = ? LIMIT " + strconv.Itoa(MaxTabs)
	return each(conn, sql, []string{f.Pointer}, func(row *sqlite3.Stmt) error {
		item := Item{Workspace: row.ColumnInt64(0), ID: row.ColumnInt64(1)}
		kind := text(row, 5)
		t := tab{pane: row.ColumnInt64(2), position: row.ColumnInt64(3)}
		t.seen.Active = row.ColumnBool(4)
		if kind == kindEditor {
			t.seen.Dirty = row.ColumnBool(6)
			if !row.ColumnBool(7) {
				f.Orphans = append(f.Orphans, item)
			}
		} else {
			t.seen.Kind = kind
		}
		for n, w := range showings() {
			if w.kind == kind {
				t.seen.Path = logical(row, 8+n, roots)
			}
		}
		if w := windows[item.Workspace]; w != nil {
			w.tabs = append(w.tabs, t)
		}
		return nil
	})
}

func readThreadRefs(conn *sqlite3.Conn, s schema, _ map[string]string, f *WorkspaceFacts) error {
	if !s.has("sidebar_threads", "session_id") {
		return nil
	}
	// A row without session_id is a draft: it has no conversation yet.
	sql := "SELECT " + s.col("t", "sidebar_threads", "session_id", maxID) + ", " + s.col("t", "sidebar_threads", "agent_id", maxID) +
		" FROM sidebar_threads t WHERE t.session_id IS NOT NULL LIMIT " + strconv.Itoa(MaxThreads)
	return each(conn, sql, nil, func(row *sqlite3.Stmt) error {
		if id := text(row, 0); id != "" {
			f.Threads = append(f.Threads, ThreadRef{ID: id, Agent: text(row, 1)})
		}
		return nil
	})
}

// readMigrations digests the steps of each domain: the sha256 of their texts in
// order, each followed by a NUL. Zed compares them step by step, so that a
// reader with the texts at hand can also compare the first n steps.
func readMigrations(conn *sqlite3.Conn, s schema, _ map[string]string, f *WorkspaceFacts) error {
	if !s.has("migrations", "domain", "step", "migration") {
		return nil
	}
	domain, steps, sum := "", 0, sha256.New()
	flush := func() {
		if steps > 0 {
			if f.Migrations == nil {
				f.Migrations = map[string]checkpoint.Migration{}
			}
			f.Migrations[domain] = checkpoint.Migration{Steps: steps, SHA256: checkpoint.Hash(sum.Sum(nil))}
		}
		steps = 0
		sum.Reset()
	}
	sql := "SELECT " + s.col("m", "migrations", "domain", maxID) + ", " + s.col("m", "migrations", "migration", maxMigration) +
		" FROM migrations m ORDER BY m.domain, m.step LIMIT " + strconv.Itoa(maxMigrations)
	err := each(conn, sql, nil, func(row *sqlite3.Stmt) error {
		if d := text(row, 0); d != domain {
			flush()
			domain = d
		}
		sum.Write(row.ColumnRawBlob(1))
		sum.Write([]byte{0})
		steps++
		return nil
	})
	flush()
	return err
}

// PathList returns the paths of a list of Zed's in the user's order. Zed stores
// them sorted and separated by newlines, and beside them a list such as "1,0"
// which says for each at which place the user has it. An order that does not
// fit leaves them sorted.
func PathList(paths, order string) []string {
	if paths == "" {
		return nil
	}
	sorted := strings.Split(paths, "\n")
	places := strings.Split(order, ",")
	if len(places) != len(sorted) {
		return sorted
	}
	ordered, taken := make([]string, len(sorted)), make([]bool, len(sorted))
	for i, p := range places {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 || n >= len(sorted) || taken[n] {
			return sorted
		}
		ordered[n], taken[n] = sorted[i], true
	}
	return ordered
}
