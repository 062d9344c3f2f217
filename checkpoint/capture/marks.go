package capture

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint/conversations"
	"github.com/helixml/helix-ckpt/checkpoint/sqlite"
)

// mark is a digest of all that can be seen of a file without reading it, and of
// its path. A file that has the mark it had before it was captured has not moved
// since. Marks outlive the process (Capturer.Marks): what is lost of them costs
// a file to be read again, and only that.
//
// Files whose times are too young to tell the next write have none.
type mark [16]byte

func newMark(logical string, seen []byte) mark {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(logical)))
	sum := sha256.Sum256(append(append(b, logical...), seen...))
	return mark(sum[:len(mark{})])
}

// markDatabase returns the mark of a database; false when it can have none.
func markDatabase(logical string, f sqlite.Fingerprint) (mark, bool) {
	return newMark(logical, fmt.Appendf(nil, "%v", f)), f.Settled()
}

// markFile returns the mark of a conversation as it was listed at now; false
// when it can have none.
func markFile(s conversations.Source, now time.Time) (mark, bool) {
	var b []byte
	for _, n := range []uint64{
		s.Device, s.Inode, uint64(s.Size), uint64(s.ModTime.UnixNano()), uint64(s.Changed.UnixNano()), uint64(s.Mode),
	} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return newMark(s.Logical, b), sqlite.Settled(s.ModTime, now)
}

// Marks returns the marks of what was captured last, for Trust in another
// process. They mean something together with the checkpoint that holds it.
func (c *Capturer) Marks() []byte {
	sorted := make([]mark, 0, len(c.marks))
	for m := range c.marks {
		sorted = append(sorted, m)
	}
	slices.SortFunc(sorted, func(a, b mark) int { return bytes.Compare(a[:], b[:]) })
	b := make([]byte, 0, len(sorted)*len(mark{}))
	for _, m := range sorted {
		b = append(b, m[:]...)
	}
	return b
}

// Trust takes over the Marks of a Capturer that captured what the previous
// checkpoint of the next capture holds.
func (c *Capturer) Trust(marks []byte) {
	c.marks = make(map[mark]bool, len(marks)/len(mark{}))
	for m := range slices.Chunk(marks, len(mark{})) {
		if len(m) == len(mark{}) {
			c.marks[mark(m)] = true
		}
	}
}
