package sqlite

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// spaces returns a space of each kind.
func spaces(t testing.TB, size int64) map[string]space {
	t.Helper()
	m, err := newMemory(size)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSpool(t.TempDir(), size)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]space{"memory": m, "spool": s}
	for _, s := range all {
		t.Cleanup(func() { _ = s.free() })
	}
	return all
}

// Whatever is written where, a space reads as plain bytes would.
func TestSpacesAreBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 5*block).Draw(rt, "size")
		for kind, s := range spaces(t, int64(size)) {
			want := make([]byte, s.size())
			for range rapid.IntRange(0, 6).Draw(rt, "writes") {
				off := rapid.IntRange(0, len(want)).Draw(rt, "off")
				n := rapid.IntRange(0, len(want)-off).Draw(rt, "n")
				b := bytes.Repeat([]byte{rapid.Byte().Draw(rt, "byte")}, n)
				var err error
				switch rapid.IntRange(0, 2).Draw(rt, "how") {
				case 0:
					_, err = s.WriteAt(b, int64(off))
				case 1:
					clear(b)
					err = clearSpace(s, int64(off), int64(off+n))
				case 2: // from a file that ends earlier than asked for
					var had int64
					had, err = s.fill(bytes.NewReader(append(make([]byte, off), b...)), int64(off), int64(len(want)))
					if had != int64(n) {
						rt.Fatalf("%s: filled %d of %d", kind, had, n)
					}
				}
				if err != nil {
					rt.Fatal(kind, err)
				}
				copy(want[off:], b)
			}
			off := rapid.IntRange(0, len(want)).Draw(rt, "from")
			got := make([]byte, rapid.IntRange(0, len(want)-off).Draw(rt, "bytes"))
			if n, err := s.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+n]) {
				rt.Fatalf("%s: read %d at %d: %v", kind, n, off, err)
			}
			if n, err := s.ReadAt(make([]byte, 1), s.size()); n != 0 || err == nil {
				rt.Fatalf("%s: read behind the end: %d, %v", kind, n, err)
			}
			if n, err := s.WriteAt(make([]byte, 2), s.size()-1); n != 1 || err == nil {
				rt.Fatalf("%s: wrote behind the end: %d, %v", kind, n, err)
			}
		}
	})
}

// A file system that fails to write a page forgets it: what comes back is old
// or zero, and no call has failed. Any changed byte of a spool is noticed by
// whoever reads the block, and by nobody else.
func TestSpoolThatForgetsIsNoticed(t *testing.T) {
	t.Parallel()
	s, err := newSpool(t.TempDir(), 64*block)
	if err != nil {
		t.Fatal(err)
	}
	defer s.free() //nolint:errcheck // in a test
	data := make([]byte, s.size())
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	if _, err := s.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	for name, forget := range map[string]func(b int64) error{
		"lost": func(b int64) error {
			return unix.Fallocate(int(s.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, b*block, block)
		},
		"changed": func(b int64) error {
			_, err := s.f.WriteAt([]byte{data[b*block+7] ^ 1}, b*block+7)
			return err
		},
		"stale": func(b int64) error { // what another block holds
			_, err := s.f.WriteAt(data[:block], b*block)
			return err
		},
	} {
		b := 1 + rnd.Int64N(62)
		if err := forget(b); err != nil {
			t.Fatal(err)
		}
		for _, read := range []struct {
			off, n int64
			bad    bool
		}{
			{0, b * block, false},
			{b * block, block, true},
			{b*block + 9, 1, true},
			{0, s.size(), true},
			{(b + 1) * block, 10, false},
			{b*block - 1, 1, false},
			{b*block - 1, 2, true},
		} {
			_, err := s.ReadAt(make([]byte, read.n), read.off)
			if read.bad != errors.Is(err, errSpool) {
				t.Errorf("%s block %d, read %d at %d: %v", name, b, read.n, read.off, err)
			}
		}
		if _, err := s.WriteAt([]byte{1}, b*block+1); !errors.Is(err, errSpool) {
			t.Errorf("%s block %d: a part of it was written over: %v", name, b, err)
		}
		if _, err := s.WriteAt(data[b*block:(b+1)*block], b*block); err != nil { // a whole one mends it
			t.Fatal(err)
		}
	}
	// The broken variant, without the hashes, notices nothing.
	if err := unix.Fallocate(int(s.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, block); err != nil {
		t.Fatal(err)
	}
	if _, err := s.f.ReadAt(make([]byte, block), 0); err != nil {
		t.Errorf("the file alone: %v", err)
	}
}

// A spool has no name, and a full disk is said.
func TestSpoolHasNoName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := newSpool(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.free() //nolint:errcheck // in a test
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
	if _, err := newSpool(dir+"/none", 1); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
