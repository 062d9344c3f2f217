package files

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
)

const (
	// maxWriters bounds how many files are written at the same time. Two cores
	// are busy with two; more than a few only take memory.
	maxWriters = 4
	// writeBuffer is how many bytes are written at once: a chunk at a time, a large
	// file takes a fifth longer.
	writeBuffer = 256 << 10
	// fewFiles is how many files of a component are synced one by one: an fsync
	// takes 0.65 ms, a sync of the file system some 10 ms and as long as others'
	// unwritten files keep it.
	fewFiles = 32
)

// write is a file to be staged.
type write struct {
	stage  *stage
	target *Target
	step   Step
	sync   bool // by itself, not with the file system
	// database: it turned out to be one.
	database bool
}

// write writes and verifies files, several at a time. The first error ends it.
func (s *Stager) write(ctx context.Context, writes []*write) error {
	for _, w := range writes {
		// A link cannot be synced by itself.
		w.sync = w.target.File.Kind != checkpoint.KindSymlink && (len(writes) <= fewFiles || !w.stage.together)
		w.stage.unsynced = w.stage.unsynced || !w.sync
	}
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), maxWriters, len(writes)) {
		g.Go(func() error {
			buf := bufio.NewWriterSize(nil, writeBuffer)
			for {
				i := int(next.Add(1) - 1)
				if i >= len(writes) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := s.writeOne(ctx, writes[i], buf); err != nil {
					return fmt.Errorf("stage %s: %w", writes[i].target.File.Name(), err)
				}
			}
		})
	}
	return g.Wait()
}

// sqliteMagic starts every SQLite database.
var sqliteMagic = []byte("SQLite format 3\x00")

func (s *Stager) writeOne(ctx context.Context, w *write, buf *bufio.Writer) error {
	s.hooks.Lock()
	s.opts.Hook.at("write %s", w.step.staged())
	s.hooks.Unlock()
	dir, name, file := int(w.stage.new.Fd()), path.Base(w.step.staged()), w.target.File
	if file.Kind == checkpoint.KindSymlink {
		return w.link(dir, name)
	}
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "create", Path: filepath.Join(w.stage.dir, w.step.staged()), Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(w.stage.dir, w.step.staged()))
	defer f.Close()
	var to io.Writer = f
	if len(file.Holes) > 0 {
		to = &sparse{f: f, holes: file.Holes}
	}
	head, err := fill(ctx, to, buf, s.src, file.Content)
	if err == nil && len(file.Holes) > 0 {
		err = f.Truncate(file.Size)
	}
	if err != nil {
		return err
	}
	w.database = bytes.Equal(head, sqliteMagic)
	if w.database || w.step.Database {
		// The disk writes it while it is checked. Advice only.
		_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
		if err := checkDatabase(ctx, f.Name()); err != nil {
			return fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
		}
	}
	if mode := fs.FileMode(file.Mode).Perm(); mode != 0 && mode != 0o600 {
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if err := w.setTime(dir, name); err != nil {
		return err
	}
	if w.sync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return f.Close()
}

// fill writes content to f through buf and makes sure, whatever src promises,
// that it is what its size and its hash, if it has one, say. It returns the
// first bytes.
func fill(ctx context.Context, f io.Writer, buf *bufio.Writer, src Source, c checkpoint.Content) (head []byte, err error) {
	if c.Size == 0 {
		return nil, nil
	}
	buf.Reset(f)
	w := &measured{w: buf, left: c.Size}
	if !c.SHA256.IsZero() {
		w.sum = sha256.New()
	}
	if err := src.CopyTo(ctx, w, c); err != nil {
		return nil, err
	}
	if w.left != 0 || w.sum != nil && checkpoint.Hash(w.sum.Sum(nil)) != c.SHA256 {
		return nil, fmt.Errorf("%w: %s came back as something else", checkpoint.ErrDamaged, c.Label())
	}
	return w.head, buf.Flush()
}

// measured hashes what it writes, keeps its head, and stops at a limit.
type measured struct {
	w    io.Writer
	left int64
	sum  hash.Hash // nil: it is not known what it should be
	head []byte    // as long as sqliteMagic
}

func (m *measured) Write(p []byte) (int, error) {
	if int64(len(p)) > m.left {
		return 0, fmt.Errorf("%w: content is longer than it says", checkpoint.ErrDamaged)
	}
	n, err := m.w.Write(p)
	m.left -= int64(n)
	if m.sum != nil {
		m.sum.Write(p[:n])
	}
	m.head = append(m.head, p[:min(n, len(sqliteMagic)-len(m.head))]...)
	return n, err
}

// syncsTogether reports whether one sync of the file system that holds d tells
// of every failed write to it since d was opened. Linux does since 5.8, which is
// also when statx began to name mounts. Of a stack of file systems (overlayfs,
// FUSE) the errors are kept below, where that sync does not look: there each
// file is synced by itself.
func syncsTogether(d *os.File) bool {
	var st unix.Statx_t
	err := unix.Statx(int(d.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st)
	if err != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return false
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &fs); err != nil {
		return false
	}
	switch fs.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	}
	return false
}
