package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bench-test-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "helix-ckpt")
	build := exec.Command("go", "build", "-o", program, "../../cmd/helix-ckpt")
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir) // temporary
		os.Exit(code)
	}))
}

// smoke are those that CI installs.
func smoke() []contender {
	return slices.DeleteFunc(choose(contenders(), "helix,tar,rsync,sqlite3"), func(c contender) bool { return c.name == fastest })
}

func TestEverybodyDoesEverything(t *testing.T) {
	c := config{binary: program, dir: t.TempDir(), sizes: []int64{10e6}, short: 2000, rounds: 1, seed: 1, contenders: smoke()}
	r, err := run(t.Context(), c, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.LeftOut) > 0 {
		t.Errorf("left out: %v", r.LeftOut)
	}
	res := r.Results[0]
	if res.Size < 9e6 || res.Size > 12e6 || res.Files != 2000+longFiles+2 {
		t.Errorf("the state has %d bytes in %d files", res.Size, res.Files)
	}
	for _, who := range smoke() {
		for _, op := range operations() {
			samples := res.Samples[who.name][op]
			if doesIt := who.script(op) != "" || op == inAgent && who.ours; !doesIt {
				if len(samples) != 0 {
					t.Errorf("%s has no %s, and has figures for it", who.name, op)
				}
				continue
			}
			if len(samples) != 1 {
				t.Errorf("%s, %s: %d samples", who.name, op, len(samples))
				continue
			}
			s := samples[0]
			// In the agent, 25 calls may cost less than the clock's tick.
			if s.Wall <= 0 || s.CPU <= 0 && op != inAgent || s.RSS < 1<<20 || s.Kept < 1e6 {
				t.Errorf("%s, %s: %+v", who.name, op, s)
			}
		}
	}
	for _, op := range []operation{unchanged, inAgent} {
		if n := res.Samples[helix][op][0].Added; n != 0 {
			t.Errorf("%s: %d bytes added", op, n)
		}
	}
	if n := res.Samples[helix][change][0].Added; n <= 0 {
		t.Errorf("the small change added %d bytes", n)
	}
	reportIsComplete(t, r)
}

func reportIsComplete(t *testing.T, r *report) {
	t.Helper()
	dir := t.TempDir()
	readme := filepath.Join(dir, "README.md")
	if err := os.WriteFile(readme, []byte("before\n"+tableBegins+"old\n"+tableEnds+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.writeInto(readme); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); !strings.HasPrefix(s, "before\n") || !strings.HasSuffix(s, "after\n") || strings.Contains(s, "old") {
		t.Errorf("the file around the table is not what it was:\n%s", s)
	}
	var out strings.Builder
	r.print(&out)
	for _, who := range r.contenders {
		if !strings.Contains(string(text), strings.ReplaceAll(who.name, "|", `\|`)) || strings.Count(out.String(), who.name) < 4 {
			t.Errorf("%s is missing from a table:\n%s\n%s", who.name, text, &out)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "contenders.json"))
	if err != nil {
		t.Fatal(err)
	}
	var read report
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Results) != 1 || len(read.Results[0].Samples) != len(r.contenders) || len(read.Verdicts) != len(r.Verdicts) {
		t.Errorf("not all was saved:\n%s", data)
	}
}

// A contender whose restore is wrong must fail the run; so the figures printed
// are of restores that were right.
func TestWrongRestoreFailsTheRun(t *testing.T) {
	tar := choose(contenders(), tarThree)[0]
	for name, breaks := range map[string]struct{ script, want string }{
		"a byte of a conversation": {`f=$(find "$TO/.claude" -name '*.jsonl' -print -quit); printf XYZ | dd of="$f" bs=1 seek=300 conv=notrunc status=none`, "other content"},
		"a byte of a blob":         {`f="$TO/.local/share/zed/threads/threads.db"; printf XYZ | dd of="$f" bs=1 seek=$(($(stat -c %s "$f") / 2)) conv=notrunc status=none`, "threads.db: "},
		"a letter of a row":        {`sqlite3 "$TO/.local/share/zed/db/0-dev/db.sqlite" "UPDATE bench SET body = 'X' || substr(body, 2) WHERE id = 7"`, "db.sqlite: came back with other rows"},
		"half a database":          {`truncate -s 1M "$TO/.local/share/zed/db/0-dev/db.sqlite"`, "cannot be read by sqlite3"},
		"a file too few":           {`rm "$(find "$TO/.claude" -name '*.jsonl' -print -quit)"`, "did not come back"},
		"a file too many":          {`touch "$TO/extra"`, "extra was not there before"},
		"a mode":                   {`chmod 644 "$(find "$TO/.claude" -name '*.jsonl' -print -quit)"`, "mode"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := tar
			broken.name, broken.restore = "broken", tar.restore+"; "+breaks.script
			c := config{binary: program, dir: t.TempDir(), sizes: []int64{5e6}, short: 40, rounds: 1, seed: 1, contenders: []contender{broken}}
			_, err := run(t.Context(), c, t.Output())
			if err == nil || !strings.Contains(err.Error(), "broken: restore: ") || !strings.Contains(err.Error(), breaks.want) {
				t.Errorf("the run ended with %v, want %q", err, breaks.want)
			}
		})
	}
}

func TestFailingContenderFailsTheRun(t *testing.T) {
	t.Parallel()
	for op, script := range map[operation]contender{
		first:   {save: "echo no disk; false | cat"},
		restore: {save: "echo >$STORE/x", restore: "exit 3"},
		verify:  {save: "echo >$STORE/x", restore: `cp -a . "$TO"`, verify: "exit 3"},
	} {
		script.name = "broken"
		c := config{binary: program, dir: t.TempDir(), sizes: []int64{5e6}, short: 40, rounds: 1, seed: 1, contenders: []contender{script}}
		if _, err := run(t.Context(), c, t.Output()); err == nil || !strings.Contains(err.Error(), "broken: "+string(op)) {
			t.Errorf("%s: the run ended with %v", op, err)
		}
	}
}

func TestMissingProgramIsLeftOutLoudly(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	c := config{dir: t.TempDir(), rounds: 1, contenders: []contender{{name: restic, needs: []string{"no-such-program"}}}}
	r, err := run(context.Background(), c, &said)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "LEFT OUT: restic: no-such-program") || r.LeftOut[restic] == "" {
		t.Errorf("said %q, reported %v", &said, r.LeftOut)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	walls := func(ms ...float64) (s []sample) {
		for _, v := range ms {
			s = append(s, sample{Wall: time.Duration(v * float64(time.Millisecond)), Kept: 1000, RSS: 50e6})
		}
		return s
	}
	r := &report{LeftOut: map[string]string{restic: "restic is not installed"}}
	for _, size := range []int64{10e6, 110e6} {
		r.Results = append(r.Results, result{Size: size, Samples: map[string]map[operation][]sample{
			// Round by round we take 0.5, 2 and 1.1 of the time.
			helix:    {first: walls(50, 200, 110), inAgent: walls(3, float64(size)/10e6, 4)},
			tarThree: {first: walls(100, 100, 100)},
		}})
	}
	r.judge()
	var lines []string
	for _, v := range r.Verdicts {
		lines = append(lines, v.String())
	}
	for _, want := range []string{
		"MISS   110 MB  first, wall, to tar | zstd -3 -T1: 1.10 ×, wanted at most 1.00 ×",
		"PASS   110 MB  first, bytes kept, to tar | zstd -3 -T1: 1.00 ×, wanted at most 1.00 ×",
		"PASS    10 MB  peak RSS of all operations: 50.00 MB, wanted at most 80.00 MB",
		"PASS   110 MB  unchanged in the agent, wall: 4.00 ms, wanted at most 10.00 ms",
		"PASS   110 MB  unchanged in the agent, wall, to the same at 10 MB: 1.33 ×, wanted at most 2.00 ×",
		"NOT MEASURED   110 MB  restore, wall, to restic: restic: restic is not installed",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("missing: %s\nin:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}
