package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ncruces/go-sqlite3"

	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

// state is what everybody saves: all that lies below one home directory. How
// many files it has does not depend on its size.
//
//	.local/share/zed/db/0-dev/db.sqlite       49 %  Zed's own rows, and a table of text, two rows to a page
//	.local/share/zed/threads/threads.db       15 %  conversations as Zed keeps them, each in zstd
//	.claude/projects/-home-retro-work-app/    17 %  a few long conversations
//	.claude/projects/-home-retro-work-pNN/    19 %  many short ones
//
// Nobody writes while somebody saves: those that copy files need that.
type state struct {
	home  string
	r     *rand.Rand
	prose *prose
	rows  int      // of the table of text, ids from 1
	lines []string // the files that grow
}

const (
	longFiles     = 8
	shortPerDir   = 50
	zedData       = ".local/share/zed"
	projects      = ".claude/projects/-home-retro-work-"
	threadSize    = 60_000 // bytes of a conversation as Zed stores it, on average
	rowSize       = 1800   // bytes of a row of text, on average
	lineSize      = 1200   // bytes of text in a line of a conversation, on average
	rowsPerChange = 20
)

// newState makes a state of size bytes below home, with this many short
// conversations. The same seed makes the same one.
func newState(home string, size int64, short int, seed uint64) (*state, error) {
	r := rand.New(rand.NewPCG(seed, uint64(size)))
	s := &state{home: home, r: r, prose: newProse(r)}
	if err := errors.Join(s.makeWorkspace(size*49/100), s.makeThreads(size*15/100), s.makeConversations(size*17/100, size*19/100, short)); err != nil {
		return nil, fmt.Errorf("make the state of %d MB: %w", size/1e6, err)
	}
	return s, nil
}

func (s *state) database(kind zedwriter.Kind) string {
	return kind.Path(filepath.Join(s.home, zedData))
}

// within opens a database, which is made when it is not there, and runs f in
// one transaction. Afterwards the file is complete in itself.
func (s *state) within(kind zedwriter.Kind, f func(*sqlite3.Conn) error) (err error) {
	path := s.database(kind)
	_, statErr := os.Stat(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	c, err := sqlite3.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if statErr != nil {
		sql := kind.Seed()
		if kind == zedwriter.DB {
			sql = "PRAGMA journal_mode=WAL;" + sql + "CREATE TABLE bench(id INTEGER PRIMARY KEY, body TEXT NOT NULL);"
		}
		if err := c.Exec(sql); err != nil {
			return err
		}
	}
	if err := c.Exec("BEGIN"); err != nil {
		return err
	}
	if err := f(c); err != nil {
		return err
	}
	return c.Exec("COMMIT")
}

// prepared runs f with a statement.
func prepared(c *sqlite3.Conn, sql string, f func(*sqlite3.Stmt) error) error {
	stmt, _, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	return errors.Join(f(stmt), stmt.Close())
}

func (s *state) makeWorkspace(size int64) error {
	return s.within(zedwriter.DB, func(c *sqlite3.Conn) error {
		return prepared(c, `INSERT INTO bench VALUES (?1, ?2)`, func(stmt *sqlite3.Stmt) error {
			for left := size; left > 0; left -= rowSize * 4 / 3 { // with what pages leave free
				s.rows++
				err := errors.Join(stmt.BindInt64(1, int64(s.rows)), stmt.BindRawText(2, s.prose.text(s.about(rowSize))), stmt.Exec(), stmt.Reset())
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (s *state) makeThreads(size int64) error {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	const insert = `INSERT INTO threads(id, summary, updated_at, data_type, data, folder_paths, folder_paths_order, created_at)
		VALUES (?1, 'A conversation', ?2, 'zstd', ?3, '/home/retro/work/app', '0', ?2)`
	return s.within(zedwriter.Threads, func(c *sqlite3.Conn) error {
		return prepared(c, insert, func(stmt *sqlite3.Stmt) error {
			for left := size; left > 0; {
				plain := fmt.Appendf(nil, `{"title":"A conversation","version":"0.3.0","messages":[{"Agent":{"content":[{"Text":"%s"}]}}]}`,
					s.prose.jsonText(5*s.about(threadSize)))
				data := encoder.EncodeAll(plain, nil)
				left -= int64(len(data))
				err := errors.Join(stmt.BindText(1, uuid(s.r)), stmt.BindText(2, s.moment()), stmt.BindBlob(3, data), stmt.Exec(), stmt.Reset())
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (s *state) makeConversations(long, short int64, shortFiles int) error {
	for range longFiles {
		name := filepath.Join(s.home, projects+"app", uuid(s.r)+".jsonl")
		s.lines = append(s.lines, name)
		if err := s.appendLines(name, long/longFiles); err != nil {
			return err
		}
	}
	for i := range shortFiles {
		name := filepath.Join(s.home, fmt.Sprintf("%sp%02d", projects, i/shortPerDir), uuid(s.r)+".jsonl")
		if i == 0 {
			s.lines = append(s.lines, name)
		}
		if err := s.appendLines(name, int64(s.about(int(short)/shortFiles))); err != nil {
			return err
		}
	}
	return nil
}

// appendLines appends lines as Claude Code writes them to a conversation, about
// size bytes.
func (s *state) appendLines(name string, size int64) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	parent := uuid(s.r)
	for size > 0 {
		id := uuid(s.r)
		n, err := fmt.Fprintf(w, `{"parentUuid":"%s","isSidechain":false,"userType":"external","cwd":"/home/retro/work/app","version":"2.1.4","gitBranch":"main",`+
			`"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"%s"}]},"uuid":"%s","timestamp":"%s"}`+"\n",
			parent, s.prose.jsonText(s.about(min(lineSize, int(size)))), id, s.moment())
		if err != nil {
			return errors.Join(err, f.Close())
		}
		parent, size = id, size-int64(n)
	}
	return errors.Join(w.Flush(), f.Close())
}

// change is the small change: 20 rows all over db.sqlite, and a few lines more
// in three conversations.
func (s *state) change() error {
	err := s.within(zedwriter.DB, func(c *sqlite3.Conn) error {
		return prepared(c, `UPDATE bench SET body = ?2 WHERE id = ?1`, func(stmt *sqlite3.Stmt) error {
			for range rowsPerChange {
				id := 1 + s.r.Int64N(int64(s.rows))
				if err := errors.Join(stmt.BindInt64(1, id), stmt.BindRawText(2, s.prose.text(rowSize)), stmt.Exec(), stmt.Reset()); err != nil {
					return err
				}
			}
			return nil
		})
	})
	for _, name := range []string{s.lines[0], s.lines[1], s.lines[len(s.lines)-1]} {
		err = errors.Join(err, s.appendLines(name, 3*lineSize))
	}
	if err != nil {
		return fmt.Errorf("make the small change: %w", err)
	}
	return nil
}

// about is n, give or take a half.
func (s *state) about(n int) int { return n/2 + s.r.IntN(n+1) }

// moment is a time of the last weeks, as JSON has it.
func (s *state) moment() string {
	return time.Unix(1_784_700_000+s.r.Int64N(2_000_000), 0).UTC().Format(time.RFC3339)
}

func uuid(r *rand.Rand) string {
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffff_ffff_ffff)
}

// contents is how many bytes all files below dir have.
func contents(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
