package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
	"github.com/helixml/helix-ckpt/checkpoint/session"
	"github.com/helixml/helix-ckpt/restore"
)

// Damaged records do not stop a session: they go to quarantine/, kept, and the
// session goes on with what is sound, loudly.

// loadRecord reads session.json. Of a damaged one nothing is believed: the epoch is
// taken from the checkpoints, one above the highest. The exception is a fence:
// who was taken over must not come back by damage (checkpoint.ErrFenced).
func (k *Keeper) loadRecord() (r session.Record, damaged bool, err error) {
	r, err = session.Load(k.dir)
	if !errors.Is(err, checkpoint.ErrDamaged) {
		return r, false, err
	}
	path := filepath.Join(k.dir, session.RecordName)
	if b, _ := atomicfile.Read(path, 1<<20); strings.Contains(string(b), `"fence"`) { // what cannot be read holds none
		return r, true, fmt.Errorf("%w: %s is damaged and holds a fence: %w; move it away if this is the owner", checkpoint.ErrFenced, path, err)
	}
	return session.Record{}, true, k.setAside(path, err)
}

// setAside puts a damaged record into quarantine.
func (k *Keeper) setAside(path string, why error) error {
	to, err := atomicfile.SetAside(path, filepath.Join(k.dir, "quarantine"), time.Now())
	if err != nil {
		return errors.Join(why, err)
	}
	k.log.Error("a damaged record was put into quarantine", "error", why, "quarantine", to)
	return nil
}

// journal reads restore.json, and makes a damaged one anew.
func (k *Keeper) journal(ctx context.Context) (*restore.Journal, error) {
	j, err := restore.Load(k.dir)
	if !errors.Is(err, checkpoint.ErrDamaged) {
		return j, err
	}
	entries, listErr := Entries(ctx, k.repo)
	if listErr != nil {
		return nil, errors.Join(err, listErr)
	}
	var facts restore.MendFacts
	for _, e := range entries {
		facts.Checkpoints = append(facts.Checkpoints, e.ID)
	}
	if k.latest != nil && k.latest.Manifest.Instance.ID == k.record.Instance.ID {
		// Nothing is captured before it is decided.
		facts.Decision = &restore.Decision{
			Instance: k.record.Instance.ID, Files: restore.ChoiceKeep, Desk: restore.ChoiceKeep, Time: time.Now().UTC(),
			Reason: "the journal was damaged, and this instance has captured the session",
		}
	}
	m, mendErr := k.restorer(nil).Mend(facts)
	if mendErr != nil {
		return nil, errors.Join(err, mendErr)
	}
	k.log.Error("a damaged restore journal was put into quarantine", "error", err, "quarantine", m.Quarantine,
		"unfinished_restore", m.Unfinished, "kept_aside", m.Aside, "left_alone", m.Unknown)
	return restore.Load(k.dir)
}
