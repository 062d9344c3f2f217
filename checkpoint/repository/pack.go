package repository

import (
	"crypto/sha256"
	"errors"
	"hash"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// packWriter writes one pack under a temporary name. Frames are compressed by
// several goroutines and written by one, in the order in which they were put.
type packWriter struct {
	disk disk
	pack *pack // its path is the temporary one until it is renamed
	file file
	enc  *zstd.Encoder
	free buffers

	// queue holds the frames being compressed; its capacity bounds how many
	// are in memory. written is closed when the writing goroutine has ended.
	queue   chan job
	written chan struct{}

	// Owned by the writing goroutine; others look at them after wait or finish.
	frames []*frame
	sum    hash.Hash
	size   int64
	err    error

	chunks int // put so far
}

// job is a frame on its way, or with done a question when all before it are
// written.
type job struct {
	frame  *frame
	packed <-chan []byte
	done   chan<- struct{}
}

// encoders is how many frames are compressed at the same time. The goroutine
// that reads and hashes feeds them, so two saturate two cores.
const encoders = 2

// inFlight is how many frames wait for their turn to be written. Some take
// longer than others, and nobody shall wait for one.
const inFlight = 2 * encoders

// buffers keeps the memory of frames for the next ones.
type buffers chan []byte

func newBuffers() buffers { return make(buffers, 2*(inFlight+encoders)) }

func (b buffers) get() []byte {
	select {
	case buf := <-b:
		return buf[:0]
	default:
		return make([]byte, 0, frameSize+4<<10) // what does not compress grows a little
	}
}

func (b buffers) put(buf []byte) {
	select {
	case b <- buf:
	default:
	}
}

func newPackWriter(d disk, dir string, enc *zstd.Encoder, free buffers) (*packWriter, error) {
	path := tempName(dir)
	f, err := d.create(path)
	if err != nil {
		return nil, wrap("create pack", err)
	}
	w := &packWriter{
		disk: d, pack: &pack{path: path}, file: f, enc: enc, free: free, sum: sha256.New(),
		queue: make(chan job, inFlight), written: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

func (w *packWriter) run() {
	defer close(w.written)
	w.write(appendSkippable(nil, magicHeader, []byte(packFormat)))
	for j := range w.queue {
		if j.done != nil {
			close(j.done)
			continue
		}
		b, offset := <-j.packed, w.size
		w.write(b)
		if f := j.frame; f != nil && w.err == nil {
			f.pack, f.offset, f.packed = w.pack, offset, uint32(len(b))
			f.stored.Store(true)
			w.frames = append(w.frames, f)
		}
		w.free.put(b)
	}
}

func (w *packWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	if _, err := w.file.Write(b); err != nil {
		w.err = wrap("write pack", err)
		return
	}
	w.sum.Write(b)
	w.size += int64(len(b))
}

// put takes a frame and its plain bytes, which are w's from now on.
func (w *packWriter) put(f *frame, plain []byte) {
	packed := make(chan []byte, 1)
	w.queue <- job{frame: f, packed: packed}
	w.chunks += len(f.chunks)
	go func() {
		b := w.enc.EncodeAll(plain, w.free.get())
		w.free.put(plain)
		packed <- b
	}()
}

// wait returns when all that was put is written, with the first error.
func (w *packWriter) wait() error {
	done := make(chan struct{})
	w.queue <- job{done: done}
	<-done
	return w.err
}

// length returns what the pack's file would be long if it ended here, in bytes.
// It follows a wait.
func (w *packWriter) length() int64 {
	table := tableHead + len(w.frames)*frameEntry + w.chunks*chunkEntry
	return w.size + int64(skipHead+table+trailerLen)
}

// finish ends the pack and makes its bytes durable, still under its temporary
// name.
func (w *packWriter) finish() error {
	close(w.queue)
	<-w.written
	table := encodeTable(w.frames)
	offset := w.size
	w.write(appendSkippable(nil, magicTable, table))
	w.write(encodeTrailer(table, offset))
	err := w.err
	if err == nil {
		err = wrap("sync pack", w.file.Sync())
	}
	return errors.Join(err, wrap("close pack", w.file.Close()))
}

// rename gives the finished pack its name in dir, which is yet to be synced.
func (w *packWriter) rename(dir string) error {
	path := filepath.Join(dir, filepath.Base(packName(checkpoint.Hash(w.sum.Sum(nil)))))
	if err := w.disk.rename(w.pack.path, path); err != nil {
		return wrap("name pack", err)
	}
	w.pack.path = path
	return nil
}

// abandon stops writing; the file is left to be removed.
func (w *packWriter) abandon() {
	close(w.queue)
	<-w.written
	w.file.Close()
}
