package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/agent"
	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/session"
)

// verified is the result of a verification as it is printed.
type verified struct {
	rpc.VerifyReport

	Damage   []rpc.Damage   `json:"damage"`
	Repaired []rpc.Repaired `json:"repaired,omitempty"`
}

func (a *app) verifyCommand() *cobra.Command {
	var r rpc.VerifyRequest
	cmd := &cobra.Command{
		Use:   "verify [SELECTOR]",
		Short: "Read back every byte of a checkpoint, or of all",
		Long: `Reads back every byte that a checkpoint needs, or all of them, and every byte of
every pack. It changes nothing, unless --repair is given: damaged files are then
moved to quarantine/ in the session's directory, after what is good in them is
safe elsewhere, so that they are neither relied upon nor in the way. Nothing in
quarantine is ever deleted; what a manifest there names is kept for 7 days.
Exit code 5 when damage was found, repaired or not.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.All && len(args) > 0 {
				return usage("--all and a selector exclude each other")
			}
			r.Selector = first(args)
			v, err := a.verify(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.printVerified(v)
		},
	}
	cmd.Flags().BoolVar(&r.All, "all", false, "every checkpoint of the session")
	cmd.Flags().BoolVar(&r.Repair, "repair", false, "take damaged files out of use")
	return cmd
}

// verify reads back what r says: through the agent when one runs, which then
// knows better what it can rely on; else, or when it does not answer, by itself.
func (a *app) verify(ctx context.Context, r rpc.VerifyRequest) (verified, error) {
	v := verified{Damage: []rpc.Damage{}}
	site, err := a.site()
	if err != nil {
		return v, err
	}
	bar := a.progress("verify")
	defer bar.end()
	emit := func(e rpc.VerifyEvent) {
		switch {
		case e.Progress != nil:
			bar.show(e.Progress.Done, e.Progress.Total)
		case e.Damage != nil:
			v.Damage = append(v.Damage, *e.Damage)
		case e.Repaired != nil:
			v.Repaired = append(v.Repaired, *e.Repaired)
		case e.Report != nil:
			v.VerifyReport = *e.Report
		}
	}
	o, err := a.agent(ctx, site)
	if err == nil {
		defer o.close()
		if err = o.agent.Verify(ctx, r, emit); !errors.Is(err, rpc.ErrNoAgent) {
			return v, err
		}
		v = verified{Damage: []rpc.Damage{}}
	}
	dir := session.Dir(site.Dir, site.ID)
	if _, missing := os.Stat(dir); r.Repair && !errors.Is(missing, fs.ErrNotExist) {
		if !errors.Is(err, rpc.ErrNoAgent) {
			return v, err
		}
		k, err := agent.Open(ctx, site, agent.KeeperOptions{Command: "verify", Version: version(), Limits: a.limits, Compression: a.compression, Log: a.log})
		if err != nil {
			return v, err
		}
		defer k.Close() //nolint:errcheck // the process ends
		err = k.Verify(ctx, r, emit)
		return v, err
	}
	if !errors.Is(err, rpc.ErrNoAgent) {
		a.log.Warn("the agent cannot be asked; this command reads by itself", "error", err)
	}
	repo, err := openRepository(site)
	if err != nil {
		return v, err
	}
	err = agent.Verify(ctx, repo, r, emit)
	return v, err
}

func (a *app) printVerified(v verified) error {
	if a.json() {
		if err := a.printJSON(v); err != nil {
			return err
		}
	} else {
		a.tellVerified(v)
	}
	if len(v.Damage) == 0 {
		return nil
	}
	left := 0
	for _, d := range v.Damage {
		if !d.Repaired {
			left++
		}
	}
	end := &codeError{
		code: exitDamaged, err: fmt.Errorf("%w: %d findings, %d of them repaired", checkpoint.ErrDamaged, len(v.Damage), len(v.Damage)-left),
		remedy: "what is not named is whole: restore takes each component from the newest checkpoint that has it so; " +
			"'helix-ckpt verify --all --repair' takes damaged files out of use",
	}
	switch {
	case left == 0:
		end.remedy = "what was damaged is whole again or out of use, and lies in quarantine"
	case len(v.Repaired) > 0:
		end.remedy = "what is not named is whole: restore takes each component from the newest checkpoint that has it so"
	}
	return end
}

// tellVerified prints a verification for people.
func (a *app) tellVerified(v verified) {
	fmt.Fprintf(a.stdout, "read back: checkpoints %d (%s), packs %d (%s)\n", v.Checkpoints, bytes(v.PlainBytes), v.Packs, bytes(v.PackBytes))
	if o := v.Orphans; o != nil && o.Chunks > 0 {
		fmt.Fprintf(a.stdout, "needed by no checkpoint, no damage: packs %d (%s), chunks %d in all\n", o.Packs, bytes(o.PackBytes), o.Chunks)
	}
	for _, d := range v.Damage {
		what := "damaged:"
		if d.Repaired {
			what = "was damaged:"
		}
		for _, s := range []string{d.File, hurt(d), d.Component, d.Path} {
			if s != "" {
				what += " " + s
			}
		}
		fmt.Fprintln(a.stdout, printable(what+": "+d.Problem))
	}
	for _, r := range v.Repaired {
		what := ""
		switch {
		case r.Rewritten:
			what = ", written anew: its content is proven"
		case r.Chunks > 0:
			what = fmt.Sprintf(", %d of %d chunks were good and are kept", r.Kept, r.Chunks)
		}
		fmt.Fprintln(a.stdout, printable("in quarantine: "+r.Quarantine+what))
	}
}

// hurt names the checkpoints that damage touches.
func hurt(d rpc.Damage) string {
	if len(d.Checkpoints) == 0 {
		return ""
	}
	if d.Hurt == 1 {
		return string(d.Checkpoints[0])
	}
	return fmt.Sprintf("%s and %d older", d.Checkpoints[0], d.Hurt-1)
}

// progressBar shows how far something is, on a terminal only.
type progressBar struct {
	a    *app
	what string
	last int64
	on   bool
}

func (a *app) progress(what string) *progressBar {
	f, ok := a.stderr.(*os.File)
	on := false
	if ok && !a.json() && !a.quiet {
		info, err := f.Stat()
		on = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return &progressBar{a: a, what: what, last: -1, on: on}
}

func (p *progressBar) show(done, total int64) {
	if !p.on || total == 0 {
		return
	}
	if percent := done * 100 / total; percent != p.last {
		p.last = percent
		fmt.Fprintf(p.a.stderr, "\r%s %3d %%  %s of %s ", p.what, percent, bytes(done), bytes(total))
	}
}

func (p *progressBar) end() {
	if p.on && p.last >= 0 {
		fmt.Fprint(p.a.stderr, "\r\x1b[K")
	}
}
