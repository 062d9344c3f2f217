package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
)

// Archive is an archive being read. Its manifest is known; the rest is still to
// come.
type Archive struct {
	manifest *checkpoint.Manifest
	plain    []byte
	frame    *frameReader
	zstd     *zstd.Decoder
	// between is what the tar is read from. It bounds what lies between two
	// entries.
	between *io.LimitedReader
	tar     *tar.Reader
}

// maxBetween is how many bytes of tar may lie between the contents of two
// entries: padding, and headers of which archive/tar takes 1 MiB each.
const maxBetween = 4 << 20

// Open reads an archive up to and with its manifest, which says what session it
// belongs to. Close must be called. Errors about what r holds wrap
// checkpoint.ErrDamaged or, for an archive of a newer program,
// checkpoint.ErrFormat.
func Open(r io.Reader) (*Archive, error) {
	a := &Archive{frame: newFrameReader(r)}
	z, err := zstd.NewReader(a.frame, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	a.zstd, a.between = z, &io.LimitedReader{R: z}
	a.tar = tar.NewReader(a.between)
	if err := a.readManifest(); err != nil {
		a.Close()
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return a, nil
}

func (a *Archive) readManifest() error {
	h, err := a.next()
	if err != nil {
		return err
	}
	if h.Name != nameManifest || h.Typeflag != tar.TypeReg || h.Size > checkpoint.MaxManifest {
		return damaged("it starts with %q of %d bytes, not with %s", h.Name, h.Size, nameManifest)
	}
	if a.plain, err = a.read(h.Size); err != nil {
		return err
	}
	a.manifest, err = checkpoint.Decode(a.plain)
	if err != nil && !errors.Is(err, checkpoint.ErrFormat) {
		err = fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
	}
	if err == nil {
		err = matches(h, plainHeader(nameManifest, len(a.plain), a.manifest.Created))
	}
	if err == nil {
		err = known(a.manifest)
	}
	if err == nil && a.manifest.Epoch == checkpoint.MaxEpoch {
		err = damaged("epoch %d: no owner could come after it", a.manifest.Epoch)
	}
	return err
}

// known refuses a manifest with a component that this program does not know: it
// cannot say what content the checkpoint needs.
func known(m *checkpoint.Manifest) error {
	for name, v := range m.Components.Unsupported {
		return fmt.Errorf("%w: component %s is of version %d: use a newer helix-ckpt", checkpoint.ErrFormat, name, v)
	}
	return nil
}

// Manifest returns the manifest of the archive.
func (a *Archive) Manifest() *checkpoint.Manifest { return a.manifest }

// Close frees what reading holds. It does not close the reader.
func (a *Archive) Close() { a.zstd.Close() }

// Imported is what an import did.
type Imported struct {
	Manifest *checkpoint.Manifest
	// SHA256 is that of the manifest's plain JSON: what it was where the
	// checkpoint was made.
	SHA256 checkpoint.Hash
	// Existed is set when the checkpoint was there before.
	Existed bool
	// NewBytes is what its packs take on disk.
	NewBytes int64
}

// Options of an import.
type Options struct {
	// Session refuses, with checkpoint.ErrOtherSession, an archive of any other;
	// empty takes what the archive names.
	Session string
}

// Import opens an archive and imports it: see Open and Archive.Import.
func Import(ctx context.Context, repo *repository.Repository, r io.Reader, guard func() error, o Options) (Imported, error) {
	a, err := Open(r)
	if err != nil {
		return Imported{}, err
	}
	defer a.Close()
	if m := a.Manifest(); o.Session != "" && m.Session != o.Session {
		return Imported{}, fmt.Errorf("the archive is %w: of %q, not of %q", checkpoint.ErrOtherSession, m.Session, o.Session)
	}
	return a.Import(ctx, repo, guard)
}

// Import reads the rest of the archive into repo, the repository of the
// manifest's session, whose lock the caller holds. Everything is verified up to
// the archive's last byte before the checkpoint is committed, with guard as in
// Tx.Commit; on any error no checkpoint is added or changed. Importing what is
// already there changes nothing but that missing content comes back.
func (a *Archive) Import(ctx context.Context, repo *repository.Repository, guard func() error) (Imported, error) {
	done, err := a.into(ctx, repo, guard)
	if err != nil {
		return Imported{}, fmt.Errorf("import checkpoint %s: %w", a.manifest.ID, err)
	}
	return done, nil
}

func (a *Archive) into(ctx context.Context, repo *repository.Repository, guard func() error) (Imported, error) {
	done := Imported{Manifest: a.manifest, SHA256: checkpoint.Sum(a.plain)}
	switch _, sum, err := repo.Load(ctx, a.manifest.ID); {
	case err == nil && sum == done.SHA256:
		done.Existed = true
	case err == nil:
		return done, errors.New("another checkpoint of that id is here")
	case !errors.Is(err, checkpoint.ErrNotFound):
		return done, fmt.Errorf("what is here of it cannot be read; move it to quarantine/ and try again: %w", err)
	}
	tx, err := repo.Begin(ctx)
	if err != nil {
		return done, err
	}
	defer tx.Abort()
	i := &importer{Archive: a, tx: tx, seen: map[checkpoint.Hash]bool{}}
	if err := i.all(ctx); err != nil {
		return done, err
	}
	done.NewBytes = tx.NewBytes()
	_, err = tx.CommitBytes(ctx, a.plain, guard)
	return done, err
}

type importer struct {
	*Archive
	tx   *repository.Tx
	seen map[checkpoint.Hash]bool
}

func (i *importer) all(ctx context.Context) error {
	if err := lead(ctx, i, i.manifest); err != nil {
		return err
	}
	err := eachFile(ctx, i, i.manifest, func(f *checkpoint.File, want *tar.Header) error {
		h, err := i.next()
		if err == nil {
			err = matches(h, want)
		}
		if err == nil && f.Kind != checkpoint.KindSymlink {
			err = i.tx.PutAs(ctx, entryReader{i.Archive}, f.Content)
		}
		return err
	})
	if err != nil {
		return err
	}
	return i.end()
}

// Chunk gives a page or chunk of a list to lead: the first time it is the next
// entry of the archive, which is stored.
func (i *importer) Chunk(ctx context.Context, id checkpoint.Hash) ([]byte, error) {
	if i.seen[id] {
		return i.tx.Chunk(ctx, id)
	}
	h, err := i.next()
	if err != nil {
		return nil, err
	}
	if h.Size > checkpoint.MaxChunk {
		return nil, damaged("%s has %d bytes, at most %d are allowed", h.Name, h.Size, checkpoint.MaxChunk)
	}
	if err := matches(h, plainHeader(metaName(id), int(h.Size), i.manifest.Created)); err != nil {
		return nil, err
	}
	b, err := i.read(h.Size)
	if err != nil {
		return nil, err
	}
	if checkpoint.Sum(b) != id {
		return nil, damaged("%s does not match its name", h.Name)
	}
	i.seen[id] = true
	if _, err := i.tx.PutPage(ctx, b); err != nil {
		return nil, err
	}
	return b, nil
}

// next returns the next entry.
func (a *Archive) next() (*tar.Header, error) {
	a.between.N = maxBetween
	h, err := a.tar.Next()
	if err != nil {
		if errors.Is(err, io.EOF) && a.between.N > 0 {
			return nil, damaged("it ends too early")
		}
		return nil, a.cause(err)
	}
	a.between.N = h.Size
	return h, nil
}

func (a *Archive) read(size int64) ([]byte, error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(a.tar, b); err != nil {
		return nil, a.cause(err)
	}
	return b, nil
}

// entryReader reads the content of the current entry.
type entryReader struct{ *Archive }

func (e entryReader) Read(p []byte) (int, error) {
	n, err := e.tar.Read(p)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, e.cause(err)
}

// end checks that nothing follows.
func (a *Archive) end() error {
	a.between.N = maxBetween
	h, err := a.tar.Next()
	if err == nil {
		return damaged("%s is not part of its checkpoint", h.Name)
	}
	if !errors.Is(err, io.EOF) {
		return a.cause(err)
	}
	const tarEnd = 2 * 512
	if maxBetween-a.between.N < tarEnd {
		return damaged("it has no end")
	}
	switch n, err := a.zstd.Read(make([]byte, 1)); {
	case n > 0:
		return damaged("something follows its last entry")
	case !errors.Is(err, io.EOF):
		return a.cause(err)
	}
	return nil
}

// cause tells an archive that is damaged from one that cannot be read.
func (a *Archive) cause(err error) error {
	switch {
	case err == nil, errors.Is(err, checkpoint.ErrDamaged):
		return err
	case a.frame.err != nil:
		return a.frame.err
	case a.between.N == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return damaged("more than %d bytes between two entries", maxBetween)
	}
	return fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
}

// matches compares an entry with the only one that may stand at its place.
func matches(h, want *tar.Header) error {
	if h.Name != want.Name || h.Typeflag != want.Typeflag || h.Size != want.Size || h.Linkname != want.Linkname {
		return damaged("entry %q (type %q, %d bytes) stands where %q (type %q, %d bytes) belongs", h.Name, h.Typeflag, h.Size, want.Name, want.Typeflag, want.Size)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return damaged("entry %q is written as a sparse file", h.Name)
		}
	}
	if h.Mode != want.Mode || !h.ModTime.Equal(want.ModTime) {
		return damaged("entry %q: mode %04o and time %s are not those of the manifest", h.Name, h.Mode, h.ModTime)
	}
	return nil
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", checkpoint.ErrDamaged, fmt.Errorf(format, args...))
}
