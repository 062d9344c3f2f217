package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/repository/archive"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)}).Read(b) //nolint:errcheck // never fails
	return b
}

func openTemp(tb testing.TB) *repository.Repository {
	tb.Helper()
	repo, err := repository.Open(filepath.Join(tb.TempDir(), "sessions", "ses_01"))
	must(tb, err)
	return repo
}

// saved is a checkpoint with some of everything: files inline and in a list,
// recipes and threads, an empty file, a link, a path that is not UTF-8.
func saved(tb testing.TB, repo *repository.Repository) (*checkpoint.Manifest, map[string][]byte) {
	tb.Helper()
	ctx := tb.Context()
	tx, err := repo.Begin(ctx)
	must(tb, err)
	defer tx.Abort()
	want := map[string][]byte{}
	file := func(name string, b []byte) checkpoint.File {
		c, err := tx.Put(ctx, bytes.NewReader(b), checkpoint.ChunkSize)
		must(tb, err)
		want[strings.TrimPrefix(name, "$")] = b
		return checkpoint.File{Path: name, Kind: checkpoint.KindFile, State: checkpoint.OK, Mode: 0o640, MtimeNS: 1763892900123456789, Content: c}
	}
	created := time.Date(2026, 11, 23, 10, 15, 0, 123e6, time.UTC)
	head := checkpoint.NewHead(checkpoint.OK, created)
	var many []repository.Keyed
	for i := range 150 {
		f := file(fmt.Sprintf("$HOME/.claude/projects/-workspace-app/%03d.jsonl", i), noise(uint64(i), 10+i))
		many = append(many, repository.Keyed{Key: f.Name(), Value: f})
	}
	list, err := tx.PutList(ctx, many)
	must(tb, err)
	partly := file("$ZED_DATA/threads/threads.db", noise(1001, 10_000))
	partly.SHA256 = checkpoint.Hash{} // of the whole it is not always known
	threads, err := tx.PutList(ctx, []repository.Keyed{{Key: "t1", Value: checkpoint.Thread{ID: "t1", Title: "one", Updated: created}}})
	must(tb, err)
	odd := file("$HOME/odd", []byte("odd"))
	odd.Path, odd.PathB64 = "", []byte("$HOME/odd\xff")
	want["HOME/odd\xff"] = want["HOME/odd"]
	delete(want, "HOME/odd")
	m := &checkpoint.Manifest{
		Format: checkpoint.Format, ID: "20261123T101500.123Z-3f9a1c2e", Session: "ses_01", Epoch: 3, Seq: 118, Created: created, Reason: "test",
		Components: checkpoint.Components{
			Zed: &checkpoint.Zed{Head: head, Threads: &threads, FileSet: checkpoint.FileSet{Files: []checkpoint.File{
				file("$ZED_DATA/db/0-dev/db.sqlite", noise(1000, 300_000)), partly,
			}}},
			Conversations: &checkpoint.Files{Head: head, FileSet: checkpoint.FileSet{FileList: &list}},
			Files: &checkpoint.Files{Head: head, FileSet: checkpoint.FileSet{Files: []checkpoint.File{
				file("$WORKSPACE/empty", nil), odd,
				{Path: "$WORKSPACE/link", Kind: checkpoint.KindSymlink, State: checkpoint.OK, Link: "empty"},
				{Path: "$WORKSPACE/gone", Kind: checkpoint.KindFile, State: checkpoint.Failed, Error: "permission denied"},
			}}},
		},
	}
	m.Stats.NewBytes = tx.NewBytes()
	_, err = tx.Commit(ctx, m, nil)
	must(tb, err)
	return m, want
}

func export(tb testing.TB, repo *repository.Repository, id checkpoint.ID) []byte {
	tb.Helper()
	var b bytes.Buffer
	must(tb, archive.Export(tb.Context(), repo, id, &b))
	return b.Bytes()
}

func importBytes(tb testing.TB, repo *repository.Repository, b []byte, o archive.Options) (archive.Imported, error) {
	tb.Helper()
	return archive.Import(context.Background(), repo, bytes.NewReader(b), nil, o)
}

func TestAnExportComesBackTheSameElsewhere(t *testing.T) {
	t.Parallel()
	from, to := openTemp(t), openTemp(t)
	m, want := saved(t, from)
	_, sum, err := from.Load(t.Context(), m.ID)
	must(t, err)
	b := export(t, from, m.ID)

	done, err := importBytes(t, to, b, archive.Options{Session: "ses_01"})
	must(t, err)
	if done.Existed || done.SHA256 != sum || done.NewBytes == 0 {
		t.Errorf("got %+v", done)
	}
	_, got, err := to.Load(t.Context(), m.ID)
	must(t, err)
	if got != sum {
		t.Errorf("manifest_sha256 %s became %s", sum, got)
	}
	report, err := to.Verify(t.Context(), nil, nil)
	must(t, err)
	if len(report.Damage) > 0 || report.Checkpoints != 1 || report.Contents < len(want) {
		t.Errorf("verify of the import: %+v", report)
	}
	if !bytes.Equal(export(t, to, m.ID), b) {
		t.Error("exported again it has other bytes")
	}
}

// TestTarGivesAPersonTheFiles judges by GNU tar and zstd.
func TestTarGivesAPersonTheFiles(t *testing.T) {
	t.Parallel()
	repo := openTemp(t)
	m, want := saved(t, repo)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "tar", "--zstd", "-xf", "-", "-C", dir)
	cmd.Stdin = bytes.NewReader(export(t, repo, m.ID))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	for name, b := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		if !bytes.Equal(got, b) {
			t.Errorf("%s has other bytes", name)
		}
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if info.Mode() != 0o640 || info.ModTime().UnixNano() != 1763892900123456789 {
			t.Errorf("%s: mode %s, time %s", name, info.Mode(), info.ModTime())
		}
	}
	if link, err := os.Readlink(filepath.Join(dir, "WORKSPACE", "link")); err != nil || link != "empty" {
		t.Errorf("link: %q, %v", link, err)
	}
	plain, err := repo.LoadBytes(t.Context(), m.ID)
	must(t, err)
	if got, err := os.ReadFile(filepath.Join(dir, "manifest.json")); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("manifest.json: %v", err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "META", "*"))
	must(t, err)
	for _, name := range pages {
		b, err := os.ReadFile(name)
		must(t, err)
		if checkpoint.Sum(b).String() != filepath.Base(name) {
			t.Errorf("%s has other bytes than its name says", name)
		}
	}
	if len(pages) < 3 {
		t.Errorf("only %d entries in META", len(pages))
	}
}

func TestDescribeNamesTheBytes(t *testing.T) {
	t.Parallel()
	repo := openTemp(t)
	m, _ := saved(t, repo)
	b := export(t, repo, m.ID)
	d, err := archive.Describe(t.Context(), repo, m.ID)
	must(t, err)
	if d.Size != int64(len(b)) || d.SHA256 != checkpoint.Sum(b) {
		t.Errorf("got %+v for %d bytes with sha256 %s", d, len(b), checkpoint.Sum(b))
	}
}

func TestWhatIsThereAlreadyIsSaidSo(t *testing.T) {
	t.Parallel()
	repo := openTemp(t)
	m, _ := saved(t, repo)
	before := tree(t, repo.Dir())
	done, err := importBytes(t, repo, export(t, repo, m.ID), archive.Options{})
	must(t, err)
	if !done.Existed || done.NewBytes != 0 {
		t.Errorf("got %+v", done)
	}
	if after := tree(t, repo.Dir()); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestLostContentComesBackByImport(t *testing.T) {
	t.Parallel()
	repo := openTemp(t)
	m, _ := saved(t, repo)
	b := export(t, repo, m.ID)
	must(t, os.RemoveAll(filepath.Join(repo.Dir(), "packs")))
	done, err := importBytes(t, repo, b, archive.Options{})
	must(t, err)
	if !done.Existed || done.NewBytes == 0 {
		t.Errorf("got %+v", done)
	}
	report, err := repo.Verify(t.Context(), nil, nil)
	must(t, err)
	if len(report.Damage) > 0 {
		t.Errorf("still damaged: %v", report.Damage)
	}
}

func TestAnotherSessionIsRefused(t *testing.T) {
	t.Parallel()
	from, to := openTemp(t), openTemp(t)
	m, _ := saved(t, from)
	_, err := importBytes(t, to, export(t, from, m.ID), archive.Options{Session: "ses_02"})
	if !errors.Is(err, checkpoint.ErrOtherSession) {
		t.Fatalf("got %v", err)
	}
	if got := tree(t, to.Dir()); got != "" {
		t.Errorf("changed:\n%s", got)
	}
}

func TestTheGuardDecides(t *testing.T) {
	t.Parallel()
	from, to := openTemp(t), openTemp(t)
	m, _ := saved(t, from)
	b := export(t, from, m.ID)
	_, err := archive.Import(t.Context(), to, bytes.NewReader(b), func() error { return checkpoint.ErrFenced }, archive.Options{})
	if !errors.Is(err, checkpoint.ErrFenced) {
		t.Fatalf("got %v", err)
	}
	noCheckpoint(t, to)
}

func TestABrokenStreamIsNoDamage(t *testing.T) {
	t.Parallel()
	from, to := openTemp(t), openTemp(t)
	m, _ := saved(t, from)
	b := export(t, from, m.ID)
	broken := errors.New("connection reset")
	for _, n := range []int{3, 100, len(b) / 2, len(b) - 1} {
		r := io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken))
		if _, err := archive.Import(t.Context(), to, r, nil, archive.Options{}); !errors.Is(err, broken) || errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	noCheckpoint(t, to)
}

func noCheckpoint(tb testing.TB, repo *repository.Repository) {
	tb.Helper()
	entries, damage, err := repo.List(context.Background())
	if len(entries)+len(damage) > 0 || err != nil {
		tb.Errorf("left behind: %v, %v, %v", entries, damage, err)
	}
	for _, line := range strings.Split(tree(tb, repo.Dir()), "\n") {
		if strings.Contains(line, ".tmp-") {
			tb.Errorf("left behind: %s", line)
		}
	}
}

// tree lists what is below dir, with modes, sizes, times and targets of links.
func tree(tb testing.TB, dir string) string {
	tb.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path) // not all are links
		fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano(), target)
		return nil
	})
	must(tb, err)
	return b.String()
}
