package capture

import (
	"bytes"
	"encoding/json"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Change is what is new in a capture, compared with the checkpoint before.
type Change int

// The changes, from none to something to keep.
const (
	// None: it is the same, and was captured as well: the checkpoint before is
	// confirmed.
	None Change = iota
	// Worse: the same content, but some of it could only be carried. There is
	// nothing to write, and nothing is confirmed.
	Worse
	// New: there is something to commit.
	New
)

// Compare tells what is new in next, a capture on top of prev. Times of
// reading and the modification time of a database, which moves without
// meaning, do not count.
func Compare(prev *Previous, next Captured) Change {
	if prev == nil {
		return New
	}
	change := None
	before, now := &prev.Manifest.Components, &next.Components
	for _, name := range []string{checkpoint.NameZed, checkpoint.NameConversations, checkpoint.NameFiles} {
		change = max(change, compareFiles(prev.Files[name], next.Files[name]))
		switch {
		case unread(now.Head(name), next.Files[name]):
			change = max(change, Worse)
		case unread(before.Head(name), prev.Files[name]):
			return New
		}
	}
	if !sameDesk(before, now) {
		return New
	}
	return max(change, compareStates(before.Head(checkpoint.NameLayout).State, now.Head(checkpoint.NameLayout).State))
}

// unread reports whether a component is worse than its files are: some
// directory could not be read, and nobody knows what is in it.
func unread(h checkpoint.Head, files []checkpoint.File) bool { return h.State != combine(files) }

func compareFiles(before, now []checkpoint.File) Change {
	if len(before) != len(now) {
		return New
	}
	old := byName(before)
	change := None
	for i := range now {
		o, ok := old[now[i].Name()]
		if !ok || !sameFile(o, &now[i]) {
			return New
		}
		change = max(change, compareStates(o.State, now[i].State))
	}
	return change
}

func byName(files []checkpoint.File) map[string]*checkpoint.File {
	m := make(map[string]*checkpoint.File, len(files))
	for i := range files {
		m[files[i].Name()] = &files[i]
	}
	return m
}

func sameFile(a, b *checkpoint.File) bool {
	return a.Kind == b.Kind && a.Equal(b.Content) && a.Mode == b.Mode && a.Target() == b.Target() &&
		(a.Kind == checkpoint.KindSQLite || a.MtimeNS == b.MtimeNS)
}

// compareStates says what it means that the same content was captured in
// another state: better is worth a checkpoint, worse is not.
func compareStates(before, now checkpoint.State) Change {
	switch now {
	case checkpoint.Carried, checkpoint.Failed:
		return Worse
	case before:
		return None
	}
	return New
}

// sameDesk compares windows and layout without what was said of their capture.
func sameDesk(a, b *checkpoint.Components) bool {
	return bytes.Equal(deskJSON(a), deskJSON(b))
}

func deskJSON(c *checkpoint.Components) []byte {
	if !hasDesk(c) {
		return nil
	}
	w, l := *c.Windows, *c.Layout
	w.Head, l.Head = checkpoint.Head{}, checkpoint.Head{}
	b, err := json.Marshal([]any{w, l})
	if err != nil { // a struct of plain values has no way to fail
		panic(err)
	}
	return b
}
