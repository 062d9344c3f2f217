package checkpoint

import (
	"fmt"
	"slices"
)

// MaxEpoch is the highest epoch and the highest seq: above it, readers of JSON
// such as jq lose digits.
const MaxEpoch = 1<<53 - 1

// Limits of content, part of the format.
const (
	// ChunkSize is the size in bytes of every chunk of a file but its last. It
	// is a multiple of every SQLite page size we meet (4 KiB), and measured to
	// cost least: 20 changed rows of a 70 MB database add 0.53 MB at 16 KiB,
	// 1.66 MB at 64 KiB.
	ChunkSize = 16 << 10
	// MaxChunk is the largest chunk a reader accepts: a list may hold entries
	// longer than ChunkSize, and a chunk holds whole entries.
	MaxChunk = 4 << 20
	// MaxInline is how many chunk ids stand in the manifest itself; longer
	// content names a recipe.
	MaxInline = 8
	// Fanout is how many ids a recipe page holds.
	Fanout = 64
	// MaxLevels bounds the depth of a recipe: 64^5 chunks of 16 KiB are 16 TiB.
	MaxLevels = 5
	// MaxSize is the largest content a reader accepts, and the most that the
	// files of one component may be together, in bytes (1 TiB): a small manifest
	// that names the same pages over and over cannot keep a reader busy for days.
	MaxSize = 1 << 40
	// MaxEntries is how many entries a list has, so also how many chunks, and
	// MaxListSize how many bytes (512 MiB): lists of files are held in memory.
	MaxEntries  = 1 << 20
	MaxListSize = 512 << 20
	// MaxHoles is how many holes of a file are listed. They inform, so a writer
	// leaves the smallest out.
	MaxHoles = 1 << 14
)

// Content names bytes: their size, and the chunks they are made of, in order. Up
// to MaxInline chunk ids stand here; otherwise Recipe names the root of a tree
// of pages, and an unchanged part of a file costs nothing in the next checkpoint
// because its pages have the same ids. The chunks' ids and the order in which
// they are named prove the whole.
type Content struct {
	Size int64 `json:"size"`
	// SHA256 is of the whole. It is zero where it is not known, because only what
	// had changed was hashed.
	SHA256 Hash `json:"sha256,omitzero"`
	// ChunkSize is the size in bytes of every chunk but the last. 0 means that
	// chunks are cut by what they hold (lists), each at most MaxChunk.
	ChunkSize int     `json:"chunk_size"`
	Chunks    []Hash  `json:"chunks,omitempty"`
	Recipe    *Recipe `json:"recipe,omitempty"`
}

// Recipe is the root of a tree of pages. A page is content: up to Fanout raw
// 32-byte ids, one after the other. At level 1 the ids name chunks, at level n
// pages of level n-1.
type Recipe struct {
	SHA256 Hash `json:"sha256"`
	Levels int  `json:"levels"`
}

// validate reports what cannot be true of c.
func (c Content) validate() error {
	switch {
	case c.Size < 0 || c.Size > MaxSize:
		return fmt.Errorf("size %d is out of range", c.Size)
	case c.ChunkSize < 0 || c.ChunkSize > MaxChunk:
		return fmt.Errorf("chunk_size %d is out of range", c.ChunkSize)
	case len(c.Chunks) > MaxInline:
		return fmt.Errorf("%d chunk ids inline, at most %d are allowed", len(c.Chunks), MaxInline)
	case c.Recipe != nil && len(c.Chunks) > 0:
		return fmt.Errorf("both chunks and a recipe")
	case c.Recipe != nil && (c.Recipe.Levels < 1 || c.Recipe.Levels > MaxLevels):
		return fmt.Errorf("recipe of %d levels, 1 to %d are allowed", c.Recipe.Levels, MaxLevels)
	case c.Recipe != nil && c.Recipe.SHA256.IsZero():
		return fmt.Errorf("recipe without an id")
	case c.Size > 0 && c.Recipe == nil && len(c.Chunks) == 0:
		return fmt.Errorf("%d bytes without chunks", c.Size)
	case c.Size == 0 && (c.Recipe != nil || len(c.Chunks) > 0):
		return fmt.Errorf("chunks of nothing")
	}
	if c.ChunkSize > 0 && c.Recipe == nil {
		if want := (c.Size + int64(c.ChunkSize) - 1) / int64(c.ChunkSize); int64(len(c.Chunks)) != want {
			return fmt.Errorf("%d bytes need %d chunks of %d, not %d", c.Size, want, c.ChunkSize, len(c.Chunks))
		}
	}
	for _, h := range c.Chunks {
		if h.IsZero() {
			return fmt.Errorf("a chunk without an id")
		}
	}
	return nil
}

// Equal reports whether c and o are the same bytes in the same chunks. Of those
// in chunks of another size, nothing is known and it is false.
func (c Content) Equal(o Content) bool {
	switch {
	case c.Size != o.Size:
		return false
	case c.Size == 0:
		return true
	case c.ChunkSize != o.ChunkSize || !slices.Equal(c.Chunks, o.Chunks):
		return false
	case c.Recipe == nil || o.Recipe == nil:
		return c.Recipe == o.Recipe
	}
	return *c.Recipe == *o.Recipe
}

// Label names c in messages, by what is known of it.
func (c Content) Label() string {
	switch {
	case !c.SHA256.IsZero():
		return "content " + c.SHA256.String()
	case c.Recipe != nil:
		return "content of recipe " + c.Recipe.SHA256.String()
	case len(c.Chunks) > 0:
		return "content of chunk " + c.Chunks[0].String()
	}
	return "empty content"
}

// List is a long list kept as content: its entries, one JSON document a line,
// sorted by key and cut into chunks at entries chosen by a hash of the key, so
// that one entry more changes one chunk and the pages above it.
type List struct {
	Count int `json:"count"`
	Content
}
