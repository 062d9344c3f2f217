// Package session keeps what is true of a session between processes: who owns
// it, in which epoch, and what the agent last said of itself.
//
//	<dir>/sessions/<session>/
//	    lock           held (OFD lock) by the one process that may write
//	    session.json   Record: epoch, fence, instance, last checkpoint
//	    status.json    what the agent is doing, for those who can make no RPC
//
// An instance is one life of the session's runtime directory: the id in
// $XDG_RUNTIME_DIR/helix-ckpt/instance, created once with O_EXCL. It survives
// a restart of Sway and of the agent, and goes with the container.
package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
)

// Dir returns the directory of one session below the helix-ckpt directory.
func Dir(dir, session string) string { return filepath.Join(dir, "sessions", session) }

// RecordName is the file of a Record.
const RecordName = "session.json"

// maxRecord bounds session.json and status.json, in bytes.
const maxRecord = 1 << 20

// Record is session.json: what the next owner must know.
type Record struct {
	Session string `json:"session"`
	Epoch   uint64 `json:"epoch"`
	// Fence is the takeover that was announced, if one was: an owner whose
	// epoch is below it writes nothing.
	Fence    *Fence              `json:"fence,omitempty"`
	Instance checkpoint.Instance `json:"instance"`
	AgentPID int                 `json:"agent_pid,omitempty"`
	Started  time.Time           `json:"started,omitzero"`
	State    string              `json:"state,omitempty"`
	// LastCheckpoint is the last one that this owner committed.
	LastCheckpoint checkpoint.ID `json:"last_checkpoint,omitempty"`
}

func (r *Record) validate() error {
	if r.Epoch > checkpoint.MaxEpoch || r.Fence != nil && r.Fence.Epoch > checkpoint.MaxEpoch {
		return fmt.Errorf("an epoch above %d", uint64(checkpoint.MaxEpoch))
	}
	return nil
}

// Fence is an announced takeover.
type Fence struct {
	Epoch     uint64 `json:"epoch"`
	RequestID string `json:"request_id,omitempty"`
}

// Load reads session.json in the session directory dir. A session that has
// none yet is a zero Record.
func Load(dir string) (Record, error) {
	var r Record
	err := readJSON(filepath.Join(dir, RecordName), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	return r, err
}

// Save writes session.json durably. The caller holds the session's lock.
func Save(dir string, r Record) error { return writeJSON(filepath.Join(dir, RecordName), r) }

// Status is status.json: written on change of state only. Whether the agent
// lives is told by the lock it holds, never by this file.
type Status struct {
	Session string    `json:"session"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	PID     int       `json:"pid"`
	Epoch   uint64    `json:"epoch"`
	// LastCheckpoint is the newest one at the change of state.
	LastCheckpoint checkpoint.ID               `json:"last_checkpoint,omitempty"`
	Components     map[string]checkpoint.State `json:"components,omitempty"`
	// Restoring is the checkpoint that is being restored.
	Restoring checkpoint.ID `json:"restoring,omitempty"`
}

func (*Status) validate() error { return nil }

// LoadStatus reads status.json in the session directory dir.
func LoadStatus(dir string) (Status, error) {
	var s Status
	err := readJSON(filepath.Join(dir, "status.json"), &s)
	return s, err
}

// SaveStatus writes status.json.
func SaveStatus(dir string, s Status) error { return writeJSON(filepath.Join(dir, "status.json"), s) }

// Epoch returns the epoch of an owner in the given instance: the one asked for
// (0: none), else that of the record when it is the same instance, else the
// next above both it and latest, the highest epoch that has a checkpoint. An
// epoch below what is known is checkpoint.ErrEpoch, one below the fence
// checkpoint.ErrFenced.
func Epoch(r Record, instance string, latest, asked uint64) (uint64, error) {
	known := max(r.Epoch, latest)
	epoch := asked
	switch {
	case asked != 0 && asked < known:
		return 0, fmt.Errorf("%w: epoch %d was asked for, the session is at %d", checkpoint.ErrEpoch, asked, known)
	case asked != 0:
	case r.Epoch != 0 && r.Instance.ID == instance && r.Epoch >= latest:
		epoch = r.Epoch
	default:
		epoch = known + 1
	}
	if epoch > checkpoint.MaxEpoch {
		return 0, fmt.Errorf("%w: %d, the highest is %d", checkpoint.ErrEpoch, epoch, uint64(checkpoint.MaxEpoch))
	}
	if r.Fence != nil && epoch < r.Fence.Epoch {
		return 0, fmt.Errorf("%w: epoch %d was taken over by epoch %d", checkpoint.ErrFenced, epoch, r.Fence.Epoch)
	}
	return epoch, nil
}

// readJSON reads what writeJSON writes, and trusts none of it.
func readJSON(path string, v interface{ validate() error }) error {
	b, err := atomicfile.Read(path, maxRecord)
	if errors.Is(err, atomicfile.ErrForeign) {
		return fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	if err := decode(b, v); err != nil {
		return fmt.Errorf("read %s: %w: %w", path, checkpoint.ErrDamaged, err)
	}
	return nil
}

func decode(b []byte, v interface{ validate() error }) error {
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	return v.validate()
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.Write(path, append(b, '\n'), 0o600)
}
