// Package process reads from /proc what is needed to start a program with
// windows again: its arguments, its directory, what runs in a terminal, and
// the marker of the agent that launched it.
//
// What it returns may be stored, so secrets are cut out here and nowhere
// later: arguments are redacted (Redact), and of the environment nothing is
// read but the value of LaunchVar.
//
// A pid names a process only together with its start time. Facts are read
// between two looks at it, so they are never those of two processes.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
)

// LaunchVar is the environment variable by which a process that the agent
// launched, and its children, can be told from all others.
const LaunchVar = "HELIX_CKPT_LAUNCH"

// ErrGone is returned for a pid that names no process, or no longer the same.
var ErrGone = errors.New("no such process")

// Facts of one process.
type Facts struct {
	PID        int
	StartTicks uint64 // clock ticks since boot
	Parent     int
	// Exe is the program file; empty where we may not see it.
	Exe string
	// Argv is redacted. Programs may rewrite it: foot -o a=b reads "-o a b".
	Argv []string
	Cwd  string
	// LaunchID is the value of LaunchVar, empty when it is not set.
	LaunchID string
	// Child is what runs in its terminal, nil if it is no terminal.
	Child *Child
}

// Child is the foreground program of a terminal; Argv is redacted.
type Child struct {
	Argv []string
	Cwd  string
}

// Table is all processes at one instant.
type Table struct {
	stats    map[int]Stat
	children map[int][]int
}

// Scan reads the table of processes. A few hundred cost some milliseconds.
func Scan() (*Table, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	t := &Table{stats: map[int]Stat{}, children: map[int][]int{}}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		s, err := readStat(pid)
		if err != nil {
			continue // ended since the directory was read
		}
		t.stats[pid] = s
		t.children[s.Parent] = append(t.children[s.Parent], pid)
	}
	for _, pids := range t.children {
		slices.Sort(pids)
	}
	return t, nil
}

// Facts reads what is to be known of a process. It returns ErrGone when the
// process ended since the Scan, also when its pid is another's now.
func (t *Table) Facts(pid int) (Facts, error) {
	s, ok := t.stats[pid]
	if !ok {
		return Facts{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	argv, err := readArgv(pid)
	if err != nil {
		return Facts{}, fmt.Errorf("process %d: %w", pid, err)
	}
	f := Facts{PID: pid, StartTicks: s.StartTicks, Parent: s.Parent, Argv: Redact(argv)}
	// Another user's process hides these three. It can be shown all the same.
	f.Cwd, _ = os.Readlink(procPath(pid, "cwd"))
	f.Exe, _ = os.Readlink(procPath(pid, "exe"))
	f.LaunchID = readLaunchID(pid)
	f.Child = t.terminalChild(pid)
	if now, err := readStat(pid); err != nil || now.StartTicks != s.StartTicks {
		return Facts{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return f, nil
}

// terminalChild finds the foreground program of a terminal: a terminal has a
// child that leads a session on a terminal device of its own, and the kernel
// knows which process group is in that device's foreground. Of several, which
// one process with several windows has, it is the oldest.
func (t *Table) terminalChild(pid int) *Child {
	own := t.stats[pid].TTY
	for _, c := range t.children[pid] {
		s := t.stats[c]
		if s.TTY == 0 || s.TTY == own || s.Session != c {
			continue
		}
		foreground := s.ForegroundGroup
		if _, ok := t.stats[foreground]; !ok {
			foreground = c // the group's leader has ended: fall back to the shell
		}
		argv, err := readArgv(foreground)
		if err != nil {
			continue
		}
		cwd, _ := os.Readlink(procPath(foreground, "cwd"))
		return &Child{Argv: Redact(argv), Cwd: cwd}
	}
	return nil
}

// StartTicks returns when the process started, in clock ticks since boot. It
// returns ErrGone when there is no such process.
func StartTicks(pid int) (uint64, error) {
	s, err := readStat(pid)
	return s.StartTicks, err
}

// maxRead bounds in bytes what is read of one file of /proc. Chrome's longest
// command line is some 10 KiB; an environment can be megabytes, and where it
// is, the marker is taken as not set.
const maxRead = 256 << 10

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var b []byte
		b, err = io.ReadAll(io.LimitReader(f, maxRead))
		if err == nil {
			return b, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, ErrGone
	}
	return nil, err
}

func readStat(pid int) (Stat, error) {
	b, err := readBounded(procPath(pid, "stat"))
	if err != nil {
		return Stat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return ParseStat(b)
}

func readArgv(pid int) ([]string, error) {
	b, err := readBounded(procPath(pid, "cmdline"))
	if err != nil {
		return nil, err
	}
	return splitNUL(b), nil
}

// splitNUL takes a command line apart. An argument that was cut off by the
// bound of the read is left out: half a path is another path.
func splitNUL(b []byte) []string {
	if len(b) == maxRead {
		b = b[:bytes.LastIndexByte(b, 0)+1]
	}
	b = bytes.TrimRight(b, "\x00") // setproctitle pads with NULs
	if len(b) == 0 {
		return nil
	}
	var argv []string
	for arg := range bytes.SplitSeq(b, []byte{0}) {
		argv = append(argv, string(arg))
	}
	return argv
}

var launchPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// readLaunchID returns the value of LaunchVar and lets go of everything else
// in the environment.
func readLaunchID(pid int) string {
	b, err := readBounded(procPath(pid, "environ"))
	if err != nil {
		return ""
	}
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		if v, ok := bytes.CutPrefix(entry, []byte(LaunchVar+"=")); ok && launchPattern.Match(v) {
			return string(v)
		}
	}
	return ""
}

func procPath(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
