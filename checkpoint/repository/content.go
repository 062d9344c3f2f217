package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Source gives chunks and recipe pages by their id, verified. A Repository is
// one, and so is a transaction, which also knows what it has just stored.
type Source interface {
	// Chunk returns the plain bytes of that id; they must not be changed.
	Chunk(ctx context.Context, id checkpoint.Hash) ([]byte, error)
}

// Reader reads content from r: see NewReader.
func (r *Repository) Reader(ctx context.Context, c checkpoint.Content) (*ContentReader, error) {
	return NewReader(ctx, r, c)
}

// CopyTo writes content to w in constant memory: every chunk, the size and,
// where it is known, the sha256 of the whole are verified. On an error w holds a
// part of it.
func (r *Repository) CopyTo(ctx context.Context, w io.Writer, c checkpoint.Content) error {
	reader, err := r.Reader(ctx, c)
	if err == nil {
		_, err = reader.WriteTo(w)
	}
	return err
}

// ContentReader reads the bytes of a content. Each chunk is verified before any
// byte of it is returned; reading in order up to the end verifies the size and
// the sha256 of the whole, where it is known, as well: instead of io.EOF comes
// an error that wraps checkpoint.ErrDamaged.
type ContentReader struct {
	ctx  context.Context
	tree *tree
	c    checkpoint.Content

	// State of reading in order.
	next int64  // the chunk to read next
	rest []byte // what is left of the one before
	read int64  // bytes returned
	sum  hash.Hash
	// ahead gives the chunks from next on while WriteTo runs.
	ahead <-chan fetched

	mu   sync.Mutex
	last int64  // the chunk that ReadAt used last, -1 for none
	buf  []byte // and its bytes
}

// NewReader returns a reader of content in src. It reads the first recipe page
// at most.
func NewReader(ctx context.Context, src Source, c checkpoint.Content) (*ContentReader, error) {
	t, err := newTree(ctx, src, c)
	if err != nil {
		return nil, err
	}
	return &ContentReader{ctx: ctx, tree: t, c: c, sum: sha256.New(), last: -1}, nil
}

// Size returns the size of the content in bytes.
func (r *ContentReader) Size() int64 { return r.c.Size }

// Read reads the next bytes, in order.
func (r *ContentReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.rest) == 0 {
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo writes what was not read yet to w. Of long content, what comes next is
// read and verified meanwhile.
func (r *ContentReader) WriteTo(w io.Writer) (int64, error) {
	if r.tree.count-r.next > ahead {
		defer r.readAhead()()
	}
	var total int64
	for {
		if len(r.rest) == 0 {
			if err := r.advance(); errors.Is(err, io.EOF) {
				return total, nil
			} else if err != nil {
				return total, err
			}
		}
		n, err := w.Write(r.rest)
		total += int64(n)
		r.rest = r.rest[n:]
		if err != nil {
			return total, err
		}
	}
}

// advance makes the next chunk available in rest.
func (r *ContentReader) advance() error {
	if r.next == r.tree.count {
		if r.read != r.c.Size {
			return damaged("%s has %d bytes, want %d", r.c.Label(), r.read, r.c.Size)
		}
		if err := checkSum(r.c, r.sum); err != nil {
			return err
		}
		return io.EOF
	}
	b, err := r.fetch()
	if err != nil {
		return err
	}
	r.next++
	r.read += int64(len(b))
	if r.read > r.c.Size {
		return damaged("%s has more than its %d bytes", r.c.Label(), r.c.Size)
	}
	r.sum.Write(b)
	r.rest = b
	return nil
}

// fetch returns the chunk next.
func (r *ContentReader) fetch() ([]byte, error) {
	if r.ahead == nil {
		return r.tree.chunk(r.ctx, r.next)
	}
	f := <-r.ahead
	return f.chunk, f.err
}

// ahead is how many chunks are read before they are asked for: one frame.
const ahead = frameSize / checkpoint.ChunkSize

type fetched struct {
	chunk []byte
	err   error
}

// readAhead has the chunks from next on read by a goroutine, until stop is
// called or one of them fails.
func (r *ContentReader) readAhead() (stop func()) {
	ctx, cancel := context.WithCancel(r.ctx)
	chunks := make(chan fetched, ahead)
	go func(next int64) {
		defer close(chunks)
		for ; next < r.tree.count; next++ {
			b, err := r.tree.chunk(ctx, next)
			select {
			case chunks <- fetched{b, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}(r.next)
	r.ahead = chunks
	return func() {
		cancel()
		for range chunks { // until the goroutine has ended
		}
		r.ahead = nil
	}
}

// checkSum compares the sha256 of all bytes of c with what c says, if it does.
func checkSum(c checkpoint.Content, sum hash.Hash) error {
	if c.Size > 0 && !c.SHA256.IsZero() && checkpoint.Hash(sum.Sum(nil)) != c.SHA256 {
		return damaged("%s does not match its sha256", c.Label())
	}
	return nil
}

// ReadAt reads at an offset. It works for content of one chunk size only (every
// file; not a list) and may be called at the same time as itself and Read.
func (r *ContentReader) ReadAt(p []byte, off int64) (int, error) {
	size := int64(r.c.ChunkSize)
	if size == 0 {
		return 0, errors.New("content without a chunk size can only be read in order")
	}
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	total := 0
	for total < len(p) {
		if off >= r.c.Size {
			return total, io.EOF
		}
		if i := off / size; i != r.last {
			b, err := r.tree.chunk(r.ctx, i)
			if err != nil {
				return total, err
			}
			r.last, r.buf = i, b
		}
		n := copy(p[total:], r.buf[off%size:])
		total += n
		off += int64(n)
	}
	return total, nil
}
