package fault

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSystemCallsFail puts one fault into one system call of a commit, a prune that
// deletes and writes packs anew, and an import: every kind of fault into every call
// that the command makes on the repository, or a sample of these.
func TestSystemCallsFail(t *testing.T) {
	t.Parallel()
	var all []point
	scenes := newScenes(t)
	for name, s := range scenes {
		all = append(all, s.trace(t, name)...)
	}
	for _, p := range sample(all, draw(300)) {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			var f findings
			r := p.befall(t, scenes[p.scene], &f)
			sum.count("calls", p.scene+" "+p.fault, f)
			f.report(t, "%s: %s", p, r)
		})
	}
}

// sample draws -fault-points of all: a fifth of them only read.
func sample(all []point, rnd *rand.Rand) []point {
	slices.SortFunc(all, func(a, b point) int { return strings.Compare(a.String(), b.String()) })
	if *points == 0 {
		return all
	}
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var drawn []point
	reads := 0
	for _, p := range all {
		if len(drawn) == *points {
			break
		}
		if !p.changes {
			if reads*5 >= *points {
				continue
			}
			reads++
		}
		drawn = append(drawn, p)
	}
	return drawn
}

// point is one fault in one call.
type point struct {
	scene, call string
	n           int // of the calls that look the same, from 1
	fault       string
	changes     bool // the call changes something
}

func (p point) String() string { return fmt.Sprintf("%s/%s#%d/%s", p.scene, p.call, p.n, p.fault) }

// faults are what may befall a call.
var faults = map[string]verdict{
	"EIO": {errno: unix.EIO}, "ENOSPC": {errno: unix.ENOSPC}, "EINTR": {errno: unix.EINTR}, "half": {short: true}, "SIGKILL": {kill: true},
}

// possible reports whether a fault can befall a call. What only reads needs no
// space, and a kill there is one at the next call that changes something; only a
// write is done in part; a read that is interrupted says how far it came.
func possible(c call, fault string) bool {
	switch fault {
	case "ENOSPC", "SIGKILL":
		return c.changes()
	case "EINTR":
		return !strings.HasSuffix(c.name, "read")
	case "half":
		return strings.HasSuffix(c.name, "write") && c.size > 1
	}
	return true
}

var (
	tempName = regexp.MustCompile(`\.tmp-([-a-z]+\.json)?[-\w]*`)
	hashName = regexp.MustCompile(`[0-9a-f]{64}`)
	idName   = regexp.MustCompile(`\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{8}`)
)

// look is what a call looks like: the same in each run.
func look(c call, repo string) string {
	path := tempName.ReplaceAllString(strings.TrimPrefix(c.path, repo), ".tmp-$1")
	return c.name + " " + idName.ReplaceAllString(hashName.ReplaceAllString(path, "HASH"), "ID")
}

// scene is a command that faults are put into, and the session that it finds.
type scene struct {
	*session
	args []string
	// files are those of the checkpoint that the command makes; gone are the
	// checkpoints that it deletes.
	files map[string]string
	gone  []string
}

// newScenes makes the sessions. Each case is a copy, so that each makes the same
// calls.
func newScenes(t *testing.T) map[string]*scene {
	t.Helper()
	commit := &scene{session: start(t, 301), args: []string{"checkpoint", "-o", "json"}}
	files, err := commit.changed()
	must(t, err)
	commit.files = files
	must(t, commit.forgetDropped()) // where there is no space, it prunes first

	prune := &scene{session: start(t, 302), args: []string{"prune", "-o", "json"}}
	prune.gone, err = prune.drops()
	must(t, err)
	prune.forget(prune.gone...)

	// An import beside what came the same way before.
	imports := &scene{session: empty(t), args: []string{"import", "-o", "json", "-f", "sent"}}
	for _, id := range template.order[len(template.order)-2:] {
		err := template.do("export", id, "-f", imports.path("sent"))
		must(t, err)
		if imports.files = template.acked[id]; len(imports.acked) == 0 {
			_, err := imports.act(nil)
			must(t, err)
		}
	}
	var f findings
	for _, s := range []*scene{commit, prune, imports} {
		s.examine(&f)
	}
	f.report(t, "before anything was broken")
	return map[string]*scene{"commit": commit, "prune": prune, "import": imports}
}

// act runs the command.
func (s *scene) act(at *fate) (result, error) {
	r, err := s.run(at, s.args...)
	if id := r.acknowledged(); id != "" {
		s.ack(id, s.files)
	}
	return r, err
}

func (s *scene) again(t *testing.T) *scene {
	t.Helper()
	c, err := s.copyTo(temp(t), 0)
	must(t, err)
	return &scene{c, s.args, s.files, s.gone}
}

// trace runs the command without a fault and returns every fault that it can have.
func (s *scene) trace(t *testing.T, name string) []point {
	t.Helper()
	var all []point
	seen := map[string]int{}
	c := s.again(t)
	r, err := c.act(&fate{calls: func(now call) verdict {
		if !now.below(c.repo) {
			return verdict{}
		}
		call := look(now, c.repo)
		seen[call]++
		for fault := range faults {
			if possible(now, fault) {
				all = append(all, point{name, call, seen[call], fault, now.changes()})
			}
		}
		return verdict{}
	}})
	must(t, err)
	var f findings
	c.examine(&f)
	if f.report(t, "%s without a fault: %s", name, r); r.code != 0 {
		t.Fatal(r)
	}
	if name == "prune" && (seen["rename /sessions/default/packs/.tmp-"] == 0 || seen["unlink /sessions/default/packs/HASH.zst"] < 2) {
		t.Fatalf("this prune deletes no pack, or writes none anew: %v", slices.Sorted(maps.Keys(seen)))
	}
	return all
}

// befall runs the command with the fault in it, and judges what came of it: it has
// done what it said, or says what failed, and on what. Then it runs once more.
func (p point) befall(t *testing.T, s *scene, f *findings) result {
	t.Helper()
	c := s.again(t)
	n := 0
	var met *call
	r, err := c.act(&fate{calls: func(now call) verdict {
		if met == nil && now.below(c.repo) && look(now, c.repo) == p.call {
			if n++; n == p.n {
				met = &now
				return faults[p.fault]
			}
		}
		return verdict{}
	}})
	must(t, err)
	switch {
	case met == nil:
		f.add(fmt.Errorf("it never came to this call: %s", r))
	case p.fault == "SIGKILL":
		if r.code != -1 {
			f.add(errors.New("it was not killed"))
		}
	case r.code != 0:
		if err := says(r, *met, faults[p.fault].errno); err != nil {
			f.add(err)
		}
	}
	c.examine(f)
	f.add(done(c.act(nil)))
	there := c.examine(f)
	for _, id := range c.gone {
		if there[id] != nil {
			f.add(fmt.Errorf("%s was deleted, and is there", id))
		}
	}
	sum.acknowledged("calls", c.total)
	return r
}

// says returns an error unless a program that failed has said which error it was,
// and on which file.
func says(r result, c call, errno unix.Errno) error {
	text := r.stderr + r.stdout
	if !strings.Contains(text, errno.Error()) {
		return fmt.Errorf("it does not say %q", errno.Error())
	}
	for _, path := range []string{c.path, c.to} {
		if path != "" && strings.Contains(text, path) {
			return nil
		}
	}
	return fmt.Errorf("it does not name %s", c.path)
}
