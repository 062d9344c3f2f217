package zed

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ncruces/go-sqlite3"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// InspectThreads lists the conversations in a threads.db by id, at most
// MaxThreads. It reads no payload, not even the columns behind it in the row: a
// conversation may have hundreds of megabytes, and SQLite would walk them all.
// It returns ErrNotZed for somebody else's database; an empty one has none.
func InspectThreads(conn *sqlite3.Conn) ([]checkpoint.Thread, error) {
	s, err := readSchema(conn, "threads")
	if err == nil && !s.has("threads") {
		err = notZed(conn, "threads")
	}
	if err != nil {
		return nil, fmt.Errorf("inspect threads.db: %w", err)
	}
	if !s.has("threads") {
		return nil, nil
	}
	size := "0"
	if s.has("threads", "data") {
		size = "octet_length(t.data)"
	}
	sql := "SELECT " + s.col("t", "threads", "id", maxID) + ", " + s.col("t", "threads", "summary", maxTitleRead) + ", " +
		s.col("t", "threads", "updated_at", maxID) + ", " + size + " FROM threads t LIMIT " + strconv.Itoa(MaxThreads)
	var threads []checkpoint.Thread
	err = each(conn, sql, nil, func(row *sqlite3.Stmt) error {
		if id := text(row, 0); id != "" {
			threads = append(threads, checkpoint.Thread{ID: id, Title: title(text(row, 1)), Updated: instant(text(row, 2)), Bytes: row.ColumnInt64(3)})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("inspect threads.db: %w", err)
	}
	slices.SortFunc(threads, func(a, b checkpoint.Thread) int { return cmp.Compare(a.ID, b.ID) })
	return threads, nil
}

// Dangling returns the ids of Zed's own conversations that db.sqlite names and
// threads does not hold, sorted. Those of external agents are files of theirs.
func (f WorkspaceFacts) Dangling(threads []checkpoint.Thread) []string {
	held := make(map[string]bool, len(threads))
	for _, t := range threads {
		held[t.ID] = true
	}
	var ids []string
	for _, ref := range f.Threads {
		if ref.Agent == "" && !held[ref.ID] {
			ids = append(ids, ref.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// title shortens s to maxTitle bytes at a rune.
func title(s string) string {
	s = strings.TrimSpace(s)
	if len(s) <= maxTitle {
		return s
	}
	s = s[:maxTitle-len("…")]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// instant reads a time as Zed writes it. What is none, or not in the years
// that JSON can hold, is the zero time.
func instant(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
