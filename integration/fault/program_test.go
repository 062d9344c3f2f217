package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// result is what a run of the program left.
type result struct {
	args           []string
	stdout, stderr string
	code           int // -1 when it was killed
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("helix-ckpt %s: exit %d: %.300s %.900s", strings.Join(r.args, " "), r.code, r.stdout, r.stderr)
}

// done is an error unless the program has done what it was asked for.
func done(r result, err error) error {
	if err == nil && r.code != 0 {
		err = errors.New(r.String())
	}
	return err
}

// command is the program in the session.
func (s *session) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.program, args...)
	cmd.Dir = s.root
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.homeDir, "WORKSPACE_DIR=" + s.path("ws"), "XDG_RUNTIME_DIR=" + s.path("run"), "HELIX_CKPT_DIR=" + s.repo}
	// Disks are small here, and are to be filled: see TestLimits for what is kept free.
	cmd.Env = append(cmd.Env, "HELIX_CKPT_KEEP_FREE=0", "HELIX_CKPT_MAX_SIZE=0")
	return cmd
}

// fate is what may befall a program that runs; nil is nothing.
type fate struct {
	after func(*os.Process)  // called once it runs
	calls func(call) verdict // decides on its system calls
}

// run runs the program to its end.
func (s *session) run(f *fate, args ...string) (result, error) {
	var out, errs bytes.Buffer
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	wait, err := f.start(cmd)
	if err == nil {
		err = wait()
	}
	if err != nil {
		return result{}, err
	}
	return result{args, out.String(), errs.String(), cmd.ProcessState.ExitCode(), time.Since(began)}, nil
}

// start starts a program. The returned function waits for its end; how it ended is
// in its state.
func (f *fate) start(cmd *exec.Cmd) (wait func() error, err error) {
	if f != nil && f.calls != nil {
		return trapStart(cmd, f.calls)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if f != nil && f.after != nil {
		f.after(cmd.Process)
	}
	return func() error {
		cmd.Wait() //nolint:errcheck // its state says it
		return nil
	}, nil
}

// do runs the program, which must succeed.
func (s *session) do(args ...string) error { return done(s.run(nil, args...)) }

// ask runs the program, which must succeed, and returns what it printed.
func (s *session) ask(args ...string) (string, error) {
	r, err := s.run(nil, args...)
	return r.stdout, done(r, err)
}

// acknowledged returns the id that checkpoint or import printed: "" when it did
// not get so far. A line that was cut off is no acknowledgement.
func (r result) acknowledged() string {
	var made struct{ ID string }
	if json.Unmarshal([]byte(r.stdout), &made) != nil || (r.code > 0 && r.code != 3) {
		return ""
	}
	return made.ID
}

// deleted is what a prune printed.
func (r result) deleted() ([]string, error) {
	var p struct{ Deleted []string }
	return p.Deleted, json.Unmarshal([]byte(r.stdout), &p)
}
