// Package archive moves one checkpoint as one file, which a person can open
// with tar and another repository takes in whole or not at all.
//
//	manifest.json                     the manifest's plain JSON, byte for byte
//	META/<sha256> …                   recipe pages and the chunks of lists
//	ZED_DATA/db/0-dev/db.sqlite …     the files, at their logical paths without $
//
// It is a tar in one zstd frame. There is one order of its entries, that of the
// manifest, so that the same checkpoint exported by the same version of this
// program has the same bytes; and an import knows, entry by entry, what must
// come next. Whatever else an archive holds, it is refused before anything is
// committed.
package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
)

const (
	nameManifest = "manifest.json"
	dirMeta      = "META/"
	// window is how far back, in bytes, an export looks for what it repeats, as
	// zstd -3 does; maxWindow bounds the memory of an import.
	window    = 2 << 20
	maxWindow = 8 << 20
)

// Description is what a receiver is told before the bytes come.
type Description struct {
	// Size is that of the whole archive in bytes.
	Size   int64
	SHA256 checkpoint.Hash
}

// Describe returns the size and sha256 of what Export writes. It costs as much
// as an export.
func Describe(ctx context.Context, repo *repository.Repository, id checkpoint.ID) (Description, error) {
	sum := sha256.New()
	var size counter
	if err := Export(ctx, repo, id, io.MultiWriter(sum, &size)); err != nil {
		return Description{}, err
	}
	return Description{Size: int64(size), SHA256: checkpoint.Hash(sum.Sum(nil))}, nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// Export writes a checkpoint to w, in constant memory. Every byte is verified
// before it is written; on an error w holds a part that no import takes.
func Export(ctx context.Context, repo *repository.Repository, id checkpoint.ID, w io.Writer) error {
	if err := export(ctx, repo, id, w); err != nil {
		return fmt.Errorf("export checkpoint %s: %w", id, err)
	}
	return nil
}

func export(ctx context.Context, repo *repository.Repository, id checkpoint.ID, w io.Writer) error {
	plain, err := repo.LoadBytes(ctx, id)
	if err != nil {
		return err
	}
	m, err := checkpoint.Decode(plain)
	if err == nil {
		err = known(m)
	}
	if err != nil {
		return err
	}
	// One goroutine: what several write depends on their number.
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithWindowSize(window), zstd.WithEncoderCRC(true))
	if err != nil {
		return err
	}
	e := &exporter{repo: repo, tar: tar.NewWriter(z), created: m.Created, seen: map[checkpoint.Hash]bool{}}
	if err := e.all(ctx, m, plain); err != nil {
		return err
	}
	if err := e.tar.Close(); err != nil {
		return err
	}
	return z.Close()
}

type exporter struct {
	repo    *repository.Repository
	tar     *tar.Writer
	created time.Time
	seen    map[checkpoint.Hash]bool
}

func (e *exporter) all(ctx context.Context, m *checkpoint.Manifest, plain []byte) error {
	if err := e.entry(plainHeader(nameManifest, len(plain), e.created), plain); err != nil {
		return err
	}
	if err := lead(ctx, e, m); err != nil {
		return err
	}
	return eachFile(ctx, e, m, func(f *checkpoint.File, h *tar.Header) error {
		if err := e.tar.WriteHeader(h); err != nil || h.Size == 0 {
			return err
		}
		return e.repo.CopyTo(ctx, e.tar, f.Content)
	})
}

func (e *exporter) entry(h *tar.Header, b []byte) error {
	if err := e.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err := e.tar.Write(b)
	return err
}

// Chunk gives a page or chunk of a list to lead and writes it, the first time.
func (e *exporter) Chunk(ctx context.Context, id checkpoint.Hash) ([]byte, error) {
	b, err := e.repo.Chunk(ctx, id)
	if err != nil || e.seen[id] {
		return b, err
	}
	e.seen[id] = true
	return b, e.entry(plainHeader(metaName(id), len(b), e.created), b)
}

func metaName(id checkpoint.Hash) string { return dirMeta + id.String() }

// lead fetches, in the order of the archive, everything that leads to the
// content of files: each list (its pages, each before what stands below it, and
// its chunks), each file's recipe pages. Export and import both go this way; they
// differ in what their source does when something is fetched for the first time.
func lead(ctx context.Context, src repository.Source, m *checkpoint.Manifest) error {
	return repository.References(ctx, src, m, func(ref repository.Reference) error {
		err := repository.Walk(ctx, src, ref.Content, func(level int, id checkpoint.Hash, _ []byte) error {
			if level > 0 || ref.List == nil {
				return nil
			}
			_, err := src.Chunk(ctx, id)
			return err
		})
		if err == nil && ref.File != nil && ref.Content.Size > 0 && ref.Content.ChunkSize == 0 {
			err = damaged("a file without a chunk size")
		}
		if err != nil {
			return fmt.Errorf("component %s: %s: %w", ref.Component, ref.Path, err)
		}
		return nil
	})
}

// eachFile calls each for the files, in the order of the archive, with their
// entries. They are read once more instead of being held: there may be a million.
// Of those that two components hold alike only a digest is held.
func eachFile(ctx context.Context, src repository.Source, m *checkpoint.Manifest, each func(*checkpoint.File, *tar.Header) error) error {
	seen := map[checkpoint.Hash]struct{}{}
	return repository.References(ctx, src, m, func(ref repository.Reference) error {
		if ref.File == nil {
			return nil
		}
		key := struct {
			Path    []byte
			Content checkpoint.Content
		}{[]byte(ref.Path), ref.Content}
		key.Content.SHA256 = checkpoint.Hash{} // one of two may not know it
		b, err := json.Marshal(key)
		if err != nil {
			return err
		}
		// The same file in two components stands in the archive once.
		sum := checkpoint.Sum(b)
		if _, twice := seen[sum]; twice {
			return nil
		}
		seen[sum] = struct{}{}
		h := fileHeader(ref.File)
		if err := each(ref.File, h); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		return nil
	})
}

func plainHeader(name string, size int, at time.Time) *tar.Header {
	return &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: int64(size), Mode: 0o600,
		ModTime: at.Truncate(time.Second), Format: tar.FormatPAX,
	}
}

// fileHeader returns the entry of a file: its logical path without $, so that
// what tar extracts lies below where it is called.
func fileHeader(f *checkpoint.File) *tar.Header {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Name(), "$"), Size: f.Size, Mode: int64(f.Mode),
		ModTime: f.MtimeNS.Time(), Format: tar.FormatPAX,
	}
	if h.Mode == 0 {
		h.Mode = 0o600
	}
	if f.Kind == checkpoint.KindSymlink {
		h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, f.Target(), 0
	}
	return h
}
