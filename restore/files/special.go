package files

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// leads refuses a symbolic link to where its component may not write, or out of
// its root: nobody who follows it later asks where it came from.
func (p Places) leads(t *Target, root, rel string) error {
	target := t.File.Target()
	logical, at := checkpoint.Logical(p.roots, path.Clean(target)), target
	if !filepath.IsAbs(target) {
		logical = path.Join(root, path.Dir(rel), target)
		at = filepath.Dir(t.Path) + "/" + target // not cleaned: in a/../b, a may be a link
	}
	toRoot, toRel, err := checkpoint.SplitLogical(logical)
	if err != nil {
		return fmt.Errorf("a symbolic link to %s leads out of %s: %w", target, root, checkpoint.ErrPath)
	}
	if err := allow(t.Component, toRoot, toRel); err != nil {
		return fmt.Errorf("a symbolic link to %s: %w", target, err)
	}
	if at, err = zed.Follow(at); err != nil {
		return err
	}
	return p.look(toRoot, filepath.Dir(at)).err
}

// link makes the symbolic link of a target in a staging directory.
func (w *write) link(dir int, name string) error {
	if err := unix.Symlinkat(w.target.File.Target(), dir, name); err != nil {
		return &fs.PathError{Op: "symlink", Path: filepath.Join(w.stage.dir, w.step.staged()), Err: err}
	}
	return w.setTime(dir, name)
}

func (w *write) setTime(dir int, name string) error {
	if w.target.File.MtimeNS == 0 {
		return nil
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(int64(w.target.File.MtimeNS))}
	if err := unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "set times", Path: filepath.Join(w.stage.dir, w.step.staged()), Err: err}
	}
	return nil
}

// holeBlock is how many bytes are looked at together for whether they are zeros.
const holeBlock = 64 << 10

// sparse writes a file and passes over the zeros in its holes. What the content
// holds there decides, not what was said of it: anything else is written.
type sparse struct {
	f     *os.File
	holes [][2]int64 // offset and length, in order
	at    int64
}

func (s *sparse) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		for len(s.holes) > 0 && s.at >= s.holes[0][0]+s.holes[0][1] {
			s.holes = s.holes[1:]
		}
		part, empty := p, false
		if len(s.holes) > 0 {
			from, to := s.holes[0][0], s.holes[0][0]+s.holes[0][1]
			if s.at < from {
				part = p[:min(int64(len(p)), from-s.at)]
			} else {
				part = p[:min(int64(len(p)), to-s.at, holeBlock)]
				empty = len(bytes.TrimLeft(part, "\x00")) == 0
			}
		}
		if !empty {
			if n, err := s.f.WriteAt(part, s.at); err != nil {
				return total - len(p) + n, err
			}
		}
		s.at += int64(len(part))
		p = p[len(part):]
	}
	return total, nil
}
