package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/minio/highwayhash"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Every parser of what is read from disk. None may panic, hang or take memory
// that the input does not justify; beyond that each keeps what is stated.

func newDecoder(tb testing.TB) *zstd.Decoder {
	tb.Helper()
	r, err := Open(tb.TempDir())
	must(tb, err)
	return r.decoder
}

// FuzzManifestFile: what unseal takes has the sha256 that the file says.
func FuzzManifestFile(f *testing.F) {
	decoder := newDecoder(f)
	plain, err := checkpoint.Encode(manifest(1))
	must(f, err)
	good, err := seal(plain)
	must(f, err)
	f.Add(good)
	f.Add(good[:len(good)-sealLen])
	f.Fuzz(func(t *testing.T, b []byte) {
		// As it is, and with a seal that fits, which gets it to the decoder.
		sum := checkpoint.Sum(b)
		sealed := appendSkippable(bytes.Clone(b), magicSeal, append(make([]byte, idLen), sum[:]...))
		unseal(decoder, sealed) //nolint:errcheck // only its panics count
		if plain, err := unseal(decoder, b); err == nil {
			if sum := checkpoint.Sum(plain); !bytes.Equal(sum[:], b[len(b)-2*idLen:][:idLen]) {
				t.Error("another sha256")
			}
		}
	})
}

// FuzzTable: there is one way to write a table, so what is read is written the
// same, and its frames lie one after the other.
func FuzzTable(f *testing.F) {
	f.Add(encodeTable([]*frame{
		{packed: 100, chunks: []chunk{{checkpoint.Sum(nil), 16384}, {checkpoint.Sum([]byte("x")), 1}}},
		{packed: 7, chunks: []chunk{{checkpoint.Sum([]byte("y")), 4 << 20}}},
	}), int64(headerLen+107))
	f.Fuzz(func(t *testing.T, b []byte, end int64) {
		frames, err := decodeTable(&pack{}, b, end)
		if err != nil {
			return
		}
		if !bytes.Equal(encodeTable(frames), b) {
			t.Error("written otherwise")
		}
		at := int64(headerLen)
		for _, fr := range frames {
			if fr.offset != at || fr.plain > maxFrame {
				t.Errorf("frame %+v", fr)
			}
			at += int64(fr.packed)
		}
		if at != end {
			t.Errorf("ends at %d, not at %d", at, end)
		}
	})
}

// FuzzTrailer: a table that a trailer names lies in its file.
func FuzzTrailer(f *testing.F) {
	f.Add(encodeTrailer([]byte("table"), 1000), int64(1000+skipHead+5+trailerLen))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		tr, err := decodeTrailer(b, size)
		if err == nil && (tr.offset < 0 || tr.size < 0 || tr.size > maxTable || tr.offset+skipHead+tr.size+int64(trailerLen) != size) {
			t.Errorf("%+v in %d bytes", tr, size)
		}
	})
}

// memory is a Source of what was put into it.
type memory map[checkpoint.Hash][]byte

func (m memory) put(b []byte) checkpoint.Hash {
	id := checkpoint.Sum(b)
	m[id] = b
	return id
}

func (m memory) Chunk(_ context.Context, id checkpoint.Hash) ([]byte, error) {
	if b, ok := m[id]; ok {
		return b, nil
	}
	return nil, damaged("chunk %s is in no pack", id)
}

// FuzzRecipe reads content under a page of any bytes and of any shape: what comes
// back has the size that was said, and no more chunks are visited than that.
func FuzzRecipe(f *testing.F) {
	chunk := memory{}.put([]byte("chunk"))
	full := bytes.Repeat(chunk[:], checkpoint.Fanout)
	f.Add(chunk[:], int64(5), 5, 1)
	f.Add(full, int64(320), 5, 1)
	f.Add(full, int64(320), 0, 1)
	f.Add(full, int64(1<<40), 5, 5) // a page that stands for itself, over and over
	f.Fuzz(func(t *testing.T, page []byte, size int64, chunkSize, levels int) {
		m := memory{}
		m.put([]byte("chunk"))
		root := m.put(page)
		for range min(max(levels, 1), 6) - 1 {
			root = m.put(bytes.Repeat(root[:], checkpoint.Fanout))
		}
		c := checkpoint.Content{Size: size, ChunkSize: chunkSize, Recipe: &checkpoint.Recipe{SHA256: root, Levels: levels}}
		visited := int64(0)
		Walk(t.Context(), m, c, func(level int, _ checkpoint.Hash, _ []byte) error { //nolint:errcheck // bounded, that is all
			if level == 0 {
				visited++
			}
			if visited > 1<<14 {
				return io.ErrShortBuffer
			}
			return nil
		})
		if visited > max(0, size) {
			t.Errorf("%d chunks visited in %d bytes", visited, size)
		}
		r, err := NewReader(t.Context(), m, c)
		if err != nil {
			return
		}
		if n, _ := io.CopyN(io.Discard, r, 1<<20); n > size {
			t.Errorf("%d bytes of %d", n, size)
		}
		if chunkSize > 0 && size > 0 {
			r.ReadAt(make([]byte, 100), size-1) //nolint:errcheck // only its panics count
		}
	})
}

// FuzzList reads a list of any bytes: as many entries come as it says, each of
// them below the limit; as files, they are valid.
func FuzzList(f *testing.F) {
	line, err := json.Marshal(fileOf("x", checkpoint.Content{}))
	must(f, err)
	f.Add(append(line, '\n'), 1)
	f.Add([]byte("{}\n{}\n"), 2)
	f.Add([]byte("{}\n{}"), 2)
	f.Add(bytes.Repeat([]byte("x"), 1<<17), 1)
	f.Fuzz(func(t *testing.T, b []byte, count int) {
		m := memory{}
		l := checkpoint.List{Count: count, Content: checkpoint.Content{Size: int64(len(b)), SHA256: checkpoint.Sum(b)}}
		if len(b) > 0 {
			l.Chunks = []checkpoint.Hash{m.put(b)}
		}
		n := 0
		err := ReadList(t.Context(), m, l, func(entry json.RawMessage) error {
			if n++; len(entry) >= maxEntry {
				t.Errorf("an entry of %d bytes", len(entry))
			}
			return nil
		})
		if n > max(count, 0) || (err == nil && n != count) {
			t.Errorf("%d entries of %d, %v", n, count, err)
		}
		files, err := ReadFiles(t.Context(), m, &checkpoint.FileSet{FileList: &l})
		if err == nil {
			must(t, checkpoint.ValidateFiles(files))
		}
	})
}

// FuzzHints loads a cache of any records: what it takes is bounded, and is the
// same when it is saved and loaded again.
func FuzzHints(f *testing.F) {
	key := bytes.Repeat([]byte{7}, highwayhash.Size)
	h := hints{key: key}
	good := h.record("a", &hintTable{chunks: []hint{{1, checkpoint.Sum(nil)}, {2, checkpoint.Sum([]byte("x"))}}, size: 2, sum: checkpoint.Sum([]byte("y"))}, upTo(2))
	f.Add(good, good)
	f.Add(good[:len(good)-1], []byte{})
	large := h.record("b", &hintTable{chunks: make([]hint, maxHints)}, upTo(0))
	f.Add(large, h.record("c", &hintTable{chunks: make([]hint, maxHints)}, upTo(0)))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		dir := t.TempDir()
		h := newHints(dir)
		h.file.save(quick{}, nil, 0, slices.Values([][]byte{key, first, second}))
		h.table("x")
		if n := h.total(); n > maxHints || len(h.tables) > maxHintKeys {
			t.Fatalf("%d hints of %d keys", n, len(h.tables))
		}
		for _, table := range h.tables {
			if len(table.chunks) > 0 {
				table.changed = []uint32{0}
			}
		}
		h.save(system{})
		again := newHints(dir)
		again.table("x")
		for name, table := range h.tables {
			if got := again.tables[name]; table.changed == nil && len(table.chunks) > 0 && (got == nil || !slices.Equal(got.chunks, table.chunks)) {
				t.Errorf("%q came back as something else", name)
			}
		}
	})
}
