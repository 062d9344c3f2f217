package repository

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// List returns what there is, newest first. A manifest that cannot be read is
// reported as Damage and does not hide the others. Of one whose file has the
// length and time that it had when it was last read, only that is looked at:
// that it is damaged since, Load and Verify find.
func (r *Repository) List(ctx context.Context) ([]checkpoint.Entry, []Damage, error) {
	ids, err := r.ids()
	if err != nil {
		return nil, nil, err
	}
	pins, err := r.pins()
	if err != nil {
		return nil, nil, err
	}
	var list []checkpoint.Entry
	var damage []Damage
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		e, err := r.entry(ctx, id)
		if errors.Is(err, checkpoint.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			damage = append(damage, Damage{File: manifestName(id), Checkpoint: id, Err: err})
			continue
		}
		e.Pinned = pins[string(id)]
		list = append(list, e)
	}
	checkpoint.SortEntries(list)
	return list, damage, nil
}

func (r *Repository) pins() (map[string]bool, error) {
	names, err := readDir(filepath.Join(r.dir, dirPins))
	if err != nil {
		return nil, wrap("list pins", err)
	}
	pins := make(map[string]bool, len(names))
	for _, name := range names {
		pins[name] = true
	}
	return pins, nil
}

// entry returns what a list shows of a checkpoint, but its pin.
func (r *Repository) entry(ctx context.Context, id checkpoint.ID) (checkpoint.Entry, error) {
	stamp, statErr := stampOf(filepath.Join(r.dir, manifestName(id)))
	if e, ok := r.entries.get(id, stamp); ok && statErr == nil {
		return e, nil
	}
	m, sum, err := r.Load(ctx, id)
	if err != nil {
		return checkpoint.Entry{}, err
	}
	e := m.Entry(sum)
	if statErr == nil {
		r.entries.put(id, listed{Stamp: stamp, Entry: e})
	}
	return e, nil
}

// entries remembers what a list shows of manifests, here and in index/.
type entries struct {
	mu     sync.Mutex
	loaded bool
	known  map[checkpoint.ID]listed
	file   cacheFile
}

// listed is one manifest as it was read.
type listed struct {
	Stamp stamp            `json:"stamp"`
	Entry checkpoint.Entry `json:"entry"`

	// record is its record in the cache, in bytes; 0 when it has none.
	record int64
}

// stamp tells a file from what it was.
type stamp struct {
	Size    int64 `json:"size"`
	MtimeNS int64 `json:"mtime_ns"`
}

func stampOf(name string) (stamp, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.Size(), info.ModTime().UnixNano()}, nil
}

const entriesMagic = "helix.ckpt/index-checkpoints/v1\n"

func newEntries(dir string) *entries {
	return &entries{known: map[checkpoint.ID]listed{}, file: cacheFile{path: filepath.Join(dir, dirIndex, "checkpoints"), magic: entriesMagic}}
}

// saveIndex brings index/ up to date. The caller holds the session's lock.
func (r *Repository) saveIndex() {
	if ids, err := r.ids(); err == nil {
		r.entries.keep(ids)
	}
	r.entries.save(r.disk)
	r.index.save(r.disk)
	r.hints.save(r.disk)
}

// get returns the entry of a checkpoint whose manifest has that stamp.
func (e *entries) get(id checkpoint.ID, now stamp) (checkpoint.Entry, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.load()
	l, ok := e.known[id]
	l.Entry.Components = maps.Clone(l.Entry.Components)
	return l.Entry, ok && l.Stamp == now
}

// load reads the cache, once. e.mu is held.
func (e *entries) load() {
	if e.loaded {
		return
	}
	e.loaded = true
	e.file.load(func(payload []byte) {
		var l listed
		if err := json.Unmarshal(payload, &l); err == nil {
			l.record = int64(len(payload))
			e.known[l.Entry.ID] = l
		}
	})
}

func (e *entries) put(id checkpoint.ID, l listed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.load()
	if e.known[id].Stamp != l.Stamp {
		e.known[id] = l
	}
}

// keep drops what is known of checkpoints that are gone.
func (e *entries) keep(ids []checkpoint.ID) {
	there := make(map[checkpoint.ID]bool, len(ids))
	for _, id := range ids {
		there[id] = true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.load()
	maps.DeleteFunc(e.known, func(id checkpoint.ID, _ listed) bool { return !there[id] })
}

// save writes to the cache what it does not have yet. The caller holds the
// session's lock.
func (e *entries) save(d disk) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.load()
	var live int64
	var fresh []listed
	for id, l := range e.known {
		if l.record == 0 {
			l.record = int64(len(l.encode()))
			e.known[id] = l
			fresh = append(fresh, l)
		}
		live += l.record
	}
	if len(fresh) > 0 {
		e.file.save(d, records(slices.Values(fresh)), live, records(maps.Values(e.known)))
	}
}

func records(list iter.Seq[listed]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for l := range list {
			if !yield(l.encode()) {
				return
			}
		}
	}
}

func (l listed) encode() []byte {
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // plain fields only
	}
	return b
}
