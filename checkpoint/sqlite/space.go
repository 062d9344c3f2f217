package sqlite

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// space is where an image lies: in memory or, when it is large, in a spool. What
// was not written is zero.
type space interface {
	io.ReaderAt
	io.WriterAt
	// fill copies the bytes [off, end) of r to the same place. It returns how many
	// r had.
	fill(r io.ReaderAt, off, end int64) (int64, error)
	// size is how many bytes there is room for.
	size() int64
	free() error
}

// newSpace returns a space for size bytes.
func newSpace(size int64, o Options) (space, error) {
	if size > o.Memory {
		return newSpool(o.SpoolDir, size)
	}
	return newMemory(size)
}

// clearSpace zeroes the bytes [off, end): a space is used again.
func clearSpace(s space, off, end int64) error {
	zero := make([]byte, max(0, min(end-off, stride)))
	for ; off < end; off += int64(len(zero)) {
		if _, err := s.WriteAt(zero[:min(int64(len(zero)), end-off)], off); err != nil {
			return err
		}
	}
	return nil
}

// memory is memory outside the garbage collector's heap. It is resident before a
// proof begins, because page faults in the middle of a copy cost as much as the
// copy, and goes back to the system at once: an image is needed for a moment
// once a minute, and a heap that has once been so large stays so.
type memory []byte

func newMemory(size int64) (memory, error) {
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("%d bytes of memory: %w", size, err)
	}
	// Advice only: with large pages, where there are any, a capture of 30 MB takes
	// 18 ms of processor time instead of 65.
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE)
	for i := 0; i < len(mem); i += os.Getpagesize() {
		mem[i] = 0
	}
	return mem, nil
}

func (m memory) size() int64 { return int64(len(m)) }

func (m memory) free() error { return unix.Munmap(m) }

// ReadAt is part of space.
func (m memory) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, m[min(off, m.size()):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt is part of space.
func (m memory) WriteAt(p []byte, off int64) (int, error) {
	n := copy(m[min(off, m.size()):], p)
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func (m memory) fill(r io.ReaderAt, off, end int64) (int64, error) {
	n, err := r.ReadAt(m[off:end], off)
	return int64(n), ignoreEOF(err)
}

// block is what a spool is checked by: the size of nearly all pages, so that
// one of a WAL replaces whole blocks.
const block = 4096

// spoolBuffer is how many bytes are copied to a spool at once.
const spoolBuffer = 1 << 20

// spool is a file without a name, which vanishes with the process and is never
// synced. The kernel may write it to the disk all the same and forget that this
// failed; so a hash of each block stays in memory, and what is read is what was
// written.
type spool struct {
	f    *os.File
	dir  string
	seed maphash.Seed
	sums []uint64 // by block
	buf  []byte   // of spoolBuffer bytes, for fill
}

// errSpool: what was read is not what was written.
var errSpool = errors.New("spooled bytes were not kept by the file system")

func newSpool(dir string, size int64) (*spool, error) {
	f, err := unnamed(dir)
	if err != nil {
		return nil, fmt.Errorf("spool of %d bytes: %w", size, err)
	}
	s := &spool{f: f, dir: dir, seed: maphash.MakeSeed(), sums: make([]uint64, (size+block-1)/block), buf: make([]byte, spoolBuffer)}
	// As with memory: to find room for 72 MB within the proof took 100 ms, before it
	// takes 30 and the copy 20. A full disk is met here.
	for off := int64(0); off < s.size(); off += spoolBuffer {
		if err := s.write(s.buf[:min(spoolBuffer, s.size()-off)], off); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return s, nil
}

// unnamed opens a file without a name in dir. Where there is no such thing (FUSE,
// overlayfs before Linux 6.1), it has a name for a moment.
func unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return nil, &os.PathError{Op: "open unnamed file in", Path: dir, Err: err}
	}
	f, err := os.CreateTemp(dir, ".tmp-spool-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (s *spool) size() int64 { return int64(len(s.sums)) * block }

func (s *spool) free() error { return s.f.Close() }

func (s *spool) failed(err error) error {
	return fmt.Errorf("spool of %d bytes in %s: %w", s.size(), s.dir, err)
}

// ReadAt is part of space.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) && off < s.size() {
		rest, part := p[done:], off%block
		if part == 0 && len(rest) >= block { // whole blocks need no buffer
			n := min(int64(len(rest)/block*block), s.size()-off)
			if err := s.read(rest[:n], off); err != nil {
				return done, err
			}
			done, off = done+int(n), off+n
			continue
		}
		b := make([]byte, block)
		if err := s.read(b, off-part); err != nil {
			return done, err
		}
		n := copy(rest, b[part:])
		done, off = done+n, off+int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// read reads whole blocks and compares them with their hashes.
func (s *spool) read(p []byte, off int64) error {
	if _, err := s.f.ReadAt(p, off); err != nil {
		return s.failed(err)
	}
	for at := 0; at < len(p); at += block {
		if maphash.Bytes(s.seed, p[at:at+block]) != s.sums[(off+int64(at))/block] {
			return s.failed(fmt.Errorf("%w: at %d", errSpool, off+int64(at)))
		}
	}
	return nil
}

// WriteAt is part of space.
func (s *spool) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		if off >= s.size() {
			return done, io.ErrShortWrite
		}
		rest, part := p[done:], off%block
		if part == 0 && len(rest) >= block {
			n := min(int64(len(rest)/block*block), s.size()-off)
			if err := s.write(rest[:n], off); err != nil {
				return done, err
			}
			done, off = done+int(n), off+n
			continue
		}
		b := make([]byte, block)
		if err := s.read(b, off-part); err != nil {
			return done, err
		}
		n := copy(b[part:], rest)
		if err := s.write(b, off-part); err != nil {
			return done, err
		}
		done, off = done+n, off+int64(n)
	}
	return done, nil
}

// write writes whole blocks.
func (s *spool) write(p []byte, off int64) error {
	for at := 0; at < len(p); at += block {
		s.sums[(off+int64(at))/block] = maphash.Bytes(s.seed, p[at:at+block])
	}
	if _, err := s.f.WriteAt(p, off); err != nil {
		return s.failed(err)
	}
	return nil
}

func (s *spool) fill(r io.ReaderAt, off, end int64) (int64, error) {
	total := int64(0)
	for off+total < end {
		b := s.buf[:min(int64(len(s.buf)), end-off-total)]
		n, err := r.ReadAt(b, off+total)
		if _, werr := s.WriteAt(b[:n], off+total); werr != nil {
			return total, werr
		}
		total += int64(n)
		if err != nil || n < len(b) {
			return total, ignoreEOF(err)
		}
	}
	return total, nil
}
