package repository

// A pack that was found whole, or was written by this process, is relied upon
// without being read again. That a file has changed since, its size and time tell
// at the cost of a stat; what a disk does in silence only a Verify finds. Either
// way the pack is doubted from then on: it is read in full before anything in it
// counts as stored, and a chunk of a damaged one is stored again.

// seen returns the stamp of a pack; of none, one that no pack has.
func seen(path string) stamp {
	s, _ := stampOf(path) // zero with an error
	return s
}

// doubt drops what is known of packs that have changed, or gone, since it was found
// out.
func (x *index) doubt() {
	x.proofs.Lock()
	defer x.proofs.Unlock()
	for path, was := range x.seen {
		if seen(path) != was {
			delete(x.proven, path)
			delete(x.seen, path)
			x.doubts++
		}
	}
}

// distrust notes that a pack is damaged: what stands in it does not count as
// stored.
func (x *index) distrust(path string) {
	x.proofs.Lock()
	defer x.proofs.Unlock()
	x.proven[path] = false
	x.seen[path] = seen(path)
	x.doubts++
}

// Doubts counts how often a pack, once relied upon, turned out to be another or
// damaged. When it has grown, what is known to be unchanged may not be stored: it
// is to be put again.
func (r *Repository) Doubts() uint64 {
	r.index.proofs.Lock()
	defer r.index.proofs.Unlock()
	return r.index.doubts
}
