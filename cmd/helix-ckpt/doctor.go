package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/checkpoint/discover"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what was found here, what is wrong, and how to mend it",
		Long: `Says what helix-ckpt found, where, and why there; what is wrong, and how to mend it.
Exit code 1 when something keeps it from working.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			site, err := a.site()
			if err != nil {
				return err
			}
			findings := discover.Diagnose(cmd.Context(), site)
			if err := a.printFindings(site, findings); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Level == discover.Problem {
					return &codeError{code: exitFailed}
				}
			}
			return nil
		},
	}
}

func (a *app) printFindings(site discover.Session, findings []discover.Finding) error {
	if a.json() {
		return a.printJSON(map[string]any{"values": site.Values, "findings": findings})
	}
	rows := [][]string{}
	for _, v := range site.Values {
		rows = append(rows, []string{v.Name, v.Value, v.From})
	}
	if err := table(a.stdout, rows...); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	for _, f := range findings {
		fmt.Fprintf(a.stdout, "%-8s %s: %s\n", f.Level, f.What, printable(f.Detail))
		if f.Remedy != "" {
			fmt.Fprintf(a.stdout, "         → %s\n", printable(f.Remedy))
		}
	}
	return nil
}
