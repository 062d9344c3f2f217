package conversations

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

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
	kind   checkpoint.Kind
	left   int64
	last   byte
	opened fs.FileInfo
}

// Open opens a listed file. It is an error that is fs.ErrNotExist when the file
// has vanished, and one of its own when it is no regular file any more.
func Open(s Source) (*Content, error) {
	f, info, err := open(s)
	if err != nil {
		return nil, fmt.Errorf("conversation %s: %w", s.Logical, err)
	}
	c := &Content{Size: info.Size(), Mode: info.Mode().Perm(), ModTime: info.ModTime(), file: f, kind: s.Kind, opened: info}
	if s.Kind == checkpoint.KindJSONL {
		if c.Size, err = completeLines(f, info.Size()); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("conversation %s: %w", s.Logical, err)
		}
		c.Torn = c.Size != info.Size()
	}
	c.left = c.Size
	return c, nil
}

// open opens the file and nothing else: whatever lies at its path by now, no
// link leads out of the store, and no pipe or device makes the open wait.
func open(s Source) (*os.File, fs.FileInfo, error) {
	root, err := os.OpenRoot(s.base)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	named, err := root.Lstat(s.rel)
	if err != nil {
		return nil, nil, err
	}
	f, err := root.OpenFile(s.rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || !os.SameFile(named, info)) {
		err = errors.New("it is no regular file any more")
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Read reads the next bytes. At the end it makes sure that what was read stood
// there all the time, else it gives ErrChanged.
func (c *Content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, c.end()
	}
	n, err := c.file.Read(p[:min(int64(len(p)), c.left)])
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

// completeLines returns the offset after the last newline in the first size
// bytes of f. It reads backwards: a torn line is short, the file is not.
func completeLines(f io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, min(size, scanBlock))
	for end := size; end > 0; {
		block := buf[:min(end, scanBlock)]
		n, err := f.ReadAt(block, end-int64(len(block)))
		if n < len(block) {
			if errors.Is(err, io.EOF) {
				err = ErrChanged
			}
			return 0, err
		}
		if i := bytes.LastIndexByte(block, '\n'); i >= 0 {
			return end - int64(len(block)) + int64(i) + 1, nil
		}
		end -= int64(len(block))
	}
	return 0, nil
}
