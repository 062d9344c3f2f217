package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

func TestEveryErrorHasItsExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitDone},
		{errors.New("something"), exitFailed},
		{checkpoint.ErrNotFound, exitFailed}, // only a restore makes 4 of it
		{nothingToRestore(checkpoint.ErrNotFound), exitNothing},
		{nothingToRestore(checkpoint.ErrNothing), exitNothing},
		{nothingToRestore(checkpoint.ErrDamaged), exitDamaged},
		{usage("--flag"), exitUsage},
		{checkpoint.ErrInvalid, exitUsage},
		{checkpoint.ErrRequestReused, exitUsage},
		{checkpoint.ErrDamaged, exitDamaged},
		{&checkpoint.ZedRunning{PID: 1}, exitRefused},
		{checkpoint.ErrLocked, exitRefused},
		{checkpoint.ErrFenced, exitRefused},
		{checkpoint.ErrEpoch, exitRefused},
		{checkpoint.ErrUndecided, exitRefused},
		{checkpoint.ErrBusy, exitRefused},
		{checkpoint.ErrOtherSession, exitRefused},
		{restore.ErrMapNeeded, exitRefused},
		{restore.ErrUnfinished, exitRefused},
		{context.DeadlineExceeded, exitDeadline},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := exitCode(fmt.Errorf("wrapped: %w", c.err)); got != c.want {
			t.Errorf("wrapped %v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

func TestRemedyFitsTheError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string // "" is none at all
	}{
		{errors.New("something"), ""},
		{fmt.Errorf("export: %w", fs.ErrPermission), "--file"},
		{fmt.Errorf("lock: %w", syscall.EROFS), "mount it writable"},
		{checkpoint.ErrNoSpace, "free some space"},
		{checkpoint.ErrDamaged, "verify --all"},
		{&codeError{code: exitDamaged, err: checkpoint.ErrDamaged, remedy: "copy it"}, "copy it"},
	} {
		if got := remedy(c.err); !strings.Contains(got, c.want) || (c.want == "" && got != "") {
			t.Errorf("%v: remedy %q, want %q in it", c.err, got, c.want)
		}
	}
}

func TestBytesHasThreeDigits(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1600: "1.6 KiB", 10 << 10: "10 KiB", 999 << 10: "999 KiB",
		1023 << 10: "1.0 MiB", 5 << 30: "5.0 GiB", 1 << 62: "4.0 EiB",
	} {
		if got := bytes(n); got != want {
			t.Errorf("bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

// A title or path is of somebody else's making: what is printed of it must not
// be able to do anything to a terminal.
func TestPrintableHoldsNoControl(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("a\x1b\u009b\n\x00\x7f[2J")))).Draw(t, "s")
		got := printable(s)
		for _, r := range got {
			if r < ' ' || (r >= 0x7f && r < 0xa0) {
				t.Fatalf("printable(%q) = %q", s, got)
			}
		}
		if want := utf8.RuneCountInString(s); utf8.RuneCountInString(got) != want {
			t.Fatalf("printable(%q) has %d runes, want %d", s, utf8.RuneCountInString(got), want)
		}
	})
}
