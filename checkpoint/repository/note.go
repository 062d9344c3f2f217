package repository

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// A note is what a writer knows of what is stored and would have to find out
// again. It lies in index/ and is believed only while every pack is what it was
// when the note was made: whatever was deleted, replaced or put into quarantine
// since, nothing is taken for stored that is not.
//
//	record  [sha256 of the packs' names and what stat says of them 32][the note]

const noteMagic = "helix.ckpt/index-note/v1\n"

func (r *Repository) noteFile(name string) *cacheFile {
	return &cacheFile{path: filepath.Join(r.dir, dirIndex, name), magic: noteMagic}
}

// Note returns what SaveNote kept under a name; nil when it is not there or not
// to be believed any more.
func (r *Repository) Note(name string) []byte {
	packs, err := r.packsNow()
	if err != nil {
		return nil
	}
	var note []byte
	r.noteFile(name).load(func(payload []byte) {
		if len(payload) >= len(packs) && checkpoint.Hash(payload[:len(packs)]) == packs {
			note = slices.Clone(payload[len(packs):])
		}
		r.saved(name, payload)
	})
	return note
}

// SaveNote keeps note under a name of its own, until the next. It writes nothing
// when that is what is there, and an error costs time later on. The caller holds
// the session's lock, and no transaction is open.
func (r *Repository) SaveNote(name string, note []byte) {
	packs, err := r.packsNow()
	if err != nil {
		return
	}
	payload := slices.Concat(packs[:], note)
	if !r.saved(name, payload) {
		return
	}
	all := iter.Seq[[]byte](func(yield func([]byte) bool) { yield(payload) })
	if err := r.noteFile(name).rewrite(r.disk, all); err != nil {
		r.saved(name, nil)
	}
}

// saved notes what is in the file of a note, and reports whether that is new.
func (r *Repository) saved(name string, payload []byte) bool {
	r.notesMu.Lock()
	defer r.notesMu.Unlock()
	sum := checkpoint.Sum(payload)
	isNew := r.notes[name] != sum
	r.notes[name] = sum
	return isNew
}

// packsNow is a digest of the names of all packs and of what can be seen of them
// without reading.
func (r *Repository) packsNow() (checkpoint.Hash, error) {
	dir := filepath.Join(r.dir, dirPacks)
	names, err := readDir(dir)
	if err != nil {
		return checkpoint.Hash{}, err
	}
	sum := sha256.New()
	for _, name := range names {
		if _, ok := parsePackName(name); !ok {
			continue
		}
		info, err := os.Lstat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return checkpoint.Hash{}, err
		}
		fmt.Fprintf(sum, "%q %d %d %s\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	return checkpoint.Hash(sum.Sum(nil)), nil
}
