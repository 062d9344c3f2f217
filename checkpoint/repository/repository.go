// Package repository keeps the checkpoints of one session on disk, so that none
// that was acknowledged is ever lost.
//
//	<dir>/
//	  checkpoints/<id>.json.zst   one manifest each; its presence commits
//	  pins/<id>                   empty; the checkpoint is pinned
//	  packs/<sha256>.zst          content: many chunks in few zstd frames
//	  quarantine/                 what was found damaged
//	  index/                      a cache; deleting it loses nothing
//
//	manifest ── content ── recipe page ── recipe page ── chunk
//	                                                       │ by its sha256
//	           pack: [header][frame: chunk chunk …][frame …][table][trailer]
//
// A manifest names content by the sha256 of its plain bytes and never says
// where it is. Each pack carries a table of what is in it; the tables of all
// packs, read when first needed, are the index. Nothing on disk is ever
// changed: files are written under a temporary name, synced, renamed, and their
// directory synced, packs first and the manifest last. A crash at any point
// leaves what was committed before, and a reader beside a writer sees whole
// checkpoints only.
//
// One writer at a time: whoever calls Begin holds the session's lock (package
// session). Readers need none.
//
// FORMAT.md beside this file is the format, well enough to write another
// reader.
package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// The directories of a repository.
const (
	dirCheckpoints = "checkpoints"
	dirPins        = "pins"
	dirPacks       = "packs"
	dirQuarantine  = "quarantine"
	dirIndex       = "index"
)

// Repository holds the checkpoints of one session. Its methods may be called
// from several goroutines. It keeps no file open.
type Repository struct {
	dir     string
	disk    disk
	index   *index
	cache   *cache
	hints   *hints
	entries *entries
	decoder *zstd.Decoder
	// compression is that of packs to be written.
	compression Compression
	// notes holds digests of what the files of notes hold.
	notes   map[string]checkpoint.Hash
	notesMu sync.Mutex
	// writing holds one token while a transaction is open. Its holder owns
	// prepared: that the directories are there, durably.
	writing  chan struct{}
	prepared bool
	reserve  int64 // bytes: see Reserve
}

// Open returns the repository in dir, a directory …/sessions/<session>. It
// creates and reads nothing: where dir does not exist there are no checkpoints
// yet, and Begin makes it.
func Open(dir string) (*Repository, error) { return open(dir, system{}) }

func open(dir string, d disk) (*Repository, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(decoders), zstd.WithDecoderMaxWindow(maxFrame),
		zstd.WithDecoderMaxMemory(checkpoint.MaxManifest), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	return &Repository{
		dir: abs, disk: d, decoder: decoder, cache: newCache(cacheBytes), hints: newHints(abs), entries: newEntries(abs),
		index: newIndex(abs), writing: make(chan struct{}, 1), notes: map[string]checkpoint.Hash{},
	}, nil
}

// decoders is how many frames are decoded at the same time.
const decoders = 2

// Dir returns the directory of r.
func (r *Repository) Dir() string { return r.dir }

// Damage is one thing that is not what it was when it was written.
type Damage struct {
	// File is the damaged file, relative to the repository's directory; none
	// when what is wrong is not one file (a chunk that no pack holds).
	File string
	// Checkpoint is the checkpoint that is hurt, Component and Path the part of
	// it, as far as they are known.
	Checkpoint checkpoint.ID
	Component  string
	Path       string
	// Err says what is wrong. It wraps checkpoint.ErrDamaged; or, for what a
	// newer program wrote, checkpoint.ErrFormat: unreadable here and no damage;
	// or it is the system's error.
	Err error
}

func (d Damage) String() string {
	var where []string
	for _, s := range []string{d.File, string(d.Checkpoint), d.Component, d.Path} {
		if s != "" {
			where = append(where, s)
		}
	}
	return strings.Join(where, " ") + ": " + d.Err.Error()
}

// ids returns the ids of all manifests, oldest first by name. A name that is
// none is not understood and left alone.
func (r *Repository) ids() ([]checkpoint.ID, error) {
	names, err := readDir(filepath.Join(r.dir, dirCheckpoints))
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var ids []checkpoint.ID
	for _, name := range names {
		stem, ok := strings.CutSuffix(name, manifestSuffix)
		if id, err := checkpoint.ParseID(stem); ok && err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Load returns a manifest and the sha256 of its plain JSON. It returns an error
// that wraps checkpoint.ErrNotFound, ErrDamaged or, for what a newer program
// wrote, ErrFormat.
func (r *Repository) Load(_ context.Context, id checkpoint.ID) (*checkpoint.Manifest, checkpoint.Hash, error) {
	m, plain, err := r.load(id)
	if err != nil {
		return nil, checkpoint.Hash{}, err
	}
	return m, checkpoint.Sum(plain), nil
}

// LoadBytes returns the plain JSON of a manifest, verified as Load does.
func (r *Repository) LoadBytes(_ context.Context, id checkpoint.ID) ([]byte, error) {
	_, plain, err := r.load(id)
	return plain, err
}

func (r *Repository) load(id checkpoint.ID) (*checkpoint.Manifest, []byte, error) {
	if _, err := checkpoint.ParseID(string(id)); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", checkpoint.ErrNotFound, err)
	}
	b, err := readFile(filepath.Join(r.dir, manifestName(id)), maxManifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %s", checkpoint.ErrNotFound, id)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read checkpoint %s: %w", id, err)
	}
	plain, err := unseal(r.decoder, b)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint %s: %w", id, err)
	}
	m, err := checkpoint.Decode(plain)
	switch {
	case errors.Is(err, checkpoint.ErrFormat):
		return nil, nil, fmt.Errorf("checkpoint %s: %w", id, err)
	case err != nil:
		return nil, nil, fmt.Errorf("checkpoint %s: %w: %w", id, checkpoint.ErrDamaged, err)
	case m.ID != id:
		return nil, nil, fmt.Errorf("checkpoint %s: %w: its manifest is that of %s", id, checkpoint.ErrDamaged, m.ID)
	}
	return m, plain, nil
}

// Pinned reports whether a checkpoint is pinned.
func (r *Repository) Pinned(id checkpoint.ID) (bool, error) {
	pins, err := r.pins()
	return pins[string(id)], err
}

// Pin keeps a checkpoint from being deleted by retention until it is unpinned.
// The caller holds the session's lock.
func (r *Repository) Pin(ctx context.Context, id checkpoint.ID) error {
	if _, _, err := r.Load(ctx, id); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	dir := filepath.Join(r.dir, dirPins)
	if err := ownDir(dir); err != nil {
		return fmt.Errorf("pin %s: %w", id, err)
	}
	f, err := r.disk.create(filepath.Join(dir, string(id)))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(f.Close(), r.disk.syncDir(dir))
	}
	return wrap("pin "+string(id), err)
}

// Unpin takes a pin away. The caller holds the session's lock.
func (r *Repository) Unpin(_ context.Context, id checkpoint.ID) error {
	if _, err := checkpoint.ParseID(string(id)); err != nil {
		return fmt.Errorf("unpin: %w", err)
	}
	dir := filepath.Join(r.dir, dirPins)
	err := ownDir(dir)
	if err == nil {
		err = r.disk.remove(filepath.Join(dir, string(id)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = r.disk.syncDir(dir)
	}
	return wrap("unpin "+string(id), err)
}

// wrap says what failed, and marks a full disk as checkpoint.ErrNoSpace.
func wrap(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: %w: %w", what, checkpoint.ErrNoSpace, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
