// Package sqlite takes one consistent image of a SQLite database that other
// processes are writing to, without disturbing them.
//
// The image is a plain, standalone database: the pages of the last commit,
// nothing else. It lies in memory or, when it is large, in a file without a name
// that vanishes with the process. What is read is proved, not locked:
//
//	                 before                 read             after
//	WAL          WAL header (salts)     db, then WAL     same files, same header:
//	                                                     nothing was reset, so every page that
//	                                                     a checkpoint was moving is in the WAL
//	no WAL       no live journal,       db               same file, size, times and change
//	             db unwritten for 10 ms                  counter: nothing was written
//	hot journal  nobody holds a write   db, journal      all of the above for both files;
//	             lock: the writer died                   the copy is rolled back
//
// If the proof fails, what was read is dropped and read again, until the
// deadline. A WAL that is reset faster than it can be read starves this; then,
// where Options permits it, the copy is made under a short read transaction.
//
// What never happens here: a lock on a database with a rollback journal (a
// writer without a busy timeout would lose its save), a connection that stays
// open (it would look like an open application), VACUUM INTO (it reorders
// pages, so nothing deduplicates), a file written beside the live one.
//
// Reading a database through plain file descriptors is dangerous in a process
// that also has it open through SQLite's POSIX locks: closing any descriptor
// drops them all. The driver used here takes open file description locks,
// which do not have that fault; do not link another SQLite into the binary.
//
// Sources: https://sqlite.org/fileformat2.html (database, journal and WAL
// formats), https://sqlite.org/lockingv3.html (locks, hot journals). The proofs
// hold on a file system of the same kernel as the writer's; they are not made
// for network file systems, which may serve old attributes.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

var (
	// ErrBusy means that the deadline passed and the database never held still for
	// as long as it takes to read it. Keep the last image and try again later.
	ErrBusy = errors.New("database did not hold still")
	// ErrNotAccepted means that consistent images were read, but the caller's
	// acceptance refused each until the deadline. It wraps the last refusal.
	ErrNotAccepted = errors.New("image not accepted")
	// ErrNotDatabase means that the file is no SQLite database.
	ErrNotDatabase = errors.New("not a SQLite database")
	// ErrTooLarge means that the image is larger than Options.MaxBytes.
	ErrTooLarge = errors.New("database is larger than allowed")
)

const (
	// DefaultMaxBytes bounds an image. Rows of hundreds of megabytes exist in the
	// databases this is made for.
	DefaultMaxBytes = 2 << 30

	// DefaultMemory bounds an image in memory: the whole program may take 80 MB.
	DefaultMemory = 16 << 20

	// DefaultPatience bounds a Capture whose context has no deadline: about 20
	// saves of a busy writer, of which one gap is enough.
	DefaultPatience = time.Second

	// starved is how many lock-free attempts on a WAL fail before a read
	// transaction is used, if permitted. Ordinary resets (every 1,000 pages)
	// spoil one attempt in twelve, so three in a row mean a WAL reset all the time.
	starved = 3
)

// Options refine a Capture; the zero value is ready to use.
type Options struct {
	// Accept looks at a proved image before Capture returns it, typically by
	// queries through Image.Open. An error means that the state is not one to
	// keep: it is dropped and another one is tried. The image is only lent.
	Accept func(ctx context.Context, img *Image) error

	// ReadTransaction permits the short read transaction on a WAL database after
	// lock-free copying starved. It never makes a writer wait or fail, but keeps
	// the WAL from being reset while the copy is made.
	ReadTransaction bool

	// MaxBytes bounds the image; 0 means DefaultMaxBytes.
	MaxBytes int64

	// Memory bounds the image in memory, in bytes; 0 means DefaultMemory. A larger
	// one lies in a file without a name in SpoolDir, "" for the system's directory
	// of temporary files. On a tmpfs that is memory again.
	Memory   int64
	SpoolDir string
}

// Capture reads one consistent image of the database at path. It holds all
// that was committed before Capture was called. Failed attempts are repeated
// until ctx's deadline (DefaultPatience without one); at least one is made.
// The image must be closed.
//
// An empty file is a valid, empty database. A path that does not exist is an
// error that is fs.ErrNotExist; see also the errors of this package.
func Capture(ctx context.Context, path string, o Options) (*Image, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	if o.SpoolDir == "" {
		o.SpoolDir = os.TempDir()
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultPatience)
		defer cancel()
	}
	c := copier{path: path, o: o}
	img, err := c.capture(ctx, o)
	if err != nil {
		_ = c.free() // what went wrong before is the error
		return nil, fmt.Errorf("capture %s: %w", path, err)
	}
	return img, nil
}

// capture repeats attempts; the space stays the same from one to the next.
func (c *copier) capture(ctx context.Context, o Options) (*Image, error) {
	resets := 0
	for attempt := 1; ; attempt++ {
		copied, err := c.once(ctx, o.ReadTransaction && resets >= starved)
		if err == nil {
			img := newImage(c.space, copied, attempt)
			if err = accept(ctx, o, img); err == nil {
				return img, nil
			}
			c.space = img.release()
		}
		var again retry
		if !errors.As(err, &again) {
			return nil, err
		}
		if again.reset {
			resets++
		}
		if !pause(ctx, again.wait) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, again.final(attempt)
		}
	}
}

// accept asks the caller about a proved image; a refusal is tried again after
// a while, because what was missing is written by one of the next transactions.
func accept(ctx context.Context, o Options, img *Image) error {
	if o.Accept == nil {
		return nil
	}
	if err := o.Accept(ctx, img); err != nil {
		return retry{why: err, wait: acceptPause, refused: true}
	}
	return nil
}

const (
	// acceptPause: the transactions of one logical change follow each other
	// within some 0.05 to 0.5 s, so looking ten times a second is enough.
	acceptPause = 100 * time.Millisecond
	// journalPause: how long to wait for a transaction to end; a small one takes
	// about this long.
	journalPause = time.Millisecond
)

// retry is the error of an attempt that a later one may not meet.
type retry struct {
	why     error
	wait    time.Duration // before the next attempt
	reset   bool          // the WAL was reset under the copy
	refused bool          // by Options.Accept
}

func (r retry) Error() string { return r.why.Error() }
func (r retry) Unwrap() error { return r.why }

// final is what Capture returns when r was the last attempt.
func (r retry) final(attempts int) error {
	sentinel := ErrBusy
	if r.refused {
		sentinel = ErrNotAccepted
	}
	return fmt.Errorf("%w in %d attempts, the last: %w", sentinel, attempts, r.why)
}

func moved(format string, args ...any) error { return retry{why: fmt.Errorf(format, args...)} }

// pause waits for d and reports whether there is time for another attempt.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
