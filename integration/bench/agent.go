package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

const (
	// callsInAgent is how many checkpoints of an unchanged session are asked
	// for: the sample is their median, since one is short.
	callsInAgent = 25
	// agentPatience bounds the wait for an agent to start or to end.
	agentPatience = time.Minute
	// clockTick is the unit of times in /proc/PID/stat.
	clockTick = 10 * time.Millisecond
)

// measureAgent starts an agent on a session that has not changed since its last
// checkpoint, and measures CreateCheckpoint. CPU is of the agent for one call,
// RSS its peak since it started, which includes its own first look; Added is by
// all calls.
func (p player) measureAgent(ctx context.Context) (s sample, err error) {
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, p.binary, "run", "--interval", "1h")
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env(inAgent), &log, &log
	if err := cmd.Start(); err != nil {
		return s, err
	}
	defer func() {
		err = errors.Join(err, end(cmd))
		if err != nil {
			err = fmt.Errorf("the agent: %w\n%s", err, &log)
		}
	}()
	conn, err := grpc.NewClient("unix:"+filepath.Join(p.runtime(), "helix-ckpt.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return s, err
	}
	defer conn.Close()
	client := ckptv1.NewCheckpointServiceClient(conn)
	if err := confirmed(ctx, client); err != nil {
		return s, err
	}
	keptBefore, keptErr := allocated(p.store())
	cpuBefore, _, err := used(cmd.Process.Pid)
	if err := errors.Join(keptErr, err); err != nil {
		return s, err
	}
	var took []time.Duration
	for range callsInAgent {
		start := time.Now()
		answer, err := client.CreateCheckpoint(ctx, &ckptv1.CreateCheckpointRequest{})
		if err != nil {
			return s, err
		}
		took = append(took, time.Since(start))
		if !answer.GetConfirmed() {
			return s, errors.New("an unchanged session was not confirmed")
		}
	}
	cpuAfter, peak, err := used(cmd.Process.Pid)
	s = sample{Wall: median(took), CPU: (cpuAfter - cpuBefore) / callsInAgent, RSS: peak}
	s.Kept, keptErr = allocated(p.store())
	s.Added = s.Kept - keptBefore
	return s, errors.Join(keptErr, err)
}

// confirmed returns when the agent has decided about its start and confirms
// what is there.
func confirmed(ctx context.Context, client ckptv1.CheckpointServiceClient) error {
	ctx, cancel := context.WithTimeout(ctx, agentPatience)
	defer cancel()
	for {
		answer, err := client.CreateCheckpoint(ctx, &ckptv1.CreateCheckpointRequest{}, grpc.WaitForReady(true))
		if err == nil && answer.GetConfirmed() {
			return nil
		}
		select { // it has no event for "I run"
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("no confirmed checkpoint within %s: %w", agentPatience, err)
		}
	}
}

// end asks the agent to end, and kills it when it does not.
func end(cmd *exec.Cmd) error {
	kill := time.AfterFunc(agentPatience, func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	defer kill.Stop()
	return errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
}

// used is what a process has used of the CPU, and its peak RSS.
func used(pid int) (cpu time.Duration, rss int64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // utime and stime are fields 14 and 15, and 3 comes next
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	user, userErr := strconv.ParseInt(fields[11], 10, 64)
	system, systemErr := strconv.ParseInt(fields[12], 10, 64)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err := errors.Join(userErr, systemErr, err); err != nil {
		return 0, 0, err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ = strings.Cut(peak, " kB")
	kib, err := strconv.ParseInt(strings.TrimSpace(peak), 10, 64)
	return time.Duration(user+system) * clockTick, kib << 10, err
}
