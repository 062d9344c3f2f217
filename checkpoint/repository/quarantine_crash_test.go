package repository

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// recordRepair commits two checkpoints, damages the table of a pack and the seal
// of a manifest, of which all can be told from the rest, and repairs them. It
// returns the steps.
func recordRepair(t *testing.T, root string, vary func(*recorder) disk) []step {
	t.Helper()
	rec := &recorder{}
	r, err := open(filepath.Join(root, "sessions", "ses_01"), vary(rec))
	must(t, err)
	var last checkpoint.ID
	for seq := range uint64(2) {
		tx := begin(t, r)
		c, err := tx.Put(t.Context(), bytes.NewReader(noise(seq, 900)), 100)
		must(t, err)
		m := manifest(seq+1, fileOf("data", c))
		_, err = tx.Commit(t.Context(), m, nil)
		must(t, err)
		rec.log(step{op: "acknowledge", name: string(m.ID)})
		last = m.ID
	}
	packs, err := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*"+packSuffix))
	must(t, err)
	for _, name := range []string{packs[0], filepath.Join(r.Dir(), manifestName(last))} {
		b, err := os.ReadFile(name)
		must(t, err)
		b[len(b)-50] ^= 1
		must(t, os.WriteFile(name, b, 0o600))
		rec.log(step{op: "damage", name: name, data: b})
	}
	report, err := r.Verify(t.Context(), nil, nil)
	must(t, err)
	done, err := r.Repair(t.Context(), report.Damage, nil)
	must(t, err)
	if len(done) != 2 || done[0].Kept == 0 || done[0].Kept != done[0].Chunks || !done[1].Rewritten {
		t.Fatalf("got %+v", done)
	}
	return rec.steps
}

// mended reports whether a repository, after another repair, holds what was
// acknowledged.
func mended(dir string, acknowledged []checkpoint.ID) error {
	ctx := context.Background()
	r, err := Open(dir)
	if err != nil {
		return err
	}
	report, err := r.Verify(ctx, nil, nil)
	if err == nil {
		_, err = r.Repair(ctx, report.Damage, nil)
	}
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return sound(dir, acknowledged)
}

// cutRepair lets the power fail after every step of a repair. What was damaged
// must not be lost either.
func cutRepair(t *testing.T, root string, steps []step) (cases int, loss error) {
	t.Helper()
	if cases, loss = cutWith(t, root, steps, mended); loss != nil {
		return cases, loss
	}
	m := &model{names: map[string]*inode{}, safe: map[string]*inode{}}
	var damaged [][]byte
	for _, s := range steps {
		if s.op == "damage" {
			damaged = append(damaged, s.data)
		}
		m.do(s)
		for _, names := range m.survivors() {
			for i, bad := range damaged {
				there := slices.ContainsFunc(slices.Collect(maps.Values(names)), func(n *inode) bool {
					return n != nil && bytes.Equal(n.data[:n.safe], bad)
				})
				if !there {
					return cases, fmt.Errorf("after %s: damaged file %d is gone", s, i+1)
				}
			}
		}
	}
	return cases, nil
}

func TestNoPowerCutInARepairLosesACheckpoint(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	steps := recordRepair(t, root, func(r *recorder) disk { return r })
	cases, loss := cutRepair(t, root, steps)
	t.Logf("%d steps, %d disks after a cut", len(steps), cases)
	must(t, loss)
}

// The variants below each leave one thing out, in the repair only.

func (r *recorder) repairing() bool {
	return slices.ContainsFunc(r.steps, func(s step) bool { return s.op == "damage" })
}

// inRepair is healthy until the repair, and then another disk.
type inRepair struct {
	*recorder
	disk func(*recorder) disk
}

func (d inRepair) now() disk {
	if d.repairing() {
		return d.disk(d.recorder)
	}
	return d.recorder
}

func (d inRepair) create(name string) (file, error) { return d.now().create(name) }
func (d inRepair) rename(from, to string) error     { return d.now().rename(from, to) }
func (d inRepair) remove(name string) error         { return d.now().remove(name) }
func (d inRepair) syncDir(dir string) error         { return d.now().syncDir(dir) }

// removedFirst removes the damaged pack before the new one has its name. What is
// done late is done at once and logged late.
type removedFirst struct {
	*recorder
	late *[][2]string
}

func (d removedFirst) rename(from, to string) error {
	if filepath.Base(filepath.Dir(to)) != dirPacks {
		return d.recorder.rename(from, to)
	}
	*d.late = append(*d.late, [2]string{from, to})
	return d.system.rename(from, to)
}

func (d removedFirst) remove(name string) error {
	if err := d.recorder.remove(name); err != nil {
		return err
	}
	for _, late := range *d.late {
		d.log(step{op: "rename", name: late[0], to: late[1]})
	}
	*d.late = nil
	return nil
}

// manifestRemoved removes a manifest before it is written anew.
type manifestRemoved struct{ *recorder }

func (d manifestRemoved) rename(from, to string) error {
	if filepath.Base(filepath.Dir(to)) == dirCheckpoints {
		if err := d.remove(to); err != nil {
			return err
		}
	}
	return d.recorder.rename(from, to)
}

// unsyncedQuarantine does not make the copies durable.
type unsyncedQuarantine struct{ *recorder }

func (d unsyncedQuarantine) syncDir(dir string) error {
	if filepath.Base(dir) == dirQuarantine {
		return nil
	}
	return d.recorder.syncDir(dir)
}

func TestAPowerCutFindsEveryMissingStepOfARepair(t *testing.T) {
	t.Parallel()
	late := new([][2]string)
	variants := map[string]func(*recorder) disk{
		"the new files are unsynced":         func(r *recorder) disk { return noFileSync{r} },
		"the new pack's name is unsynced":    func(r *recorder) disk { return noPackDirSync{r} },
		"the old pack goes before":           func(r *recorder) disk { return removedFirst{r, late} },
		"the manifest is taken away at once": func(r *recorder) disk { return manifestRemoved{r} },
		"quarantine is unsynced":             func(r *recorder) disk { return unsyncedQuarantine{r} },
	}
	for name, vary := range variants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			cases, loss := cutRepair(t, root, recordRepair(t, root, func(r *recorder) disk { return inRepair{r, vary} }))
			if loss == nil {
				t.Fatalf("%d disks after a cut, and not found", cases)
			}
			t.Logf("found on disk %d, %v", cases, loss)
		})
	}
}

// TestAFailingDiskFailsOneRepairOnly lets every step of a repair in turn fail: it
// says so, nothing is lost, and the next repair finishes the work.
func TestAFailingDiskFailsOneRepairOnly(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"create", "write", "sync", "rename", "syncdir", "remove"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			for k := 0; failRepairAt(t, op, k); k++ {
				if k > 100 {
					t.Fatal("it never ends")
				}
			}
		})
	}
}

func failRepairAt(t *testing.T, op string, k int) bool {
	t.Helper()
	r := openTemp(t)
	m := save(t, r, 1, noise(1, 100_000))
	_, pack := breakPacks(t, r.Dir(), -100)
	bad, err := os.ReadFile(pack)
	must(t, err)
	name := filepath.Join(r.Dir(), manifestName(m.ID))
	b, err := os.ReadFile(name)
	must(t, err)
	b[len(b)-1] ^= 1
	must(t, os.WriteFile(name, b, 0o600))
	left := k
	broken, err := open(r.Dir(), failingPrune{failing{op: op, left: &left, err: syscall.EIO}})
	must(t, err)
	report, err := broken.Verify(t.Context(), nil, nil)
	must(t, err)
	_, err = broken.Repair(t.Context(), report.Damage, nil)
	failed := left < 0
	if failed != (err != nil) {
		t.Errorf("%s %d: failed %v, got %v", op, k, failed, err)
	}
	must(t, mended(r.Dir(), []checkpoint.ID{m.ID}))
	kept, err := filepath.Glob(filepath.Join(r.Dir(), dirQuarantine, "*-"+filepath.Base(pack)))
	must(t, err)
	if len(kept) != 1 {
		t.Fatalf("%s %d: in quarantine are %q", op, k, kept)
	}
	if got, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(got, bad) {
		t.Errorf("%s %d: in quarantine is something else, %v", op, k, err)
	}
	return failed
}
