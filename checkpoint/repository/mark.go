package repository

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// marks holds every chunk and recipe page that checkpoints need, and where each
// belongs. It is keyed by the first bytes of their ids, since there may be a
// million: two that start alike count as one, so that one of them may stay that
// nobody needs.
type marks map[uint64]mark

// mark is where a chunk belongs: at one place of a file, a list or the tree above
// it, of which checkpoints hold several versions.
type mark struct {
	// place counts places in the order of paths and of bytes, and version those
	// at this place, the newest first.
	place   uint32
	version uint16
	// rank is the lowest of the checkpoints that need it: see pruner.ranks.
	rank uint16
	// meta: it leads to content: a page, or a chunk of a list.
	meta bool
}

func keyOf(id checkpoint.Hash) uint64 { return binary.LittleEndian.Uint64(id[:]) }

func (m marks) holds(c chunk) bool {
	_, ok := m[keyOf(c.id)]
	return ok
}

// marker goes through everything that checkpoints need, place by place and not
// one checkpoint after the other: so it reads each page once, in the order in
// which merged packs hold them.
type marker struct {
	r     *Repository
	marks marks
	// files holds the versions of every file and list, by component and path.
	files map[string][]node
	// lists holds the lists whose files are in files, by what names them, and the
	// rank at which they are.
	lists map[checkpoint.Hash]uint16
	// pages holds the pages below which all is marked, by level, since the same
	// bytes may be a page in one place and a chunk in another; and the rank.
	pages map[pageMark]uint16
	place uint32
	// blocked says why something cannot be known.
	blocked []Damage
}

type pageMark struct {
	id    checkpoint.Hash
	level int
}

// node is one version of what stands at one place: a chunk (level 0) or a page.
// A content without pages is a page that is known already.
type node struct {
	level int
	id    checkpoint.Hash
	ids   []byte // of the page, if they are known
	meta  bool
	// user is the newest checkpoint that needs it, and rank the lowest of all
	// that do.
	user checkpoint.ID
	rank uint16
}

// mark finds out what the checkpoints that are left need. What cannot be known
// is in the report as Blocked.
func (p *pruner) mark(ctx context.Context) (marks, error) {
	names, err := readDir(filepath.Join(p.r.dir, dirCheckpoints))
	if err != nil {
		return nil, err
	}
	w := &marker{
		r: p.r, marks: marks{}, files: map[string][]node{},
		lists: map[checkpoint.Hash]uint16{}, pages: map[pageMark]uint16{},
	}
	slices.Reverse(names) // the newest first
	p.report.Kept = 0
	for _, name := range names {
		stem, ok := strings.CutSuffix(name, manifestSuffix)
		if !ok {
			continue
		}
		id, err := checkpoint.ParseID(stem)
		if err == nil && p.dry && slices.Contains(p.report.Deleted, id) {
			continue
		}
		p.report.Kept++
		if err == nil {
			err = w.checkpoint(ctx, id, p.ranks[id])
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			w.blocked = append(w.blocked, Damage{File: filepath.Join(dirCheckpoints, name), Checkpoint: id, Err: err})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.files)) {
		versions := w.files[key]
		top := slices.MaxFunc(versions, func(a, b node) int { return cmp.Compare(a.level, b.level) })
		if err := w.versions(ctx, top.level, versions); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.ReplaceAll(key, "\x00", ": "), err)
		}
	}
	p.report.Blocked = append(p.report.Blocked, w.blocked...)
	return w.marks, nil
}

// checkpoint notes what a checkpoint names.
func (w *marker) checkpoint(ctx context.Context, id checkpoint.ID, rank uint16) error {
	m, _, err := w.r.Load(ctx, id)
	if err != nil {
		return err
	}
	for name, v := range m.Components.Unsupported {
		return fmt.Errorf("%w: component %s is of version %d: use a newer helix-ckpt", checkpoint.ErrFormat, name, v)
	}
	for _, ref := range references(m) {
		if err := w.note(ref, id, rank); err != nil {
			return err
		}
		if !ref.ofFiles() || !w.first(ref.Content, rank) {
			continue
		}
		files, err := w.r.Files(ctx, m.Components.FileSet(ref.Component))
		if err != nil {
			return fmt.Errorf("component %s: %w", ref.Component, err)
		}
		for _, ref := range fileReferences(ref.Component, files) {
			if err := w.note(ref, id, rank); err != nil {
				return err
			}
		}
	}
	return nil
}

// first reports whether a list was not seen before at that rank.
func (w *marker) first(list checkpoint.Content, rank uint16) bool {
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // plain fields only
	}
	key := checkpoint.Sum(b)
	before, seen := w.lists[key]
	if seen && before <= rank {
		return false
	}
	w.lists[key] = rank
	return true
}

// note adds a version of a file or list, unless it is known.
func (w *marker) note(ref Reference, id checkpoint.ID, rank uint16) error {
	c := ref.Content
	if err := plausible(c); err != nil {
		return fmt.Errorf("component %s: %s: %w", ref.Component, ref.Path, err)
	}
	n := node{level: 1, meta: ref.List != nil, user: id, rank: rank}
	if c.Recipe != nil {
		n.level, n.id = c.Recipe.Levels, c.Recipe.SHA256
	}
	for _, id := range c.Chunks {
		n.ids = append(n.ids, id[:]...)
	}
	if n.id.IsZero() && n.ids == nil {
		return nil // it is empty
	}
	key := ref.Component + "\x00" + ref.Path
	w.files[key] = appendNew(w.files[key], n)
	return nil
}

// appendNew adds a node, unless the same is there; most are like the last.
func appendNew(nodes []node, n node) []node {
	for i := len(nodes) - 1; i >= 0; i-- {
		if o := &nodes[i]; o.level == n.level && o.id == n.id && bytes.Equal(o.ids, n.ids) {
			o.rank = min(o.rank, n.rank)
			return nodes
		}
	}
	return append(nodes, n)
}

// versions marks what stands at one place of a level, the newest first, and all
// below it.
func (w *marker) versions(ctx context.Context, level int, nodes []node) error {
	w.place++
	if level == 0 {
		for version, n := range nodes {
			w.mark(n, version)
		}
		return nil
	}
	var below [][]node
	add := func(at int, n node) {
		for at >= len(below) {
			below = append(below, nil)
		}
		below[at] = appendNew(below[at], n)
	}
	for version, n := range nodes {
		if n.level < level { // of a smaller file
			add(0, n)
			continue
		}
		ids, err := w.page(ctx, n, version)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("recipe page %s: %w", n.id, err)
			w.blocked = append(w.blocked, Damage{File: manifestName(n.user), Checkpoint: n.user, Err: err})
		}
		for at := 0; len(ids) > 0; at, ids = at+1, ids[idLen:] {
			add(at, node{level: level - 1, id: checkpoint.Hash(ids[:idLen]), meta: n.meta, user: n.user, rank: n.rank})
		}
	}
	for _, nodes := range below {
		if err := w.versions(ctx, level-1, nodes); err != nil {
			return err
		}
	}
	return nil
}

// page marks a page and returns its ids; none when what they stand for is marked
// already.
func (w *marker) page(ctx context.Context, n node, version int) ([]byte, error) {
	if n.ids != nil {
		return n.ids, nil
	}
	at := pageMark{n.id, n.level}
	if rank, done := w.pages[at]; done && rank <= n.rank {
		return nil, nil
	}
	b, err := w.r.Chunk(ctx, n.id)
	if err == nil {
		err = checkPage(b)
	}
	if err != nil {
		return nil, err
	}
	w.pages[at] = n.rank
	w.mark(n, version)
	return b, nil
}

// mark marks a chunk or page at the present place. What stands in several places
// belongs to the first.
func (w *marker) mark(n node, version int) {
	key := keyOf(n.id)
	m, ok := w.marks[key]
	if !ok {
		m = mark{place: w.place, version: uint16(min(version, math.MaxUint16)), rank: n.rank}
	}
	m.rank = min(m.rank, n.rank)
	m.meta = m.meta || n.meta || n.level > 0
	w.marks[key] = m
}
