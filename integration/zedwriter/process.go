package zedwriter

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// Build compiles the writer's program into dir and returns its path. It wants
// to be called within the module, as tests are.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "zedwriter")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/helixml/helix-ckpt/integration/zedwriter/cmd")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build zedwriter: %w\n%s", err, out)
	}
	return binary, nil
}

// Process is a running writer.
type Process struct {
	Config Config

	binary, log string
	cmd         *exec.Cmd
	out         *bufio.Reader
}

// Start runs binary (see Build) and returns when both databases are there and
// it begins to write. Stop or Kill ends it. The commits go to the file log.
func Start(ctx context.Context, binary, log string, c Config) (*Process, error) {
	p := &Process{Config: c, binary: binary, log: log}
	return p, p.Restart(ctx)
}

// Restart starts a process that was stopped or killed once more, on the same
// databases and the same log.
func (p *Process) Restart(ctx context.Context) error {
	p.cmd = exec.CommandContext(ctx, p.binary, p.Config.args(p.log)...)
	p.cmd.Stderr = os.Stderr
	if _, err := p.cmd.StdinPipe(); err != nil { // held open until Wait, or our death
		return err
	}
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start zedwriter: %w", err)
	}
	p.out = bufio.NewReader(pipe)
	if line, err := p.out.ReadString('\n'); err != nil || line != readyLine {
		return errors.Join(fmt.Errorf("zedwriter said %q instead of %q", line, readyLine), p.Kill())
	}
	return nil
}

// readyLine is what the program prints when it begins to write.
const readyLine = "ready\n"

func (c Config) args(log string) []string {
	return []string{
		"--data", c.Data, "--log", log,
		"--db-size", strconv.FormatInt(c.DBSize, 10), "--threads-size", strconv.FormatInt(c.ThreadsSize, 10),
		"--thread-size", strconv.Itoa(c.ThreadSize),
		"--db-every", c.DBEvery.String(), "--threads-every", c.ThreadsEvery.String(),
		"--until-eof",
		"--burst", c.Burst.String(), "--rest", c.Rest.String(), "--idle=" + strconv.FormatBool(c.Idle),
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Path is where the writer keeps a database.
func (p *Process) Path(kind Kind) string { return kind.Path(p.Config.Data) }

// Log reads what has been logged until now.
func (p *Process) Log() (Log, error) {
	f, err := os.Open(p.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadLog(f)
}

// Stop ends the writer as a session ends it, by SIGTERM, and returns what it did.
func (p *Process) Stop() (Summary, error) {
	var s Summary
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return s, fmt.Errorf("stop zedwriter: %w", err)
	}
	text, readErr := io.ReadAll(p.out)
	if err := errors.Join(readErr, p.cmd.Wait()); err != nil {
		return s, fmt.Errorf("zedwriter: %w", err)
	}
	return s, json.Unmarshal(text, &s)
}

// Kill ends the writer by SIGKILL, wherever it is.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill zedwriter: %w", err)
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &exit) {
		return err
	}
	return nil
}
