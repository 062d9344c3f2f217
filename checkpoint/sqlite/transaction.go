package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/ncruces/go-sqlite3"
)

// underTransaction copies a WAL database while a read transaction pins it: a
// WAL whose frames a reader needs is not reset. If all frames had been moved
// to the main file when the transaction began, one reset may still come; then
// the transaction pins the main file and no second one does. Hence two tries.
func (c *copier) underTransaction(ctx context.Context, main *os.File) (got copied, err error) {
	// Alone on the database we would be the one to recover the WAL, and write. A
	// WAL that nobody has open is not reset either.
	used, err := InUse(c.path)
	if err != nil {
		return copied{}, err
	}
	if !used {
		return copied{}, moved("nobody has the WAL open any more")
	}
	conn, err := pin(c.path)
	if err != nil {
		return copied{}, retry{why: fmt.Errorf("begin read transaction: %w", err), wait: journalPause}
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for range 2 {
		var before Fingerprint
		if before, err = Stat(c.path); err != nil {
			return copied{}, gone(err)
		}
		got, err = c.fromWAL(ctx, before, main)
		if err == nil {
			got.method = ReadTransaction
			return got, nil
		}
		if again := (retry{}); !errors.As(err, &again) {
			return copied{}, err
		}
	}
	return copied{}, err
}

// pin opens a read-only connection with a read transaction. Closing it ends
// both, and neither moves the WAL nor removes it.
func pin(path string) (*sqlite3.Conn, error) {
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "mode=ro"}
	conn, err := sqlite3.OpenFlags(uri.String(), sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
	if err != nil {
		return nil, err
	}
	if _, err = conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err == nil {
		err = conn.Exec(`BEGIN; SELECT count(*) FROM sqlite_schema`)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
