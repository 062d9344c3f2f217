package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sample is one operation, once.
type sample struct {
	Wall time.Duration `json:"wall_ns"`
	// CPU is user and system time of the whole tree of processes.
	CPU time.Duration `json:"cpu_ns"`
	// RSS is the peak of the largest of these processes, in bytes.
	RSS int64 `json:"peak_rss_bytes"`
	// Kept is what the store occupies afterwards, in allocated bytes of disk;
	// Added is how much more that is than before.
	Kept  int64 `json:"kept_bytes"`
	Added int64 `json:"added_bytes"`
}

// shell runs a script and measures it. What it prints is part of the error,
// else dropped.
//
// GNU time starts it, because a process's peak begins with that of the process
// that it was forked from, and time is small.
func shell(ctx context.Context, dir, script string, env []string) (s sample, err error) {
	peak, err := os.CreateTemp("", "bench-peak-")
	if err != nil {
		return s, err
	}
	defer os.Remove(peak.Name())
	defer peak.Close()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "/usr/bin/time", "-q", "-o", peak.Name(), "-f", "%M", "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &out, &out
	// All of a pipe is killed together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	start := time.Now()
	err = cmd.Run()
	s.Wall = time.Since(start)
	if err != nil {
		return s, fmt.Errorf("%s: %w\n%s", script, err, strings.TrimSpace(out.String()))
	}
	s.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if _, err := fmt.Fscan(peak, &s.RSS); err != nil {
		return s, fmt.Errorf("what time says of the peak: %w", err)
	}
	s.RSS <<= 10
	return s, nil
}

// settle writes to disk what earlier operations left in memory, so that no
// sync pays for another's data.
func settle(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", dir, err)
	}
	return nil
}

// allocated is what all files below dir occupy on disk. Directories are left
// out: they belong to the file system more than to whom filled them.
func allocated(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			total += stat.Blocks * 512
		}
		return nil
	})
	return total, err
}

// empty truncates all files below dir.
func empty(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return os.Truncate(path, 0)
	})
}
