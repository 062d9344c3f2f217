package zedwriter_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint/sqlite"
	"github.com/helixml/helix-ckpt/integration/zedwriter"
	"go.uber.org/goleak"
)

// How long images are taken of a writing process. Three seconds show that it
// works; thirty are the line's own test.
var captureFor = flag.Duration("capture-for", 3*time.Second, "how long to capture a live writer")

// program is the writer's binary, built once.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "zedwriter")
	if err == nil {
		program, err = zedwriter.Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// start runs a writer until the test ends.
func start(t *testing.T, c zedwriter.Config) *zedwriter.Process {
	t.Helper()
	dir := t.TempDir()
	c.Data = filepath.Join(dir, "zed")
	p, err := zedwriter.Start(context.WithoutCancel(t.Context()), program, filepath.Join(dir, "log"), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	})
	return p
}

// copier makes a standalone copy of the database at live.
type copier func(ctx context.Context, live, copied string) error

func captured(ctx context.Context, live, copied string) error {
	return capturedBy(ctx, live, copied, map[sqlite.Method]int{})
}

// capturedBy is the capture under test, given a second. It counts by which
// method.
func capturedBy(ctx context.Context, live, copied string, methods map[sqlite.Method]int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	img, err := sqlite.Capture(ctx, live, sqlite.Options{ReadTransaction: true})
	if err != nil {
		return err
	}
	defer img.Close() //nolint:errcheck // memory only
	methods[img.Method]++
	out, err := os.Create(copied)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(img, 0, img.Size()))
	return errors.Join(err, out.Close())
}

// plainCopy is what a tool does that knows nothing of databases.
func plainCopy(_ context.Context, live, copied string) error {
	return exec.Command("cp", live, copied).Run()
}

// copyTwice copies the database, then its WAL, and proves nothing: between the
// two the writer goes on until its WAL was reset.
func copyTwice(ctx context.Context, live, copied string) error {
	start, err := os.ReadFile(live + "-wal")
	if err != nil {
		return err
	}
	if err := plainCopy(ctx, live, copied); err != nil {
		return err
	}
	for {
		wal, err := os.ReadFile(live + "-wal")
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if len(wal) > 32 && string(wal[:32]) != string(start[:32]) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := plainCopy(ctx, live+"-wal", copied+"-wal"); err != nil {
		return err
	}
	// It may refuse what it is given; the judge then sees what is left.
	_ = exec.CommandContext(ctx, "sqlite3", copied, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode=DELETE").Run()
	return nil
}

// copyOf takes one copy.
func copyOf(ctx context.Context, p *zedwriter.Process, kind zedwriter.Kind, take copier, to string) (zedwriter.Copy, error) {
	c := zedwriter.Copy{Kind: kind, Began: time.Now(), Path: to}
	err := take(ctx, p.Path(kind), c.Path)
	if errors.Is(err, sqlite.ErrBusy) {
		c.Excluded, err = "busy for a second", nil
	}
	return c, err
}

// judge compares copies with what p has logged.
func judge(t *testing.T, p *zedwriter.Process, copies ...zedwriter.Copy) zedwriter.Tally {
	t.Helper()
	log, err := p.Log()
	if err != nil {
		t.Fatal(err)
	}
	return zedwriter.Judge(t.Context(), log, copies)
}

func TestCapturesOfALiveWriterAreExact(t *testing.T) {
	p, dir := start(t, zedwriter.Config{}), t.TempDir()
	copies, err := zedwriter.Collect(t.Context(), 250*time.Millisecond, *captureFor, func(ctx context.Context, n int) (taken []zedwriter.Copy, err error) {
		for _, kind := range zedwriter.Kinds {
			c, err := copyOf(ctx, p, kind, captured, filepath.Join(dir, fmt.Sprint(kind, n)))
			if err != nil {
				return nil, err
			}
			taken = append(taken, c)
		}
		return taken, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := p.Stop()
	if err != nil {
		t.Fatal(err)
	}
	tally := judge(t, p, copies...)
	t.Logf("writer: %s", summary)
	t.Logf("copies: %s", tally)
	for _, problem := range tally.Problems {
		t.Error(problem)
	}
	if summary.DB.Commits == 0 || summary.Threads.Commits == 0 {
		t.Error("the writer wrote nothing, so nothing was proved")
	}
	if summary.Failed() != 0 {
		t.Errorf("%d saves of the writer failed", summary.Failed())
	}
	if tally.Fresh() < 0.9 {
		t.Errorf("only %.0f %% could be captured within a second each, want at least 90 %%", 100*tally.Fresh())
	}
}

// The judge must find what is wrong with copies made without proof.
func TestTheJudgeRefusesUnprovedCopies(t *testing.T) {
	for _, c := range []struct {
		name string
		kind zedwriter.Kind
		take copier
		how  zedwriter.Config
	}{
		{"cp of db.sqlite", zedwriter.DB, plainCopy, zedwriter.Config{}},
		// As fast as it can: cp is done within milliseconds.
		{"cp of threads.db", zedwriter.Threads, plainCopy, zedwriter.Config{ThreadsEvery: 5 * time.Millisecond}},
		{"db.sqlite, then its WAL", zedwriter.DB, copyTwice, zedwriter.Config{DBEvery: 2 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, dir := start(t, c.how), t.TempDir()
			for range 50 { // each is torn more often than not
				copied, err := copyOf(t.Context(), p, c.kind, c.take, filepath.Join(dir, "copy"))
				if err != nil {
					t.Fatal(err)
				}
				if tally := judge(t, p, copied); tally.Failed > 0 {
					t.Log(tally.Problems[0])
					return
				}
			}
			t.Error("50 copies were found exact")
		})
	}
}

// A reader that takes locks costs saves, and the writer must count them: its 0
// elsewhere is worth nothing otherwise.
func TestSavesLostToALockAreCounted(t *testing.T) {
	p, dir := start(t, zedwriter.Config{ThreadsEvery: 10 * time.Millisecond}), t.TempDir()
	for n := 0; ; n++ {
		into := filepath.Join(dir, fmt.Sprint(n))
		// It is itself refused while the writer commits.
		_ = exec.CommandContext(t.Context(), "sqlite3", p.Path(zedwriter.Threads), fmt.Sprintf("VACUUM INTO '%s'", into)).Run()
		log, err := p.Log()
		if err != nil {
			t.Fatal(err)
		}
		if log.Failed(zedwriter.Threads) > 0 {
			break
		}
		if n == 100 {
			t.Fatal("100 locking copies cost no save")
		}
	}
	summary, err := p.Stop()
	if err != nil || summary.Threads.Failed == 0 || summary.DB.Failed != 0 {
		t.Errorf("%s, %v", summary, err)
	}
}

// The judge must not find fault with a sound copy that merely has nobody's
// log, and must with one that lacks the last transaction.
func TestTheJudgeComparesWithTheLog(t *testing.T) {
	p, dir := start(t, zedwriter.Config{DBSize: 1 << 20, ThreadsSize: 1 << 20}), t.TempDir()
	early, err := copyOf(t.Context(), p, zedwriter.DB, captured, filepath.Join(dir, "early"))
	if err != nil {
		t.Fatal(err)
	}
	if tally := judge(t, p, early); tally.Exact != 1 {
		t.Errorf("%s: %v", tally, tally.Problems)
	}
	for captured := time.Now(); ; time.Sleep(time.Millisecond) {
		log, err := p.Log()
		if err != nil {
			t.Fatal(err)
		}
		if log.Committed(zedwriter.DB, time.Now()) > log.Committed(zedwriter.DB, captured) {
			break
		}
	}
	early.Began = time.Now()
	if tally := judge(t, p, early); tally.Failed != 1 {
		t.Errorf("a copy that lacks the newest transactions: %s", tally)
	}
}

// A writer is killed at any moment; what it left is captured as it lies there.
func TestCapturesAfterAKillAreExact(t *testing.T) {
	dir := t.TempDir()
	config := zedwriter.Config{DBSize: 1 << 20, ThreadsSize: 4 << 20, DBEvery: time.Millisecond, ThreadsEvery: 2 * time.Millisecond}
	p := start(t, config)
	methods := map[sqlite.Method]int{}
	for round := range 8 {
		if round%2 == 0 {
			untilJournalLives(t, p)
		} else { // any moment will do: where the writer is by then is up to the machine
			time.Sleep(time.Duration(20+rand.IntN(80)) * time.Millisecond)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, kind := range zedwriter.Kinds {
			copied, err := copyOf(t.Context(), p, kind, func(ctx context.Context, live, copied string) error {
				return capturedBy(ctx, live, copied, methods)
			}, filepath.Join(dir, fmt.Sprint(kind, round)))
			if err != nil {
				t.Fatal(err)
			}
			if used, err := sqlite.InUse(p.Path(kind)); err != nil || used {
				t.Errorf("%s of a dead writer: in use %v, %v", kind, used, err)
			}
			if tally := judge(t, p, copied); tally.Exact != 1 {
				t.Errorf("round %d: %s: %v", round, tally, tally.Problems)
			}
		}
		if err := p.Restart(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("images by method: %v", methods)
	if methods[sqlite.HotJournal] == 0 {
		t.Error("no transaction was cut in half")
	}
}

// untilJournalLives waits for a transaction on threads.db that has begun to
// write the main file. The system gives no event for that.
func untilJournalLives(t *testing.T, p *zedwriter.Process) {
	t.Helper()
	head := make([]byte, 1)
	for t.Context().Err() == nil {
		if f, err := os.Open(p.Path(zedwriter.Threads) + "-journal"); err == nil {
			_, err = f.Read(head)
			f.Close()
			if err == nil && head[0] != 0 {
				return
			}
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// An idle Zed is one that has the database open.
func TestAnIdleWriterIsSeen(t *testing.T) {
	p := start(t, zedwriter.Config{DBSize: 1 << 20, ThreadsSize: 1 << 20, Idle: true})
	if used, err := sqlite.InUse(p.Path(zedwriter.DB)); err != nil || !used {
		t.Errorf("idle writer: in use %v, %v", used, err)
	}
	summary, err := p.Stop()
	if err != nil || summary.DB.Commits+summary.Threads.Commits != 0 {
		t.Errorf("idle writer: %s, %v", summary, err)
	}
}
