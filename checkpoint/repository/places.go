package repository

import (
	"hash/maphash"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// places is a hash table from ids to where they lie. A map would take twice the
// memory, and the collector would look at every entry: a repository of a million
// chunks takes 60 MB here.
type places struct {
	seed   maphash.Seed // ids come from files: nobody shall choose where they go
	frames []*frame
	// entries stand in the order in which they were added: those of a pack side
	// by side, frame by frame.
	entries []placeEntry
	// slots holds numbers of entries, from 1 on, the first of each id; its length
	// is a power of two, at least twice that of entries.
	slots []uint32
}

type placeEntry struct {
	id checkpoint.Hash
	// frame is a number in frames; offset and size are those of place.
	frame, offset, size uint32
	// next is the number of another entry of the same id, 0 for none.
	next uint32
}

func newPlaces() places { return places{seed: maphash.MakeSeed(), slots: make([]uint32, 1024)} }

// slot returns where the first entry of an id stands, or would.
func (p *places) slot(id checkpoint.Hash) *uint32 {
	mask := uint64(len(p.slots) - 1)
	for i := maphash.Bytes(p.seed, id[:]); ; i++ {
		s := &p.slots[i&mask]
		if *s == 0 || p.entries[*s-1].id == id {
			return s
		}
	}
}

// first returns the number of the first entry of an id, 0 for none.
func (p *places) first(id checkpoint.Hash) uint32 { return *p.slot(id) }

// at returns an entry and the number of the next one of the same id.
func (p *places) at(n uint32) (place, uint32) {
	e := &p.entries[n-1]
	return place{p.frames[e.frame], e.offset, e.size}, e.next
}

// grow makes room for n entries more.
func (p *places) grow(n int) {
	if n += len(p.entries); n > cap(p.entries) {
		bigger := make([]placeEntry, len(p.entries), n+n/4)
		copy(bigger, p.entries)
		p.entries = bigger
	}
	size := len(p.slots)
	for size < 2*n {
		size *= 2
	}
	if size > len(p.slots) {
		p.slots = make([]uint32, size)
		for i := range p.entries {
			// The first of an id comes first; those after it hang on it already.
			if s := p.slot(p.entries[i].id); *s == 0 {
				*s = uint32(i + 1)
			}
		}
	}
}

// add enters a frame. Its table is not needed any more.
func (p *places) add(f *frame) {
	p.grow(len(f.chunks))
	p.frames = append(p.frames, f)
	offset := uint32(0)
	for _, c := range f.chunks {
		s := p.slot(c.id)
		p.entries = append(p.entries, placeEntry{id: c.id, frame: uint32(len(p.frames) - 1), offset: offset, size: c.size})
		if n := uint32(len(p.entries)); *s == 0 {
			*s = n
		} else {
			first, last := &p.entries[*s-1], &p.entries[n-1]
			first.next, last.next = n, first.next
		}
		offset += c.size
	}
	f.chunks = nil
}

// table returns the frames that entries from first on, up to last, are of, with
// their chunks.
func (p *places) table(first, last int) []*frame {
	var frames []*frame
	for i := first; i < last; {
		number := p.entries[i].frame
		f := p.frames[number]
		c := &frame{pack: f.pack, offset: f.offset, packed: f.packed, plain: f.plain}
		for ; i < last && p.entries[i].frame == number; i++ {
			c.chunks = append(c.chunks, chunk{p.entries[i].id, p.entries[i].size})
		}
		frames = append(frames, c)
	}
	return frames
}

// each calls visit for every entry.
func (p *places) each(visit func(checkpoint.Hash, place)) {
	for i := range p.entries {
		at, _ := p.at(uint32(i + 1))
		visit(p.entries[i].id, at)
	}
}
