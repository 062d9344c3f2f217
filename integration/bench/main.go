// Command bench measures what it costs to keep a session, for helix-ckpt and
// for what a user would pick instead, side by side in one run.
//
//	state      the same for everybody, from a seed
//	round      everybody: first, unchanged, small change, restore, verify, each
//	           contender in turn before the next operation begins, in
//	           another order in every round
//	check      what each restored is compared with the state by sha256sum and
//	           sqlite3; one that is wrong fails the run
//	report     medians, ratios within a round, and the goals as PASS or MISS;
//	           bench-out/contenders.json has every sample
//
// What can make such a comparison wrong, and what is done about it: everybody's
// page cache is warm; everybody's result is on the disk before the clock
// stops; before it starts, all that others left in memory is written; ratios
// are of one round, so that a machine that gets slower slows both down; nothing
// is left out of the medians.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// config is what a run measures.
type config struct {
	binary     string // helix-ckpt
	dir        string // everything is made below it, and is gone afterwards
	sizes      []int64
	short      int // conversations that are short
	rounds     int
	seed       uint64
	contenders []contender
}

func main() {
	binary := flag.String("binary", "bin/helix-ckpt", "our program")
	dir := flag.String("dir", os.TempDir(), "where to work; wants 20 times the largest size")
	sizes := flag.String("sizes", "110", "sizes of the state in MB, as 10,110,1000")
	short := flag.Int("files", 2000, "how many short conversations are in the state, at every size")
	rounds := flag.Int("rounds", 5, "how often everybody does everything")
	seed := flag.Uint64("seed", 1, "of the state")
	only := flag.String("only", "", "contenders whose names contain one of these, as helix,restic")
	out := flag.String("out", "bench-out", "where contenders.json goes")
	readme := flag.String("readme", "", "write the table of 110 MB between the markers of this file")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := config{dir: *dir, short: *short, rounds: *rounds, seed: *seed, contenders: choose(contenders(), *only)}
	err := c.prepare(*binary, *sizes)
	if err == nil {
		err = runAndReport(ctx, c, *out, *readme)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func (c *config) prepare(binary, sizes string) (err error) {
	for text := range strings.SplitSeq(sizes, ",") {
		mb, err := strconv.ParseInt(text, 10, 64)
		if err != nil || mb < 5 {
			return fmt.Errorf("-sizes %q: want numbers of MB, 5 or more", sizes)
		}
		c.sizes = append(c.sizes, mb*1e6)
	}
	if c.rounds < 1 || c.short < 1 {
		return errors.New("-rounds and -files: want 1 or more")
	}
	if c.binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	if _, err := os.Stat(c.binary); err != nil {
		return fmt.Errorf("%w; build it with: make build", err)
	}
	return nil
}

func choose(all []contender, only string) []contender {
	return slices.DeleteFunc(all, func(c contender) bool {
		return !slices.ContainsFunc(strings.Split(only, ","), func(part string) bool { return strings.Contains(c.name, part) })
	})
}

func runAndReport(ctx context.Context, c config, out, readme string) error {
	report, err := run(ctx, c, os.Stderr)
	if err != nil {
		return err
	}
	report.print(os.Stdout)
	if err := report.save(out); err != nil {
		return err
	}
	if readme == "" {
		return nil
	}
	return report.writeInto(readme)
}
