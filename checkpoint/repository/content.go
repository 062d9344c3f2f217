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

// tree finds the chunks of a content by their number. It holds one recipe page
// of each level: those on the way to the chunk asked for last.
type tree struct {
	src Source
	c   checkpoint.Content
	// count is how many chunks there are.
	count int64

	mu   sync.Mutex
	path [checkpoint.MaxLevels + 1]page // by level
}

type page struct {
	id  checkpoint.Hash
	ids []byte
}

const idLen = len(checkpoint.Hash{})

func newTree(ctx context.Context, src Source, c checkpoint.Content) (*tree, error) {
	t := &tree{src: src, c: c}
	if err := plausible(c); err != nil {
		return nil, err
	}
	switch {
	case c.ChunkSize > 0:
		t.count = chunkCount(c)
	case c.Recipe == nil:
		t.count = int64(len(c.Chunks))
	default:
		n, err := t.countChunks(ctx)
		if err == nil && n > checkpoint.MaxEntries {
			err = damaged("%s: a list of %d chunks, at most %d are allowed", c.Label(), n, checkpoint.MaxEntries)
		}
		if err != nil {
			return nil, err
		}
		t.count = n
	}
	return t, nil
}

// plausible checks what this file relies on. Content that comes from a manifest
// was validated with it; content out of a list was perhaps not.
func plausible(c checkpoint.Content) error {
	switch {
	case c.Size < 0 || c.Size > checkpoint.MaxSize || c.ChunkSize < 0 || c.ChunkSize > checkpoint.MaxChunk:
		return damaged("content of %d bytes in chunks of %d", c.Size, c.ChunkSize)
	case c.Recipe != nil && (c.Recipe.Levels < 1 || c.Recipe.Levels > checkpoint.MaxLevels || len(c.Chunks) > 0):
		return damaged("%s: recipe of %d levels and %d chunks", c.Label(), c.Recipe.Levels, len(c.Chunks))
	case c.Recipe == nil && c.ChunkSize > 0 && int64(len(c.Chunks)) != chunkCount(c):
		return damaged("%s: %d bytes in %d chunks", c.Label(), c.Size, len(c.Chunks))
	}
	return nil
}

// chunkCount is how many chunks content of one chunk size has.
func chunkCount(c checkpoint.Content) int64 {
	return (c.Size + int64(c.ChunkSize) - 1) / int64(c.ChunkSize)
}

// span is how many chunks one id of a page of that level stands for.
func span(level int) int64 {
	n := int64(1)
	for ; level > 1; level-- {
		n *= checkpoint.Fanout
	}
	return n
}

// load returns the page of that level and id.
func (t *tree) load(ctx context.Context, level int, id checkpoint.Hash) ([]byte, error) {
	if t.path[level].id == id {
		return t.path[level].ids, nil
	}
	b, err := t.src.Chunk(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("recipe page: %w", err)
	}
	if err := checkPage(b); err != nil {
		return nil, fmt.Errorf("recipe page %s: %w", id, err)
	}
	t.path[level] = page{id, b}
	return b, nil
}

// checkPage checks the form of a recipe page: 1 to Fanout ids.
func checkPage(b []byte) error {
	if len(b) == 0 || len(b)%idLen != 0 || len(b) > checkpoint.Fanout*idLen {
		return damaged("%d bytes are no page of ids", len(b))
	}
	return nil
}

// countChunks goes down the right edge of the tree: every page but the last of
// its level is full.
func (t *tree) countChunks(ctx context.Context) (int64, error) {
	var n int64
	id := t.c.Recipe.SHA256
	for level := t.c.Recipe.Levels; level >= 1; level-- {
		b, err := t.load(ctx, level, id)
		if err != nil {
			return 0, err
		}
		ids := int64(len(b) / idLen)
		if level == 1 {
			n += ids
		} else {
			n += (ids - 1) * span(level)
		}
		id = checkpoint.Hash(b[len(b)-idLen:])
	}
	return n, nil
}

// id returns the id of chunk i. A page that does not hold as many ids as its
// place in the tree demands is damage.
func (t *tree) id(ctx context.Context, i int64) (checkpoint.Hash, error) {
	if t.c.Recipe == nil {
		return t.c.Chunks[i], nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	id, below := t.c.Recipe.SHA256, t.count
	for level := t.c.Recipe.Levels; level >= 1; level-- {
		b, err := t.load(ctx, level, id)
		if err != nil {
			return checkpoint.Hash{}, err
		}
		each := span(level)
		if want := min((below+each-1)/each, checkpoint.Fanout); int64(len(b)/idLen) != want || below > each*checkpoint.Fanout {
			return checkpoint.Hash{}, damaged("recipe page %s of level %d has %d ids for %d chunks", id, level, len(b)/idLen, below)
		}
		k := i / each
		id = checkpoint.Hash(b[k*int64(idLen):][:idLen])
		i -= k * each
		below = min(below-k*each, each)
	}
	return id, nil
}

// chunk returns the bytes of chunk i, which have the length they must have.
func (t *tree) chunk(ctx context.Context, i int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id, err := t.id(ctx, i)
	if err != nil {
		return nil, err
	}
	b, err := t.src.Chunk(ctx, id)
	if err != nil {
		return nil, err
	}
	if size := int64(t.c.ChunkSize); size > 0 && int64(len(b)) != min(size, t.c.Size-i*size) {
		return nil, damaged("chunk %d of %s has %d bytes", i, t.c.Label(), len(b))
	}
	return b, nil
}

// Walk calls visit for what content is made of, in the order of its bytes: every
// recipe page before what stands below it, with its level and bytes, and every
// chunk with level 0 and no bytes. It fetches pages only, each just before its
// visit. A tree of another form than the content's size demands is damage.
func Walk(ctx context.Context, src Source, c checkpoint.Content, visit func(level int, id checkpoint.Hash, page []byte) error) error {
	if err := plausible(c); err != nil {
		return err
	}
	w := walker{ctx: ctx, src: src, visit: visit, left: min(c.Size, checkpoint.MaxEntries)} // of a list, a chunk has an entry at least
	if c.ChunkSize > 0 {
		w.left = chunkCount(c)
	}
	if c.Recipe != nil {
		if err := w.walk(c.Recipe.Levels, c.Recipe.SHA256, true); err != nil {
			return err
		}
	}
	for _, id := range c.Chunks {
		if err := w.walk(0, id, true); err != nil {
			return err
		}
	}
	if c.ChunkSize > 0 && w.left > 0 {
		return damaged("%s: its recipe lacks %d chunks", c.Label(), w.left)
	}
	return nil
}

type walker struct {
	ctx   context.Context
	src   Source
	visit func(level int, id checkpoint.Hash, page []byte) error
	// left is how many chunks may still come: a hostile tree of few pages can
	// name a billion.
	left int64
}

// walk visits a page and all below it. Only one at the right edge of its tree
// may have less than Fanout ids.
func (w *walker) walk(level int, id checkpoint.Hash, edge bool) error {
	if level == 0 {
		if w.left--; w.left < 0 {
			return damaged("a recipe names more chunks than the content has")
		}
		return w.visit(0, id, nil)
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	b, err := w.src.Chunk(w.ctx, id)
	if err != nil {
		return fmt.Errorf("recipe page: %w", err)
	}
	if err := checkPage(b); err != nil {
		return fmt.Errorf("recipe page %s: %w", id, err)
	}
	if !edge && len(b) != checkpoint.Fanout*idLen {
		return damaged("recipe page %s of level %d has %d ids", id, level, len(b)/idLen)
	}
	if err := w.visit(level, id, b); err != nil {
		return err
	}
	for ; len(b) > 0; b = b[idLen:] {
		if err := w.walk(level-1, checkpoint.Hash(b[:idLen]), edge && len(b) == idLen); err != nil {
			return err
		}
	}
	return nil
}
