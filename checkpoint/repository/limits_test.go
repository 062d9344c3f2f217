package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// TestLimits reads what is just at each limit of FORMAT.md, and what is above by
// the least that can be, which is damage. Every row of that table has a case.
func TestLimits(t *testing.T) {
	t.Parallel()
	l := limits{t}
	cases := map[string]func(over int) error{
		"file of a manifest":                         l.manifestFile,
		"plain JSON of a manifest":                   l.manifestJSON,
		"nesting of JSON":                            l.nesting,
		"`epoch`, `seq`":                             l.epoch,
		"ids in a manifest's content":                l.inline,
		"ids in a page":                              l.page,
		"levels of a recipe":                         l.levels,
		"size of a content":                          l.size,
		"`chunk_size`":                               l.chunkSize,
		"path below its root, target of a symlink":   l.path,
		"one name of a path":                         l.name,
		"holes of a file":                            l.holes,
		"entry of a list, newline included":          l.entry,
		"entries of a list":                          l.entries,
		"chunks of a list":                           l.listChunks,
		"bytes of a list":                            l.listBytes,
		"files of a component together":              l.together,
		"nodes of a layout, workspaces included":     l.nodes,
		"nodes nested in a workspace":                l.nested,
		"length of a chunk":                          l.chunk,
		"chunks in a pack":                           l.chunks,
		"plain bytes of a frame":                     l.frame,
		"compressed bytes of a frame":                l.packed,
		"window of a zstd frame, also of an archive": l.window,
		"length of a session id":                     l.session,
	}
	doc, err := os.ReadFile("FORMAT.md")
	must(t, err)
	_, section, _ := strings.Cut(string(doc), "\n## Limits\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(section, -1)[1:] {
		if cases[row[1]] == nil {
			t.Errorf("no case for %q", row[1])
		}
		rows = append(rows, row[1])
	}
	for name, read := range cases {
		if !slices.Contains(rows, name) {
			t.Errorf("FORMAT.md has no limit called %q", name)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := read(0); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			if err := read(1); !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("above the limit: %v", err)
			}
		})
	}
}

// limits makes and reads things that are over the limit by some amount.
type limits struct{ t *testing.T }

// load writes plain as a manifest, with a seal that fits, and loads it.
func (l limits) load(id checkpoint.ID, plain []byte) error {
	l.t.Helper()
	r := openTemp(l.t)
	sealed, err := seal(plain)
	must(l.t, err)
	path := filepath.Join(r.Dir(), manifestName(id))
	must(l.t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(l.t, os.WriteFile(path, sealed, 0o600))
	_, _, err = r.Load(l.t.Context(), id)
	return err
}

// manifest loads a manifest that was changed. Encode would refuse it.
func (l limits) manifest(change func(m *checkpoint.Manifest)) error {
	l.t.Helper()
	m := manifest(1, fileOf("x", checkpoint.Content{}))
	change(m)
	plain, err := json.Marshal(m)
	must(l.t, err)
	return l.load(m.ID, plain)
}

func (l limits) file(change func(f *checkpoint.File)) error {
	l.t.Helper()
	return l.manifest(func(m *checkpoint.Manifest) { change(&m.Components.Files.Files[0]) })
}

func (l limits) manifestFile(over int) error {
	name := filepath.Join(l.t.TempDir(), "x")
	must(l.t, os.WriteFile(name, nil, 0o600))
	must(l.t, os.Truncate(name, int64(17<<20+over)))
	_, err := readFile(name, maxManifestFile)
	return err
}

func (l limits) manifestJSON(over int) error {
	m := manifest(1)
	plain, err := json.Marshal(m)
	must(l.t, err)
	return l.load(m.ID, append(plain, bytes.Repeat([]byte(" "), 16<<20+over-len(plain))...))
}

func (l limits) nesting(over int) error {
	m := manifest(1)
	plain, err := json.Marshal(m)
	must(l.t, err)
	n := 10_000 - 1 + over // the manifest is one
	deep := `,"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}"
	return l.load(m.ID, append(plain[:len(plain)-1], deep...))
}

func (l limits) epoch(over int) error {
	return l.manifest(func(m *checkpoint.Manifest) { m.Epoch = uint64(1<<53 - 1 + over) })
}

func (l limits) inline(over int) error {
	return l.file(func(f *checkpoint.File) {
		f.ChunkSize, f.Size = 1, int64(8+over)
		for i := range f.Size {
			f.Chunks = append(f.Chunks, checkpoint.Sum([]byte{byte(i)}))
		}
	})
}

func (l limits) page(over int) error {
	m := memory{}
	chunk := m.put([]byte("x"))
	n := 64 + over
	root := m.put(bytes.Repeat(chunk[:], n))
	r, err := NewReader(l.t.Context(), m, checkpoint.Content{Size: int64(n), ChunkSize: 1, Recipe: &checkpoint.Recipe{SHA256: root, Levels: 1}})
	if err == nil {
		_, err = r.WriteTo(new(bytes.Buffer))
	}
	return err
}

func (l limits) levels(over int) error {
	return l.file(func(f *checkpoint.File) {
		f.ChunkSize, f.Size, f.Recipe = 1, 1, &checkpoint.Recipe{SHA256: checkpoint.Sum(nil), Levels: 5 + over}
	})
}

func (l limits) size(over int) error {
	return l.file(func(f *checkpoint.File) {
		f.ChunkSize, f.Size, f.Recipe = checkpoint.ChunkSize, int64(1<<40+over), &checkpoint.Recipe{SHA256: checkpoint.Sum(nil), Levels: 5}
	})
}

func (l limits) chunkSize(over int) error {
	return l.file(func(f *checkpoint.File) {
		f.ChunkSize, f.Size, f.Chunks = 4<<20+over, 1, []checkpoint.Hash{checkpoint.Sum(nil)}
	})
}

func (l limits) path(over int) error {
	long := strings.Repeat("n/", 2047) + strings.Repeat("x", 1+over)
	link := l.file(func(f *checkpoint.File) { f.Kind, f.Link = checkpoint.KindSymlink, long })
	path := l.file(func(f *checkpoint.File) { f.Path = "$HOME/" + long })
	if errors.Is(link, checkpoint.ErrDamaged) != errors.Is(path, checkpoint.ErrDamaged) {
		l.t.Errorf("link: %v; path: %v", link, path)
	}
	return path
}

func (l limits) name(over int) error {
	return l.file(func(f *checkpoint.File) { f.Path = "$HOME/x/" + strings.Repeat("n", 255+over) + "/y" })
}

func (l limits) holes(over int) error {
	return l.file(func(f *checkpoint.File) {
		f.ChunkSize, f.Size, f.Chunks = 1<<20, 1<<20, []checkpoint.Hash{checkpoint.Sum(nil)}
		for i := range int64(16384 + over) {
			f.Holes = append(f.Holes, [2]int64{2 * i, 1})
		}
	})
}

func (l limits) entry(over int) error {
	b := append(bytes.Repeat([]byte("x"), 1<<20-1+over), '\n')
	m := memory{}
	list := checkpoint.List{Count: 1, Content: checkpoint.Content{Size: int64(len(b)), Chunks: []checkpoint.Hash{m.put(b)}}}
	return ReadList(l.t.Context(), m, list, func(json.RawMessage) error { return nil })
}

func (l limits) list(entries, size int) error {
	return l.manifest(func(m *checkpoint.Manifest) {
		c := checkpoint.Content{Size: int64(size), Recipe: &checkpoint.Recipe{SHA256: checkpoint.Sum(nil), Levels: 1}}
		m.Components.Files.FileSet = checkpoint.FileSet{FileList: &checkpoint.List{Count: entries, Content: c}}
	})
}

func (l limits) entries(over int) error { return l.list(1<<20+over, 1<<20) }

func (l limits) listBytes(over int) error { return l.list(1, 512<<20+over) }

// listChunks goes through a list of 2²⁰ chunks, made of pages that stand in it
// over and over.
func (l limits) listChunks(over int) error {
	m := memory{}
	chunk := m.put([]byte("{}\n"))
	full, last := chunk, chunk
	for range 3 {
		full, last = m.put(bytes.Repeat(full[:], 64)), m.put(last[:])
	}
	root := m.put(append(bytes.Repeat(full[:], 4), bytes.Repeat(last[:], over)...))
	n := 1<<20 + over
	list := checkpoint.List{Count: n, Content: checkpoint.Content{Size: int64(3 * n), Recipe: &checkpoint.Recipe{SHA256: root, Levels: 4}}}
	read := ReadList(l.t.Context(), m, list, func(json.RawMessage) error { return nil })
	walked := Walk(l.t.Context(), m, list.Content, func(int, checkpoint.Hash, []byte) error { return nil })
	if errors.Is(read, checkpoint.ErrDamaged) != errors.Is(walked, checkpoint.ErrDamaged) {
		l.t.Errorf("read: %v; walked: %v", read, walked)
	}
	return read
}

// together has two files that are as long as all may be.
func (l limits) together(over int) error {
	return l.manifest(func(m *checkpoint.Manifest) {
		for _, size := range []int64{1 << 39, 1<<39 + int64(over)} {
			c := checkpoint.Content{Size: size, ChunkSize: checkpoint.ChunkSize, Recipe: &checkpoint.Recipe{SHA256: checkpoint.Sum(nil), Levels: 5}}
			m.Components.Files.Files = append(m.Components.Files.Files, fileOf(strconv.FormatInt(int64(len(m.Components.Files.Files)), 10), c))
		}
	})
}

func (l limits) nodes(over int) error {
	return l.layout(func(ws *checkpoint.Workspace) {
		for i := range 10_000 - 1 + over {
			ws.Nodes = append(ws.Nodes, &checkpoint.Node{ID: strconv.Itoa(i)})
		}
	})
}

func (l limits) nested(over int) error {
	return l.layout(func(ws *checkpoint.Workspace) {
		for i := range 64 + over {
			ws.Nodes = []*checkpoint.Node{{ID: strconv.Itoa(i), Nodes: ws.Nodes}}
		}
	})
}

func (l limits) layout(change func(ws *checkpoint.Workspace)) error {
	return l.manifest(func(m *checkpoint.Manifest) {
		layout := &checkpoint.Layout{Head: checkpoint.NewHead(checkpoint.OK, m.Created), Workspaces: []checkpoint.Workspace{{ID: "ws"}}}
		change(&layout.Workspaces[0])
		m.Components.Layout = layout
	})
}

func (l limits) session(over int) error {
	return l.manifest(func(m *checkpoint.Manifest) { m.Session = strings.Repeat("s", 128+over) })
}

// table reads the table of a pack of one frame.
func (l limits) table(packed int, sizes ...uint32) error {
	f := &frame{packed: uint32(packed)}
	for _, size := range sizes {
		f.chunks = append(f.chunks, chunk{size: size})
	}
	_, err := decodeTable(&pack{}, encodeTable([]*frame{f}), int64(headerLen+packed))
	return err
}

func (l limits) chunk(over int) error {
	if err := l.table(1, 0); !errors.Is(err, checkpoint.ErrDamaged) {
		l.t.Errorf("a chunk of no bytes: %v", err)
	}
	return errors.Join(l.table(1, 1), l.table(1, uint32(4<<20+over)))
}

func (l limits) chunks(over int) error {
	return l.table(1, slices.Repeat([]uint32{1}, 1<<20+over)...)
}

func (l limits) frame(over int) error { return l.table(1, 4<<20, 4<<20-1, uint32(1+over)) }

func (l limits) packed(over int) error { return l.table(16<<20+over, 1) }

// window decodes a frame whose header asks for a window of 8 MiB, or the next
// larger one.
func (l limits) window(over int) error {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithWindowSize(8<<20<<over), zstd.WithSingleSegment(false))
	must(l.t, err)
	plain := bytes.Repeat([]byte("x"), 100)
	_, err = z.Write(plain)
	must(l.t, errors.Join(err, z.Flush(), z.Close()))
	_, err = decodeFrame(newDecoder(l.t), &frame{pack: &pack{}, plain: uint32(len(plain))}, b.Bytes())
	return err
}

// TestOneFrameIsOneFrame: whatever a zstd decoder takes for one stream with it,
// a manifest or a frame of a pack is one zstd frame.
func TestOneFrameIsOneFrame(t *testing.T) {
	t.Parallel()
	enc, err := newEncoder(DefaultCompression, 1)
	must(t, err)
	plain := []byte("some bytes")
	good := enc.EncodeAll(plain, nil)
	empty := enc.EncodeAll(nil, nil)
	skipped := appendSkippable(nil, 0x184D2A50, []byte("x"))
	decoder := newDecoder(t)
	for name, b := range map[string][]byte{
		"nothing": nil, "no frame": plain, "cut off": good[:len(good)-1], "cut in its header": good[:5], "cut in a block": good[:12],
		"a byte more": append(bytes.Clone(good), 0), "an empty frame after": append(bytes.Clone(good), empty...),
		"an empty frame before":    append(bytes.Clone(empty), good...),
		"a skippable frame after":  append(bytes.Clone(good), skipped...),
		"a skippable frame before": append(bytes.Clone(skipped), good...), "a skippable frame": skipped,
	} {
		if _, err := decodeFrame(decoder, &frame{pack: &pack{}, plain: uint32(len(plain))}, b); !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("pack: %s: %v", name, err)
		}
		sums := make([]byte, 0, 2*idLen)
		for _, part := range [][]byte{plain, b} {
			sum := checkpoint.Sum(part)
			sums = append(sums, sum[:]...)
		}
		if _, err := unseal(decoder, appendSkippable(bytes.Clone(b), magicSeal, sums)); !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("manifest: %s: %v", name, err)
		}
	}
	if got, err := decodeFrame(decoder, &frame{pack: &pack{}, plain: uint32(len(plain))}, good); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestBombsStaySmall: a small file never makes a reader decode more than it may,
// whether its frame says how long it is or does not.
func TestBombsStaySmall(t *testing.T) {
	t.Parallel()
	plain := make([]byte, 64<<20)
	enc, err := newEncoder(DefaultCompression, 1)
	must(t, err)
	var streamed bytes.Buffer
	z, err := zstd.NewWriter(&streamed, zstd.WithWindowSize(frameSize))
	must(t, err)
	_, err = z.Write(plain)
	must(t, errors.Join(err, z.Close()))
	decoder := newDecoder(t)
	for name, bomb := range map[string][]byte{"known": enc.EncodeAll(plain, nil), "unknown": streamed.Bytes()} {
		for _, said := range []uint32{1, 1 << 20, maxFrame} {
			if _, err := decodeFrame(decoder, &frame{pack: &pack{}, plain: said}, bomb); !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("a frame of %s length whose table says %d: %v", name, said, err)
			}
		}
		sum := checkpoint.Sum(bomb)
		if _, err := unseal(decoder, appendSkippable(bomb, magicSeal, append(sum[:], sum[:]...))); !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("a manifest of %s length: %v", name, err)
		}
	}
}
