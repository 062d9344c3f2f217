package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
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
	// own holds the chunks that this transaction has added.
	own map[checkpoint.Hash]place
	// Chunks of files and what leads to them (pages, lists) are gathered
	// apart: the one is read in order, the other first.
	data, meta *builder
	packs      []*packWriter // the last one is being written, unless ended
	ended      bool
	closed     bool
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
func (r *Repository) Begin(ctx context.Context) (*Tx, error) {
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
		if err := makeDir(r.disk, filepath.Join(r.dir, name)); err != nil {
			return err
		}
	}
	if !r.prepared {
		if err := syncParents(r.disk, r.dir); err != nil {
			return err
		}
		r.prepared = true
	}
	for _, name := range []string{dirCheckpoints, dirPacks} {
		if err := sweep(r.disk, filepath.Join(r.dir, name)); err != nil {
			return err
		}
	}
	return r.index.scan(ctx)
}

// Put stores what r gives, in chunks of chunkSize bytes (checkpoint.ChunkSize),
// and returns its name. What is stored already costs nothing.
func (t *Tx) Put(ctx context.Context, r io.Reader, chunkSize int) (checkpoint.Content, error) {
	if chunkSize <= 0 || chunkSize > checkpoint.MaxChunk {
		return checkpoint.Content{}, fmt.Errorf("put: chunks of %d bytes", chunkSize)
	}
	p := newPutter(t, chunkSize, t.data)
	buf := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := p.chunk(ctx, buf[:n]); err != nil {
				return checkpoint.Content{}, err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return p.finish(ctx)
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
		return damaged("content %s has no chunk size", c.SHA256)
	}
	ids, err := newTree(ctx, t, c)
	if err != nil {
		return err
	}
	buf, sum, left := make([]byte, c.ChunkSize), sha256.New(), c.Size
	for i := range ids.count {
		want, err := ids.id(ctx, i)
		if err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), left)]
		if n, err := io.ReadFull(r, b); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return damaged("content %s ends after %d of %d bytes", c.SHA256, c.Size-left+int64(n), c.Size)
		} else if err != nil {
			return fmt.Errorf("put: %w", err)
		}
		left -= int64(len(b))
		sum.Write(b) //nolint:errcheck // a hash never fails
		id, err := t.add(ctx, b, t.data)
		if err != nil {
			return err
		}
		if id != want {
			return damaged("chunk %d of content %s does not match its sha256", i, c.SHA256)
		}
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 {
		return damaged("content %s goes on after %d bytes", c.SHA256, c.Size)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("put: %w", err)
	}
	if c.Size > 0 && checkpoint.Hash(sum.Sum(nil)) != c.SHA256 {
		return damaged("content %s does not match its sha256", c.SHA256)
	}
	return nil
}

// putter makes content out of chunks.
type putter struct {
	t   *Tx
	to  *builder
	sum hash.Hash
	c   checkpoint.Content
	// levels holds the ids that wait for their page: levels[0] of chunks,
	// levels[n] of pages of level n. A full page is stored when another id
	// comes, so that the last one may become the root.
	levels [checkpoint.MaxLevels + 1][]byte
}

func newPutter(t *Tx, chunkSize int, to *builder) *putter {
	return &putter{t: t, to: to, sum: sha256.New(), c: checkpoint.Content{ChunkSize: chunkSize}}
}

func (p *putter) chunk(ctx context.Context, b []byte) error {
	id, err := p.t.add(ctx, b, p.to)
	if err != nil {
		return err
	}
	p.sum.Write(b) //nolint:errcheck // a hash never fails
	if p.c.Size += int64(len(b)); p.c.Size > checkpoint.MaxSize {
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
	p.c.SHA256 = checkpoint.Hash(p.sum.Sum(nil))
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
	if _, ok := t.find(id); ok {
		return id, nil
	}
	if to.frame != nil && (len(to.plain)+len(b) > frameSize || len(to.frame.chunks) == packChunks) {
		if err := t.cut(to); err != nil {
			return id, err
		}
	}
	if to.frame == nil {
		to.frame, to.plain = &frame{}, t.free.get()
	}
	t.own[id] = place{to.frame, uint32(len(to.plain)), uint32(len(b))}
	to.frame.chunks = append(to.frame.chunks, chunk{id, uint32(len(b))})
	to.plain = append(to.plain, b...)
	return id, nil
}

// find looks for a chunk in what is committed and in what is new.
func (t *Tx) find(id checkpoint.Hash) (place, bool) {
	if p, ok := t.own[id]; ok {
		return p, true
	}
	return t.r.index.find(id)
}

// cut ends the frame of a builder and hands it to the pack.
func (t *Tx) cut(b *builder) error {
	if b.frame == nil {
		return nil
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
		enc, err := newEncoder(encoders)
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

// Commit makes the checkpoint: the packs are made durable, then guard is called
// (it reads the session's epoch again, and an error of it ends the commit),
// then the manifest is given its name. When Commit returns without an error the
// checkpoint survives a crash of the machine; with one, an earlier checkpoint is
// still the latest, or, if only the last sync failed, this one may be there. It
// returns the sha256 of the manifest's plain JSON. The transaction has ended.
func (t *Tx) Commit(ctx context.Context, m *checkpoint.Manifest, guard func() error) (checkpoint.Hash, error) {
	plain, err := checkpoint.Encode(m)
	if err != nil {
		return checkpoint.Hash{}, err
	}
	return t.commit(ctx, m, plain, guard)
}

// CommitBytes commits a manifest whose plain JSON exists already: the exact
// bytes are kept, so that its sha256 is what it was elsewhere. Where the very
// same manifest is there, what was put is made durable and nothing else happens.
func (t *Tx) CommitBytes(ctx context.Context, plain []byte, guard func() error) (checkpoint.Hash, error) {
	m, err := checkpoint.Decode(plain)
	if err != nil {
		return checkpoint.Hash{}, err
	}
	return t.commit(ctx, m, plain, guard)
}

func (t *Tx) commit(ctx context.Context, m *checkpoint.Manifest, plain []byte, guard func() error) (checkpoint.Hash, error) {
	defer t.Abort()
	sum := checkpoint.Sum(plain)
	err := t.commitPacks(ctx, m)
	if err == nil {
		err = t.commitManifest(m.ID, plain, guard)
	}
	if err != nil {
		return checkpoint.Hash{}, fmt.Errorf("commit checkpoint %s: %w", m.ID, err)
	}
	return sum, nil
}

func (t *Tx) commitPacks(ctx context.Context, m *checkpoint.Manifest) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errors.New("the transaction has ended")
	}
	if err := t.complete(m); err != nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	if len(t.packs) == 0 {
		return ctx.Err()
	}
	if !t.ended {
		t.ended = true
		if err := t.packs[len(t.packs)-1].finish(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := filepath.Join(t.r.dir, dirPacks)
	for _, w := range t.packs {
		if err := w.rename(dir); err != nil {
			return err
		}
	}
	if err := t.r.disk.syncDir(dir); err != nil {
		return wrap("sync packs", err)
	}
	for _, w := range t.packs {
		t.r.index.insert(filepath.Base(w.pack.path), w.frames)
	}
	t.packs = nil
	return nil
}

// complete checks that every content of m is there, as far as the manifest
// itself says: an incomplete checkpoint must not look like one.
func (t *Tx) complete(m *checkpoint.Manifest) error {
	for _, ref := range references(m) {
		ids := ref.Content.Chunks
		if ref.Content.Recipe != nil {
			ids = []checkpoint.Hash{ref.Content.Recipe.SHA256}
		}
		for _, id := range ids {
			if _, ok := t.find(id); !ok {
				return fmt.Errorf("component %s: %s: chunk %s was never put", ref.Component, ref.Path, id)
			}
		}
	}
	return nil
}

func (t *Tx) commitManifest(id checkpoint.ID, plain []byte, guard func() error) (err error) {
	d, name := t.r.disk, filepath.Join(t.r.dir, manifestName(id))
	if there, err := t.r.LoadBytes(context.Background(), id); err == nil {
		if bytes.Equal(there, plain) {
			return nil
		}
		return errors.New("a checkpoint of that id exists already")
	} else if !errors.Is(err, checkpoint.ErrNotFound) {
		return fmt.Errorf("a checkpoint of that id exists already: %w", err)
	}
	sealed, err := seal(plain)
	if err != nil {
		return err
	}
	temp := tempName(filepath.Dir(name))
	defer func() {
		if err != nil {
			d.remove(temp) //nolint:errcheck // swept by the next writer
		}
	}()
	if err := writeFile(d, temp, sealed); err != nil {
		return wrap("write manifest", err)
	}
	if guard != nil {
		if err := guard(); err != nil {
			return err
		}
	}
	if err := d.rename(temp, name); err != nil {
		return wrap("name manifest", err)
	}
	return wrap("sync manifests", d.syncDir(filepath.Dir(name)))
}

// writeFile writes a new file durably.
func writeFile(d disk, name string, b []byte) error {
	f, err := d.create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
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
