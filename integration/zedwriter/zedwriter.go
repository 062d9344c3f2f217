// Package zedwriter writes two databases as Zed does while agents work, so
// that what captures them can be judged: by what must be in a copy, and by
// the saves that were lost.
//
//	<data>/db/0-dev/db.sqlite   WAL, synchronous=NORMAL, foreign keys, waits 500 ms for a lock
//	<data>/threads/threads.db   rollback journal, waits for no lock: a save that meets one is lost
//
// Both begin as databases of Zed's own migrations (testdata) and get tables
// of ours beside Zed's. Every transaction has a sequence number, and everything
// written carries a checksum that the sqlite3 command can compute (sha3):
//
//	db.sqlite   ckpt_seq    a row per transaction
//	            ckpt_page   rows spread over the whole file; each transaction rewrites some,
//	                        with its number
//	            ckpt_total  the sum of the numbers in ckpt_page: a page left behind changes it,
//	                        where integrity_check says ok
//	threads.db  threads     Zed's table; each transaction rewrites one conversation
//	            ckpt_seq    a row per transaction: the conversation and its checksum
//
// The writer is a process of its own (cmd), because it has to be killed, and because
// a lock means something between processes. Each commit goes to a log after it returned
// (Log), so Judge can say that all that was committed before a moment is in
// a copy, without a gap.
//
// It uses the same SQLite as the product, compiled from C to Go; neither Python
// nor a C compiler has to be there. Its locks are seen by, and see, those of any
// other. One difference: where C's SQLite gives up at once, it waits up to 1 ms
// for readers to leave, so a lock shorter than that would go unnoticed here.
package zedwriter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
	"golang.org/x/sync/errgroup"
)

// Kind is one of the two databases.
type Kind string

// The two databases that Zed keeps.
const (
	DB      Kind = "db"
	Threads Kind = "threads"
)

// Kinds are both, in the order in which they are captured.
var Kinds = [...]Kind{DB, Threads}

// Path is where Zed (channel dev) keeps the database below its data directory.
func (k Kind) Path(data string) string {
	if k == Threads {
		return filepath.Join(data, "threads", "threads.db")
	}
	return filepath.Join(data, "db", "0-dev", "db.sqlite")
}

// Config says what is written how fast. The zero value of a field means the
// default given there.
type Config struct {
	Data string // Zed's data directory; what is there is continued

	DBSize      int64 // bytes that db.sqlite has at least: 30 MB
	ThreadsSize int64 // bytes that threads.db has at least: 30 MB
	ThreadSize  int   // bytes of one conversation: 300 KB

	DBEvery      time.Duration // a transaction on db.sqlite: 20 ms
	ThreadsEvery time.Duration // a save of a conversation: 50 ms

	// Burst and Rest: write for Burst, then not for Rest, and so on. Rest 0:
	// write all the time.
	Burst, Rest time.Duration

	Idle bool // hold both databases open and write nothing
}

func (c Config) withDefaults() Config {
	const mb = 1 << 20
	set := func(to *int64, value int64) {
		if *to == 0 {
			*to = value
		}
	}
	set(&c.DBSize, 30*mb)
	set(&c.ThreadsSize, 30*mb)
	if c.ThreadSize == 0 {
		c.ThreadSize = 300_000
	}
	set((*int64)(&c.DBEvery), int64(20*time.Millisecond))
	set((*int64)(&c.ThreadsEvery), int64(50*time.Millisecond))
	return c
}

// Summary is what a writer did.
type Summary struct {
	DB      Saves `json:"db"`
	Threads Saves `json:"threads"`
}

// Saves counts the transactions on one database.
type Saves struct {
	Commits int     `json:"commits"`
	Failed  int     `json:"failed"` // met a lock and were dropped
	Last    int64   `json:"last"`   // sequence number in the database
	P50     float64 `json:"p50_ms"` // of a commit, from BEGIN
	P99     float64 `json:"p99_ms"`
}

// Failed is the number of saves lost in both databases.
func (s Summary) Failed() int { return s.DB.Failed + s.Threads.Failed }

func (s Summary) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// store is a database with its connection open.
type store interface {
	// save commits transaction seq.
	save(seq int64) error
	// last is the newest sequence number that is committed.
	last() (int64, error)
	Close() error
}

// Run writes until ctx is done. It calls ready when both databases have their
// size and are open, and logs every commit after that.
func Run(ctx context.Context, c Config, log io.Writer, ready func()) (summary Summary, err error) {
	c = c.withDefaults()
	app, err := openApp(c)
	if err != nil {
		return summary, fmt.Errorf("set up db.sqlite: %w", err)
	}
	defer func() { err = errors.Join(err, app.Close()) }()
	threads, err := openThreads(c)
	if err != nil {
		return summary, fmt.Errorf("set up threads.db: %w", err)
	}
	defer func() { err = errors.Join(err, threads.Close()) }()
	ready()

	out := &lockedWriter{w: log}
	var g errgroup.Group
	g.Go(func() (err error) {
		summary.DB, err = writeEvery(ctx, c, DB, app, c.DBEvery, out)
		return err
	})
	g.Go(func() (err error) {
		summary.Threads, err = writeEvery(ctx, c, Threads, threads, c.ThreadsEvery, out)
		return err
	})
	return summary, g.Wait()
}

// writeEvery saves in the rhythm that c asks for.
func writeEvery(ctx context.Context, c Config, kind Kind, s store, every time.Duration, log io.Writer) (Saves, error) {
	var saves Saves
	var took []time.Duration
	var err error
	if saves.Last, err = s.last(); err != nil {
		return saves, err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case <-ctx.Done():
			saves.P50, saves.P99 = percentile(took, 50), percentile(took, 99)
			return saves, nil
		case <-tick.C:
		}
		if c.Idle || c.Rest > 0 && time.Since(start)%(c.Burst+c.Rest) >= c.Burst {
			continue
		}
		entry := Entry{Kind: kind, Seq: saves.Last + 1, Began: time.Now()}
		switch err := s.save(entry.Seq); {
		case errors.Is(err, sqlite3.BUSY):
			entry.Failed = true
			saves.Failed++
		case err != nil:
			return saves, fmt.Errorf("save %s %d: %w", kind, entry.Seq, err)
		default:
			saves.Commits++
			saves.Last = entry.Seq
			took = append(took, time.Since(entry.Began))
		}
		entry.Ended = time.Now()
		if _, err := log.Write(entry.line()); err != nil {
			return saves, fmt.Errorf("log: %w", err)
		}
	}
}

func percentile(d []time.Duration, p int) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[(len(d)-1)*p/100].Microseconds()) / 1000
}

// lockedWriter keeps the lines of the two writers whole.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// openDatabase opens the database at path; one that is not there yet begins as seed.
func openDatabase(path, seed string, pragmas ...string) (conn *sqlite3.Conn, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	_, statErr := os.Stat(path)
	conn, err = sqlite3.Open(path)
	if err != nil {
		return nil, err
	}
	if statErr != nil {
		pragmas = append(pragmas, seed)
	}
	for _, sql := range pragmas {
		if err := conn.Exec(sql); err != nil {
			return nil, errors.Join(fmt.Errorf("%.40s: %w", sql, err), conn.Close())
		}
	}
	return conn, nil
}

func closeDatabase(conn *sqlite3.Conn) error {
	var err error
	for _, stmt := range slices.Collect(conn.Stmts()) {
		err = errors.Join(err, stmt.Close())
	}
	return errors.Join(err, conn.Close())
}

// number is the result of a query for one integer.
func number(conn *sqlite3.Conn, sql string) (int64, error) {
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		return 0, err
	}
	defer stmt.Close() //nolint:errcheck // its errors came from Step
	stmt.Step()
	return stmt.ColumnInt64(0), stmt.Err()
}

// within runs f in a transaction that takes the write lock at once, as a save
// does.
func within(conn *sqlite3.Conn, f func() error) error {
	if err := conn.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		err = conn.Exec("COMMIT")
	}
	if err != nil && !conn.GetAutocommit() {
		return errors.Join(err, conn.Exec("ROLLBACK"))
	}
	return err
}

// do runs a prepared statement with these arguments.
func do(stmt *sqlite3.Stmt, args ...any) error {
	for i, arg := range args {
		var err error
		switch v := arg.(type) {
		case int64:
			err = stmt.BindInt64(i+1, v)
		case string:
			err = stmt.BindText(i+1, v)
		case []byte:
			err = stmt.BindBlob(i+1, v)
		default:
			err = fmt.Errorf("cannot bind a %T", arg)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(stmt.Exec(), stmt.Reset())
}
