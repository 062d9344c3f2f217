package sqlite

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs/readervfs"
	"golang.org/x/sys/unix"
)

// Method says how an image came to be.
type Method string

const (
	// Still is the main file alone, unwritten while it was read.
	Still Method = "still"
	// WAL is the main file with the committed frames of its WAL applied.
	WAL Method = "wal"
	// HotJournal is the main file with a dead writer's transaction rolled back.
	HotJournal Method = "hot-journal"
	// ReadTransaction is as WAL, copied under a short read transaction.
	ReadTransaction Method = "read-transaction"
)

// Image is one consistent, standalone database in memory, safe for concurrent
// use. Its bytes are those of the pages, in place: a page that did not change
// is at the same offset with the same bytes in the next image. So also the file
// format version of a WAL database stays (bytes 18 and 19 of the header say
// WAL): SQLite opens such a file without a WAL beside it.
type Image struct {
	Method   Method
	Attempts int         // how many times it was tried, at least 1
	ModTime  time.Time   // of the main file when it was read
	Mode     fs.FileMode // permission bits of the main file

	mu   sync.RWMutex
	data []byte // buf up to the size of the database; nil when closed
	buf  buffer
}

func newImage(buf buffer, c copied, attempts int) *Image {
	return &Image{
		Method: c.method, Attempts: attempts, ModTime: c.modTime, Mode: c.mode,
		data: buf[:c.size:c.size], buf: buf,
	}
}

// errClosed: an image was used after Close.
var errClosed = errors.New("image is closed")

// Size returns the number of bytes of the database.
func (i *Image) Size() int64 {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return int64(len(i.data))
}

// ReadAt reads from the database's bytes, as io.ReaderAt.
func (i *Image) ReadAt(p []byte, off int64) (int, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	switch {
	case i.buf == nil:
		return 0, errClosed
	case off < 0:
		return 0, fmt.Errorf("read image at %d: negative offset", off)
	case off >= int64(len(i.data)):
		return 0, io.EOF
	}
	n := copy(p, i.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close gives the memory back. The image and connections to it fail
// afterwards.
func (i *Image) Close() error {
	buf := i.release()
	return buf.free()
}

// release ends the image and hands its buffer over.
func (i *Image) release() buffer {
	i.mu.Lock()
	defer i.mu.Unlock()
	buf := i.buf
	i.data, i.buf = nil, nil
	return buf
}

// Open returns a read-only SQL connection to the image. The caller closes it,
// before the image. What the database itself holds is not trusted: its schema
// cannot call functions with side effects.
//
// It suits queries that cost what their answer costs. integrity_check is for
// a copy in a file.
func (i *Image) Open() (*sqlite3.Conn, error) {
	// The VFS finds the image by name while it opens it, and only then.
	name := "image-" + rand.Text() + ".sqlite"
	readervfs.Create(name, sizeReaderAt{i})
	defer readervfs.Delete(name)
	conn, err := sqlite3.OpenFlags("file:"+name+"?vfs=reader", sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	if err := distrust(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("open image: %w", err), conn.Close())
	}
	return conn, nil
}

func distrust(conn *sqlite3.Conn) error {
	if _, err := conn.Config(sqlite3.DBCONFIG_TRUSTED_SCHEMA, false); err != nil {
		return err
	}
	_, err := conn.Config(sqlite3.DBCONFIG_DEFENSIVE, true)
	return err
}

// sizeReaderAt is the interface that readervfs wants.
type sizeReaderAt struct{ *Image }

// Size is Image.Size, as that interface has it.
func (s sizeReaderAt) Size() (int64, error) { return s.Image.Size(), nil }

// buffer is memory outside the garbage collector's heap. It is resident before
// a proof begins, because page faults in the middle of a copy cost as much as
// the copy, and goes back to the system at once: an image is needed for a
// moment once a minute, and a heap that has once been so large stays so.
type buffer []byte

// replace makes it a buffer of size bytes; what it held is lost.
func (b *buffer) replace(size int64) error {
	if err := b.free(); err != nil {
		return err
	}
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("%d bytes of memory: %w", size, err)
	}
	// Advice only: with large pages, where there are any, a capture of 30 MB takes
	// 18 ms of processor time instead of 65.
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE)
	for i := 0; i < len(mem); i += os.Getpagesize() {
		mem[i] = 0
	}
	*b = mem
	return nil
}

func (b *buffer) free() error {
	mem := *b
	*b = nil
	if mem == nil {
		return nil
	}
	return unix.Munmap(mem)
}
