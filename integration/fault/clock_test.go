package fault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTheClockGoesBack takes checkpoints and prunes while the clock goes back and
// comes back. The latest is always the one that was taken last, it is what is
// restored, and nothing is deleted because the clock was wrong.
//
// A program reads the time without a system call, in the vDSO. This one is the built
// program with one letter changed in the name by which it looks for that; it then
// asks the kernel, and the trap answers.
func TestTheClockGoesBack(t *testing.T) {
	t.Parallel()
	s := start(t, 600)
	s.program = withoutVDSO(t)
	var f findings
	must(t, s.forgetDropped())
	must(t, s.do("prune", "-q"))
	pinned := s.order[0]
	must(t, s.pin(pinned))
	for n, back := range []time.Duration{0, time.Hour, 30 * 24 * time.Hour, 2 * time.Minute, 0, 10 * 365 * 24 * time.Hour, time.Duration(s.rnd.Int64N(int64(48 * time.Hour)))} {
		now := &fate{calls: func(c call) verdict {
			if c.name != "clock" {
				return verdict{}
			}
			at := time.Now().Add(-back)
			b := binary.LittleEndian.AppendUint64(nil, uint64(at.Unix()))
			return verdict{skip: true, poke: binary.LittleEndian.AppendUint64(b, uint64(at.Nanosecond()))}
		}}
		f = findings{}
		s.wrongTime(now, back, n == 1, &f)
		sum.count("clock", "checkpoint, prune, restore", f)
		f.report(t, "step %d, %v back", n, back)
	}
	sum.acknowledged("clock", s.total)
}

// wrongTime does everything once with a wrong clock. firstBack: nothing but this
// was taken since the last prune, and at the right time.
func (s *session) wrongTime(now *fate, back time.Duration, firstBack bool, f *findings) {
	f.add(done(s.take(now)))
	id := s.order[len(s.order)-1]
	// An id begins with the time: the clock was really wrong.
	stamp, _, _ := strings.Cut(id, "-")
	if made, err := time.Parse("20060102T150405.000Z", stamp); err != nil {
		f.add(err)
	} else if time.Since(made.Add(back)).Abs() > time.Minute {
		f.add(fmt.Errorf("%s was not made %v ago", id, back))
	}
	p, err := s.run(now, "prune", "--dry-run", "-o", "json", "-q")
	f.add(done(p, err))
	gone, err := p.deleted()
	f.add(err)
	if firstBack && len(gone) > 1 {
		f.add(fmt.Errorf("because the clock went back %d are deleted", len(gone)))
	}
	s.forget(gone...)
	f.add(done(s.run(now, "prune", "-q")))
	s.examine(f)
	home := *s
	home.homeDir = s.path("back")
	f.add(errors.Join(os.RemoveAll(home.homeDir), os.Mkdir(home.homeDir, 0o700)))
	f.add(done(home.run(now, "restore", "-q")))
	for path, sum := range s.acked[id] {
		if home.restored(path) != sum {
			f.add(fmt.Errorf("restore brings another %s back than that of the latest", path))
		}
	}
	s.listed(id, f)
}

// withoutVDSO is the program, but that it finds no clock in its own memory.
func withoutVDSO(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(program)
	must(t, err)
	changed := bytes.ReplaceAll(b, []byte("__vdso_clock_gettime"), []byte("__vdso_clock_gettimX"))
	changed = bytes.ReplaceAll(changed, []byte("__kernel_clock_gettime"), []byte("__kernel_clock_gettimX")) // arm64
	if bytes.Equal(b, changed) {
		t.Fatal("the program does not look for a clock")
	}
	path := filepath.Join(temp(t), "helix-ckpt")
	must(t, os.WriteFile(path, changed, 0o700))
	return path
}
