package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/agent"
)

func (a *app) runCommand() *cobra.Command {
	var o agent.Options
	var mode string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent: restore what was lost, then checkpoint until the end",
		Long: `Runs the agent of one session, beside it and for as long as it lives. At the start
it decides what to restore (see --restore), then takes a checkpoint every --interval
and on change, and a last one when it is told to stop (SIGTERM).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Restore, err = agent.ParseMode(mode); err != nil {
				return err
			}
			if o.Interval <= 0 || o.Quiet < 0 || o.StartTimeout < 0 || o.StopTimeout < 0 {
				return usage("--interval must be above 0; --quiet, --start-timeout and --stop-timeout must not be below 0")
			}
			site, err := a.site()
			if err != nil {
				return err
			}
			o.Version, o.Limits, o.Compression, o.Log = version(), a.limits, a.compression, a.log
			return agent.Run(cmd.Context(), site, o)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.Interval, "interval", time.Minute, "longest time between two checkpoints")
	f.DurationVar(&o.Quiet, "quiet", time.Second, "how long nothing must change before a change is captured")
	f.StringVar(&mode, "restore", string(agent.Auto), "at the start: auto, wait (for an orchestrator), never, or a checkpoint id")
	f.Uint64Var(&o.Epoch, "epoch", 0, "epoch to own the session at (default: by the rules of ownership)")
	f.DurationVar(&o.StartTimeout, "start-timeout", 20*time.Second, "how long the start may wait for a restore and for windows")
	f.DurationVar(&o.StopTimeout, "stop-timeout", 2*time.Second, "how long the last checkpoint may take")
	f.StringVar(&a.find.Socket, "socket", "", "unix socket of the API (default: $XDG_RUNTIME_DIR/helix-ckpt.sock)")
	f.BoolVar(&o.Reflection, "reflection", false, "let grpcurl and the like list the API")
	return cmd
}
