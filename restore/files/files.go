// Package files puts verified files in the place of live ones: all of them or
// none, and what was there is kept.
//
// Every file is first written, checked and synced in a staging directory on
// the file system of its place. Until then nothing live is touched. The caller
// then writes its commit mark, and from there each step is one rename that can
// be repeated:
//
//	Places.Find ─ where a file goes, or why it must not          (reads only)
//	Stager      ─ <anchor>/.helix-ckpt-restore-<id>/new/<n>      verified
//	              <anchor>/.helix-ckpt-restore-<id>/steps.json   synced
//	     ── the caller's commit mark; before it Discard, after it Apply ──
//	Set.Apply   ─ live, live-wal, live-shm, live-journal → …/old/<path>
//	              …/new/<n> → live                               directories synced
//
// A step whose staged file is gone was done. An anchor is a directory that
// holds the places of its steps on one volume, so that no rename crosses file
// systems; steps name paths below it, never absolute ones, and everything is
// done through os.Root: a link planted meanwhile leads nowhere.
//
// Manifests are untrusted. A file goes only where its component may write, never
// over a credential or a setting, never into the repository, never through a
// link that leaves the root (links into $WORKSPACE are followed and kept: Helix
// keeps state behind them).
package files

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Source gives the bytes of content. An error that wraps
// checkpoint.ErrDamaged means that they are not what they were. It is called by
// several goroutines.
type Source interface {
	CopyTo(ctx context.Context, w io.Writer, c checkpoint.Content) error
}

// ErrRefused is wrapped by the reason why a file must not be put anywhere.
var ErrRefused = errors.New("refused")

// Target is a file of a checkpoint and its place in the live session.
type Target struct {
	Component string
	File      checkpoint.File
	// Path is where the file goes: absolute, with links followed.
	Path string
	// Anchor is the directory that its staging directory is made in.
	Anchor string
	// Live is what lies there now; nil when nothing does.
	Live *Live
	// Refused is why the file is not put there; it wraps ErrRefused. Path,
	// Anchor and Live then mean nothing.
	Refused error
}

// Live is a file that is about to be moved aside.
type Live struct {
	Size  int64
	Mtime time.Time
}

// Note says, for people, what is special about the file that comes and the one
// that goes; "" when nothing is.
func (t Target) Note() string {
	var notes []string
	switch t.File.State {
	case checkpoint.Carried:
		notes = append(notes, "carried from "+string(t.File.From)+": "+t.File.Error)
	case checkpoint.Partial:
		notes = append(notes, "without its torn last line")
	}
	if t.Live == nil {
		return strings.Join(notes, "; ")
	}
	was := "what was there is kept aside"
	var ahead []string
	if t.File.MtimeNS != 0 && t.Live.Mtime.After(t.File.MtimeNS.Time()) {
		ahead = append(ahead, "newer")
	}
	if t.Live.Size > t.File.Size {
		ahead = append(ahead, "larger")
	}
	if len(ahead) > 0 {
		was += " (it is " + strings.Join(ahead, " and ") + ")"
	}
	return strings.Join(append(notes, was), "; ")
}

// Hook is called with the name of each change to the disk, before it is made.
// Tests stop there.
type Hook func(point string)

func (h Hook) at(point string, args ...any) {
	if h != nil {
		h(fmt.Sprintf(point, args...))
	}
}

// Path is a path in JSON: itself, or "b64:" and base64 when it is not UTF-8.
type Path string

const pathB64 = "b64:"

// MarshalText writes the path as it is where JSON can hold it.
func (p Path) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(p)) && !strings.HasPrefix(string(p), pathB64) {
		return []byte(p), nil
	}
	return []byte(pathB64 + base64.StdEncoding.EncodeToString([]byte(p))), nil
}

// UnmarshalText reads what MarshalText writes.
func (p *Path) UnmarshalText(b []byte) error {
	coded, ok := strings.CutPrefix(string(b), pathB64)
	if !ok {
		*p = Path(b)
		return nil
	}
	plain, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return fmt.Errorf("path %q: %w", b, err)
	}
	*p = Path(plain)
	return nil
}
