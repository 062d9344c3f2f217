package restore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

func TestDecline(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	r := s.restorer(newStore())
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	j := &restore.Journal{Format: "helix.ckpt.restore/v1", Protected: []restore.Protected{{Checkpoint: idOld, Restore: "x", Since: now}}}
	if err := restore.Save(s.dir, j); err != nil {
		t.Fatal(err)
	}
	if got := j.Target(idNew); got != idOld {
		t.Errorf("latest means %s", got)
	}
	err := r.Decide(restore.Decision{Instance: "i1", Files: restore.ChoiceDeclined, Desk: restore.ChoiceDeclined, Checkpoint: idOld, Time: now})
	if err != nil {
		t.Fatal(err)
	}
	j, err = restore.Load(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if !j.DecidedFor("i1") || j.DecidedFor("i2") || j.Target(idNew) != idNew {
		t.Errorf("journal: %+v", j)
	}
	if got := j.Kept(now.Add(6 * 24 * time.Hour)); !slices.Equal(got, []checkpoint.ID{idOld}) {
		t.Errorf("kept after 6 days: %v", got)
	}
	if got := j.Kept(now.Add(8 * 24 * time.Hour)); len(got) > 0 {
		t.Errorf("kept after 8 days: %v", got)
	}
}

// What a restore moved aside goes with the next good one, or after 7 days.
func TestAsideIsKeptForAWhile(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := simple(t, s)
	s.write(t, filePath, "first")
	r := s.restorer(st)
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	r.Now = func() time.Time { return now }
	q := restore.Request{Checkpoint: idNew, Only: []string{"files"}}
	first := run(t, r, q)
	s.write(t, filePath, "second")
	second := run(t, r, q)
	if _, err := os.Stat(first.Aside[0]); err == nil {
		t.Error("what the first moved aside is still there after the second, good one")
	}
	kept := filepath.Join(second.Aside[0], "old", strings.TrimPrefix(filePath, "$WORKSPACE/"))
	if b, err := os.ReadFile(kept); err != nil || string(b) != "second" {
		t.Errorf("kept aside: %q %v", b, err)
	}
	now = now.Add(8 * 24 * time.Hour)
	if _, err := r.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := s.stagingDirs(t); len(left) > 0 {
		t.Errorf("left after 8 days: %q", left)
	}
}

// Staging directories on a container's disk go with it. What is on the volume
// is finished, the rest is said.
func TestRecoverWithoutTheStagedFiles(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := simple(t, s)
	r := s.restorer(st)
	type died struct{}
	r.Emit = func(e restore.Event) {
		if e.Phase == restore.Committed {
			panic(died{})
		}
	}
	func() {
		defer func() {
			if v := recover(); v != (died{}) {
				t.Errorf("it did not die: %v", v)
			}
		}()
		_, err := r.Run(t.Context(), restore.Request{Checkpoint: idNew})
		t.Error("it came to its end", err)
	}()
	if err := os.RemoveAll(s.roots[checkpoint.RootHome]); err != nil {
		t.Fatal(err)
	}
	r.Emit = nil
	did, err := r.Recover(t.Context())
	if err != nil || !did.Finished || did.Pending {
		t.Fatalf("%+v %v", did, err)
	}
	if c := component(t, did.Report, "conversations"); c.Result != restore.Failed {
		t.Errorf("conversations: %+v", c)
	}
	if f := component(t, did.Report, "files"); f.Result != restore.Restored || s.read(t, filePath) != "buy milk\n" {
		t.Errorf("files: %+v", f)
	}
	if did.Report.Outcome != restore.Degraded {
		t.Errorf("outcome %s", did.Report.Outcome)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	const report = `"report":{"checkpoint":"` + string(idNew) + `"}`
	for name, text := range map[string]string{
		"nothing":                 ``,
		"another format":          `{"format":"helix.ckpt.restore/v9"}`,
		"unknown phase":           `{"format":"helix.ckpt.restore/v1","restore":{"id":"a","phase":"almost",` + report + `}}`,
		"no report":               `{"format":"helix.ckpt.restore/v1","restore":{"id":"a","phase":"planned"}}`,
		"no set":                  `{"format":"helix.ckpt.restore/v1","restore":{"id":"a","phase":"committed",` + report + `}}`,
		"a relative stage":        `{"format":"helix.ckpt.restore/v1","restore":{"id":"a","phase":"staged","set":{"id":"a","stages":[{"anchor":"../x"}]},` + report + `}}`,
		"an id that is a path":    `{"format":"helix.ckpt.restore/v1","restore":{"id":"a","phase":"staged","set":{"id":"../a"},` + report + `}}`,
		"pending what is no desk": `{"format":"helix.ckpt.restore/v1","restore":{"id":"a","phase":"planned","pending":["zed"],` + report + `}}`,
		"protected nonsense":      `{"format":"helix.ckpt.restore/v1","protected":[{"checkpoint":"../../x"}]}`,
	} {
		if _, err := restore.Decode([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	s := newSession(t)
	if err := os.WriteFile(filepath.Join(s.dir, "restore.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.restorer(newStore()).Run(t.Context(), restore.Request{Checkpoint: idNew}); err == nil || errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("with a broken journal: %v", err)
	}
}

// What is accepted is written and read again without a change.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"format":"helix.ckpt.restore/v1"}`))
	f.Add([]byte(`{"format":"helix.ckpt.restore/v1","restore":{"id":"a","phase":"committed","set":{"id":"a","stages":[{"anchor":"/h","files":{"zed":1}}]},` +
		`"report":{"checkpoint":"` + string(idNew) + `","components":[{"component":"zed","result":"","restored":0,"of":1}],"items":[]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := restore.Decode(b)
		if err != nil {
			return
		}
		once, err := json.Marshal(j)
		if err != nil {
			t.Skip(err) // such as a year that RFC 3339 cannot write
		}
		again, err := restore.Decode(once)
		if err != nil {
			t.Fatalf("not read again: %v: %s", err, once)
		}
		twice, err := json.Marshal(again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s became %s (%v)", once, twice, err)
		}
	})
}
