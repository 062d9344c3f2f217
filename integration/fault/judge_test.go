package fault

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// judge reads repositories as FORMAT.md describes them, with the zstd command. It
// shares no code with what it judges. What it has decoded it knows again by the
// sha256 of the file, for as long as the file is there.
type judge struct {
	packs     map[digest]map[digest][]byte // by the sha256 of the file: its chunks
	manifests map[digest]json.RawMessage
	// wholes holds contents that were put together, and compared with their sha256
	// where they have one, by what names them.
	wholes map[string]whole
}

// whole is content that was put together: what it is made of, and its sha256.
type whole struct {
	needs []digest
	sum   string
}

type digest = [sha256.Size]byte

func newJudge() *judge {
	return &judge{map[digest]map[digest][]byte{}, map[digest]json.RawMessage{}, map[string]whole{}}
}

// clone knows what j knows.
func (j *judge) clone() *judge {
	return &judge{maps.Clone(j.packs), maps.Clone(j.manifests), maps.Clone(j.wholes)}
}

// stored is what a repository holds: of each checkpoint, the sha256 of each file
// in it, by logical path.
type stored map[string]map[string]string

// content is what a manifest or a list says of bytes.
type content struct {
	Path      string   `json:"path"`
	State     string   `json:"state"`
	Size      int64    `json:"size"`
	SHA256    string   `json:"sha256"`
	ChunkSize *int     `json:"chunk_size"`
	Count     *int     `json:"count"`
	Chunks    []string `json:"chunks"`
	Recipe    *struct {
		SHA256 string `json:"sha256"`
		Levels int    `json:"levels"`
	} `json:"recipe"`
}

// read reads all that is in the session directory dir. It returns what it could
// read, and what it could not.
func (j *judge) read(dir string) (stored, []error) {
	var bad []error
	chunks, seen := map[digest][]byte{}, map[digest]bool{}
	for name, b := range files(filepath.Join(dir, "packs"), ".zst", &bad) {
		sum := sha256.Sum256(b)
		if hex.EncodeToString(sum[:]) != strings.TrimSuffix(name, ".zst") {
			bad = append(bad, fmt.Errorf("pack %s has other bytes", name))
			continue
		}
		seen[sum] = true
		if j.packs[sum] == nil {
			var err error
			if j.packs[sum], err = readPack(b); err != nil {
				bad = append(bad, fmt.Errorf("pack %s: %w", name, err))
			}
		}
		for id, c := range j.packs[sum] {
			chunks[id] = c
		}
	}
	for sum := range j.packs {
		if !seen[sum] {
			delete(j.packs, sum)
		}
	}
	all := stored{}
	for name, b := range files(filepath.Join(dir, "checkpoints"), ".json.zst", &bad) {
		id := strings.TrimSuffix(name, ".json.zst")
		paths, err := j.checkpoint(id, b, chunks)
		if err != nil {
			bad = append(bad, fmt.Errorf("checkpoint %s: %w", id, err))
			continue
		}
		all[id] = paths
	}
	return all, bad
}

// files reads the files of a directory whose names end so, and that are not being
// written.
func files(dir, suffix string, bad *[]error) map[string][]byte {
	all := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		*bad = append(*bad, err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".tmp-") || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			*bad = append(*bad, err)
			continue
		}
		all[e.Name()] = b
	}
	return all
}

// unzstd is what the zstd command makes of b.
func unzstd(b []byte) ([]byte, error) {
	cmd := exec.Command("zstd", "-dcq")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(b), &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("zstd: %w: %s", err, errs.Bytes())
	}
	return out.Bytes(), nil
}

// readPack returns the chunks of a pack.
func readPack(b []byte) (map[digest][]byte, error) {
	const trailer, format = 71, "helix.ckpt/pack/v1\n"
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	if len(b) < 27+trailer || !bytes.HasSuffix(b, []byte(format)) || string(b[8:27]) != format {
		return nil, errors.New("not a pack")
	}
	end := len(b) - trailer
	table := int(binary.LittleEndian.Uint64(b[end+8:]))
	if table < 27 || table+16 > end || u32(table+4) != end-table-8 || u32(end+16) != end-table-8 {
		return nil, errors.New("the table is not where the trailer says")
	}
	if sum := sha256.Sum256(b[table+8 : end]); !bytes.Equal(sum[:], b[end+20:end+52]) {
		return nil, errors.New("the table has other bytes")
	}
	plain, err := unzstd(b)
	if err != nil {
		return nil, err
	}
	frames, count := u32(table+8), u32(table+12)
	at := table + 16 + 8*frames
	if at+36*count != end {
		return nil, errors.New("the table has another length")
	}
	chunks := map[digest][]byte{}
	for ; count > 0; count-- {
		id, size := digest(b[at:at+32]), u32(at+32)
		if size > len(plain) || sha256.Sum256(plain[:size]) != id {
			return nil, fmt.Errorf("chunk %x has other bytes", id)
		}
		chunks[id], plain, at = plain[:size], plain[size:], at+36
	}
	if len(plain) > 0 {
		return nil, fmt.Errorf("%d bytes are in no chunk", len(plain))
	}
	return chunks, nil
}

// checkpoint reads one manifest and all that it needs.
func (j *judge) checkpoint(id string, b []byte, chunks map[digest][]byte) (map[string]string, error) {
	sum := sha256.Sum256(b)
	if j.manifests[sum] == nil {
		plain, err := readManifest(b)
		if err != nil {
			return nil, err
		}
		j.manifests[sum] = plain
	}
	var head struct{ Format, ID string }
	if err := json.Unmarshal(j.manifests[sum], &head); err != nil {
		return nil, err
	}
	if head.ID != id || head.Format != "helix.ckpt/v1" {
		return nil, fmt.Errorf("it says that it is %q of format %q", head.ID, head.Format)
	}
	paths := map[string]string{}
	return paths, j.walk(j.manifests[sum], chunks, paths)
}

func readManifest(b []byte) (json.RawMessage, error) {
	const seal = 72
	if len(b) < seal || !bytes.Equal(b[len(b)-seal:][:8], []byte{0x5b, 0x2a, 0x4d, 0x18, 64, 0, 0, 0}) {
		return nil, errors.New("it is cut off")
	}
	frame, sums := b[:len(b)-seal], b[len(b)-64:]
	if sum := sha256.Sum256(frame); !bytes.Equal(sum[:], sums[32:]) {
		return nil, errors.New("its frame has other bytes")
	}
	plain, err := unzstd(b)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(plain); !bytes.Equal(sum[:], sums[:32]) {
		return nil, errors.New("its JSON has other bytes")
	}
	return plain, nil
}

// walk looks for content anywhere in a document, and reads it.
func (j *judge) walk(doc json.RawMessage, chunks map[digest][]byte, paths map[string]string) error {
	var object map[string]json.RawMessage
	var array []json.RawMessage
	switch {
	case len(doc) == 0 || (doc[0] != '{' && doc[0] != '['):
		return nil
	case doc[0] == '[':
		if err := json.Unmarshal(doc, &array); err != nil {
			return err
		}
	default:
		if err := json.Unmarshal(doc, &object); err != nil {
			return err
		}
		if object["chunk_size"] != nil {
			return j.content(doc, chunks, paths)
		}
	}
	for _, below := range array {
		if err := j.walk(below, chunks, paths); err != nil {
			return err
		}
	}
	for _, below := range object {
		if err := j.walk(below, chunks, paths); err != nil {
			return err
		}
	}
	return nil
}

// content reads the content that doc describes, and what stands in it where it is
// a list.
func (j *judge) content(doc json.RawMessage, chunks map[digest][]byte, paths map[string]string) error {
	var c content
	if err := json.Unmarshal(doc, &c); err != nil {
		return err
	}
	if known, ok := j.wholes[string(doc)]; ok && c.Count == nil {
		for _, id := range known.needs {
			if chunks[id] == nil {
				return fmt.Errorf("%s: chunk %x is not there", c.Path, id)
			}
		}
		paths[c.Path] = known.sum
		return nil
	}
	ids, level := c.Chunks, 0
	if c.Recipe != nil {
		ids, level = []string{c.Recipe.SHA256}, c.Recipe.Levels
	}
	var all []byte
	var needs []digest
	for _, s := range ids {
		b, err := hex.DecodeString(s)
		if err != nil || len(b) != len(digest{}) {
			return fmt.Errorf("%s: %q is no id", c.Path, s)
		}
		if all, needs, err = expand(chunks, digest(b), level, all, needs); err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
	}
	sum := sha(all)
	if int64(len(all)) != c.Size || (c.SHA256 != "" && c.Size > 0 && sum != c.SHA256) {
		return fmt.Errorf("%s: %d bytes that are not those of sha256 %s", c.Path, len(all), c.SHA256)
	}
	paths[c.Path], j.wholes[string(doc)] = sum, whole{needs, sum}
	if c.Count == nil {
		return nil
	}
	for line := range bytes.Lines(all) {
		if err := j.walk(bytes.TrimSpace(line), chunks, paths); err != nil {
			return err
		}
	}
	return nil
}

// expand appends the bytes of a chunk, or of all chunks below a page.
func expand(chunks map[digest][]byte, id digest, level int, all []byte, needs []digest) ([]byte, []digest, error) {
	b, ok := chunks[id]
	if !ok {
		return nil, nil, fmt.Errorf("chunk %x is not there", id)
	}
	needs = append(needs, id)
	if level == 0 {
		return append(all, b...), needs, nil
	}
	for ; len(b) >= len(id); b = b[len(id):] {
		var err error
		if all, needs, err = expand(chunks, digest(b[:len(id)]), level-1, all, needs); err != nil {
			return nil, nil, err
		}
	}
	return all, needs, nil
}
