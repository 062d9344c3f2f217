package repository

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
)

func mkfifo(name string) error { return syscall.Mkfifo(name, 0o600) }

// tool runs a program of the system and returns its output.
func tool(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return out
}

// TestOthersReadIt reads a repository with zstd, jq, sha256sum and the words of
// FORMAT.md, with no code of this package.
func TestOthersReadIt(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := append(noise(1, 700_000), text(1, 2_000_000)...)
	m := save(t, r, 1, b)

	manifest := filepath.Join(r.Dir(), dirCheckpoints, string(m.ID)+".json.zst")
	plain := tool(t, nil, "zstd", "-dc", manifest)
	tool(t, nil, "zstd", "-tq", manifest)
	if id := tool(t, plain, "jq", "-r", ".id"); strings.TrimSpace(string(id)) != string(m.ID) {
		t.Errorf("jq says it is %s", id)
	}
	if first := tool(t, plain, "jq", "-r", "keys_unsorted[0]"); strings.TrimSpace(string(first)) != "format" {
		t.Errorf("its first key is %s", first)
	}
	_, sum, err := r.Load(t.Context(), m.ID)
	must(t, err)
	if got := tool(t, plain, "sha256sum"); !strings.HasPrefix(string(got), sum.String()) {
		t.Errorf("manifest_sha256 is %s, sha256sum says %s", sum, got)
	}

	packs, err := filepath.Glob(filepath.Join(r.Dir(), "packs", "*.zst"))
	must(t, err)
	pack := packs[0]
	tool(t, nil, "zstd", "-tq", pack)
	if got := tool(t, nil, "sha256sum", pack); !strings.HasPrefix(string(got), strings.TrimSuffix(filepath.Base(pack), ".zst")) {
		t.Errorf("the pack is called %s, sha256sum says %s", pack, got)
	}

	// The chunks lie in the plain text of the pack in the order of its table.
	chunks := chunksByHand(t, tool(t, nil, "cat", pack), tool(t, nil, "zstd", "-dc", pack))
	var recipe struct {
		SHA256 string
		Levels int
	}
	must(t, json.Unmarshal(tool(t, plain, "jq", ".components.files.files[0].recipe"), &recipe))
	got := expandByHand(chunks, recipe.SHA256, recipe.Levels)
	if !bytes.Equal(got, b) {
		t.Errorf("%d bytes put together by hand, not the %d that were stored", len(got), len(b))
	}
}

// chunksByHand takes a pack apart as FORMAT.md says.
func chunksByHand(t *testing.T, pack, plain []byte) map[string][]byte {
	t.Helper()
	trailer := pack[len(pack)-71:]
	table := pack[binary.LittleEndian.Uint64(trailer[8:]):]
	table = table[8 : 8+binary.LittleEndian.Uint32(trailer[16:])]
	frames, n := binary.LittleEndian.Uint32(table), binary.LittleEndian.Uint32(table[4:])
	table = table[8+8*frames:]
	chunks := map[string][]byte{}
	for range n {
		size := binary.LittleEndian.Uint32(table[32:])
		chunks[hex.EncodeToString(table[:32])] = plain[:size]
		table, plain = table[36:], plain[size:]
	}
	if len(table)+len(plain) > 0 {
		t.Errorf("left over: %d bytes of the table, %d of the content", len(table), len(plain))
	}
	return chunks
}

func expandByHand(chunks map[string][]byte, id string, level int) []byte {
	b := chunks[id]
	if level == 0 {
		return b
	}
	var all []byte
	for ; len(b) > 0; b = b[32:] {
		all = append(all, expandByHand(chunks, hex.EncodeToString(b[:32]), level-1)...)
	}
	return all
}

// TestRecipesOfSeveralLevels uses tiny chunks: the tree is the same whatever
// they hold.
func TestRecipesOfSeveralLevels(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	const fan = checkpoint.Fanout
	for _, c := range []struct{ chunks, levels int }{
		{fan, 1},
		{fan + 1, 2},
		{fan * fan, 2},
		{fan*fan + 1, 3},
		{fan * fan * fan, 3},
		{fan*fan*fan + 1, 4},
	} {
		const size = 8
		b := make([]byte, c.chunks*size-3)
		for i := range c.chunks {
			// Sparse: most chunks are zero, some name their place.
			if i%1000 == 0 {
				copy(b[i*size:], binary.LittleEndian.AppendUint64(nil, uint64(i+1)<<8))
			}
		}
		tx := begin(t, r)
		content, err := tx.Put(t.Context(), bytes.NewReader(b), size)
		must(t, err)
		if content.Recipe == nil || content.Recipe.Levels != c.levels {
			t.Fatalf("%d chunks: recipe %+v, want %d levels", c.chunks, content.Recipe, c.levels)
		}
		var got bytes.Buffer
		reader, err := NewReader(t.Context(), tx, content)
		must(t, err)
		_, err = reader.WriteTo(&got)
		must(t, err)
		if !bytes.Equal(got.Bytes(), b) {
			t.Errorf("%d chunks: other bytes came back", c.chunks)
		}
		rapid.Check(t, func(rt *rapid.T) {
			off := rapid.IntRange(0, len(b)-1).Draw(rt, "offset")
			part := make([]byte, rapid.IntRange(1, 100).Draw(rt, "length"))
			n, err := reader.ReadAt(part, int64(off))
			if want := min(len(part), len(b)-off); n != want || errors.Is(err, io.EOF) != (n < len(part)) || !bytes.Equal(part[:n], b[off:off+n]) {
				rt.Fatalf("read at %d: %d bytes, %v", off, n, err)
			}
		})
		tx.Abort()
	}
}

// TestReadersSeeWholeCheckpoints reads beside a writer, as another process does.
func TestReadersSeeWholeCheckpoints(t *testing.T) {
	t.Parallel()
	w := openTemp(t)
	save(t, w, 1, noise(1, 200_000))
	done := make(chan error, 1)
	go func() {
		var err error
		for seq := uint64(2); seq < 25 && err == nil; seq++ {
			_, err = trySave(t, w, seq, noise(seq, 200_000))
		}
		done <- err
	}()
	r, err := Open(w.Dir())
	must(t, err)
	seen := 0
	for {
		select {
		case err := <-done:
			must(t, err)
			if seen < 3 {
				t.Errorf("only %d checkpoints seen", seen)
			}
			return
		default:
		}
		entries, damage, err := r.List(t.Context())
		if err != nil || len(damage) > 0 {
			t.Fatalf("damaged: %v, %v", damage, err)
		}
		seen = max(seen, len(entries))
		m, _, err := r.Load(t.Context(), entries[0].ID)
		must(t, err)
		if got := read(t, r, m.Components.Files.Files[0].Content); !bytes.Equal(got, noise(m.Seq, 200_000)) {
			t.Fatalf("checkpoint %d has other bytes", m.Seq)
		}
	}
}

// numbered returns n bytes that are quick to store and have no chunk twice.
func numbered(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += checkpoint.ChunkSize {
		binary.LittleEndian.PutUint64(b[i:], uint64(i))
	}
	return b
}

// costs returns what a checkpoint of b has added, its manifest included.
func costs(t *testing.T, r *Repository, b []byte) int64 {
	t.Helper()
	m := save(t, r, 2, b)
	info, err := os.Stat(filepath.Join(r.Dir(), manifestName(m.ID)))
	must(t, err)
	return m.Stats.NewBytes + info.Size()
}

// TestASmallChangeCostsLittle changes parts of a database of 70 MB to what does
// not compress, which is the worst case.
func TestASmallChangeCostsLittle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		most   int64
		change func(b []byte)
	}{
		{"16 KiB in the middle, not aligned", 64 << 10, func(b []byte) {
			copy(b[len(b)/2-5000:], noise(1, 16<<10))
		}},
		{"16 KiB under two pages of each level", 64 << 10, func(b []byte) {
			copy(b[checkpoint.Fanout*checkpoint.Fanout*checkpoint.ChunkSize-5000:], noise(1, 16<<10))
		}},
		{"20 chunks all over it", 20*checkpoint.ChunkSize + 80_000, func(b []byte) {
			for i := range 20 {
				copy(b[(i*211+7)*checkpoint.ChunkSize:], noise(uint64(i), checkpoint.ChunkSize))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := openTemp(t)
			b := numbered(70 << 20)
			save(t, r, 1, b)
			c.change(b)
			if more := costs(t, r, b); more > c.most {
				t.Errorf("%d bytes more, want at most %d", more, c.most)
			} else {
				t.Logf("%d bytes more", more)
			}
		})
	}
}

// TestLongContentIsReadAhead writes out content of many frames: whole, cut off
// by who writes, and with damage far in. Nothing is left running, which goleak
// sees, and reading goes on where writing stopped.
func TestLongContentIsReadAhead(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := noise(3, 5*frameSize)
	m := save(t, r, 1, b)
	c := m.Components.Files.Files[0].Content
	var out bytes.Buffer
	must(t, r.CopyTo(t.Context(), &out, c))
	if !bytes.Equal(out.Bytes(), b) {
		t.Fatal("it came back as something else")
	}

	reader, err := r.Reader(t.Context(), c)
	must(t, err)
	full := &limited{left: frameSize}
	if _, err := reader.WriteTo(full); !errors.Is(err, io.ErrShortWrite) {
		t.Fatalf("a full disk: %v", err)
	}
	rest, err := io.ReadAll(reader)
	must(t, err)
	if whole := append(full.Bytes(), rest...); !bytes.Equal(whole, b) {
		t.Errorf("%d bytes in two parts are not the %d that were stored", len(whole), len(b))
	}

	packs, err := filepath.Glob(filepath.Join(r.Dir(), "packs", "*.zst"))
	must(t, err)
	pack, err := os.ReadFile(packs[0])
	must(t, err)
	pack[3*frameSize] ^= 1
	must(t, os.WriteFile(packs[0], pack, 0o600))
	again, err := Open(r.Dir())
	must(t, err)
	out.Reset()
	if err := again.CopyTo(t.Context(), &out, c); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("damage: %v", err)
	}
	if !bytes.HasPrefix(b, out.Bytes()) {
		t.Error("damaged bytes were written")
	}
}

// limited is a writer that is full at some point.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.Buffer.Write(p[:n])
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}
