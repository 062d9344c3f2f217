package repository

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/helixml/helix-ckpt/checkpoint"
)

func TestSeveralPutAtTheSameTime(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	tx := begin(t, r)
	files := make([]checkpoint.File, 8)
	var group errgroup.Group
	for i := range files {
		group.Go(func() error {
			// Half of each is the same.
			b := append(noise(0, 300_000), noise(uint64(i+1), 300_000)...)
			c, err := tx.Put(t.Context(), bytes.NewReader(b), checkpoint.ChunkSize)
			files[i] = fileOf(fmt.Sprint(i), c)
			return err
		})
	}
	must(t, group.Wait())
	m := manifest(1, files...)
	_, err := tx.Commit(t.Context(), m, nil)
	must(t, err)
	must(t, sound(r.Dir(), []checkpoint.ID{m.ID}))
	for i, f := range files {
		if got := read(t, r, f.Content); !bytes.Equal(got[300_000:], noise(uint64(i+1), 300_000)) {
			t.Errorf("file %d has other bytes", i)
		}
	}
}

func TestManyChunksMakeSeveralPacks(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := make([]byte, 8*(packChunks+5000))
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], uint64(i))
	}
	tx := begin(t, r)
	c, err := tx.Put(t.Context(), bytes.NewReader(b), 8)
	must(t, err)
	said := tx.NewBytes()
	m := manifest(1, fileOf("data", c))
	_, err = tx.Commit(t.Context(), m, nil)
	must(t, err)
	report, err := r.Verify(t.Context(), nil, nil)
	must(t, err)
	if report.Packs < 2 || report.PackBytes != said || len(report.Damage) > 0 {
		t.Errorf("%d bytes announced, found %+v", said, report)
	}
	if !bytes.Equal(read(t, r, c), b) {
		t.Error("other bytes came back")
	}
}

func TestOneTransactionAtATime(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	first := begin(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Begin(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one beside the first: %v", err)
	}
	next := make(chan *Tx)
	go func() {
		tx, err := r.Begin(context.Background())
		if err != nil {
			t.Error(err)
		}
		next <- tx
	}()
	first.Abort()
	(<-next).Abort()
}

// What was put can be read before it is committed.
func TestATransactionReadsItsOwn(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	tx := begin(t, r)
	b := noise(1, 3<<20)
	c := put(t, tx, b)
	reader, err := NewReader(t.Context(), tx, c)
	must(t, err)
	var got bytes.Buffer
	_, err = reader.WriteTo(&got)
	must(t, err)
	if !bytes.Equal(got.Bytes(), b) {
		t.Error("other bytes came back")
	}
	if r.Has(c.Recipe.SHA256) {
		t.Error("the repository has what is not committed")
	}
}
