// Package line tests the whole line with the built program: a session that is
// written to is checkpointed by a running agent, what matters is killed, and
// what was acknowledged is restored and judged by others' readers.
package line

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

var (
	lines = flag.Duration("line-for", 30*time.Second, "how long to checkpoint a live writer")
	kills = flag.Int("line-kills", 30, "how many processes to kill")
)

// seedVar gives the seed of random moments; without it, it is a fresh one.
const seedVar = "HELIX_CKPT_TEST_SEED"

var seed uint64

// Built once: the program without the race detector, as users run it, and the
// writer.
var program, writer string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "line-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "helix-ckpt")
	build := exec.Command("go", "build", "-o", program, "../../cmd/helix-ckpt")
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err = build.Run(); err == nil {
		writer, err = zedwriter.Build(context.Background(), dir)
	}
	if err != nil {
		panic(err)
	}
	if seed = rand.Uint64(); os.Getenv(seedVar) != "" {
		if seed, err = strconv.ParseUint(os.Getenv(seedVar), 10, 64); err != nil {
			panic(fmt.Errorf("%s: %w", seedVar, err))
		}
	}
	fmt.Printf("seed: %s=%d\n", seedVar, seed)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir) // temporary
		os.Exit(code)
	}))
}

// patience bounds every wait for a process: far above what a loaded machine
// takes.
const patience = time.Minute

// rig is one session on one host: its directories and environment.
type rig struct {
	t              *testing.T
	home, ws, data string
	env            []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	// Not t.TempDir, whose path can be too long for a socket.
	dir, err := os.MkdirTemp("", "rig-") //nolint:usetesting // its path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // temporary
	r := &rig{t: t, home: filepath.Join(dir, "home"), ws: filepath.Join(dir, "ws")}
	r.data = filepath.Join(r.home, ".local/share/zed")
	run := filepath.Join(dir, "run")
	for _, d := range []string{r.home, r.ws, run} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.home, "WORKSPACE_DIR=" + r.ws, "XDG_RUNTIME_DIR=" + run}
	return r
}

// command is the program in the rig's session.
func (r *rig) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = r.env
	return cmd
}

// try runs the program and returns what it printed and its exit code.
func (r *rig) try(args ...string) (stdout, stderr string, code int) {
	r.t.Helper()
	var out, errOut bytes.Buffer
	cmd := r.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// run runs the program, which must succeed.
func (r *rig) run(args ...string) string {
	r.t.Helper()
	out, errOut, code := r.try(args...)
	if code != 0 {
		r.t.Fatalf("helix-ckpt %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// taken is what checkpoint -o json prints.
type taken struct {
	ID         string            `json:"id"`
	Epoch      uint64            `json:"epoch"`
	Seq        uint64            `json:"seq"`
	NewBytes   int64             `json:"new_bytes"`
	Components map[string]string `json:"components"`
	Confirmed  bool              `json:"confirmed"`
}

// checkpoint takes one. In part is fine: what that means is the caller's.
func (r *rig) checkpoint(args ...string) (taken, error) {
	out, errOut, code := r.try(append([]string{"checkpoint", "-o", "json", "-q"}, args...)...)
	if code != 0 && code != 3 {
		return taken{}, fmt.Errorf("checkpoint: exit %d: %s", code, errOut)
	}
	var c taken
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		return c, fmt.Errorf("checkpoint printed %q: %w", out, err)
	}
	return c, nil
}

// agent is a running helix-ckpt run.
type agent struct {
	cmd  *exec.Cmd
	log  *buffer
	done chan error
}

// buffer collects a log that is read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// launch starts an agent.
func (r *rig) launch(args ...string) *agent {
	r.t.Helper()
	a := &agent{cmd: r.command(append([]string{"run"}, args...)...), log: &buffer{}, done: make(chan error, 1)}
	a.cmd.Stderr = a.log
	if err := a.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() { a.done <- a.cmd.Wait() }()
	r.t.Cleanup(a.kill)
	return a
}

// agent starts an agent and returns when it runs.
func (r *rig) agent(args ...string) *agent {
	r.t.Helper()
	a := r.launch(args...)
	r.await("the agent runs", func() bool {
		out, _, code := r.try("status", "-o", "json", "-q")
		var s struct {
			State string `json:"state"`
			PID   int    `json:"pid"`
		}
		if code != 0 || json.Unmarshal([]byte(out), &s) != nil {
			return false
		}
		select {
		case err := <-a.done:
			a.done <- err
			r.t.Fatalf("the agent has ended: %v\n%s", err, a.log)
		default:
		}
		return s.State == "running" && s.PID == a.cmd.Process.Pid
	})
	return a
}

// kill is kill -9.
func (a *agent) kill() {
	a.cmd.Process.Kill() //nolint:errcheck // it may have ended
	a.done <- <-a.done
}

// stop asks it to end, and returns its exit code.
func (a *agent) stop() int {
	a.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	a.done <- <-a.done
	return a.cmd.ProcessState.ExitCode()
}

// await polls for a state of the outside world that gives no event.
func (r *rig) await(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			r.t.Fatalf("in vain waited for: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// writer starts a writer of Zed's databases in the rig's session.
func (r *rig) writer(c zedwriter.Config) *zedwriter.Process {
	r.t.Helper()
	c.Data = r.data
	p, err := zedwriter.Start(context.Background(), writer, filepath.Join(filepath.Dir(r.home), "writer.log"), c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			r.t.Error(err)
		}
	})
	return p
}

// file is a file of a checkpoint as zstd and jq read it.
type file struct {
	Path  string `json:"path"`
	State string `json:"state"`
	AsOf  string `json:"as_of"`
}

// manifest reads, with zstd and jq, when a checkpoint was created and in what
// state the files of Zed are in it.
func (r *rig) manifest(id string) (created time.Time, files []file) {
	r.t.Helper()
	const script = `zstd -dcq "$0" | jq -c '{created, files: [.components.zed.files[]? | {path, state, as_of}]}'`
	out, err := exec.Command("sh", "-c", script, filepath.Join(r.ws, ".helix/sessions/default/checkpoints", id+".json.zst")).Output()
	if err != nil {
		r.t.Fatalf("read manifest %s by hand: %v", id, err)
	}
	var m struct {
		Created time.Time `json:"created"`
		Files   []file    `json:"files"`
	}
	if err := json.Unmarshal(out, &m); err != nil {
		r.t.Fatal(err)
	}
	return m.Created, m.Files
}
