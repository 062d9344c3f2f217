package repository

import (
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// kills is how often a committer is killed: 30, or as many as HELIX_CKPT_KILLS
// says (a nightly run).
func kills(t *testing.T) int {
	t.Helper()
	s := os.Getenv("HELIX_CKPT_KILLS")
	if s == "" {
		return 30
	}
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}

// TestKilledAtAnyMoment kills a process that commits, again and again: no
// checkpoint that it acknowledged is lost, and none that is there is damaged.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	var acknowledged []checkpoint.ID
	for range kills(t) {
		cmd := committer(t, r.Dir())
		out := start(t, cmd)
		var last time.Time
		var took time.Duration // by the last commit
		for range 2 + rnd.IntN(2) {
			last = time.Now()
			if !out.Scan() {
				t.Fatalf("the committer ended: %v", out.Err())
			}
			took = time.Since(last)
			acknowledged = append(acknowledged, checkpoint.ID(out.Text()))
		}
		// Any moment of the next commit: there is nothing to wait for.
		time.Sleep(time.Duration(rnd.Float64() * 1.2 * float64(took)))
		must(t, cmd.Process.Kill())
		for out.Scan() { // what it said before it died
			acknowledged = append(acknowledged, checkpoint.ID(out.Text()))
		}
		cmd.Wait() //nolint:errcheck // it was killed
		entries, damage, err := r.List(t.Context())
		must(t, err)
		if lost := missing(acknowledged, entries); len(lost)+len(damage) > 0 {
			t.Fatalf("seed %d: lost %v, damaged %v", seed, lost, damage)
		}
	}
	report, err := r.Verify(t.Context(), nil, nil)
	must(t, err)
	t.Logf("seed %d: %d kills, %d acknowledged, %d there, %d damaged", seed, kills(t), len(acknowledged), report.Checkpoints, len(report.Damage))
	if len(report.Damage) > 0 {
		t.Errorf("damaged: %v", report.Damage)
	}
	save(t, r, 1e6, noise(0, 100)) // and it goes on
}

// TestKilledWhileItPrunes kills a process that deletes all but its last ten
// checkpoints after each, and merges their packs whenever there are enough: what
// it did not say it would delete is there, and what is there is whole.
func TestKilledWhileItPrunes(t *testing.T) {
	t.Parallel()
	r := openTemp(t)
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	promised := map[checkpoint.ID]bool{}
	note := func(line string) {
		if id, dropped := strings.CutPrefix(line, "drop "); dropped {
			delete(promised, checkpoint.ID(id))
		} else {
			promised[checkpoint.ID(line)] = true
		}
	}
	for range kills(t) {
		cmd := committer(t, r.Dir())
		cmd.Env = append(cmd.Env, prunesEnv+"=10")
		out := start(t, cmd)
		var began time.Time
		var took time.Duration // from one acknowledgement to the next
		for acknowledged := 0; acknowledged < 2; {
			if !out.Scan() {
				t.Fatalf("the committer ended: %v", out.Err())
			}
			note(out.Text())
			if !strings.HasPrefix(out.Text(), "drop ") {
				took, began = time.Since(began), time.Now()
				acknowledged++
			}
		}
		// Any moment of the prune and the commit that follow: there is nothing to
		// wait for.
		time.Sleep(time.Duration(rnd.Float64() * 1.2 * float64(took)))
		must(t, cmd.Process.Kill())
		for out.Scan() { // what it said before it died
			note(out.Text())
		}
		cmd.Wait() //nolint:errcheck // it was killed
		if err := sound(r.Dir(), slices.Collect(maps.Keys(promised))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	// What kills left over goes with the next prune.
	entries, _, err := r.List(t.Context())
	must(t, err)
	report, err := r.Prune(t.Context(), nil, PruneOptions{})
	must(t, err)
	packs, err := filepath.Glob(filepath.Join(r.Dir(), dirPacks, "*"))
	must(t, err)
	t.Logf("seed %d: %d kills, %d checkpoints left, %d packs; the last prune deleted %d", seed, kills(t), len(entries), len(packs), report.Packs)
	if len(packs) >= len(entries) { // of 10 small packs, 8 and more are merged
		t.Errorf("%d packs are left for %d checkpoints", len(packs), len(entries))
	}
}

func missing(ids []checkpoint.ID, entries []checkpoint.Entry) []checkpoint.ID {
	return slices.DeleteFunc(slices.Clone(ids), func(id checkpoint.ID) bool {
		return slices.ContainsFunc(entries, func(e checkpoint.Entry) bool { return e.ID == id })
	})
}

// TestTheKernelSeesTheOrder lets strace say in which order a commit syncs and
// renames.
func TestTheKernelSeesTheOrder(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is needed: apt install strace")
	}
	r := openTemp(t)
	log := filepath.Join(t.TempDir(), "log")
	cmd := committer(t, r.Dir())
	cmd.Env = append(cmd.Env, commitsEnv+"=1")
	cmd.Args = append([]string{strace, "-f", "-y", "-s", "300", "-o", log, "-e", "trace=fsync,fdatasync,rename,renameat,renameat2,write"}, cmd.Args...)
	cmd.Path = strace
	out, err := cmd.Output()
	must(t, err)
	id := strings.TrimSpace(string(out))
	b, err := os.ReadFile(log)
	must(t, err)
	dir := regexp.QuoteMeta(r.Dir())
	steps := []string{
		`fsync\(\d+<` + dir + `/packs/\.tmp-\w+>[) ]`, // a space: strace splits a line at a switch of threads
		`rename\w*\(.*/packs/\.tmp-\w+".*/packs/[0-9a-f]{64}\.zst"`,
		`fsync\(\d+<` + dir + `/packs>[) ]`,
		`fsync\(\d+<` + dir + `/checkpoints/\.tmp-\w+>[) ]`,
		`rename\w*\(.*/checkpoints/\.tmp-\w+".*/checkpoints/` + id + `\.json\.zst"`,
		`fsync\(\d+<` + dir + `/checkpoints>[) ]`,
		`write\(1<.*"` + id,
	}
	rest := string(b)
	for _, step := range steps {
		at := regexp.MustCompile(step).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("%s does not come after the steps before it in\n%s", step, firstLines(string(b), 60))
		}
		rest = rest[at[1]:]
	}
}

func firstLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[:min(n, len(lines))], "\n")
}
