package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
)

// The table stands between these lines of a Markdown file.
const (
	tableBegins = "<!-- bench: written by make bench -->\n"
	tableEnds   = "<!-- bench ends -->\n"
)

// writeInto replaces the table in a Markdown file.
func (r *report) writeInto(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(tableBegins))
	_, after, ends := bytes.Cut(rest, []byte(tableEnds))
	if !ok || !ends {
		return fmt.Errorf("%s has no lines %q and %q to write between", file, tableBegins, tableEnds)
	}
	table, err := r.markdown()
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(string(before)+tableBegins+table+tableEnds+string(after)), 0o644)
}

// markdown is the table of the size nearest to 110 MB, which the goals are
// meant for.
func (r *report) markdown() (string, error) {
	if len(r.Results) == 0 {
		return "", errors.New("nothing was measured")
	}
	res := r.Results[0]
	for _, other := range r.Results {
		if distance(other.Size) < distance(res.Size) {
			res = other
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| %d MB in %d files: ms wall (CPU) | first | unchanged | small change | restore | verify | peak RSS | kept | small change adds |\n", res.Size/1e6, res.Files)
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range r.contenders {
		samples := res.Samples[c.name]
		fmt.Fprintf(&b, "| %s |", strings.ReplaceAll(c.name, "|", `\|`))
		peak := 0.0
		for _, op := range operations() {
			if s := samples[op]; len(s) > 0 {
				peak = max(peak, median(each(s, rss)))
			}
			if op == inAgent {
				continue
			}
			b.WriteString(" " + cell(samples[op]))
			if s := samples[inAgent]; op == unchanged && len(s) > 0 {
				fmt.Fprintf(&b, ", in the agent %.1f", median(each(s, wall))/1e6)
			}
			b.WriteString(" |")
		}
		fmt.Fprintf(&b, " %.0f MB | %.1f MB | %.0f KB |\n", peak/1e6,
			median(each(samples[first], kept))/1e6, median(each(samples[change], added))/1e3)
	}
	fmt.Fprintf(&b, "\nMedians of %d interleaved rounds on %d cores, %s, load average %s; page cache warm, every save and restore synced to disk.\n",
		r.Rounds, r.Machine.Cores, r.Machine.FileSystem, r.Machine.LoadBefore)
	for name, why := range r.LeftOut {
		fmt.Fprintf(&b, "Left out: %s (%s).\n", name, why)
	}
	return b.String(), nil
}

func cell(samples []sample) string {
	if len(samples) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f (%.0f)", median(each(samples, wall))/1e6, median(each(samples, cpu))/1e6)
}

func distance(size int64) int64 { return max(size-110e6, 110e6-size) }
