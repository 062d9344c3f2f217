package files

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/ncruces/go-sqlite3"
)

// checkDatabase runs SQLite's integrity_check over a staged database. It is
// opened as immutable: no lock, and no file beside it that could be left.
func checkDatabase(ctx context.Context, path string) (err error) {
	uri := url.URL{Scheme: "file", Path: path, RawQuery: "immutable=1"}
	conn, err := sqlite3.OpenContext(ctx, uri.String())
	if err != nil {
		return fmt.Errorf("open staged database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// The schema came from a checkpoint: it may call nothing.
	if _, err := conn.Config(sqlite3.DBCONFIG_TRUSTED_SCHEMA, false); err != nil {
		return err
	}
	stmt, _, err := conn.Prepare("PRAGMA integrity_check(1)")
	if err != nil {
		return fmt.Errorf("check staged database: %w", err)
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	if !stmt.Step() {
		return fmt.Errorf("check staged database: %w", stmt.Err())
	}
	if said := stmt.ColumnText(0); said != "ok" {
		return fmt.Errorf("staged database: integrity_check says: %s", said)
	}
	return nil
}
