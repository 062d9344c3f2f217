package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/sqlite"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// database is a captured database as it is remembered: while its fingerprint
// stays, nothing in it has moved.
type database struct {
	fingerprint sqlite.Fingerprint
	file        checkpoint.File
	workspace   zed.WorkspaceFacts  // of db.sqlite
	threads     []checkpoint.Thread // of threads.db
}

// errGone is why Zed's databases are carried when none is left: an editor does
// not delete them, so something else has, and the last good ones must survive.
var errGone = errors.New("Zed's databases are gone")

// zed captures db.sqlite, then threads.db.
func (r *run) zed(ctx context.Context) error {
	places := r.src.Zed
	workspace, threads, err := r.databases(ctx)
	if err != nil {
		return err
	}
	var files []checkpoint.File
	for _, db := range []*database{workspace, threads} {
		if db != nil {
			files = append(files, db.file)
		}
	}
	if len(files) == 0 {
		for _, f := range r.prev.Files[checkpoint.NameZed] {
			if f.State.Usable() {
				files = append(files, r.carry(checkpoint.NameZed, f, errGone))
			}
		}
		if len(files) == 0 {
			return nil
		}
	}
	z := &checkpoint.Zed{Head: r.head(files), Channel: places.Channel}
	if z.FileSet, err = r.fileSet(ctx, checkpoint.NameZed, files); err != nil {
		return err
	}
	if err := r.zedFacts(ctx, z, workspace, threads); err != nil {
		return err
	}
	r.out.Components.Zed = z
	return nil
}

// zedFacts describes what is stored: a carried file by what was said of it.
func (r *run) zedFacts(ctx context.Context, z *checkpoint.Zed, workspace, threads *database) error {
	before := r.prev.Manifest.Components.Zed
	fresh := func(db *database) bool { return db != nil && db.file.State == checkpoint.OK }
	switch {
	case fresh(workspace):
		z.Pointer, z.Windows, z.Migrations = workspace.workspace.Pointer, workspace.workspace.Windows, workspace.workspace.Migrations
	case before != nil:
		z.Pointer, z.Windows, z.Migrations, z.Dangling = before.Pointer, before.Windows, before.Migrations, before.Dangling
		if z.Channel == "" {
			z.Channel = before.Channel
		}
	}
	switch {
	case fresh(threads) && len(threads.threads) > 0:
		entries := make([]repository.Keyed, len(threads.threads))
		for i, t := range threads.threads {
			entries[i] = repository.Keyed{Key: t.ID, Value: t}
		}
		list, err := r.store.PutList(ctx, entries)
		if err != nil {
			return fmt.Errorf("store the list of threads: %w", err)
		}
		z.Threads = &list
	case !fresh(threads) && before != nil && (threads != nil || workspace == nil):
		z.Threads = before.Threads
	}
	if fresh(workspace) && fresh(threads) {
		z.Dangling = workspace.workspace.Dangling(threads.threads)
	}
	return nil
}

// databases captures both databases; one that does not exist is nil.
func (r *run) databases(ctx context.Context) (workspace, threads *database, err error) {
	if path := r.src.Zed.WorkspaceDB(); path != "" {
		workspace, err = r.database(ctx, path, workspaceFacts{r.src.Roots, &r.acceptance}, true)
		if err != nil {
			return nil, nil, err
		}
	}
	threads, err = r.database(ctx, r.src.Zed.ThreadsDB(), threadList{}, false)
	return workspace, threads, err
}

// inspector reads from a consistent image what is said of it, and refuses one
// that is not to be kept.
type inspector interface {
	inspect(conn *sqlite3.Conn, db *database) error
}

// database captures the database at path, carries it, or returns nil when
// there is none. Only failures of the store are errors.
func (r *run) database(ctx context.Context, path string, in inspector, wal bool) (*database, error) {
	logical := checkpoint.Logical(r.src.Roots, path)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		delete(r.seen, path)
		return nil, nil
	}
	var size int64
	if err == nil {
		size = info.Size()
	}
	before, statErr := sqlite.Stat(path)
	if known, ok := r.seen[path]; ok && statErr == nil && known.fingerprint == before {
		return &known, nil
	}
	db := database{fingerprint: before}
	err = r.image(ctx, path, logical, in, wal, patience(size), &db)
	var fatal *storeError
	switch {
	case errors.As(err, &fatal) || (err != nil && ctx.Err() != nil):
		return nil, fmt.Errorf("capture %s: %w", logical, err)
	case err != nil:
		db.file = r.carried(checkpoint.NameZed, logical, checkpoint.KindSQLite, err)
		return &db, nil
	}
	// Remembered only when it did not move while it was read: the fingerprint
	// is then that of the image.
	delete(r.seen, path)
	if after, err := sqlite.Stat(path); err == nil && statErr == nil && after == before {
		if r.seen == nil {
			r.seen = map[string]database{}
		}
		r.seen[path] = db
	}
	return &db, nil
}

// image reads the database at path into the store and db.
func (r *run) image(ctx context.Context, path, logical string, in inspector, wal bool, wait time.Duration, db *database) error {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	img, err := sqlite.Capture(waiting, path, sqlite.Options{
		// A read transaction on a WAL never makes a writer wait; threads.db is
		// never locked.
		ReadTransaction: wal,
		Accept: func(_ context.Context, img *sqlite.Image) error {
			conn, err := img.Open()
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // read only
			return in.inspect(conn, db)
		},
	})
	if err != nil {
		return err
	}
	defer img.Close() //nolint:errcheck // memory only
	content, err := r.put(ctx, io.NewSectionReader(img, 0, img.Size()))
	if err != nil {
		return err
	}
	db.file = checkpoint.File{
		Path: logical, Kind: checkpoint.KindSQLite, State: checkpoint.OK,
		Mode: checkpoint.Mode(img.Mode), MtimeNS: checkpoint.MtimeNS(img.ModTime.UnixNano()), Content: content,
	}
	return nil
}

// workspaceFacts inspects db.sqlite and refuses it while Zed is writing.
type workspaceFacts struct {
	roots      map[string]string
	acceptance *zed.Acceptance
}

func (w workspaceFacts) inspect(conn *sqlite3.Conn, db *database) (err error) {
	if db.workspace, err = zed.InspectWorkspace(conn, w.roots); err != nil {
		return err
	}
	return w.acceptance.Accept(db.workspace, time.Now())
}

// threadList inspects threads.db.
type threadList struct{}

func (threadList) inspect(conn *sqlite3.Conn, db *database) (err error) {
	db.threads, err = zed.InspectThreads(conn)
	return err
}
