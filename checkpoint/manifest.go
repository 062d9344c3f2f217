package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Format is the first key of every manifest: its kind and version.
const Format = "helix.ckpt/v1"

// formatName is what all versions of Format start with.
const formatName = "helix.ckpt/v"

// ComponentVersion is the newest version of any component that this program
// reads and the one that it writes.
const ComponentVersion = 1

// MaxManifest bounds the plain JSON of a manifest, in bytes. A manifest with
// 256 inline files and 1,000 windows stays below 1 MiB.
const MaxManifest = 16 << 20

// ErrFormat is returned for a manifest of another or a newer format.
var ErrFormat = errors.New("unknown manifest format")

// Manifest is one checkpoint: an immutable record of a session at one instant.
// It is always complete; what could not be captured is carried from an earlier
// one and says so.
type Manifest struct {
	Format  string  `json:"format"`
	ID      ID      `json:"id"`
	Session string  `json:"session"`
	Epoch   uint64  `json:"epoch"`
	Seq     uint64  `json:"seq"`
	Parent  *Parent `json:"parent,omitempty"`
	// Created is the moment the capture began, UTC to the millisecond.
	Created       time.Time         `json:"created"`
	Reason        string            `json:"reason"`
	RequestID     string            `json:"request_id"`
	RequestDigest string            `json:"request_digest"`
	Instance      Instance          `json:"instance"`
	Agent         Agent             `json:"agent"`
	Roots         map[string]string `json:"roots"`
	Components    Components        `json:"components"`
	Stats         Stats             `json:"stats"`
}

// Parent names the checkpoint before this one in the same line. It informs:
// its absence from a repository is no damage.
type Parent struct {
	ID     ID   `json:"id"`
	SHA256 Hash `json:"sha256"`
}

// Instance is one life of the session's runtime directory. Only ID decides;
// the rest informs.
type Instance struct {
	ID        string `json:"id"`
	Hostname  string `json:"hostname"`
	BootID    string `json:"boot_id"`
	Container string `json:"container"`
}

// Agent is the program that took the checkpoint.
type Agent struct {
	Version string `json:"version"`
}

// Stats informs about the cost of a checkpoint.
type Stats struct {
	PlainBytes int64 `json:"plain_bytes"`
	NewBytes   int64 `json:"new_bytes"`
	Files      int   `json:"files"`
	DurationMS int64 `json:"duration_ms"`
}

// Entry returns what a list shows of m. sum is the hash of its plain JSON.
func (m *Manifest) Entry(sum Hash) Entry {
	return Entry{
		ID: m.ID, Epoch: m.Epoch, Seq: m.Seq, Created: m.Created, Reason: m.Reason, RequestID: m.RequestID,
		Components: m.Components.States(), PlainBytes: m.Stats.PlainBytes, NewBytes: m.Stats.NewBytes, ManifestSHA256: sum,
	}
}

// Encode returns the plain JSON of m, the bytes that manifest_sha256 is of. It
// refuses a manifest that Decode would.
func Encode(m *Manifest) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint %s: %w", m.ID, err)
	}
	if len(b) > MaxManifest {
		return nil, fmt.Errorf("encode checkpoint %s: manifest of %d bytes, at most %d are allowed", m.ID, len(b), MaxManifest)
	}
	return b, nil
}

// Decode reads the plain JSON of a manifest and validates it. Unknown fields
// are ignored; a component of an unknown version is set aside (see
// Components.Unsupported) and the rest stays usable; an unknown format is
// ErrFormat.
func Decode(b []byte) (*Manifest, error) {
	if len(b) > MaxManifest {
		return nil, fmt.Errorf("manifest of %d bytes, at most %d are allowed", len(b), MaxManifest)
	}
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if !strings.HasPrefix(head.Format, formatName) {
		return nil, fmt.Errorf("not a manifest: its format is %q", head.Format)
	}
	if head.Format != Format {
		return nil, fmt.Errorf("%w %q: this program reads %s; use a newer helix-ckpt", ErrFormat, head.Format, Format)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return &m, nil
}

// Validate reports the first thing that cannot be true of a manifest.
func (m *Manifest) Validate() error {
	if m.Format != Format {
		return fmt.Errorf("%w %q", ErrFormat, m.Format)
	}
	if _, err := ParseID(string(m.ID)); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if err := m.validate(); err != nil {
		return fmt.Errorf("manifest %s: %w", m.ID, err)
	}
	return nil
}

func (m *Manifest) validate() error {
	if err := ValidSession(m.Session); err != nil {
		return err
	}
	if m.Epoch == 0 || m.Seq == 0 {
		return fmt.Errorf("epoch %d, seq %d: both start at 1", m.Epoch, m.Seq)
	}
	if m.Epoch > MaxEpoch || m.Seq > MaxEpoch {
		return fmt.Errorf("epoch %d, seq %d: at most %d are allowed", m.Epoch, m.Seq, uint64(MaxEpoch))
	}
	if m.Created.IsZero() {
		return errors.New("no time of creation")
	}
	for name, dir := range m.Roots {
		if !isRootName(name) {
			return fmt.Errorf("root %q: want a name like $HOME", name)
		}
		if !strings.HasPrefix(dir, "/") {
			return fmt.Errorf("root %s: %q is not an absolute path", name, dir)
		}
	}
	return m.Components.validate()
}

// Kind is what a stored file is, which decides how it was captured.
type Kind string

// The kinds of file.
const (
	KindFile    Kind = "file"
	KindSQLite  Kind = "sqlite"  // one consistent image of a database
	KindJSONL   Kind = "jsonl"   // append-only lines; a torn last one is left out
	KindSymlink Kind = "symlink" // Link holds its target
)

// File is one file of a component.
type File struct {
	// Path is logical, as in $ZED_DATA/threads/threads.db. One that is not
	// UTF-8 stands in PathB64 instead.
	Path    string `json:"path,omitempty"`
	PathB64 []byte `json:"path_b64,omitempty"`
	Kind    Kind   `json:"kind"`
	State   State  `json:"state"`
	// AsOf is when its content was read, where that is not the component's.
	AsOf *time.Time `json:"as_of,omitempty"`
	// From is the checkpoint that captured a carried file. It informs: the
	// content stands here in full.
	From ID `json:"from,omitempty"`
	// Error says why it is carried or failed.
	Error string `json:"error,omitempty"`
	// Mode holds the permission bits, in octal as in "0644".
	Mode    Mode    `json:"mode,omitempty"`
	MtimeNS MtimeNS `json:"mtime_ns,omitempty"`
	// Meaning is the digest of a database without its volatile columns.
	Meaning string `json:"meaning,omitempty"`
	// Link is the target of a symlink, as it was read. One that is not UTF-8
	// stands in LinkB64 instead.
	Link    string `json:"link,omitempty"`
	LinkB64 []byte `json:"link_b64,omitempty"`
	// Holes are the parts of a sparse file that hold nothing: [offset, length],
	// in the order of the file. They inform: the content holds zeros there.
	Holes [][2]int64 `json:"holes,omitempty"`
	Content
}

// Name returns the logical path of f, whichever way it is written.
func (f File) Name() string {
	if f.Path != "" {
		return f.Path
	}
	return string(f.PathB64)
}

// Target returns the target of the symlink f, whichever way it is written.
func (f File) Target() string {
	if f.Link != "" {
		return f.Link
	}
	return string(f.LinkB64)
}

// Mode is permission bits, written in octal.
type Mode fs.FileMode

// MarshalText writes m as four octal digits.
func (m Mode) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%04o", fs.FileMode(m).Perm()), nil
}

// UnmarshalText reads octal digits, permission bits only.
func (m *Mode) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 8, 32)
	if err != nil || v > 0o777 {
		return fmt.Errorf("mode %q: want permission bits in octal", b)
	}
	*m = Mode(v)
	return nil
}

// MtimeNS is a modification time in nanoseconds since 1970, written as a
// string because JSON readers such as jq lose digits of large numbers.
type MtimeNS int64

// MarshalText writes the decimal digits.
func (t MtimeNS) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(t), 10), nil }

// UnmarshalText reads decimal digits.
func (t *MtimeNS) UnmarshalText(b []byte) error {
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("mtime_ns %q: want nanoseconds since 1970", b)
	}
	*t = MtimeNS(v)
	return nil
}

// Time returns t as a time.
func (t MtimeNS) Time() time.Time { return time.Unix(0, int64(t)) }

// Validate reports the first thing that cannot be true of a file alone.
func (f File) Validate() error {
	if f.Path != "" && len(f.PathB64) > 0 {
		return errors.New("a file with two paths")
	}
	if _, _, err := SplitLogical(f.Name()); err != nil {
		return err
	}
	if !f.State.Known() || f.State == Absent {
		return fmt.Errorf("file %s: unknown state %q", f.Name(), f.State)
	}
	switch f.Kind {
	case KindFile, KindSQLite, KindJSONL:
	case KindSymlink:
		if err := f.validateLink(); err != nil {
			return fmt.Errorf("file %s: %w", f.Name(), err)
		}
		return nil
	default:
		return fmt.Errorf("file %s: unknown kind %q", f.Name(), f.Kind)
	}
	if !f.State.Usable() {
		return nil
	}
	err := f.validate()
	if err == nil {
		err = f.validateHoles()
	}
	if err != nil {
		return fmt.Errorf("file %s: %w", f.Name(), err)
	}
	return nil
}

func (f File) validateLink() error {
	target := f.Target()
	switch {
	case f.Link != "" && len(f.LinkB64) > 0:
		return errors.New("a symlink with two targets")
	case target == "":
		return errors.New("a symlink to nowhere")
	case len(target) > MaxPath:
		return fmt.Errorf("a symlink with a target of %d bytes, at most %d are allowed", len(target), MaxPath)
	case strings.ContainsRune(target, 0):
		return errors.New("a symlink whose target holds a NUL")
	case f.Size != 0 || len(f.Chunks) > 0 || f.Recipe != nil || len(f.Holes) > 0:
		return errors.New("a symlink with content")
	}
	return nil
}

func (f File) validateHoles() error {
	if len(f.Holes) > MaxHoles {
		return fmt.Errorf("%d holes, at most %d are allowed", len(f.Holes), MaxHoles)
	}
	end := int64(0)
	for _, h := range f.Holes {
		offset, length := h[0], h[1]
		if offset < end || length <= 0 || offset > f.Size || length > f.Size-offset {
			return fmt.Errorf("a hole of %d bytes at %d: want holes in order within %d bytes", length, offset, f.Size)
		}
		end = offset + length
	}
	return nil
}
