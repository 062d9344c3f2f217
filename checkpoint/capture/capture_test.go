package capture_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/capture"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
)

// A checkpoint may come from anywhere.
func TestLoadRefusesMoreThreadsThanThereCanBe(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for count, want := range map[int]string{1: "damaged data: entry 1", 1 << 30: "list of 1073741824"} {
		tx, err := s.repo.Begin(t.Context())
		s.must(err)
		list, err := tx.PutList(t.Context(), []repository.Keyed{{Key: "a", Value: "no thread"}})
		s.must(err)
		list.Count = count
		head := checkpoint.NewHead(checkpoint.OK, time.Now())
		_, err = s.commit(tx, time.Now(), capture.Captured{Components: checkpoint.Components{Zed: &checkpoint.Zed{Head: head, Threads: &list}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestNothingNewCostsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := s.take()
	if first.puts != 2 {
		t.Errorf("%d contents read, want 2", first.puts)
	}

	got := s.take()
	s.wantChange(got, capture.None)
	if got.puts != 0 || got.bytes != 0 {
		t.Errorf("%d contents read, %d new bytes; the databases had not moved", got.puts, got.bytes)
	}
	if z := got.Components.Zed; z.State != checkpoint.OK || z.Pointer == "" || z.Threads.Count != 2 || !z.AsOf.After(*first.Components.Zed.AsOf) {
		t.Errorf("zed is %+v", z)
	}

	s.capturer.Forget()
	got = s.take()
	s.wantChange(got, capture.None)
	if got.puts != 2 || got.bytes != 0 {
		t.Errorf("%d contents read after Forget, want 2; %d new bytes", got.puts, got.bytes)
	}

	// Another agent, and times that moved without a reason.
	s.capturer = capture.Capturer{}
	for _, logical := range []string{workspaceDB, threadsDB} {
		s.must(os.Chtimes(s.path(logical), old.Add(time.Hour), old.Add(time.Hour)))
	}
	got = s.take()
	s.wantChange(got, capture.None)
	if got.puts != 2 || got.bytes != 0 {
		t.Errorf("%d contents read, %d new bytes", got.puts, got.bytes)
	}

	s.must(os.Chmod(s.path(threadsDB), 0o640))
	s.wantChange(s.take(), capture.New)
}

// What a capture read that was not committed may be in no repository.
func TestAFailedCommitIsForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tx, err := s.repo.Begin(t.Context())
	s.must(err)
	_, err = s.capturer.Capture(t.Context(), s.source(), nil, tx)
	s.must(err)
	tx.Abort()
	s.capturer.Forget()
	s.take() // whose commit checks that every content is there
}

// What is in the latest checkpoint is remembered when the repository is pruned;
// what is in an older one only is read again.
func TestOnlyWhatIsKeptIsRemembered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.take()
	s.capturer.Keep(s.prev)
	if got := s.take(); got.puts != 0 {
		t.Errorf("%d contents read, though all are in the latest", got.puts)
	}
	s.prev = &capture.Previous{Manifest: s.prev.Manifest}
	s.capturer.Keep(s.prev)
	if got := s.take(); got.puts != 2 {
		t.Errorf("%d contents read, want 2", got.puts)
	}
}

// failingStore fails as a full disk does.
type failingStore struct {
	capture.Store
	puts, lists bool
}

func (f *failingStore) Put(ctx context.Context, r io.Reader, chunkSize int) (checkpoint.Content, error) {
	if f.puts {
		return checkpoint.Content{}, checkpoint.ErrNoSpace
	}
	return f.Store.Put(ctx, r, chunkSize)
}

func (f *failingStore) PutHinted(ctx context.Context, key string, r io.Reader, chunkSize int) (checkpoint.Content, error) {
	if f.puts {
		return checkpoint.Content{}, checkpoint.ErrNoSpace
	}
	return f.Store.PutHinted(ctx, key, r, chunkSize)
}

func (f *failingStore) PutList(ctx context.Context, entries []repository.Keyed) (checkpoint.List, error) {
	if f.lists {
		return checkpoint.List{}, checkpoint.ErrNoSpace
	}
	return f.Store.PutList(ctx, entries)
}

func TestAFailingStoreEndsTheCapture(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.take()
	for _, failing := range []failingStore{{puts: true}, {lists: true}} {
		s.capturer = capture.Capturer{}
		s.store = func(to capture.Store) capture.Store {
			failing.Store = to
			return &failing
		}
		// Not carried: there is something wrong with the repository, not with Zed.
		if _, err := s.try(); !errors.Is(err, checkpoint.ErrNoSpace) {
			t.Errorf("error %v, want %v", err, checkpoint.ErrNoSpace)
		}
	}
	s.store = nil
	s.wantChange(s.take(), capture.None)
}

// A database that is too large for memory and has no room on the disk is carried
// with the reason; the others are captured.
func TestWithoutRoomForTheSpoolADatabaseIsCarried(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.take()
	first := s.prev
	s.sqlite(threadsDB, "CREATE TABLE large(b); INSERT INTO large VALUES (zeroblob(20 << 20)); UPDATE threads SET summary = 'new'")
	s.sqlite(workspaceDB, "UPDATE kv_store SET value = value || 'x' WHERE key <> 'session_id'")
	s.spool = filepath.Join(s.home, "none")
	got := s.take()
	f := got.file(t, checkpoint.NameZed, threadsDB)
	s.wantCarried(f, first, checkpoint.NameZed)
	if !strings.Contains(f.Error, "spool of ") || !strings.Contains(f.Error, s.spool) {
		t.Errorf("it says %q", f.Error)
	}
	s.wantFile(got.file(t, checkpoint.NameZed, workspaceDB), checkpoint.OK)
	s.spool = s.home
	got = s.take()
	s.wantFile(got.file(t, checkpoint.NameZed, threadsDB), checkpoint.OK)
	if n := sqlite3(t, s.stored(got.file(t, checkpoint.NameZed, threadsDB)), "SELECT length(b) FROM large"); n != "20971520" {
		t.Errorf("%s bytes came back", n)
	}
}

func TestACancelledCaptureSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tx, err := s.repo.Begin(t.Context())
	s.must(err)
	defer tx.Abort()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.capturer.Capture(ctx, s.source(), nil, tx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
