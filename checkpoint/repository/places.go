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
	// blocks hold the entries in the order in which they were added: those of a
	// pack side by side, frame by frame. A block is never moved, so that growing
	// takes no memory besides.
	blocks []*[placeBlock]placeEntry
	count  int
	// slots holds numbers of entries, from 1 on, the first of each id; its length
	// is a power of two, at least twice count.
	slots []uint32
}

type placeEntry struct {
	id checkpoint.Hash
	// frame is a number in frames; offset and size are those of place.
	frame, offset, size uint32
	// next is the number of another entry of the same id, 0 for none.
	next uint32
}

// placeBlock is how many entries a block holds: 48 KiB of them.
const placeBlock = 1 << 10

func newPlaces() places { return places{seed: maphash.MakeSeed(), slots: make([]uint32, placeBlock)} }

// entry returns the entry of that number, from 1 on.
func (p *places) entry(n uint32) *placeEntry { return &p.blocks[(n-1)/placeBlock][(n-1)%placeBlock] }

// slot returns where the first entry of an id stands, or would.
func (p *places) slot(id checkpoint.Hash) *uint32 {
	mask := uint64(len(p.slots) - 1)
	for i := maphash.Bytes(p.seed, id[:]); ; i++ {
		s := &p.slots[i&mask]
		if *s == 0 || p.entry(*s).id == id {
			return s
		}
	}
}

// first returns the number of the first entry of an id, 0 for none.
func (p *places) first(id checkpoint.Hash) uint32 { return *p.slot(id) }

// at returns an entry and the number of the next one of the same id.
func (p *places) at(n uint32) (place, uint32) {
	e := p.entry(n)
	return place{p.frames[e.frame], e.offset, e.size}, e.next
}

// grow makes room for n entries more.
func (p *places) grow(n int) {
	n += p.count
	for len(p.blocks)*placeBlock < n {
		p.blocks = append(p.blocks, new([placeBlock]placeEntry))
	}
	size := len(p.slots)
	for size < 2*n {
		size *= 2
	}
	if size == len(p.slots) {
		return
	}
	p.slots = make([]uint32, size)
	for i := range uint32(p.count) {
		// The first of an id comes first; those after it hang on it already.
		if s := p.slot(p.entry(i + 1).id); *s == 0 {
			*s = i + 1
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
		p.count++
		n := uint32(p.count)
		e := p.entry(n)
		*e = placeEntry{id: c.id, frame: uint32(len(p.frames) - 1), offset: offset, size: c.size}
		if *s == 0 {
			*s = n
		} else {
			first := p.entry(*s)
			first.next, e.next = n, first.next
		}
		offset += c.size
	}
	f.chunks = nil
}

// table returns the frames that the entries after first, up to last, are of, with
// their chunks.
func (p *places) table(first, last int) []*frame {
	var frames []*frame
	for n := first + 1; n <= last; {
		number := p.entry(uint32(n)).frame
		f := p.frames[number]
		c := &frame{pack: f.pack, offset: f.offset, packed: f.packed, plain: f.plain}
		for ; n <= last; n++ {
			e := p.entry(uint32(n))
			if e.frame != number {
				break
			}
			c.chunks = append(c.chunks, chunk{e.id, e.size})
		}
		frames = append(frames, c)
	}
	return frames
}

// each calls visit for every entry.
func (p *places) each(visit func(checkpoint.Hash, place)) {
	for n := range uint32(p.count) {
		at, _ := p.at(n + 1)
		visit(p.entry(n+1).id, at)
	}
}
