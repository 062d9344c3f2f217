package fault

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoSpace takes space, inodes or the right to write away from a repository, at
// any call of a checkpoint, a prune, an import or a running agent, or before it.
// What it says is clear, nothing is lost, and when the disk is well again all goes
// on.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	scenes := newScenes(t)
	scenes["run"] = &scene{session: start(t, 501), args: scenes["commit"].args}
	rnd := draw(500)
	for _, name := range slices.Sorted(maps.Keys(shortages)) {
		for _, way := range []string{"commit", "prune", "import", "run"} {
			for n := range 1 + *spaces {
				last := 0 // before it begins
				if n > 0 {
					last = 1 + rnd.IntN(40)
				}
				t.Run(fmt.Sprintf("%s/%s@%d", name, way, last), func(t *testing.T) {
					t.Parallel()
					var f findings
					r := suffer(t, name, way, scenes, last, &f)
					sum.count("space", way+", "+name, f)
					f.report(t, "%s, %s from call %d: %s", way, name, last, r)
				})
			}
		}
	}
}

// shortage is something that a disk has no more of.
type shortage struct {
	says string // what a program says that meets it
	// make makes the disk, begin begins the shortage, and end ends it.
	make       func(t *testing.T) (dir string)
	begin, end func(dir string) error
}

var shortages = map[string]shortage{
	"no byte left":   {"no space left on device", ram("size=16m"), fill(0), unfill},
	"few bytes left": {"no space left on device", ram("size=16m"), fill(5 * 4096), unfill},
	"no inode left":  {"no space left on device", ram("nr_inodes=600"), litter(0), unlitter},
	"one inode left": {"no space left on device", ram("nr_inodes=600"), litter(1), unlitter},
	"read-only":      {"read-only file system", ext4, abort, repair},
}

// ram makes a small disk.
func ram(options string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		dir := temp(t)
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
		t.Cleanup(func() { must(t, unmount(dir)) })
		return dir
	}
}

// fill leaves free bytes.
func fill(free int64) func(dir string) error {
	return func(dir string) error {
		f, err := os.Create(filepath.Join(dir, "filler"))
		if err != nil {
			return err
		}
		defer f.Close() // on a tmpfs
		page, size := make([]byte, 4096), int64(0)
		for {
			n, err := f.Write(page)
			if size += int64(n); errors.Is(err, unix.ENOSPC) {
				return f.Truncate(max(0, size-free))
			} else if err != nil {
				return err
			}
		}
	}
}

func unfill(dir string) error { return os.Remove(filepath.Join(dir, "filler")) }

// litter leaves free inodes.
func litter(free int) func(dir string) error {
	return func(dir string) error {
		if err := os.Mkdir(filepath.Join(dir, "litter"), 0o700); err != nil {
			return err
		}
		for n := 0; ; n++ {
			err := os.WriteFile(filepath.Join(dir, "litter", fmt.Sprint(n)), nil, 0o600)
			if errors.Is(err, unix.ENOSPC) {
				for i := range free {
					err = os.Remove(filepath.Join(dir, "litter", fmt.Sprint(n-1-i)))
				}
				if free == 0 {
					err = nil
				}
				return err
			}
			if err != nil {
				return err
			}
		}
	}
}

func unlitter(dir string) error { return os.RemoveAll(filepath.Join(dir, "litter")) }

func ext4(t *testing.T) string {
	t.Helper()
	return newDisk(t).dir
}

// abort is what ext4 does with a disk that fails: it allows no more writing, to
// those neither who have files open.
func abort(dir string) error { return tool("mount", "-o", "remount,abort", dir) }

func repair(dir string) error {
	image := filepath.Join(filepath.Dir(dir), "image")
	if err := unmount(dir); err != nil {
		return err
	}
	return tool("mount", "-o", "loop", image, dir)
}

// suffer lets a shortage begin at a call of one way to use a repository, and judges
// what came of it.
func suffer(t *testing.T, name, way string, scenes map[string]*scene, last int, f *findings) result {
	t.Helper()
	short := shortages[name]
	s := scenes[way].again(t)
	disk := short.make(t)
	must(t, tool("cp", "-a", s.repo, disk))
	must(t, tool("sync", "-f", disk))
	s.repo = filepath.Join(disk, ".helix")
	begin := sync.OnceValue(func() error { return short.begin(disk) })
	n := 0
	at := &fate{calls: func(now call) verdict {
		if now.below(s.repo) && now.changes() {
			if n++; n == last {
				begin() //nolint:errcheck // it says it again below
			}
		}
		return verdict{}
	}}
	var a *agent
	if way == "run" {
		var err error
		a, err = s.startAgent(at)
		must(t, err)
		defer func() { must(t, a.kill()) }()
		s.files, err = s.changed()
		must(t, err)
		at = nil // what asks it is left alone
	}
	if last == 0 {
		f.add(begin())
	}
	before := s.total
	r, err := s.act(at)
	must(t, err)
	if r.code != 0 && (!strings.Contains(r.stderr, short.says) || !strings.Contains(r.stderr, s.repo)) {
		f.add(errors.New("it does not say what failed, and on what"))
	}
	if last == 0 && r.code == 0 && way == "commit" {
		f.add(errors.New("nothing failed"))
	}
	f.add(begin()) // it may have come to its end before
	s.examine(f)
	if a != nil && name == "read-only" {
		must(t, a.kill())
	}
	must(t, short.end(disk))
	f.add(done(s.act(nil)))
	s.examine(f)
	if way != "import" {
		s.goesOn(f)
	}
	sum.acknowledged("space", s.total-before)
	return r
}
