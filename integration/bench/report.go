package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is a run's outcome, and what contenders.json holds.
type report struct {
	Machine  machine           `json:"machine"`
	Rounds   int               `json:"rounds"`
	Seed     uint64            `json:"seed"`
	LeftOut  map[string]string `json:"left_out"`
	Results  []result          `json:"results"`
	Verdicts []verdict         `json:"verdicts"`

	contenders []contender
}

// machine is what the figures were measured on.
type machine struct {
	Cores      int    `json:"cores"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"`
	Versions   string `json:"versions"`
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

func look(ctx context.Context, dir string) machine {
	ask := func(argv ...string) string {
		out, _ := exec.CommandContext(ctx, argv[0], argv[1:]...).Output() // what is not installed has no version
		return strings.TrimSpace(string(out))
	}
	return machine{
		Cores:      runtime.NumCPU(),
		Kernel:     ask("uname", "-r"),
		FileSystem: ask("findmnt", "-n", "-o", "FSTYPE", "-T", dir),
		Versions:   ask("dpkg-query", "-W", "-f", "${Package} ${Version}  ", "tar", "zstd", "rsync", "restic", "borgbackup", "casync", "sqlite3"),
		LoadBefore: loadAverage(),
	}
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg") // only informs
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// save writes every sample.
func (r *report) save(dir string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "contenders.json"), append(text, '\n'), 0o644)
}

// print writes a table for each size and operation, then the verdicts.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%d cores, Linux %s, %s; load average %s before, %s after\n%s\n", r.Machine.Cores, r.Machine.Kernel,
		r.Machine.FileSystem, r.Machine.LoadBefore, r.Machine.LoadAfter, r.Machine.Versions)
	fmt.Fprintf(w, "Medians of %d rounds; × is our wall time to theirs, the median of the ratios within each round.\n", r.Rounds)
	fmt.Fprintf(w, "CPU: user + system of all processes; RSS: peak of the largest process; bytes as allocated on disk.\n")
	for _, res := range r.Results {
		for _, op := range operations() {
			fmt.Fprintf(w, "\n%d MB, %d files: %s\n", res.Size/1e6, res.Files, op)
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(t, "ms\tmin\tmax\t×\tCPU ms\tRSS MB\tkept MB\tadded KB\t\t")
			for _, c := range r.contenders {
				s := res.Samples[c.name][op]
				if len(s) == 0 {
					continue
				}
				walls := each(s, wall)
				fmt.Fprintf(t, "%.1f\t%.1f\t%.1f\t%s\t%.1f\t%.1f\t%.2f\t%.1f\t\t%s\n",
					median(walls)/1e6, slices.Min(walls)/1e6, slices.Max(walls)/1e6, res.against(c.name, op),
					median(each(s, cpu))/1e6, median(each(s, rss))/1e6, median(each(s, kept))/1e6, median(each(s, added))/1e3, c.name)
			}
			t.Flush()
		}
	}
	for _, c := range r.contenders {
		if c.note != "" {
			fmt.Fprintf(w, "\n%s: %s", c.name, c.note)
		}
	}
	fmt.Fprint(w, "\n\n")
	for name, why := range r.LeftOut {
		fmt.Fprintf(w, "LEFT OUT: %s: %s\n", name, why)
	}
	for _, v := range r.Verdicts {
		fmt.Fprintln(w, v)
	}
}

func (res result) against(name string, op operation) string {
	ratio, ok := res.ratio(helix, name, op, wall)
	if !ok || name == helix {
		return ""
	}
	return fmt.Sprintf("%.2f", ratio)
}

// Figures of a sample, in nanoseconds or bytes.
func wall(s sample) float64  { return float64(s.Wall) }
func cpu(s sample) float64   { return float64(s.CPU) }
func rss(s sample) float64   { return float64(s.RSS) }
func kept(s sample) float64  { return float64(s.Kept) }
func added(s sample) float64 { return float64(s.Added) }

func each(samples []sample, figure func(sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	return values
}

// ratio is a figure of one contender to that of another: the median of the
// ratios within each round.
func (res result) ratio(of, to string, op operation, figure func(sample) float64) (float64, bool) {
	a, b := each(res.Samples[of][op], figure), each(res.Samples[to][op], figure)
	if len(a) == 0 || len(a) != len(b) {
		return 0, false
	}
	for i := range a {
		a[i] /= b[i]
	}
	return median(a), true
}

// median is the middle value, or the mean of the two in the middle.
func median[T ~int64 | ~float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
