package zedwriter

import (
	"crypto/sha3"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ncruces/go-sqlite3"
)

// The databases of Zed 1.9.0's own migrations with some rows in every table,
// as the sqlite3 command dumps them.
var (
	//go:embed testdata/db.sql
	seedDB string
	//go:embed testdata/threads.sql
	seedThreads string
)

// Seed is the SQL that makes an empty database into one of Zed's with some rows.
func (k Kind) Seed() string {
	if k == Threads {
		return seedThreads
	}
	return seedDB
}

const (
	pageRow      = 2000 // bytes of a row in ckpt_page: about two to a page
	pagesPerSave = 4    // rows of ckpt_page that a transaction rewrites, like tabs and docks all over the file
	seqRow       = 200  // bytes of a row in ckpt_seq
)

// app is db.sqlite.
type app struct {
	conn                     *sqlite3.Conn
	pages                    int64 // rows in ckpt_page, ids from 1
	insert, page, total, zed *sqlite3.Stmt
	random                   *rand.ChaCha8
}

const appTables = `
CREATE TABLE IF NOT EXISTS ckpt_seq(seq INTEGER PRIMARY KEY, body TEXT NOT NULL, sum BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS ckpt_page(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, body TEXT NOT NULL, sum BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS ckpt_total(seqs INTEGER NOT NULL);
INSERT INTO ckpt_total SELECT 0 WHERE NOT EXISTS (SELECT * FROM ckpt_total);`

func openApp(c Config) (a *app, err error) {
	conn, err := openDatabase(DB.Path(c.Data), seedDB,
		"PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA busy_timeout=500")
	if err != nil {
		return nil, err
	}
	a = &app{conn: conn, random: newRandom()}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeDatabase(conn))
		}
	}()
	if err := conn.Exec(appTables + "PRAGMA foreign_keys=ON"); err != nil {
		return nil, err
	}
	for to, sql := range map[**sqlite3.Stmt]string{
		&a.insert: `INSERT INTO ckpt_seq VALUES (?1, ?2, ?3)`,
		&a.total:  `UPDATE ckpt_total SET seqs = seqs + ?1 - coalesce((SELECT seq FROM ckpt_page WHERE id = ?2), 0)`,
		&a.page:   `INSERT OR REPLACE INTO ckpt_page VALUES (?1, ?2, ?3, ?4)`,
		&a.zed:    `UPDATE workspaces SET timestamp = ?1 WHERE workspace_id = 1`,
	} {
		if *to, _, err = conn.Prepare(sql); err != nil {
			return nil, err
		}
	}
	if a.pages, err = number(conn, "SELECT count(*) FROM ckpt_page"); err != nil {
		return nil, err
	}
	if err := within(conn, func() error {
		for a.pages*pageRow < c.DBSize {
			a.pages++
			if err := a.rewrite(a.pages, 0); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	// That was one huge transaction; Zed's WAL is of the usual size.
	return a, conn.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
}

// Close closes the connection.
func (a *app) Close() error { return closeDatabase(a.conn) }

func (a *app) last() (int64, error) {
	return number(a.conn, "SELECT coalesce(max(seq), 0) FROM ckpt_seq")
}

func (a *app) save(seq int64) error {
	return within(a.conn, func() error {
		body := randomHex(a.random, seqRow)
		if err := do(a.insert, seq, body, sum(seq, body)); err != nil {
			return err
		}
		for range pagesPerSave {
			if err := a.rewrite(1+int64(a.random.Uint64()%uint64(a.pages)), seq); err != nil {
				return err
			}
		}
		return do(a.zed, time.Now().UTC().Format(time.DateTime))
	})
}

// rewrite gives a row of ckpt_page new content of transaction seq.
func (a *app) rewrite(id, seq int64) error {
	if err := do(a.total, seq, id); err != nil {
		return err
	}
	body := randomHex(a.random, pageRow)
	return do(a.page, id, seq, body, sum(seq, body))
}

// threads is threads.db.
type threads struct {
	conn           *sqlite3.Conn
	count          int64 // conversations of ours, numbered from 1
	size           int   // bytes of each
	upsert, insert *sqlite3.Stmt
	random         *rand.ChaCha8
	encoder        *zstd.Encoder
}

const threadsTables = `
CREATE TABLE IF NOT EXISTS ckpt_seq(seq INTEGER PRIMARY KEY, thread TEXT NOT NULL, sum BLOB NOT NULL);`

func openThreads(c Config) (t *threads, err error) {
	conn, err := openDatabase(Threads.Path(c.Data), seedThreads, "PRAGMA busy_timeout=0")
	if err != nil {
		return nil, err
	}
	t = &threads{conn: conn, size: c.ThreadSize, random: newRandom()}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeDatabase(conn))
		}
	}()
	if err := conn.Exec(threadsTables); err != nil {
		return nil, err
	}
	if t.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)); err != nil {
		return nil, err
	}
	if t.upsert, _, err = conn.Prepare(`INSERT INTO threads(id, summary, updated_at, data_type, data, folder_paths, folder_paths_order, created_at)
		VALUES (?1, ?2, ?3, 'zstd', ?4, '/home/retro/work/myapp', '0', ?3)
		ON CONFLICT(id) DO UPDATE SET summary = ?2, updated_at = ?3, data = ?4`); err != nil {
		return nil, err
	}
	if t.insert, _, err = conn.Prepare(`INSERT INTO ckpt_seq VALUES (?1, ?2, ?3)`); err != nil {
		return nil, err
	}
	if t.count, err = number(conn, "SELECT count(DISTINCT thread) FROM ckpt_seq"); err != nil {
		return nil, err
	}
	seq, err := t.last()
	if err != nil {
		return nil, err
	}
	return t, within(conn, func() error {
		for t.count*int64(t.size) < c.ThreadsSize {
			t.count++
			seq++
			if err := t.rewrite(t.count, seq); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close closes the connection.
func (t *threads) Close() error { return closeDatabase(t.conn) }

func (t *threads) last() (int64, error) {
	return number(t.conn, "SELECT coalesce(max(seq), 0) FROM ckpt_seq")
}

func (t *threads) save(seq int64) error {
	return within(t.conn, func() error {
		return t.rewrite(1+int64(t.random.Uint64()%uint64(t.count)), seq)
	})
}

// rewrite saves a new state of conversation n, made by transaction seq.
func (t *threads) rewrite(n, seq int64) error {
	id := fmt.Sprintf("c0de0000-0000-4000-8000-%012d", n)
	data, err := t.conversation(seq)
	if err != nil {
		return err
	}
	digest := sha3.Sum256(data)
	now := time.Now().UTC().Format(time.RFC3339Nano)
	if err := do(t.upsert, id, fmt.Sprintf("Conversation %d", n), now, data); err != nil {
		return err
	}
	return do(t.insert, seq, id, digest[:])
}

// conversation is what Zed stores of one: JSON of version 0.3.0 in zstd, here of
// about the size wanted, and saying which transaction wrote it.
func (t *threads) conversation(seq int64) ([]byte, error) {
	noise := make([]byte, t.size*3/4) // as base64 it is of that size, and zstd leaves it so
	t.random.Read(noise)              //nolint:errcheck // a ChaCha8 never fails
	type m map[string]any
	text := m{"Text": base64.StdEncoding.EncodeToString(noise)}
	plain, err := json.Marshal(m{
		"title":      fmt.Sprintf("Transaction %d", seq),
		"messages":   []m{{"Agent": m{"content": []m{text}, "tool_results": m{}, "reasoning_details": nil}}},
		"updated_at": time.Now().UTC().Format(time.RFC3339Nano), "detailed_summary": nil,
		"initial_project_snapshot": nil, "cumulative_token_usage": m{}, "request_token_usage": m{},
		"model": m{"provider": "anthropic", "model": "claude-sonnet-4-6"}, "profile": "write", "imported": false,
		"subagent_context": nil, "version": "0.3.0",
	})
	if err != nil {
		return nil, err
	}
	return t.encoder.EncodeAll(plain, nil), nil
}

// sum is the checksum of a row: of its number and its text.
func sum(seq int64, body string) []byte {
	s := sha3.Sum256(fmt.Appendf(nil, "%d %s", seq, body))
	return s[:]
}

// newRandom needs no seed to be repeated: what is judged is the written data
// itself, and the moments that matter are the scheduler's.
func newRandom() *rand.ChaCha8 {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	return rand.NewChaCha8(seed)
}

func randomHex(r *rand.ChaCha8, size int) string {
	noise := make([]byte, size/2)
	r.Read(noise) //nolint:errcheck // a ChaCha8 never fails
	return hex.EncodeToString(noise)
}
