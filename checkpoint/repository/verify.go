package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Progress says how far a verification is, in bytes: of packs as they lie on
// disk, then of content as it was. Total grows as references are found.
type Progress struct{ Done, Total int64 }

// VerifyReport is what a verification found.
type VerifyReport struct {
	// Checkpoints, Packs and Contents are how many were read; Contents counts
	// each one once, however many checkpoints need it.
	Checkpoints, Packs, Contents int
	// PackBytes is what the packs take on disk, PlainBytes what was read back
	// out of them.
	PackBytes, PlainBytes int64
	// Orphans is what no checkpoint needs. It is no damage: a prune frees it, and
	// what is being committed just now counts too. Nil where it is not known: not
	// all checkpoints were verified, or one cannot be read in full.
	Orphans *Orphans
	// Damage lists what is wrong, once for every checkpoint that it hurts.
	Damage []Damage
}

// Orphans counts what no checkpoint needs.
type Orphans struct {
	// Packs is how many hold nothing else, and PackBytes what these take on disk.
	Packs     int
	PackBytes int64
	// Chunks is how many there are in all packs, pages included; one that stands
	// in two packs counts twice.
	Chunks int
}

// Verify reads back every byte that the given checkpoints need, all of them for
// nil, and every byte of every pack: names, headers, tables and trailers too. It
// changes nothing and needs no lock. What is wrong is in the report; an error
// means that the verification itself did not finish. progress may be nil; it is
// called by one goroutine at a time.
func (r *Repository) Verify(ctx context.Context, ids []checkpoint.ID, progress func(Progress)) (VerifyReport, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	// What is remembered of frames is not what lies on the disk.
	r = &Repository{dir: r.dir, disk: r.disk, index: r.index, decoder: r.decoder, cache: newCache(cacheBytes)}
	v := &verifier{r: r, all: ids == nil, progress: progress, contents: map[checkpoint.Hash]*verified{}}
	if ids == nil {
		all, err := r.ids()
		if err != nil {
			return v.report, err
		}
		ids = all
	} else {
		release, err := r.holdAll(ids)
		defer release()
		if err != nil {
			return v.report, err
		}
	}
	if err := r.index.scan(ctx); err != nil {
		return v.report, err
	}
	if v.all {
		if err := v.mark(ctx); err != nil {
			return v.report, err
		}
	}
	if err := v.packs(ctx); err != nil {
		return v.report, err
	}
	for _, id := range ids {
		if err := v.manifest(ctx, id); err != nil {
			return v.report, err
		}
	}
	err := v.readContents(ctx)
	return v.report, err
}

// verifiers is how many packs or contents are read at the same time.
const verifiers = 2

type verifier struct {
	r        *Repository
	all      bool // checkpoints that there are, not those that were named
	progress func(Progress)

	mu     sync.Mutex
	done   Progress
	report VerifyReport

	// live is what checkpoints need; nil where that is not known.
	live marks
	// contents holds every content once, and who needs it; order as found.
	contents map[checkpoint.Hash]*verified
	order    []*verified
}

type verified struct {
	content checkpoint.Content
	list    *checkpoint.List
	users   []Damage // without Err: where to report it
}

// damage enters what is wrong. Only the end of ctx is an error.
func (v *verifier) damage(ctx context.Context, d Damage) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.File == "" && v.all {
		if _, err := os.Lstat(filepath.Join(v.r.dir, manifestName(d.Checkpoint))); errors.Is(err, fs.ErrNotExist) {
			return nil // what it needs was deleted with it meanwhile
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Damage = append(v.report.Damage, d)
	return nil
}

func (v *verifier) advance(done, total int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done.Done += done
	v.done.Total += total
	v.progress(v.done)
}

// mark finds out what the checkpoints need, to tell what are orphans.
func (v *verifier) mark(ctx context.Context) error {
	p := pruner{r: v.r, dry: true}
	live, err := p.mark(ctx)
	if err == nil && len(p.report.Blocked) == 0 {
		v.live, v.report.Orphans = live, &Orphans{}
	}
	return err
}

func (v *verifier) packs(ctx context.Context) error {
	names, err := readDir(v.r.index.dir)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, ok := parsePackName(name)
		return !ok
	})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(verifiers)
	for _, name := range names {
		group.Go(func() error {
			size, err := v.pack(ctx, name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted meanwhile
			}
			v.mu.Lock()
			v.report.Packs++
			v.report.PackBytes += size
			v.mu.Unlock()
			if errors.Is(err, checkpoint.ErrDamaged) {
				v.r.index.distrust(filepath.Join(v.r.index.dir, name))
			}
			if err != nil {
				return v.damage(ctx, Damage{File: filepath.Join(dirPacks, name), Err: err})
			}
			return nil
		})
	}
	return group.Wait()
}

// pack reads a whole pack in the order of its bytes and checks all that they
// say. It returns its size.
func (v *verifier) pack(ctx context.Context, name string) (int64, error) {
	path := filepath.Join(v.r.index.dir, name)
	f, size, err := openFile(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	v.advance(0, size)
	sum := sha256.New()
	r := io.TeeReader(f, sum)
	header := make([]byte, headerLen)
	if _, err := io.ReadFull(r, header); err != nil {
		return size, damaged("header: %w", err)
	}
	ours := bytes.Equal(header, appendSkippable(nil, magicHeader, []byte(packFormat)))
	frames, err := readTable(path)
	switch {
	case errors.Is(err, checkpoint.ErrFormat) && ours:
		return size, damaged("it starts as version 1 and does not end so")
	case err != nil:
		return size, err
	case !ours:
		return size, damaged("the header is not that of a pack")
	}
	v.countOrphans(frames, size)
	for _, fr := range frames {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		if err := v.frame(r, fr); err != nil {
			return size, err
		}
		v.advance(int64(fr.packed), 0)
	}
	// The table and the trailer were checked by readTable; what is left is that
	// all bytes together are those of the name.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return size, err
	}
	if want, _ := parsePackName(name); checkpoint.Hash(sum.Sum(nil)) != want {
		return size, damaged("the pack's bytes do not match its name")
	}
	return size, nil
}

// countOrphans counts what no checkpoint needs in a pack.
func (v *verifier) countOrphans(frames []*frame, size int64) {
	if v.live == nil {
		return
	}
	total, orphans := 0, 0
	for _, f := range frames {
		for _, c := range f.chunks {
			total++
			if !v.live.holds(c) {
				orphans++
			}
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	o := v.report.Orphans
	o.Chunks += orphans
	if orphans == total {
		o.Packs++
		o.PackBytes += size
	}
}

func (v *verifier) frame(r io.Reader, f *frame) error {
	packed := make([]byte, f.packed)
	if _, err := io.ReadFull(r, packed); err != nil {
		return damaged("frame at %d: %w", f.offset, err)
	}
	plain, err := decodeFrame(v.r.decoder, f, packed)
	if err != nil {
		return err
	}
	for _, c := range f.chunks {
		if checkpoint.Sum(plain[:c.size]) != c.id {
			return damaged("frame at %d: chunk %s does not match its sha256", f.offset, c.id)
		}
		plain = plain[c.size:]
	}
	return nil
}

// manifest reads one manifest and its lists and notes what it needs.
func (v *verifier) manifest(ctx context.Context, id checkpoint.ID) error {
	m, _, err := v.r.Load(ctx, id)
	if v.all && errors.Is(err, checkpoint.ErrNotFound) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return v.damage(ctx, Damage{File: manifestName(id), Checkpoint: id, Err: err})
	}
	v.report.Checkpoints++
	for _, ref := range references(m) {
		v.note(id, ref)
		if !ref.ofFiles() {
			continue
		}
		files, err := v.r.Files(ctx, m.Components.FileSet(ref.Component))
		if err != nil {
			if err := v.damage(ctx, Damage{Checkpoint: id, Component: ref.Component, Path: ref.Path, Err: err}); err != nil {
				return err
			}
			continue
		}
		for _, ref := range fileReferences(ref.Component, files) {
			v.note(id, ref)
		}
	}
	return nil
}

func (v *verifier) note(id checkpoint.ID, ref Reference) {
	b, err := json.Marshal(ref.Content)
	if err != nil {
		panic(err) // plain fields only
	}
	key := checkpoint.Sum(b)
	c := v.contents[key]
	if c == nil {
		c = &verified{content: ref.Content, list: ref.List}
		v.contents[key] = c
		v.order = append(v.order, c)
		v.advance(0, ref.Content.Size)
	}
	c.users = append(c.users, Damage{Checkpoint: id, Component: ref.Component, Path: ref.Path})
}

// readContents reads every content that was noted, once.
func (v *verifier) readContents(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(verifiers)
	for _, c := range v.order {
		group.Go(func() error {
			err := v.content(ctx, c)
			v.advance(c.content.Size, 0)
			v.mu.Lock()
			v.report.Contents++
			v.report.PlainBytes += c.content.Size
			v.mu.Unlock()
			if err == nil {
				return nil
			}
			for _, d := range c.users {
				d.Err = err
				if err := v.damage(ctx, d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (v *verifier) content(ctx context.Context, c *verified) error {
	if c.list == nil {
		return v.r.CopyTo(ctx, io.Discard, c.content)
	}
	return v.r.ReadList(ctx, *c.list, func(entry json.RawMessage) error {
		if !json.Valid(entry) {
			return damaged("list of %s: an entry is no JSON", c.content.Label())
		}
		return nil
	})
}
