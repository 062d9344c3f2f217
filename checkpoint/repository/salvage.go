package repository

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// salvage calls keep for every chunk of a damaged pack that can still be had,
// and returns how many there are and how many its table names: 0 when too little
// of that is left. The caller takes a chunk's id from its bytes: nothing that a
// damaged pack says is believed, it only helps to find where chunks lie.
//
//	a frame is damaged   the table says where each is; the chunks of the frame
//	                     are tried one by one, whatever its checksum says
//	the table is         each frame says where the next one starts, and chunks
//	                     are cut out by the lengths that are left
func salvage(strict *zstd.Decoder, path string, keep func(b []byte) error) (kept, named int, err error) {
	file, size, err := openFile(path)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	lenient, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxFrame),
		zstd.WithDecoderMaxMemory(maxFrame), zstd.WithDecodeAllCapLimit(true), zstd.IgnoreChecksum(true))
	if err != nil {
		return 0, 0, fmt.Errorf("zstd decoder: %w", err)
	}
	defer lenient.Close()
	frames, err := readTable(path)
	if err != nil {
		frames = looseTable(file, size)
	}
	buf := make([]byte, 0, maxFrame)
	for _, f := range frames {
		named += len(f.chunks)
		packed := make([]byte, min(int64(f.packed), max(0, size-f.offset)))
		if _, err := file.ReadAt(packed, f.offset); err != nil {
			return kept, named, fmt.Errorf("read %s: %w", path, err)
		}
		plain, err := strict.DecodeAll(packed, buf)
		sound := err == nil
		if !sound {
			// What is decoded before an error is of use too: every chunk is checked.
			plain, _ = lenient.DecodeAll(packed, buf)
		}
		for _, b := range split(plain, sound, f.chunks) {
			kept++
			if err := keep(b); err != nil {
				return kept, named, err
			}
		}
	}
	return kept, named, nil
}

// split returns the good chunks of a frame: those that are what their ids say
// or, where the frame is sound and their lengths fill it, all, since then an id
// is what is wrong. A wrong length follows from that of the frame.
func split(plain []byte, sound bool, chunks []chunk) [][]byte {
	wrong := int64(len(plain))
	for _, c := range chunks {
		wrong -= int64(c.size)
	}
	sound = sound && wrong == 0
	var good [][]byte
	for _, c := range chunks {
		size := int64(c.size)
		if wrong != 0 && !fits(plain, size, c.id) && fits(plain, size+wrong, c.id) {
			size, wrong = size+wrong, 0
		}
		if sound || fits(plain, size, c.id) {
			good = append(good, plain[:size:size])
		}
		plain = plain[min(size, int64(len(plain))):]
	}
	return good
}

func fits(b []byte, size int64, id checkpoint.Hash) bool {
	return size > 0 && size <= int64(len(b)) && checkpoint.Sum(b[:size]) == id
}

// looseTable reads a pack whose trailer or table is damaged; nil when too little
// of it is left.
func looseTable(file io.ReaderAt, size int64) []*frame {
	frames, end := walkFrames(file, size)
	if len(frames) == 0 {
		return nil
	}
	// How long the table is, its own head says and the end of the file.
	head := make([]byte, skipHead)
	if _, err := file.ReadAt(head, end); err != nil {
		return nil
	}
	for _, length := range []int64{int64(binary.LittleEndian.Uint32(head[4:])), size - int64(trailerLen) - end - skipHead} {
		chunks := length - tableHead - int64(len(frames)*frameEntry)
		if chunks <= 0 || chunks%int64(chunkEntry) != 0 || length > maxTable || end+skipHead+length > size {
			continue
		}
		b := make([]byte, length)
		if _, err := file.ReadAt(b, end+skipHead); err == nil {
			share(frames, b[tableHead:])
			return frames
		}
	}
	return nil
}

// share gives frames their chunks, of a table without its head: as many as it
// says, or, where one of these numbers is wrong, as fill the frame.
func share(frames []*frame, b []byte) {
	counts, b := b[:len(frames)*frameEntry], b[len(frames)*frameEntry:]
	all := make([]chunk, len(b)/chunkEntry)
	for i := range all {
		copy(all[i].id[:], b[i*chunkEntry:])
		all[i].size = binary.LittleEndian.Uint32(b[i*chunkEntry+idLen:])
	}
	said, sum := make([]uint64, len(frames)), uint64(0)
	for i := range said {
		said[i] = uint64(binary.LittleEndian.Uint32(counts[i*frameEntry+4:]))
		sum += said[i]
	}
	for i, f := range frames {
		n, plain := uint64(0), uint64(0)
		for n < uint64(len(all)) && (sum == uint64(len(all)) && n < said[i] || sum != uint64(len(all)) && plain < uint64(f.plain)) {
			plain += uint64(all[n].size)
			n++
		}
		f.chunks, all = all[:n:n], all[n:]
	}
}

// walkFrames finds the frames of a pack without its table, each from the end of
// the one before, and where they end.
func walkFrames(file io.ReaderAt, size int64) (frames []*frame, end int64) {
	for at := int64(headerLen); at < size && len(frames) < maxPackChunks; {
		head := make([]byte, min(zstd.HeaderMaxSize, size-at))
		if _, err := file.ReadAt(head, at); err != nil {
			return frames, at
		}
		var h zstd.Header
		if err := h.Decode(head); err != nil || h.Skippable || h.FrameContentSize > maxFrame {
			return frames, at
		}
		f := &frame{offset: at, plain: uint32(h.FrameContentSize)}
		packed, ok := frameLength(file, at, h)
		if !ok || packed > 2*maxFrame {
			return frames, at
		}
		f.packed = uint32(packed)
		frames = append(frames, f)
		at += packed
	}
	return frames, size // no table
}

// frameLength returns the length of the zstd frame at an offset: that of its
// header, of its blocks (RFC 8878, 3.1.1.2), and of the checksum. It is false when
// the head of a block is missing or none.
func frameLength(file io.ReaderAt, start int64, h zstd.Header) (int64, bool) {
	const blockHead, rle, reserved = 3, 1, 3
	at := start + int64(h.HeaderSize)
	for last := false; !last; {
		var b [4]byte
		if _, err := file.ReadAt(b[:blockHead], at); err != nil {
			return 0, false
		}
		head := binary.LittleEndian.Uint32(b[:])
		last = head&1 != 0
		length := int64(head >> 3)
		switch head >> 1 & 3 {
		case rle:
			length = 1
		case reserved:
			return 0, false
		}
		at += blockHead + length
	}
	if h.HasCheckSum {
		at += 4
	}
	return at - start, true
}
