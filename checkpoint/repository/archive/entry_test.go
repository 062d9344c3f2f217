package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// entry is one of an archive made by hand.
type entry struct {
	tar.Header
	body []byte
}

func entries(tb testing.TB, b []byte) []entry {
	tb.Helper()
	z, err := zstd.NewReader(bytes.NewReader(b))
	must(tb, err)
	defer z.Close()
	r := tar.NewReader(z)
	var list []entry
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		must(tb, err)
		body, err := io.ReadAll(r)
		must(tb, err)
		h.Format = tar.FormatPAX
		h.PAXRecords = nil
		list = append(list, entry{*h, body})
	}
}

// tarOf returns entries as tar, without the end of one.
func tarOf(tb testing.TB, list []entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range list {
		e.Size = int64(len(e.body))
		must(tb, w.WriteHeader(&e.Header))
		_, err := w.Write(e.body)
		must(tb, err)
	}
	must(tb, w.Flush())
	return b.Bytes()
}

// tarEnd ends a tar.
var tarEnd = make([]byte, 1024)

// compress returns the parts in one zstd frame.
func compress(tb testing.TB, window int, parts ...[]byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithWindowSize(window))
	must(tb, err)
	for _, part := range parts {
		_, err := z.Write(part)
		must(tb, err)
	}
	must(tb, z.Close())
	return b.Bytes()
}

const window = 1 << 20

// rawEntry returns an entry that tar.Writer would not write.
func rawEntry(kind byte, name string, body string) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000640\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00%011o\x00", len(body), 1763892900))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	seal(h)
	return slices.Concat(h, []byte(body), make([]byte, -len(body)&511))
}

// seal gives a header the checksum that fits.
func seal(h []byte) {
	copy(h[148:], "        ")
	sum := 0
	for _, b := range h[:512] {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// records returns extended headers (pax) in the form in which they are stored.
func records(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		line := " " + pairs[i] + "=" + pairs[i+1] + "\n"
		n := len(line)
		for n != len(fmt.Sprint(n))+len(line) {
			n = len(fmt.Sprint(n)) + len(line)
		}
		fmt.Fprint(&b, n, line)
	}
	return b.String()
}
