package repository

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// cacheFile is one file of index/: what it holds was computed once and could be
// computed again. It is records, each with its own sha256, so that one more is
// appended without writing the others:
//
//	kind and version ─ [length 4][payload][sha256 32] ─ [length 4] …
//
// A record that is not whole ends what is read: a crash may leave one, because
// nothing here is synced. The next save writes such a file anew. Only the holder
// of the session's lock saves; anybody reads.
type cacheFile struct {
	path  string
	magic string
	// size is the length of the file when it was last read or written here, in
	// bytes; 0 when it has to be written anew.
	size int64
}

// DropCache deletes index/. Whoever made it knows the key of the hints, and could
// make a changed chunk look unchanged: so it is believed only where this session
// has made it. The caller holds the session's lock and has read nothing yet.
func (r *Repository) DropCache() error {
	return wrap("drop index/", os.RemoveAll(filepath.Join(r.dir, dirIndex)))
}

const (
	// maxCacheFile bounds a file of index/, in bytes: the tables of 7 million
	// chunks. What is longer is not read, nor written.
	maxCacheFile = 256 << 20
	// cacheSlack is what a cache file may hold, in bytes, of what is no longer
	// true, beside as much as what is.
	cacheSlack = 64 << 10
)

// load calls each for every record that is whole. The payload is valid until
// each returns.
func (c *cacheFile) load(each func(payload []byte)) {
	c.size = 0
	f, size, err := openFile(c.path)
	if err != nil || size > maxCacheFile {
		return
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	head := make([]byte, len(c.magic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != c.magic {
		return
	}
	read := int64(len(head))
	var record []byte
	for read < size {
		var length [4]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return
		}
		n := int64(binary.LittleEndian.Uint32(length[:])) + sha256.Size
		if read += int64(len(length)) + n; read > size {
			return
		}
		if int64(cap(record)) < n {
			record = make([]byte, n)
		}
		record = record[:n]
		if _, err := io.ReadFull(r, record); err != nil {
			return
		}
		payload := record[:n-sha256.Size]
		if checkpoint.Sum(payload) != checkpoint.Hash(record[n-sha256.Size:]) {
			return
		}
		each(payload)
	}
	c.size = size
}

// writeRecords writes the magic, if any, and records to a new file or behind an
// old one, and returns how many bytes that were.
func writeRecords(f file, magic string, records iter.Seq[[]byte]) (int64, error) {
	w := bufio.NewWriterSize(f, 64<<10)
	size := int64(len(magic))
	_, err := w.WriteString(magic)
	for payload := range records {
		var length [4]byte
		binary.LittleEndian.PutUint32(length[:], uint32(len(payload)))
		sum := checkpoint.Sum(payload)
		for _, b := range [][]byte{length[:], payload, sum[:]} {
			if err == nil {
				_, err = w.Write(b)
			}
			size += int64(len(b))
		}
		if err != nil {
			break
		}
	}
	return size, errors.Join(err, w.Flush(), f.Close())
}

// save adds fresh records. It writes the whole file anew from all, whose
// payloads take live bytes, where the old one is not what is known of it, or
// is mostly what is no longer true. What fails costs time later on.
func (c *cacheFile) save(d disk, fresh iter.Seq[[]byte], live int64, all iter.Seq[[]byte]) {
	info, err := os.Lstat(c.path)
	switch {
	case live > maxCacheFile:
		err = errTooLong
	case err == nil && c.size > 0 && info.Size() == c.size && c.size <= 2*live+cacheSlack:
		err = c.append(d, fresh)
	default:
		err = c.rewrite(d, all)
	}
	if err != nil {
		c.size = 0
	}
}

func (c *cacheFile) append(d disk, fresh iter.Seq[[]byte]) error {
	if err := ownDir(filepath.Dir(c.path)); err != nil {
		return err
	}
	f, err := d.append(c.path)
	if err != nil {
		return err
	}
	size, err := writeRecords(f, "", fresh)
	c.size += size
	return err
}

func (c *cacheFile) rewrite(d disk, all iter.Seq[[]byte]) error {
	dir := filepath.Dir(c.path)
	if err := d.mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := ownDir(dir); err != nil {
		return err
	}
	if err := sweep(d, dir); err != nil {
		return err
	}
	temp := tempName(dir)
	f, err := d.create(temp)
	if err != nil {
		return err
	}
	size, err := writeRecords(f, c.magic, all)
	if err == nil {
		err = d.rename(temp, c.path)
	}
	if err != nil {
		return errors.Join(err, d.remove(temp))
	}
	c.size = size
	return nil
}
