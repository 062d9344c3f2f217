// Package checkpoint is the domain of helix-ckpt: what a checkpoint of a
// desktop session is, and what must be true of one. It does no I/O; the
// packages below it read sessions and repositories and speak in its types.
//
//	Manifest ─┬─ identity: session, epoch, seq, id, parent, instance
//	          ├─ roots: what $HOME, $WORKSPACE and $ZED_DATA stood for
//	          └─ components ─┬─ zed            files + what is in them
//	                         ├─ conversations  files
//	                         ├─ windows        who shows what     ┐ one unit,
//	                         ├─ layout         where it is shown  ┘ leaf by leaf
//	                         └─ files          files
//
// A manifest is immutable and complete: it names content by the sha256 of its
// plain bytes, never by a place, so that a checkpoint is restorable from any
// repository that holds those bytes. The on-disk and wire form is JSON with
// fixed names, format "helix.ckpt/v1" (see Manifest).
//
// Everything decoded here is untrusted input: Decode bounds sizes and refuses
// what does not hold together (Manifest.Validate).
package checkpoint

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"
)

// ID names a checkpoint for people and files: the UTC time of its creation to
// the millisecond and a random suffix, as in 20261123T101500.123Z-3f9a1c2e.
// The time informs; order among checkpoints is that of (epoch, seq, id).
type ID string

const idTime = "20060102T150405.000Z"

var idPattern = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-f]{8}$`)

// NewID returns a fresh ID for a checkpoint created at t.
func NewID(t time.Time) ID {
	var suffix [4]byte
	rand.Read(suffix[:]) // never fails since Go 1.24
	return ID(t.UTC().Format(idTime) + "-" + hex.EncodeToString(suffix[:]))
}

// ParseID returns s as an ID, or an error when it is not of the form of one.
func ParseID(s string) (ID, error) {
	if !idPattern.MatchString(s) {
		return "", fmt.Errorf("%q is not a checkpoint id (want e.g. 20261123T101500.123Z-3f9a1c2e)", s)
	}
	return ID(s), nil
}

// Time returns the time in id; zero when there is none. It is all that is known
// of a checkpoint whose manifest cannot be read.
func (id ID) Time() time.Time {
	t, err := time.Parse(idTime, string(id[:max(0, len(id)-len("-3f9a1c2e"))]))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Hash is the sha256 of plain bytes: the address of content.
type Hash [sha256.Size]byte

// Sum returns the address of b.
func Sum(b []byte) Hash { return sha256.Sum256(b) }

// ParseHash reads the 64 hexadecimal digits of a Hash.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != hex.EncodedLen(len(h)) {
		return h, fmt.Errorf("%q is not a sha256: want %d hexadecimal digits", s, hex.EncodedLen(len(h)))
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, fmt.Errorf("%q is not a sha256: %w", s, err)
	}
	return h, nil
}

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is unset.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText writes h as 64 hexadecimal digits, or nothing when it is unset.
func (h Hash) MarshalText() ([]byte, error) {
	if h.IsZero() {
		return nil, nil
	}
	return hex.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads what MarshalText writes.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*h = Hash{}
		return nil
	}
	v, err := ParseHash(string(b))
	if err == nil {
		*h = v
	}
	return err
}

var sessionPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// ValidSession reports, as an error, why name cannot be a session id. Session
// ids become directory names, so they are short and plain.
func ValidSession(name string) error {
	if !sessionPattern.MatchString(name) {
		return fmt.Errorf("%q is not a session id: want 1 to 128 letters, digits, '.', '_' or '-', the first a letter or digit", name)
	}
	return nil
}

// Entry is what a list of checkpoints shows of one, and what orders it.
type Entry struct {
	ID      ID        `json:"id"`
	Epoch   uint64    `json:"epoch"`
	Seq     uint64    `json:"seq"`
	Created time.Time `json:"created"`
	Reason  string    `json:"reason"`
	// RequestID is the request that made it, if one did.
	RequestID string `json:"request_id,omitempty"`
	Pinned    bool   `json:"pinned"`
	// Components holds the state of every component that is not absent.
	Components map[string]State `json:"components"`
	PlainBytes int64            `json:"plain_bytes"`
	NewBytes   int64            `json:"new_bytes"`
	// ManifestSHA256 is the hash of the manifest's plain JSON.
	ManifestSHA256 Hash `json:"manifest_sha256"`
}

// Compare orders entries by (epoch, seq, id): the last one is the latest.
// Clocks do not count: a host whose clock is wrong must not win.
func (e Entry) Compare(o Entry) int {
	return cmp.Or(cmp.Compare(e.Epoch, o.Epoch), cmp.Compare(e.Seq, o.Seq), cmp.Compare(e.ID, o.ID))
}
