package repository

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
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
// holds nothing that they do not say. What was read of them is kept in index/, so
// that the next process need not open every pack.
type index struct {
	dir string

	mu     sync.RWMutex
	loaded bool
	// packs holds the packs that were read, by file name.
	packs  map[string]known
	places places
	file   cacheFile

	proofs sync.Mutex
	// proven says of packs, by path, whether they were found to be whole.
	proven map[string]bool
	// seen says what they were like then, and doubts how often one has changed
	// since.
	seen   map[string]stamp
	doubts uint64
}

// known is what the index knows of a pack.
type known struct {
	// err says why its table could not be read.
	err error
	// first and last are where its entries start and end in places.
	first, last int
	// size is that of its record in the cache, in bytes; saved is set when it has
	// one.
	size  int64
	saved bool
}

const (
	tablesMagic = "helix.ckpt/index-packs/v1\n"
	// tableRecord is what stands before a pack's table in a record: the pack's
	// name and the length of its file.
	tableRecord = len(checkpoint.Hash{}) + 8
	// maxCachedTable is how many chunks a pack has at most whose table is kept: to
	// open a file costs as much as to read 36 KiB.
	maxCachedTable = 1 << 10
)

// newIndex returns the index of the packs of the repository in dir.
func newIndex(dir string) *index {
	return &index{
		dir: filepath.Join(dir, dirPacks), proven: map[string]bool{}, seen: map[string]stamp{}, places: newPlaces(),
		file: cacheFile{path: filepath.Join(dir, dirIndex, "packs"), magic: tablesMagic},
	}
}

// find returns where a chunk lies, as far as is known.
func (x *index) find(id checkpoint.Hash) (place, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := x.places.first(id)
	if n == 0 {
		return place{}, false
	}
	p, _ := x.places.at(n)
	return p, true
}

// all returns every place of a chunk that is known.
func (x *index) all(id checkpoint.Hash) []place {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var all []place
	for n := x.places.first(id); n != 0; {
		var p place
		p, n = x.places.at(n)
		all = append(all, p)
	}
	return all
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
	x.seen[p.path] = seen(p.path)
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
		x.packs, x.places = map[string]known{}, newPlaces()
		x.recall(there)
	}
	x.loaded = false // until every pack is read
	for name := range there {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if _, ok := x.packs[name]; ok {
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

// recall enters the packs that are there and in the cache. A pack of that name
// and length that has other bytes now is found out by whoever reads it. x.mu is
// held.
func (x *index) recall(there map[string]bool) {
	x.file.load(func(payload []byte) {
		if len(payload) < tableRecord {
			return
		}
		name := filepath.Base(packName(checkpoint.Hash(payload)))
		if _, ok := x.packs[name]; ok || !there[name] {
			return
		}
		path := filepath.Join(x.dir, name)
		size := binary.LittleEndian.Uint64(payload[idLen:])
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || uint64(info.Size()) != size {
			return
		}
		table := payload[tableRecord:]
		frames, err := decodeTable(&pack{path: path}, table, int64(size)-int64(skipHead+len(table)+trailerLen))
		if err != nil {
			return
		}
		x.add(name, frames, nil)
		k := x.packs[name]
		k.saved = true
		x.packs[name] = k
	})
}

// save writes the tables to the cache that it does not have yet. The caller
// holds the session's lock.
func (x *index) save(d disk) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.loaded {
		return
	}
	var live int64
	var fresh, all []string
	for name, k := range x.packs {
		if k.err != nil || k.last-k.first > maxCachedTable {
			continue
		}
		live += k.size
		all = append(all, name)
		if !k.saved {
			fresh = append(fresh, name)
			k.saved = true
			x.packs[name] = k
		}
	}
	if len(fresh) > 0 {
		x.file.save(d, x.records(fresh), live, x.records(all))
	}
}

// records gives the cache's records of packs. x.mu is held.
func (x *index) records(names []string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, name := range names {
			k := x.packs[name]
			frames := x.places.table(k.first, k.last)
			table, end := encodeTable(frames), int64(headerLen)
			if n := len(frames); n > 0 {
				end = frames[n-1].offset + int64(frames[n-1].packed)
			}
			sum, _ := parsePackName(name)
			b := binary.LittleEndian.AppendUint64(sum[:], uint64(end+int64(skipHead+len(table)+trailerLen)))
			if !yield(append(b, table...)) {
				return
			}
		}
	}
}

// add enters a pack. x.mu is held.
func (x *index) add(name string, frames []*frame, err error) {
	chunks := 0
	for _, f := range frames {
		chunks += len(f.chunks)
	}
	k := known{err: err, first: x.places.count, size: int64(tableRecord + tableHead + len(frames)*frameEntry + chunks*chunkEntry)}
	x.places.grow(chunks)
	for _, f := range frames {
		x.places.add(f)
	}
	k.last = x.places.count
	x.packs[name] = k
}

// insert enters a pack that was just committed.
func (x *index) insert(name string, frames []*frame) {
	path := filepath.Join(x.dir, name)
	x.proofs.Lock()
	x.proven[path], x.seen[path] = true, seen(path)
	x.proofs.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	// One that was there already, damaged perhaps, has the same table.
	if k, ok := x.packs[name]; x.loaded && (!ok || k.err != nil) {
		x.add(name, frames, nil)
	}
}

// unreadable returns why packs could not be read, if any could not.
func (x *index) unreadable() error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var errs []error
	for name, k := range x.packs {
		if k.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Join(dirPacks, name), k.err))
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

// readable reports whether the table of a pack can be read.
func readable(path string) bool {
	_, err := readTable(path)
	return err == nil
}
