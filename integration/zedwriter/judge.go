package zedwriter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// checks are questions to a copy, each with the answer of a sound one. They
// are asked of the sqlite3 command: no code of ours judges ours.
var checks = map[Kind][]struct{ question, query, answer string }{
	DB: {
		{"integrity", `PRAGMA integrity_check`, "ok"},
		{"rows of ckpt_seq whose checksum is wrong", `SELECT count(*) FROM ckpt_seq WHERE sha3(seq||' '||body, 256) IS NOT sum`, "0"},
		{"gaps in ckpt_seq", `SELECT coalesce(max(seq), 0) - count(*) FROM ckpt_seq`, "0"},
		{"rows of ckpt_page whose checksum is wrong", `SELECT count(*) FROM ckpt_page WHERE sha3(seq||' '||body, 256) IS NOT sum`, "0"},
		{"rows of ckpt_page newer than the last transaction", `SELECT count(*) FROM ckpt_page WHERE seq > (SELECT coalesce(max(seq), 0) FROM ckpt_seq)`, "0"},
		{"difference to ckpt_total", `SELECT seqs - (SELECT sum(seq) FROM ckpt_page) FROM ckpt_total`, "0"},
		{"Zed's workspaces", `SELECT count(*) > 0 FROM workspaces`, "1"},
	},
	Threads: {
		{"integrity", `PRAGMA integrity_check`, "ok"},
		{"gaps in ckpt_seq", `SELECT coalesce(max(seq), 0) - count(*) FROM ckpt_seq`, "0"},
		{"conversations that are not what was saved last", `WITH latest AS (SELECT thread, sum, max(seq) FROM ckpt_seq GROUP BY thread)
			SELECT count(*) FROM latest LEFT JOIN threads ON id = thread WHERE sha3(data, 256) IS NOT sum`, "0"},
	},
}

// Check judges a copy of a database, one file that stands alone, by the
// sqlite3 command. It returns the sequence number up to which the copy holds
// everything, without a gap; an error says what is wrong with the copy.
func Check(ctx context.Context, kind Kind, path string) (last int64, err error) {
	queries := []string{"-bail", immutable(path)}
	for _, c := range checks[kind] {
		queries = append(queries, c.query)
	}
	queries = append(queries, `SELECT coalesce(max(seq), 0) FROM ckpt_seq`)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "sqlite3", queries...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("sqlite3 cannot read %s: %w: %.200s", kind, err, bytes.TrimSpace(stderr.Bytes()))
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) != len(checks[kind])+1 {
		return 0, fmt.Errorf("%s is damaged: %.200s", kind, out)
	}
	for i, c := range checks[kind] {
		if answers[i] != c.answer {
			err = errors.Join(err, fmt.Errorf("%s: %s: %s, want %s", kind, c.question, answers[i], c.answer))
		}
	}
	if _, scan := fmt.Sscan(answers[len(answers)-1], &last); scan != nil {
		err = errors.Join(err, scan)
	}
	return last, err
}

// immutable is the URI by which sqlite3 opens a file and writes nothing beside it.
func immutable(path string) string {
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
	return "file:" + escaped + "?immutable=1"
}

// Copy is one capture of one database, to be judged.
type Copy struct {
	Kind  Kind
	Began time.Time // when the capture began: the copy has to hold all that was committed before
	Path  string    // the copy, standing alone

	// Excluded says why there is no such copy, e.g. that the file was busy and
	// the last one carried. Such a case is not judged, and counts for itself.
	Excluded string
}

// Collect calls take now and then every interval until total has passed, and
// returns all copies. n counts the calls from 0. A call that takes longer than
// the interval delays the next.
func Collect(ctx context.Context, every, total time.Duration, take func(ctx context.Context, n int) ([]Copy, error)) ([]Copy, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var copies []Copy
	for n, end := 0, time.Now().Add(total); ; n++ {
		taken, err := take(ctx, n)
		if err != nil {
			return copies, err
		}
		copies = append(copies, taken...)
		select {
		case <-ctx.Done():
			return copies, ctx.Err()
		case now := <-tick.C:
			if now.After(end) {
				return copies, nil
			}
		}
	}
}

// Tally is the result of judging copies: Cases = Exact + Failed + the sum of Excluded.
type Tally struct {
	Cases    int
	Exact    int            // sound, and hold all that was committed before they began
	Failed   int            // anything else
	Excluded map[string]int // by reason
	Problems []error        // one for each that failed
}

// Fresh is the part of all cases that is exact.
func (t Tally) Fresh() float64 {
	if t.Cases == 0 {
		return 0
	}
	return float64(t.Exact) / float64(t.Cases)
}

func (t Tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cases %d, exact %d (%.0f %%), failed %d, excluded %d",
		t.Cases, t.Exact, 100*t.Fresh(), t.Failed, t.Cases-t.Exact-t.Failed)
	for _, reason := range slices.Sorted(maps.Keys(t.Excluded)) {
		fmt.Fprintf(&b, "; %d %s", t.Excluded[reason], reason)
	}
	return b.String()
}

// Judge checks copies against what their writer logged.
func Judge(ctx context.Context, log Log, copies []Copy) Tally {
	t := Tally{Excluded: map[string]int{}}
	for _, c := range copies {
		t.Cases++
		if c.Excluded != "" {
			t.Excluded[c.Excluded]++
			continue
		}
		last, err := Check(ctx, c.Kind, c.Path)
		if want := log.Committed(c.Kind, c.Began); err == nil && last < want {
			err = fmt.Errorf("%s: holds transactions up to %d, but %d was committed before it began", c.Kind, last, want)
		}
		if err != nil {
			t.Failed++
			t.Problems = append(t.Problems, fmt.Errorf("capture of %s: %w", c.Began.Format("15:04:05.000"), err))
			continue
		}
		t.Exact++
	}
	return t
}
