package process

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Stat is the part of /proc/PID/stat (see proc_pid_stat(5)) that is used here.
type Stat struct {
	PID     int
	Comm    string
	State   byte
	Parent  int
	Group   int
	Session int
	// TTY is the device number of its controlling terminal, 0 for none.
	TTY int
	// ForegroundGroup is the process group in the foreground of TTY, -1 for none.
	ForegroundGroup int
	// StartTicks is when it started, in clock ticks since boot.
	StartTicks uint64
}

// ParseStat reads a line of /proc/PID/stat. A program chooses its own name,
// which stands in it in parentheses, spaces and parentheses included: the
// fields after it begin at the last one.
func ParseStat(line []byte) (Stat, error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return Stat{}, fmt.Errorf("process stat %.80q: no name in parentheses", line)
	}
	s := Stat{Comm: string(line[open+1 : end])}
	fields := strings.Fields(string(line[end+1:]))
	// Field 22 of the line is the start time; the list here begins at 3.
	const startTime = 22 - 3
	if len(fields) <= startTime || len(fields[0]) != 1 {
		return Stat{}, fmt.Errorf("process stat %.80q: %d fields after the name, want 20 or more", line, len(fields))
	}
	s.State = fields[0][0]
	var err error
	number := func(field string) int {
		n, e := strconv.ParseInt(field, 10, 32)
		if e != nil && err == nil {
			err = fmt.Errorf("process stat %.80q: %w", line, e)
		}
		return int(n)
	}
	s.PID = number(strings.TrimSpace(string(line[:open])))
	s.Parent, s.Group, s.Session = number(fields[1]), number(fields[2]), number(fields[3])
	s.TTY, s.ForegroundGroup = number(fields[4]), number(fields[5])
	ticks, e := strconv.ParseUint(fields[startTime], 10, 64)
	if e != nil && err == nil {
		err = fmt.Errorf("process stat %.80q: %w", line, e)
	}
	s.StartTicks = ticks
	if err != nil {
		return Stat{}, err
	}
	return s, nil
}
