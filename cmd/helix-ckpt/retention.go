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

// pruned is the result of prune as it is printed.
type pruned struct {
	Deleted    []checkpoint.ID `json:"deleted"`
	Kept       int             `json:"kept"`
	Held       []checkpoint.ID `json:"held,omitempty"`
	FreedBytes int64           `json:"freed_bytes"`
	DryRun     bool            `json:"dry_run,omitempty"`
	Blocked    []string        `json:"blocked,omitempty"`
}

func (a *app) pruneCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete old checkpoints, as the agent does by itself",
		Long: `Deletes old checkpoints and frees what only they needed. Kept are, counted back from
the newest: all of 5 minutes (at most 30), one a minute for an hour, one an hour for
a day, one a day for a week; pinned ones; what a restore may still need; and what
somebody reads now. Of the rest the oldest go when they take more than --max-size.
Exit code 3 when space could not be freed because a checkpoint cannot be read.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.prune(cmd.Context(), dryRun)
			if err != nil {
				return err
			}
			return a.printPruned(p, dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would go")
	return cmd
}

func (a *app) prune(ctx context.Context, dryRun bool) (rpc.Pruned, error) {
	site, err := a.site()
	if err != nil {
		return rpc.Pruned{}, err
	}
	if _, err := os.Stat(session.Dir(site.Dir, site.ID)); errors.Is(err, fs.ErrNotExist) {
		return rpc.Pruned{}, nil // and nothing is made
	}
	o, err := a.owner(ctx, site, "prune")
	if err != nil {
		return rpc.Pruned{}, err
	}
	defer o.close()
	if o.agent != nil {
		return o.agent.Prune(ctx, dryRun)
	}
	return o.keeper.Prune(ctx, dryRun)
}

func (a *app) printPruned(p rpc.Pruned, dryRun bool) error {
	out := pruned{Deleted: p.Deleted, Kept: p.Kept, Held: p.Held, FreedBytes: p.FreedBytes, DryRun: dryRun, Blocked: p.Blocked}
	if out.Deleted == nil {
		out.Deleted = []checkpoint.ID{}
	}
	if a.json() {
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else {
		what := "deleted %d (%s), kept %d\n"
		if dryRun {
			what = "would delete %d (%s) and keep %d\n"
		}
		for _, id := range p.Deleted {
			fmt.Fprintln(a.stdout, id)
		}
		fmt.Fprintf(a.stdout, what, p.Count, bytes(p.FreedBytes), p.Kept)
		for _, id := range p.Held {
			fmt.Fprintf(a.stdout, "kept until it is no longer read: %s\n", id)
		}
		if p.Over != "" {
			fmt.Fprintln(a.stdout, p.Over)
		}
		for _, b := range p.Blocked {
			fmt.Fprintf(a.stdout, "content not freed: %s\n", printable(b))
		}
	}
	if len(p.Blocked) > 0 {
		return &codeError{
			code: exitPart, err: fmt.Errorf("content was not freed: what %d checkpoints need cannot be read in full", len(p.Blocked)),
			remedy: "'helix-ckpt verify --all' says what is damaged; 'helix-ckpt delete ID' gives a damaged one up",
		}
	}
	return nil
}

func (a *app) pinCommand() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "pin SELECTOR",
		Short: "Keep a checkpoint until its pin is removed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.pin(cmd.Context(), args[0], !remove)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(e)
			}
			what := "pinned"
			if remove {
				what = "not pinned"
			}
			_, err = fmt.Fprintf(a.stdout, "%s  %s\n", e.ID, what)
			return err
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the pin")
	return cmd
}

func (a *app) pin(ctx context.Context, selector string, pinned bool) (checkpoint.Entry, error) {
	o, e, err := a.ownerOf(ctx, "pin", selector)
	if err != nil {
		return e, err
	}
	defer o.close()
	if o.agent != nil {
		return o.agent.Pin(ctx, string(e.ID), pinned)
	}
	return o.keeper.Pin(ctx, string(e.ID), pinned)
}

// ownerOf finds the checkpoint that selector means, and who may change it.
func (a *app) ownerOf(ctx context.Context, command, selector string) (*owner, checkpoint.Entry, error) {
	site, err := a.site()
	if err != nil {
		return nil, checkpoint.Entry{}, err
	}
	repo, err := openRepository(site)
	if err != nil {
		return nil, checkpoint.Entry{}, err
	}
	entries, err := agent.Entries(ctx, repo)
	if err != nil {
		return nil, checkpoint.Entry{}, err
	}
	e, err := checkpoint.Select(entries, selector)
	if err != nil {
		return nil, e, err
	}
	o, err := a.owner(ctx, site, command)
	return o, e, err
}

func (a *app) deleteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete SELECTOR",
		Short: "Delete one checkpoint, pinned or not",
		Long: `Deletes one checkpoint for ever, pinned or not, and frees what only it needed. The
only good one, one that a restore may still need, and one that somebody reads now
are refused, 6. Without --yes it only says which one the selector means.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			o, e, err := a.ownerOf(ctx, "delete", args[0])
			if err != nil {
				return err
			}
			defer o.close()
			if !yes {
				return usage("this would delete %s of %s for ever: say so with --yes", e.ID, moment(e.Created))
			}
			p := rpc.Pruned{}
			if o.agent != nil {
				p.FreedBytes, err = o.agent.Delete(ctx, e.ID)
			} else {
				p, err = o.keeper.Delete(ctx, e.ID)
			}
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]any{"id": e.ID, "freed_bytes": p.FreedBytes})
			}
			_, err = fmt.Fprintf(a.stdout, "%s  deleted, %s freed\n", e.ID, bytes(p.FreedBytes))
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really delete it")
	return cmd
}
