package repository

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Limits of lists.
const (
	// listCut is how many entries a chunk of a list holds on average: about
	// 32 KiB of files, so that one entry more costs little and a long list has
	// few chunks.
	listCut = 64
	// listChunk is where the writer ends a chunk whatever the keys say, in
	// bytes.
	listChunk = 1 << 20
	// maxEntry bounds one entry, in bytes, its newline included.
	maxEntry = 1 << 20
)

// Keyed is an entry of a list to be written.
type Keyed struct {
	// Key decides the entry's place, and with its hash where the list is cut.
	// No two entries have the same one.
	Key string
	// Value becomes one JSON document.
	Value any
}

// PutList stores entries, sorted by key, as a list.
func (t *Tx) PutList(ctx context.Context, entries []Keyed) (checkpoint.List, error) {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b Keyed) int { return cmp.Compare(a.Key, b.Key) })
	p := t.putter(0, t.meta)
	defer t.putters.Put(p)
	var buf []byte
	for i, e := range sorted {
		if i > 0 && sorted[i-1].Key == e.Key {
			return checkpoint.List{}, fmt.Errorf("put list: two entries have the key %q", e.Key)
		}
		line, err := json.Marshal(e.Value)
		if err != nil {
			return checkpoint.List{}, fmt.Errorf("put list: entry %q: %w", e.Key, err)
		}
		line = append(line, '\n')
		if len(line) > maxEntry {
			return checkpoint.List{}, fmt.Errorf("put list: entry %q has %d bytes, at most %d are allowed", e.Key, len(line), maxEntry)
		}
		if len(buf)+len(line) > listChunk {
			if _, err := p.chunk(ctx, buf); err != nil {
				return checkpoint.List{}, err
			}
			buf = buf[:0]
		}
		buf = append(buf, line...)
		if endsChunk(e.Key) {
			if _, err := p.chunk(ctx, buf); err != nil {
				return checkpoint.List{}, err
			}
			buf = buf[:0]
		}
	}
	if len(buf) > 0 {
		if _, err := p.chunk(ctx, buf); err != nil {
			return checkpoint.List{}, err
		}
	}
	c, err := p.finish(ctx)
	return checkpoint.List{Count: len(sorted), Content: c}, err
}

// endsChunk reports whether a list is cut after the entry of that key.
func endsChunk(key string) bool { return sha256.Sum256([]byte(key))[0]%listCut == 0 }

// ReadList calls each for every entry of a list, in order: see ReadList below.
func (r *Repository) ReadList(ctx context.Context, l checkpoint.List, each func(json.RawMessage) error) error {
	return ReadList(ctx, r, l, each)
}

// Files returns the files of a set: see ReadFiles.
func (r *Repository) Files(ctx context.Context, set *checkpoint.FileSet) ([]checkpoint.File, error) {
	return ReadFiles(ctx, r, set)
}

// ReadList calls each for every entry of a list, in order, verified as they are
// read. The entry is valid until each returns.
func ReadList(ctx context.Context, src Source, l checkpoint.List, each func(json.RawMessage) error) error {
	r, err := NewReader(ctx, src, l.Content)
	if err != nil {
		return fmt.Errorf("read list: %w", err)
	}
	lines := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	count := 0
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if long = append(long, line...); len(long) > maxEntry {
				return damaged("list of %s: an entry of more than %d bytes", l.Label(), maxEntry)
			}
			continue
		case errors.Is(err, io.EOF) && len(line)+len(long) == 0:
			if count != l.Count {
				return damaged("list of %s has %d entries, want %d", l.Label(), count, l.Count)
			}
			return nil
		case errors.Is(err, io.EOF):
			return damaged("list of %s: its last entry has no end", l.Label())
		case err != nil:
			return fmt.Errorf("read list: %w", err)
		}
		if len(long) > 0 {
			line = append(long, line...)
			long = long[:0]
		}
		if len(line) > maxEntry {
			return damaged("list %s: an entry of %d bytes, at most %d are allowed", l.Label(), len(line), maxEntry)
		}
		if count++; count > l.Count {
			return damaged("list of %s has more than its %d entries", l.Label(), l.Count)
		}
		if err := each(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return err
		}
	}
}

// EachFile calls each for the files of a set, in order, whether they stand in the
// manifest or in a list; valid as checkpoint.ValidateFiles demands. Of a list it
// holds one entry at a time.
func EachFile(ctx context.Context, src Source, set *checkpoint.FileSet, each func(*checkpoint.File) error) error {
	if set == nil || set.FileList == nil {
		if set != nil {
			for i := range set.Files {
				if err := each(&set.Files[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	l, last, left := set.FileList, "", int64(checkpoint.MaxSize)
	return ReadList(ctx, src, *l, func(entry json.RawMessage) error {
		var f checkpoint.File
		err := json.Unmarshal(entry, &f)
		if err == nil {
			err = f.Validate()
		}
		if err == nil && f.Name() <= last {
			err = fmt.Errorf("file %s stands after %s", f.Name(), last)
		}
		if f.State.Usable() {
			left -= f.Size
		}
		if err == nil && left < 0 {
			err = fmt.Errorf("files of more than %d bytes together", int64(checkpoint.MaxSize))
		}
		if err != nil {
			return damaged("list %s: %w", l.Label(), err)
		}
		last = f.Name()
		return each(&f)
	})
}

// ReadFiles returns the files of a set, as EachFile gives them; none for nil.
func ReadFiles(ctx context.Context, src Source, set *checkpoint.FileSet) ([]checkpoint.File, error) {
	if set == nil || set.FileList == nil {
		if set == nil {
			return nil, nil
		}
		return set.Files, nil
	}
	var files []checkpoint.File
	err := EachFile(ctx, src, set, func(f *checkpoint.File) error {
		files = append(files, *f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}
