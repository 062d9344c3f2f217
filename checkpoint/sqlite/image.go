package sqlite

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs/readervfs"
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

// Image is one consistent, standalone database, safe for concurrent use. Its bytes are those of the pages, in place: a page that did not change
// is at the same offset with the same bytes in the next image. So also the file
// format version of a WAL database stays (bytes 18 and 19 of the header say
// WAL): SQLite opens such a file without a WAL beside it.
type Image struct {
	Method   Method
	Attempts int         // how many times it was tried, at least 1
	ModTime  time.Time   // of the main file when it was read
	Mode     fs.FileMode // permission bits of the main file

	mu    sync.RWMutex
	size  int64 // of the database
	space space // nil when closed
}

func newImage(space space, c copied, attempts int) *Image {
	return &Image{Method: c.method, Attempts: attempts, ModTime: c.modTime, Mode: c.mode, size: c.size, space: space}
}

// errClosed: an image was used after Close.
var errClosed = errors.New("image is closed")

// Size returns the number of bytes of the database.
func (i *Image) Size() int64 {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.size
}

// ReadAt reads from the database's bytes, as io.ReaderAt.
func (i *Image) ReadAt(p []byte, off int64) (int, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	switch {
	case i.space == nil:
		return 0, errClosed
	case off < 0:
		return 0, fmt.Errorf("read image at %d: negative offset", off)
	case off >= i.size:
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), i.size-off)]
	n, err := i.space.ReadAt(want, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Close gives the memory, or the spool, back. The image and connections to it
// fail afterwards.
func (i *Image) Close() error {
	if space := i.release(); space != nil {
		return space.free()
	}
	return nil
}

// release ends the image and hands its space over.
func (i *Image) release() space {
	i.mu.Lock()
	defer i.mu.Unlock()
	space := i.space
	i.size, i.space = 0, nil
	return space
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
