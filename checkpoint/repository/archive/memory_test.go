package archive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/repository/archive"
)

// moverEnv makes this test binary a process that exports the checkpoint of that
// id to stdout or, where it is "import", imports what comes on stdin, and says on
// its last file descriptor what memory that took. repositoryEnv is where.
const (
	moverEnv      = "ARCHIVE_TEST_MOVER"
	repositoryEnv = "ARCHIVE_TEST_REPOSITORY"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(moverEnv); what != "" {
		if err := move(what, os.Getenv(repositoryEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func move(what, dir string) error {
	repo, err := repository.Open(dir)
	if err != nil {
		return err
	}
	if what == "import" {
		_, err = archive.Import(context.Background(), repo, os.Stdin, nil, archive.Options{})
	} else {
		err = archive.Export(context.Background(), repo, checkpoint.ID(what), os.Stdout)
	}
	if err != nil {
		return err
	}
	var used runtime.MemStats
	runtime.ReadMemStats(&used)
	return json.NewEncoder(os.NewFile(3, "report")).Encode(used.HeapSys)
}

// mover runs one and returns the most that its heap ever was, in bytes.
func mover(t *testing.T, what string, repo *repository.Repository, in io.Reader, out io.Writer) uint64 {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), moverEnv+"="+what, repositoryEnv+"="+repo.Dir())
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = in, out, os.Stderr, []*os.File{w}
	err = cmd.Run()
	must(t, err)
	must(t, w.Close())
	var heap uint64
	must(t, json.NewDecoder(r).Decode(&heap))
	t.Logf("%s: a heap of %d MB, CPU time %v", what, heap>>20, cmd.ProcessState.UserTime())
	return heap
}

// counting gives n bytes of which no two chunks are alike, and which take little
// space.
type counting struct{ n, at int64 }

func (c *counting) Read(p []byte) (int, error) {
	if c.at == c.n {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), c.n-c.at, checkpoint.ChunkSize-c.at%checkpoint.ChunkSize)]
	clear(p)
	if c.at%checkpoint.ChunkSize == 0 && len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, uint64(c.at))
	}
	c.at += int64(len(p))
	return len(p), nil
}

// TestMemoryStaysWithinBounds moves much content, and a checkpoint of many files,
// by two processes each. What grows with them is the index, and a digest of each
// file. The nightly run takes 1 GiB, and 20,000 files.
func TestMemoryStaysWithinBounds(t *testing.T) {
	t.Parallel()
	size, files := int64(192<<20), 4_000
	if os.Getenv("HELIX_CKPT_NIGHTLY") != "" {
		size, files = 1<<30, 20_000
	}
	for name, tc := range map[string]struct {
		size  int64
		files int
	}{"much": {size, 1}, "many": {int64(files) * 100, files}} {
		t.Run(name, func(t *testing.T) {
			from, to := openTemp(t), openTemp(t)
			id := large(t, from, tc.size, tc.files)
			file := filepath.Join(t.TempDir(), "x")
			out, err := os.Create(file)
			must(t, err)
			defer out.Close()
			exported := mover(t, string(id), from, nil, out)
			_, err = out.Seek(0, io.SeekStart)
			must(t, err)
			imported := mover(t, "import", to, out, nil)
			if most := uint64(80 << 20); max(exported, imported) > most {
				t.Errorf("a heap of %d to export and %d to import, of at most %d", exported, imported, most)
			}
		})
	}
}

func large(t *testing.T, repo *repository.Repository, size int64, files int) checkpoint.ID {
	t.Helper()
	tx, err := repo.Begin(t.Context())
	must(t, err)
	defer tx.Abort()
	var list []repository.Keyed
	for i := range files {
		var r io.Reader = &counting{n: size}
		if files > 1 {
			r = bytes.NewReader(noise(uint64(i), int(size)/files))
		}
		c, err := tx.Put(t.Context(), r, checkpoint.ChunkSize)
		must(t, err)
		f := checkpoint.File{Path: fmt.Sprintf("$HOME/.claude/projects/-home-retro-work-some-project/%08d.jsonl", i), Kind: checkpoint.KindFile, State: checkpoint.OK, Mode: 0o600, MtimeNS: 1763892900123456789, Content: c}
		list = append(list, repository.Keyed{Key: f.Path, Value: f})
	}
	l, err := tx.PutList(t.Context(), list)
	must(t, err)
	at := time.Unix(1e9, 0)
	m := &checkpoint.Manifest{
		Format: checkpoint.Format, ID: checkpoint.NewID(at), Session: "ses_01", Epoch: 1, Seq: 1, Created: at,
		Components: checkpoint.Components{Files: &checkpoint.Files{Head: checkpoint.NewHead(checkpoint.OK, at), FileSet: checkpoint.FileSet{FileList: &l}}},
	}
	_, err = tx.Commit(t.Context(), m, nil)
	must(t, err)
	return m.ID
}

// TestEveryCopyGivesTheSameBytes exports by other processes: from where the checkpoint was made, from where it was imported,
// and from where its content shared packs with another checkpoint and was packed
// anew when that was deleted.
func TestEveryCopyGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	from, to, shared := openTemp(t), openTemp(t), openTemp(t)
	m, want := saved(t, from)
	b := export(t, from, m.ID)

	tx, err := shared.Begin(t.Context())
	must(t, err)
	defer tx.Abort()
	want["large"] = noise(7, 4<<20)
	var files []checkpoint.File
	for name, b := range want {
		c, err := tx.Put(t.Context(), bytes.NewReader(b), checkpoint.ChunkSize)
		must(t, err)
		files = append(files, checkpoint.File{PathB64: []byte("$HOME/" + name), Kind: checkpoint.KindFile, State: checkpoint.OK, Content: c})
	}
	at := time.Unix(1e9, 0)
	neighbour := &checkpoint.Manifest{
		Format: checkpoint.Format, ID: checkpoint.NewID(at), Session: "ses_01", Epoch: 1, Seq: 1, Created: at,
		Components: checkpoint.Components{Files: &checkpoint.Files{Head: checkpoint.NewHead(checkpoint.OK, at), FileSet: checkpoint.FileSet{Files: files}}},
	}
	_, err = tx.Commit(t.Context(), neighbour, nil)
	must(t, err)
	for _, repo := range []*repository.Repository{to, shared} {
		_, err := importBytes(t, repo, b, archive.Options{})
		must(t, err)
	}
	report, err := shared.Prune(t.Context(), []checkpoint.ID{neighbour.ID}, repository.PruneOptions{})
	must(t, err)
	if report.Repacked == 0 {
		t.Errorf("nothing was packed anew: %+v", report)
	}
	for name, repo := range map[string]*repository.Repository{"made": from, "imported": to, "packed anew": shared} {
		var got bytes.Buffer
		mover(t, string(m.ID), repo, nil, &got)
		if !bytes.Equal(got.Bytes(), b) {
			t.Errorf("where it was %s, %d other bytes", name, got.Len())
		}
	}
}
