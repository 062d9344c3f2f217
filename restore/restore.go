// Package restore brings a session back from a checkpoint: its files, its
// windows, and where they stood.
//
//	Request ─ Plan ─► planned ─► verified ─► staged ─► committed ─► files-ready ─► windows ─► layout ─► done
//	           │         └──── a crash or error here undoes ──┘└─ here it rolls forward ──┘          or degraded
//	           └ refused: Zed is running, a root has moved
//
// The phases are journaled in restore.json (Journal), each durably before what
// follows it. Files are staged beside their places, verified, and swapped in
// by package restore/files; what was there is kept. Windows and layout are the
// work of a Desk. Everything is reported: what came back, what did not, and
// why (Report, Event).
//
// A damaged checkpoint is replaced by the next older good one, component by
// component, and that is said; nothing unverified is ever restored.
//
// One restore runs at a time: the caller holds the session's lock.
package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore/files"
)

// Errors that a caller acts on, besides those of package checkpoint.
var (
	// ErrMapNeeded: the data names paths below a root that has moved since, so
	// it cannot be restored as it is. The message gives the map that would do.
	ErrMapNeeded = errors.New("a directory has moved")
	// ErrUnfinished: the journal holds a restore that has not ended. Recover,
	// and Resume where it says so, come first.
	ErrUnfinished = fmt.Errorf("%w: an earlier restore has not ended", checkpoint.ErrBusy)
)

// Source is where checkpoints come from: a repository.
type Source interface {
	files.Source
	// Hold keeps a checkpoint from being deleted until release is called.
	Hold(id checkpoint.ID) (release func(), err error)
	Load(ctx context.Context, id checkpoint.ID) (*checkpoint.Manifest, checkpoint.Hash, error)
	Files(ctx context.Context, set *checkpoint.FileSet) ([]checkpoint.File, error)
}

// Desk brings windows and their layout back to a live compositor. Each method
// calls report for what became of each window, and returns an error, such as
// one that wraps checkpoint.ErrNoCompositor, when it could not begin or go on.
type Desk interface {
	// Plan says what Windows would do, and changes nothing.
	Plan(ctx context.Context, d Desktop) ([]WindowPlan, error)
	// Windows launches the saved windows that are not there and waits for them,
	// at most d.Wait. A window it does not report counts as failed.
	Windows(ctx context.Context, d Desktop, report func(Item)) error
	// Layout puts the windows that are there in their places. What it does not
	// report counts as restored.
	Layout(ctx context.Context, d Desktop, report func(Item)) error
}

// Desktop is what a Desk brings back.
type Desktop struct {
	Checkpoint checkpoint.ID
	Windows    *checkpoint.Windows
	Layout     *checkpoint.Layout
	// Roots are what the logical paths of Windows are relative to, now.
	Roots map[string]string
	// Wait is how long windows may take to come, what is left of it after a
	// restart of the agent.
	Wait time.Duration
}

// Restorer restores into one session.
type Restorer struct {
	// Dir is the session directory, which restore.json is kept in.
	Dir    string
	Source Source
	// Roots are the present directories of $HOME, $WORKSPACE, $ZED_DATA.
	Roots map[string]string
	// KeepOut are directories that no file is restored into: the repository.
	KeepOut []string
	// Desk is nil where there is no desktop.
	Desk Desk
	// ZedClosed returns an error that wraps checkpoint.ErrZedRunning, best a
	// *checkpoint.ZedRunning, while Zed has its databases open. Nil means that
	// the caller knows that it has not.
	ZedClosed func(context.Context) error
	// Emit is called for each event, from one goroutine. It may be nil.
	Emit func(Event)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Hook is called before each change to the disk. Tests stop there.
	Hook files.Hook
}

// Scope is which phases of a restore run.
type Scope string

// The scopes. The empty one is ScopeAll.
const (
	ScopeAll     Scope = "all"
	ScopeFiles   Scope = "files"
	ScopeWindows Scope = "windows"
	ScopeLayout  Scope = "layout"
)

// DefaultWait is how long windows are waited for.
const DefaultWait = 20 * time.Second

// Request is what to restore.
type Request struct {
	// ID makes a request idempotent: the same one returns the same report.
	ID string
	// Selector is what the user asked for, as he wrote it; it and not
	// Checkpoint tells whether two requests are the same.
	Selector string
	// Checkpoint is what it means.
	Checkpoint checkpoint.ID
	// Older are the checkpoints before it, newest first: what is damaged is
	// looked for there.
	Older []checkpoint.ID
	// Latest is the latest checkpoint, to be named where it is another one.
	Latest checkpoint.ID
	Scope  Scope
	// Only names the components to restore; empty means all.
	Only []string
	// Wait bounds the wait for windows; 0 is DefaultWait.
	Wait time.Duration
}

// Candidates returns the ids of entries, sorted newest first, that are older
// than chosen: what Request.Older wants.
func Candidates(entries []checkpoint.Entry, chosen checkpoint.ID) []checkpoint.ID {
	at := slices.IndexFunc(entries, func(e checkpoint.Entry) bool { return e.ID == chosen })
	var older []checkpoint.ID
	for _, e := range entries[at+1:] {
		older = append(older, e.ID)
	}
	return older
}

// phases gives the phase that each component is restored in.
var phases = map[string]Scope{
	checkpoint.NameZed: ScopeFiles, checkpoint.NameConversations: ScopeFiles, checkpoint.NameFiles: ScopeFiles,
	checkpoint.NameWindows: ScopeWindows, checkpoint.NameLayout: ScopeLayout,
}

// selected returns the components that q asks for, in order.
func (q Request) selected() ([]string, error) {
	switch q.Scope {
	case "", ScopeAll, ScopeFiles, ScopeWindows, ScopeLayout:
	default:
		return nil, fmt.Errorf("%w: phase %q: want files, windows, layout or all", checkpoint.ErrInvalid, q.Scope)
	}
	for _, name := range q.Only {
		if phases[name] == "" {
			return nil, fmt.Errorf("%w: component %q: want some of %v", checkpoint.ErrInvalid, name, checkpoint.Names())
		}
	}
	var names []string
	for _, name := range checkpoint.Names() {
		inScope := q.Scope == "" || q.Scope == ScopeAll || q.Scope == phases[name]
		if inScope && (len(q.Only) == 0 || slices.Contains(q.Only, name)) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: none of the components %v is restored in phase %s", checkpoint.ErrInvalid, q.Only, q.Scope)
	}
	return names, nil
}

// whole reports whether q asks for everything.
func (q Request) whole() bool { return (q.Scope == "" || q.Scope == ScopeAll) && len(q.Only) == 0 }

// Digest is what tells two requests with the same id apart.
func (q Request) Digest() string {
	asked := q.Selector
	if asked == "" {
		asked = string(q.Checkpoint)
	}
	only := slices.Clone(q.Only)
	slices.Sort(only)
	b, err := json.Marshal([]any{asked, q.Scope, only, q.wait()})
	if err != nil {
		panic(err) // strings and a number: it cannot fail
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (q Request) wait() time.Duration {
	if q.Wait == 0 {
		return DefaultWait
	}
	return q.Wait
}

func (r *Restorer) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

func (r *Restorer) zedClosed(ctx context.Context) error {
	if r.ZedClosed == nil {
		return nil
	}
	if err := r.ZedClosed(ctx); err != nil {
		return fmt.Errorf("zed's databases cannot be replaced: %w", err)
	}
	return nil
}
