package sqlite

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A write-ahead log, as https://sqlite.org/fileformat2.html#walformat has it:
//
//	header  0 magic (its lowest bit: checksums over big-endian words)
//	        4 version  8 page size  12 checkpoint number
//	       16 salts (8 bytes)  24 checksum of bytes 0 to 23
//	frame   0 page number  4 size of the database in pages if this frame
//	        commits, else 0  8 salts  16 checksum  24 the page
//
// Each checksum continues the one before it. The log ends at the first frame
// whose salts or checksum are wrong: older frames of before the last reset, or
// one that is being written. What follows the last commit does not count.
const (
	walHeaderSize      = 32
	walFrameHeaderSize = 24
	walMagic           = 0x377f0682
	walVersion         = 3007000

	minPageSize = 512
	maxPageSize = 65536
)

// errWALVersion: the log is of a version that its own SQLite would refuse.
var errWALVersion = errors.New("WAL has an unknown version")

// walIndex says where in a WAL the pages of the last commit are.
type walIndex struct {
	pageSize int
	commit   uint32           // size of the database in pages; 0: nothing is committed
	end      int64            // offset behind the last committed frame
	pages    map[uint32]int64 // page number → offset of its bytes in the log
}

// size returns the bytes of the database after the last commit.
func (w *walIndex) size() int64 { return int64(w.commit) * int64(w.pageSize) }

// checksum is the running state of a WAL's checksum.
type checksum struct {
	s0, s1 uint32
	order  binary.ByteOrder
}

// add extends the checksum over b, whose length is a multiple of 8.
func (c *checksum) add(b []byte) {
	s0, s1 := c.s0, c.s1
	if c.order == binary.LittleEndian { // apart, so that the compiler sees plain loads
		for ; len(b) >= 8; b = b[8:] {
			s0 += binary.LittleEndian.Uint32(b) + s1
			s1 += binary.LittleEndian.Uint32(b[4:]) + s0
		}
	} else {
		for ; len(b) >= 8; b = b[8:] {
			s0 += binary.BigEndian.Uint32(b) + s1
			s1 += binary.BigEndian.Uint32(b[4:]) + s0
		}
	}
	c.s0, c.s1 = s0, s1
}

// is reports whether the checksum is the one stored (big-endian) in b.
func (c *checksum) is(b []byte) bool {
	return c.s0 == binary.BigEndian.Uint32(b) && c.s1 == binary.BigEndian.Uint32(b[4:])
}

// walStart checks a WAL's header and returns the page size and the state of
// the checksum after it. A header that is not one means an empty log, as it
// does to SQLite, and ok is false.
func walStart(header []byte) (pageSize int, sum checksum, ok bool, err error) {
	if len(header) < walHeaderSize {
		return 0, checksum{}, false, nil
	}
	magic := binary.BigEndian.Uint32(header)
	size := binary.BigEndian.Uint32(header[8:])
	if magic&^1 != walMagic || !isPageSize(size) {
		return 0, checksum{}, false, nil
	}
	sum.order = binary.LittleEndian
	if magic&1 != 0 {
		sum.order = binary.BigEndian
	}
	if sum.add(header[:24]); !sum.is(header[24:]) {
		return 0, checksum{}, false, nil
	}
	if v := binary.BigEndian.Uint32(header[4:]); v != walVersion {
		return 0, checksum{}, false, fmt.Errorf("%w %d", errWALVersion, v)
	}
	return int(size), sum, true, nil
}

func isPageSize(n uint32) bool {
	return n >= minPageSize && n <= maxPageSize && n&(n-1) == 0
}

// readWAL finds the committed pages in a log of which size bytes may be read
// from r. It stops at the first frame that is not whole, as recovery does.
func readWAL(r io.ReaderAt, size int64) (*walIndex, error) {
	header := make([]byte, walHeaderSize)
	in := io.NewSectionReader(r, 0, size)
	if _, err := io.ReadFull(in, header); err != nil {
		return &walIndex{}, ignoreEOF(err)
	}
	pageSize, sum, ok, err := walStart(header)
	if !ok {
		return &walIndex{}, err
	}
	w := &walIndex{pageSize: pageSize, pages: map[uint32]int64{}}
	pending := map[uint32]int64{} // pages of the transaction that has not ended yet
	frame := make([]byte, walFrameHeaderSize+pageSize)
	buffered := bufio.NewReaderSize(in, 1<<20)
	for at := int64(walHeaderSize); ; at += int64(len(frame)) {
		if _, err := io.ReadFull(buffered, frame); err != nil {
			return w, ignoreEOF(err)
		}
		page, commit := binary.BigEndian.Uint32(frame), binary.BigEndian.Uint32(frame[4:])
		if page == 0 || !bytes.Equal(frame[8:16], header[16:24]) {
			return w, nil
		}
		sum.add(frame[:8])
		if sum.add(frame[walFrameHeaderSize:]); !sum.is(frame[16:]) {
			return w, nil
		}
		pending[page] = at + walFrameHeaderSize
		if commit != 0 {
			w.take(pending, commit, at+int64(len(frame)))
		}
	}
}

// take makes the pages of a transaction that committed count.
func (w *walIndex) take(pending map[uint32]int64, commit uint32, end int64) {
	for page, at := range pending {
		w.pages[page] = at
	}
	clear(pending)
	w.commit, w.end = commit, end
}

// apply puts the committed pages into image, which has room for size() bytes:
// the main file's, then zeros. A page that cannot be read is a retry: the log
// was truncated meanwhile.
func (w *walIndex) apply(r io.ReaderAt, image io.WriterAt) error {
	buf := make([]byte, w.pageSize)
	for page, at := range w.pages {
		if page > w.commit {
			continue // cut off by a later commit
		}
		if _, err := r.ReadAt(buf, at); err != nil {
			return moved("read page %d from the WAL: %w", page, err)
		}
		if _, err := image.WriteAt(buf, int64(page-1)*int64(w.pageSize)); err != nil {
			return fmt.Errorf("page %d of the WAL: %w", page, err)
		}
	}
	return nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
