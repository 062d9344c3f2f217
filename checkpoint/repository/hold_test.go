package repository

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// readerEnv makes this test binary a reader: it copies the file of the checkpoint
// named by it, in the repository named by committerEnv, to stdout. With unheldEnv
// it does not hold what it reads.
const (
	readerEnv = "REPOSITORY_TEST_READER"
	unheldEnv = "REPOSITORY_TEST_UNHELD"
)

func readTo(w io.Writer, dir string, id checkpoint.ID) error {
	r, err := Open(dir)
	if err != nil {
		return err
	}
	if os.Getenv(unheldEnv) == "" {
		release, err := r.Hold(id)
		if err != nil {
			return err
		}
		defer release()
	}
	m, _, err := r.Load(context.Background(), id)
	if err != nil {
		return err
	}
	return r.CopyTo(context.Background(), w, m.Components.Files.Files[0].Content)
}

// stopReader starts a reader and returns when it stands still because its pipe
// is full. finish lets it go on and returns all that it has read.
func stopReader(t *testing.T, dir string, id checkpoint.ID, env ...string) (finish func() ([]byte, error)) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), committerEnv+"="+dir, readerEnv+"="+string(id)), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	first := make([]byte, 1)
	_, err = io.ReadFull(out, first)
	must(t, err)
	return func() ([]byte, error) {
		rest, err := io.ReadAll(out)
		if waitErr := cmd.Wait(); waitErr != nil {
			err = errors.Join(err, waitErr, errors.New(stderr.String()))
		}
		return slices.Concat(first, rest), err
	}
}

// overtaken is a state much larger than a pipe and all that a reader keeps.
func overtaken() []byte { return noise(1, cacheBytes+4<<20) }

// TestAReaderInAnotherProcessIsNeverOvertaken stops one in the middle and lets
// its checkpoint be deleted: it stays until it was read, and its packs, also
// those that are written anew meanwhile.
func TestAReaderInAnotherProcessIsNeverOvertaken(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := overtaken()
	first := save(t, r, 1, append(slices.Clone(b), noise(2, 2*len(b))...)) // which makes the pack sparse
	second := save(t, r, 2, b)
	third := save(t, r, 3, noise(3, 1000))

	finish := stopReader(t, r.Dir(), second.ID)
	report := prune(t, r, second.ID, first.ID)
	if !slices.Equal(report.Held, []checkpoint.ID{second.ID}) || !slices.Equal(report.Deleted, []checkpoint.ID{first.ID}) || report.Kept != 2 || report.Repacked == 0 {
		t.Errorf("got %+v", report)
	}
	got, err := finish()
	if err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes were read of %d, %v", len(got), len(b), err)
	}
	if report := prune(t, r, second.ID); len(report.Deleted) != 1 || len(report.Held) > 0 {
		t.Errorf("nobody reads it any more: %+v", report)
	}
	intact(t, r, third.ID)
}

// TestAReaderThatHoldsNothingIsOvertaken: else the test above shows nothing.
func TestAReaderThatHoldsNothingIsOvertaken(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	b := overtaken()
	first := save(t, r, 1, b)
	save(t, r, 2, noise(2, 1000))
	finish := stopReader(t, r.Dir(), first.ID, unheldEnv+"=1")
	prune(t, r, first.ID)
	if got, err := finish(); err == nil || bytes.Equal(got, b) {
		t.Errorf("%d bytes were read of %d, %v", len(got), len(b), err)
	}
}

// TestHoldsCountWithinAProcess too, as many as there are of them.
func TestHoldsCountWithinAProcess(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	first := save(t, r, 1, noise(1, 1000))
	save(t, r, 2, noise(2, 1000))
	one, err := r.Hold(first.ID)
	must(t, err)
	another, err := r.Hold(first.ID)
	must(t, err)
	for _, release := range []func(){one, another} {
		if report := prune(t, r, first.ID); len(report.Held) != 1 {
			t.Errorf("got %+v", report)
		}
		release()
	}
	if report := prune(t, r, first.ID); len(report.Deleted) != 1 {
		t.Errorf("got %+v", report)
	}
	if _, err := r.Hold(first.ID); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("held although it is gone: %v", err)
	}
	if _, err := r.Hold("../pins/x"); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// TestWhatIsBeingDeletedCannotBeHeld, and whoever opened it just before finds out.
func TestWhatIsBeingDeletedCannotBeHeld(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	m := save(t, r, 1, noise(1, 1000))
	path := filepath.Join(r.Dir(), manifestName(m.ID))
	release, ok, err := claim(path)
	must(t, err)
	if _, err := r.Hold(m.ID); !ok || !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("claimed %v, then got %v", ok, err)
	}
	release()
	f, _, err := openFile(path)
	must(t, err)
	defer f.Close()
	must(t, os.Link(path, path+".backup"))
	must(t, os.Remove(path))
	if !gone(f, path) {
		t.Error("an open file that was deleted is not gone")
	}
}
