package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// project makes the work tree that the windows stand in: on desktop B and C it
// is what a fresh clone would be.
const project = `mkdir -p app/log app/internal app/cmd app/data docs/api`

// conversations writes two conversations where Claude Code keeps those of
// /workspace/app: one that is over, and one that goes on until the file rest
// appears in the runtime directory.
const conversations = `
dir=$HOME/.claude/projects/-workspace-app
mkdir -p $dir
line() { printf '{"type":"%s","sessionId":"%s","uuid":"%s-%d","message":{"role":"%s","content":"line %d of the talk"}}\n' $1 $2 $2 $3 $1 $3; }
old=7d1f0a52-0b9e-4a53-9c0e-3f2b6f6a1c01 now=c2a4e1de-58f7-4c0b-8d6a-91b7d0e4aa02
i=0; while [ $i -lt 400 ]; do i=$((i+1)); line user $old $i; done >$dir/$old.jsonl
( i=0; while [ ! -e $XDG_RUNTIME_DIR/rest ]; do i=$((i+1)); line assistant $now $i; sleep 0.1; done >>$dir/$now.jsonl ) >/dev/null 2>&1 </dev/null &
`

// The session's rhythm. While Zed is busy there is no quiet second, so the
// timer is first; then all rests, and the person's last change is what the next
// checkpoint is taken for. The databases are smaller than most, because the
// agent rests after a capture for 50 times what it cost before a change makes
// it take another, and the demo would wait for that.
const (
	interval = 8 * time.Second
	quiet    = time.Second
	zedBurst = 12 * time.Second
	zedBytes = 4 << 20
)

// record is a committed checkpoint, as zstd and jq read it.
type record struct {
	ID      string            `json:"id"`
	Reason  string            `json:"reason"`
	Created time.Time         `json:"created"`
	States  map[string]string `json:"states"`
}

func (r record) String() string {
	var states []string
	for name, state := range r.States {
		states = append(states, name+" "+state)
	}
	sort.Strings(states)
	return fmt.Sprintf("%s, reason %q: %s", r.ID, r.Reason, strings.Join(states, ", "))
}

// records are the checkpoints that lie in the box's repository, oldest first.
func (b *box) records(ctx context.Context) ([]record, error) {
	files, err := filepath.Glob(filepath.Join(b.workspace(), ".helix/sessions/demo/checkpoints/*.json.zst"))
	if err != nil {
		return nil, err
	}
	records := make([]record, len(files))
	for i, file := range files {
		if records[i], err = b.record(ctx, file); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// record reads a manifest once: it never changes.
func (b *box) record(ctx context.Context, file string) (r record, err error) {
	if r, ok := b.known[file]; ok {
		return r, nil
	}
	const pipe = `zstd -dcq "$1" | jq -c '{id, reason, created, states: (.components | map_values(.state))}'`
	out, err := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", pipe, "bash", file).Output()
	if err != nil {
		return r, fmt.Errorf("read %s with zstd and jq: %w", file, err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, err
	}
	b.known[file] = r
	return r, nil
}

// awaitRecord waits for a checkpoint that fits and returns it.
func (b *box) awaitRecord(ctx context.Context, what string, fits func(record) bool) (record, error) {
	var found record
	var failed error
	err := await(ctx, what, func() bool {
		var records []record
		if records, failed = b.records(ctx); failed != nil {
			return true
		}
		for _, r := range records {
			if fits(r) {
				found = r
				return true
			}
		}
		return false
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		return found, fmt.Errorf("%w\nthe agent of desktop %s logged:\n%s", err, b.name, b.agentLog())
	}
	return found, nil
}

// agentLog is the end of what the agent logged.
func (b *box) agentLog() string { return lastLines(filepath.Join(b.runtime(), "agent.log")) }

func lastLines(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}
