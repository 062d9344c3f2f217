package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/helixml/helix-ckpt/agent"
	"github.com/helixml/helix-ckpt/checkpoint/discover"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
)

// app is what the commands share: the global flags and where to write.
type app struct {
	find      discover.Options
	output    string
	quiet     bool
	verbose   bool
	logFormat string
	limits    agent.Limits

	compression repository.Compression

	getenv         func(string) string
	stdout, stderr io.Writer
	log            *slog.Logger
}

// run executes the command line args and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	a := &app{limits: agent.DefaultLimits(), getenv: getenv, stdout: stdout, stderr: stderr, log: slog.New(slog.DiscardHandler)}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && err.Error() != "" {
		fmt.Fprintf(stderr, "helix-ckpt: %v\n", err)
		if r := remedy(err); r != "" {
			fmt.Fprintf(stderr, "  %s\n", r)
		}
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "helix-ckpt",
		Short: "Checkpoints a desktop session and brings it back elsewhere",
		Long: `helix-ckpt checkpoints a desktop session (Zed, the agents' conversations, windows
and their layout) and brings it back after a crash or on another host.

Run 'helix-ckpt run' beside the session; it does the rest. A SELECTOR is latest,
latest~N, the start of an id, or an RFC 3339 time. Every flag has an environment
variable: --zed-data-dir is HELIX_CKPT_ZED_DATA_DIR. 'helix-ckpt doctor' shows what is
used, and why.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done in part, 4 nothing to restore,
5 damaged data, 6 refused (Zed runs, another owner), 7 deadline passed.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
		Args:              usageArgs(cobra.NoArgs),
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := root.PersistentFlags()
	f.StringVar(&a.find.Dir, "dir", "", "directory of the checkpoints (default: .helix in the workspace)")
	f.StringVar(&a.find.Session, "session", "", "session id (default: $HELIX_SESSION_ID or \"default\")")
	f.StringVar(&a.find.Workspace, "workspace", "", "the session's workspace (default: $WORKSPACE_DIR, /workspace or ~/work)")
	f.StringVar(&a.find.ZedDataDir, "zed-data-dir", "", "Zed's data directory (default: $XDG_DATA_HOME/zed or ~/.local/share/zed)")
	f.StringVar(&a.find.ZedConfigDir, "zed-config-dir", "", "Zed's configuration directory (default: $XDG_CONFIG_HOME/zed or ~/.config/zed)")
	f.StringVar(&a.find.SwaySocket, "sway-socket", "", "Sway's IPC socket (default: the one that answers)")
	f.Var(&byteSize{&a.limits.MaxSize}, "max-size", "how much a session's checkpoints may take, as 4G; 0 is any (default: a tenth of the disk, at most 4G)")
	f.Var(&byteSize{&a.limits.KeepFree}, "keep-free", "how much of the disk stays free: below it there is no new checkpoint (default: a twentieth, at most 256M)")
	f.TextVar(&a.compression, "compression", repository.DefaultCompression, "`speed` of compressing checkpoints: default, or fastest with more bytes")
	f.StringVarP(&a.output, "output", "o", "table", "how to show results: table or json")
	f.BoolVarP(&a.quiet, "errors-only", "q", false, "log errors only")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log more")
	f.StringVar(&a.logFormat, "log-format", "text", "how to log: text or json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(a.runCommand(), a.checkpointCommand(), a.restoreCommand(), a.listCommand(), a.showCommand(),
		a.verifyCommand(), a.pruneCommand(), a.pinCommand(), a.deleteCommand(), a.exportCommand(), a.importCommand(), a.statusCommand(), a.doctorCommand(), a.versionCommand())
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
	}
	return root
}

// prepare takes flags that were not given from the environment and checks what
// all commands share.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if err := a.fromEnvironment(cmd.Flags()); err != nil {
		return err
	}
	if a.output != "table" && a.output != "json" {
		return usage("--output %q: want table or json", a.output)
	}
	level := slog.LevelInfo
	switch {
	case a.quiet:
		level = slog.LevelError
	case a.verbose:
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	switch a.logFormat {
	case "text":
		a.log = slog.New(slog.NewTextHandler(a.stderr, options))
	case "json":
		a.log = slog.New(slog.NewJSONHandler(a.stderr, options))
	default:
		return usage("--log-format %q: want text or json", a.logFormat)
	}
	a.find.Env = a.getenv
	return nil
}

func (a *app) fromEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := discover.EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		v := a.getenv(name)
		// What discover reads itself stays with it, which knows where it came from.
		if f.Changed || v == "" || f.Name == "help" || isDiscovered(f.Name) {
			return
		}
		if err := flags.Set(f.Name, v); err != nil {
			errs = append(errs, usage("%s=%q: %w", name, v, err))
		}
	})
	return errors.Join(errs...)
}

func isDiscovered(flag string) bool {
	switch flag {
	case "dir", "session", "workspace", "zed-data-dir", "zed-config-dir", "sway-socket", "socket":
		return true
	}
	return false
}

// site finds out what the command works on.
func (a *app) site() (discover.Session, error) {
	s, err := discover.Find(a.find)
	if err != nil {
		return s, &codeError{code: exitUsage, err: err}
	}
	a.log.Debug("session", "id", s.ID, "dir", s.Dir)
	return s, nil
}

// json reports whether results are to be JSON.
func (a *app) json() bool { return a.output == "json" }

// usage is an error of the command line: exit code 2.
func usage(format string, args ...any) error {
	return &codeError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			check = cobra.NoArgs
		}
		if err := check(cmd, args); err != nil {
			return usage("%w; see '%s --help'", err, cmd.CommandPath())
		}
		return nil
	}
}
