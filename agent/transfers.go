package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/repository/archive"
)

// partialSuffix marks an archive that is arriving; its name is its digest.
const partialSuffix = ".import"

// transfers are the exports and the import of an agent.
type transfers struct {
	repo *repository.Repository
	dir  string

	importing *sync.Mutex

	mu *sync.Mutex
	// described holds what exports are, since saying so costs as much as one.
	described map[checkpoint.ID]archive.Description
}

func newTransfers(k *Keeper) transfers {
	return transfers{repo: k.repo, dir: k.dir, importing: &sync.Mutex{}, mu: &sync.Mutex{}, described: map[checkpoint.ID]archive.Description{}}
}

// Export is part of rpc.Backend.
func (a *Agent) Export(ctx context.Context, selector string, offset int64) (rpc.Archive, error) {
	found, err := a.Get(ctx, selector)
	if err != nil {
		return rpc.Archive{}, err
	}
	id := found.Manifest.ID
	release, err := a.k.repo.Hold(id)
	if err != nil {
		return rpc.Archive{}, err
	}
	d, err := a.transfers.describe(ctx, id)
	if err != nil {
		release()
		return rpc.Archive{}, err
	}
	if offset > d.Size {
		release()
		return rpc.Archive{}, fmt.Errorf("%w: offset %d is beyond the archive's %d bytes", checkpoint.ErrInvalid, offset, d.Size)
	}
	r, w := io.Pipe()
	go func() {
		defer release()
		w.CloseWithError(archive.Export(ctx, a.transfers.repo, id, w))
	}()
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		return rpc.Archive{}, errors.Join(err, r.Close())
	}
	return rpc.Archive{ID: id, Size: d.Size, SHA256: d.SHA256, Body: r}, nil
}

func (t transfers) describe(ctx context.Context, id checkpoint.ID) (archive.Description, error) {
	t.mu.Lock()
	d, ok := t.described[id]
	t.mu.Unlock()
	if ok {
		return d, nil
	}
	d, err := archive.Describe(ctx, t.repo, id)
	if err != nil {
		return d, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.described[id] = d
	return d, nil
}

// Import is part of rpc.Backend. What arrives lies in the session's directory
// until it is whole, so that a broken stream can be resumed.
func (a *Agent) Import(_ context.Context, h rpc.ImportHeader) (rpc.Upload, error) {
	if !a.transfers.importing.TryLock() {
		return nil, fmt.Errorf("%w: another import is running", checkpoint.ErrBusy)
	}
	u, err := a.openUpload(h)
	if err != nil {
		a.transfers.importing.Unlock()
		return nil, err
	}
	return u, nil
}

func (a *Agent) openUpload(h rpc.ImportHeader) (*upload, error) {
	path := filepath.Join(a.transfers.dir, h.SHA256.String()+partialSuffix)
	if err := dropPartials(a.transfers.dir, filepath.Base(path)); err != nil {
		return nil, err
	}
	f, err := atomicfile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	u := &upload{agent: a, header: h, file: f, sum: sha256.New()}
	if u.offset, err = io.Copy(u.sum, f); err == nil && u.offset > h.Size {
		err = fmt.Errorf("%w: %d bytes are here of an archive of %d", checkpoint.ErrInvalid, u.offset, h.Size)
	}
	if err == nil {
		err = a.transfers.repo.Room(h.Size - u.offset)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("import: %w", err), f.Close())
	}
	return u, nil
}

// dropPartials deletes what is left of other imports: one is resumed at once or
// never.
func dropPartials(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	for _, e := range entries {
		stem, ok := strings.CutSuffix(e.Name(), partialSuffix)
		if _, err := checkpoint.ParseHash(stem); ok && err == nil && e.Type().IsRegular() && e.Name() != keep {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("import: %w", err)
			}
		}
	}
	return nil
}

// upload is an import that is arriving.
type upload struct {
	agent  *Agent
	header rpc.ImportHeader
	file   *os.File
	sum    hash.Hash
	offset int64
}

// Offset is part of rpc.Upload.
func (u *upload) Offset() int64 { return u.offset }

// Write is part of rpc.Upload.
func (u *upload) Write(p []byte) (int, error) {
	n, err := u.file.Write(p)
	u.sum.Write(p[:n]) // a hash never fails
	u.offset += int64(n)
	return n, err
}

// Commit is part of rpc.Upload. The loop does it, as everything that writes.
func (u *upload) Commit(ctx context.Context) (checkpoint.Entry, error) {
	if got := hex.EncodeToString(u.sum.Sum(nil)); got != u.header.SHA256.String() {
		err := fmt.Errorf("import: %w: what arrived has sha256 %s, the header says %s", checkpoint.ErrDamaged, got, u.header.SHA256)
		return checkpoint.Entry{}, errors.Join(err, os.Remove(u.file.Name()))
	}
	var entry checkpoint.Entry
	var err error
	submitErr := u.agent.submit(ctx, func(ctx context.Context) {
		if _, err = u.file.Seek(0, io.SeekStart); err == nil {
			entry, err = u.agent.k.Import(ctx, u.file)
		}
		u.agent.publish()
	})
	if submitErr != nil {
		return entry, submitErr
	}
	// What was refused would be refused again; what could not be taken in now, as
	// on a full disk, may be tried again without being sent again.
	if err == nil || errors.Is(err, checkpoint.ErrDamaged) || errors.Is(err, checkpoint.ErrOtherSession) || errors.Is(err, checkpoint.ErrFormat) {
		err = errors.Join(err, os.Remove(u.file.Name()))
	}
	return entry, err
}

// Close is part of rpc.Upload.
func (u *upload) Close() error {
	u.agent.transfers.importing.Unlock()
	return u.file.Close()
}

// Import takes the checkpoint of an archive in, verified to its last byte, and
// raises the epoch above its. The archive must be of the Keeper's session.
func (k *Keeper) Import(ctx context.Context, r io.Reader) (checkpoint.Entry, error) {
	done, err := archive.Import(ctx, k.repo, r, k.guard, archive.Options{Session: k.site.ID})
	if err != nil {
		return checkpoint.Entry{}, err
	}
	if err := k.load(ctx); err != nil {
		return checkpoint.Entry{}, err
	}
	if m := done.Manifest; m.Epoch >= k.epoch {
		k.epoch, k.seq = m.Epoch+1, 0
		if err := k.own(); err != nil {
			return checkpoint.Entry{}, err
		}
	}
	return done.Manifest.Entry(done.SHA256), nil
}
