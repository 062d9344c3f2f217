package zed

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Bounds of what is taken into facts from databases that others write. Zed
// itself stays far below; what exceeds them is left out of the facts.
const (
	// MaxWindows is how many windows are listed.
	MaxWindows = 256
	// MaxTabs is how many tabs are listed, of all windows together.
	MaxTabs = 4096
	// MaxThreads is how many threads are listed, and how many named.
	MaxThreads = 100_000
	// maxPath is the longest path shown, in bytes: PATH_MAX of Linux.
	maxPath = 4096
	// maxPaths is the longest list of root folders read, in bytes.
	maxPaths = 64 << 10
	// maxID is the longest id or name read, in bytes; Zed's are UUIDs.
	maxID = 256
	// maxTitle is the longest title shown, in bytes.
	maxTitle = 512
	// maxTitleRead is the longest title read to be shortened, in bytes.
	maxTitleRead = 64 << 10
	// maxMigrations is how many steps of migrations are read; Zed 1.9 has 80.
	maxMigrations = 10_000
	// maxMigration is the longest text of one step, in bytes; Zed's longest
	// has 3,400.
	maxMigration = 1 << 20
)

// ErrNotZed is returned for a sound database that is plainly not one of Zed's.
var ErrNotZed = errors.New("not a database of Zed")

// schema holds the columns of the tables of a database. Zed of another version
// has fewer or more: what is not there reads as NULL, and a table that is not
// there as empty.
type schema map[string]map[string]bool

func readSchema(conn *sqlite3.Conn, tables ...string) (schema, error) {
	s := schema{}
	for _, t := range tables {
		err := each(conn, `SELECT name FROM pragma_table_info(?)`, []string{t}, func(row *sqlite3.Stmt) error {
			if s[t] == nil {
				s[t] = map[string]bool{}
			}
			s[t][row.ColumnText(0)] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// has reports whether there is such a table with at least these columns.
func (s schema) has(table string, columns ...string) bool {
	for _, c := range columns {
		if !s[table][c] {
			return false
		}
	}
	return s[table] != nil
}

// col is an SQL expression for table.column as alias, when its value has at
// most limit bytes, else NULL. The length of a value is in its row's header, so
// that one which is too long is never read.
func (s schema) col(alias, table, column string, limit int) string {
	if !s[table][column] {
		return "NULL"
	}
	c := fmt.Sprintf("%s.%q", alias, column)
	return fmt.Sprintf("iif(octet_length(%s) <= %d, %s, NULL)", c, limit, c)
}

// notZed tells a database that is empty from one that belongs to somebody else.
func notZed(conn *sqlite3.Conn, want string) error {
	foreign := ""
	err := each(conn, `SELECT substr(name, 1, 64) FROM sqlite_schema WHERE type = 'table' LIMIT 1`, nil, func(row *sqlite3.Stmt) error {
		foreign = text(row, 0)
		return nil
	})
	if err != nil || foreign == "" {
		return err
	}
	return fmt.Errorf("%w: it has a table %q and none of %s", ErrNotZed, foreign, want)
}

// each runs sql with args bound as text and calls f for every row.
func each(conn *sqlite3.Conn, sql string, args []string, f func(row *sqlite3.Stmt) error) error {
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }() // repeats what Err said
	for i, arg := range args {
		if err := stmt.BindText(i+1, arg); err != nil {
			return err
		}
	}
	for stmt.Step() {
		if err := f(stmt); err != nil {
			return err
		}
	}
	return stmt.Err()
}

// text returns a column for people: valid UTF-8, as JSON demands.
func text(row *sqlite3.Stmt, col int) string {
	return strings.ToValidUTF8(string(row.ColumnRawBlob(col)), "\uFFFD")
}

// logical returns a path column below one of roots.
func logical(row *sqlite3.Stmt, col int, roots map[string]string) string {
	return checkpoint.Logical(roots, text(row, col))
}
