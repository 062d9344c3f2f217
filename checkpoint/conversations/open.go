package conversations

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// ErrChanged is what reading a file ends with when it was rewritten meanwhile:
// what was read is no state of it.
var ErrChanged = errors.New("file changed while it was read")

// Content is the readable part of a file as it was when it was opened.
type Content struct {
	// Size is how many bytes Read gives: of JSON lines, up to and with the last
	// complete one.
	Size int64
	// Torn says that a line without its end was left out.
	Torn    bool
	Mode    fs.FileMode
	ModTime time.Time

	file   *os.File
	r      io.Reader // file, or what was read of it already
	kind   checkpoint.Kind
	left   int64
	last   byte
	opened fs.FileInfo
}

// Opener opens listed files. It keeps the directory of the last one, which is
// most often that of the next. The zero value is ready; it is for one goroutine,
// which closes it.
type Opener struct {
	base, rel string
	dir       *os.File
}

// Close closes the directory.
func (o *Opener) Close() {
	if o.dir != nil {
		o.dir.Close()
	}
	*o = Opener{}
}

// Open opens a listed file. It is an error that is fs.ErrNotExist when the file
// has vanished, and one of its own when it is no regular file any more.
func (o *Opener) Open(s Source) (*Content, error) {
	c, err := o.open(s)
	if err != nil {
		return nil, fmt.Errorf("conversation %s: %w", s.Logical, err)
	}
	return c, nil
}

func (o *Opener) open(s Source) (*Content, error) {
	f, info, err := o.file(s)
	if err != nil {
		return nil, err
	}
	c := &Content{
		Size: info.Size(), Mode: info.Mode().Perm(), ModTime: info.ModTime(),
		file: f, r: f, kind: s.Kind, opened: info,
	}
	if s.Kind == checkpoint.KindJSONL {
		err = c.completeLines()
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	c.left = c.Size
	return c, nil
}

// file opens the file and nothing else: whatever lies at its path by now, no
// link leads out of the store, and no pipe or device makes the open wait.
func (o *Opener) file(s Source) (*os.File, fs.FileInfo, error) {
	known := o.dir != nil
	if err := o.enter(s.base, path.Dir(s.rel)); err != nil {
		return nil, nil, err
	}
	name := path.Base(s.rel)
	fd, err := unix.Openat(int(o.dir.Fd()), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) && known {
		o.Close() // the directory may be another one by now
		return o.file(s)
	}
	if err != nil {
		return nil, nil, &fs.PathError{Op: "open", Path: s.rel, Err: err}
	}
	f := os.NewFile(uintptr(fd), s.rel)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file any more")
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// enter opens the directory rel below base, without leaving that.
func (o *Opener) enter(base, rel string) error {
	if o.dir != nil && o.base == base && o.rel == rel {
		return nil
	}
	o.Close()
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := root.Open(rel)
	if err != nil {
		return err
	}
	*o = Opener{base, rel, dir}
	return nil
}

// Read reads the next bytes. At the end it makes sure that what was read stood
// there all the time, else it gives ErrChanged.
func (c *Content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, c.end()
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	if n > 0 {
		c.left -= int64(n)
		c.last = p[n-1]
	}
	if errors.Is(err, io.EOF) { // cut shorter
		return n, ErrChanged
	}
	return n, err
}

// end is the error that reading ends with. Appending to JSON lines changes none
// of what was read.
func (c *Content) end() error {
	now, err := c.file.Stat()
	switch {
	case err != nil:
		return err
	case c.kind == checkpoint.KindJSONL && now.Size() >= c.opened.Size() && (c.Size == 0 || c.last == '\n'):
		return io.EOF
	case now.Size() == c.opened.Size() && now.ModTime().Equal(c.opened.ModTime()):
		return io.EOF
	}
	return ErrChanged
}

// Close closes the file.
func (c *Content) Close() error { return c.file.Close() }

// scanBlock is how much is read at once in search of the last newline.
const scanBlock = 64 << 10

// completeLines ends the content after the last newline of the file. It reads
// backwards: a torn line is short, the file is not. What fits into one block is
// not read again.
func (c *Content) completeLines() error {
	buf := make([]byte, min(c.Size, scanBlock))
	size := c.Size
	for end := size; end > 0; {
		block := buf[:min(end, scanBlock)]
		n, err := c.file.ReadAt(block, end-int64(len(block)))
		if n < len(block) {
			if errors.Is(err, io.EOF) {
				err = ErrChanged
			}
			return err
		}
		if int64(len(block)) == size {
			c.r = bytes.NewReader(block)
		}
		if i := bytes.LastIndexByte(block, '\n'); i >= 0 {
			c.Size = end - int64(len(block)) + int64(i) + 1
			c.Torn = c.Size != size
			return nil
		}
		end -= int64(len(block))
	}
	c.Size, c.Torn = 0, size > 0
	return nil
}
