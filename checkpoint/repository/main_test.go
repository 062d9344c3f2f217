package repository

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// committerEnv makes this test binary a committer: a process that commits one
// checkpoint after another to the repository named by it and says on stdout when
// one is durable. It makes as many as commitsEnv says, or goes on until it is
// killed. With prunesEnv it keeps only as many of them, and says before it
// deletes one.
const (
	committerEnv = "REPOSITORY_TEST_COMMITTER"
	commitsEnv   = "REPOSITORY_TEST_COMMITS"
	prunesEnv    = "REPOSITORY_TEST_PRUNES"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(committerEnv); dir != "" {
		if id := os.Getenv(readerEnv); id != "" {
			exitOn(readTo(os.Stdout, dir, checkpoint.ID(id)))
			os.Exit(0)
		}
		commits, err := strconv.Atoi(cmp.Or(os.Getenv(commitsEnv), "-1"))
		exitOn(err)
		commit(dir, commits)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func commit(dir string, commits int) {
	r, err := Open(dir)
	exitOn(err)
	entries, _, err := r.List(context.Background())
	exitOn(err)
	seq := uint64(0)
	if len(entries) > 0 {
		seq = entries[0].Seq
	}
	keep, err := strconv.Atoi(cmp.Or(os.Getenv(prunesEnv), "0"))
	exitOn(err)
	for ; commits != 0; commits-- {
		seq++
		tx, err := r.Begin(context.Background())
		exitOn(err)
		// A part that stays, a part that is new, enough for a recipe.
		b := append(noise(0, 5*checkpoint.ChunkSize), noise(seq, 5*checkpoint.ChunkSize)...)
		c, err := tx.Put(context.Background(), bytes.NewReader(b), checkpoint.ChunkSize)
		exitOn(err)
		m := manifest(seq, fileOf("data", c))
		_, err = tx.Commit(context.Background(), m, nil)
		exitOn(err)
		fmt.Println(m.ID)
		if keep > 0 {
			pruneTo(r, keep)
		}
	}
}

// pruneTo deletes all but the newest.
func pruneTo(r *Repository, keep int) {
	entries, _, err := r.List(context.Background())
	exitOn(err)
	var drop []checkpoint.ID
	for _, e := range entries[min(keep, len(entries)):] {
		fmt.Println("drop", e.ID)
		drop = append(drop, e.ID)
	}
	_, err = r.Prune(context.Background(), drop, PruneOptions{})
	exitOn(err)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// committer returns the command that starts one.
func committer(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), committerEnv+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// start starts cmd and gives its standard output, line by line.
func start(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	t.Helper()
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return bufio.NewScanner(out)
}

// scratch returns a directory that is yet to be made, for one case of many, and
// what removes it.
func scratch(root string) (dir string, remove func()) {
	dir = filepath.Join(root, rand.Text())
	return dir, func() { os.RemoveAll(dir) }
}
