package fault

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestKills kills commands, and agents that are asked for checkpoints, at any
// moment, one after the other on one session: what kills leave behind is what the
// next ones find.
func TestKills(t *testing.T) {
	t.Parallel()
	var left atomic.Int64
	left.Store(int64(*kills))
	for chain := range 2 {
		t.Run(fmt.Sprint(chain), func(t *testing.T) {
			t.Parallel()
			k := newKiller(t, uint64(100+chain))
			for left.Add(-1) >= 0 && !t.Failed() {
				k.one(t)
			}
			sum.acknowledged("kills", k.total+k.other.total)
		})
	}
}

// killer is a session whose programs get killed.
type killer struct {
	*session
	// other is the host that archives are imported on.
	other *session
	// took is how long each command took when it was left alone.
	took map[string]time.Duration
	// next are the commands that are yet to be killed in this round.
	next []string
}

func newKiller(t *testing.T, stream uint64) *killer {
	t.Helper()
	return &killer{session: start(t, stream), other: empty(t), took: map[string]time.Duration{}}
}

// deeds are what is done, each by one command.
var deeds = map[string]func(*killer, *fate, *findings) (result, error){
	"checkpoint":       func(k *killer, e *fate, _ *findings) (result, error) { return k.take(e) },
	"checkpoint --pin": func(k *killer, e *fate, _ *findings) (result, error) { return k.take(e, "--pin") },
	"verify":           func(k *killer, e *fate, _ *findings) (result, error) { return k.run(e, "verify", "--all", "-q") },
	"prune":            (*killer).prune,
	"delete":           (*killer).delete,
	"pin":              (*killer).pin,
	"export":           (*killer).export,
	"import":           (*killer).imports,
	"restore":          (*killer).restore,
	"run":              (*killer).agent,
}

// one kills one process: the next command, in an order that is drawn, at a moment
// that is drawn. Where it had ended already, another moment is drawn.
func (k *killer) one(t *testing.T) {
	t.Helper()
	if len(k.next) == 0 {
		k.next = slices.Sorted(maps.Keys(deeds))
		k.rnd.Shuffle(len(k.next), func(i, j int) { k.next[i], k.next[j] = k.next[j], k.next[i] })
	}
	name := k.next[0]
	k.next = k.next[1:]
	for {
		var f findings
		var kill *fate
		var moment time.Duration
		if took := k.took[name]; took > 0 {
			moment = time.Duration(k.rnd.Float64() * float64(took))
			kill = &fate{after: func(p *os.Process) {
				time.Sleep(moment) // any moment: there is nothing to wait for
				p.Kill()           //nolint:errcheck // it may have ended
			}}
		}
		r, err := deeds[name](k, kill, &f)
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, name, err)
		}
		if kill == nil {
			if k.took[name] = r.took; r.code != 0 {
				f.add(errors.New(r.String()))
			}
		}
		k.examine(&f)
		k.goesOn(&f)
		if r.code == -1 || !f.ok() {
			sum.count("kills", name, f)
			f.report(t, "%s, killed after %v: %s", name, moment, r)
			return
		}
	}
}

func (k *killer) prune(e *fate, f *findings) (result, error) {
	gone, err := k.drops()
	if err != nil {
		return result{}, err
	}
	k.forget(gone...)
	r, err := k.run(e, "prune", "-q", "-o", "json")
	if err == nil && r.code == 0 {
		k.absent(f, gone)
	}
	return r, err
}

// absent looks that what was deleted is.
func (k *killer) absent(f *findings, gone []string) {
	there, _ := k.judge.read(k.dir())
	for _, id := range gone {
		if there[id] != nil {
			f.add(fmt.Errorf("%s was deleted, and is there", id))
		}
	}
}

// any is an acknowledged checkpoint, but not the latest.
func (k *killer) any() string { return k.order[k.rnd.IntN(len(k.order)-1)] }

func (k *killer) delete(e *fate, f *findings) (result, error) {
	id := k.any()
	files, pinned := k.acked[id], k.pinned[id]
	k.forget(id)
	r, err := k.run(e, "delete", id, "--yes", "-q")
	switch r.code {
	case 0:
		k.absent(f, []string{id})
	case 6: // protected: it stays
		k.ack(id, files)
		k.pinned[id] = pinned
		r.code = 0
	}
	return r, err
}

func (k *killer) pin(e *fate, _ *findings) (result, error) {
	id := k.any()
	r, err := k.run(e, "pin", id, "-q")
	if r.code == 0 {
		k.pinned[id] = true
	}
	return r, err
}

// export writes an archive: afterwards a whole one is there, or none.
func (k *killer) export(e *fate, f *findings) (result, error) {
	const file = "a.tar.zst"
	id := k.any()
	os.Remove(k.path(file)) // of the time before
	r, err := k.run(e, "export", id, "-q", "-f", file)
	if err != nil {
		return r, err
	}
	got, readErr := os.ReadFile(k.path(file))
	if r.code == 0 {
		f.add(readErr)
	}
	if readErr == nil {
		if err := k.do("export", id, "-q", "-f", "again"); err != nil {
			return r, err
		}
		want, err := os.ReadFile(k.path("again"))
		if err != nil {
			return r, err
		}
		if sha(got) != sha(want) {
			f.add(fmt.Errorf("the archive has %d bytes, want %d", len(got), len(want)))
		}
	}
	return r, nil
}

// imports takes a new checkpoint in elsewhere.
func (k *killer) imports(e *fate, f *findings) (result, error) {
	id := k.order[len(k.order)-1]
	if err := k.do("export", id, "-q", "-f", "sent"); err != nil {
		return result{}, err
	}
	r, err := k.other.run(e, "import", "-f", k.path("sent"), "-o", "json", "-q")
	if err != nil {
		return r, err
	}
	if got := r.acknowledged(); got != "" {
		k.other.ack(got, k.acked[id])
	}
	k.other.examine(f)
	err = k.other.do("import", "-f", k.path("sent"), "-q") // and again, left alone
	k.other.ack(id, k.acked[id])
	k.other.examine(f)
	return r, err
}

// restore brings a checkpoint back into another HOME. Each file is afterwards one
// of those that were there or were to come, and once more makes it whole.
func (k *killer) restore(e *fate, f *findings) (result, error) {
	back := *k.session
	back.homeDir = k.path("back")
	before := k.order[len(k.order)-1]
	if err := errors.Join(os.RemoveAll(back.homeDir), os.Mkdir(back.homeDir, 0o700)); err != nil {
		return result{}, err
	}
	if err := back.do("restore", before, "-q"); err != nil {
		return result{}, err
	}
	id := k.any()
	r, err := back.run(e, "restore", id, "-q")
	if err != nil {
		return r, err
	}
	for path, sum := range k.acked[id] {
		if got := back.restored(path); got != "" && got != sum && got != k.acked[before][path] {
			f.add(fmt.Errorf("%s is neither as before nor as restored", path))
		}
	}
	if r.code == -1 {
		if err := back.do("restore", id, "-q"); err != nil {
			f.add(err)
		}
	}
	for path, sum := range k.acked[id] {
		if got := back.restored(path); got != sum {
			f.add(fmt.Errorf("restored %s is %.8s, want %.8s", path, got, sum))
		}
	}
	return r, nil
}

// agent kills an agent that is asked for checkpoints.
func (k *killer) agent(e *fate, f *findings) (result, error) {
	a, err := k.startAgent(e)
	if err != nil {
		return result{}, err
	}
	files, err := k.changed()
	if err != nil {
		return result{}, errors.Join(err, a.kill())
	}
	// What is asked for while the agent dies is acknowledged or not; it is never
	// both, so whatever is printed counts.
	asked := make(chan result, 1)
	go func() {
		r, _ := k.run(nil, "checkpoint", "-o", "json", "-q", "--request-id", fmt.Sprint(k.n))
		asked <- r
	}()
	if e != nil && e.after != nil {
		e.after(a.cmd.Process)
	}
	r := <-asked
	if err := a.kill(); err != nil {
		return r, err
	}
	if id := r.acknowledged(); id != "" {
		k.ack(id, files)
	} else if e == nil {
		f.add(errors.New(r.String()))
	}
	if e != nil && e.after != nil {
		r.code = -1
	}
	return r, nil
}
