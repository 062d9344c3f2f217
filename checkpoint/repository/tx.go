package repository

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Tx stores the content of one new checkpoint and commits its manifest. Its
// methods may be called from several goroutines, except Commit and Abort.
type Tx struct {
	r *Repository

	mu   sync.Mutex
	err  error         // what went wrong first: nothing can be committed any more
	enc  *zstd.Encoder // made for the first pack
	free buffers
	// putters holds those of finished puts: most files are small, and their memory
	// would be most of what they cost.
	putters sync.Pool
	// own holds the chunks that this transaction has added.
	own map[checkpoint.Hash]place
	// Chunks of files and what leads to them (pages, lists) are gathered
	// apart: the one is read in order, the other first.
	data, meta *builder
	packs      []*packWriter // the last one is being written, unless ended
	// reserving: it ends when less is free than is reserved.
	reserving bool
	ended     bool
	closed    bool
}

// builder gathers chunks into a frame.
type builder struct {
	frame *frame
	plain []byte
}

// Begin starts a transaction; the caller holds the session's lock until it has
// ended. It makes the repository where there is none, sweeps what an
// interrupted writer left behind, and waits while another transaction of r is
// open. Abort must be called, after Commit too.
//
// The error wraps checkpoint.ErrNoSpace when less is free than is reserved.
func (r *Repository) Begin(ctx context.Context) (*Tx, error) {
	t, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	t.reserving = true
	if err := r.Room(0); err != nil {
		t.Abort()
		return nil, err
	}
	return t, nil
}

func (r *Repository) begin(ctx context.Context) (*Tx, error) {
	select {
	case r.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("begin: %w", ctx.Err())
	}
	if err := r.prepare(ctx); err != nil {
		<-r.writing
		return nil, wrap("begin", err)
	}
	return &Tx{r: r, own: map[checkpoint.Hash]place{}, data: &builder{}, meta: &builder{}, free: newBuffers()}, nil
}

func (r *Repository) prepare(ctx context.Context) error {
	for _, name := range []string{dirCheckpoints, dirPins, dirPacks, dirQuarantine} {
		dir := filepath.Join(r.dir, name)
		if err := makeDir(r.disk, dir); err != nil {
			return err
		}
		if err := ownDir(dir); err != nil {
			return err
		}
	}
	if !r.prepared {
		if err := syncParents(r.disk, r.dir); err != nil {
			return err
		}
		r.prepared = true
	}
	for _, name := range []string{dirCheckpoints, dirPacks, dirQuarantine} {
		if err := sweep(r.disk, filepath.Join(r.dir, name)); err != nil {
			return err
		}
	}
	r.index.doubt()
	return r.index.scan(ctx)
}

// add stores one chunk, unless it is there.
func (t *Tx) add(ctx context.Context, b []byte, to *builder) (checkpoint.Hash, error) {
	if err := ctx.Err(); err != nil {
		return checkpoint.Hash{}, fmt.Errorf("put: %w", err)
	}
	id := checkpoint.Sum(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || t.closed {
		return id, errors.Join(errors.New("put: the transaction has ended"), t.err)
	}
	if t.has(id) {
		return id, nil
	}
	return id, t.store(id, b, to)
}

// holds is has for those that do not hold t.mu.
func (t *Tx) holds(id checkpoint.Hash) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.has(id)
}

// store adds a chunk to a frame. t.mu is held.
func (t *Tx) store(id checkpoint.Hash, b []byte, to *builder) error {
	if to.frame != nil && (len(to.plain)+len(b) > frameSize || len(to.frame.chunks) == packChunks) {
		if err := t.cut(to); err != nil {
			return err
		}
	}
	if to.frame == nil {
		to.frame, to.plain = &frame{}, t.free.get()
	}
	t.own[id] = place{to.frame, uint32(len(to.plain)), uint32(len(b))}
	to.frame.chunks = append(to.frame.chunks, chunk{id, uint32(len(b))})
	to.plain = append(to.plain, b...)
	return nil
}

// has reports whether a chunk is new in this transaction or committed, in a
// pack that is whole: what stands in a damaged one is stored once more, or a
// checkpoint would be acknowledged that cannot be restored.
func (t *Tx) has(id checkpoint.Hash) bool {
	if _, ok := t.own[id]; ok {
		return true
	}
	return slices.ContainsFunc(t.r.index.all(id), func(p place) bool { return t.r.index.whole(p.frame.pack) })
}

// cut ends the frame of a builder and hands it to the pack.
func (t *Tx) cut(b *builder) error {
	if b.frame == nil {
		return nil
	}
	if t.reserving {
		if err := t.r.Room(int64(len(b.plain))); err != nil {
			t.err = err
			return err
		}
	}
	if n := len(t.packs); n > 0 && !t.ended && t.packs[n-1].chunks+len(b.frame.chunks) > packChunks {
		t.ended = true
		if err := t.packs[n-1].finish(); err != nil {
			t.err = err
			return err
		}
	}
	if len(t.packs) == 0 || t.ended {
		w, err := t.newPack()
		if err != nil {
			t.err = err
			return err
		}
		t.packs, t.ended = append(t.packs, w), false
	}
	b.frame.plain = uint32(len(b.plain))
	t.packs[len(t.packs)-1].put(b.frame, b.plain)
	b.frame, b.plain = nil, nil
	return nil
}

func (t *Tx) newPack() (*packWriter, error) {
	if t.enc == nil {
		enc, err := newEncoder(t.r.compression, encoders)
		if err != nil {
			return nil, err
		}
		t.enc = enc
	}
	return newPackWriter(t.r.disk, filepath.Join(t.r.dir, dirPacks), t.enc, t.free)
}

// flush writes what was put to the pack and waits until it is there.
func (t *Tx) flush() error {
	if t.err != nil {
		return t.err
	}
	for _, b := range []*builder{t.data, t.meta} {
		if err := t.cut(b); err != nil {
			return err
		}
	}
	if n := len(t.packs); n > 0 && !t.ended {
		if err := t.packs[n-1].wait(); err != nil {
			t.err = err
			return err
		}
	}
	return nil
}

// NewBytes returns how many bytes the packs of this transaction take on disk,
// as they would be if it ended now; 0 when all that was put was there before.
// An error shows in Commit.
func (t *Tx) NewBytes() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.flush() != nil {
		return 0
	}
	var total int64
	for i, w := range t.packs {
		if i == len(t.packs)-1 && !t.ended {
			total += w.length()
		} else {
			total += w.size
		}
	}
	return total
}

// Chunk returns what was put or committed before: Tx is a Source.
func (t *Tx) Chunk(ctx context.Context, id checkpoint.Hash) ([]byte, error) {
	t.mu.Lock()
	p, ok := t.own[id]
	var err error
	if ok && !p.frame.stored.Load() && !t.closed {
		err = t.flush()
	}
	t.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return t.r.Chunk(ctx, id)
	}
	return t.r.fetch(id, p)
}

// Abort ends the transaction and removes what it wrote. After Commit it does
// nothing.
func (t *Tx) Abort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	// An encoder is megabytes; who keeps the transaction shall not keep them.
	defer func() { t.enc, t.own, t.free, t.data, t.meta, t.packs = nil, nil, nil, nil, nil, nil }()
	for i, w := range t.packs {
		if i == len(t.packs)-1 && !t.ended {
			w.abandon()
		}
		if strings.HasPrefix(filepath.Base(w.pack.path), tempPrefix) {
			t.r.disk.remove(w.pack.path) //nolint:errcheck // else swept by the next writer
		}
	}
	<-t.r.writing
}
