// Command helix-ckpt makes a remote desktop session impossible to lose: it
// checkpoints what is in it, and brings that back somewhere else.
//
// This package is the command line and nothing else: flags and their
// environment variables, who does the work (the agent when one runs, else this
// process), rendering, exit codes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
