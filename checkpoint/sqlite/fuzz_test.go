package sqlite

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// fuzzImage bounds what a fuzzed size may ask for.
const fuzzImage = 1 << 22

// walHeader is a valid header for pages of 512 bytes, so that the fuzzer
// reaches the frames.
func walHeader(order binary.ByteOrder) []byte {
	head := make([]byte, walHeaderSize)
	magic := uint32(walMagic)
	if order == binary.BigEndian {
		magic |= 1
	}
	binary.BigEndian.PutUint32(head, magic)
	binary.BigEndian.PutUint32(head[4:], walVersion)
	binary.BigEndian.PutUint32(head[8:], minPageSize)
	copy(head[16:], "saltSALT")
	sum := checksum{order: order}
	sum.add(head[:24])
	binary.BigEndian.PutUint32(head[24:], sum.s0)
	binary.BigEndian.PutUint32(head[28:], sum.s1)
	return head
}

// walFrame appends a valid frame to a log of walHeader.
func walFrame(wal []byte, order binary.ByteOrder, page, commit uint32) []byte {
	sum := checksum{order: order}
	if len(wal) == walHeaderSize {
		sum.s0, sum.s1 = binary.BigEndian.Uint32(wal[24:]), binary.BigEndian.Uint32(wal[28:])
	} else {
		last := wal[len(wal)-minPageSize-walFrameHeaderSize:]
		sum.s0, sum.s1 = binary.BigEndian.Uint32(last[16:]), binary.BigEndian.Uint32(last[20:])
	}
	frame := make([]byte, walFrameHeaderSize+minPageSize)
	binary.BigEndian.PutUint32(frame, page)
	binary.BigEndian.PutUint32(frame[4:], commit)
	copy(frame[8:], "saltSALT")
	frame[walFrameHeaderSize] = byte(page)
	sum.add(frame[:8])
	sum.add(frame[walFrameHeaderSize:])
	binary.BigEndian.PutUint32(frame[16:], sum.s0)
	binary.BigEndian.PutUint32(frame[20:], sum.s1)
	return append(wal, frame...)
}

func FuzzWAL(f *testing.F) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		wal := walHeader(order)
		f.Add(wal)
		wal = walFrame(wal, order, 2, 0)
		wal = walFrame(wal, order, 1, 2)
		f.Add(wal)
		f.Add(walFrame(wal, order, 0xffffffff, 0xffffffff))
		f.Add(wal[:len(wal)-1])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		w, err := readWAL(r, int64(len(data)))
		if err != nil {
			return
		}
		if w.end > int64(len(data)) {
			t.Fatalf("ends at %d of %d", w.end, len(data))
		}
		if size := w.size(); size <= fuzzImage {
			if err := w.apply(r, make(memory, size)); err != nil {
				t.Fatalf("a page of a valid frame cannot be read: %v", err)
			}
		}
	})
}

func TestWALEndsAtItsLastCommit(t *testing.T) {
	t.Parallel()
	order := binary.LittleEndian
	wal := walFrame(walFrame(walHeader(order), order, 2, 0), order, 1, 2)
	committed := int64(len(wal))
	wal = walFrame(wal, order, 3, 0)
	w, err := readWAL(bytes.NewReader(wal), int64(len(wal)))
	if err != nil || w.commit != 2 || w.end != committed || len(w.pages) != 2 {
		t.Fatalf("%+v, %v", w, err)
	}
}

// journalOf is a journal of one segment for pages of 512 bytes.
func journalOf(before uint32, pages ...uint32) []byte {
	head := append([]byte(journalMagic), make([]byte, minPageSize-len(journalMagic))...)
	binary.BigEndian.PutUint32(head[8:], uint32(len(pages)))
	binary.BigEndian.PutUint32(head[12:], 7)
	binary.BigEndian.PutUint32(head[16:], before)
	binary.BigEndian.PutUint32(head[20:], minPageSize)
	binary.BigEndian.PutUint32(head[24:], minPageSize)
	for _, page := range pages {
		data := bytes.Repeat([]byte{byte(page)}, minPageSize)
		head = binary.BigEndian.AppendUint32(head, page)
		head = append(head, data...)
		head = binary.BigEndian.AppendUint32(head, journalChecksum(7, data))
	}
	return head
}

func FuzzJournal(f *testing.F) {
	one := journalOf(3, 1, 3, 1)
	f.Add(one)
	f.Add(one[:len(one)-1])
	padded := append(bytes.Clone(one), make([]byte, minPageSize-len(one)%minPageSize)...)
	f.Add(append(padded, journalOf(3, 2)...))
	endless := bytes.Clone(one)
	binary.BigEndian.PutUint32(endless[8:], 0xffffffff)
	f.Add(endless)
	f.Fuzz(func(t *testing.T, data []byte) {
		j, ok, err := openJournal(bytes.NewReader(data), int64(len(data)), minPageSize)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		if _, err := j.superJournal(); err != nil {
			t.Fatal(err)
		}
		if size := j.originalSize(); size <= fuzzImage {
			if err := j.rollback(make(memory, size)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The space still holds the attempt before.
func TestPagesThatNoFileHasAreZero(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	journal := journalOf(3, 1, 1)
	journal[len(journal)-minPageSize] = 9 // only the first copy of a page is the original
	wal := walFrame(walHeader(binary.LittleEndian), binary.LittleEndian, 1, 3)
	for name, data := range map[string][]byte{path + "-journal": journal, path + "-wal": wal} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Open(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	want := make([]byte, 3*minPageSize)
	want[0] = 1
	for name, apply := range map[string]func(*copier) (int64, error){
		"journal": func(c *copier) (int64, error) {
			copy(want, bytes.Repeat([]byte{1}, minPageSize))
			return c.applyJournal(Fingerprint{main: file{size: minPageSize}, journal: file{size: int64(len(journal))}})
		},
		"WAL": func(c *copier) (int64, error) {
			clear(want[1:])
			return c.applyWAL(log, minPageSize)
		},
	} {
		for where, space := range spaces(t, 1<<20) {
			if _, err := space.WriteAt(bytes.Repeat([]byte{0xaa}, 1<<20), 0); err != nil {
				t.Fatal(err)
			}
			c := &copier{path: path, o: Options{MaxBytes: 1 << 20}, space: space}
			size, err := apply(c)
			got := make([]byte, size)
			if _, rerr := space.ReadAt(got, 0); err != nil || rerr != nil || !bytes.Equal(got, want) {
				t.Errorf("%s in %s: %d bytes, %v, %v", name, where, size, err, rerr)
			}
		}
	}
}

// Two writes within one tick of the kernel's clock leave equal times, so a
// fingerprint of something just written must equal no other.
func TestYoungTimesProveNothing(t *testing.T) {
	t.Parallel()
	const now = int64(1_700_000_000_123_456_789)
	for _, c := range []struct {
		name  string
		mtime int64
		want  bool
	}{
		{"just now", now - 1, false},
		{"a tick ago", now - int64(tick), true},
		{"soon", now + 1, false},
		{"far in the future", now + 3600e9, true},
		{"whole seconds, coarse", now/1e9*1e9 - 1e9, false},
		{"whole seconds, old", now/1e9*1e9 - 10e9, true},
	} {
		if got := (file{ino: 1, mtime: c.mtime}).settled(now); got != c.want {
			t.Errorf("%s: settled %v, want %v", c.name, got, c.want)
		}
	}
}
