package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
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
	// same: it is as in the checkpoint before, and what that one says of it is all
	// that is known.
	same bool
}

// asBefore reports whether what is said of it is what was said before.
func (db *database) asBefore() bool { return db.same || db.file.State != checkpoint.OK }

// errGone is why Zed's databases are carried when none is left: an editor does
// not delete them, so something else has, and the last good ones must survive.
var errGone = errors.New("both databases of Zed are gone")

// zed captures db.sqlite, then threads.db.
func (r *run) zed(ctx context.Context) error {
	places := r.zedPlaces()
	workspace, threads, err := r.databases(ctx, places)
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
		return nil
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

// zedPlaces are where to look. When no channel shows, because none is left or
// its directory cannot be read, it is the one before: what has become of that
// database tells the one from the other.
func (r *run) zedPlaces() zed.Places {
	places, before := r.src.Zed, r.prev.Manifest.Components.Zed
	if places.Channel == "" && before != nil {
		if same, err := places.For(before.Channel); err == nil {
			return same
		}
	}
	return places
}

// zedFacts describes what is stored: a carried database by what was said of it.
func (r *run) zedFacts(ctx context.Context, z *checkpoint.Zed, workspace, threads *database) error {
	before := r.prev.Manifest.Components.Zed
	if before == nil {
		before = &checkpoint.Zed{}
	}
	switch {
	case threads == nil:
	case threads.asBefore():
		z.Threads, r.out.Threads = before.Threads, r.prev.Threads
	case len(threads.threads) > 0:
		list, err := r.putThreads(ctx, threads.threads)
		if err != nil {
			return err
		}
		z.Threads, r.out.Threads = &list, threads.threads
	}
	switch {
	case workspace == nil:
	case workspace.asBefore():
		z.Pointer, z.Windows, z.Migrations = before.Pointer, before.Windows, before.Migrations
		// Which threads a carried db.sqlite names is not known any more; of those
		// that dangled, some may have come.
		z.Dangling = slices.DeleteFunc(slices.Clone(before.Dangling), func(id string) bool {
			return slices.ContainsFunc(r.out.Threads, func(t checkpoint.Thread) bool { return t.ID == id })
		})
	default:
		facts := &workspace.workspace
		z.Pointer, z.Windows, z.Migrations = facts.Pointer, facts.Windows, facts.Migrations
		z.Dangling = facts.Dangling(r.out.Threads)
	}
	return nil
}

func (r *run) putThreads(ctx context.Context, threads []checkpoint.Thread) (checkpoint.List, error) {
	entries := make([]repository.Keyed, len(threads))
	for i, t := range threads {
		entries[i] = repository.Keyed{Key: t.ID, Value: t}
	}
	list, err := r.store.PutList(ctx, entries)
	if err != nil {
		return list, fmt.Errorf("store the list of threads: %w", err)
	}
	return list, nil
}

// databases captures both databases; one that does not exist is nil. When
// neither does, what there is of them is carried.
func (r *run) databases(ctx context.Context, places zed.Places) (workspace, threads *database, err error) {
	if workspace, threads, ok := r.unmovedDatabases(places); ok {
		return workspace, threads, nil
	}
	if path := places.WorkspaceDB(); path != "" {
		workspace, err = r.database(ctx, path, workspaceFacts{r.src.Roots, &r.acceptance}, true)
		if err != nil {
			return nil, nil, err
		}
	}
	threads, err = r.database(ctx, places.ThreadsDB(), threadList{}, false)
	if workspace == nil && threads == nil && err == nil {
		workspace, threads = r.gone(places.WorkspaceDB()), r.gone(places.ThreadsDB())
	}
	return workspace, threads, err
}

// unmovedDatabases returns both databases as they are in the checkpoint before,
// when neither has moved. When one has, what is known of the other may be more
// than a checkpoint says: which threads db.sqlite names.
func (r *run) unmovedDatabases(places zed.Places) (workspace, threads *database, ok bool) {
	if workspace, ok = r.unmovedDatabase(places.WorkspaceDB()); !ok {
		return nil, nil, false
	}
	threads, ok = r.unmovedDatabase(places.ThreadsDB())
	return workspace, threads, ok && (workspace != nil || threads != nil)
}

// unmovedDatabase returns nil for a database that is not there, and was not.
func (r *run) unmovedDatabase(path string) (*database, bool) {
	logical := checkpoint.Logical(r.src.Roots, path)
	at := slices.IndexFunc(r.prev.Files[checkpoint.NameZed], func(f checkpoint.File) bool { return f.Name() == logical })
	now, err := sqlite.Stat(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, at < 0
	}
	if err != nil || at < 0 || r.prev.Files[checkpoint.NameZed][at].State != checkpoint.OK {
		return nil, false
	}
	mark, ok := markDatabase(logical, now)
	if !ok || !r.marks[mark] {
		return nil, false
	}
	r.fresh[mark] = true
	return &database{fingerprint: now, file: r.prev.Files[checkpoint.NameZed][at], same: true}, true
}

// gone carries the database at path, which has been deleted, if it was there
// before.
func (r *run) gone(path string) *database {
	f := r.carried(checkpoint.NameZed, checkpoint.Logical(r.src.Roots, path), checkpoint.KindSQLite, errGone)
	if !f.State.Usable() {
		return nil
	}
	return &database{file: f}
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
	mark, marked := markDatabase(logical, before)
	if known, ok := r.seen[path]; ok && statErr == nil && known.fingerprint == before {
		if marked {
			r.fresh[mark] = true
		}
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
	// Whoever sees the same fingerprint later knows that nothing moved in
	// between, while it was read neither.
	if r.seen == nil {
		r.seen = map[string]database{}
	}
	r.seen[path] = db
	if statErr == nil && marked {
		r.fresh[mark] = true
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
		SpoolDir:        r.src.SpoolDir,
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
	defer img.Close() //nolint:errcheck // nothing is kept
	content, err := r.putHinted(ctx, logical, io.NewSectionReader(img, 0, img.Size()))
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
	// Ids that are no text may look the same, and a list has each key once.
	db.threads = slices.CompactFunc(db.threads, func(a, b checkpoint.Thread) bool { return a.ID == b.ID })
	return err
}
