package line

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
		c, err := r.checkpoint("--pin") // retention would keep 30 of the last 5 minutes
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
	var all []subject
	for _, id := range ids {
		s := subject{name: id, back: func() { r.run("restore", id, "--phase=files", "--only=zed", "-q", "-o", "json") }}
		s.began, s.files = r.manifest(id)
		all = append(all, s)
	}
	fresh, carried := judge(t, r, log, all)
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

// subject is a checkpoint, or what is passed off as one, to be judged.
type subject struct {
	name  string
	began time.Time
	files []file
	back  func() // puts what it holds in place
}

// judge brings each back and has sqlite3 read what is there then. What was
// carried is judged as of the time it says.
func judge(t *testing.T, r *rig, log zedwriter.Log, all []subject) (fresh, carried zedwriter.Tally) {
	t.Helper()
	sum := func(to *zedwriter.Tally, one zedwriter.Tally) {
		to.Cases, to.Exact, to.Failed = to.Cases+one.Cases, to.Exact+one.Exact, to.Failed+one.Failed
		to.Problems = append(to.Problems, one.Problems...)
	}
	for _, s := range all {
		s.back()
		for _, kind := range zedwriter.Kinds {
			at := kind.Path(r.data)
			c := zedwriter.Copy{Kind: kind, Began: s.began, Path: at}
			of := stateOf(s.files, filepath.Base(at))
			switch of.State {
			case "ok":
				sum(&fresh, zedwriter.Judge(t.Context(), log, []zedwriter.Copy{c}))
			case "carried":
				var err error
				if c.Began, err = time.Parse(time.RFC3339Nano, of.AsOf); err != nil {
					t.Errorf("%s: carried, but as of when? %v", s.name, err)
				}
				sum(&carried, zedwriter.Judge(t.Context(), log, []zedwriter.Copy{c}))
			default:
				t.Errorf("%s: %s is %q", s.name, kind, of.State)
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
	copies := t.TempDir()
	const n = 5 // what is in the WAL alone is in none of them
	var all []subject
	for i := range n {
		s := subject{name: fmt.Sprint("cp ", i), began: time.Now()}
		for _, kind := range zedwriter.Kinds {
			s.files = append(s.files, file{Path: kind.Path(r.data), State: "ok"})
			if err := exec.Command("cp", kind.Path(r.data), filepath.Join(copies, fmt.Sprint(kind, i))).Run(); err != nil {
				t.Fatal(err)
			}
		}
		s.back = func() {
			for _, kind := range zedwriter.Kinds {
				at := kind.Path(r.data)
				for _, old := range []string{at, at + "-wal", at + "-shm", at + "-journal"} {
					os.Remove(old) // it may not be there
				}
				if err := exec.Command("cp", filepath.Join(copies, fmt.Sprint(kind, i)), at).Run(); err != nil {
					t.Fatal(err)
				}
			}
		}
		all = append(all, s)
		committed := r.committed(w)
		r.await("the writer goes on", func() bool { return r.committed(w) > committed+10 })
	}
	if _, err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	log, err := w.Log()
	if err != nil {
		t.Fatal(err)
	}
	fresh, _ := judge(t, r, log, all)
	t.Logf("copies made with cp: %s", fresh)
	if fresh.Failed == 0 {
		t.Errorf("the judge found nothing wrong with %d plain copies of each database", n)
	}
}

// committed is how many transactions of db.sqlite the writer has logged.
func (r *rig) committed(w *zedwriter.Process) int64 {
	r.t.Helper()
	log, err := w.Log()
	if err != nil {
		r.t.Fatal(err)
	}
	return log.Committed(zedwriter.DB, time.Now())
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
