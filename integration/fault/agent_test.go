package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

// agent is a running helix-ckpt run. It takes checkpoints only when it is asked
// to, and at its start, when it also prunes.
type agent struct {
	cmd  *exec.Cmd
	log  bytes.Buffer // read it after its end
	wait func() error // for its end; may be called again
}

// startAgent starts an agent and returns when it runs; only then its fate begins.
func (s *session) startAgent(f *fate) (*agent, error) {
	if err := s.forgetDropped(); err != nil {
		return nil, err
	}
	a := &agent{cmd: s.command("run", "--interval=10h", "--quiet=10h")}
	a.cmd.Stderr = &a.log
	var runs atomic.Bool
	var from *fate
	if f != nil && f.calls != nil {
		from = &fate{calls: func(c call) verdict {
			if !runs.Load() {
				return verdict{}
			}
			return f.calls(c)
		}}
	}
	wait, err := from.start(a.cmd)
	if err != nil {
		return nil, err
	}
	a.wait = sync.OnceValue(wait)
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) { // it gives no event
		r, err := s.run(nil, "status", "-o", "json", "-q")
		var status struct {
			State string `json:"state"`
			PID   int    `json:"pid"`
		}
		if err == nil && r.code == 0 && json.Unmarshal([]byte(r.stdout), &status) == nil && status.State == "running" && status.PID == a.cmd.Process.Pid {
			// Its first look and its prune are over when it answers.
			if err = s.do("checkpoint", "-q"); err != nil {
				err = errors.Join(err, a.kill())
			}
			runs.Store(true)
			return a, err
		}
		if time.Now().After(end) {
			a.kill() //nolint:errcheck // that it did not come up counts
			return nil, fmt.Errorf("the agent does not come up: %s: %s", r, &a.log)
		}
	}
}

// kill is kill -9.
func (a *agent) kill() error {
	a.cmd.Process.Kill() //nolint:errcheck // it may have ended
	return a.wait()
}
