package zedwriter_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// start runs a writer until the test ends.
func start(t *testing.T, c zedwriter.Config) *zedwriter.Process {
	t.Helper()
	dir := t.TempDir()
	binary, err := zedwriter.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Data = filepath.Join(dir, "zed")
	p, err := zedwriter.Start(context.WithoutCancel(t.Context()), binary, filepath.Join(dir, "log"), c)
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
	img, err := sqlite.Capture(ctx, live, sqlite.Options{ReadTransaction: true})
	if err != nil {
		return err
	}
	defer img.Close()
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
	return exec.Command("sqlite3", copied, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode=DELETE").Run()
}

// copies takes a copy of each kind every interval, each within a second.
func copies(t *testing.T, p *zedwriter.Process, take copier, every, total time.Duration, kinds ...zedwriter.Kind) []zedwriter.Copy {
	t.Helper()
	dir := t.TempDir()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var taken []zedwriter.Copy
	for deadline := time.Now().Add(total); ; <-tick.C {
		for _, kind := range kinds {
			c := zedwriter.Copy{Kind: kind, Began: time.Now(), Path: filepath.Join(dir, fmt.Sprint(len(taken)))}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := take(ctx, p.Path(kind), c.Path)
			cancel()
			c.Took = time.Since(c.Began)
			if errors.Is(err, sqlite.ErrBusy) {
				c.Excluded = "busy for a second"
			} else if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, c)
		}
		if !time.Now().Before(deadline) {
			return taken
		}
	}
}

func TestCapturesOfALiveWriterAreExact(t *testing.T) {
	t.Parallel()
	p := start(t, zedwriter.Config{})
	taken := copies(t, p, captured, 250*time.Millisecond, *captureFor, zedwriter.Kinds[:]...)
	summary, err := p.Stop()
	if err != nil {
		t.Fatal(err)
	}
	log, err := p.Log()
	if err != nil {
		t.Fatal(err)
	}
	tally := zedwriter.Judge(t.Context(), log, taken)
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
		t.Errorf("%.0f %% are exact within a second, want at least 90 %%", 100*tally.Fresh())
	}
}

// The judge must find what is wrong with copies made without proof.
func TestTheJudgeRefusesUnprovedCopies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		kind zedwriter.Kind
		take copier
		rate time.Duration
	}{
		{"cp of db.sqlite", zedwriter.DB, plainCopy, 0},
		{"cp of threads.db", zedwriter.Threads, plainCopy, 0},
		{"db.sqlite, then its WAL", zedwriter.DB, copyTwice, 2 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, zedwriter.Config{DBEvery: c.rate})
			for range 20 {
				taken := copies(t, p, c.take, time.Millisecond, 0, c.kind)
				log, err := p.Log()
				if err != nil {
					t.Fatal(err)
				}
				if tally := zedwriter.Judge(t.Context(), log, taken); tally.Failed > 0 {
					t.Log(tally.Problems[0])
					return
				}
			}
			t.Error("20 copies were found exact")
		})
	}
}
