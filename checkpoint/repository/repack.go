package repository

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// sparseBelow is the part of a pack, in per cent of its plain bytes, below which
// what is needed of it is written anew. At a half, a repository is at most about
// twice as large as what it holds, and a byte is written anew once for every
// halving of its pack.
const sparseBelow = 50

// wanted returns the packs that hold nothing that is live, and those that hold
// little, both in the order of their names. One whose table could not be read is
// neither: what it holds is not known.
func (x *index) wanted(live *marks) (dead, sparse []*pack) {
	type share struct {
		pack        *pack
		live, total int64
	}
	shares := map[string]*share{}
	count := func(id checkpoint.Hash, p place) {
		s := shares[p.frame.pack.path]
		if s == nil {
			s = &share{pack: p.frame.pack}
			shares[p.frame.pack.path] = s
		}
		s.total += int64(p.size)
		if _, ok := live.chunks[id]; ok {
			s.live += int64(p.size)
		}
	}
	x.mu.RLock()
	for id, p := range x.places {
		count(id, p)
	}
	for id, more := range x.more {
		for _, p := range more {
			count(id, p)
		}
	}
	x.mu.RUnlock()
	for _, s := range shares {
		switch {
		case s.live == 0:
			dead = append(dead, s.pack)
		case s.live*100 < s.total*sparseBelow:
			sparse = append(sparse, s.pack)
		}
	}
	byName := func(a, b *pack) int { return strings.Compare(a.path, b.path) }
	slices.SortFunc(dead, byName)
	slices.SortFunc(sparse, byName)
	return dead, sparse
}

// forget drops what is remembered of a pack that was deleted. Where its chunks
// lay, the next scan forgets, which every transaction starts with.
func (x *index) forget(p *pack) {
	x.proofs.Lock()
	defer x.proofs.Unlock()
	delete(x.proven, p.path)
}

// repack writes what is live in packs to new ones, makes them durable, and only
// then deletes the old. One that cannot be read in full stays as it is.
func (p *pruner) repack(ctx context.Context, packs []*pack, live *marks) error {
	if p.dry {
		// What the new packs take is not known before they are written.
		p.report.Repacked = len(packs)
		return nil
	}
	var done []*pack
	for _, old := range packs {
		err := p.tx.copyLive(ctx, old, live)
		switch {
		case errors.Is(err, checkpoint.ErrDamaged):
			p.report.Damaged = append(p.report.Damaged, Damage{File: filepath.Join(dirPacks, filepath.Base(old.path)), Err: err})
		case err != nil:
			return err
		default:
			done = append(done, old)
		}
	}
	if len(done) == 0 {
		return nil
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
		// The same content makes the same pack, of the same name.
		done = slices.DeleteFunc(done, func(old *pack) bool { return old.path == name })
	}
	p.report.Repacked = len(done)
	return p.remove(done)
}

// copyLive puts what is live in a pack, verified, whether or not it is stored
// already: that is what it is copied from.
func (t *Tx) copyLive(ctx context.Context, old *pack, live *marks) error {
	frames, err := readTable(old.path)
	if err != nil {
		return err
	}
	for _, f := range frames {
		if !slices.ContainsFunc(f.chunks, live.holds) {
			continue
		}
		plain, err := readFrame(t.r.decoder, f)
		if err != nil {
			return err
		}
		for _, c := range f.chunks {
			b := plain[:c.size]
			plain = plain[c.size:]
			if !live.holds(c) {
				continue
			}
			if checkpoint.Sum(b) != c.id {
				return damaged("chunk %s in %s does not match its sha256", c.id, old.path)
			}
			if err := t.copy(ctx, c.id, b, live.chunks[c.id]); err != nil {
				return err
			}
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

func (m *marks) holds(c chunk) bool {
	_, ok := m.chunks[c.id]
	return ok
}
