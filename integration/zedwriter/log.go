package zedwriter

import (
	"bufio"
	"fmt"
	"io"
	"time"
)

// Entry is one save: when it began, when its COMMIT had returned (or failed).
type Entry struct {
	Kind   Kind
	Seq    int64
	Began  time.Time
	Ended  time.Time
	Failed bool
}

// line is the entry's form in the log: the kind, the word ok or failed, the
// sequence number, both times in nanoseconds since 1970. It is written by one
// write, so it is there, or not, after a kill.
func (e Entry) line() []byte {
	outcome := "ok"
	if e.Failed {
		outcome = "failed"
	}
	return fmt.Appendf(nil, "%s %s %d %d %d\n", e.Kind, outcome, e.Seq, e.Began.UnixNano(), e.Ended.UnixNano())
}

// Log is what a writer says it did. Kinds of saves are in the order in which
// they ended.
type Log []Entry

// ReadLog reads what a writer logged.
func ReadLog(r io.Reader) (Log, error) {
	var log Log
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var e Entry
		var outcome string
		var began, ended int64
		if _, err := fmt.Sscanf(lines.Text(), "%s %s %d %d %d", &e.Kind, &outcome, &e.Seq, &began, &ended); err != nil {
			return nil, fmt.Errorf("read the writer's log: %q: %w", lines.Text(), err)
		}
		e.Began, e.Ended, e.Failed = time.Unix(0, began), time.Unix(0, ended), outcome != "ok"
		log = append(log, e)
	}
	return log, lines.Err()
}

// Committed is the newest sequence number of kind whose commit had returned
// before the moment; 0: none.
func (l Log) Committed(kind Kind, before time.Time) int64 {
	var seq int64
	for _, e := range l {
		if e.Kind == kind && !e.Failed && e.Ended.Before(before) {
			seq = max(seq, e.Seq)
		}
	}
	return seq
}

// Failed counts the saves of kind that were lost.
func (l Log) Failed(kind Kind) int {
	n := 0
	for _, e := range l {
		if e.Kind == kind && e.Failed {
			n++
		}
	}
	return n
}
