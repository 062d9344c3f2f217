package sqlite_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint/sqlite"
	"pgregory.net/rapid"
)

// files are a database and its side file, as bytes.
type files struct{ main, side []byte }

func read(t *testing.T, path, suffix string) files {
	t.Helper()
	main, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	side, err := os.ReadFile(path + suffix)
	if err != nil {
		t.Fatal(err)
	}
	return files{main, side}
}

// write puts the files into a directory of their own, old enough to prove
// stillness without waiting, and returns the database's path.
func (f files) write(t *testing.T, suffix string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	old := time.Now().Add(-time.Hour).Add(time.Millisecond / 2)
	for name, data := range map[string][]byte{path: f.main, path + suffix: f.side} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// captured returns the bytes of an image.
func captured(t *testing.T, path string, o sqlite.Options) ([]byte, error) {
	t.Helper()
	img, err := sqlite.Capture(patient(t), path, o)
	if err != nil {
		return nil, err
	}
	defer img.Close() //nolint:errcheck // nothing is kept
	return contents(img)
}

// sameRecovery compares our image of the files with what SQLite itself makes
// of them when it recovers, byte by byte. That may be no database any more: a
// journal's checksum covers every 200th byte only.
func sameRecovery(t *testing.T, f files, suffix string) error {
	t.Helper()
	const most = 64 << 20
	got, err := captured(t, f.write(t, suffix), sqlite.Options{MaxBytes: most})
	spooled, spoolErr := captured(t, f.write(t, suffix), sqlite.Options{MaxBytes: most, Memory: 1, SpoolDir: t.TempDir()})
	if (err == nil) != (spoolErr == nil) || !bytes.Equal(got, spooled) {
		return fmt.Errorf("in a spool: %d bytes, %w; in memory: %d bytes, %w", len(spooled), spoolErr, len(got), err)
	}
	switch {
	case errors.Is(err, sqlite.ErrTooLarge):
		return nil // a size that was hit; SQLite would fill the disk with zeros
	case err != nil && !errors.Is(err, sqlite.ErrNotDatabase):
		return err
	}
	recovered := f.write(t, suffix)
	// The last connection to close moves the WAL; its opinion comes after that.
	opinion, cliErr := exec.Command("sqlite3", recovered, "SELECT count(*) FROM sqlite_schema").CombinedOutput()
	want, readErr := os.ReadFile(recovered)
	switch {
	case readErr != nil:
		return readErr
	case err != nil && cliErr == nil:
		return fmt.Errorf("%w, but sqlite3 says %s", err, opinion)
	case err == nil && !bytes.Equal(got, want):
		return fmt.Errorf("image of %d bytes is not what sqlite3 recovers, %d bytes", len(got), len(want))
	}
	return nil
}

// spoil is one way in which a side file may have been cut off or damaged.
func spoil(t *rapid.T, side []byte) []byte {
	side = bytes.Clone(side)
	at := rapid.OneOf(rapid.IntRange(0, len(side)-1), rapid.IntRange(0, 40)).Draw(t, "at") // often in the header
	switch rapid.SampledFrom([]string{"whole", "cut", "flip", "zero", "extend"}).Draw(t, "damage") {
	case "cut":
		side = side[:at]
	case "flip":
		side[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
	case "zero":
		clear(side[at:min(at+rapid.IntRange(1, 5000).Draw(t, "length"), len(side))])
	case "extend":
		side = append(side, side[at:]...)
	}
	return side
}

// bigWAL makes a WAL with some transactions, the last of them larger than the
// cache and not committed.
func bigWAL(t *testing.T, pageSize string) files {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	writer(t, path, "PRAGMA page_size="+pageSize, "PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=0",
		"CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill, "PRAGMA wal_checkpoint(TRUNCATE)",
		fill, "DELETE FROM t WHERE i>300", "VACUUM", "PRAGMA cache_size=4", "BEGIN", fill, fill)
	return read(t, path, "-wal")
}

func TestWALIsReadAsSQLiteRecoversIt(t *testing.T) {
	t.Parallel()
	for _, pageSize := range pageSizes {
		t.Run(pageSize, func(t *testing.T) {
			t.Parallel()
			f := bigWAL(t, pageSize)
			for _, side := range [][]byte{f.side, swapChecksums(f.side)} {
				if err := sameRecovery(t, files{f.main, side}, "-wal"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestDamagedWALIsReadAsSQLiteRecoversIt(t *testing.T) {
	t.Parallel()
	f := bigWAL(t, "1024")
	swapped := swapChecksums(f.side)
	rapid.Check(t, func(rt *rapid.T) {
		side := f.side
		if rapid.Bool().Draw(rt, "swapped") {
			side = swapped
		}
		if err := sameRecovery(t, files{f.main, spoil(rt, side)}, "-wal"); err != nil {
			rt.Fatal(err)
		}
	})
}

// swapChecksums makes a WAL of a machine of the other byte order out of one of
// this: the same frames, checksums over words of the other order.
func swapChecksums(wal []byte) []byte {
	wal = bytes.Clone(wal)
	magic := binary.BigEndian.Uint32(wal) ^ 1
	binary.BigEndian.PutUint32(wal, magic)
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	var a, b uint32
	sum := func(data []byte) {
		for i := 0; i < len(data); i += 8 {
			a += order.Uint32(data[i:]) + b
			b += order.Uint32(data[i+4:]) + a
		}
	}
	sum(wal[:24])
	binary.BigEndian.PutUint32(wal[24:], a)
	binary.BigEndian.PutUint32(wal[28:], b)
	size := 24 + int(binary.BigEndian.Uint32(wal[8:]))
	for frame := wal[32:]; len(frame) >= size; frame = frame[size:] {
		sum(frame[:8])
		sum(frame[24:size])
		binary.BigEndian.PutUint32(frame[16:], a)
		binary.BigEndian.PutUint32(frame[20:], b)
	}
	return wal
}

// hotJournal makes a database in whose main file half a transaction was
// written, with the journal that undoes it: what is on disk when the writer
// is killed there.
func hotJournal(t *testing.T, pageSize string, statements ...string) files {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	writer(t, path, append([]string{
		"PRAGMA page_size=" + pageSize, "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill,
		"PRAGMA cache_size=4", "BEGIN", "UPDATE t SET v='changed'||i", fill, fill,
	}, statements...)...)
	return read(t, path, "-journal")
}

func TestHotJournalIsRolledBackAsSQLiteDoes(t *testing.T) {
	t.Parallel()
	for _, pageSize := range pageSizes {
		t.Run(pageSize, func(t *testing.T) {
			t.Parallel()
			f := hotJournal(t, pageSize)
			path := f.write(t, "-journal")
			img := capture(t, path, sqlite.Options{})
			if img.Method != sqlite.HotJournal {
				t.Errorf("method %s", img.Method)
			}
			if got := cli(t, store(t, img), "SELECT count(*), sum(v LIKE 'changed%') FROM t"); got != "500|0" {
				t.Errorf("rows and changed rows: %s", got)
			}
			if err := sameRecovery(t, f, "-journal"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDamagedJournalIsRolledBackAsSQLiteDoes(t *testing.T) {
	t.Parallel()
	f := hotJournal(t, "1024")
	rapid.Check(t, func(rt *rapid.T) {
		if err := sameRecovery(t, files{f.main, spoil(rt, f.side)}, "-journal"); err != nil {
			rt.Fatal(err)
		}
	})
}

// A transaction over several databases has committed when its super-journal is
// gone, whatever the journals of each still say.
func TestSuperJournalDecides(t *testing.T) {
	t.Parallel()
	f := hotJournal(t, "1024")
	super := filepath.Join(t.TempDir(), "super-ü")
	var sum uint32
	for _, b := range []byte(super) {
		sum += uint32(int8(b))
	}
	f.side = binary.BigEndian.AppendUint32(f.side, 0x40000000/1024+1)
	f.side = append(f.side, super...)
	f.side = binary.BigEndian.AppendUint32(f.side, uint32(len(super)))
	f.side = binary.BigEndian.AppendUint32(f.side, sum)
	f.side = append(f.side, f.side[:8]...)

	size := func() int64 { return capture(t, f.write(t, "-journal"), sqlite.Options{}).Size() }
	if got := size(); got != int64(len(f.main)) {
		t.Errorf("super-journal gone: image of %d bytes, want the main file's %d", got, len(f.main))
	}
	if err := os.WriteFile(super, []byte("db\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := size(); got >= int64(len(f.main)) {
		t.Errorf("super-journal there: image of %d bytes was not rolled back", got)
	}
}

// A commit in these modes leaves the journal behind, emptied or zeroed.
func TestJournalsLeftBehindAreNotRolledBack(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"PERSIST", "TRUNCATE", "MEMORY"} {
		path := filepath.Join(t.TempDir(), "db")
		writer(t, path, "PRAGMA journal_mode="+mode, "CREATE TABLE t(i INTEGER PRIMARY KEY, v)", fill, "UPDATE t SET v='changed'")
		img := capture(t, path, sqlite.Options{})
		if img.Method != sqlite.Still {
			t.Errorf("%s: method %s", mode, img.Method)
		}
		sameDump(t, img, path)
	}
}

// Whatever a writer did before, an image is what another reader reads.
func TestImageIsWhatAReaderReads(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), rand.Text())
		mode := rapid.SampledFrom([]string{"WAL", "WAL", "DELETE", "PERSIST"}).Draw(rt, "mode")
		size := rapid.SampledFrom(pageSizes).Draw(rt, "page size")
		conn := writer(t, path, "PRAGMA page_size="+size, "PRAGMA auto_vacuum=FULL", "PRAGMA journal_mode="+mode,
			"PRAGMA wal_autocheckpoint=20", "PRAGMA cache_size=8", "CREATE TABLE t(i INTEGER PRIMARY KEY, v)")
		defer conn.Close() //nolint:errcheck // the test is over
		ops := rapid.SliceOfN(rapid.SampledFrom([]string{
			fill, "DELETE FROM t WHERE i%2", "DELETE FROM t", "UPDATE t SET v=hex(randomblob(100)) WHERE i%7=0",
			"PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(RESTART)", "PRAGMA wal_checkpoint(TRUNCATE)",
			"VACUUM", "BEGIN; DELETE FROM t; ROLLBACK",
		}), 1, 8).Draw(rt, "ops")
		for _, op := range ops {
			if err := conn.Exec(op); err != nil {
				t.Fatal(err)
			}
		}
		open := rapid.SampledFrom([]string{"", fill}).Draw(rt, "open transaction")
		if mode == "WAL" && open != "" { // with a journal it would be waited for
			if err := conn.Exec("BEGIN; " + open); err != nil {
				t.Fatal(err)
			}
		}
		img := capture(t, path, sqlite.Options{})
		defer img.Close() //nolint:errcheck // memory only
		stored := filepath.Join(t.TempDir(), fmt.Sprint(rand.Text(), ".sqlite"))
		data, err := contents(img)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(stored, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := cli(t, stored, "PRAGMA integrity_check"); got != "ok" {
			rt.Fatalf("integrity_check: %s", got)
		}
		if cli(t, stored, ".dump") != cli(t, path, ".dump") {
			rt.Fatal("the image's dump is not the live database's")
		}
	})
}
