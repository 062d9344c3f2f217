package fault

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a disk with ext4 whose power can go.
type disk struct{ image, dir string }

// newDisk makes one and mounts it.
func newDisk(t *testing.T) *disk {
	t.Helper()
	dir := temp(t)
	d := &disk{filepath.Join(dir, "image"), filepath.Join(dir, "disk")}
	must(t, os.Mkdir(d.dir, 0o700))
	must(t, os.WriteFile(d.image, nil, 0o600))
	must(t, os.Truncate(d.image, 96<<20))
	must(t, tool("mkfs.ext4", "-q", d.image))
	must(t, d.mount())
	t.Cleanup(func() { must(t, unmount(d.dir)) })
	return d
}

func (d *disk) mount() error {
	if err := tool("mount", "-o", "loop", d.image, d.dir); err != nil {
		return fmt.Errorf("power cuts need a loop device and ext4, so real root: %w", err)
	}
	return nil
}

func tool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// cut is a power cut: what has not reached the disk never will (ext4's own
// shutdown, with its journal not flushed). Every call fails from then on.
func (d *disk) cut() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	const ext4Shutdown, noLogFlush = 0x8004587d, 2
	return unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, noLogFlush)
}

// powerUp is the machine coming back: the journal is replayed, and nothing is
// known any more of what was in memory.
func (d *disk) powerUp() error {
	if err := unmount(d.dir); err != nil {
		return err
	}
	return d.mount()
}

// unmount waits for those that only just let go: a child of another test has all
// open files for a moment, between fork and exec.
func unmount(dir string) error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // it gives no event
		err := unix.Unmount(dir, 0)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
}

// changes reports whether a call changes files, or the order in which changes are
// made.
func (c call) changes() bool {
	switch c.name {
	case "openat":
		return c.flag&(unix.O_CREAT|unix.O_TRUNC) != 0
	case "read", "pread", "lock", "clock":
		return false
	}
	return true
}

// below reports whether a call is about what is in dir.
func (c call) below(dir string) bool { return c.path == dir || strings.HasPrefix(c.path, dir+"/") }

// TestPowerCuts takes the power away at any call with which a checkpoint, a prune,
// a delete or a running agent changes the disk, or right after it was acknowledged,
// again and again on one session.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	c := newCutter(t, 200)
	ways := []string{"checkpoint", "prune", "run", "checkpoint", "delete"}
	for n := range *cuts {
		var f findings
		way := ways[n%len(ways)]
		at, err := c.one(way, &f)
		must(t, err)
		sum.count("cuts", way, f)
		f.report(t, "cut %d, of %s at %s", n, way, at)
	}
	sum.acknowledged("cuts", c.total)
}

// cutter is a session whose repository is on a disk that loses its power.
type cutter struct {
	*killer
	disk  *disk
	calls map[string]int // that change something, of each way to end
}

func newCutter(t *testing.T, stream uint64) *cutter {
	t.Helper()
	s := start(t, stream)
	d := newDisk(t)
	must(t, tool("cp", "-a", s.repo, d.dir))
	must(t, tool("sync"))
	s.repo = filepath.Join(d.dir, ".helix")
	return &cutter{&killer{session: s}, d, map[string]int{}}
}

// one does something and takes the power away. It returns at which call.
func (c *cutter) one(way string, f *findings) (string, error) {
	for range c.rnd.IntN(3) { // acknowledged, and not forced to the disk by anything else
		if err := done(c.take(nil)); err != nil {
			return "", err
		}
	}
	where, n := "its end", 0
	var cutErr error
	last := c.rnd.IntN(c.calls[way] + 1)
	cut := &fate{calls: func(now call) verdict {
		if !now.below(c.repo) || !now.changes() {
			return verdict{}
		}
		if n++; n == last {
			where = fmt.Sprintf("call %d, %s %s", n, now.name, strings.TrimPrefix(now.path, c.repo))
			cutErr = c.disk.cut()
		}
		return verdict{}
	}}
	r, err := deeds[way](c.killer, cut, f)
	if err == nil && n < last || last == 0 {
		c.calls[way] = n
		cutErr = c.disk.cut()
	} else if r.code == 0 && r.acknowledged() == "" {
		f.add(fmt.Errorf("it says nothing: %s", r))
	}
	if err := errors.Join(err, cutErr, c.disk.powerUp()); err != nil {
		return where, err
	}
	c.examine(f)
	c.goesOn(f)
	return where, nil
}
