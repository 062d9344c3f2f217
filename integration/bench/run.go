package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// result is what was measured of a state of one size.
type result struct {
	Size  int64 `json:"size_bytes"`
	Files int   `json:"files"`
	// Samples are those of a contender's operation, one of each round.
	Samples map[string]map[operation][]sample `json:"samples"`
}

// run measures everybody at every size. A contender that cannot take part is
// left out, and the report says why.
func run(ctx context.Context, c config, progress io.Writer) (*report, error) {
	dir, err := os.MkdirTemp(c.dir, "bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &report{Rounds: c.rounds, Seed: c.seed, Machine: look(ctx, c.dir), LeftOut: map[string]string{}}
	for _, who := range c.contenders {
		if why := who.lacks(ctx, c.binary); why != "" {
			fmt.Fprintf(progress, "LEFT OUT: %s: %s\n", who.name, why)
			r.LeftOut[who.name] = why
			continue
		}
		r.contenders = append(r.contenders, who)
	}
	for _, size := range c.sizes {
		result, err := c.measure(ctx, filepath.Join(dir, fmt.Sprint(size/1e6)), size, r.contenders, progress)
		if err != nil {
			return nil, err
		}
		r.Results = append(r.Results, result)
	}
	r.Machine.LoadAfter = loadAverage()
	r.judge()
	return r, nil
}

// measure measures everybody at one size.
func (c config) measure(ctx context.Context, dir string, size int64, all []contender, progress io.Writer) (result, error) {
	start := time.Now()
	s, err := newState(filepath.Join(dir, "home"), size, c.short, c.seed)
	if err != nil {
		return result{}, err
	}
	files, err := inventory(ctx, s.home, false)
	if err != nil {
		return result{}, err
	}
	out := result{Files: len(files), Samples: map[string]map[operation][]sample{}}
	if out.Size, err = contents(s.home); err != nil {
		return result{}, err
	}
	for _, who := range all {
		out.Samples[who.name] = map[operation][]sample{}
	}
	fmt.Fprintf(progress, "%d MB, %d files, made in %.1f s\n", out.Size/1e6, out.Files, time.Since(start).Seconds())
	for round := range c.rounds {
		start := time.Now()
		err := c.round(ctx, filepath.Join(dir, fmt.Sprint("round", round+1)), s, turn(all, round), out.Samples)
		if err != nil {
			return result{}, err
		}
		fmt.Fprintf(progress, "round %d of %d: %.1f s\n", round+1, c.rounds, time.Since(start).Seconds())
	}
	return out, nil
}

// turn is all, beginning with another one in each round.
func turn(all []contender, round int) []contender {
	n := round % max(1, len(all))
	return append(append([]contender{}, all[n:]...), all[:n]...)
}

// round has everybody do everything once, beginning with nothing. Its files are
// emptied at the end, not deleted: for minutes, ext4 searches for an inode that
// was not deleted of late, and the next round would pay for it.
func (c config) round(ctx context.Context, dir string, s *state, all []contender, into map[string]map[operation][]sample) (err error) {
	defer func() { err = errors.Join(err, empty(dir)) }()
	var players []player
	for _, who := range all {
		p := player{contender: who, binary: c.binary, home: s.home, dir: filepath.Join(dir, strings.ReplaceAll(who.name, " ", "_"))}
		if err := p.prepare(ctx); err != nil {
			return fmt.Errorf("%s: prepare: %w", who.name, err)
		}
		players = append(players, p)
	}
	for _, op := range operations() {
		if op == change {
			if err := s.change(); err != nil {
				return err
			}
		}
		for _, p := range players {
			if op != inAgent && p.script(op) == "" || op == inAgent && !p.ours {
				continue
			}
			measured, err := p.play(ctx, op)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", p.name, op, err)
			}
			into[p.name][op] = append(into[p.name][op], measured)
		}
	}
	return nil
}

// player is a contender with its own place in a round.
type player struct {
	contender
	binary, home, dir string
}

func (p player) store() string    { return filepath.Join(p.dir, "store") }
func (p player) restored() string { return filepath.Join(p.dir, "home") }
func (p player) runtime() string  { return filepath.Join(p.dir, "run") }

func (p player) env(op operation) []string {
	save := op
	if op == restore || op == verify {
		save = change
	}
	cache := filepath.Join(p.dir, "cache")
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.home, "LANG=C.UTF-8",
		"STORE=" + p.store(), "SAVE=" + string(save), "TO=" + p.restored(), "HELIX=" + p.binary,
		"XDG_RUNTIME_DIR=" + p.runtime(), "WORKSPACE_DIR=" + p.store(),
		"XDG_CACHE_HOME=" + cache, "RESTIC_REPOSITORY=" + filepath.Join(p.store(), "restic"), "RESTIC_PASSWORD=bench",
		"BORG_BASE_DIR=" + cache, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes",
	}
}

func (p player) prepare(ctx context.Context) error {
	for _, dir := range []string{p.store(), p.restored(), p.runtime(), filepath.Join(p.dir, "cache")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	_, err := shell(ctx, p.home, p.init, p.env(first))
	return err
}

// play does one operation and measures it. A restore is checked.
func (p player) play(ctx context.Context, op operation) (s sample, err error) {
	before, err := allocated(p.store())
	if err != nil {
		return s, err
	}
	if err := settle(p.dir); err != nil {
		return s, err
	}
	if op == inAgent {
		return p.measureAgent(ctx)
	}
	if s, err = shell(ctx, p.home, p.script(op), p.env(op)); err != nil {
		return s, err
	}
	if s.Kept, err = allocated(p.store()); err != nil {
		return s, err
	}
	s.Added = s.Kept - before
	if op == restore {
		err = check(ctx, p.contender, p.home, p.restored())
	}
	return s, err
}
