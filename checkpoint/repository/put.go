package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Put stores what r gives, in chunks of chunkSize bytes (checkpoint.ChunkSize),
// and returns its name. What is stored already costs nothing.
func (t *Tx) Put(ctx context.Context, r io.Reader, chunkSize int) (checkpoint.Content, error) {
	return t.put(ctx, r, chunkSize, nil)
}

// PutHinted is Put for what is put again and again: key, such as a logical path,
// tells one such thing from another. What did not change since it was put last
// is only read, and costs a short hash: see hints. The sha256 of the whole is
// left out when something was spared.
func (t *Tx) PutHinted(ctx context.Context, key string, r io.Reader, chunkSize int) (checkpoint.Content, error) {
	table := t.r.hints.table(key)
	if table != nil {
		table.mu.Lock()
		defer table.mu.Unlock()
	}
	return t.put(ctx, r, chunkSize, table)
}

func (t *Tx) put(ctx context.Context, r io.Reader, chunkSize int, table *hintTable) (checkpoint.Content, error) {
	if chunkSize <= 0 || chunkSize > checkpoint.MaxChunk {
		return checkpoint.Content{}, fmt.Errorf("put: chunks of %d bytes", chunkSize)
	}
	p := t.putter(chunkSize, t.data)
	defer t.putters.Put(p)
	buf := p.buffer()
	spared := 0
	for i := 0; ; i++ {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			known, err := p.hinted(ctx, i, buf[:n], table)
			if err != nil {
				return checkpoint.Content{}, err
			}
			if known {
				spared++
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			c, err := p.finish(ctx)
			if err == nil && table != nil {
				table.finish(&c, i+min(n, 1), spared)
			}
			return c, err
		}
		if err != nil {
			return checkpoint.Content{}, fmt.Errorf("put: %w", err)
		}
	}
}

// PutPage stores bytes that lead to content: a recipe page, or a chunk of a
// list. An import does, whose manifest names them already.
func (t *Tx) PutPage(ctx context.Context, b []byte) (checkpoint.Hash, error) {
	if len(b) == 0 || len(b) > checkpoint.MaxChunk {
		return checkpoint.Hash{}, fmt.Errorf("put page of %d bytes", len(b))
	}
	return t.add(ctx, b, t.meta)
}

// PutAs stores what r gives, which must be just the content that c names: every
// chunk is compared with its id, whose pages are stored already. It returns an
// error that wraps checkpoint.ErrDamaged otherwise.
func (t *Tx) PutAs(ctx context.Context, r io.Reader, c checkpoint.Content) error {
	if c.ChunkSize == 0 && c.Size > 0 {
		return damaged("%s has no chunk size", c.Label())
	}
	ids, err := newTree(ctx, t, c)
	if err != nil {
		return err
	}
	buf, sum, left := make([]byte, min(int64(c.ChunkSize), c.Size)), sha256.New(), c.Size
	for i := range ids.count {
		want, err := ids.id(ctx, i)
		if err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), left)]
		if n, err := io.ReadFull(r, b); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return damaged("%s ends after %d of %d bytes", c.Label(), c.Size-left+int64(n), c.Size)
		} else if err != nil {
			return fmt.Errorf("put: %w", err)
		}
		left -= int64(len(b))
		sum.Write(b)
		id, err := t.add(ctx, b, t.data)
		if err != nil {
			return err
		}
		if id != want {
			return damaged("chunk %d of %s does not match its sha256", i, c.Label())
		}
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 {
		return damaged("%s goes on after %d bytes", c.Label(), c.Size)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("put: %w", err)
	}
	return checkSum(c, sum)
}

// putter makes content out of chunks.
type putter struct {
	t   *Tx
	to  *builder
	c   checkpoint.Content
	buf []byte // for a chunk
	// chunks is how many there were, and unhashed is set when one of them was not
	// hashed. sum is of the whole until then; of a single chunk, that is its id, so
	// the first one is kept until there is another.
	chunks   int
	unhashed bool
	sum      hash.Hash
	first    []byte
	// levels holds the ids that wait for their page: levels[0] of chunks,
	// levels[n] of pages of level n. A full page is stored when another id
	// comes, so that the last one may become the root.
	levels [checkpoint.MaxLevels + 1][]byte
}

// putter returns one for a new content, which is given back to t.putters.
func (t *Tx) putter(chunkSize int, to *builder) *putter {
	p, ok := t.putters.Get().(*putter)
	if !ok {
		p = &putter{t: t, sum: sha256.New()}
	}
	p.to, p.c = to, checkpoint.Content{ChunkSize: chunkSize}
	p.chunks, p.unhashed = 0, false
	for i := range p.levels {
		p.levels[i] = p.levels[i][:0]
	}
	return p
}

// buffer returns room for a chunk.
func (p *putter) buffer() []byte {
	if cap(p.buf) < p.c.ChunkSize {
		p.buf = make([]byte, p.c.ChunkSize)
	}
	return p.buf[:p.c.ChunkSize]
}

// hinted adds chunk i, unless its hint says that it is stored, and reports
// whether it does. table may be nil.
func (p *putter) hinted(ctx context.Context, i int, b []byte, table *hintTable) (bool, error) {
	if table == nil {
		_, err := p.chunk(ctx, b)
		return false, err
	}
	hints := p.t.r.hints
	hash := hints.of(b)
	if id, ok := table.known(i, hash); ok && hints.stored(p.t, id) {
		p.unhashed = true
		return true, p.add(ctx, id, len(b))
	}
	id, err := p.chunk(ctx, b)
	if err == nil {
		table.learn(i, hash, id)
	}
	return false, err
}

func (p *putter) chunk(ctx context.Context, b []byte) (checkpoint.Hash, error) {
	id, err := p.t.add(ctx, b, p.to)
	if err != nil {
		return id, err
	}
	switch {
	case p.unhashed:
	case p.chunks == 0:
		p.first = append(p.first[:0], b...)
	default:
		if p.chunks == 1 {
			p.sum.Reset()
			p.sum.Write(p.first)
		}
		p.sum.Write(b)
	}
	return id, p.add(ctx, id, len(b))
}

// whole returns the sha256 of the whole, zero when it is not known.
func (p *putter) whole() checkpoint.Hash {
	switch {
	case p.unhashed:
		return checkpoint.Hash{}
	case p.chunks == 0:
		return checkpoint.Sum(nil)
	case p.chunks == 1:
		return checkpoint.Hash(p.levels[0])
	}
	return checkpoint.Hash(p.sum.Sum(nil))
}

// add adds a chunk of size bytes that is stored.
func (p *putter) add(ctx context.Context, id checkpoint.Hash, size int) error {
	p.chunks++
	if p.c.Size += int64(size); p.c.Size > checkpoint.MaxSize {
		return fmt.Errorf("put: more than %d bytes", int64(checkpoint.MaxSize))
	}
	return p.push(ctx, 0, id)
}

// push adds an id to those that wait for a page of level+1.
func (p *putter) push(ctx context.Context, level int, id checkpoint.Hash) error {
	if level == checkpoint.MaxLevels && len(p.levels[level]) > 0 {
		return fmt.Errorf("put: more chunks than a recipe of %d levels names", checkpoint.MaxLevels)
	}
	if len(p.levels[level]) == checkpoint.Fanout*idLen {
		if err := p.page(ctx, level); err != nil {
			return err
		}
	}
	p.levels[level] = append(p.levels[level], id[:]...)
	return nil
}

// page stores the ids of a level as a page and passes its id on.
func (p *putter) page(ctx context.Context, level int) error {
	id, err := p.t.add(ctx, p.levels[level], p.t.meta)
	if err != nil {
		return err
	}
	p.levels[level] = p.levels[level][:0]
	return p.push(ctx, level+1, id)
}

func (p *putter) finish(ctx context.Context) (checkpoint.Content, error) {
	p.c.SHA256 = p.whole()
	if len(p.levels[1]) == 0 && len(p.levels[0]) <= checkpoint.MaxInline*idLen {
		for b := p.levels[0]; len(b) > 0; b = b[idLen:] {
			p.c.Chunks = append(p.c.Chunks, checkpoint.Hash(b[:idLen]))
		}
		return p.c, nil
	}
	for level := range checkpoint.MaxLevels {
		if level > 0 && len(p.levels[level]) == idLen && len(p.levels[level+1]) == 0 {
			p.c.Recipe = &checkpoint.Recipe{SHA256: checkpoint.Hash(p.levels[level]), Levels: level}
			return p.c, nil
		}
		if err := p.page(ctx, level); err != nil {
			return checkpoint.Content{}, err
		}
	}
	p.c.Recipe = &checkpoint.Recipe{SHA256: checkpoint.Hash(p.levels[checkpoint.MaxLevels]), Levels: checkpoint.MaxLevels}
	return p.c, nil
}
