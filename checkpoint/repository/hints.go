package repository

import (
	"crypto/rand"
	"encoding/binary"
	"iter"
	"path/filepath"
	"slices"
	"sync"

	"github.com/minio/highwayhash"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Hints make the cost of a capture follow the change. For what is put again and
// again under one key, they remember of every chunk a short hash, which is six
// times as fast as its id, and the id: a chunk with the same hint has the same
// id. The hash is keyed with random bytes, so that nobody can make a changed
// chunk look unchanged; by chance it happens once in 2^64.
//
// Each hint is true for itself: an old, lost or mixed set of them is never wrong,
// it only spares less. So they are kept in index/, and what has changed is
// appended when a checkpoint is committed.
type hints struct {
	file cacheFile

	mu     sync.Mutex
	loaded bool
	key    []byte // of the hash
	tables map[string]*hintTable
	tick   uint64

	// stored decides whether a chunk may be relied upon; a test breaks it.
	stored func(*Tx, checkpoint.Hash) bool
}

// hintTable holds the hints of what was put last under one key.
type hintTable struct {
	mu     sync.Mutex
	chunks []hint
	// size and sum are those of the whole: sum is zero where it is not known, or
	// not of these chunks.
	size int64
	sum  checkpoint.Hash
	// changed are the chunks whose hints the file does not have yet.
	changed []uint32
	used    uint64 // the tick of its last use
}

type hint struct {
	hash uint64
	id   checkpoint.Hash
}

const (
	hintsMagic = "helix.ckpt/index-hints/v1\n"
	// maxHints bounds the hints in memory, in chunks: 4 GiB of full ones, 10 MiB
	// of hints. What is used least gives way.
	maxHints = 1 << 18
	// maxHintKeys bounds how many things have hints.
	maxHintKeys = 1 << 10
	// maxHintKey bounds a key, in bytes.
	maxHintKey = 4 << 10

	hintEntry = 4 + 8 + idLen
)

func newHints(dir string) *hints {
	return &hints{
		file:   cacheFile{path: filepath.Join(dir, dirIndex, "hints"), magic: hintsMagic},
		tables: map[string]*hintTable{}, stored: (*Tx).holds,
	}
}

// table returns the hints of a key, empty ones when nothing is known; nil when
// it can have none.
func (h *hints) table(key string) *hintTable {
	if len(key) > maxHintKey {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.load()
	t := h.tables[key]
	if t == nil {
		if len(h.tables) >= maxHintKeys {
			h.evict()
		}
		t = &hintTable{}
		h.tables[key] = t
	}
	h.tick++
	t.used = h.tick
	return t
}

// load reads the file, once. h.mu is held.
func (h *hints) load() {
	if h.loaded {
		return
	}
	h.loaded = true
	h.file.load(func(payload []byte) {
		if h.key == nil {
			if len(payload) == highwayhash.Size {
				h.key = slices.Clone(payload)
			}
			return
		}
		h.read(payload)
	})
	if h.key == nil {
		h.key, h.file.size = make([]byte, highwayhash.Size), 0
		rand.Read(h.key)
	}
}

// A record holds the hints of one key that have changed: the length of the key
// and the key; the chunks of the whole, its size and sha256; and for each chunk
// that has changed its number, hint and id.
func (h *hints) record(key string, t *hintTable, changed iter.Seq[uint32]) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(key)))
	b = append(b, key...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.chunks)))
	b = binary.LittleEndian.AppendUint64(b, uint64(t.size))
	b = append(b, t.sum[:]...)
	for i := range changed {
		if int(i) >= len(t.chunks) {
			continue // shorter since
		}
		b = binary.LittleEndian.AppendUint32(b, i)
		b = binary.LittleEndian.AppendUint64(b, t.chunks[i].hash)
		b = append(b, t.chunks[i].id[:]...)
	}
	return b
}

// read enters a record. h.mu is held.
func (h *hints) read(b []byte) {
	if len(b) < 2 {
		return
	}
	n := int(binary.LittleEndian.Uint16(b))
	if b = b[2:]; len(b) < n+4+8+idLen {
		return
	}
	key := string(b[:n])
	b = b[n:]
	count := binary.LittleEndian.Uint32(b)
	if count > maxHints || len(h.tables) >= maxHintKeys {
		return
	}
	t := h.tables[key]
	if t == nil {
		t = &hintTable{}
	}
	// A small file could name many large tables.
	if h.total()-len(t.chunks)+int(count) > maxHints {
		return
	}
	h.tables[key] = t
	t.resize(int(count))
	t.size = int64(binary.LittleEndian.Uint64(b[4:]))
	copy(t.sum[:], b[4+8:])
	for b = b[4+8+idLen:]; len(b) >= hintEntry; b = b[hintEntry:] {
		if i := binary.LittleEndian.Uint32(b); i < count {
			t.chunks[i] = hint{binary.LittleEndian.Uint64(b[4:]), checkpoint.Hash(b[4+8 : hintEntry])}
		}
	}
}

func (t *hintTable) resize(n int) {
	if n <= len(t.chunks) {
		t.chunks = t.chunks[:n]
		return
	}
	t.chunks = append(t.chunks, make([]hint, n-len(t.chunks))...)
}

// of returns the hint of a chunk's bytes.
func (h *hints) of(b []byte) uint64 { return highwayhash.Sum64(b, h.key) }

// known returns the id of chunk i if its bytes have that hint. t.mu is held.
func (t *hintTable) known(i int, hash uint64) (checkpoint.Hash, bool) {
	if i >= len(t.chunks) || t.chunks[i].hash != hash || t.chunks[i].id.IsZero() {
		return checkpoint.Hash{}, false
	}
	return t.chunks[i].id, true
}

// learn enters the hint of chunk i. t.mu is held.
func (t *hintTable) learn(i int, hash uint64, id checkpoint.Hash) {
	if i >= maxHints || i > len(t.chunks) {
		return
	}
	if i == len(t.chunks) {
		t.chunks = append(t.chunks, hint{})
	}
	if now := (hint{hash, id}); t.chunks[i] != now {
		t.chunks[i] = now
		t.changed = append(t.changed, uint32(i))
		t.sum = checkpoint.Hash{}
	}
}

// finish notes what the whole is that was put, and completes c: where no chunk
// was hashed, the sha256 of the whole is the one before. t.mu is held.
func (t *hintTable) finish(c *checkpoint.Content, chunks, spared int) {
	same := chunks == len(t.chunks) && c.Size == t.size
	if spared == chunks && same {
		c.SHA256 = t.sum
	}
	t.resize(min(chunks, len(t.chunks)))
	t.size, t.sum = c.Size, c.SHA256
}

// save writes what is new. The caller holds the session's lock, and no put is
// going on.
func (h *hints) save(d disk) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.loaded {
		return
	}
	h.bound()
	var fresh [][]byte
	live := int64(len(h.key))
	for key, t := range h.tables {
		live += int64(2 + len(key) + 4 + 8 + idLen + len(t.chunks)*hintEntry)
		if len(t.changed) > 0 {
			fresh = append(fresh, h.record(key, t, slices.Values(t.changed)))
			t.changed = nil
		}
	}
	if len(fresh) == 0 {
		return
	}
	h.file.save(d, slices.Values(fresh), live, func(yield func([]byte) bool) {
		if !yield(h.key) {
			return
		}
		for key, t := range h.tables {
			if !yield(h.record(key, t, upTo(len(t.chunks)))) {
				return
			}
		}
	})
}

func upTo(n int) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for i := range uint32(n) {
			if !yield(i) {
				return
			}
		}
	}
}

// bound drops what was used least until the rest is not too much.
func (h *hints) bound() {
	for total := h.total(); total > maxHints; {
		total -= h.evict()
	}
}

// total returns how many chunks have hints.
func (h *hints) total() int {
	n := 0
	for _, t := range h.tables {
		n += len(t.chunks)
	}
	return n
}

// evict drops the hints that were used least and returns how many they were.
func (h *hints) evict() int {
	oldest, n := "", 0
	for key, t := range h.tables {
		if o := h.tables[oldest]; o == nil || t.used < o.used {
			oldest = key
		}
	}
	if t := h.tables[oldest]; t != nil {
		n = len(t.chunks)
	}
	delete(h.tables, oldest)
	return n
}
