package repository

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Limits of the format. FORMAT.md lists them.
const (
	// frameSize is how many plain bytes the writer puts into one zstd frame.
	// Independent frames of 64 KiB compress SQLite pages to a third only,
	// frames of 1 MiB nearly as well as a whole file.
	frameSize = 1 << 20
	// maxFrame is the largest plain frame a reader accepts, in bytes.
	maxFrame = 8 << 20
	// packChunks is how many chunks the writer puts into one pack: 1 GiB of
	// full ones, with a table of 2.4 MB.
	packChunks = 1 << 16
	// maxPackChunks is how many a reader accepts, in one pack.
	maxPackChunks = 1 << 20
	// maxManifestFile bounds a manifest's file: what does not compress grows a
	// little.
	maxManifestFile = checkpoint.MaxManifest + 1<<20
)

// Skippable frames (RFC 8878, 3.1.2): a magic number, a length of 4 bytes, and
// that many bytes which every zstd decoder passes over. Each has a number of its
// own; the most used ones (…50 of pzstd, …5e of the seekable format) are left
// alone.
const (
	magicHeader  = 0x184D2A58
	magicTable   = 0x184D2A59
	magicTrailer = 0x184D2A5A
	magicSeal    = 0x184D2A5B

	skipHead = 8
)

// packFormat is the payload of a pack's header and the end of its trailer, so
// that head and tail show what the file is.
const packFormat = "helix.ckpt/pack/v1\n"

// packFormatName is what all versions of packFormat start with.
const packFormatName = "helix.ckpt/pack/"

const (
	headerLen  = skipHead + len(packFormat)
	trailerLen = skipHead + 8 + 4 + len(checkpoint.Hash{}) + len(packFormat)
	sealLen    = skipHead + 2*len(checkpoint.Hash{})

	tableHead  = 4 + 4
	frameEntry = 4 + 4
	chunkEntry = len(checkpoint.Hash{}) + 4
	// maxTable bounds the table of a pack, in bytes: every chunk in a frame of
	// its own.
	maxTable int64 = tableHead + maxPackChunks*(frameEntry+int64(chunkEntry))
)

const (
	manifestSuffix = ".json.zst"
	packSuffix     = ".zst"
)

// errTooLong is returned for a file above the limit of its kind.
var errTooLong = fmt.Errorf("%w: file too long", checkpoint.ErrDamaged)

func manifestName(id checkpoint.ID) string {
	return filepath.Join(dirCheckpoints, string(id)+manifestSuffix)
}

func packName(sum checkpoint.Hash) string { return filepath.Join(dirPacks, sum.String()+packSuffix) }

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", checkpoint.ErrDamaged, fmt.Errorf(format, args...))
}

func appendSkippable(b []byte, magic uint32, payload []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// skippable returns the payload of b, which must be exactly one skippable frame
// of that magic number.
func skippable(b []byte, magic uint32) ([]byte, error) {
	if len(b) < skipHead || binary.LittleEndian.Uint32(b) != magic || int64(binary.LittleEndian.Uint32(b[4:])) != int64(len(b)-skipHead) {
		return nil, damaged("no skippable frame %#x of %d bytes", magic, len(b))
	}
	return b[skipHead:], nil
}

// chunk is one entry of a pack's table.
type chunk struct {
	id   checkpoint.Hash
	size uint32
}

// frame is one zstd frame of a pack: some chunks, one after the other.
type frame struct {
	pack *pack
	// offset and packed are where the frame lies in its pack, in bytes.
	offset int64
	packed uint32
	// plain is its decoded length: the sum of its chunks.
	plain  uint32
	chunks []chunk
	// stored is set when a frame being written has its place in the pack.
	stored atomic.Bool
}

// pack is one file of chunks.
type pack struct{ path string }

// encodeTable returns the payload of a pack's table. Where a frame and a chunk
// lie follows from the lengths before it.
func encodeTable(frames []*frame) []byte {
	chunks := 0
	for _, f := range frames {
		chunks += len(f.chunks)
	}
	b := make([]byte, 0, tableHead+len(frames)*frameEntry+chunks*chunkEntry)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frames)))
	b = binary.LittleEndian.AppendUint32(b, uint32(chunks))
	for _, f := range frames {
		b = binary.LittleEndian.AppendUint32(b, f.packed)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.chunks)))
	}
	for _, f := range frames {
		for _, c := range f.chunks {
			b = append(b, c.id[:]...)
			b = binary.LittleEndian.AppendUint32(b, c.size)
		}
	}
	return b
}

// decodeTable reads what encodeTable wrote. end is where the frames end in the
// pack: the table's own place.
func decodeTable(p *pack, b []byte, end int64) ([]*frame, error) {
	if len(b) < tableHead {
		return nil, damaged("table of %d bytes", len(b))
	}
	frames, chunks := int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[4:]))
	b = b[tableHead:]
	if chunks > maxPackChunks || frames > chunks || int64(len(b)) != frames*int64(frameEntry)+chunks*int64(chunkEntry) {
		return nil, damaged("table of %d frames and %d chunks in %d bytes", frames, chunks, len(b)+tableHead)
	}
	sizes, ids := b[:frames*int64(frameEntry)], b[frames*int64(frameEntry):]
	list := make([]*frame, frames)
	offset := int64(headerLen)
	for i := range list {
		f := &frame{pack: p, offset: offset, packed: binary.LittleEndian.Uint32(sizes[i*frameEntry:])}
		n := int64(binary.LittleEndian.Uint32(sizes[i*frameEntry+4:]))
		if n == 0 || n > int64(len(ids)/chunkEntry) || f.packed == 0 || f.packed > 2*maxFrame {
			return nil, damaged("frame %d: %d chunks in %d bytes", i, n, f.packed)
		}
		f.chunks = make([]chunk, n)
		for j := range f.chunks {
			c := &f.chunks[j]
			copy(c.id[:], ids)
			c.size = binary.LittleEndian.Uint32(ids[len(c.id):])
			ids = ids[chunkEntry:]
			if c.size == 0 || c.size > checkpoint.MaxChunk || f.plain+c.size > maxFrame {
				return nil, damaged("frame %d: chunk %d of %d bytes after %d", i, j, c.size, f.plain)
			}
			f.plain += c.size
		}
		offset += int64(f.packed)
		list[i] = f
	}
	if len(ids) != 0 || offset != end {
		return nil, damaged("the frames of the table end at %d, the table starts at %d", offset, end)
	}
	return list, nil
}

// encodeTrailer returns a pack's last frame: the place, length and sha256 of
// the table's payload.
func encodeTrailer(table []byte, offset int64) []byte {
	sum := checkpoint.Sum(table)
	b := binary.LittleEndian.AppendUint64(nil, uint64(offset))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(table)))
	b = append(b, sum[:]...)
	return appendSkippable(nil, magicTrailer, append(b, packFormat...))
}

// trailer is the decoded last frame of a pack.
type trailer struct {
	// offset is where the table's skippable frame starts, size the length of
	// its payload.
	offset int64
	size   int64
	sum    checkpoint.Hash
}

// decodeTrailer reads the last trailerLen bytes of a pack of fileSize bytes.
func decodeTrailer(b []byte, fileSize int64) (trailer, error) {
	payload, err := skippable(b, magicTrailer)
	if err != nil {
		return trailer{}, err
	}
	format := payload[8+4+len(checkpoint.Hash{}):]
	if string(format) != packFormat {
		if bytes.HasPrefix(format, []byte(packFormatName)) {
			return trailer{}, fmt.Errorf("%w %q: use a newer helix-ckpt", checkpoint.ErrFormat, bytes.TrimSpace(format))
		}
		return trailer{}, damaged("not a pack: it ends with %q", format)
	}
	offset := binary.LittleEndian.Uint64(payload)
	t := trailer{size: int64(binary.LittleEndian.Uint32(payload[8:]))}
	copy(t.sum[:], payload[8+4:])
	if t.size > maxTable || offset > uint64(fileSize) || int64(offset)+skipHead+t.size+int64(trailerLen) != fileSize {
		return trailer{}, damaged("a table of %d bytes at %d does not fit a pack of %d", t.size, offset, fileSize)
	}
	t.offset = int64(offset)
	return t, nil
}

// seal returns a manifest's file: the zstd frame of its plain JSON, then a
// skippable frame with the sha256 of both.
func seal(plain []byte) ([]byte, error) {
	enc, err := newEncoder(DefaultCompression, 1)
	if err != nil {
		return nil, err
	}
	b := enc.EncodeAll(plain, nil)
	sums := make([]byte, 0, sealLen)
	for _, part := range [][]byte{plain, b} {
		sum := checkpoint.Sum(part)
		sums = append(sums, sum[:]...)
	}
	return appendSkippable(b, magicSeal, sums), nil
}

// unseal returns the plain JSON in a manifest's file, verified.
func unseal(decoder *zstd.Decoder, b []byte) ([]byte, error) {
	if len(b) < sealLen {
		return nil, damaged("manifest of %d bytes", len(b))
	}
	packed := b[:len(b)-sealLen]
	sums, err := skippable(b[len(packed):], magicSeal)
	if err != nil {
		return nil, err
	}
	if sum := checkpoint.Sum(packed); !bytes.Equal(sum[:], sums[len(sum):]) {
		return nil, damaged("the manifest's compressed bytes do not match their sha256")
	}
	plain, err := inflate(decoder, packed)
	if err != nil {
		return nil, err
	}
	if sum := checkpoint.Sum(plain); !bytes.Equal(sum[:], sums[:len(sum)]) {
		return nil, damaged("the manifest does not match its sha256")
	}
	return plain, nil
}

// inflate decodes the zstd frame of a manifest.
func inflate(decoder *zstd.Decoder, packed []byte) ([]byte, error) {
	head, err := oneFrame(packed)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	size := uint64(checkpoint.MaxManifest) // some encoders do not say
	if head.HasFCS {
		size = head.FrameContentSize
	}
	if size > checkpoint.MaxManifest {
		return nil, damaged("manifest of %d bytes, at most %d are allowed", size, checkpoint.MaxManifest)
	}
	plain, err := decoder.DecodeAll(packed, make([]byte, 0, size))
	if err != nil {
		return nil, damaged("manifest: %w", err)
	}
	return plain, nil
}

// oneFrame checks that b is exactly one zstd frame, by its structure alone
// (RFC 8878, 3.1.1): a decoder takes further frames, and skippable ones before,
// as part of the same stream. It returns the frame's header.
func oneFrame(b []byte) (zstd.Header, error) {
	var head zstd.Header
	if err := head.Decode(b); err != nil {
		return head, damaged("no zstd frame: %w", err)
	}
	if head.Skippable {
		return head, damaged("a skippable frame where a zstd frame belongs")
	}
	length, ok := frameLength(bytes.NewReader(b), 0, head)
	if !ok {
		return head, damaged("a zstd frame is cut off")
	}
	if length != int64(len(b)) {
		return head, damaged("a zstd frame of %d bytes stands in %d", length, len(b))
	}
	return head, nil
}

// newEncoder returns the encoder of every frame of the format. The window is a
// frame's size, so that memory stays small whatever is written.
func newEncoder(c Compression, concurrency int) (*zstd.Encoder, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(c.level()), zstd.WithEncoderConcurrency(concurrency),
		zstd.WithWindowSize(frameSize), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, errors.New("zstd encoder: " + err.Error())
	}
	return enc, nil
}
