package repository

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// text returns n bytes that compress as rows of a database do, to about a
// fifth.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = noise(seed+uint64(i), 3+r.IntN(8))
	}
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = append(append(b, words[min(r.IntN(4096), r.IntN(4096), r.IntN(4096))]...), ' ')
	}
	return b[:n]
}

// change overwrites n chunks all over b.
func change(seed uint64, b []byte, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b = bytes.Clone(b)
	for i, at := range r.Perm(len(b) / checkpoint.ChunkSize)[:n] {
		copy(b[at*checkpoint.ChunkSize:], text(seed+uint64(i), checkpoint.ChunkSize))
	}
	return b
}

const benchSize = 70 << 20

func report(b *testing.B, m *checkpoint.Manifest) {
	b.Helper()
	b.ReportMetric(float64(m.Stats.NewBytes)/1e6, "MB-new")
}

func BenchmarkFirst(b *testing.B) {
	data := text(1, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		report(b, save(b, openTemp(b), 1, data))
	}
}

func BenchmarkUnchanged(b *testing.B) {
	data := text(1, benchSize)
	r := openTemp(b)
	save(b, r, 1, data)
	b.SetBytes(benchSize)
	for b.Loop() {
		report(b, save(b, r, 2, data))
	}
}

func BenchmarkSmallChange(b *testing.B) {
	data := text(1, benchSize)
	r := openTemp(b)
	save(b, r, 1, data)
	b.SetBytes(benchSize)
	seed := uint64(2)
	for b.Loop() {
		b.StopTimer()
		data := change(seed, data, 20)
		seed += 100
		b.StartTimer()
		report(b, save(b, r, seed, data))
	}
}

func BenchmarkReadBack(b *testing.B) {
	data := text(1, benchSize)
	r := openTemp(b)
	m := save(b, r, 1, data)
	b.SetBytes(benchSize)
	for b.Loop() {
		r, err := Open(r.Dir())
		must(b, err)
		must(b, r.CopyTo(b.Context(), io.Discard, m.Components.Files.Files[0].Content))
	}
}

func BenchmarkVerify(b *testing.B) {
	data := text(1, benchSize)
	r := openTemp(b)
	save(b, r, 1, data)
	b.SetBytes(benchSize)
	for b.Loop() {
		_, err := r.Verify(b.Context(), nil, nil)
		must(b, err)
	}
}

// BenchmarkList reads 100 manifests with a cold start.
func BenchmarkList(b *testing.B) {
	r := openTemp(b)
	for i := range 100 {
		save(b, r, uint64(i+1), noise(uint64(i), 100))
	}
	for b.Loop() {
		r, err := Open(r.Dir())
		must(b, err)
		_, _, err = r.List(b.Context())
		must(b, err)
	}
}

// benchGenerations is how many checkpoints, each with a pack of its own, the
// benchmarks of a large repository have.
const benchGenerations = 1000

func generations(b *testing.B) *Repository {
	b.Helper()
	r := openQuick(b)
	for i := range uint64(benchGenerations) {
		saveHinted(b, r, i+1, noise(i, 20*smallChunk))
	}
	return r
}

// BenchmarkListWarm lists with an index, in a process of its own each time.
func BenchmarkListWarm(b *testing.B) {
	r := generations(b)
	for b.Loop() {
		entries, _, err := reopen(b, r).List(b.Context())
		must(b, err)
		if len(entries) != benchGenerations {
			b.Fatalf("%d entries", len(entries))
		}
	}
}

// BenchmarkOpenWarm reads where every chunk is, with an index.
func BenchmarkOpenWarm(b *testing.B) {
	r := generations(b)
	for b.Loop() {
		must(b, reopen(b, r).index.scan(b.Context()))
	}
}

// BenchmarkNothingNew is a transaction of the agent that finds nothing new.
func BenchmarkNothingNew(b *testing.B) {
	r := generations(b)
	for b.Loop() {
		tx := begin(b, r)
		if c := putHinted(b, tx, noise(benchGenerations-1, 20*smallChunk)); c.Size == 0 || tx.NewBytes() > 0 {
			b.Fatal("something is new")
		}
		tx.Abort()
	}
}
