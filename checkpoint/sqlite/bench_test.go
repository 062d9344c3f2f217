package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint/sqlite"
	"github.com/ncruces/go-sqlite3"
)

// large is a database of 30 MB that its writer holds open.
func large(b *testing.B, mode string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "db")
	conn, err := sqlite3.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	for _, sql := range []string{
		"PRAGMA journal_mode=" + mode, "CREATE TABLE t(i INTEGER PRIMARY KEY, v)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<15000) INSERT INTO t SELECT i, randomblob(1990) FROM n",
		"PRAGMA wal_checkpoint(TRUNCATE)", "UPDATE t SET v=randomblob(1990) WHERE i%100=0",
	} {
		if err := conn.Exec(sql); err != nil {
			b.Fatal(err)
		}
	}
	return path
}

func BenchmarkStat(b *testing.B) {
	path := large(b, "WAL")
	for b.Loop() {
		if _, err := sqlite.Stat(path); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCapture(b *testing.B) {
	for _, mode := range []string{"WAL", "DELETE"} {
		for where, memory := range map[string]int64{"memory": 1 << 30, "spool": 1} {
			b.Run(mode+"/"+where, func(b *testing.B) {
				path := large(b, mode)
				for b.Loop() {
					img, err := sqlite.Capture(b.Context(), path, sqlite.Options{Memory: memory, SpoolDir: b.TempDir()})
					if err != nil {
						b.Fatal(err)
					}
					b.SetBytes(img.Size())
					_ = img.Close()
				}
			})
		}
	}
}

// What an acceptance query costs besides the query.
func BenchmarkAccept(b *testing.B) {
	path := large(b, "WAL")
	for b.Loop() {
		img, err := sqlite.Capture(b.Context(), path, sqlite.Options{Accept: func(_ context.Context, img *sqlite.Image) error {
			conn, err := img.Open()
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is written
			return conn.Exec("SELECT max(i) FROM t")
		}})
		if err != nil {
			b.Fatal(err)
		}
		_ = img.Close()
	}
}
