package repository

import (
	"context"
	"fmt"
	"sync"

	"github.com/helixml/helix-ckpt/checkpoint"
)

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
