package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
)

// verified is the result of a verification as it is printed.
type verified struct {
	Checkpoints int             `json:"checkpoints"`
	Packs       int             `json:"packs"`
	PackBytes   int64           `json:"pack_bytes"`
	PlainBytes  int64           `json:"plain_bytes"`
	Damage      []damageMessage `json:"damage"`
}

type damageMessage struct {
	File       string        `json:"file,omitempty"`
	Checkpoint checkpoint.ID `json:"checkpoint,omitempty"`
	Component  string        `json:"component,omitempty"`
	Path       string        `json:"path,omitempty"`
	Error      string        `json:"error"`
}

func (a *app) verifyCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "verify [SELECTOR]",
		Short: "Read back every byte of a checkpoint, or of all",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return usage("--all and a selector exclude each other")
			}
			ctx := cmd.Context()
			site, err := a.site()
			if err != nil {
				return err
			}
			repo, err := openRepository(site)
			if err != nil {
				return err
			}
			var ids []checkpoint.ID
			if !all {
				id, err := verifyTarget(cmd, repo, first(args))
				if err != nil {
					return err
				}
				ids = []checkpoint.ID{id}
			}
			bar := a.progress("verify")
			report, err := repo.Verify(ctx, ids, func(p repository.Progress) { bar.show(p.Done, p.Total) })
			bar.end()
			if err != nil {
				return err
			}
			return a.printVerified(report)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every checkpoint of the session")
	return cmd
}

// verifyTarget returns the checkpoint that a selector means, also one whose
// manifest is damaged: to say that is what verify is for.
func verifyTarget(cmd *cobra.Command, repo *repository.Repository, selector string) (checkpoint.ID, error) {
	_, entry, release, err := load(cmd.Context(), repo, selector)
	release() // Verify holds it
	if errors.Is(err, checkpoint.ErrDamaged) {
		return entry.ID, nil
	}
	return entry.ID, err
}

func (a *app) printVerified(r repository.VerifyReport) error {
	out := verified{Checkpoints: r.Checkpoints, Packs: r.Packs, PackBytes: r.PackBytes, PlainBytes: r.PlainBytes, Damage: []damageMessage{}}
	for _, d := range r.Damage {
		out.Damage = append(out.Damage, damageMessage{d.File, d.Checkpoint, d.Component, d.Path, d.Err.Error()})
	}
	if a.json() {
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.stdout, "read back: checkpoints %d (%s), packs %d (%s)\n", r.Checkpoints, bytes(r.PlainBytes), r.Packs, bytes(r.PackBytes))
		for _, d := range r.Damage {
			fmt.Fprintf(a.stdout, "damaged: %s\n", printable(d.String()))
		}
	}
	if len(r.Damage) > 0 {
		return &codeError{
			code: exitDamaged, err: fmt.Errorf("%w: %d findings", checkpoint.ErrDamaged, len(r.Damage)),
			remedy: "what is not named is whole: restore takes each component from the newest checkpoint that has it so",
		}
	}
	return nil
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
