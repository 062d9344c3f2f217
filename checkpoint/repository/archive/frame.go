package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// frameReader passes on exactly one zstd frame and then demands the end of what
// it reads: a decoder would take further frames, and skippable ones of any
// length, as part of the same stream, so that bytes nobody looked at could
// travel with an archive. It reads the frame's structure only (RFC 8878, 3.1.1);
// the decoder behind it checks the rest.
type frameReader struct {
	r *bufio.Reader
	// head holds structure that was read and is to be passed on, body how many
	// bytes follow it unseen.
	head []byte
	body int64
	next func() error
	// checksum is set when 4 bytes of it follow the last block.
	checksum bool
	// err is why reading r failed, if it did: not a fault of the archive.
	err error
}

func newFrameReader(r io.Reader) *frameReader {
	f := &frameReader{r: bufio.NewReaderSize(r, 256<<10)}
	f.next = f.header
	return f
}

func (f *frameReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(f.head) == 0 && f.body == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	if len(f.head) > 0 {
		n := copy(p, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.body)])
	f.body -= int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, f.fail(err)
}

// take reads n bytes of structure.
func (f *frameReader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(f.r, b)
	if err != nil {
		return nil, f.fail(err)
	}
	f.head = append(f.head, b...)
	return b, nil
}

func (f *frameReader) fail(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it is cut off")
	}
	f.err = err
	return err
}

func (f *frameReader) header() error {
	b, err := f.take(5)
	if err != nil {
		return err
	}
	const magic = 0xFD2FB528
	if binary.LittleEndian.Uint32(b) != magic {
		return damaged("not an archive: it is no zstd frame")
	}
	descriptor := b[4]
	single := descriptor>>5&1 == 1
	rest := []int{0, 1, 2, 4}[descriptor&3] + []int{0, 2, 4, 8}[descriptor>>6]
	if !single {
		rest++ // the window
	} else if descriptor>>6 == 0 {
		rest++ // a size of one byte
	}
	f.checksum = descriptor>>2&1 == 1
	f.next = f.block
	_, err = f.take(rest)
	return err
}

func (f *frameReader) block() error {
	b, err := f.take(3)
	if err != nil {
		return err
	}
	v := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	last, kind := v&1 == 1, v>>1&3
	f.body = int64(v >> 3)
	const rle, reserved = 1, 3
	switch kind {
	case rle:
		f.body = 1
	case reserved:
		return damaged("a zstd block of an unknown kind")
	}
	if last {
		if f.checksum {
			f.body += 4
		}
		f.next = f.end
	}
	return nil
}

func (f *frameReader) end() error {
	switch _, err := f.r.ReadByte(); {
	case err == nil:
		return damaged("something follows its end")
	case errors.Is(err, io.EOF):
		return io.EOF
	default:
		f.err = err
		return err
	}
}
