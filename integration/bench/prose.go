package main

import (
	"bytes"
	"math/rand/v2"
)

// prose writes text that compresses as what agents and editors write does, to
// about a fifth: words of which a few are frequent, and passages that were said
// a moment ago and are said again, as a file is that is read, edited and read.
type prose struct {
	r      *rand.Rand
	words  [][]byte
	next   []uint16 // indexes of words, the frequent ones often
	recent []byte
}

const (
	vocabulary = 12_000
	memory     = 48 << 10 // bytes that a passage can be repeated from
)

func newProse(r *rand.Rand) *prose {
	p := &prose{r: r, words: make([][]byte, vocabulary), next: make([]uint16, 1<<16)}
	syllables := []string{"a", "an", "be", "con", "de", "er", "file", "get", "in", "ion", "key", "le", "man", "o", "or", "re", "st", "ta", "un", "ver"}
	for i := range p.words {
		for range 1 + i%4 {
			p.words[i] = append(p.words[i], syllables[r.IntN(len(syllables))]...)
		}
	}
	zipf := rand.NewZipf(r, 1.1, 4, vocabulary-1)
	for i := range p.next {
		p.next[i] = uint16(zipf.Uint64())
	}
	return p
}

// text returns n bytes, lines of ASCII without quotes. They are valid until the
// next call.
func (p *prose) text(n int) []byte {
	if len(p.recent) > 1<<20 {
		p.recent = append(p.recent[:0], p.recent[len(p.recent)-memory:]...)
	}
	start := len(p.recent)
	for len(p.recent) < start+n {
		if p.r.IntN(80) == 0 && len(p.recent) > memory {
			from := len(p.recent) - 1 - p.r.IntN(memory)
			size := min(len(p.recent)-from, 50+p.r.IntN(500))
			p.recent = append(p.recent, p.recent[from:from+size]...)
			continue
		}
		bits := p.r.Uint64()
		p.recent = append(p.recent, p.words[p.next[bits&0xffff]]...)
		separator := byte(' ')
		if bits>>60 == 0 {
			separator = '\n'
		}
		p.recent = append(p.recent, separator)
	}
	p.recent = p.recent[:start+n]
	return p.recent[start:]
}

// jsonText is text as it stands inside quotes in JSON.
func (p *prose) jsonText(n int) []byte {
	return bytes.ReplaceAll(p.text(n), []byte{'\n'}, []byte(`\n`))
}
