package zed

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// SettleTime is how long Zed takes at most to write all of one change, which
// spans several transactions: look again after it. Zed gathers changes for
// 0.2 s before it writes them.
const SettleTime = 500 * time.Millisecond

// Unsettled says why a sound snapshot of db.sqlite is not one to keep: Zed is
// in the middle of writing. The remedy is to look again after SettleTime.
type Unsettled struct {
	// Pointer is the session that the database points to and that has no
	// windows, "" if that is not what is wrong. Zed sets the pointer as it
	// starts and saves its windows seconds later; a restore of what lies
	// between gives nothing.
	Pointer string
	// Items are editor tabs whose path and text are not there.
	Items []Item
}

func (u *Unsettled) Error() string {
	var why []string
	if u.Pointer != "" {
		why = append(why, fmt.Sprintf("it points to session %s, which has no windows yet (Zed is starting)", u.Pointer))
	}
	if len(u.Items) > 0 {
		why = append(why, fmt.Sprintf("%d tabs have no text yet", len(u.Items)))
	}
	return "Zed's db.sqlite is not settled: " + strings.Join(why, "; ")
}

// Accept decides whether a snapshot with these facts is one that Zed can come
// back from: its pointer has windows, or none are expected because there are
// none at all, and every editor tab has its row of editors. Otherwise the error
// is an *Unsettled.
//
// before is what an earlier snapshot, at least SettleTime older, was refused
// for; nil if there is none. Tabs that had no text then either are not about to
// get it: Zed lists editors over several files and never saves them, and they
// must not keep a session from being checkpointed. The pointer knows no such
// exception.
func Accept(f WorkspaceFacts, before *Unsettled) error {
	settled := f.Pointer == "" || f.PointerRows || !f.HasWorkspaces
	isNew := func(item Item) bool { return before == nil || !slices.Contains(before.Items, item) }
	if settled && !slices.ContainsFunc(f.Orphans, isNew) {
		return nil
	}
	// All of them, old ones too: this may be the before of the next snapshot.
	u := &Unsettled{Items: f.Orphans}
	if !settled {
		u.Pointer = f.Pointer
	}
	return u
}
