package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tick is longer than the steps of the kernel's coarse clock, which stamps
// writes: 10 ms at the slowest setting (HZ=100). Two writes within one tick may
// leave the same times, so times prove something only when they are older.
const tick = 10 * time.Millisecond

// Fingerprint is what can be seen of a database and its side files without
// reading them. Compare with ==: equal fingerprints mean that nothing was
// written between the calls of Stat that returned them. (Different ones may
// still mean the same content.)
type Fingerprint struct {
	main    file
	wal     file
	journal file

	counter       uint32               // of changes, in the main file's header; a WAL does not move it
	version       byte                 // file format of the main file: 2 for WAL
	walHeader     [walHeaderSize]byte  // as far as there is one
	journalHeader [journalMinimum]byte // as far as there is one

	// youngest is zero when all times were older than a tick. Otherwise it is the
	// moment of the look, which makes it equal to no other: something written
	// in the same tick could not be told from this.
	youngest int64
}

// Settled reports whether whatever is written after f was taken gives another
// fingerprint, also to another process. It is false when something was written
// just before.
func (f Fingerprint) Settled() bool { return f.youngest == 0 }

// Settled reports whether a file with that modification time, looked at now,
// gets another one by the next write.
func Settled(mtime, now time.Time) bool {
	return file{ino: 1, mtime: mtime.UnixNano()}.settled(now.UnixNano())
}

// file is what stat says of one file; the zero value is a file that is absent.
type file struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // ns since 1970
	mode         uint32
}

func (f file) exists() bool         { return f.ino != 0 }
func (f file) same(other file) bool { return f.dev == other.dev && f.ino == other.ino }

// settled reports whether a write at now or later must change f's times. A
// time far in the future (a restored file, a clock set back) is as good as an
// old one.
func (f file) settled(now int64) bool {
	return !f.exists() || now-f.mtime >= f.grain() || f.mtime-now >= f.grain()
}

// grain is how far two times of f must lie apart to differ for sure. Whole
// seconds are what file systems with coarse times keep, the coarsest even ones.
func (f file) grain() int64 {
	if f.mtime%int64(time.Second) == 0 {
		return int64(2 * time.Second)
	}
	return int64(tick)
}

// Stat takes the fingerprint of the database at path: two stats, the header's
// change counter, the head of the WAL; some microseconds.
func Stat(path string) (Fingerprint, error) {
	var f Fingerprint
	var head [100]byte // of the database header: 18 version, 24 change counter
	var err error
	if f.main, err = look(path, head[:]); err != nil {
		return Fingerprint{}, fmt.Errorf("look at database: %w", err)
	}
	if !f.main.exists() {
		return Fingerprint{}, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
	}
	f.version = head[18]
	f.counter = binary.BigEndian.Uint32(head[24:])
	// The main file was looked at first: a journal that is gone by now ended
	// its transaction, and a write by the next one shows in the main file.
	if f.journal, err = look(path+"-journal", f.journalHeader[:]); err != nil {
		return Fingerprint{}, fmt.Errorf("look at journal: %w", err)
	}
	if f.wal, err = look(path+"-wal", f.walHeader[:]); err != nil {
		return Fingerprint{}, fmt.Errorf("look at WAL: %w", err)
	}
	now := time.Now().UnixNano()
	if !f.main.settled(now) || !f.wal.settled(now) || !f.journal.settled(now) {
		f.youngest = now
	}
	return f, nil
}

// look stats the file at path and reads as much of head as there is. A file
// that does not exist is the zero value.
func look(path string, head []byte) (file, error) {
	r, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, nil
	}
	if err != nil {
		return file{}, err
	}
	defer r.Close()
	f, err := stat(r)
	if err != nil {
		return file{}, err
	}
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return file{}, err
	}
	return f, nil
}

// open opens a regular file for reading. O_NONBLOCK keeps a FIFO put in a
// database's place from hanging us.
func open(path string) (*os.File, error) {
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	info, err := r.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w: not a regular file", path, ErrNotDatabase)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func stat(r *os.File) (file, error) {
	info, err := r.Stat()
	if err != nil {
		return file{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return file{}, fmt.Errorf("%s: the system gives no inode", r.Name())
	}
	return file{
		dev: st.Dev, ino: st.Ino, size: st.Size,
		mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), mode: st.Mode,
	}, nil
}
