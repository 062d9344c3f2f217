package sqlite_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint/sqlite"
	"github.com/ncruces/go-sqlite3"
)

// A transaction whose journal is on disk and whose pages are half written is
// waited for: there is no image of it, and none without it either.
func TestARunningTransactionIsWaitedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	conn := writer(t, path, "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill, "PRAGMA cache_size=4", "BEGIN", "UPDATE t SET v='changed'", fill)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := sqlite.Capture(ctx, path, sqlite.Options{ReadTransaction: true}); !errors.Is(err, sqlite.ErrBusy) {
		t.Fatalf("error %v, want %v", err, sqlite.ErrBusy)
	}
	if err := conn.Exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	sameDump(t, capture(t, path, sqlite.Options{}), path)
}

func TestACancelledCaptureSaysSo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	writer(t, path, "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill, "BEGIN IMMEDIATE", "PRAGMA cache_size=4", "UPDATE t SET v='changed'", fill)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlite.Capture(ctx, path, sqlite.Options{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
}

func TestCaptureLeavesNothingBeside(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"WAL", "DELETE"} {
		path := filepath.Join(t.TempDir(), "db")
		writer(t, path, "PRAGMA journal_mode="+mode, "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill)
		before := list(t, filepath.Dir(path))
		capture(t, path, sqlite.Options{Accept: func(_ context.Context, img *sqlite.Image) error {
			conn, err := img.Open()
			if err != nil {
				return err
			}
			return errors.Join(conn.Exec("SELECT count(*) FROM t"), conn.Close())
		}})
		if after := list(t, filepath.Dir(path)); !slices.Equal(before, after) {
			t.Errorf("%s: files before %q, after %q", mode, before, after)
		}
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What is not accepted is dropped, and the next state is asked about.
func TestARefusedImageIsTakenAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	conn := writer(t, path, "PRAGMA journal_mode=WAL", "CREATE TABLE t(i INTEGER PRIMARY KEY, v)")
	var refused *sqlite.Image
	img := capture(t, path, sqlite.Options{Accept: func(_ context.Context, img *sqlite.Image) error {
		if refused != nil {
			return nil
		}
		refused = img
		return errors.Join(errors.New("the items are there, their editors not yet"), conn.Exec(fill))
	}})
	if img.Attempts != 2 {
		t.Errorf("%d attempts", img.Attempts)
	}
	sameDump(t, img, path)
	if _, err := refused.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a refused image can still be read, though its memory is the next one's")
	}
}

// resetWriter commits as fast as it can and moves every commit to the main
// file at once, so that its WAL is reset all the time. Each commit raises all
// rows' numbers by one, so a sound image has one number only.
type resetWriter struct {
	path string
	stop context.CancelFunc
	done sync.WaitGroup
	busy int
	err  error
}

func startResetWriter(t *testing.T) *resetWriter {
	t.Helper()
	w := &resetWriter{path: filepath.Join(t.TempDir(), "db")}
	conn := writer(t, w.path, "PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", "PRAGMA wal_autocheckpoint=1",
		"CREATE TABLE filler(b)", "INSERT INTO filler VALUES (zeroblob(40000000))", "CREATE TABLE t(i INTEGER PRIMARY KEY, n, pad)",
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100) INSERT INTO t SELECT i, 0, hex(randomblob(100)) FROM n`)
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	w.done.Go(func() {
		for ctx.Err() == nil && w.err == nil {
			if err := conn.Exec("UPDATE t SET n = n + 1"); errors.Is(err, sqlite3.BUSY) {
				w.busy++
			} else {
				w.err = err
			}
		}
	})
	t.Cleanup(func() { w.stop(); w.done.Wait() })
	return w
}

func (w *resetWriter) end(t *testing.T) {
	t.Helper()
	w.stop()
	w.done.Wait()
	if w.err != nil || w.busy > 0 {
		t.Errorf("the writer was disturbed: %d times busy, %v", w.busy, w.err)
	}
}

func TestReadTransactionHelpsWhereCopyingStarves(t *testing.T) {
	t.Parallel()
	w := startResetWriter(t)
	var img *sqlite.Image
	for img == nil || img.Method != sqlite.ReadTransaction { // an attempt without lock may have luck
		img = capture(t, w.path, sqlite.Options{ReadTransaction: true})
		if img.Method != sqlite.ReadTransaction {
			_ = img.Close()
		}
	}
	if got := cli(t, store(t, img), "PRAGMA integrity_check", "SELECT count(*), max(n) - min(n) FROM t"); got != "ok\n100|0" {
		t.Fatalf("%s after %d attempts: %s", img.Method, img.Attempts, got)
	}
	w.end(t)
	if conn := writer(t, w.path); conn.Exec("DELETE FROM t") != nil {
		t.Error("something of the read transaction is left")
	}
}
