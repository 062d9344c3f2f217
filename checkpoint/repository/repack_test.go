package repository

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// TestPacksAreMergedWhenTheyAreMany and small; each stays growth times those that
// are smaller.
func TestPacksAreMergedWhenTheyAreMany(t *testing.T) {
	t.Parallel()
	whole := func(sizes ...int64) (packs []usage) {
		for i, size := range sizes {
			packs = append(packs, usage{pack: &pack{path: fmt.Sprint(i)}, size: size, needed: size, live: size, total: size, chunks: 1})
		}
		return packs
	}
	full := whole(1, 1, 1, 1, 1, 1, 1, 1000)
	full[7].chunks = packChunks
	sparse := whole(1, 2, 100)
	sparse[2].live = 49
	for name, c := range map[string]struct {
		packs []usage
		want  int
	}{
		"none":                            {nil, 0},
		"few":                             {whole(1, 1, 1, 1, 1, 1, 1), 0},
		"enough":                          {whole(1, 1, 1, 1, 1, 1, 1, 1), 8},
		"a large one is left alone":       {whole(1, 1, 1, 1, 1, 1, 1, 1, 24), 8},
		"one is not large enough":         {whole(1, 1, 1, 1, 1, 1, 1, 1, 23), 9},
		"one of those before a large one": {whole(1, 1, 1, 1, 1, 1, 10, 10, 78), 8},
		"each is large enough":            {whole(1, 3, 12, 48, 192, 768, 3072, 12288, 49152), 0},
		"a full one counts for nothing":   {full, 0},
		"a sparse one alone":              {sparse, 1},
	} {
		if got := rewritten(c.packs, sparseBelow); len(got) != c.want {
			t.Errorf("%s: %d packs, want %d", name, len(got), c.want)
		}
	}
}

// TestManyCheckpointsLeaveFewPacks, however large they are.
func TestManyCheckpointsLeaveFewPacks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var packs []usage
		sum, written := int64(0), int64(0)
		sizes := rapid.SliceOfN(rapid.Int64Range(1, 1000), 1, 300).Draw(rt, "sizes")
		for i, size := range sizes {
			sum += size
			packs = append(packs, usage{pack: &pack{path: fmt.Sprint(i)}, size: size, needed: size, live: size, total: size})
			slices.SortFunc(packs, func(a, b usage) int { return int(a.size - b.size) })
			merged := usage{pack: &pack{path: fmt.Sprint("m", i)}}
			for _, chosen := range rewritten(packs, sparseBelow) {
				at := slices.IndexFunc(packs, func(u usage) bool { return u.pack == chosen.pack })
				merged.size += packs[at].size
				packs = slices.Delete(packs, at, at+1)
			}
			if merged.size > 0 {
				merged.needed, merged.live, merged.total = merged.size, merged.size, merged.size
				packs, written = append(packs, merged), written+merged.size
				slices.SortFunc(packs, func(a, b usage) int { return int(a.size - b.size) })
			}
			// Each is growth times all smaller ones: so many fit into the sum.
			if most := mergeLeast + 18; len(packs) > most {
				rt.Fatalf("%d packs after %d checkpoints", len(packs), i+1)
			}
		}
		if written > 18*sum {
			rt.Fatalf("%d bytes were written anew of %d", written, sum)
		}
	})
}

// TestVersionsOfAPlaceStandInARow, the newest first, each row in the order of the
// file; what leads to content comes before all. So they compress against each
// other, although nothing else in them does.
func TestVersionsOfAPlaceStandInARow(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	const places = 20
	state := noise(0, places*checkpoint.ChunkSize)
	var newest [places][]checkpoint.Hash // of each place, the newest first
	for seq := range uint64(versionsInRow + 3) {
		for place := range 2 { // the others stay
			copy(state[place*checkpoint.ChunkSize:], noise(100+2*seq+uint64(place), 1000))
		}
		for place := range places {
			id := checkpoint.Sum(state[place*checkpoint.ChunkSize:][:checkpoint.ChunkSize])
			if !slices.Contains(newest[place], id) {
				newest[place] = slices.Insert(newest[place], 0, id)
			}
		}
		save(t, r, seq+1, state)
	}
	if report := prune(t, r); report.Repacked != versionsInRow+3 {
		t.Fatalf("got %+v", report)
	}
	var want []checkpoint.Hash
	for _, row := range []int{0, 1} {
		for _, ids := range newest {
			want = append(want, ids[min(row*versionsInRow, len(ids)):min((row+1)*versionsInRow, len(ids))]...)
		}
	}
	packs, err := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*"))
	must(t, err)
	frames, err := readTable(packs[0])
	must(t, err)
	var got []checkpoint.Hash
	leading := 0
	for _, f := range frames {
		for _, c := range f.chunks {
			if c.size < checkpoint.ChunkSize {
				leading++
				continue
			}
			got = append(got, c.id)
		}
	}
	_, size := files(t, r)
	if rows := int64(places + 2); size > (rows+4)*checkpoint.ChunkSize {
		t.Errorf("%d bytes for %d chunks and %d changes of 1000 bytes", size, rows, 2*(versionsInRow+2)-2)
	}
	if len(packs) != 1 || leading != versionsInRow+3 || !slices.Equal(got, want) {
		t.Errorf("%d packs, %d pages, chunks in another order: %v", len(packs), leading, slices.Equal(got, want))
	}
}

// TestOnlyMergedPacksAreRead: the large one is damaged, and nobody notices.
func TestOnlyMergedPacksAreRead(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	large := noise(0, 300*checkpoint.ChunkSize)
	save(t, r, 1, large)
	p, ok := r.index.find(checkpoint.Sum(large[:checkpoint.ChunkSize]))
	if !ok {
		t.Fatal("no chunk")
	}
	flip(t, p.frame.pack.path, p.frame.offset+int64(p.frame.packed)/2)
	for seq := range uint64(mergeLeast) {
		save(t, r, seq+2, noise(seq+1, 3*checkpoint.ChunkSize))
	}
	fresh, err := Open(r.Dir())
	must(t, err)
	if report := prune(t, fresh); report.Repacked != mergeLeast || len(report.Damaged)+len(report.Blocked) > 0 {
		t.Errorf("got %+v", report)
	}
}

// TestADamagedPackIsNotMerged: what it alone holds stays, the others are merged.
func TestADamagedPackIsNotMerged(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	var kept []checkpoint.ID
	for seq := range uint64(mergeLeast + 1) {
		kept = append(kept, save(t, r, seq+1, noise(seq+1, 3*checkpoint.ChunkSize)).ID)
	}
	p, ok := r.index.find(checkpoint.Sum(noise(2, checkpoint.ChunkSize)))
	if !ok {
		t.Fatal("no chunk")
	}
	before, err := os.ReadFile(p.frame.pack.path)
	must(t, err)
	flip(t, p.frame.pack.path, p.frame.offset+10)
	fresh, err := Open(r.Dir())
	must(t, err)
	report := prune(t, fresh)
	if report.Repacked != mergeLeast || len(report.Damaged) != 1 {
		t.Errorf("got %+v", report)
	}
	// Mended, everything is there.
	must(t, os.WriteFile(p.frame.pack.path, before, 0o600))
	intact(t, r, kept...)
}

// TestFilesThatGrowOverALevel keep their places: a tree of one level and one of
// two are versions of the same file, and so are a list and what it lists.
func TestFilesThatGrowOverALevel(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	kept := map[checkpoint.ID][]byte{}
	b := noise(0, 70*100)
	for seq := range uint64(mergeLeast) {
		part := b[:100*[]int{3, 8, 9, 63, 64, 65, 66, 70}[seq]]
		tx := begin(t, r)
		c, err := tx.Put(t.Context(), bytes.NewReader(part), 100)
		must(t, err)
		l, err := tx.PutList(t.Context(), []Keyed{{"$HOME/data", fileOf("data", c)}})
		must(t, err)
		m := manifest(seq + 1)
		m.Components.Files.FileSet = checkpoint.FileSet{FileList: &l}
		_, err = tx.Commit(t.Context(), m, nil)
		must(t, err)
		kept[m.ID] = part
	}
	if report := prune(t, r); report.Repacked < mergeLeast {
		t.Errorf("got %+v", report)
	}
	for id, want := range kept {
		m, _, err := r.Load(t.Context(), id)
		must(t, err)
		files, err := r.Files(t.Context(), &m.Components.Files.FileSet)
		must(t, err)
		if !bytes.Equal(read(t, r, files[0].Content), want) {
			t.Errorf("%s reads differently", id)
		}
	}
	must(t, sound(r.Dir(), nil))
}

// TestAMergeThatWasStoppedIsDoneAgain: the old packs are there beside the new ones.
// The next prune, in more rounds than one, writes the very same packs, and deletes
// none that it has written.
func TestAMergeThatWasStoppedIsDoneAgain(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	var ids []checkpoint.ID
	for seq := range uint64(mergeMost + 4) {
		ids = append(ids, save(t, r, seq+1, noise(seq, 30_000+int(seq))).ID)
	}
	dir := filepath.Join(r.Dir(), dirPacks)
	old := filepath.Join(t.TempDir(), "packs")
	must(t, os.CopyFS(old, os.DirFS(dir)))
	if report := prune(t, r); report.Repacked != mergeMost+4 {
		t.Fatalf("got %+v", report)
	}
	packs, err := os.ReadDir(old)
	must(t, err)
	for _, p := range packs {
		must(t, os.Rename(filepath.Join(old, p.Name()), filepath.Join(dir, p.Name())))
	}
	prune(t, r)
	must(t, sound(r.Dir(), ids))
}
