package line

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

// TestCheckpointsOfALiveWriter: a Zed that writes without pause is
// checkpointed every 250 ms by a running agent. It loses no save; and every
// checkpoint, restored, is whole and holds all that was committed before it
// began, or says that a file was carried.
func TestCheckpointsOfALiveWriter(t *testing.T) {
	r := newRig(t)
	w := r.writer(zedwriter.Config{})
	a := r.agent("--interval=1h", "--quiet=1h")
	var ids []string
	for tick, end := time.NewTicker(250*time.Millisecond), time.Now().Add(*lines); time.Now().Before(end); <-tick.C {
		c, err := r.checkpoint()
		if err != nil {
			t.Fatalf("%v\n%s", err, a.log)
		}
		ids = append(ids, c.ID)
	}
	summary, err := w.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if code := a.stop(); code != 0 {
		t.Errorf("the agent ended with %d\n%s", code, a.log)
	}
	log, err := w.Log()
	if err != nil {
		t.Fatal(err)
	}
	fresh, carried := judge(t, r, log, ids, func(id string) {
		r.run("restore", id, "--phase=files", "--only=zed", "-q", "-o", "json")
	})
	t.Logf("writer: %s", summary)
	t.Logf("fresh: %s", fresh)
	t.Logf("carried, as of when they say: %s", carried)
	for _, problem := range append(fresh.Problems, carried.Problems...) {
		t.Error(problem)
	}
	if summary.DB.Commits == 0 || summary.Threads.Commits == 0 {
		t.Error("the writer wrote nothing, so nothing was proved")
	}
	if summary.Failed() != 0 {
		t.Errorf("%d saves of the writer failed", summary.Failed())
	}
	if part := float64(fresh.Exact) / float64(2*len(ids)); part < 0.9 {
		t.Errorf("%.0f %% of the files are fresh, want at least 90 %%", 100*part)
	}
}

// judge restores each checkpoint and has sqlite3 read what came back. What was
// carried is judged as of the time it says.
func judge(t *testing.T, r *rig, log zedwriter.Log, ids []string, restore func(id string)) (fresh, carried zedwriter.Tally) {
	t.Helper()
	sum := func(to *zedwriter.Tally, one zedwriter.Tally) {
		to.Cases, to.Exact, to.Failed = to.Cases+one.Cases, to.Exact+one.Exact, to.Failed+one.Failed
		to.Problems = append(to.Problems, one.Problems...)
	}
	for _, id := range ids {
		created, files := r.manifest(id)
		restore(id)
		for _, kind := range zedwriter.Kinds {
			at := kind.Path(r.data)
			c := zedwriter.Copy{Kind: kind, Began: created, Path: at}
			of := stateOf(files, filepath.Base(at))
			switch of.State {
			case "ok":
				sum(&fresh, zedwriter.Judge(t.Context(), log, []zedwriter.Copy{c}))
			case "carried":
				var err error
				if c.Began, err = time.Parse(time.RFC3339Nano, of.AsOf); err != nil {
					t.Errorf("%s: carried, but as of when? %v", id, err)
				}
				sum(&carried, zedwriter.Judge(t.Context(), log, []zedwriter.Copy{c}))
			default:
				t.Errorf("%s: %s is %q", id, kind, of.State)
			}
		}
	}
	return fresh, carried
}

func stateOf(files []file, base string) file {
	for _, f := range files {
		if filepath.Base(f.Path) == base {
			return f
		}
	}
	return file{}
}

// TestPlainCopiesFailTheJudge: the same judge finds what is wrong with cp in
// place of the capture.
func TestPlainCopiesFailTheJudge(t *testing.T) {
	r := newRig(t)
	w := r.writer(zedwriter.Config{})
	a := r.agent("--interval=1h", "--quiet=1h")
	c, err := r.checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	copies := t.TempDir()
	const n = 5 // each is torn more often than not
	for i := range n {
		for _, kind := range zedwriter.Kinds {
			if err := exec.Command("cp", kind.Path(r.data), filepath.Join(copies, fmt.Sprint(kind, i))).Run(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	a.stop()
	log, err := w.Log()
	if err != nil {
		t.Fatal(err)
	}
	// Each stands in for what a restore of that checkpoint would give.
	next := 0
	fresh, _ := judge(t, r, log, slices.Repeat([]string{c.ID}, n), func(string) {
		for _, kind := range zedwriter.Kinds {
			at := kind.Path(r.data)
			for _, old := range []string{at, at + "-wal", at + "-shm", at + "-journal"} {
				os.Remove(old) // it may not be there
			}
			if err := exec.Command("cp", filepath.Join(copies, fmt.Sprint(kind, next)), at).Run(); err != nil {
				t.Fatal(err)
			}
		}
		next++
	})
	t.Logf("copies made with cp: %s", fresh)
	if fresh.Failed == 0 {
		t.Errorf("the judge found nothing wrong with %d plain copies of each database", n)
	}
}

// TestCostFollowsTheChange: an unchanged session writes nothing, and 20 changed
// rows of a 70 MB database add at most 1 MB, manifest included.
func TestCostFollowsTheChange(t *testing.T) {
	r := newRig(t)
	w := r.writer(zedwriter.Config{DBSize: 70 << 20, ThreadsSize: 1 << 20, Idle: true})
	if _, err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	first, err := r.checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if first.Components["zed"] != "ok" {
		t.Fatalf("the first checkpoint is not ok: %+v", first)
	}
	before := r.listing()
	again, err := r.checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if !again.Confirmed || again.ID != first.ID {
		t.Errorf("an unchanged session gave %+v after %s", again, first.ID)
	}
	if after := r.listing(); after != before {
		t.Errorf("an unchanged session changed the repository from\n%sto\n%s", before, after)
	}
	db := zedwriter.DB.Path(r.data)
	const update = `UPDATE ckpt_page SET seq = seq + 1 WHERE id IN (SELECT id FROM ckpt_page ORDER BY random() LIMIT 20)`
	if out, err := exec.Command("sqlite3", db, update).CombinedOutput(); err != nil {
		t.Fatalf("change 20 rows: %v: %s", err, out)
	}
	size := r.size()
	second, err := r.checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	added := r.size() - size
	t.Logf("20 rows of %d MB: %d bytes more on disk, %d said", fileSize(t, db)>>20, added, second.NewBytes)
	if second.Confirmed || added <= 0 || added > 1<<20 {
		t.Errorf("20 changed rows added %d bytes, want 1 to %d", added, 1<<20)
	}
}

// listing is every file of the repository with its size and time.
func (r *rig) listing() string {
	return r.shell(`find "$0" -type f -printf '%P %s %T@\n' | grep -v /lock | sort`)
}

// size is what the repository takes, its manifests included.
func (r *rig) size() int64 {
	var n int64
	if _, err := fmt.Sscan(r.shell(`find "$0" -type f -path '*/sessions/*' -printf '%s\n' | awk '{s+=$1} END {print s}'`), &n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *rig) shell(script string) string {
	r.t.Helper()
	out, err := exec.CommandContext(context.Background(), "sh", "-c", script, filepath.Join(r.ws, ".helix")).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return strings.TrimLeft(string(out), " ")
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
