package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// place is where a chunk lies: in a frame, from offset on, in plain bytes.
type place struct {
	frame  *frame
	offset uint32
	size   uint32
}

// index knows where every chunk is. It is made of the tables of all packs and
// holds nothing that they do not say.
type index struct {
	dir string

	mu     sync.RWMutex
	loaded bool
	// packs holds the packs that were read, by file name; those whose table
	// could not be read have an error.
	packs  map[string]error
	places map[checkpoint.Hash]place
	// more holds further places of chunks that stand in several packs.
	more map[checkpoint.Hash][]place

	proofs sync.Mutex
	// proven says of packs, by path, whether they were found to be whole.
	proven map[string]bool
	// seen says what they were like then, and doubts how often one has changed
	// since.
	seen   map[string]seen
	doubts uint64
}

func newIndex(dir string) *index {
	return &index{dir: dir, proven: map[string]bool{}, seen: map[string]seen{}}
}

// find returns where a chunk lies, as far as is known.
func (x *index) find(id checkpoint.Hash) (place, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	p, ok := x.places[id]
	return p, ok
}

// all returns every place of a chunk that is known.
func (x *index) all(id checkpoint.Hash) []place {
	x.mu.RLock()
	defer x.mu.RUnlock()
	p, ok := x.places[id]
	if !ok {
		return nil
	}
	return append([]place{p}, x.more[id]...)
}

// whole reports whether a pack is what it was when it was written: its name is
// the sha256 of its bytes. Each is read once, when something that stands in it
// is about to be relied upon without being read.
func (x *index) whole(p *pack) bool {
	x.proofs.Lock()
	defer x.proofs.Unlock()
	if sound, known := x.proven[p.path]; known {
		return sound
	}
	x.seen[p.path] = seenOf(p.path)
	want, _ := parsePackName(filepath.Base(p.path))
	sound := sumFile(p.path) == want
	x.proven[p.path] = sound
	return sound
}

// sumFile returns the sha256 of a file; zero when it cannot be read.
func sumFile(path string) checkpoint.Hash {
	f, _, err := openFile(path)
	if err != nil {
		return checkpoint.Hash{}
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return checkpoint.Hash{}
	}
	return checkpoint.Hash(sum.Sum(nil))
}

// load scans the packs if that was not done yet.
func (x *index) load(ctx context.Context) error {
	x.mu.RLock()
	loaded := x.loaded
	x.mu.RUnlock()
	if loaded {
		return nil
	}
	return x.scan(ctx)
}

// scan brings the index up to date: packs that are new are read, and when one
// has gone, all of them, because the chunks it held may stand in another. When
// one goes meanwhile, that other may have come after the names were read.
func (x *index) scan(ctx context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		if complete, err := x.look(ctx); complete || err != nil {
			return err
		}
	}
}

// look reports whether every pack was there that was looked for. x.mu is held.
func (x *index) look(ctx context.Context) (complete bool, err error) {
	names, err := readDir(x.dir)
	if err != nil {
		return false, fmt.Errorf("read index: %w", err)
	}
	there := map[string]bool{}
	for _, name := range names {
		if _, ok := parsePackName(name); ok {
			there[name] = true
		}
	}
	if !x.loaded || x.gone(there) {
		x.packs, x.places = map[string]error{}, map[checkpoint.Hash]place{}
		x.more = map[checkpoint.Hash][]place{}
	}
	x.loaded = false // until every pack is read
	for name := range there {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if _, known := x.packs[name]; known {
			continue
		}
		frames, err := readTable(filepath.Join(x.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		x.add(name, frames, err)
	}
	x.loaded = true
	return true, nil
}

func (x *index) gone(there map[string]bool) bool {
	for name := range x.packs {
		if !there[name] {
			return true
		}
	}
	return false
}

// add enters a pack. x.mu is held.
func (x *index) add(name string, frames []*frame, err error) {
	x.packs[name] = err
	for _, f := range frames {
		offset := uint32(0)
		for _, c := range f.chunks {
			if _, known := x.places[c.id]; !known {
				x.places[c.id] = place{f, offset, c.size}
			} else {
				x.more[c.id] = append(x.more[c.id], place{f, offset, c.size})
			}
			offset += c.size
		}
		f.chunks = nil // the table is not needed any more
	}
}

// insert enters a pack that was just committed.
func (x *index) insert(name string, frames []*frame) {
	path := filepath.Join(x.dir, name)
	x.proofs.Lock()
	x.proven[path], x.seen[path] = true, seenOf(path)
	x.proofs.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.loaded {
		x.add(name, frames, nil)
	}
}

// unreadable returns why packs could not be read, if any could not.
func (x *index) unreadable() error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var errs []error
	for name, err := range x.packs {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Join(dirPacks, name), err))
		}
	}
	return errors.Join(errs...)
}

func parsePackName(name string) (checkpoint.Hash, bool) {
	stem, ok := strings.CutSuffix(name, packSuffix)
	if !ok {
		return checkpoint.Hash{}, false
	}
	sum, err := checkpoint.ParseHash(stem)
	return sum, err == nil && sum.String() == stem
}

// readTable reads the trailer and the table of a pack, nothing else of it.
func readTable(path string) ([]*frame, error) {
	f, size, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size < int64(headerLen+skipHead+tableHead+trailerLen) {
		return nil, damaged("pack of %d bytes", size)
	}
	b := make([]byte, trailerLen)
	if _, err := f.ReadAt(b, size-int64(trailerLen)); err != nil {
		return nil, err
	}
	t, err := decodeTrailer(b, size)
	if err != nil {
		return nil, err
	}
	b = make([]byte, skipHead+t.size)
	if _, err := f.ReadAt(b, t.offset); err != nil {
		return nil, err
	}
	table, err := skippable(b, magicTable)
	if err != nil {
		return nil, err
	}
	if checkpoint.Sum(table) != t.sum {
		return nil, damaged("the table does not match its sha256")
	}
	return decodeTable(&pack{path: path}, table, t.offset)
}
