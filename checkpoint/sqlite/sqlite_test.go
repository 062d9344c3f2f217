package sqlite_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint/sqlite"
	"github.com/ncruces/go-sqlite3"
	"go.uber.org/goleak"
)

// The properties here start a process or two per check; RAPID_CHECKS or
// -rapid.checks ask for more.
func TestMain(m *testing.M) {
	if os.Getenv("RAPID_CHECKS") == "" {
		if err := flag.Set("rapid.checks", "25"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// cli runs the sqlite3 command on a database, the independent reader here.
func cli(t *testing.T, path string, statements ...string) string {
	t.Helper()
	cmd := exec.Command("sqlite3", append([]string{"-bail", path}, statements...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3 %s %q: %v\n%s", path, statements, err, out)
	}
	return strings.TrimSpace(string(out))
}

// writer is a connection that stays open while images are taken.
func writer(t *testing.T, path string, statements ...string) *sqlite3.Conn {
	t.Helper()
	conn, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, s := range statements {
		if err := conn.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return conn
}

// patient waits for as long as a loaded machine may take.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func capture(t *testing.T, path string, o sqlite.Options) *sqlite.Image {
	t.Helper()
	img, err := sqlite.Capture(patient(t), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	return img
}

func contents(img *sqlite.Image) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
}

// store writes an image where the sqlite3 command can open it.
func store(t *testing.T, img *sqlite.Image) string {
	t.Helper()
	data, err := contents(img)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.sqlite")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sameDump judges an image by the sqlite3 command: sound, and equal to what
// the same command reads from the live database.
func sameDump(t *testing.T, img *sqlite.Image, live string) {
	t.Helper()
	stored := store(t, img)
	if got := cli(t, stored, "PRAGMA integrity_check"); got != "ok" {
		t.Errorf("integrity_check: %s", got)
	}
	if got, want := cli(t, stored, ".dump"), cli(t, live, ".dump"); got != want {
		t.Errorf("dump of the image (%d bytes) is not the live database's (%d bytes)", len(got), len(want))
	}
}

const fill = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)
	INSERT INTO t SELECT NULL, hex(randomblob(200)) FROM n`

// Every page size, so that every form of the header's field is met.
var pageSizes = []string{"512", "1024", "4096", "32768", "65536"}

func TestCaptureWALWithCommitsOnlyInTheWAL(t *testing.T) {
	t.Parallel()
	for _, size := range pageSizes {
		path := filepath.Join(t.TempDir(), "db")
		writer(t, path, "PRAGMA page_size="+size, "PRAGMA journal_mode=WAL", "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill,
			"PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_autocheckpoint=0", fill, "DELETE FROM t WHERE i%3=0")
		img := capture(t, path, sqlite.Options{})
		if img.Method != sqlite.WAL {
			t.Errorf("page size %s: method %s", size, img.Method)
		}
		sameDump(t, img, path)
		sameDump(t, capture(t, path, sqlite.Options{Memory: 1, SpoolDir: t.TempDir()}), path)
	}
}

func TestCaptureRollbackJournalDatabase(t *testing.T) {
	t.Parallel()
	for _, size := range pageSizes {
		path := filepath.Join(t.TempDir(), "db")
		writer(t, path, "PRAGMA page_size="+size, "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill)
		img := capture(t, path, sqlite.Options{})
		if img.Method != sqlite.Still {
			t.Errorf("page size %s: method %s", size, img.Method)
		}
		sameDump(t, img, path)
		sameDump(t, capture(t, path, sqlite.Options{Memory: 1, SpoolDir: t.TempDir()}), path)
	}
}

func TestCaptureErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	writer(t, big, "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill)
	for _, c := range []struct {
		name, path string
		o          sqlite.Options
		want       error
	}{
		{"absent", filepath.Join(dir, "none"), sqlite.Options{}, fs.ErrNotExist},
		{"directory", dir, sqlite.Options{}, sqlite.ErrNotDatabase},
		{"text", text, sqlite.Options{}, sqlite.ErrNotDatabase},
		{"too large", big, sqlite.Options{MaxBytes: 4096}, sqlite.ErrTooLarge},
		{"not accepted", big, sqlite.Options{Accept: func(context.Context, *sqlite.Image) error {
			return errors.New("no rows of the session")
		}}, sqlite.ErrNotAccepted},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := sqlite.Capture(ctx, c.path, c.o)
		cancel()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		} else {
			t.Log(err)
		}
	}
}

func TestImageAnswersSQL(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	writer(t, path, "PRAGMA journal_mode=WAL", "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill)
	img := capture(t, path, sqlite.Options{Accept: func(_ context.Context, img *sqlite.Image) error {
		conn, err := img.Open()
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // the test is over
		stmt, _, err := conn.Prepare("SELECT count(*) FROM t")
		if err != nil {
			return err
		}
		defer stmt.Close() //nolint:errcheck // its errors came from Step
		if stmt.Step(); stmt.ColumnInt(0) != 500 {
			t.Errorf("%d rows", stmt.ColumnInt(0))
		}
		if err := conn.Exec("DELETE FROM t"); err == nil {
			t.Error("an image was written")
		}
		return stmt.Err()
	}})
	if img.Attempts != 1 {
		t.Errorf("%d attempts", img.Attempts)
	}
}

func TestInUseAndFingerprint(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	conn := writer(t, path, "PRAGMA journal_mode=WAL", "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill)
	if used, err := sqlite.InUse(path); err != nil || !used {
		t.Errorf("idle WAL writer: in use %v, %v", used, err)
	}
	settled := func() sqlite.Fingerprint {
		for {
			a, errA := sqlite.Stat(path)
			b, errB := sqlite.Stat(path)
			if err := errors.Join(errA, errB); err != nil {
				t.Fatal(err)
			}
			if a == b {
				return a
			}
		}
	}
	before := settled()
	capture(t, path, sqlite.Options{})
	if before != settled() {
		t.Error("a capture changed the fingerprint")
	}
	if err := conn.Exec("UPDATE t SET v='x' WHERE i=1"); err != nil {
		t.Fatal(err)
	}
	if before == settled() {
		t.Error("an update left the fingerprint as it was")
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if used, err := sqlite.InUse(path); err != nil || used {
		t.Errorf("closed: in use %v, %v", used, err)
	}
}
