package sqlite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// A rollback journal, as https://sqlite.org/fileformat2.html#rollbackjournal
// and sqlite3's pager.c have it: segments, each of a header filling one sector
// and of records.
//
//	header  0 magic  8 number of records (all ones: as many as there are)
//	       12 nonce  16 size of the database before, in pages
//	       20 sector size  24 page size
//	record  page number (4), the page as it was, checksum (4)
//
// The first header's sizes hold for all segments. A commit deletes, empties or
// zeroes the journal; one that is still there belongs to a transaction that
// runs, or is hot: its writer died.
const (
	journalMinimum = 28 // bytes of a header that mean something
	journalMagic   = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

	minSectorSize = 32
	maxSectorSize = 65536
	// minJournal is the least that SQLite looks at: the sector it writes first.
	minJournal = 512

	// pendingByte lies on a page that no transaction writes; its number marks the
	// record that names a super-journal.
	pendingByte = 0x40000000

	// maxSuperName bounds the path of a super-journal.
	maxSuperName = 4096
)

// journalLives reports whether a journal of this size with this head has to be
// rolled back if its writer is gone. One that was zeroed or emptied has
// committed; one without a valid header was never needed.
func journalLives(size int64, head []byte) bool {
	return size >= minJournal && bytes.HasPrefix(head, []byte(journalMagic))
}

// journal is a rollback journal's geometry.
type journal struct {
	r          io.ReaderAt
	size       int64
	pageSize   int
	sectorSize int64
	before     uint32 // size of the database before the transaction, in pages
}

// segment is one header and where its records are.
type segment struct {
	records, nonce uint32
	at             int64 // offset of the first record
}

// openJournal reads the first header. ok is false for a journal that changes
// nothing. mainPageSize is that of the database: SQLite before 3.5.8 did not
// say in the journal.
func openJournal(r io.ReaderAt, size int64, mainPageSize uint32) (j *journal, ok bool, err error) {
	if size < minJournal {
		return nil, false, nil
	}
	head := make([]byte, journalMinimum)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, false, ignoreEOF(err)
	}
	sector, page := binary.BigEndian.Uint32(head[20:]), binary.BigEndian.Uint32(head[24:])
	if page == 0 {
		page = mainPageSize
	}
	if !journalLives(size, head) || !isPageSize(page) ||
		sector < minSectorSize || sector > maxSectorSize || sector&(sector-1) != 0 {
		return nil, false, nil
	}
	return &journal{
		r: r, size: size, pageSize: int(page), sectorSize: int64(sector),
		before: binary.BigEndian.Uint32(head[16:]),
	}, true, nil
}

// originalSize returns the bytes of the database before the transaction.
func (j *journal) originalSize() int64 { return int64(j.before) * int64(j.pageSize) }

// rollback puts the pages as they were back into image, which has room for
// originalSize bytes: what the main file has of them, then zeros. It ends
// where the journal is not whole: then the main file was not written yet.
func (j *journal) rollback(image io.WriterAt) error {
	done := map[uint32]bool{} // only the first copy of a page is the original
	record := make([]byte, 4+j.pageSize+4)
	marker := uint32(pendingByte/j.pageSize) + 1
	for at := int64(0); ; {
		s, ok, err := j.segment(at)
		if !ok {
			return err
		}
		at = s.at
		for range s.records {
			if at+int64(len(record)) > j.size {
				return nil
			}
			if _, err := j.r.ReadAt(record, at); err != nil {
				return fmt.Errorf("read journal at %d: %w", at, err)
			}
			at += int64(len(record))
			page, data := binary.BigEndian.Uint32(record), record[4:4+j.pageSize]
			if page == 0 || page == marker {
				return nil
			}
			if page > j.before || done[page] {
				continue
			}
			if journalChecksum(s.nonce, data) != binary.BigEndian.Uint32(record[4+j.pageSize:]) {
				return nil
			}
			if _, err := image.WriteAt(data, int64(page-1)*int64(j.pageSize)); err != nil {
				return fmt.Errorf("page %d of the journal: %w", page, err)
			}
			done[page] = true
		}
	}
}

// segment reads the header at the first sector at or after at.
func (j *journal) segment(at int64) (s segment, ok bool, err error) {
	at = (at + j.sectorSize - 1) / j.sectorSize * j.sectorSize
	if at > 0 && at+j.sectorSize > j.size {
		return segment{}, false, nil
	}
	head := make([]byte, 16)
	if _, err := j.r.ReadAt(head, at); err != nil {
		return segment{}, false, fmt.Errorf("read journal at %d: %w", at, err)
	}
	if !bytes.HasPrefix(head, []byte(journalMagic)) {
		return segment{}, false, nil
	}
	s = segment{
		records: binary.BigEndian.Uint32(head[8:]), nonce: binary.BigEndian.Uint32(head[12:]),
		at: at + j.sectorSize,
	}
	if s.records == 0xffffffff {
		s.records = uint32((j.size - s.at) / int64(4+j.pageSize+4))
	}
	return s, true, nil
}

// journalChecksum samples every 200th byte, from the page's end.
func journalChecksum(nonce uint32, page []byte) uint32 {
	for i := len(page) - 200; i > 0; i -= 200 {
		nonce += uint32(page[i])
	}
	return nonce
}

// superJournal returns the path of the super-journal that the journal names at
// its end: the transaction spanned several databases, and has committed when
// that file is gone. Empty: it names none.
func (j *journal) superJournal() (string, error) {
	// … page number of the pending byte (4), name, its length (4), its checksum (4), magic (8)
	tail := make([]byte, 16)
	if j.size < int64(len(tail)) {
		return "", nil
	}
	if _, err := j.r.ReadAt(tail, j.size-16); err != nil {
		return "", fmt.Errorf("read journal's end: %w", err)
	}
	length := int64(binary.BigEndian.Uint32(tail))
	if string(tail[8:]) != journalMagic || length == 0 || length > maxSuperName || length > j.size-16 {
		return "", nil
	}
	name := make([]byte, length)
	if _, err := j.r.ReadAt(name, j.size-16-length); err != nil {
		return "", fmt.Errorf("read journal's end: %w", err)
	}
	var signed, unsigned uint32 // SQLite adds plain chars: their sign is the machine's
	for _, b := range name {
		signed += uint32(int8(b))
		unsigned += uint32(b)
	}
	sum := binary.BigEndian.Uint32(tail[4:])
	if sum != signed && sum != unsigned || bytes.IndexByte(name, 0) >= 0 {
		return "", nil
	}
	return string(name), nil
}
