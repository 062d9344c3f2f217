package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/helixml/helix-ckpt/checkpoint/session"
	"github.com/helixml/helix-ckpt/integration/desktop"
)

// commands are what scripts can do beyond testscript's own:
//
//	exit CODE PROGRAM ARGS…  runs it; it must end with CODE
//	json FILTER              the last output is one JSON document for which jq says true
//	let NAME FILTER          sets $NAME to what jq makes of the last output
//	until PROGRAM ARGS…      runs it again and again until it succeeds
//	await FILTER             until jq says true of helix-ckpt status -o json
//	zed-files                puts Zed's databases, as Zed 1.9.0 wrote them, into its places
//	damage FILE…             turns over one bit in the middle of each
//	damage-part PART PACK    turns over one bit in the middle of a part of it: header,
//	                         frame, last-frame, table or trailer
//	upload FILE BYTES        sends the agent so much of an archive, from where it wants it, ends, and prints what it said
//	download OFFSET FILE     appends to FILE what the agent exports of the latest from there
//	lock                     holds the session's lock, as another helix-ckpt would
//	desktop                  starts a real Sway; its environment becomes the script's
//	window NAME              opens a foot window in it
//	swaymsg COMMANDS         runs them in it
//	tree FILE                writes what swaymsg shows of it, in words for people
//	windows N                waits until it shows N windows, whoever opened them
//	kill-sway, start-sway    ends it without warning, and starts another one
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]func(*testscript.TestScript, bool, []string){}
	for name, c := range map[string]struct {
		args int // at least
		do   func(*testscript.TestScript, []string)
	}{
		"exit": {2, exit}, "json": {1, isJSON}, "let": {2, let}, "until": {1, until}, "await": {1, await},
		"zed-files": {0, zedFiles}, "damage": {1, damage}, "damage-part": {2, damagePart}, "lock": {0, lock},
		"upload": {2, upload}, "download": {2, download},
		"desktop": {0, startDesktop}, "window": {1, window}, "swaymsg": {1, swaymsg}, "tree": {1, tree},
		"windows": {1, windows}, "kill-sway": {0, killSway}, "start-sway": {0, startSway},
	} {
		all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < c.args {
				ts.Fatalf("%s: want %d arguments or more, and no negation", name, c.args)
			}
			c.do(ts, args)
		}
	}
	return all
}

func exit(ts *testscript.TestScript, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// jq runs the real jq over the last output. Of the script's environment it gets
// what the filter, its last argument, names.
func jq(ts *testscript.TestScript, args ...string) (string, error) {
	cmd := exec.Command("jq", args...)
	for _, used := range regexp.MustCompile(`env\.(\w+)`).FindAllStringSubmatch(args[len(args)-1], -1) {
		cmd.Env = append(cmd.Env, used[1]+"="+ts.Getenv(used[1]))
	}
	cmd.Stdin = strings.NewReader(ts.ReadFile("stdout"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && stderr.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

func isJSON(ts *testscript.TestScript, args []string) {
	// Slurped: a second document, or anything around the first, fails.
	if out, err := jq(ts, "--slurp", "--exit-status", "if length == 1 then .[0] else error(\"\\(length) documents\") end | "+args[0]); err != nil {
		ts.Fatalf("jq %s: %s %v", args[0], out, err)
	}
}

func let(ts *testscript.TestScript, args []string) {
	out, err := jq(ts, "--raw-output", "--exit-status", args[1])
	if err != nil {
		ts.Fatalf("jq %s: %s %v", args[1], out, err)
	}
	ts.Setenv(args[0], out)
}

const (
	// patience bounds every wait for another process: what takes 0.1 s on an
	// idle machine takes many times that on a loaded one with the race detector.
	patience = time.Minute
	// pollEvery is how often something that gives no event is looked at.
	pollEvery = 100 * time.Millisecond
)

func until(ts *testscript.TestScript, args []string) {
	for deadline := time.Now().Add(patience); ts.Exec(args[0], args[1:]...) != nil; time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			ts.Fatalf("it did not succeed within %v", patience)
		}
	}
}

func await(ts *testscript.TestScript, args []string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(pollEvery) {
		err := ts.Exec("helix-ckpt", "status", "-o", "json")
		if err == nil {
			if _, err = jq(ts, "--exit-status", args[0]); err == nil {
				return
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("it did not come true within %v: %v", patience, err)
		}
	}
}

func zedFiles(ts *testscript.TestScript, _ []string) {
	data := filepath.Join(ts.Getenv("HOME"), ".local/share/zed")
	for from, to := range map[string]string{"db.sqlite": "db/0-dev/db.sqlite", "threads.db": "threads/threads.db"} {
		b, err := os.ReadFile(filepath.Join("../../checkpoint/zed/testdata", from))
		ts.Check(err)
		to = filepath.Join(data, to)
		ts.Check(os.MkdirAll(filepath.Dir(to), 0o700))
		ts.Check(os.WriteFile(to, b, 0o600))
		// A desktop's home is not in $WORK.
		if os.Getuid() == 0 {
			ts.Check(exec.Command("chown", "-R", fmt.Sprintf("%d:%d", nobody, nobody), filepath.Join(ts.Getenv("HOME"), ".local")).Run())
		}
	}
}

func damage(ts *testscript.TestScript, args []string) {
	flip(ts, args, func(b []byte) int { return len(b) / 2 })
}

// damagePart finds the parts of packs as FORMAT.md says.
func damagePart(ts *testscript.TestScript, args []string) {
	flip(ts, args[1:], func(b []byte) int {
		const header, trailer = 27, 71
		u32 := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
		// A table that is damaged already is left so.
		table := int(binary.LittleEndian.Uint64(b[len(b)-63:]))
		if table > len(b)-trailer || u32(table+8) > len(b) {
			return len(b) / 2
		}
		last := header
		for i := range u32(table+8) - 1 {
			last += u32(table + 16 + 8*i)
		}
		part, ok := map[string][2]int{
			"header": {0, header}, "frame": {header, header + u32(table+16)}, "last-frame": {last, table},
			"table": {table, len(b) - trailer}, "trailer": {len(b) - trailer, len(b)},
		}[args[0]]
		if !ok {
			ts.Fatalf("damage-part %s: no such part", args[0])
		}
		return (part[0] + part[1]) / 2
	})
}

// flip turns over one bit of the byte at an offset in each file.
func flip(ts *testscript.TestScript, patterns []string, at func(b []byte) int) {
	for _, pattern := range patterns {
		files, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if len(files) == 0 {
			ts.Fatalf("%s: no such file", pattern)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			ts.Check(err)
			b[at(b)] ^= 1
			ts.Check(os.WriteFile(file, b, 0))
		}
	}
}

func lock(ts *testscript.TestScript, _ []string) {
	l, err := session.Acquire(ts.Getenv("SESSION"), session.Owner{Command: "import"})
	ts.Check(err)
	ts.Defer(func() { ts.Check(l.Release()) })
	ts.Setenv("HOLDER", strconv.Itoa(os.Getpid()))
}

// desk is the script's desktop.
type desk struct{ *desktop.Desktop }

type deskKey struct{}

func deskOf(ts *testscript.TestScript) *desk { return ts.Value(deskKey{}).(*desk) }

func startDesktop(ts *testscript.TestScript, _ []string) {
	d := desktop.Start(scriptTB{ts}, desktop.Options{})
	*deskOf(ts) = desk{d}
	useDesktop(ts, d)
	ts.Setenv("WORKSPACE_DIR", d.Dir("work"))
	ts.Setenv("SESSION", filepath.Join(d.Dir("work"), ".helix/sessions/default"))
}

func useDesktop(ts *testscript.TestScript, d *desktop.Desktop) {
	for _, variable := range d.Env() {
		if name, value, _ := strings.Cut(variable, "="); name != "PATH" {
			ts.Setenv(name, value)
		}
	}
}

func window(ts *testscript.TestScript, args []string) {
	deskOf(ts).Foot(args[0], "title of "+args[0], "")
}

func swaymsg(ts *testscript.TestScript, args []string) {
	deskOf(ts).Swaymsg(strings.Join(args, " "))
}

func tree(ts *testscript.TestScript, args []string) {
	text, err := desktop.Normalise(deskOf(ts).Settled())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func windows(ts *testscript.TestScript, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	deskOf(ts).WaitWindows(n)
}

func killSway(ts *testscript.TestScript, _ []string) { deskOf(ts).Kill9() }

func startSway(ts *testscript.TestScript, _ []string) {
	deskOf(ts).Restart()
	useDesktop(ts, deskOf(ts).Desktop)
}

// scriptTB lets a script own a desktop.
type scriptTB struct{ ts *testscript.TestScript }

func (t scriptTB) Helper()                           {}
func (t scriptTB) Logf(format string, args ...any)   { t.ts.Logf(format, args...) }
func (t scriptTB) Fatalf(format string, args ...any) { t.ts.Fatalf(format, args...) }
func (t scriptTB) Cleanup(f func())                  { t.ts.Defer(f) }
