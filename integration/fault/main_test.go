// Package fault breaks the built program in every way that a machine can break
// it, and proves that no acknowledged checkpoint is ever lost and no repository
// becomes unreadable:
//
//	kills    kill -9 at any moment of every command and of the agent
//	calls    any system call of a commit, a prune or an import fails, is done in part, or is the last
//	space    full disks, no inodes left, disks that turn read-only
//	flips    a bit turned over in any region of any file
//	cuts     the power goes at any system call (ext4, journal not flushed)
//	clock    the clock goes back
//	broken   the program with one of its precautions taken away: what the others prove,
//	         they prove only because each of these is found
//
// The program is the one that users run, static and without the race detector, on a
// session of real databases. What it says and leaves is judged by others: FORMAT.md,
// zstd, sha256 and sqlite3 (judge), never by the code under test.
//
// A checkpoint is acknowledged when its id stood on standard output, or when an agent
// answered so.
//
// System calls are caught by seccomp's user notification (trap), not by strace:
// strace counts the calls of each thread apart, and Go moves its work between
// threads, so that the k-th call is another one each time, or none.
//
// Everything happens in namespaces of its own, on a tmpfs: mounts, loop devices,
// processes and files go with the test, however it ends.
package fault

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// How much is done: a sample by default, and more at night.
var (
	kills  = flag.Int("fault-kills", 100, "how many processes to kill")
	cuts   = flag.Int("fault-cuts", 25, "how often the power goes")
	points = flag.Int("fault-points", 60, "how many faults to put into system calls; 0 is all")
	flips  = flag.Int("fault-flips", 100, "how many bits to turn over")
	spaces = flag.Int("fault-space", 1, "at how many calls each shortage of a disk begins")
	report = flag.String("fault-summary", "../../fault-out/summary.json", "where to write the summary")
)

// seedVar gives the seed of what is drawn; without it, it is a fresh one.
const seedVar = "HELIX_CKPT_TEST_SEED"

var seed uint64

// program is the path of the built binary.
var program string

// insideVar says that the process is in its namespaces already.
const insideVar = "HELIX_CKPT_FAULT_INSIDE"

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(insideVar) == "" {
		fatal(enter())
	}
	work, err := setUp()
	if err != nil {
		fatal(err)
	}
	fmt.Printf("seed: %s=%d\n", seedVar, seed)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := sum.write(*report); err != nil {
			fmt.Fprintln(os.Stderr, "fault:", err)
			code = 1
		}
		syscall.Unmount(work, syscall.MNT_DETACH) //nolint:errcheck // goes with the namespace
		os.Remove(work)                           // now empty
		os.Exit(code)
	}))
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "fault:", err)
	os.Exit(1)
}

// enter becomes the same program in namespaces of its own. It returns only when
// that is impossible.
func enter() error {
	args := []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Geteuid() != 0 {
		args = append(args, "--map-root-user")
	}
	unshare, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("%w: it is in the package util-linux", err)
	}
	if out, err := exec.Command(unshare, append(args[1:], "true")...).CombinedOutput(); err != nil {
		return fmt.Errorf("namespaces for mounts and processes are needed: run as root, or allow users their own: %w: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(unshare, append(append(args, self), os.Args[1:]...), append(os.Environ(), insideVar+"=1"))
}

// setUp makes the directory that everything is in, builds the program, draws the
// seed and makes the session that most cases begin with.
func setUp() (work string, err error) {
	if work, err = os.MkdirTemp("", "fault-"); err != nil {
		return "", err
	}
	if err := syscall.Mount("tmpfs", work, "tmpfs", 0, "mode=0700"); err != nil {
		return "", fmt.Errorf("mount a tmpfs: %w", err)
	}
	// Not every user's PATH has what root needs.
	for name, value := range map[string]string{"TMPDIR": work, "PATH": os.Getenv("PATH") + ":/usr/sbin:/sbin"} {
		if err := os.Setenv(name, value); err != nil {
			return "", err
		}
	}
	program = filepath.Join(work, "helix-ckpt")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "../../cmd/helix-ckpt")
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	if seed = rand.Uint64(); os.Getenv(seedVar) != "" {
		if seed, err = strconv.ParseUint(os.Getenv(seedVar), 10, 64); err != nil {
			return "", fmt.Errorf("%s: %w", seedVar, err)
		}
	}
	sum.Seed = seed
	template, err = newTemplate(filepath.Join(work, "template"), 36)
	return work, err
}

// draw returns the random numbers of one test.
func draw(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// sum is what the whole run found.
var sum = summary{Kinds: map[string]*tally{}}

func (s *summary) write(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	fmt.Printf("fault summary: %s\n", b)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return s.check()
}
