package fault

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onSmallDisk is a session whose repository is alone on a disk of 24 MiB.
func onSmallDisk(t *testing.T) (s *session, disk string) {
	t.Helper()
	s = start(t, 600)
	disk = ram("size=24m")(t)
	must(t, tool("cp", "-a", s.repo, disk))
	s.repo = filepath.Join(disk, ".helix")
	return s, disk
}

// freeOn returns how many bytes are free.
func freeOn(t *testing.T, disk string) int64 {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(disk, &st))
	return int64(st.Bavail) * st.Bsize
}

const keepFree = 8 << 20

// refused runs a checkpoint, for which there must be too little space.
func refused(t *testing.T, s *session, args ...string) {
	t.Helper()
	r, err := s.run(nil, append([]string{"checkpoint", "-q"}, args...)...)
	must(t, err)
	if r.code != 1 || !strings.Contains(r.stderr, "MiB are free in "+s.repo) || !strings.Contains(r.stderr, "MiB are needed") || !strings.Contains(r.stderr, "free some space") {
		t.Errorf("not refused: %s", r)
	}
}

// TestLimitsKeepSpaceFree: a nearly full disk stops new checkpoints before it stops
// the user; nothing is lost, and when there is space again it goes on.
func TestLimitsKeepSpaceFree(t *testing.T) {
	t.Parallel()
	s, disk := onSmallDisk(t)
	var f findings
	must(t, s.forgetDropped())
	// More than there is room for, since it does not compress: it is found out on
	// the way, and what was written goes again.
	big := filepath.Join(filepath.Dir(s.talk()), "big.jsonl")
	must(t, os.WriteFile(big, []byte(fmt.Sprintf("{%q:1}\n", noise(s.rnd, 30<<20))), 0o600))
	before := freeOn(t, disk)
	refused(t, s, "--keep-free=8M")
	if now := freeOn(t, disk); now < before-64<<10 {
		t.Errorf("%d bytes were free, %d are after a checkpoint that was refused", before, now)
	}
	must(t, os.Remove(big))

	must(t, fill(keepFree-1<<20)(disk))
	must(t, s.change())
	before = freeOn(t, disk)
	refused(t, s, "--keep-free=8M")
	if now := freeOn(t, disk); now < before {
		t.Errorf("%d bytes were free, %d are after a checkpoint that was refused", before, now)
	}
	s.examine(&f)
	must(t, unfill(disk))
	s.goesOn(&f)
	f.report(t, "by hand")
}

// TestLimitsOfAnAgent: it says so in its status, and captures again by itself.
func TestLimitsOfAnAgent(t *testing.T) {
	t.Parallel()
	s, disk := onSmallDisk(t)
	var f findings
	must(t, s.forgetDropped())
	must(t, fill(keepFree-1<<20)(disk))
	must(t, s.change())
	cmd := s.command("run", "--interval=200ms", "--quiet=10h", "--keep-free=8M")
	must(t, cmd.Start())
	defer func() {
		must(t, cmd.Process.Signal(unix.SIGTERM))
		cmd.Wait() //nolint:errcheck // however it ended
	}()
	status := func(want string, is func(agentStatus) bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // it gives no event
			out, err := s.ask("status", "-o", "json", "-q")
			var now agentStatus
			if err == nil && json.Unmarshal([]byte(out), &now) == nil && is(now) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("not %s: %s %v", want, out, err)
			}
		}
	}
	status("out of space", func(now agentStatus) bool {
		return now.State == "running" && now.Unsaved > 0 && strings.Contains(strings.Join(now.Problems, " "), "MiB are free in")
	})
	refused(t, s)
	must(t, unfill(disk))
	files, err := s.files()
	must(t, err)
	var latest string
	status("saved", func(now agentStatus) bool {
		latest = now.Latest
		return now.Unsaved == 0 && len(now.Problems) == 0 && s.acked[latest] == nil
	})
	s.ack(latest, files)
	s.examine(&f)
	f.report(t, "by an agent")
}

type agentStatus struct {
	State    string   `json:"state"`
	Latest   string   `json:"latest"`
	Unsaved  float64  `json:"unsaved_seconds"`
	Problems []string `json:"problems"`
}

// TestLimitsOfSize: above it the oldest go, but the pinned one.
func TestLimitsOfSize(t *testing.T) {
	t.Parallel()
	s, _ := onSmallDisk(t)
	oldest := s.order[0]
	must(t, s.pin(oldest))
	size := s.size(t)
	most := size / 4 * 3
	args := []string{"prune", "-o", "json", "-q", fmt.Sprintf("--max-size=%d", most)}
	var dry, done struct{ Deleted []string }
	out, err := s.ask(append(args, "--dry-run")...)
	must(t, err)
	must(t, json.Unmarshal([]byte(out), &dry))
	out, err = s.ask(args...)
	must(t, err)
	must(t, json.Unmarshal([]byte(out), &done))
	s.forget(done.Deleted...)
	now := s.size(t)
	t.Logf("%d bytes, at most %d: %d checkpoints were deleted, %d are left, of %d bytes", size, most, len(done.Deleted), len(s.order), now)
	if fmt.Sprint(dry) != fmt.Sprint(done) || now > most || now < most/2 {
		t.Errorf("%d bytes are left of at most %d; the dry run says %v, deleted were %v", now, most, dry, done)
	}
	// From the oldest on, and no more than needed.
	if kept := s.order[1:]; s.order[0] != oldest || len(kept) < 2 || done.Deleted[0] >= kept[0] {
		t.Errorf("kept were %v", s.order)
	}
	var f findings
	s.examine(&f)
	s.goesOn(&f)
	f.report(t, "max-size")
}

// size is what manifests and packs take.
func (s *session) size(t *testing.T) int64 {
	t.Helper()
	total := int64(0)
	for _, dir := range []string{"checkpoints", "packs"} {
		entries, err := os.ReadDir(filepath.Join(s.dir(), dir))
		must(t, err)
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			total += info.Size()
		}
	}
	return total
}

// forgetDropped notes what the next prune deletes by rule.
func (s *session) forgetDropped() error {
	gone, err := s.drops()
	s.forget(gone...)
	return err
}

func (s *session) pin(id string) error {
	s.pinned[id] = true
	return s.do("pin", id)
}

// noise is hexadecimal digits that compress to half.
func noise(rnd *rand.Rand, n int) string {
	b := make([]byte, n/2)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return fmt.Sprintf("%x", b)
}
