package repository

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Has reports whether a pack holds the chunk or recipe page of that id.
func (r *Repository) Has(id checkpoint.Hash) bool {
	if err := r.index.load(context.Background()); err != nil {
		return false
	}
	_, ok := r.index.find(id)
	return ok
}

// Chunk returns the plain bytes of a chunk or recipe page, verified. They must
// not be changed. It returns an error that wraps checkpoint.ErrDamaged when no
// pack holds it or what is there is something else.
func (r *Repository) Chunk(ctx context.Context, id checkpoint.Hash) ([]byte, error) {
	if err := r.index.load(ctx); err != nil {
		return nil, err
	}
	b, err := r.chunk(id)
	for errors.Is(err, fs.ErrNotExist) {
		// Another process may have written the pack since, or replaced it by
		// another with the same chunk: look again, while there is one to find.
		if err := r.index.scan(ctx); err != nil {
			return nil, err
		}
		if _, ok := r.index.find(id); !ok {
			break
		}
		b, err = r.chunk(id)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if err := r.index.unreadable(); err != nil {
		return nil, damaged("chunk %s is in no pack that can be read: %w", id, err)
	}
	return nil, damaged("chunk %s is in no pack", id)
}

func (r *Repository) chunk(id checkpoint.Hash) ([]byte, error) {
	var errs []error
	for _, p := range r.index.all(id) {
		b, err := r.fetch(id, p)
		if err == nil {
			return b, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, fs.ErrNotExist
	}
	return nil, errors.Join(errs...)
}

// fetch reads the chunk at p. The error is fs.ErrNotExist when its pack has
// gone.
func (r *Repository) fetch(id checkpoint.Hash, p place) ([]byte, error) {
	plain, ok := r.cache.get(p.frame)
	if !ok {
		var err error
		if plain, err = readFrame(r.decoder, p.frame); err != nil {
			return nil, fmt.Errorf("chunk %s: %w", id, err)
		}
		r.cache.put(p.frame, plain)
	}
	b := plain[p.offset : p.offset+p.size : p.offset+p.size]
	if checkpoint.Sum(b) != id {
		return nil, damaged("chunk %s in %s does not match its sha256", id, p.frame.pack.path)
	}
	return b, nil
}

// readFrame reads and decodes one frame. No more than what its pack's table
// says is decoded.
func readFrame(decoder *zstd.Decoder, f *frame) ([]byte, error) {
	file, _, err := openFile(f.pack.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	packed := make([]byte, f.packed)
	if _, err := file.ReadAt(packed, f.offset); errors.Is(err, io.EOF) {
		return nil, damaged("%s ends before byte %d", f.pack.path, f.offset+int64(f.packed))
	} else if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.pack.path, err)
	}
	return decodeFrame(decoder, f, packed)
}

func decodeFrame(decoder *zstd.Decoder, f *frame, packed []byte) ([]byte, error) {
	if _, err := oneFrame(packed); err != nil {
		return nil, fmt.Errorf("frame at %d of %s: %w", f.offset, f.pack.path, err)
	}
	plain, err := decoder.DecodeAll(packed, make([]byte, 0, f.plain))
	if err != nil {
		return nil, damaged("frame at %d of %s: %w", f.offset, f.pack.path, err)
	}
	if len(plain) != int(f.plain) {
		return nil, damaged("frame at %d of %s holds %d bytes, its table says %d", f.offset, f.pack.path, len(plain), f.plain)
	}
	return plain, nil
}

// cacheBytes is how many decoded bytes are kept: the frames that a file written
// over many checkpoints is scattered over. The collector lets twice as much
// pile up, and the whole program may take 80 MB.
const cacheBytes = 8 << 20

// cache keeps the frames that were used last.
type cache struct {
	mu     sync.Mutex
	limit  int
	size   int
	order  *list.List // of *cached, most recently used first
	frames map[*frame]*list.Element
}

type cached struct {
	frame *frame
	plain []byte
}

func newCache(limit int) *cache {
	return &cache{limit: limit, order: list.New(), frames: map[*frame]*list.Element{}}
}

func (c *cache) get(f *frame) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.frames[f]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).plain, true
}

func (c *cache) put(f *frame, plain []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.frames[f]; ok {
		return
	}
	c.frames[f] = c.order.PushFront(&cached{f, plain})
	c.size += len(plain)
	for c.size > c.limit && c.order.Len() > 1 {
		last := c.order.Remove(c.order.Back()).(*cached)
		delete(c.frames, last.frame)
		c.size -= len(last.plain)
	}
}
