package sway

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/joshuarubin/go-sway"
)

// MaxPayload is how many bytes of commands go into one Run. Sway reads a
// message into one buffer of its socket: above some 210 kB it never answers.
const MaxPayload = 60 << 10

// Separator stands between commands in a payload: a semicolon, because after
// a comma the next command would inherit the criteria of the one before.
const Separator = "; "

// ErrPayload is returned for commands that do not go into one message.
var ErrPayload = errors.New("too many commands for one message")

// Result of one command.
type Result struct {
	Success bool
	// Error is Sway's own text; empty on success.
	Error string
}

// InvalidCommand is returned when Sway did not understand a command. Those
// before it were run, it and those after it were not.
type InvalidCommand struct { //nolint:errname // it reads as what it is: *sway.InvalidCommand
	Index   int
	Command string
	Text    string
}

func (e *InvalidCommand) Error() string {
	return fmt.Sprintf("sway does not understand command %d, %q: %s", e.Index, e.Command, e.Text)
}

// Run executes commands in one message, so that they share a transaction: it
// is faster than one by one, and no client can draw in between. Each string
// is exactly one command, without a separator.
//
// A command that fails does not stop the others and is no error of Run: its
// Result says so. There is one result for every command; when one is invalid,
// the error is an *InvalidCommand and the results end with it.
func (s Socket) Run(ctx context.Context, commands []string) ([]Result, error) {
	payload := strings.Join(commands, Separator)
	switch {
	case len(commands) == 0:
		return nil, nil
	case len(payload) > MaxPayload:
		return nil, fmt.Errorf("%w: %d commands of %d bytes, more than %d", ErrPayload, len(commands), len(payload), MaxPayload)
	case strings.ContainsAny(payload, "\n\x00"):
		return nil, errors.New("a command with a line break or NUL, which cannot be sent")
	}
	var results []Result
	err := s.with(ctx, "command", func(ctx context.Context, client sway.Client) error {
		replies, err := client.RunCommand(ctx, payload)
		if len(replies) == 0 {
			if err == nil {
				err = errSenseless
			}
			return err
		}
		// What err says more is the whole payload, once for each failure.
		for _, r := range replies {
			results = append(results, Result{Success: r.Success, Error: r.Error})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return checkResults(commands, results)
}

func checkResults(commands []string, results []Result) ([]Result, error) {
	last := len(results) - 1
	switch {
	case len(results) > len(commands):
		return nil, fmt.Errorf("sway gave %d results for %d commands; does one hold a separator?", len(results), len(commands))
	case len(results) < len(commands) && results[last].Success:
		return nil, fmt.Errorf("sway gave %d results for %d commands", len(results), len(commands))
	case len(results) < len(commands):
		return results, &InvalidCommand{Index: last, Command: commands[last], Text: results[last].Error}
	}
	return results, nil
}
