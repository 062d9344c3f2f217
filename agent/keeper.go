package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
	"github.com/helixml/helix-ckpt/checkpoint/capture"
	"github.com/helixml/helix-ckpt/checkpoint/discover"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/session"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// Keeper owns a session: it holds its lock, and is the only one that commits
// to its repository. The agent is a Keeper that works by itself; a command
// that finds no agent is one for a moment. Its methods are not safe for
// concurrent use.
type Keeper struct {
	site     discover.Session
	version  string
	log      *slog.Logger
	dir      string      // of the session
	socket   sway.Socket // of the Sway that answered last
	repo     *repository.Repository
	lock     *session.Lock
	record   session.Record
	epoch    uint64
	capturer capture.Capturer
	latest   *capture.Previous
	entry    checkpoint.Entry // of latest
	seq      uint64           // of the last commit in epoch
	doubts   uint64           // of repo, when something was captured last
	limits   Limits           // on this disk
}

// KeeperOptions are what Open needs beside the session.
type KeeperOptions struct {
	// Command and Socket name the holder, and where it takes requests, to those
	// who find the session locked.
	Command, Socket string
	// Epoch to own the session at; 0 lets the rules decide.
	Epoch uint64
	// Version of the program, stored with what it commits.
	Version string
	Limits  Limits
	// Compression of what is committed.
	Compression repository.Compression
	Log         *slog.Logger
}

// Open takes the session that site names. The error wraps
// checkpoint.ErrLocked when another process has it, checkpoint.ErrFenced or
// checkpoint.ErrEpoch when this one may not own it.
func Open(ctx context.Context, site discover.Session, o KeeperOptions) (*Keeper, error) {
	k := &Keeper{site: site, version: o.Version, log: o.Log, dir: session.Dir(site.Dir, site.ID)}
	instance, err := session.Instance(site.RuntimeDir)
	if err != nil {
		return nil, err
	}
	if k.lock, err = session.Acquire(k.dir, session.Owner{Instance: instance.ID, Command: o.Command, Socket: o.Socket}); err != nil {
		return nil, fmt.Errorf("session %s in %s: %w", site.ID, site.Dir, err)
	}
	if err := k.open(ctx, instance, o); err != nil {
		return nil, errors.Join(fmt.Errorf("session %s in %s: %w", site.ID, site.Dir, err), k.lock.Release())
	}
	return k, nil
}

func (k *Keeper) open(ctx context.Context, instance checkpoint.Instance, o KeeperOptions) error {
	var err error
	if k.repo, err = repository.Open(k.dir); err != nil {
		return err
	}
	_, total, err := k.repo.Space()
	if err != nil {
		return err
	}
	k.limits = o.Limits.on(total)
	k.repo.Reserve(k.limits.KeepFree)
	k.repo.Compress(o.Compression)
	var damaged bool
	if k.record, damaged, err = k.loadRecord(); err != nil {
		return err
	}
	if k.record.Instance.ID != instance.ID {
		// The directory may have come from anywhere.
		if err := k.repo.DropCache(); err != nil {
			return err
		}
	}
	if err := k.load(ctx); err != nil {
		return err
	}
	k.trust()
	if k.epoch, err = session.Epoch(k.record, instance.ID, k.entry.Epoch, o.Epoch); err != nil {
		return err
	}
	if k.entry.Epoch == k.epoch {
		k.seq = k.entry.Seq
	}
	k.record.Instance = instance
	if damaged {
		if err := k.save(); err != nil {
			return err
		}
	}
	if _, err := k.journal(ctx); err != nil {
		return err
	}
	return k.describe()
}

// Close gives the session back.
func (k *Keeper) Close() error { return k.lock.Release() }

// load reads the latest good checkpoint, to compare with and to carry from.
func (k *Keeper) load(ctx context.Context) error {
	entries, damaged, err := k.repo.List(ctx)
	if err != nil {
		return err
	}
	for _, d := range damaged {
		k.log.Warn("damaged data in the repository", "what", d.String())
	}
	k.latest, k.entry = nil, checkpoint.Entry{}
	for _, e := range entries {
		previous, err := capture.Load(ctx, k.repo, e.ID)
		if err != nil {
			k.log.Warn("checkpoint cannot be built on", "id", e.ID, "error", err)
			continue
		}
		k.latest = previous
		break
	}
	if len(entries) > 0 {
		// Also of a damaged one: its number is taken.
		k.entry = entries[0]
	}
	return nil
}

// Request asks for a checkpoint.
type Request struct {
	Reason string
	Pin    bool
	// RequestID, when not empty, makes the request idempotent.
	RequestID string
	// Desk is the life of the compositor that may be captured; nil is any.
	Desk *checkpoint.Compositor
	// Wanted are checkpoints that must not go where space has to be made.
	Wanted []checkpoint.ID
}

// digest tells requests with the same id apart.
func (r Request) digest() string {
	if r.RequestID == "" {
		return ""
	}
	b, err := json.Marshal([]any{r.Reason, r.Pin})
	if err != nil { // plain values
		panic(err)
	}
	return "sha256:" + checkpoint.Sum(b).String()
}

// Result is what became of a Request.
type Result struct {
	// Entry is the checkpoint: a new one, or the latest when nothing is new.
	// Its components are in the state they were found in now, and its new bytes
	// are those of this request.
	Entry checkpoint.Entry
	// New: a checkpoint was committed. Repeated: an earlier request of the same
	// id had done so, and nothing was captured now.
	New, Repeated bool
	// Confirmed: nothing had changed since Entry, and all was captured as well.
	Confirmed bool
	// Heads says more of the components' states.
	Heads map[string]checkpoint.Head
}

// Checkpoint captures the session and commits what is new. It returns
// checkpoint.ErrNothing when there is nothing to capture at all, and
// checkpoint.ErrNoSpace when too little of the disk is free.
func (k *Keeper) Checkpoint(ctx context.Context, r Request) (Result, error) {
	if done, err := k.repeated(ctx, r); done.Repeated || err != nil {
		return done, err
	}
	if err := k.guard(); err != nil {
		return Result{}, err
	}
	start := time.Now().UTC().Truncate(time.Millisecond)
	tx, err := k.begin(ctx, r.Wanted)
	if err != nil {
		return Result{}, err
	}
	defer tx.Abort()
	if doubts := k.repo.Doubts(); doubts != k.doubts {
		// What has not moved since it was stored may be damaged there.
		k.capturer.Forget()
		k.doubts = doubts
	}
	src, err := k.source(ctx, r.Desk)
	if err != nil {
		return Result{}, err
	}
	captured, err := k.capturer.Capture(ctx, src, k.latest, tx)
	if err != nil {
		k.capturer.Forget()
		return Result{}, err
	}
	result := Result{Entry: k.entry, Heads: heads(&captured.Components)}
	if err := nothing(result.Heads); err != nil {
		return Result{}, err
	}
	change := capture.Compare(k.latest, captured)
	if tx.NewBytes() > 0 || (change == capture.None && !k.latestIsSound(ctx)) {
		// Also where nothing has changed: what is stored of it is damaged, and was
		// stored again, or the manifest is, which must not be confirmed.
		change = capture.New
	}
	if change == capture.New || (change == capture.None && r.RequestID != "") {
		err = k.commit(ctx, tx, r, start, captured)
		result.New = true
	}
	if err != nil {
		k.capturer.Forget()
		return Result{}, err
	}
	result.Confirmed = change == capture.None && !result.New
	result.Entry = k.entry
	result.Entry.Components = captured.Components.States()
	if !result.New {
		result.Entry.NewBytes = 0
	}
	k.note()
	err = k.pin(ctx, r, &result.Entry)
	k.entry.Pinned = result.Entry.Pinned
	return result, err
}

// latestIsSound reports whether the manifest of the latest checkpoint is still what
// it was.
func (k *Keeper) latestIsSound(ctx context.Context) bool {
	_, sum, err := k.repo.Load(ctx, k.entry.ID)
	return err == nil && sum == k.entry.ManifestSHA256
}

func (k *Keeper) pin(ctx context.Context, r Request, e *checkpoint.Entry) error {
	if !r.Pin || e.Pinned {
		return nil
	}
	e.Pinned = true
	return k.repo.Pin(ctx, e.ID)
}

// repeated finds the checkpoint that an earlier request of the same id made,
// and pins it if a crash came in between.
func (k *Keeper) repeated(ctx context.Context, r Request) (Result, error) {
	if r.RequestID == "" {
		return Result{}, nil
	}
	entries, _, err := k.repo.List(ctx)
	if err != nil {
		return Result{}, err
	}
	for _, e := range entries {
		if e.RequestID != r.RequestID {
			continue
		}
		m, _, err := k.repo.Load(ctx, e.ID)
		if err != nil {
			return Result{}, err
		}
		if m.RequestDigest != r.digest() {
			return Result{}, fmt.Errorf("request %q: %w (it made checkpoint %s)", r.RequestID, checkpoint.ErrRequestReused, e.ID)
		}
		err = k.pin(ctx, r, &e)
		return Result{Entry: e, Repeated: true, Heads: heads(&m.Components)}, err
	}
	return Result{}, nil
}

// source looks again where everything is: Zed's channel and the compositor may
// have come since.
func (k *Keeper) source(ctx context.Context, desk *checkpoint.Compositor) (capture.Source, error) {
	places, err := zed.Find(k.site.Zed.Data, k.site.Zed.Config)
	if err != nil {
		// What was found stands in places; what was not is carried.
		k.log.Warn("Zed's places cannot be read", "error", err)
	}
	socket, _, err := k.compositor(ctx)
	if err != nil && ctx.Err() != nil {
		return capture.Source{}, ctx.Err()
	}
	return capture.Source{
		Roots: k.site.Roots, Home: k.site.Home, Zed: places, Socket: socket, Desk: desk,
		// Not the system's directory of temporary files, which may be memory.
		SpoolDir: k.dir,
	}, nil
}

// compositor returns the Sway that answers now: the one seen last while it does,
// else one that has come since.
func (k *Keeper) compositor(ctx context.Context) (sway.Socket, checkpoint.Compositor, error) {
	if k.socket != "" {
		if c, err := k.socket.Probe(ctx); err == nil {
			return k.socket, c, nil
		}
	}
	socket, c, err := k.site.FindSway(ctx)
	if err == nil {
		k.socket = socket
	}
	return socket, c, err
}

// commit makes captured the latest checkpoint.
func (k *Keeper) commit(ctx context.Context, tx *repository.Tx, r Request, start time.Time, captured capture.Captured) error {
	m := &checkpoint.Manifest{
		Format: checkpoint.Format, ID: checkpoint.NewID(start), Session: k.site.ID, Epoch: k.epoch, Seq: k.seq + 1,
		Created: start, Reason: r.Reason, RequestID: r.RequestID, RequestDigest: r.digest(),
		Instance: k.record.Instance, Agent: checkpoint.Agent{Version: k.version}, Roots: k.site.Roots, Components: captured.Components,
	}
	if k.entry.ID != "" {
		m.Parent = &checkpoint.Parent{ID: k.entry.ID, SHA256: k.entry.ManifestSHA256}
	}
	m.Stats.Files, m.Stats.PlainBytes = captured.Size()
	m.Stats.NewBytes = tx.NewBytes()
	m.Stats.DurationMS = time.Since(start).Milliseconds()
	if err := k.own(); err != nil {
		return err
	}
	sum, err := tx.Commit(ctx, m, k.guard)
	if err != nil {
		return err
	}
	k.latest = captured.Previous(m)
	k.entry, k.seq = m.Entry(sum), m.Seq
	k.record.LastCheckpoint = m.ID
	// The checkpoint is committed; what only points at it must not fail it.
	if err := k.summarize(); err != nil {
		k.log.Warn("summary not written", "error", err)
	}
	return nil
}

// own persists the epoch before the first commit in it, so that no later owner
// takes the same.
func (k *Keeper) own() error {
	if k.record.Epoch == k.epoch {
		return nil
	}
	return k.save()
}

// save writes the session's record.
func (k *Keeper) save() error {
	k.record.Session, k.record.Epoch = k.site.ID, k.epoch
	return session.Save(k.dir, k.record)
}

// guard reads the session's record again: a commit of an owner that was fenced
// meanwhile must not happen.
func (k *Keeper) guard() error {
	if err := k.lock.Refresh(); err != nil {
		k.log.Warn("the session's lock does not name its owner", "error", err)
	}
	now, err := session.Load(k.dir)
	switch {
	case errors.Is(err, checkpoint.ErrDamaged):
		// It was sound when the lock was taken, and nobody else may write it since.
		if err := k.setAside(filepath.Join(k.dir, session.RecordName), err); err != nil {
			return err
		}
		return k.save()
	case err != nil:
		return err
	case now.Fence != nil && k.epoch < now.Fence.Epoch:
		return fmt.Errorf("%w: epoch %d, by epoch %d", checkpoint.ErrFenced, k.epoch, now.Fence.Epoch)
	case now.Epoch > k.epoch:
		return fmt.Errorf("%w: this is epoch %d, the session is at %d", checkpoint.ErrFenced, k.epoch, now.Epoch)
	}
	return nil
}

// Summary is session-checkpoint.json: the newest commit of any session of a
// directory.
type Summary struct {
	Session        string                      `json:"session"`
	Checkpoint     checkpoint.ID               `json:"checkpoint"`
	ManifestSHA256 checkpoint.Hash             `json:"manifest_sha256"`
	Epoch          uint64                      `json:"epoch"`
	Seq            uint64                      `json:"seq"`
	Created        time.Time                   `json:"created"`
	Dir            string                      `json:"dir"`
	Components     map[string]checkpoint.State `json:"components"`
}

func (k *Keeper) summarize() error {
	e := k.entry
	b, err := json.Marshal(Summary{k.site.ID, e.ID, e.ManifestSHA256, e.Epoch, e.Seq, e.Created, k.site.Dir, e.Components})
	if err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(k.site.Dir, "session-checkpoint.json"), append(b, '\n'), 0o600); err != nil {
		return err
	}
	return k.save()
}

// readme is for the person who finds the directory.
const readme = `This directory is written by helix-ckpt: checkpoints of desktop sessions.

  helix-ckpt list                      what there is
  helix-ckpt restore                   bring the latest back

By hand, for a session S:
  ls sessions/S/checkpoints            one manifest a checkpoint
  zstd -dc sessions/S/checkpoints/ID.json.zst | jq .
  zstd -dc sessions/S/packs/*.zst      the content, in chunks

Delete nothing below sessions/ while helix-ckpt runs. The format is described
in checkpoint/repository/FORMAT.md of its source.
`

func (k *Keeper) describe() error {
	path := filepath.Join(k.site.Dir, "README")
	if b, err := atomicfile.Read(path, int64(len(readme))); err == nil && string(b) == readme {
		return nil
	}
	return atomicfile.Write(path, []byte(readme), 0o600)
}

func heads(c *checkpoint.Components) map[string]checkpoint.Head {
	h := map[string]checkpoint.Head{}
	for _, name := range checkpoint.Names() {
		h[name] = c.Head(name)
	}
	return h
}

// nothing returns why a checkpoint would hold nothing; nil when it holds
// something. What would be useless to restore must not become the latest.
func nothing(heads map[string]checkpoint.Head) error {
	var failed []string
	for _, name := range checkpoint.Names() {
		switch h := heads[name]; {
		case h.State.Usable():
			return nil
		case h.State == checkpoint.Failed:
			failed = append(failed, name+": "+h.Error)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("nothing could be captured: %s", strings.Join(failed, "; "))
	}
	return fmt.Errorf("%w to capture: no Zed database, no conversation, no compositor; 'helix-ckpt doctor' shows where it looked", checkpoint.ErrNothing)
}
