package repository

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Which packs are written anew. The first rule bounds what a repository takes for
// nothing, the second how many packs there are: each checkpoint brings one.
const (
	// sparseBelow is the part of a pack, in per cent of its plain bytes, below
	// which what is needed of it is written anew: what is not takes at most as
	// much as what is.
	sparseBelow = 50
	// tightBelow is the same where the repository takes more than it may, and the
	// part of that, in per cent, at which enough is given up.
	tightBelow = 90
	// growth is how many times all smaller ones a pack has at least, as with git
	// repack --geometric: then packs are few. What is not in the largest pack takes
	// more, since it does not stand beside the versions there: at 3 that is a third
	// of it at most. At 2 a thousand generations took up to 2.85 times the first, and 4
	// bytes were written anew for each that was committed; at 3, 2.67 times and 5.
	growth = 3
	// mergeLeast is how many packs are merged at least: not every minute.
	mergeLeast = 8
	// mergeMost is how many are merged at once: of each a frame is kept in memory.
	mergeMost = 16
	// versionsInRow bounds how much more than a checkpoint needs is decoded when
	// it is read: the versions of one place stand in a row, so that they compress
	// against each other, but no more of them than this.
	versionsInRow = 8
)

// usage is how much of a pack is needed.
type usage struct {
	pack *pack
	// size is that of its file; needed estimates what of it is live.
	size, needed int64
	// total and live count plain bytes.
	total, live int64
	chunks      int
}

// usage returns how much of each pack is live, in the order of what is needed of
// them. Packs whose table could not be read are left out: what they hold is not
// known.
func (x *index) usage(live marks) ([]usage, error) {
	byPath := map[string]*usage{}
	x.each(func(id checkpoint.Hash, p place) {
		u := byPath[p.frame.pack.path]
		if u == nil {
			u = &usage{pack: p.frame.pack}
			byPath[p.frame.pack.path] = u
		}
		u.chunks++
		u.total += int64(p.size)
		if live.holds(chunk{id: id}) {
			u.live += int64(p.size)
			u.needed += p.stored()
		}
	})
	var all []usage
	for path, u := range byPath {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if u.live == 0 && !readable(path) {
			continue // what is in it is known from the index only
		}
		u.size = info.Size()
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b usage) int {
		return cmp.Or(cmp.Compare(a.needed, b.needed), cmp.Compare(a.pack.path, b.pack.path))
	})
	return all, nil
}

// stored estimates what a chunk takes in its pack: its part of the frame, and its
// entry in the table.
func (p place) stored() int64 {
	return int64(p.size)*int64(p.frame.packed)/int64(p.frame.plain) + int64(chunkEntry)
}

// each calls visit for every place of every chunk.
func (x *index) each(visit func(checkpoint.Hash, place)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.places.each(visit)
}

// rewritten returns which packs, sorted by what is needed of them, are written
// anew: those of which less than below per cent are live, and the smallest up to
// the last that is not growth times those before it, once these are many. A pack
// that is about as full as they get is left alone: it cannot be merged into one.
func rewritten(packs []usage, below int64) []usage {
	var sparse, rest []usage
	for _, u := range packs {
		switch {
		case u.live*100 < u.total*below:
			sparse = append(sparse, u)
		case u.chunks <= packChunks/2:
			rest = append(rest, u)
		}
	}
	end, sum := 0, int64(0)
	for i, u := range rest {
		if i > 0 && u.needed < growth*sum {
			end = i + 1
		}
		sum += u.needed
	}
	if end >= mergeLeast {
		sparse = append(sparse, rest[:end]...)
	}
	return sparse
}

// forget drops what is remembered of a pack that was deleted. Where its chunks
// lay, the next scan forgets, which every transaction starts with.
func (x *index) forget(p *pack) {
	x.proofs.Lock()
	defer x.proofs.Unlock()
	delete(x.proven, p.path)
	delete(x.seen, p.path)
}

// repack writes what is live in packs to new ones, makes them durable, and only
// then deletes the old. One that cannot be read in full stays as it is, and so do
// those that would take more than half of what is free on the disk meanwhile.
func (p *pruner) repack(ctx context.Context, packs []usage, live marks) error {
	if p.dry {
		// What the new packs take is not known before they are written.
		p.report.Repacked = len(packs)
		return nil
	}
	for some := range slices.Chunk(packs, mergeMost) {
		free, _, err := p.r.Space()
		if err != nil {
			return err
		}
		need := int64(0)
		for _, u := range some {
			need += u.needed
		}
		if need > free/2 {
			continue
		}
		if err := p.merge(ctx, packsOf(some), live); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruner) merge(ctx context.Context, packs []*pack, live marks) error {
	pieces, unread, err := piecesOf(packs, live)
	if err != nil {
		return err
	}
	if err := p.tx.copyPieces(ctx, pieces, unread); err != nil {
		return err
	}
	p.tx.mu.Lock()
	written, err := p.tx.finishPacks(ctx)
	p.tx.mu.Unlock()
	if err != nil {
		return err
	}
	for _, name := range written {
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		p.report.FreedBytes -= info.Size()
		p.report.WrittenBytes += info.Size()
		p.written[name] = true
	}
	done := slices.DeleteFunc(slices.Clone(packs), func(old *pack) bool {
		// The same content makes the same pack, of the same name: where an earlier
		// prune was stopped, its packs are written once more, and some of them stand
		// among those that are to go, in this round or a later one.
		if p.written[old.path] {
			return true
		}
		err, damaged := unread[old.path]
		if damaged {
			p.report.Damaged = append(p.report.Damaged, Damage{File: filepath.Join(dirPacks, filepath.Base(old.path)), Err: err})
		}
		return damaged
	})
	p.report.Repacked += len(done)
	return p.remove(done)
}

// piece is a chunk that is to be copied.
type piece struct {
	frame *frame
	// chunk is its number in the frame, and offset where it starts there.
	chunk, offset uint32
	mark          mark
}

// piecesOf returns what is live in packs, in the order in which it is to be
// stored: first what leads to content; then place by place, the versions of a
// place in a row. What is beyond versionsInRow comes after all places, in rows
// again. It also returns which packs cannot be read, by path, and why.
func piecesOf(packs []*pack, live marks) (pieces []piece, unread map[string]error, err error) {
	unread = map[string]error{}
	for _, old := range packs {
		frames, err := readTable(old.path)
		if errors.Is(err, checkpoint.ErrDamaged) {
			unread[old.path] = err
			continue
		} else if err != nil {
			return nil, nil, err
		}
		for _, f := range frames {
			offset := uint32(0)
			for i, c := range f.chunks {
				if m, ok := live[keyOf(c.id)]; ok {
					pieces = append(pieces, piece{f, uint32(i), offset, m})
				}
				offset += c.size
			}
		}
	}
	slices.SortStableFunc(pieces, func(a, b piece) int {
		if a.mark.meta != b.mark.meta {
			if a.mark.meta {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.mark.version/versionsInRow, b.mark.version/versionsInRow),
			cmp.Compare(a.mark.place, b.mark.place), cmp.Compare(a.mark.version, b.mark.version))
	})
	return pieces, unread, nil
}

// copyPieces stores pieces once more, verified, whether or not they are stored
// already: that is what they are copied from. Packs that turn out to be damaged
// are added to unread, and nothing more is read of them.
func (t *Tx) copyPieces(ctx context.Context, pieces []piece, unread map[string]error) error {
	// Each pack holds its chunks in about the same order, so that its frames are
	// needed one after the other.
	frames := newCache(mergeMost * frameSize)
	for _, p := range pieces {
		if _, damaged := unread[p.frame.pack.path]; damaged {
			continue
		}
		plain, ok := frames.get(p.frame)
		if !ok {
			var err error
			if plain, err = readFrame(t.r.decoder, p.frame); errors.Is(err, checkpoint.ErrDamaged) {
				unread[p.frame.pack.path] = err
				continue
			} else if err != nil {
				return err
			}
			frames.put(p.frame, plain)
		}
		c := p.frame.chunks[p.chunk]
		b := plain[p.offset : p.offset+c.size]
		if checkpoint.Sum(b) != c.id {
			unread[p.frame.pack.path] = damaged("chunk %s in %s does not match its sha256", c.id, p.frame.pack.path)
			continue
		}
		if err := t.copy(ctx, c.id, b, p.mark.meta); err != nil {
			return err
		}
	}
	return nil
}

// copy stores a chunk once more, in this transaction once only. meta says where
// it belongs.
func (t *Tx) copy(ctx context.Context, id checkpoint.Hash, b []byte, meta bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	if _, ok := t.own[id]; ok {
		return nil
	}
	to := t.data
	if meta {
		to = t.meta
	}
	return t.store(id, b, to)
}
