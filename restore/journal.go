package restore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
	"github.com/helixml/helix-ckpt/restore/files"
)

// Phase is how far a restore is.
type Phase string

// The phases, in order; the last four end it.
const (
	Planned    Phase = "planned"
	Verified   Phase = "verified"    // every byte was read and is what was written
	Staged     Phase = "staged"      // the files lie beside their places, synced
	Committed  Phase = "committed"   // the mark: before it a crash undoes, after it rolls forward
	FilesReady Phase = "files-ready" // Zed may start
	InWindows  Phase = "windows"     // windows are being launched and waited for
	InLayout   Phase = "layout"      // windows are being put in their places
	Done       Phase = "done"        // everything came back
	Degraded   Phase = "degraded"    // the report says what did not
	Declined   Phase = "declined"
	RolledBack Phase = "rolled-back" // it failed, and everything is as it was
)

var phaseOrder = []Phase{
	Planned, Verified, Staged, Committed, FilesReady, InWindows, InLayout, Done, Degraded, Declined, RolledBack,
}

// Ended reports whether nothing of the restore is left to do.
func (p Phase) Ended() bool { return p.known() && !p.before(Done) }

func (p Phase) known() bool { return slices.Contains(phaseOrder, p) }

func (p Phase) before(o Phase) bool { return slices.Index(phaseOrder, p) < slices.Index(phaseOrder, o) }

// Choice is what was decided about a part of a session at its start.
type Choice string

// The choices.
const (
	ChoiceRestore  Choice = "restore"
	ChoiceKeep     Choice = "keep"     // what is there stays
	ChoiceNothing  Choice = "nothing"  // there was nothing to decide about
	ChoiceNever    Choice = "never"    // --restore never
	ChoiceDeclined Choice = "declined" // by the orchestrator or the user
)

// Decision is the start decision of one instance of the session. Nothing is
// committed before it is made.
type Decision struct {
	Instance string `json:"instance"`
	// Files and Desk, windows with layout, are decided apart.
	Files Choice `json:"files"`
	Desk  Choice `json:"desk"`
	// Checkpoint is what was restored, or was not.
	Checkpoint checkpoint.ID `json:"checkpoint,omitempty"`
	Reason     string        `json:"reason,omitempty"`
	Time       time.Time     `json:"time"`
}

// Protected is a checkpoint whose restore failed. It stays what "latest" means
// for a restore until one succeeds or is declined.
type Protected struct {
	Checkpoint checkpoint.ID `json:"checkpoint"`
	// Restore is the id of the restore that failed.
	Restore string    `json:"restore"`
	Since   time.Time `json:"since"`
	// DeskOnly: that restore was of windows or layout only. Files that were
	// checkpointed since are newer, and not to be replaced for its sake.
	DeskOnly bool `json:"desk_only,omitempty"`
}

// Aside is what a restore moved aside.
type Aside struct {
	Set  files.Set `json:"set"`
	Time time.Time `json:"time"`
}

// Keep bounds how long what was moved aside is kept, and a checkpoint that was
// declined.
const Keep = 7 * 24 * time.Hour

// Journal is restore.json: the start decision, and the restore that runs or
// ran last. Functions on it change the value only; Save makes it last.
type Journal struct {
	Format    string      `json:"format"`
	Decision  *Decision   `json:"decision,omitempty"`
	Protected []Protected `json:"protected,omitempty"`
	Restore   *Record     `json:"restore,omitempty"`
	// Salvaged are checkpoints that a journal named which was damaged since: they
	// are kept, in case they were protected.
	Salvaged []Protected `json:"salvaged,omitempty"`
	// Aside is what ended restores moved aside, oldest first.
	Aside []Aside `json:"aside,omitempty"`
}

// Record is the restore that runs or ran last.
type Record struct {
	// ID names its staging directories.
	ID     string `json:"id"`
	Digest string `json:"digest"`
	// Whole means that everything was asked for.
	Whole bool          `json:"whole"`
	Wait  time.Duration `json:"wait_ns"`
	Phase Phase         `json:"phase"`
	// Set is what is being staged, or was.
	Set *files.Set `json:"set,omitempty"`
	// Desk is the checkpoint that windows and layout come from, and Deadline
	// when waiting for windows ends.
	Desk     checkpoint.ID `json:"desk,omitempty"`
	Pending  []string      `json:"pending,omitempty"`
	Deadline time.Time     `json:"deadline,omitzero"`
	// Report is complete once the phase is one that ends.
	Report *Report `json:"report"`
}

const (
	journalName   = "restore.json"
	journalFormat = "helix.ckpt.restore/v1"
	// maxJournal bounds restore.json, in bytes: 1,000 items of a report with
	// the longest paths and reasons stay below.
	maxJournal = 16 << 20
	// maxListed bounds its lists, which hold a few entries each.
	maxListed = 64
	// maxProtected is how many failed restores are remembered.
	maxProtected = 8
)

// newerJournal is what a newer program calls its format.
var newerJournal = regexp.MustCompile(`^helix\.ckpt\.restore/v([2-9]|[1-9][0-9]+)$`)

// Load reads the journal in the session directory dir; one that is not there
// is empty.
func Load(dir string) (*Journal, error) {
	path := filepath.Join(dir, journalName)
	b, err := atomicfile.Read(path, maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return &Journal{Format: journalFormat}, nil
	}
	var j *Journal
	if err == nil {
		if j, err = Decode(b); err == nil {
			return j, nil
		}
		if !errors.Is(err, checkpoint.ErrFormat) {
			err = fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
		}
	} else if errors.Is(err, atomicfile.ErrForeign) {
		err = fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
	}
	return nil, fmt.Errorf("read %s (move it away to start without it): %w", path, err)
}

// Save writes the journal durably to the session directory dir.
func Save(dir string, j *Journal) error {
	b, err := json.MarshalIndent(j, "", " ")
	if err != nil {
		return fmt.Errorf("write restore journal: %w", err)
	}
	return atomicfile.Write(filepath.Join(dir, journalName), append(b, '\n'), 0o600)
}

// Decode reads what Save writes, and trusts none of it.
func Decode(b []byte) (*Journal, error) {
	if len(b) > maxJournal {
		return nil, fmt.Errorf("more than %d bytes", maxJournal)
	}
	var j Journal
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&j); err != nil {
		return nil, err
	}
	switch newer := newerJournal.MatchString(j.Format); {
	case newer:
		return nil, fmt.Errorf("%w %q: this program reads %s", checkpoint.ErrFormat, j.Format, journalFormat)
	case j.Format != journalFormat:
		return nil, fmt.Errorf("format %q: this program reads %s", j.Format, journalFormat)
	}
	if max(len(j.Protected), len(j.Aside), len(j.Salvaged)) > maxListed {
		return nil, fmt.Errorf("a list of more than %d entries", maxListed)
	}
	for _, p := range slices.Concat(j.Protected, j.Salvaged) {
		if _, err := checkpoint.ParseID(string(p.Checkpoint)); err != nil {
			return nil, fmt.Errorf("protected: %w", err)
		}
	}
	for _, a := range j.Aside {
		if err := a.Set.Validate(); err != nil {
			return nil, fmt.Errorf("aside: %w", err)
		}
	}
	if j.Restore != nil {
		if err := j.Restore.validate(); err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
	}
	return &j, nil
}

func (r *Record) validate() error {
	switch {
	case r.ID == "":
		return errors.New("no id")
	case !r.Phase.known():
		return fmt.Errorf("unknown phase %q", r.Phase)
	case r.Report == nil:
		return errors.New("no report")
	case len(r.Report.Items) > maxItems || len(r.Report.Warnings) > maxWarnings || len(r.Report.Components) > len(phases):
		return errors.New("a report that is too long")
	}
	if _, err := checkpoint.ParseID(string(r.Report.Checkpoint)); err != nil {
		return err
	}
	for _, name := range r.Pending {
		if phases[name] != ScopeWindows && phases[name] != ScopeLayout {
			return fmt.Errorf("pending component %q", name)
		}
	}
	if len(r.Pending) > 0 {
		if _, err := checkpoint.ParseID(string(r.Desk)); err != nil {
			return err
		}
	}
	if r.Set == nil {
		if r.Phase == Committed {
			return errors.New("committed without a set")
		}
		return nil
	}
	return r.Set.Validate()
}

// DecidedFor reports whether the start decision of an instance was made.
func (j *Journal) DecidedFor(instance string) bool {
	return j.Decision != nil && j.Decision.Instance == instance
}

// Decide records a start decision. One that declines ends every protection;
// the checkpoint that was not restored is kept for a while (Kept).
func (j *Journal) Decide(d Decision) {
	j.Decision = &d
	if d.Files == ChoiceDeclined || d.Desk == ChoiceDeclined {
		j.Protected = nil
	}
}

// Target returns the checkpoint that "latest" means for a restore: a protected
// one, or latest itself.
func (j *Journal) Target(latest checkpoint.ID) checkpoint.ID {
	if n := len(j.Protected); n > 0 {
		return j.Protected[n-1].Checkpoint
	}
	return latest
}

// FilesTarget is Target for files alone.
func (j *Journal) FilesTarget(latest checkpoint.ID) checkpoint.ID {
	for _, p := range slices.Backward(j.Protected) {
		if !p.DeskOnly {
			return p.Checkpoint
		}
	}
	return latest
}

// Kept returns the checkpoints that retention must not delete now: protected
// ones, that of an unfinished restore, and one declined less than Keep ago.
func (j *Journal) Kept(now time.Time) []checkpoint.ID {
	var ids []checkpoint.ID
	for _, p := range j.Protected {
		ids = append(ids, p.Checkpoint)
	}
	for _, p := range j.Salvaged {
		if now.Sub(p.Since) < Keep {
			ids = append(ids, p.Checkpoint)
		}
	}
	if r := j.Restore; r != nil && !r.Phase.Ended() {
		ids = append(ids, r.Report.Checkpoint)
	}
	if d := j.Decision; d != nil && d.Checkpoint != "" && now.Sub(d.Time) < Keep &&
		(d.Files == ChoiceDeclined || d.Desk == ChoiceDeclined) {
		ids = append(ids, d.Checkpoint)
	}
	return ids
}

// begin records a restore of the selected components that starts. Its
// checkpoint is protected from here until it has ended well, however it ends.
func (j *Journal) begin(r *Record, selected []string, now time.Time) {
	j.Restore = r
	files := slices.ContainsFunc(selected, func(name string) bool { return phases[name] == ScopeFiles })
	j.Protected = append(j.Protected, Protected{Checkpoint: r.Report.Checkpoint, Restore: r.ID, Since: now, DeskOnly: !files})
	if over := len(j.Protected) - maxProtected; over > 0 {
		j.Protected = slices.Delete(j.Protected, 0, over)
	}
}

// end records how the restore ended, and returns what earlier restores moved
// aside and nobody needs any more.
func (j *Journal) end(now time.Time) []files.Set {
	r := j.Restore
	r.Phase, r.Report.End = r.Report.Outcome, now
	if r.Report.Sound() {
		j.Protected = slices.DeleteFunc(j.Protected, func(p Protected) bool { return r.Whole || p.Restore == r.ID })
	}
	if len(j.Protected) == 0 {
		j.Protected = nil
	}
	good := r.Report.Outcome != RolledBack && r.Set != nil && r.Report.Sound()
	old := j.expire(now, good)
	if r.Report.Outcome != RolledBack && r.Set != nil {
		j.Aside = append(j.Aside, Aside{Set: *r.Set, Time: now})
	}
	return old
}

// expire takes out what was moved aside more than Keep ago, or all of it.
func (j *Journal) expire(now time.Time, all bool) []files.Set {
	var old []files.Set
	var kept []Aside
	for i, a := range j.Aside {
		if tooMany := len(j.Aside)-i >= maxListed; all || tooMany || now.Sub(a.Time) >= Keep {
			old = append(old, a.Set)
		} else {
			kept = append(kept, a)
		}
	}
	j.Aside = kept
	return old
}
