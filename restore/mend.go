package restore

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
	"github.com/helixml/helix-ckpt/restore/files"
)

// MendFacts are what a journal is made anew from, beside the damaged one and the
// disk.
type MendFacts struct {
	// Checkpoints are all that there are, newest first.
	Checkpoints []checkpoint.ID
	// Decision is the start decision that is known to have been made; nil where it
	// is to be made.
	Decision *Decision
}

// Mended says what was made of a damaged journal.
type Mended struct {
	// Quarantine is where the damaged one lies, a path.
	Quarantine string
	// Unfinished is the checkpoint whose restore was in the middle of putting files
	// in their places: Recover finishes it. Empty when none was.
	Unfinished checkpoint.ID
	// Aside are directories with what restores have staged or moved aside, kept as
	// after a restore; Unknown are ones that are left alone.
	Aside, Unknown []string
}

// Mend makes a damaged journal anew, so that a session is not stopped by it, and
// nothing is lost:
//
//	the damaged journal          copied to quarantine/
//	checkpoints that it names    kept from retention for a week
//	files staged, none touched   kept like files moved aside: the live ones are whole
//	some staged, some touched    the restore is committed: Recover finishes it
//	all placed                   what was moved aside is kept for a week again
//	staged by another session    left alone, and so is what cannot be read
//
// That a checkpoint was protected is not known any more: it is kept, and no longer
// what "latest" means for a restore.
func (r *Restorer) Mend(f MendFacts) (Mended, error) {
	path, now := filepath.Join(r.Dir, journalName), r.now().UTC()
	raw, err := atomicfile.Read(path, maxJournal)
	if err != nil && !errors.Is(err, atomicfile.ErrForeign) {
		return Mended{}, fmt.Errorf("mend restore journal: %w", err)
	}
	j := &Journal{Format: journalFormat, Decision: f.Decision}
	for _, id := range f.Checkpoints {
		if bytes.Contains(raw, []byte(id)) && len(j.Salvaged) < maxListed {
			j.Salvaged = append(j.Salvaged, Protected{Checkpoint: id, Since: now})
		}
	}
	sets, m, err := r.leftovers(raw)
	if err != nil {
		return m, err
	}
	for _, s := range sets {
		if s.staged == 0 || !s.begun {
			j.Aside = append(j.Aside, Aside{Set: s.Set, Time: now})
			for _, st := range s.Stages {
				m.Aside = append(m.Aside, s.Dir(st))
			}
			continue
		}
		if j.Restore != nil {
			return m, fmt.Errorf("mend restore journal: %w: two restores are half done, %s and %s: move one %s away by hand",
				checkpoint.ErrDamaged, j.Restore.ID, s.ID, s.Dir(s.Stages[0]))
		}
		m.Unfinished = restoring(raw, j.Salvaged, f.Checkpoints)
		if m.Unfinished == "" {
			return m, fmt.Errorf("mend restore journal: %w: a restore is half done (%s), and of no checkpoint there is", checkpoint.ErrDamaged, s.Dir(s.Stages[0]))
		}
		j.begin(s.record(m.Unfinished, now), checkpoint.Names(), now)
	}
	if len(j.Aside) > maxListed-1 {
		return m, fmt.Errorf("mend restore journal: %w: %d directories of earlier restores: move some of %s away by hand", checkpoint.ErrDamaged, len(j.Aside), m.Aside[0])
	}
	if m.Quarantine, err = atomicfile.SetAside(path, filepath.Join(r.Dir, "quarantine"), now); err != nil {
		return m, fmt.Errorf("mend restore journal: %w", err)
	}
	return m, Save(r.Dir, j)
}

// leftSet is a set that was found on the disk.
type leftSet struct {
	files.Set

	staged int
	begun  bool
}

// record is the journal's record of a set that is half in its places.
func (s leftSet) record(id checkpoint.ID, now time.Time) *Record {
	report := &Report{Checkpoint: id, Start: now, Warnings: []string{"the journal of this restore was damaged; its files were put in place, windows and layout were not restored"}}
	of := map[string]int{}
	for _, st := range s.Stages {
		for name, n := range st.Files {
			of[name] += n
		}
	}
	for _, name := range checkpoint.Names() {
		if of[name] > 0 {
			report.component(ComponentReport{Component: name, Of: of[name]})
		}
	}
	return &Record{ID: s.ID, Phase: Committed, Wait: DefaultWait, Set: &s.Set, Report: report}
}

var (
	anchorPattern = regexp.MustCompile(`"anchor":\s*"(/[^"\\]*)"`)
	reportPattern = regexp.MustCompile(`"report":\s*\{[^{}]*?"checkpoint":\s*"([^"]*)"`)
)

// leftovers finds what restores have left in the roots, and where the damaged
// journal says. What another session's journal names is not ours.
func (r *Restorer) leftovers(raw []byte) ([]leftSet, Mended, error) {
	var anchors []string
	for _, a := range anchorPattern.FindAllSubmatch(raw, -1) {
		if dir := string(a[1]); filepath.Clean(dir) == dir {
			anchors = append(anchors, dir)
		}
	}
	for _, dir := range r.Roots {
		if dir, err := filepath.EvalSymlinks(dir); err == nil {
			anchors = append(anchors, dir)
		}
	}
	slices.Sort(anchors)
	var m Mended
	sets, seen := map[string]*leftSet{}, []fs.FileInfo{}
	for _, anchor := range slices.Compact(anchors) {
		info, err := os.Stat(anchor)
		if err != nil || slices.ContainsFunc(seen, func(o fs.FileInfo) bool { return os.SameFile(o, info) }) {
			continue
		}
		seen = append(seen, info)
		found, unknown, err := files.Leftovers(anchor)
		if err != nil {
			return nil, m, err
		}
		m.Unknown = append(m.Unknown, unknown...)
		for _, l := range found {
			if !bytes.Contains(raw, []byte(l.ID)) && r.isAnothers(l.ID) {
				m.Unknown = append(m.Unknown, files.Set{ID: l.ID}.Dir(l.Stage))
				continue
			}
			s := sets[l.ID]
			if s == nil {
				s = &leftSet{Set: files.Set{ID: l.ID}}
				sets[l.ID] = s
			}
			s.Stages = append(s.Stages, l.Stage)
			s.staged, s.begun = s.staged+l.Staged, s.begun || l.Begun
		}
	}
	var list []leftSet
	for _, s := range sets {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b leftSet) int { return cmp.Compare(a.ID, b.ID) })
	return list, m, nil
}

// isAnothers reports whether the journal of another session in the same directory
// names a restore.
func (r *Restorer) isAnothers(id string) bool {
	journals, err := filepath.Glob(filepath.Join(filepath.Dir(r.Dir), "*", journalName))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(journals, func(path string) bool {
		b, err := atomicfile.Read(path, maxJournal)
		return err == nil && filepath.Dir(path) != r.Dir && strings.Contains(string(b), `"`+id+`"`)
	})
}

// restoring returns the checkpoint that was being restored, as far as it can be
// told: what the report says, else any that the journal names, else the newest.
func restoring(raw []byte, named []Protected, all []checkpoint.ID) checkpoint.ID {
	if said := reportPattern.FindSubmatch(raw); said != nil {
		if id, err := checkpoint.ParseID(string(said[1])); err == nil {
			return id
		}
	}
	if len(named) > 0 {
		return named[0].Checkpoint
	}
	if len(all) > 0 {
		return all[0]
	}
	return ""
}
