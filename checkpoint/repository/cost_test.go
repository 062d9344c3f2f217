package repository

import (
	"encoding/binary"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// large is a gigabyte that takes little space, no two chunks of it alike, with
// some bytes overwritten.
type large struct {
	at    int64
	over  []byte
	place int64
}

const largeSize = 1 << 30

func (l *large) Read(p []byte) (int, error) {
	if l.at == largeSize {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), largeSize-l.at, checkpoint.ChunkSize-l.at%checkpoint.ChunkSize)]
	clear(p)
	if l.at%checkpoint.ChunkSize == 0 && len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, uint64(l.at+1))
	}
	if from, to := max(l.at, l.place), min(l.at+int64(len(p)), l.place+int64(len(l.over))); from < to {
		copy(p[from-l.at:], l.over[from-l.place:to-l.place])
	}
	l.at += int64(len(p))
	return len(p), nil
}

// TestAnOverwrittenChunkCostsLittle: 16 KiB anywhere in 1 GB, aligned or not, add
// less than 64 KiB on disk, everything included.
func TestAnOverwrittenChunkCostsLittle(t *testing.T) {
	t.Parallel()
	r := openQuick(t)
	commit := func(seq uint64, l *large) {
		tx := begin(t, r)
		c, err := tx.PutHinted(t.Context(), "data", l, checkpoint.ChunkSize)
		must(t, err)
		_, err = tx.Commit(t.Context(), manifest(seq, fileOf("data", c)), nil)
		must(t, err)
	}
	commit(1, &large{})
	page := int64(checkpoint.Fanout * checkpoint.ChunkSize)
	places := map[string]int64{
		"at the start": 0, "at the end": largeSize - 16<<10, "aligned": largeSize / 2, "not aligned": largeSize/3 + 1,
		"over the edge of two pages": 5*page - 100, "over the edge of the pages above": checkpoint.Fanout*page - 100,
	}
	seq := uint64(1)
	for name, place := range places {
		before := onDisk(t, r.Dir())
		seq++
		commit(seq, &large{over: noise(seq, 16<<10), place: place})
		if more := onDisk(t, r.Dir()) - before; more >= 64<<10 {
			t.Errorf("%s: %d bytes more", name, more)
		} else {
			t.Logf("%s: %d bytes more", name, more)
		}
	}
}

// onDisk returns how much the files below dir take.
func onDisk(tb testing.TB, dir string) (n int64) {
	tb.Helper()
	must(tb, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	}))
	return n
}

// TestNothingNewTouchesNothing: a transaction that finds nothing new makes no
// change on the disk and syncs nothing.
func TestNothingNewTouchesNothing(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	r, err := open(filepath.Join(t.TempDir(), "sessions", "ses_01"), rec)
	must(t, err)
	b := noise(1, 100*smallChunk)
	saveHinted(t, r, 1, b)
	rec.steps = nil
	tx := begin(t, r)
	if c := putHinted(t, tx, b); c.SHA256 != checkpoint.Sum(b) || tx.NewBytes() > 0 {
		t.Errorf("%+v is new", c)
	}
	tx.Abort()
	if len(rec.steps) > 0 {
		t.Errorf("it did %v", rec.steps)
	}
}
