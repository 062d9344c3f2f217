// Package capture reads a live session into the components of a checkpoint.
//
// Every component is read and proved by the package that knows it, and its
// content streams into the repository. What cannot be had now is carried:
//
//	db.sqlite     captured ─┐                       ┌─ ok
//	threads.db    busy ─────┼─ carried per file ────┼─ carried, from <id>
//	agents' files captured ─┘                       └─ ok
//	windows + layout          carried as one unit
//
// so that one busy file never costs the fresh state of the others, and a
// checkpoint is always complete. Nothing here commits or decides when to
// capture; the agent does.
package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

const (
	// quiet is how long a capture waits for one database to hold still. A
	// threads.db saved every 50 ms was had within 1 s in 203 of 203 tries.
	quiet = time.Second
	// slowest is what a machine under load still reads, in bytes a second: a
	// large database gets the time that reading it takes.
	slowest = 32 << 20
)

// patience is how long a capture waits for a database of size bytes.
func patience(size int64) time.Duration {
	return quiet + time.Duration(size)*time.Second/slowest
}

// Store is where content goes: a transaction of the repository.
type Store interface {
	// Put stores what r holds in chunks of chunkSize bytes.
	Put(ctx context.Context, r io.Reader, chunkSize int) (checkpoint.Content, error)
	// PutHinted is Put for what is stored again and again under one key: what did
	// not change is only read.
	PutHinted(ctx context.Context, key string, r io.Reader, chunkSize int) (checkpoint.Content, error)
	// PutList stores a list.
	PutList(ctx context.Context, entries []repository.Keyed) (checkpoint.List, error)
}

// Source is the session to capture.
type Source struct {
	// Roots are what logical paths are relative to.
	Roots map[string]string
	// Home is where the agents keep their conversations.
	Home string
	Zed  zed.Places
	// Socket is the compositor's; "" when none was found.
	Socket sway.Socket
	// SpoolDir is where a database that is too large for memory lies meanwhile:
	// see sqlite.Options.
	SpoolDir string
	// Desk, when not nil, is the one life of the compositor whose windows are
	// captured: those of another one are still to be restored onto it, and are
	// carried.
	Desk *checkpoint.Compositor
}

// Previous is the checkpoint that is carried from: the latest of the session.
// A nil Previous has nothing to carry.
type Previous struct {
	Manifest *checkpoint.Manifest
	// Files holds the files of each component by name, long lists resolved.
	Files map[string][]checkpoint.File
	// Threads are Zed's conversations, sorted by id.
	Threads []checkpoint.Thread
}

// Load reads the checkpoint that is carried from.
func Load(ctx context.Context, repo *repository.Repository, id checkpoint.ID) (*Previous, error) {
	m, _, err := repo.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	p := &Previous{Manifest: m, Files: map[string][]checkpoint.File{}}
	for _, name := range checkpoint.Names() {
		set := m.Components.FileSet(name)
		if set == nil {
			continue
		}
		if p.Files[name], err = repo.Files(ctx, set); err != nil {
			return nil, fmt.Errorf("checkpoint %s: files of %s: %w", id, name, err)
		}
	}
	if z := m.Components.Zed; z != nil && z.Threads != nil {
		if p.Threads, err = loadThreads(ctx, repo, *z.Threads); err != nil {
			return nil, fmt.Errorf("checkpoint %s: threads: %w", id, err)
		}
	}
	return p, nil
}

// maxThreadBytes bounds what a thread takes in a list that is read, in bytes: a
// title of zed's longest, every byte of it escaped, and the rest.
const maxThreadBytes = 4 << 10

func loadThreads(ctx context.Context, repo *repository.Repository, l checkpoint.List) ([]checkpoint.Thread, error) {
	if l.Count > zed.MaxThreads || l.Size > zed.MaxThreads*maxThreadBytes {
		return nil, fmt.Errorf("list of %d in %d bytes: at most %d in %d are supported", l.Count, l.Size, zed.MaxThreads, zed.MaxThreads*maxThreadBytes)
	}
	var threads []checkpoint.Thread
	err := repo.ReadList(ctx, l, func(entry json.RawMessage) error {
		var t checkpoint.Thread
		if err := json.Unmarshal(entry, &t); err != nil {
			return fmt.Errorf("%w: entry %d: %w", checkpoint.ErrDamaged, len(threads)+1, err)
		}
		threads = append(threads, t)
		return nil
	})
	return threads, err
}

// Capturer captures one session again and again. It remembers what it saw, so
// that what has not moved since costs a stat. It is not safe for concurrent
// use.
type Capturer struct {
	seen       map[string]database // by path
	marks      map[mark]bool       // of what the previous checkpoint holds
	acceptance zed.Acceptance
}

// Forget drops what the Capturer remembers: to be called when what it captured
// was not committed, since its content may be in no repository.
func (c *Capturer) Forget() { c.seen, c.marks = nil, nil }

// Keep drops what the Capturer remembers and p does not hold: to be called
// before the repository is pruned, which keeps p. What was captured and found to
// be nothing new may stand in an older checkpoint only.
func (c *Capturer) Keep(p *Previous) {
	maps.DeleteFunc(c.seen, func(_ string, db database) bool {
		return p == nil || !slices.ContainsFunc(p.Files[checkpoint.NameZed], func(f checkpoint.File) bool {
			return f.Equal(db.file.Content)
		})
	})
}

// Captured is what Capture read.
type Captured struct {
	Components checkpoint.Components
	// Files and Threads are as in Previous.
	Files   map[string][]checkpoint.File
	Threads []checkpoint.Thread
}

// Previous returns c as what the next capture builds on, once m, the manifest
// that holds its components, is committed.
func (c Captured) Previous(m *checkpoint.Manifest) *Previous {
	return &Previous{Manifest: m, Files: c.Files, Threads: c.Threads}
}

// Size counts the files that were captured or carried, and their bytes.
func (c Captured) Size() (files int, bytes int64) {
	for _, set := range c.Files {
		for _, f := range set {
			if f.State.Usable() {
				files++
				bytes += f.Size
			}
		}
	}
	return files, bytes
}

// Capture reads the session into store. Only what keeps every capture from
// succeeding is an error: the store's own failures and the end of ctx.
// Anything else is the state of a file or component.
func (c *Capturer) Capture(ctx context.Context, src Source, prev *Previous, store Store) (Captured, error) {
	if prev == nil {
		prev = &Previous{Manifest: &checkpoint.Manifest{}}
	}
	r := run{
		Capturer: c, src: src, prev: prev, store: store, now: time.Now(), fresh: make(map[mark]bool, len(c.marks)),
		out: Captured{Files: map[string][]checkpoint.File{}},
	}
	// The order matters: a thread or conversation that db.sqlite names must be
	// in what is read after it.
	if err := r.zed(ctx); err != nil {
		return r.out, err
	}
	if err := r.conversations(ctx); err != nil {
		return r.out, err
	}
	r.desk(ctx)
	c.marks = r.fresh
	return r.out, ctx.Err()
}

// run is one capture.
type run struct {
	*Capturer
	src   Source
	prev  *Previous
	store Store
	now   time.Time
	fresh map[mark]bool // of what is as captured in out
	out   Captured
}

// storeError is a failure of the store, which ends the capture. The error of a
// reader that the store was given is the file's and not the store's.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// put stores a file, telling the store's failures from the file's.
func (r *run) put(ctx context.Context, from io.Reader) (checkpoint.Content, error) {
	noted := &notedReader{from: from}
	content, err := r.store.Put(ctx, noted, checkpoint.ChunkSize)
	return noted.blame(content, err)
}

// putHinted is put for a file of which little changes: see Store.
func (r *run) putHinted(ctx context.Context, logical string, from io.Reader) (checkpoint.Content, error) {
	noted := &notedReader{from: from}
	content, err := r.store.PutHinted(ctx, logical, noted, checkpoint.ChunkSize)
	return noted.blame(content, err)
}

type notedReader struct {
	from io.Reader
	err  error
}

// blame returns what storing n came to; a failure of the store is a storeError.
func (n *notedReader) blame(content checkpoint.Content, err error) (checkpoint.Content, error) {
	switch {
	case err == nil:
		return content, nil
	case n.err != nil:
		return content, n.err
	}
	return content, &storeError{err}
}

func (n *notedReader) Read(p []byte) (int, error) {
	k, err := n.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

// carried returns the earlier state of the file at the logical path, marked as
// carried for the given reason, or failed when there is none.
func (r *run) carried(component, logical string, kind checkpoint.Kind, reason error) checkpoint.File {
	for _, f := range r.prev.Files[component] {
		if f.Name() == logical && f.State.Usable() {
			return r.carry(component, f, reason)
		}
	}
	f := checkpoint.File{Kind: kind, State: checkpoint.Failed, Error: reason.Error()}
	setName(&f, logical)
	return f
}

// setName writes a logical path, which need not be UTF-8.
func setName(f *checkpoint.File, logical string) {
	if utf8.ValidString(logical) {
		f.Path = logical
	} else {
		f.PathB64 = []byte(logical)
	}
}

func (r *run) carry(component string, f checkpoint.File, reason error) checkpoint.File {
	if f.State != checkpoint.Carried {
		f.From = r.prev.Manifest.ID
		if f.AsOf == nil {
			f.AsOf = r.prev.Manifest.Components.Head(component).AsOf
		}
	}
	f.State, f.Error = checkpoint.Carried, reason.Error()
	return f
}

// fileSet notes the files of a component and stores them inline or, when there
// are many, as a list.
func (r *run) fileSet(ctx context.Context, component string, files []checkpoint.File) (checkpoint.FileSet, error) {
	r.out.Files[component] = files
	slices.SortFunc(files, func(a, b checkpoint.File) int { return strings.Compare(a.Name(), b.Name()) })
	if len(files) <= checkpoint.MaxInlineFiles {
		return checkpoint.FileSet{Files: files}, nil
	}
	entries := make([]repository.Keyed, len(files))
	for i, f := range files {
		entries[i] = repository.Keyed{Key: f.Name(), Value: f}
	}
	list, err := r.store.PutList(ctx, entries)
	if err != nil {
		return checkpoint.FileSet{}, fmt.Errorf("store the list of files: %w", err)
	}
	return checkpoint.FileSet{FileList: &list}, nil
}

// head describes a component made of files.
func (r *run) head(files []checkpoint.File) checkpoint.Head {
	h := checkpoint.NewHead(combine(files), r.now)
	var oldest checkpoint.File
	for _, f := range files {
		if h.Error == "" {
			h.Error = f.Error
		}
		if f.AsOf != nil && (oldest.AsOf == nil || f.AsOf.Before(*oldest.AsOf)) {
			oldest = f
		}
	}
	if h.State == checkpoint.Carried {
		h.AsOf, h.From = oldest.AsOf, oldest.From
	}
	return h
}

// combine is the state of a component made of files.
func combine(files []checkpoint.File) checkpoint.State {
	states := make([]checkpoint.State, len(files))
	for i, f := range files {
		states[i] = f.State
	}
	return checkpoint.Combine(states)
}
