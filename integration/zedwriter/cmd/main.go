// Command zedwriter writes as Zed does; see package zedwriter. It prints the
// line "ready" when it begins, logs each commit, and on SIGTERM prints a summary
// as one line of JSON.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "zedwriter:", err)
		os.Exit(1)
	}
}

func run() error {
	var c zedwriter.Config
	flag.StringVar(&c.Data, "data", "", "Zed's data directory")
	logPath := flag.String("log", "", "append each commit to this `file` (default: print it)")
	flag.Int64Var(&c.DBSize, "db-size", 0, "`bytes` of db.sqlite (default 30 MB)")
	flag.Int64Var(&c.ThreadsSize, "threads-size", 0, "`bytes` of threads.db (default 30 MB)")
	flag.IntVar(&c.ThreadSize, "thread-size", 0, "`bytes` of one conversation (default 300 KB)")
	flag.DurationVar(&c.DBEvery, "db-every", 0, "time between transactions on db.sqlite (default 20ms)")
	flag.DurationVar(&c.ThreadsEvery, "threads-every", 0, "time between saves of a conversation (default 50ms)")
	flag.DurationVar(&c.Burst, "burst", 0, "with --rest: how long it writes")
	flag.DurationVar(&c.Rest, "rest", 0, "how long it then rests (default: never)")
	flag.BoolVar(&c.Idle, "idle", false, "hold the databases open and write nothing")
	untilEOF := flag.Bool("until-eof", false, "also end when standard input ends: with the process that started it")
	flag.Parse()
	if c.Data == "" || flag.NArg() > 0 {
		return fmt.Errorf("usage: zedwriter --data DIR [flags]; see --help")
	}

	log := os.Stdout
	if *logPath != "" {
		f, err := os.OpenFile(*logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		log = f
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if *untilEOF {
		go func() {
			io.Copy(io.Discard, os.Stdin) //nolint:errcheck // an error ends it as well
			stop()
		}()
	}
	summary, err := zedwriter.Run(ctx, c, log, func() { fmt.Println("ready") })
	if err != nil {
		return err
	}
	fmt.Println(summary)
	return nil
}
