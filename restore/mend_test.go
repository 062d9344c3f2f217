package restore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

// breakJournal damages a session's journal in one of several ways.
func breakJournal(t *testing.T, s session, way int) []byte {
	t.Helper()
	path := filepath.Join(s.dir, "restore.json")
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	switch way % 3 {
	case 0:
		b = nil
	case 1:
		b = b[:len(b)*2/3]
	case 2:
		b = append([]byte("X"), b...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restore.Load(s.dir); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Fatalf("the journal is not damaged: %v", err)
	}
	return b
}

// A restore is killed before each of its changes to the disk, and its journal is
// damaged then. The session ends up as the old one or the new one all the same,
// what was moved aside is there, and so is the damaged journal.
func TestADamagedJournalLosesNothing(t *testing.T) {
	t.Parallel()
	made := newKillable(t)
	s, top := made.session(t)
	before := s.live(t)
	killAt(t, killSpec{Top: top})
	after := s.live(t)

	undone, finished, mixed := 0, 0, 0
	for k := 2; ; k += 2 { // before the first change there is no journal
		s, top := made.session(t)
		point, killed := killAt(t, killSpec{Top: top, Point: k})
		if !killed {
			break
		}
		now := s.live(t)
		if difference(now, before) != "" && difference(now, after) != "" {
			mixed++
		}
		bad := breakJournal(t, s, k)
		r := s.restorer(made.content)
		m, err := r.Mend(restore.MendFacts{Checkpoints: []checkpoint.ID{idNew}})
		if err != nil {
			t.Fatalf("killed at %q: mend: %v", point, err)
		}
		if kept, err := os.ReadFile(m.Quarantine); err != nil || !bytes.Equal(kept, bad) {
			t.Errorf("killed at %q: in quarantine is something else, %v", point, err)
		}
		rec, err := r.Recover(t.Context())
		if err != nil {
			t.Fatalf("killed at %q: recover: %v", point, err)
		}
		now = s.live(t)
		switch {
		case difference(now, before) == "":
			undone++
			if rec.Finished {
				t.Errorf("killed at %q: finished, and as before", point)
			}
		case difference(now, after) == "":
			finished++
			asideIsThere(t, s, point, string(made.main))
		default:
			t.Errorf("killed at %q: a mix: %s", point, difference(now, after))
		}
		// The next restore is as any.
		if report := run(t, r, restore.Request{Checkpoint: idNew}); report.Outcome != restore.Done && report.Outcome != restore.Degraded {
			t.Errorf("killed at %q: the next one: %+v", point, report)
		}
		if d := difference(s.live(t), after); d != "" {
			t.Errorf("killed at %q: the next one: %s", point, d)
		}
	}
	t.Logf("%d undone, %d finished; %d were a mix before", undone, finished, mixed)
	if undone < 5 || finished < 5 || mixed < 5 {
		t.Errorf("too few cases to prove anything: %d undone, %d finished, %d mixed", undone, finished, mixed)
	}
}

// asideIsThere reports it when the live database that was replaced is nowhere.
func asideIsThere(t *testing.T, s session, point, main string) {
	t.Helper()
	for _, dir := range s.stagingDirs(t) {
		found := false
		err := filepath.WalkDir(filepath.Join(dir, "old"), func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				b, readErr := os.ReadFile(path)
				found, err = found || string(b) == main, readErr
			}
			return err
		})
		if found && err == nil {
			return
		}
	}
	t.Errorf("killed at %q: what was there before is gone", point)
}

// What the damaged journal names is kept, and a decision that is known stays.
func TestMendKeepsWhatTheJournalNamed(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	j := &restore.Journal{Format: "helix.ckpt.restore/v1", Protected: []restore.Protected{{Checkpoint: idOld, Restore: "x", Since: now}}}
	if err := restore.Save(s.dir, j); err != nil {
		t.Fatal(err)
	}
	breakJournal(t, s, 2)
	// Another session's staged files on the same disk are not ours.
	theirs := filepath.Join(s.path("$HOME"), ".helix-ckpt-restore-theirs")
	other := filepath.Join(filepath.Dir(s.dir), "other")
	for _, dir := range []string{theirs, other} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(other, "restore.json"), []byte(`{"id":"theirs"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.restorer(newStore())
	r.Now = func() time.Time { return now }
	m, err := r.Mend(restore.MendFacts{Checkpoints: []checkpoint.ID{idNew, idOld}, Decision: &restore.Decision{Instance: "i1", Files: restore.ChoiceKeep}})
	if err != nil || len(m.Aside) > 0 || len(m.Unknown) != 1 || m.Unknown[0] != theirs {
		t.Fatalf("got %+v, %v", m, err)
	}
	if j, err = restore.Load(s.dir); err != nil {
		t.Fatal(err)
	}
	if !j.DecidedFor("i1") {
		t.Errorf("journal: %+v", j)
	}
	if kept := j.Kept(now.Add(6 * 24 * time.Hour)); len(kept) != 1 || kept[0] != idOld {
		t.Errorf("kept after 6 days: %v", kept)
	}
	if kept := j.Kept(now.Add(8 * 24 * time.Hour)); len(kept) > 0 {
		t.Errorf("kept after 8 days: %v", kept)
	}
}

// A journal of a newer program is no damage, and one with a bit flipped in its
// version is.
func TestANewerJournalIsNotDamaged(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	for text, want := range map[string]error{
		`{"format":"helix.ckpt.restore/v2"}`: checkpoint.ErrFormat,
		`{"format":"helix.ckpt.restore/v0"}`: checkpoint.ErrDamaged,
		`{"format":"helix.ckpt.restor/v1"}`:  checkpoint.ErrDamaged,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, "restore.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := restore.Load(s.dir)
		if !errors.Is(err, want) || (errors.Is(err, checkpoint.ErrDamaged) && errors.Is(err, checkpoint.ErrFormat)) {
			t.Errorf("%s: %v", strings.TrimSpace(text), err)
		}
	}
}
