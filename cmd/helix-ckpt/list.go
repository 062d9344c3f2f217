package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/discover"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/session"
)

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the session's checkpoints, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			site, err := a.site()
			if err != nil {
				return err
			}
			repo, err := openRepository(site)
			if err != nil {
				return err
			}
			entries, damage, err := repo.List(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.printList(entries, site); err != nil {
				return err
			}
			if len(damage) == 0 {
				return nil
			}
			code, errs := exitPart, []error{}
			for _, d := range damage {
				errs = append(errs, fmt.Errorf("left out: %w", d.Err))
				if errors.Is(d.Err, checkpoint.ErrDamaged) {
					code = exitDamaged
				}
			}
			return &codeError{code: code, err: errors.Join(errs...)}
		},
	}
}

func (a *app) printList(entries []checkpoint.Entry, site discover.Session) error {
	if a.json() {
		if entries == nil {
			entries = []checkpoint.Entry{}
		}
		return a.printJSON(entries)
	}
	if len(entries) == 0 {
		a.log.Info("no checkpoints", "session", site.ID, "dir", site.Dir)
		return nil
	}
	rows := [][]string{{"ID", "EPOCH", "SEQ", "CREATED", "REASON", "SIZE", "NEW", "COMPONENTS"}}
	for _, e := range entries {
		id := string(e.ID)
		if e.Pinned {
			id += " (pinned)"
		}
		rows = append(rows, []string{
			id, strconv.FormatUint(e.Epoch, 10), strconv.FormatUint(e.Seq, 10), moment(e.Created), e.Reason,
			bytes(e.PlainBytes), bytes(e.NewBytes), states(e.Components),
		})
	}
	return table(a.stdout, rows...)
}

// openRepository opens the session's repository for reading. It works beside a
// running agent.
func openRepository(site discover.Session) (*repository.Repository, error) {
	repo, err := repository.Open(session.Dir(site.Dir, site.ID))
	if err != nil {
		return nil, fmt.Errorf("session %s in %s: %w", site.ID, site.Dir, err)
	}
	return repo, nil
}
