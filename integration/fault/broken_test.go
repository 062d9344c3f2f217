package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBrokenVariantsAreCaught takes one precaution after the other away from the
// program, by what the trap answers to its system calls, and has the same judges
// look: they must find the damage. Each variant has a control, in which all is the
// same but the precaution is there: nothing may be found.
//
// Two precautions cannot be taken away so, and are in crash_test.go and
// prune_crash_test.go of checkpoint/repository: a single directory that is not synced
// (ext4 has one journal, and the next sync of anything makes it durable), and manifests
// that are deleted after packs (the program looks whether they are gone).
func TestBrokenVariantsAreCaught(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name string
		// look does something with the precaution or without, and returns what the
		// judges find.
		look func(t *testing.T, broken bool) findings
	}{
		{"no file is synced", noFileSync},
		{"nothing is synced once the manifest has its name", noDirSync},
		{"the manifest comes before its packs", manifestFirst},
		{"it acknowledges before it commits", earlyWord},
		{"it deletes without the lock", noLock},
		{"a copy is made by cp during a commit", plainCopy},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			f := v.look(t, false)
			f.report(t, "with the precaution")
			sum.count("broken", "control", f)

			found := v.look(t, true)
			var missed findings
			if len(found.lost)+len(found.unreadable) == 0 {
				missed.add(fmt.Errorf("nothing was found: %v", found.wrong))
			}
			missed.report(t, "without the precaution")
			sum.count("broken", v.name, missed)
			t.Logf("found: %d lost, %d unreadable", len(found.lost), len(found.unreadable))
		})
	}
}

func (c call) in(dir string) bool { return filepath.Base(filepath.Dir(c.path)) == dir }

func (c call) creates() bool { return c.name == "openat" && c.flag&unix.O_CREAT != 0 }

// afterCut takes a checkpoint, has the power go as soon as it is acknowledged, and
// looks.
func afterCut(t *testing.T, decide func(call) verdict) (f findings) {
	t.Helper()
	c := newCutter(t, 700)
	must(t, done(c.take(&fate{calls: decide})))
	must(t, errors.Join(c.disk.cut(), c.disk.powerUp()))
	c.examine(&f)
	return f
}

// noFileSync: packs and manifests are not synced before they are named.
func noFileSync(t *testing.T, broken bool) findings {
	return afterCut(t, func(c call) verdict {
		return verdict{skip: broken && c.name == "fsync" && (c.in("packs") || c.in("checkpoints"))}
	})
}

// noDirSync: the names in packs/ and checkpoints/ are not synced, nor is anything
// after them. In the control the rest is not synced either: only the names count.
func noDirSync(t *testing.T, broken bool) findings {
	named := false
	return afterCut(t, func(c call) verdict {
		named = named || c.name == "rename" && c.in("checkpoints")
		names := filepath.Base(c.path) == "packs" || filepath.Base(c.path) == "checkpoints"
		return verdict{skip: c.name == "fsync" && (named || names) && (broken || !names)}
	})
}

// manifestFirst: packs get their names after the manifest that needs them, and the
// program is killed in between.
func manifestFirst(t *testing.T, broken bool) (f findings) {
	s := start(t, 701)
	var late [][2]string
	named := false
	_, err := s.take(&fate{calls: func(c call) verdict {
		switch {
		case named:
			return verdict{kill: true}
		case c.name == "rename" && c.in("packs") && broken:
			late = append(late, [2]string{c.path, c.to})
			return verdict{skip: true}
		case c.name == "rename" && c.in("checkpoints"):
			named = true // when it comes to the next call
		}
		return verdict{}
	}})
	must(t, err)
	s.examine(&f)
	for _, l := range late { // and had it lived, all would be well
		must(t, os.Rename(l[0], l[1]))
	}
	if len(late) > 0 {
		var well findings
		s.examine(&well)
		well.report(t, "with its packs")
	}
	return f
}

// earlyWord: it says that a checkpoint is there when it is about to be, and is
// killed.
func earlyWord(t *testing.T, broken bool) (f findings) {
	s := start(t, 702)
	files, err := s.changed()
	must(t, err)
	named := false
	_, err = s.run(&fate{calls: func(c call) verdict {
		if named {
			return verdict{kill: true}
		}
		if c.name == "rename" && c.in("checkpoints") {
			s.ack(strings.TrimSuffix(filepath.Base(c.to), ".json.zst"), files)
			named = true
			return verdict{kill: broken}
		}
		return verdict{}
	}}, "checkpoint", "-q")
	must(t, err)
	s.examine(&f)
	return f
}

// noLock: a checkpoint is deleted while another process commits one, and both
// believe that they hold the lock. In the control the one that comes second is told
// who holds it.
func noLock(t *testing.T, broken bool) (f findings) {
	s := start(t, 703)
	second := &fate{calls: func(c call) verdict {
		if broken && c.name == "lock" {
			return verdict{skip: true, poke: []byte{unix.F_UNLCK, 0}} // struct flock: nobody holds it
		}
		return verdict{}
	}}
	var r result
	met := false
	must(t, done(s.take(&fate{calls: func(c call) verdict {
		if c.creates() && c.in("checkpoints") && !met { // its packs are there, its manifest is not
			met = true
			var err error
			if r, err = s.run(second, "delete", s.order[0], "--yes", "-q"); err != nil {
				t.Error(err)
			}
		}
		return verdict{}
	}})))
	if want := map[bool]int{true: 0, false: 6}[broken]; r.code != want {
		t.Errorf("want exit %d: %s", want, r)
	}
	if broken {
		s.forget(s.order[0])
	}
	s.examine(&f)
	return f
}

// plainCopy: the repository is copied by cp, packs first, while a checkpoint is
// committed. In the control nothing happens meanwhile.
func plainCopy(t *testing.T, broken bool) (f findings) {
	s := start(t, 704)
	copied, err := s.copyTo(temp(t), 704)
	must(t, err)
	must(t, os.RemoveAll(copied.dir()))
	must(t, os.MkdirAll(copied.dir(), 0o700))
	for _, name := range []string{"packs", "checkpoints", "pins", "session.json"} {
		must(t, tool("cp", "-a", filepath.Join(s.dir(), name), copied.dir()))
		if name == "packs" && broken {
			must(t, done(s.take(nil)))
			copied.ack(s.order[len(s.order)-1], s.acked[s.order[len(s.order)-1]])
		}
	}
	copied.examine(&f)
	return f
}
