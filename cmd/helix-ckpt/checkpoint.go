package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/agent"
	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
)

// created is the result of a checkpoint as it is printed.
type created struct {
	ID         checkpoint.ID               `json:"id"`
	Epoch      uint64                      `json:"epoch"`
	Seq        uint64                      `json:"seq"`
	NewBytes   int64                       `json:"new_bytes"`
	Components map[string]checkpoint.State `json:"components"`
	// Confirmed: nothing had changed since this one.
	Confirmed bool `json:"confirmed,omitempty"`
	// Declined is the checkpoint that was not restored before.
	Declined checkpoint.ID `json:"declined,omitempty"`
}

func (a *app) checkpointCommand() *cobra.Command {
	var r rpc.CreateRequest
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Take a checkpoint now",
		Long: `Takes a checkpoint now, through the agent when one runs. When nothing has changed
since the last one, that one is confirmed. Exit code 3 when a component could not
be captured as it is now.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usage("--timeout takes a duration above 0")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			made, err := a.create(ctx, r)
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("no checkpoint within %s (--timeout): %w", timeout, err)
			}
			if err != nil {
				return err
			}
			return a.printCreated(made)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Reason, "reason", "request", "stored with it")
	f.BoolVar(&r.Pin, "pin", false, "keep it whatever retention says")
	f.StringVar(&r.RequestID, "request-id", "", "makes the command idempotent: the same id gives the same checkpoint")
	f.DurationVar(&timeout, "timeout", time.Minute, "give up after this long")
	return cmd
}

// create has the owner of the session take a checkpoint, and warns of what is
// not in it.
func (a *app) create(ctx context.Context, r rpc.CreateRequest) (rpc.Created, error) {
	site, err := a.site()
	if err != nil {
		return rpc.Created{}, err
	}
	o, err := a.owner(ctx, site, "checkpoint")
	if err != nil {
		return rpc.Created{}, err
	}
	defer o.close()
	if o.agent != nil {
		made, err := o.agent.Create(ctx, r)
		if err != nil {
			return made, err
		}
		if s, err := o.agent.Status(ctx); err == nil {
			a.warnIncomplete(s.Components)
		}
		return made, nil
	}
	// By hand it is the user's will: what could have been restored is declined.
	declined, err := o.keeper.Decline(ctx, "checkpoint by hand")
	if err != nil {
		return rpc.Created{}, err
	}
	result, err := o.keeper.Checkpoint(ctx, agent.Request{Reason: r.Reason, Pin: r.Pin, RequestID: r.RequestID})
	a.warnIncomplete(result.Heads)
	return rpc.Created{Entry: result.Entry, Confirmed: result.Confirmed, Declined: declined}, err
}

func (a *app) warnIncomplete(heads map[string]checkpoint.Head) {
	for _, name := range checkpoint.Names() {
		if h := heads[name]; h.State != "" && !h.State.Complete() {
			a.log.Warn("not captured as it is now", "component", name, "state", h.State, "reason", h.Error)
		}
	}
}

func (a *app) printCreated(c rpc.Created) error {
	e := c.Entry
	if c.Declined != "" {
		a.log.Warn("this session was not restored before it was captured; what was not restored is kept for 7 days", "id", c.Declined)
	}
	out := created{e.ID, e.Epoch, e.Seq, e.NewBytes, e.Components, c.Confirmed, c.Declined}
	if a.json() {
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else {
		what := fmt.Sprintf("%s new", bytes(out.NewBytes))
		if c.Confirmed {
			what = "unchanged, confirmed"
		}
		fmt.Fprintf(a.stdout, "%s  epoch %d, seq %d  %s  %s\n", e.ID, e.Epoch, e.Seq, what, states(e.Components))
	}
	for _, s := range e.Components {
		if !s.Complete() {
			return &codeError{code: exitPart}
		}
	}
	return nil
}
