package restore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/restore"
)

var _ restore.Source = (*repository.Repository)(nil)

// What a real repository holds comes back, and what is damaged in it does not.
func TestFromARepository(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	repo, err := repository.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	main, _, _, err := database("stored", 3000)
	if err != nil {
		t.Fatal(err)
	}
	odd := []byte("\xff\xfe is no UTF-8 name")
	tx, err := repo.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	put := func(f checkpoint.File, b []byte) checkpoint.File {
		t.Helper()
		f.State, f.Mode, f.MtimeNS = checkpoint.OK, 0o600, checkpoint.MtimeNS(time.Now().UnixNano())
		if f.Content, err = tx.Put(t.Context(), bytes.NewReader(b), checkpoint.ChunkSize); err != nil {
			t.Fatal(err)
		}
		return f
	}
	m := &checkpoint.Manifest{
		Format: checkpoint.Format, ID: idNew, Session: "default", Epoch: 1, Seq: 1, Created: time.Now().UTC().Truncate(time.Millisecond), Roots: s.roots,
		Components: checkpoint.Components{
			Zed: zedOf(put(checkpoint.File{Path: dbPath, Kind: checkpoint.KindSQLite}, main)),
			Files: filesOf(
				put(checkpoint.File{PathB64: append([]byte("$WORKSPACE/"), odd...), Kind: checkpoint.KindFile}, []byte("odd")),
				put(checkpoint.File{Path: "$WORKSPACE/empty", Kind: checkpoint.KindFile}, nil),
			),
		},
	}
	if _, err := tx.Commit(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}

	report := run(t, s.restorer(repo), restore.Request{Checkpoint: idNew})
	if report.Outcome != restore.Done {
		t.Fatalf("%+v", report)
	}
	for logical, want := range map[string][]byte{dbPath: main, "$WORKSPACE/" + string(odd): []byte("odd"), "$WORKSPACE/empty": nil} {
		if got := s.read(t, logical); got != string(want) {
			t.Errorf("%q: %d bytes came back of %d", logical, len(got), len(want))
		}
	}

	packs, err := filepath.Glob(filepath.Join(s.dir, "packs", "*.zst"))
	if err != nil || len(packs) == 0 {
		t.Fatal("no packs", err)
	}
	for _, pack := range packs {
		b, err := os.ReadFile(pack)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/3] ^= 1
		if err := os.WriteFile(pack, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if repo, err = repository.Open(s.dir); err != nil {
		t.Fatal(err)
	}
	before := s.live(t)
	report, err = s.restorer(repo).Run(t.Context(), restore.Request{Checkpoint: idNew, Only: []string{"zed"}})
	if err == nil {
		t.Fatalf("a flipped bit in a pack was not noticed: %+v", report)
	}
	t.Log(err)
	if d := difference(s.live(t), before); d != "" {
		t.Errorf("the session changed: %s", d)
	}
}
