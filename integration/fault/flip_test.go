package fault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestFlippedBits turns over one bit in every region of every kind of file, in
// turn, where in the region is drawn. Verify finds it, or an import refuses it,
// unless the repository says the same as before; and what is restored has the bytes
// that it had, or it is said that it has not.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	base, all := newFlipped(t)
	rnd := draw(400)
	for n := range *flips {
		r := all[n%len(all)]
		at, bit := r.from+rnd.Int64N(r.to-r.from), byte(1)<<rnd.IntN(8)
		t.Run(fmt.Sprintf("%s/%s@%d.%02x", r.kind, r.name, at, bit), func(t *testing.T) {
			t.Parallel()
			var f findings
			c, err := base.copyTo(temp(t), 0)
			must(t, err)
			must(t, flip(c.path(r.file), at, bit))
			var outcome string
			if r.kind == "archive" {
				outcome = c.importDamaged(t, r.file, &f)
			} else {
				outcome = c.findDamaged(r, &f)
			}
			sum.count("flips", r.kind+" "+outcome, f)
			f.report(t, "%s of %s, bit %02x at %d", r.name, r.file, bit, at)
		})
	}
}

// region is a part of a file, named by what stands there.
type region struct {
	kind, name, file string // the file from the session's root
	from, to         int64
}

// newFlipped makes a session that has a file of every kind, and its regions.
func newFlipped(t *testing.T) (*session, []region) {
	t.Helper()
	s, err := newTemplate(temp(t), 4)
	must(t, err)
	err = s.do("pin", s.order[0])
	must(t, err)
	back := *s
	back.homeDir = temp(t)
	err = back.do("restore", s.order[1], "-q")
	must(t, err)
	a, err := s.startAgent(nil)
	must(t, err)
	must(t, a.cmd.Process.Signal(syscall.SIGTERM))
	must(t, a.wait())
	err = s.do("export", "-f", s.path("archive"))
	must(t, err)
	var all []region
	must(t, filepath.WalkDir(s.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(s.root, path)
		if err != nil || !strings.HasPrefix(name, "ws/.helix") && name != "archive" {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, regions(name, b)...)
		return err
	}))
	// One region of each kind and name after the other, so that few flips meet all.
	rank := map[string]int{}
	ranks := map[region]int{}
	for _, r := range all {
		ranks[r] = rank[r.kind+r.name]
		rank[r.kind+r.name]++
	}
	slices.SortStableFunc(all, func(a, b region) int { return ranks[a] - ranks[b] })
	t.Logf("regions: %v", rank)
	return s, all
}

// regions are those of the file of that name.
func regions(name string, b []byte) []region {
	var all []region
	kind := filepath.Base(name)
	part := func(what string, from, to int) {
		if to > from {
			all = append(all, region{kind, what, name, int64(from), int64(to)})
		}
	}
	end := len(b)
	switch filepath.Base(filepath.Dir(name)) {
	case "packs":
		kind = "pack"
		end -= 71
		table := int(binary.LittleEndian.Uint64(b[end+8:]))
		frames := int(binary.LittleEndian.Uint32(b[table+8:]))
		part("header", 0, 27)
		at := 27
		for i := range frames {
			size := int(binary.LittleEndian.Uint32(b[table+16+8*i:]))
			part("frame's head", at, at+6)
			part("frame", at+6, at+size-4)
			part("frame's checksum", at+size-4, at+size)
			at += size
		}
		part("table's head", table, table+16)
		part("table's frames", table+16, table+16+8*frames)
		part("table's chunks", table+16+8*frames, end)
		part("trailer's place of the table", end, end+20)
		part("trailer's sha256", end+20, end+52)
		part("trailer's format", end+52, len(b))
	case "checkpoints":
		kind = "manifest"
		part("frame", 0, end-72)
		part("seal's head", end-72, end-64)
		part("sha256 of the JSON", end-64, end-32)
		part("sha256 of the frame", end-32, end)
	case "index":
		kind = "index"
		fallthrough
	default:
		part("begin", 0, min(end, 16))
		part("middle", min(end, 16), end-min(end, 16))
		part("end", max(16, end-16), end)
	}
	return all
}

func flip(path string, at int64, bit byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	b[0] ^= bit
	_, writeErr := f.WriteAt(b, at)
	return errors.Join(err, writeErr, f.Close())
}

// findDamaged judges a session in which a bit was flipped.
func (s *session) findDamaged(r region, f *findings) (outcome string) {
	there, bad := s.judge.read(s.dir())
	outcome = "unchanged"
	for _, id := range s.order {
		if there[id] == nil {
			outcome = "found"
		}
	}
	if len(bad) > 0 {
		outcome = "found"
	}
	v, err := s.run(nil, "verify", "--all", "-o", "json", "-q")
	f.add(err)
	switch {
	case outcome == "found" && v.code != 5:
		f.add(fmt.Errorf("verify does not find it: %s", v))
	case outcome == "found" && !strings.Contains(v.stdout, filepath.Base(r.file)):
		f.add(fmt.Errorf("verify does not name the file: %s", v))
	}
	s.restoreDamaged(f)
	if outcome == "unchanged" && s.refuses(r.file, f) {
		return "refused"
	}
	s.goesOn(f)
	// The new one is whole, whatever is damaged beside it.
	there, _ = s.judge.read(s.dir())
	latest := s.order[len(s.order)-1]
	for path, sum := range s.acked[latest] {
		if there[latest][path] != sum {
			f.unreadable = append(f.unreadable, fmt.Errorf("the next checkpoint, %s, is damaged: %s", latest, path))
		}
	}
	return outcome
}

// refuses reports whether nothing is captured any more because a record of the
// session is damaged. It has to say which, and what can be done, and once the
// record is moved away all must be well.
func (s *session) refuses(file string, f *findings) bool {
	r, err := s.take(nil)
	f.add(err)
	if r.code != 5 {
		return false
	}
	if !strings.Contains(r.stderr, s.path(file)) {
		f.add(fmt.Errorf("it does not say which file is damaged: %s", r))
	}
	f.add(os.Remove(s.path(file)))
	s.examine(f)
	s.goesOn(f)
	return true
}

// restoreDamaged restores the latest checkpoint into an empty HOME. With 0 it is
// all there; else each file is that of some checkpoint, or not there, and something
// was said.
func (s *session) restoreDamaged(f *findings) {
	back := *s
	back.homeDir = s.path("back")
	f.add(os.MkdirAll(back.homeDir, 0o700))
	latest := s.order[len(s.order)-1]
	r, err := back.run(nil, "restore")
	f.add(err)
	for path, want := range s.acked[latest] {
		got := back.restored(path)
		switch {
		case got == want:
		case r.code == 0:
			f.unreadable = append(f.unreadable, fmt.Errorf("restored %s silently as %.8s, was %.8s", path, got, want))
		case got != "" && !slices.ContainsFunc(s.order, func(id string) bool { return s.acked[id][path] == got }):
			f.unreadable = append(f.unreadable, fmt.Errorf("restored %s as %.8s, which it never was: %s", path, got, r))
		}
	}
	if r.code != 0 && !strings.Contains(r.stdout+r.stderr, "damaged") {
		f.add(fmt.Errorf("restore does not say what is wrong: %s", r))
	}
}

// importDamaged takes an archive in on a host that has nothing.
func (s *session) importDamaged(t *testing.T, file string, f *findings) (outcome string) {
	t.Helper()
	o := empty(t)
	r, err := o.run(nil, "import", "-f", s.path(file), "-o", "json", "-q")
	f.add(err)
	if r.code == 0 {
		o.ack(r.acknowledged(), s.acked[s.order[len(s.order)-1]])
		o.examine(f)
		return "unchanged"
	}
	if there, bad := o.judge.read(o.dir()); r.code != 5 || len(there)+len(bad) > 0 {
		f.add(fmt.Errorf("%s left %v %v", r, there, bad))
	}
	return "found"
}
