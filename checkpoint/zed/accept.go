package zed

import (
	"fmt"
	"strings"
	"time"
)

// SettleTime is how long Zed takes at most to write all of one change, which
// spans several transactions: look again after it. Zed gathers changes for
// 0.2 s before it writes them.
const SettleTime = 500 * time.Millisecond

// UnsettledError says why a sound snapshot of db.sqlite is not one to keep: Zed is
// in the middle of writing. The remedy is to look again a little later.
type UnsettledError struct {
	// Pointer is the session that the database points to and that has no
	// windows, "" if that is not what is wrong. Zed sets the pointer as it
	// starts and saves its windows seconds later; a restore of what lies
	// between gives nothing.
	Pointer string
	// Items are editor tabs whose path and text are not there.
	Items []Item
}

func (u *UnsettledError) Error() string {
	var why []string
	if u.Pointer != "" {
		why = append(why, fmt.Sprintf("it points to session %s, which has no windows yet (is Zed starting?)", u.Pointer))
	}
	if len(u.Items) > 0 {
		why = append(why, fmt.Sprintf("%d tabs have no text yet", len(u.Items)))
	}
	return "Zed's db.sqlite is not settled: " + strings.Join(why, "; ")
}

// Starting reports that the pointed-to session has no windows although others
// have: Zed has just started, or never got further.
func (f WorkspaceFacts) Starting() bool { return f.Pointer != "" && !f.PointerRows && f.HasWorkspaces }

// Acceptance decides which snapshots are ones that Zed can come back from. It
// remembers what it saw, so one is kept for a session. The zero value is ready;
// it is not safe for concurrent use.
type Acceptance struct {
	// since is when each orphan was first seen, without an interruption.
	since map[Item]time.Time
}

// Accept judges a snapshot seen at now: its pointer has windows, or none are
// expected because there are none at all, and every editor tab has its row of
// editors. Otherwise the error is an *UnsettledError.
//
// Tabs that have had no text for SettleTime are not about to get it: Zed lists
// editors over several files and never saves them, and they must not keep a
// session from being checkpointed. The pointer knows no such exception.
func (a *Acceptance) Accept(f WorkspaceFacts, now time.Time) error {
	since := make(map[Item]time.Time, len(f.Orphans))
	var u UnsettledError
	for _, item := range f.Orphans {
		first, seen := a.since[item]
		if !seen {
			first = now
		}
		since[item] = first
		if now.Sub(first) < SettleTime {
			u.Items = append(u.Items, item)
		}
	}
	a.since = since
	if f.Starting() {
		u.Pointer = f.Pointer
	}
	if u.Pointer == "" && len(u.Items) == 0 {
		return nil
	}
	return &u
}
