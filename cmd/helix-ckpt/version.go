package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// release is set by the linker for a release; otherwise the version comes from
// what Go knows of the build.
var release string

func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") && len(s.Value) >= 12 {
			v = "devel-" + s.Value[:12]
		}
	}
	return v
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and the format it writes",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return a.printJSON(map[string]string{"version": version(), "format": checkpoint.Format, "go": runtime.Version()})
			}
			_, err := fmt.Fprintf(a.stdout, "helix-ckpt %s (format %s, %s)\n", version(), checkpoint.Format, runtime.Version())
			return err
		},
	}
}
