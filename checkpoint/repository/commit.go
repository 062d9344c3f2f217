package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Commit makes the checkpoint: the packs are made durable, then guard is called
// (it reads the session's epoch again, and an error of it ends the commit),
// then the manifest is given its name. When Commit returns without an error the
// checkpoint survives a crash of the machine; with one, an earlier checkpoint is
// still the latest, or, if only the last sync failed, this one may be there. It
// returns the sha256 of the manifest's plain JSON. The transaction has ended.
func (t *Tx) Commit(ctx context.Context, m *checkpoint.Manifest, guard func() error) (checkpoint.Hash, error) {
	defer t.Abort()
	plain, err := checkpoint.Encode(m)
	if err != nil {
		return checkpoint.Hash{}, err
	}
	return t.commit(ctx, m, plain, guard)
}

// CommitBytes commits a manifest whose plain JSON exists already: the exact
// bytes are kept, so that its sha256 is what it was elsewhere. Where the very
// same manifest is there, what was put is made durable and nothing else happens.
func (t *Tx) CommitBytes(ctx context.Context, plain []byte, guard func() error) (checkpoint.Hash, error) {
	defer t.Abort()
	m, err := checkpoint.Decode(plain)
	if err != nil {
		return checkpoint.Hash{}, err
	}
	return t.commit(ctx, m, plain, guard)
}

func (t *Tx) commit(ctx context.Context, m *checkpoint.Manifest, plain []byte, guard func() error) (checkpoint.Hash, error) {
	sum := checkpoint.Sum(plain)
	err := t.commitPacks(ctx, m)
	if err == nil {
		err = t.commitManifest(m.ID, plain, guard)
	}
	if err != nil {
		return checkpoint.Hash{}, fmt.Errorf("commit checkpoint %s: %w", m.ID, err)
	}
	if now, err := stampOf(filepath.Join(t.r.dir, manifestName(m.ID))); err == nil {
		t.r.entries.put(m.ID, listed{Stamp: now, Entry: m.Entry(sum)})
	}
	t.r.saveIndex()
	return sum, nil
}

func (t *Tx) commitPacks(ctx context.Context, m *checkpoint.Manifest) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errors.New("the transaction has ended")
	}
	if err := t.complete(m); err != nil {
		return err
	}
	_, err := t.finishPacks(ctx)
	return err
}

// finishPacks makes what was put durable, and returns the names of the packs.
// t.mu is held.
func (t *Tx) finishPacks(ctx context.Context) ([]string, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	if len(t.packs) == 0 {
		return nil, ctx.Err()
	}
	if !t.ended {
		t.ended = true
		if err := t.packs[len(t.packs)-1].finish(); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir := filepath.Join(t.r.dir, dirPacks)
	for _, w := range t.packs {
		if err := w.rename(dir); err != nil {
			return nil, err
		}
	}
	if err := t.r.disk.syncDir(dir); err != nil {
		return nil, wrap("sync packs", err)
	}
	var names []string
	for _, w := range t.packs {
		names = append(names, w.pack.path)
		t.r.index.insert(filepath.Base(w.pack.path), w.frames)
	}
	t.packs = nil
	return names, nil
}

// complete checks that every content of m is there, as far as the manifest
// itself says: an incomplete checkpoint must not look like one.
func (t *Tx) complete(m *checkpoint.Manifest) error {
	for _, ref := range references(m) {
		ids := ref.Content.Chunks
		if ref.Content.Recipe != nil {
			ids = []checkpoint.Hash{ref.Content.Recipe.SHA256}
		}
		for _, id := range ids {
			if !t.has(id) {
				return fmt.Errorf("component %s: %s: chunk %s was never put", ref.Component, ref.Path, id)
			}
		}
	}
	return nil
}

func (t *Tx) commitManifest(id checkpoint.ID, plain []byte, guard func() error) (err error) {
	d, name := t.r.disk, filepath.Join(t.r.dir, manifestName(id))
	if there, err := t.r.LoadBytes(context.Background(), id); err == nil {
		if bytes.Equal(there, plain) {
			return nil
		}
		return errors.New("a checkpoint of that id exists already")
	} else if !errors.Is(err, checkpoint.ErrNotFound) {
		return fmt.Errorf("a checkpoint of that id exists already: %w", err)
	}
	sealed, err := seal(plain)
	if err != nil {
		return err
	}
	temp := tempName(filepath.Dir(name))
	defer func() {
		if err != nil {
			d.remove(temp) //nolint:errcheck // swept by the next writer
		}
	}()
	if err := writeFile(d, temp, sealed); err != nil {
		return wrap("write manifest", err)
	}
	if guard != nil {
		if err := guard(); err != nil {
			return err
		}
	}
	if err := d.rename(temp, name); err != nil {
		return wrap("name manifest", err)
	}
	return wrap("sync manifests", d.syncDir(filepath.Dir(name)))
}

// writeFile writes a new file durably.
func writeFile(d disk, name string, b []byte) error { return copyFile(d, name, bytes.NewReader(b)) }

// copyFile writes a new file of what r gives, durably.
func copyFile(d disk, name string, r io.Reader) error {
	f, err := d.create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
