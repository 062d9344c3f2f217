package repository

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// pruneRecord is what a prune is recorded with: checkpoints are committed, the
// first two are deleted, and packs are deleted and written anew.
type pruneRecord struct {
	states          [][]byte
	packs, repacked int
}

func pruneRecords() map[string]pruneRecord {
	merged := pruneRecord{packs: mergeLeast + 2, repacked: mergeLeast}
	for i := range uint64(mergeLeast + 2) {
		merged.states = append(merged.states, noise(i, 300))
	}
	return map[string]pruneRecord{
		// One pack is without use then, and of another a tenth is needed.
		"sparse": {states: [][]byte{noise(0, 900), noise(1, 900), append(noise(0, 100), noise(2, 900)...)}, packs: 2, repacked: 1},
		// Two are without use, and the others are many and small.
		"merged": merged,
	}
}

// record returns the steps.
func (p pruneRecord) record(t *testing.T, root string, vary func(*recorder) disk) []step {
	t.Helper()
	rec := &recorder{}
	r, err := open(filepath.Join(root, "sessions", "ses_01"), vary(rec))
	must(t, err)
	var ids []checkpoint.ID
	for seq, b := range p.states {
		tx := begin(t, r)
		c, err := tx.Put(t.Context(), bytes.NewReader(b), 100)
		must(t, err)
		m := manifest(uint64(seq+1), fileOf("data", c))
		_, err = tx.Commit(t.Context(), m, nil)
		must(t, err)
		rec.log(step{op: "acknowledge", name: string(m.ID)})
		ids = append(ids, m.ID)
	}
	must(t, r.Pin(t.Context(), ids[0]))
	for _, id := range ids[:2] {
		rec.log(step{op: "drop", name: string(id)})
	}
	report, err := r.Prune(t.Context(), ids[:2], PruneOptions{})
	must(t, err)
	if report.Packs != p.packs || report.Repacked != p.repacked {
		t.Fatalf("got %+v", report)
	}
	rec.log(step{op: "pruned"})
	return rec.steps
}

func TestNoPowerCutInAPruneLosesACheckpoint(t *testing.T) {
	t.Parallel()
	for name, p := range pruneRecords() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			steps := p.record(t, root, func(r *recorder) disk { return r })
			cases, loss := cut(t, root, steps)
			t.Logf("%d steps, %d disks after a cut", len(steps), cases)
			must(t, loss)
		})
	}
}

// The variants below each leave one thing out, in the prune only.

func (r *recorder) pruning() bool {
	return slices.ContainsFunc(r.steps, func(s step) bool { return s.op == "drop" })
}

// manifestsLast deletes manifests after the first pack. What is done late is
// done at once and logged late: the prune looks at what is there.
type manifestsLast struct {
	*recorder
	late *[]string
}

func (d manifestsLast) remove(name string) error {
	if filepath.Base(filepath.Dir(name)) == dirCheckpoints {
		*d.late = append(*d.late, name)
		return d.system.remove(name)
	}
	if err := d.recorder.remove(name); err != nil || filepath.Base(filepath.Dir(name)) != dirPacks {
		return err
	}
	for _, name := range *d.late {
		d.log(step{op: "remove", name: name})
	}
	*d.late = nil
	return nil
}

// unsyncedDir does not make durable what a prune does in a directory.
type unsyncedDir struct {
	*recorder
	base string
}

func (d unsyncedDir) syncDir(dir string) error {
	if d.pruning() && filepath.Base(dir) == d.base {
		return nil
	}
	return d.recorder.syncDir(dir)
}

// unsyncedFiles does not make durable what a prune writes.
type unsyncedFiles struct{ *recorder }

func (d unsyncedFiles) create(name string) (file, error) {
	if d.pruning() {
		return noFileSync(d).create(name)
	}
	return d.recorder.create(name)
}

// packsFirst deletes the first old pack before the new one has its name.
type packsFirst struct {
	*recorder
	late *[][2]string
}

func (d packsFirst) rename(from, to string) error {
	if !d.pruning() {
		return d.recorder.rename(from, to)
	}
	*d.late = append(*d.late, [2]string{from, to})
	return d.system.rename(from, to)
}

func (d packsFirst) remove(name string) error {
	if err := d.recorder.remove(name); err != nil {
		return err
	}
	for _, late := range *d.late {
		d.log(step{op: "rename", name: late[0], to: late[1]})
	}
	*d.late = nil
	return nil
}

func TestAPowerCutFindsEveryMissingStepOfAPrune(t *testing.T) {
	t.Parallel()
	variants := map[string]func(*recorder) disk{
		"packs are deleted before manifests":        func(r *recorder) disk { return manifestsLast{r, new([]string)} },
		"that manifests are deleted is unsynced":    func(r *recorder) disk { return unsyncedDir{r, dirCheckpoints} },
		"the new pack's name is unsynced":           func(r *recorder) disk { return unsyncedDir{r, dirPacks} },
		"the new pack is unsynced":                  func(r *recorder) disk { return unsyncedFiles{r} },
		"the old pack goes before the new is there": func(r *recorder) disk { return packsFirst{r, new([][2]string)} },
	}
	for name, vary := range variants {
		for kind, p := range pruneRecords() {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				cases, loss := cut(t, root, p.record(t, root, vary))
				if loss == nil {
					t.Fatalf("%d disks after a cut, and not found", cases)
				}
				t.Logf("found on disk %d, %v", cases, loss)
			})
		}
	}
}

// TestAFailingDiskFailsOnePruneOnly lets every step of a prune in turn fail: it
// says so, what was to stay stays whole, and the next prune finishes the work.
func TestAFailingDiskFailsOnePruneOnly(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"create", "write", "sync", "rename", "syncdir", "remove"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			for k := 0; failPruneAt(t, op, k); k++ {
				if k > 100 {
					t.Fatal("it never ends")
				}
			}
		})
	}
}

func failPruneAt(t *testing.T, op string, k int) bool {
	t.Helper()
	r := openTemp(t)
	big := noise(0, 40*checkpoint.ChunkSize)
	drop := []checkpoint.ID{save(t, r, 1, big).ID, save(t, r, 2, noise(2, 100_000)).ID}
	third := save(t, r, 3, append(slices.Clone(big[:4*checkpoint.ChunkSize]), noise(3, 200_000)...))
	left := k
	broken, err := open(r.Dir(), failingPrune{failing{op: op, left: &left, err: syscall.ENOSPC}})
	must(t, err)
	_, err = broken.Prune(t.Context(), drop, PruneOptions{})
	failed := left < 0
	if failed != (err != nil) {
		t.Errorf("%s %d: failed %v, got %v", op, k, failed, err)
	}
	must(t, sound(r.Dir(), []checkpoint.ID{third.ID}))
	prune(t, r, drop...)
	intact(t, r, third.ID)
	if packs, _ := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*")); len(packs) != 2 {
		t.Errorf("%s %d: %d packs are left", op, k, len(packs))
	}
	return failed
}

// failingPrune fails at a removal too.
type failingPrune struct{ failing }

func (d failingPrune) remove(name string) error {
	if d.fails("remove") {
		return &fs.PathError{Op: "remove", Path: name, Err: d.err}
	}
	return d.system.remove(name)
}
