package repository

import (
	"bytes"
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// TestAFullDiskFailsOneCommitOnly lets every step of a commit in turn fail: it
// says that there is no space, what was there stays, and the next commit works.
func TestAFullDiskFailsOneCommitOnly(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"create", "write", "sync", "rename", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			for k := 0; failAt(t, op, k); k++ {
				if k > 100 {
					t.Fatal("it never ends")
				}
			}
		})
	}
}

// failAt lets the k-th op of a commit fail and reports whether there was one.
func failAt(t *testing.T, op string, k int) bool {
	t.Helper()
	r := openTemp(t)
	first := save(t, r, 1, noise(1, 100_000))
	left := k
	broken, err := open(r.Dir(), failing{op: op, left: &left, err: syscall.ENOSPC})
	must(t, err)
	second, err := trySave(t, broken, 2, noise(2, 100_000))
	failed := left < 0
	if failed != errors.Is(err, checkpoint.ErrNoSpace) {
		t.Errorf("%s %d: failed %v, got %v", op, k, failed, err)
	}
	acknowledged := []checkpoint.ID{first.ID}
	if err == nil {
		acknowledged = append(acknowledged, second.ID)
	}
	must(t, sound(r.Dir(), acknowledged))
	third := save(t, r, 3, noise(2, 100_000))
	must(t, sound(r.Dir(), append(acknowledged, third.ID)))
	return failed
}

func trySave(t *testing.T, r *Repository, seq uint64, b []byte) (*checkpoint.Manifest, error) {
	t.Helper()
	tx, err := r.Begin(t.Context())
	if err != nil {
		return nil, err
	}
	defer tx.Abort()
	c, err := tx.Put(t.Context(), bytes.NewReader(b), checkpoint.ChunkSize)
	if err != nil {
		return nil, err
	}
	m := manifest(seq, fileOf("data", c))
	m.Stats.NewBytes = tx.NewBytes()
	_, err = tx.Commit(t.Context(), m, nil)
	return m, err
}

// failing fails one operation with an error.
type failing struct {
	system
	op   string
	left *int
	err  error
}

func (d failing) fails(op string) bool {
	if op != d.op {
		return false
	}
	*d.left--
	return *d.left < 0
}

func (d failing) create(name string) (file, error) {
	if d.fails("create") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: d.err}
	}
	f, err := d.system.create(name)
	return &failingFile{f, d}, err
}

func (d failing) rename(from, to string) error {
	if d.fails("rename") {
		return d.err
	}
	return d.system.rename(from, to)
}

func (d failing) syncDir(dir string) error {
	if d.fails("syncdir") {
		return d.err
	}
	return d.system.syncDir(dir)
}

type failingFile struct {
	file
	d failing
}

func (f *failingFile) Write(p []byte) (int, error) {
	if f.d.fails("write") {
		n, _ := f.file.Write(p[:len(p)/2])
		return n, f.d.err
	}
	return f.file.Write(p)
}

func (f *failingFile) Sync() error {
	if f.d.fails("sync") {
		return f.d.err
	}
	return f.file.Sync()
}
