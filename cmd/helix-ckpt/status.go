package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/session"
)

// status is the state of a session as it is printed.
type status struct {
	Session   string                      `json:"session"`
	Dir       string                      `json:"dir"`
	Running   bool                        `json:"running"`
	State     string                      `json:"state"`
	PID       int                         `json:"pid,omitempty"`
	Epoch     uint64                      `json:"epoch,omitempty"`
	Latest    checkpoint.ID               `json:"latest,omitempty"`
	Created   time.Time                   `json:"created,omitzero"`
	Confirmed time.Time                   `json:"confirmed,omitzero"`
	UnsavedS  float64                     `json:"unsaved_seconds"`
	Component map[string]checkpoint.State `json:"components,omitempty"`
	Restore   string                      `json:"restore,omitempty"`
	Problems  []string                    `json:"problems,omitempty"`
}

// statusTimeout bounds the wait for an agent, which answers in milliseconds or
// hangs.
const statusTimeout = 5 * time.Second

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what the agent does and how safe the session is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			site, err := a.site()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
			defer cancel()
			o, err := a.agent(ctx, site)
			if isAny(err, rpc.ErrNoAgent, checkpoint.ErrLocked) {
				s := a.lastStatus(cmd, session.Dir(site.Dir, site.ID), site.ID)
				if !errors.Is(err, rpc.ErrNoAgent) {
					s.Problems = append(s.Problems, err.Error())
				}
				return a.printStatus(s)
			}
			if err != nil {
				return err
			}
			defer o.close()
			s, err := o.agent.Status(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("%s has not answered for %s: %w", o.holder, statusTimeout, err)
			}
			if err != nil {
				return err
			}
			return a.printStatus(liveStatus(s))
		},
	}
}

func liveStatus(s rpc.Status) status {
	out := status{
		Session: s.Session, Dir: s.Dir, Running: true, State: string(s.State), PID: s.AgentPID, Epoch: s.Epoch,
		Confirmed: s.Confirmed, UnsavedS: s.Unsaved.Seconds(), Problems: s.Problems, Component: map[string]checkpoint.State{},
	}
	for name, h := range s.Components {
		out.Component[name] = h.State
	}
	if s.Latest != nil {
		out.Latest, out.Created = s.Latest.ID, s.Latest.Created
	}
	if s.Restore != nil {
		out.Restore = fmt.Sprintf("%s %s", s.Restore.Checkpoint, s.Restore.Phase)
	}
	return out
}

// lastStatus is what is known when no agent runs.
func (a *app) lastStatus(cmd *cobra.Command, dir, id string) status {
	out := status{Session: id, Dir: dir, State: "no agent"}
	last, err := session.LoadStatus(dir)
	switch {
	case err == nil:
		out.Epoch, out.Latest, out.Component = last.Epoch, last.LastCheckpoint, last.Components
		if last.State != string(rpc.SessionStopping) {
			out.Problems = append(out.Problems, "the agent did not stop by itself; its last state was "+last.State)
		}
	case !errors.Is(err, fs.ErrNotExist):
		out.Problems = append(out.Problems, err.Error())
	}
	repo, err := repository.Open(dir)
	if err != nil {
		out.Problems = append(out.Problems, err.Error())
		return out
	}
	entries, damage, err := repo.List(cmd.Context())
	if err != nil {
		out.Problems = append(out.Problems, err.Error())
	}
	for _, d := range damage {
		out.Problems = append(out.Problems, d.Err.Error())
	}
	if len(entries) > 0 {
		e := entries[0]
		out.Latest, out.Created, out.Epoch, out.Component = e.ID, e.Created, max(out.Epoch, e.Epoch), e.Components
	}
	return out
}

func (a *app) printStatus(s status) error {
	if a.json() {
		return a.printJSON(s)
	}
	agentLine := s.State
	if s.Running {
		agentLine = fmt.Sprintf("%s (pid %d)", s.State, s.PID)
	}
	latest := "none"
	if s.Latest != "" {
		latest = fmt.Sprintf("%s, created %s", s.Latest, moment(s.Created))
	}
	rows := [][]string{
		{"session", s.Session},
		{"directory", s.Dir},
		{"agent", agentLine},
		{"epoch", fmt.Sprint(s.Epoch)},
		{"latest", latest},
		{"components", states(s.Component)},
	}
	if s.Running {
		rows = append(rows, []string{"confirmed", moment(s.Confirmed)}, []string{"unsaved for", fmt.Sprintf("%.0f s", s.UnsavedS)})
	}
	if s.Restore != "" {
		rows = append(rows, []string{"restore", s.Restore})
	}
	for _, p := range s.Problems {
		rows = append(rows, []string{"problem", p})
	}
	return table(a.stdout, rows...)
}
