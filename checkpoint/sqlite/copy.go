package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stride is how much is read between two looks at whether it is still worth it.
const stride = 4 << 20

// copier makes attempts at one image, with one space for all of them.
type copier struct {
	path  string
	o     Options
	want  int64 // bytes that the last attempt found too few
	space space // nil at first
}

// copied describes what an attempt put into the space.
type copied struct {
	method  Method
	size    int64
	modTime time.Time
	mode    fs.FileMode
}

// once makes one attempt. What it returns is proved; an error that is a retry
// says what spoiled it.
func (c *copier) once(ctx context.Context, transaction bool) (copied, error) {
	before, err := Stat(c.path)
	if err != nil {
		return copied{}, err
	}
	if err := c.reserve(before); err != nil {
		return copied{}, err
	}
	// The space may have taken a while; the proof begins here.
	if before, err = Stat(c.path); err != nil {
		return copied{}, err
	}
	main, err := open(c.path)
	if err != nil {
		return copied{}, err
	}
	defer main.Close()

	var got copied
	_, _, wal, err := walStart(before.walHeader[:])
	switch {
	case err != nil:
		return copied{}, err
	case before.main.size == 0: // SQLite ignores any side file of an empty one
		got, err = copied{method: Still}, nil
	case wal && journalLives(before.journal.size, before.journalHeader[:]):
		err = retry{why: errors.New("a rollback journal lies beside a WAL"), wait: journalPause}
	case wal && transaction:
		got, err = c.underTransaction(ctx, main)
	case wal:
		got, err = c.fromWAL(ctx, before, main)
	case journalLives(before.journal.size, before.journalHeader[:]):
		got, err = c.fromHotJournal(ctx, before, main)
	default:
		got, err = c.fromStill(ctx, before, main)
	}
	if err != nil {
		return copied{}, err
	}
	got.modTime = time.Unix(0, before.main.mtime)
	got.mode = fs.FileMode(before.main.mode) & fs.ModePerm
	return got, checkHeader(c.space, got.size)
}

// reserve makes the space large enough for what the database seems to be.
func (c *copier) reserve(f Fingerprint) error {
	need := max(f.main.size, c.want, 1)
	if need > c.o.MaxBytes {
		return fmt.Errorf("%w: %d bytes, allowed are %d", ErrTooLarge, need, c.o.MaxBytes)
	}
	if c.space != nil && need <= c.space.size() {
		return nil
	}
	if err := c.free(); err != nil {
		return err
	}
	// The next attempt may find a grown database.
	space, err := newSpace(min(need+need/16+1<<20, c.o.MaxBytes), c.o)
	if err == nil {
		c.space = space
	}
	return err
}

// free ends the space, if there is one.
func (c *copier) free() error {
	space := c.space
	c.space = nil
	if space == nil {
		return nil
	}
	return space.free()
}

// fits reports whether an image of size bytes fits the space; if not, the next
// attempt begins with a larger one.
func (c *copier) fits(size int64) error {
	if size <= c.space.size() {
		return nil
	}
	if size > c.o.MaxBytes {
		return fmt.Errorf("%w: %d bytes, allowed are %d", ErrTooLarge, size, c.o.MaxBytes)
	}
	c.want = size
	return moved("the database grew to %d bytes", size)
}

// fromStill copies a main file that nobody writes.
func (c *copier) fromStill(ctx context.Context, before Fingerprint, main *os.File) (copied, error) {
	if before.version != 2 { // a WAL database may be locked exclusively for good
		if err := noWriter(main, sharedFirst, sharedSize); err != nil {
			return copied{}, err
		}
	}
	return copied{method: Still, size: before.main.size}, c.readStill(ctx, before, main)
}

// readStill reads the main file and proves that it was not written meanwhile.
func (c *copier) readStill(ctx context.Context, before Fingerprint, main *os.File) error {
	if err := old(before.main); err != nil {
		return err
	}
	if err := c.fits(before.main.size); err != nil {
		return err
	}
	for off := int64(0); off < before.main.size; off += stride {
		end := min(off+stride, before.main.size)
		n, err := c.space.fill(main, off, end)
		if err != nil {
			return err
		}
		if off+n < end {
			return moved("it became shorter while it was read")
		}
		now, err := stat(main)
		if err != nil {
			return err
		}
		if now != before.main {
			return moved("it was written while it was read")
		}
		if ctx.Err() != nil {
			return moved("the deadline passed while it was read")
		}
	}
	after, err := Stat(c.path)
	if err != nil {
		return gone(err)
	}
	if after.main != before.main || after.counter != before.counter {
		return moved("it was written while it was read")
	}
	if !before.main.settled(time.Now().UnixNano()) { // a time in the future was reached
		return moved("its time is that of the reading")
	}
	return nil
}

// old is a retry while a file's times are too young to prove anything.
func old(f file) error {
	now := time.Now().UnixNano()
	if f.settled(now) {
		return nil
	}
	wait := time.Duration(f.grain() - (now - f.mtime))
	return retry{why: errors.New("it was written just now"), wait: wait + 50*time.Microsecond}
}

// fromHotJournal copies a database whose writer died within a transaction, and
// rolls the copy back. A living writer holds RESERVED for as long as its
// journal exists; who rolls the journal back on disk holds EXCLUSIVE.
func (c *copier) fromHotJournal(ctx context.Context, before Fingerprint, main *os.File) (copied, error) {
	if err := noWriter(main, reservedByte, 1+sharedSize); err != nil {
		return copied{}, err
	}
	if err := old(before.journal); err != nil {
		return copied{}, err
	}
	if err := c.readStill(ctx, before, main); err != nil {
		return copied{}, err
	}
	size, err := c.applyJournal(before)
	if err != nil {
		return copied{}, err
	}
	if err := noWriter(main, reservedByte, 1+sharedSize); err != nil {
		return copied{}, err
	}
	after, err := Stat(c.path)
	if err != nil {
		return copied{}, gone(err)
	}
	if after.main != before.main || after.journal != before.journal || after.journalHeader != before.journalHeader {
		return copied{}, moved("the hot journal was rolled back while it was read")
	}
	return copied{method: HotJournal, size: size}, nil
}

// applyJournal rolls the copy of the main file in the space back and returns
// the size of the database.
func (c *copier) applyJournal(before Fingerprint) (int64, error) {
	file, err := open(c.path + "-journal")
	if err != nil {
		return 0, gone(err)
	}
	defer file.Close()
	head, err := header(c.space, before.main.size)
	if err != nil {
		return 0, err
	}
	j, ok, err := openJournal(file, before.journal.size, pageSize(head))
	if err != nil || !ok {
		return before.main.size, err
	}
	super, err := j.superJournal()
	if err != nil {
		return 0, err
	}
	if super != "" {
		if _, err := os.Stat(super); errors.Is(err, fs.ErrNotExist) {
			return before.main.size, nil // the transaction committed
		}
	}
	size := j.originalSize()
	if err := c.fits(size); err != nil {
		return 0, err
	}
	if err := clearSpace(c.space, before.main.size, size); err != nil {
		return 0, err
	}
	return size, j.rollback(c.space)
}

// fromWAL copies the main file, then applies the WAL. A page that is being
// moved from the WAL to the main file meanwhile is in both, unless the WAL was reset.
func (c *copier) fromWAL(ctx context.Context, before Fingerprint, main *os.File) (copied, error) {
	log, err := open(c.path + "-wal")
	if err != nil {
		return copied{}, gone(err)
	}
	defer log.Close()
	read, err := c.readMain(ctx, before, main)
	if err != nil {
		return copied{}, err
	}
	size, err := c.applyWAL(log, read)
	if err != nil {
		return copied{}, err
	}
	after, err := Stat(c.path)
	if err != nil {
		return copied{}, gone(err)
	}
	switch same, err := stat(log); {
	case err != nil:
		return copied{}, err
	case !after.main.same(before.main):
		return copied{}, moved("the main file was replaced")
	case !after.wal.same(before.wal), !after.wal.same(same),
		after.walHeader != before.walHeader, after.wal.size < before.wal.size:
		return copied{}, retry{why: errors.New("the WAL was reset while it was read"), reset: true}
	}
	return copied{method: WAL, size: size}, nil
}

// readMain reads all that the main file has now into the space.
func (c *copier) readMain(ctx context.Context, before Fingerprint, main *os.File) (int64, error) {
	now, err := stat(main)
	if err != nil {
		return 0, err
	}
	if !now.same(before.main) {
		return 0, moved("the main file was replaced")
	}
	if err := c.fits(now.size); err != nil {
		return 0, err
	}
	for off := int64(0); off < now.size; off += stride {
		end := min(off+stride, now.size)
		n, err := c.space.fill(main, off, end)
		if err != nil {
			return 0, err
		}
		if off+n < end { // a checkpoint shrank it to the size of a commit
			return off + n, nil
		}
		if ctx.Err() != nil {
			return 0, moved("the deadline passed while it was read")
		}
	}
	return now.size, nil
}

// applyWAL applies the log to the copy of the main file, of which read bytes
// are in the space, and returns the size of the database. While a log holds no
// commit, nothing is moved from it, and the main file is the database.
func (c *copier) applyWAL(log *os.File, read int64) (int64, error) {
	now, err := stat(log)
	if err != nil {
		return 0, err
	}
	index, err := readWAL(log, now.size)
	if err != nil || index.commit == 0 {
		return read, err
	}
	size := index.size()
	if err := c.fits(size); err != nil {
		return 0, err
	}
	if err := clearSpace(c.space, read, size); err != nil {
		return 0, err
	}
	if err := index.apply(log, c.space); err != nil {
		return 0, err
	}
	return size, nil
}

// noWriter is a retry while somebody holds a write lock in the range.
func noWriter(main *os.File, start, length int64) error {
	held, err := fileLocked(main, unix.F_RDLCK, start, length)
	if err == nil && held {
		err = retry{why: errors.New("a transaction is being written"), wait: journalPause}
	}
	return err
}

// gone makes the disappearance of a file within a proof a reason to try again.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return moved("a file went away while it was read: %w", err)
	}
	return err
}

// headerSize is how much of a database's header is looked at.
const headerSize = 100

// header returns the first bytes of an image of size bytes.
func header(image io.ReaderAt, size int64) ([]byte, error) {
	head := make([]byte, min(size, headerSize))
	_, err := image.ReadAt(head, 0)
	return head, err
}

// checkHeader looks at the first bytes of an image: its side files may have
// been of another database.
func checkHeader(image io.ReaderAt, size int64) error {
	const magic = "SQLite format 3\x00"
	head, err := header(image, size)
	if err != nil || size == 0 {
		return err
	}
	if !bytes.HasPrefix(head, []byte(magic)) {
		return fmt.Errorf("%w: it does not begin with %q", ErrNotDatabase, magic[:len(magic)-1])
	}
	if page := pageSize(head); size < minPageSize || !isPageSize(page) {
		return fmt.Errorf("%w: %d bytes in pages of %d", ErrNotDatabase, size, page)
	}
	return nil
}

// pageSize is what a database's header says; 0 if it is too short for one.
func pageSize(head []byte) uint32 {
	if len(head) < 18 {
		return 0
	}
	size := uint32(binary.BigEndian.Uint16(head[16:]))
	if size == 1 { // the field has 16 bits
		return maxPageSize
	}
	return size
}
