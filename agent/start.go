package agent

import (
	"context"
	"fmt"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

// Mode is what the agent was told to restore at its start.
type Mode string

// The modes; any other is the id of a checkpoint.
const (
	// Auto: what was lost is restored, what is there is kept.
	Auto Mode = "auto"
	// Wait: nothing is captured until somebody has restored or declined, or the
	// start timeout has passed; then as Auto.
	Wait Mode = "wait"
	// Never: capture what is there.
	Never Mode = "never"
)

// ParseMode reads the value of --restore.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Auto, Wait, Never:
		return m, nil
	}
	if _, err := checkpoint.ParseID(s); err != nil {
		return "", fmt.Errorf("%w: --restore %q: want auto, wait, never or a checkpoint id", checkpoint.ErrInvalid, s)
	}
	return Mode(s), nil
}

// checkpoint returns the checkpoint that m names, if it names one.
func (m Mode) checkpoint() (checkpoint.ID, bool) {
	return checkpoint.ID(m), m != Auto && m != Wait && m != Never
}

// checkMode goes on as Auto, loudly, where a checkpoint is to be restored that is
// not there: what was lost is restored, and nothing is captured over it. It can
// be restored by hand once it has come.
func (a *Agent) checkMode(ctx context.Context) error {
	id, ok := a.mode.checkpoint()
	if !ok {
		return nil
	}
	there, err := a.k.has(ctx, id)
	if err != nil || there {
		return err
	}
	a.mode = Auto
	problem := fmt.Sprintf("--restore %s: this session has no such checkpoint; it was started as with --restore auto", id)
	a.log.Error("start", "problem", problem)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.misled = problem
	return nil
}

// Found is what a starting agent finds: all that its decision depends on.
type Found struct {
	Mode Mode
	// Committed: the session has a checkpoint.
	Committed bool
	// Decided is the start decision already made in this instance, if one was.
	Decided *restore.Decision
	// Undone: what was decided to be restored is not, since its restore was cut
	// off and everything left as it was.
	Undone bool
	// SameInstance: the latest checkpoint was taken in this instance.
	SameInstance bool
	// SameCompositor: the Sway of the latest checkpoint is the one that answers.
	SameCompositor bool
	// Databases: Zed's are there. ZedRunning: a Zed has them open.
	Databases, ZedRunning bool
}

// Decision is what the agent does with what it finds. Files and desk (windows
// with layout) are decided apart.
type Decision struct {
	// Wait: it is not made yet.
	Wait        bool
	Files, Desk restore.Choice
	Reason      string
}

// Decide is the start decision. Nothing is committed before it is made, or an
// empty desk would overwrite what is to be restored.
func Decide(f Found) Decision {
	id, named := f.Mode.checkpoint()
	both := func(c restore.Choice, reason string) Decision { return Decision{Files: c, Desk: c, Reason: reason} }
	switch {
	case f.Mode == Never:
		return both(restore.ChoiceNever, "--restore never")
	case f.Decided != nil && f.Decided.Files == restore.ChoiceDeclined:
		return both(restore.ChoiceDeclined, "it was declined in this instance")
	case f.Mode == Wait && f.Decided == nil:
		return Decision{Wait: true, Reason: "--restore wait"}
	case named && f.Decided == nil:
		return both(restore.ChoiceRestore, fmt.Sprintf("--restore %s", id))
	case !f.Committed:
		return both(restore.ChoiceNothing, "there is no checkpoint yet")
	case f.Decided != nil || f.SameInstance:
		return restarted(f)
	}
	d := Decision{Files: restore.ChoiceKeep, Desk: restore.ChoiceRestore, Reason: "Zed's databases are there"}
	switch {
	case f.ZedRunning:
		d.Reason = "Zed is running on its databases"
	case !f.Databases:
		d.Files, d.Reason = restore.ChoiceRestore, "Zed's databases are missing"
	}
	return d
}

// restarted decides for an agent that comes back into its own instance: the
// files are the session's own, and so is the desktop if Sway lived on.
func restarted(f Found) Decision {
	d := Decision{Files: restore.ChoiceKeep, Desk: restore.ChoiceKeep, Reason: "the agent was restarted"}
	switch {
	case f.Undone && f.Decided.Files == restore.ChoiceRestore && !f.Databases && !f.ZedRunning:
		d.Files, d.Desk, d.Reason = restore.ChoiceRestore, f.Decided.Desk, "the agent was restarted, and its restore had been cut off"
	case !f.SameCompositor:
		d.Desk, d.Reason = restore.ChoiceRestore, "the agent was restarted, and Sway is another one or not there yet"
	}
	return d
}
