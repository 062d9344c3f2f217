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
	before := &prev.Manifest.Components
	for _, name := range []string{checkpoint.NameZed, checkpoint.NameConversations, checkpoint.NameFiles} {
		change = max(change, compareFiles(prev.Files[name], next.Files[name]))
	}
	if !sameDesk(before, &next.Components) {
		return New
	}
	return max(change, compareStates(before.Head(checkpoint.NameLayout).State, next.Components.Head(checkpoint.NameLayout).State))
}

func compareFiles(before, now []checkpoint.File) Change {
	if len(before) != len(now) {
		return New
	}
	old := make(map[string]checkpoint.File, len(before))
	for _, f := range before {
		old[f.Name()] = f
	}
	change := None
	for _, f := range now {
		o, ok := old[f.Name()]
		if !ok || !sameFile(o, f) {
			return New
		}
		change = max(change, compareStates(o.State, f.State))
	}
	return change
}

func sameFile(a, b checkpoint.File) bool {
	return a.Kind == b.Kind && a.Content.Equal(b.Content) && a.Mode == b.Mode && a.Link == b.Link &&
		(a.Kind == checkpoint.KindSQLite || a.MtimeNS == b.MtimeNS)
}

// compareStates says what it means that the same content was captured in
// another state: better is worth a checkpoint, worse is not.
func compareStates(before, now checkpoint.State) Change {
	switch {
	case before == now && now != checkpoint.Carried && now != checkpoint.Failed:
		return None
	case now == checkpoint.Carried || now == checkpoint.Failed:
		return Worse
	}
	return New
}

// sameDesk compares windows and layout without what was said of their capture.
func sameDesk(a, b *checkpoint.Components) bool {
	return bytes.Equal(deskJSON(a), deskJSON(b))
}

func deskJSON(c *checkpoint.Components) []byte {
	if c.Windows == nil || c.Layout == nil {
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

// Size counts the files that were captured or carried, and their bytes.
func (c Captured) Size() (files int, bytes int64) {
	for _, set := range c.Files {
		for _, f := range set {
			if f.State.Usable() {
				files++
				bytes += f.Size
			}
		}
	}
	return files, bytes
}
