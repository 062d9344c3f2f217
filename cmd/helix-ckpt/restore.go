package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/agent"
	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/session"
	"github.com/helixml/helix-ckpt/restore"
)

func (a *app) restoreCommand() *cobra.Command {
	r := rpc.RestoreRequest{}
	var phase string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "restore [SELECTOR]",
		Short: "Bring a checkpoint back: files, windows, layout",
		Long: `Brings a checkpoint back, through the agent when one runs. Files are verified and
put in place first (what was there is kept), then windows are started and placed.
Without a selector it is the latest, or one whose restore failed before.

--dry-run says what would be done. Refused (6) while Zed has its databases open.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Selector, r.Scope = first(args), restore.Scope(phase)
			switch {
			case r.MinAge < 0 || r.Wait <= 0:
				return usage("--at and --wait take a duration above 0")
			case r.MinAge > 0 && r.Selector != "":
				return usage("--at and a selector exclude each other")
			case !slices.Contains(scopes(), r.Scope):
				return usage("--phase %q: want files, windows, layout or all", phase)
			}
			for _, name := range r.Only {
				if !slices.Contains(checkpoint.Names(), name) {
					return usage("--only %q: want some of %s", name, strings.Join(checkpoint.Names(), ", "))
				}
			}
			if dryRun {
				return a.plan(cmd.Context(), r)
			}
			report, err := a.restore(cmd.Context(), r)
			if report == nil {
				return nothingToRestore(err)
			}
			if printed := a.printReport(report); err == nil {
				return printed
			}
			return err
		},
	}
	f := cmd.Flags()
	f.DurationVar(&r.MinAge, "at", 0, "the newest checkpoint that is at least this old, as 10m")
	f.StringVar(&phase, "phase", string(restore.ScopeAll), "files, windows, layout or all")
	f.StringSliceVar(&r.Only, "only", nil, "only these components: zed, conversations, windows, layout, files")
	f.BoolVar(&dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.DurationVar(&r.Wait, "wait", restore.DefaultWait, "how long to wait for windows")
	return cmd
}

func scopes() []restore.Scope {
	return []restore.Scope{restore.ScopeAll, restore.ScopeFiles, restore.ScopeWindows, restore.ScopeLayout}
}

// nothingToRestore gives the exit code of a restore for which nothing was found.
func nothingToRestore(err error) error {
	if isAny(err, checkpoint.ErrNotFound, checkpoint.ErrNothing) {
		return &codeError{code: exitNothing, err: err}
	}
	return err
}

// plan prints what a restore would do. It works beside an agent.
func (a *app) plan(ctx context.Context, r rpc.RestoreRequest) error {
	site, err := a.site()
	if err != nil {
		return err
	}
	repo, err := openRepository(site)
	if err != nil {
		return err
	}
	q, err := agent.NewRequest(ctx, session.Dir(site.Dir, site.ID), repo, r)
	if err != nil {
		return nothingToRestore(err)
	}
	p, err := agent.NewRestorer(site, repo, nil).Plan(ctx, q)
	if err != nil {
		return nothingToRestore(err)
	}
	if err := a.printPlan(p); err != nil {
		return err
	}
	if p.Err() == nil && p.Degraded() {
		return &codeError{code: exitPart}
	}
	return nothingToRestore(p.Err())
}

// restore runs a restore to its end, and logs what happens meanwhile.
func (a *app) restore(ctx context.Context, r rpc.RestoreRequest) (*restore.Report, error) {
	site, err := a.site()
	if err != nil {
		return nil, err
	}
	o, err := a.owner(ctx, site, "restore")
	if err != nil {
		return nil, err
	}
	defer o.close()
	if o.keeper != nil {
		return o.keeper.Restore(ctx, r, a.logEvent)
	}
	var report *restore.Report
	for e, err := range o.agent.Restore(ctx, r) {
		if err != nil {
			return report, err
		}
		a.logEvent(e)
		if e.Report != nil {
			report = e.Report
		}
	}
	if report == nil {
		return nil, errors.New("the agent ended the restore without a report")
	}
	return report, nil
}

func (a *app) logEvent(e restore.Event) {
	switch {
	case e.Started != nil && e.Started.Latest != "":
		a.log.Info("restoring a checkpoint that is not the latest", "id", e.Started.Checkpoint, "latest", e.Started.Latest)
	case e.Started != nil:
		a.log.Info("restoring", "id", e.Started.Checkpoint)
	case e.Phase != "":
		a.log.Info("phase", "phase", e.Phase)
	case e.Warning != "":
		a.log.Warn(e.Warning)
	}
}

func (a *app) printPlan(p *restore.Plan) error {
	if a.json() {
		return a.printJSON(p)
	}
	fmt.Fprintf(a.stdout, "checkpoint %s\n", p.Checkpoint)
	if p.From != "" {
		fmt.Fprintf(a.stdout, "it is damaged: the older %s would be restored instead\n", p.From)
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(a.stdout, "warning: %s\n", printable(w))
	}
	rows := [][]string{{"COMPONENT", "NAME", "ACTION", "NOTE"}}
	for _, c := range p.Components {
		rows = append(rows, []string{c.Component, "", string(c.Action), c.Reason})
	}
	for _, f := range p.Files {
		rows = append(rows, []string{f.Component, f.Name, string(f.Action), f.Reason})
	}
	for _, w := range p.Windows {
		rows = append(rows, []string{checkpoint.NameWindows, w.App + " " + w.Title, string(w.Action), w.Reason})
	}
	if err := table(a.stdout, rows...); err != nil {
		return err
	}
	if p.Refused != "" {
		fmt.Fprintf(a.stdout, "would be refused: %s\n", printable(p.Refused))
	}
	return nil
}

func (a *app) printReport(r *restore.Report) error {
	if a.json() {
		if r.Items == nil {
			r.Items = []restore.Item{}
		}
		if err := a.printJSON(r); err != nil {
			return err
		}
		return reportCode(r)
	}
	fmt.Fprintf(a.stdout, "%s: %s in %s\n", r.Checkpoint, r.Outcome, r.End.Sub(r.Start).Round(time.Millisecond))
	rows := [][]string{{"COMPONENT", "RESULT", "BACK", "NOTE"}}
	for _, c := range r.Components {
		note := c.Reason
		if c.From != "" {
			note = fmt.Sprintf("from %s; %s", c.From, note)
		}
		rows = append(rows, []string{c.Component, string(c.Result), fmt.Sprintf("%d of %d", c.Restored, c.Of), note})
	}
	if err := table(a.stdout, rows...); err != nil {
		return err
	}
	for _, i := range r.Items {
		if i.Result == restore.Restored && i.Reason == "" {
			continue
		}
		name := i.Name
		if i.Label != "" {
			name = fmt.Sprintf("%s %q", i.Name, i.Label)
		}
		line := fmt.Sprintf("  %s %s: %s", i.Component, name, i.Result)
		if i.Reason != "" {
			line += ", " + i.Reason
		}
		fmt.Fprintln(a.stdout, printable(line))
	}
	for _, dir := range r.Aside {
		fmt.Fprintf(a.stdout, "what was there before is kept in %s\n", printable(dir))
	}
	if r.Error != "" {
		fmt.Fprintf(a.stdout, "rolled back: %s\n", printable(r.Error))
	}
	return reportCode(r)
}

// reportCode is the exit code of a restore that has ended.
func reportCode(r *restore.Report) error {
	switch {
	case r.Outcome == restore.RolledBack:
		return &codeError{code: exitFailed}
	case r.Class() == restore.InPart:
		return &codeError{code: exitPart}
	case r.Class() == restore.Nothing:
		return &codeError{code: exitFailed}
	}
	return nil
}
