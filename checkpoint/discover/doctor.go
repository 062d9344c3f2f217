package discover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint/conversations"
	"github.com/helixml/helix-ckpt/checkpoint/session"
)

// Level is how much a finding matters.
type Level string

// The levels of findings.
const (
	OK Level = "ok"
	// Warn: it works, but not as one may expect.
	Warn Level = "warn"
	// Problem: something will not be checkpointed or restored.
	Problem Level = "problem"
)

// Finding is one thing that doctor looked at.
type Finding struct {
	Level  Level  `json:"level"`
	What   string `json:"what"`
	Detail string `json:"detail"`
	// Remedy says how to mend it; "" where there is nothing to mend.
	Remedy string `json:"remedy,omitempty"`
}

// doctor collects findings about a session.
type doctor struct {
	Session
	now      time.Time
	findings []Finding
}

// Diagnose looks at everything that a checkpoint or a restore of s would need
// and says what is there, what is wrong and how to mend it. It writes nothing
// and takes no lock. Its waits end with ctx, or after seconds.
func Diagnose(ctx context.Context, s Session) []Finding {
	d := &doctor{Session: s, now: time.Now()}
	for _, look := range []func(context.Context){
		d.user, d.directory, d.owner, d.workspace, d.runtime, d.agent, d.compositor, d.editor, d.agents, d.clock,
	} {
		look(ctx)
	}
	return d.findings
}

func (d *doctor) ok(what, detail string, args ...any) {
	d.findings = append(d.findings, Finding{Level: OK, What: what, Detail: fmt.Sprintf(detail, args...)})
}

func (d *doctor) warn(what, remedy, detail string, args ...any) {
	d.findings = append(d.findings, Finding{Level: Warn, What: what, Remedy: remedy, Detail: fmt.Sprintf(detail, args...)})
}

func (d *doctor) problem(what, remedy, detail string, args ...any) {
	d.findings = append(d.findings, Finding{Level: Problem, What: what, Remedy: remedy, Detail: fmt.Sprintf(detail, args...)})
}

// from says what decided a value.
func (d *doctor) from(name string) string {
	for _, v := range d.Values {
		if v.Name == name {
			return v.From
		}
	}
	return "default"
}

func (d *doctor) user(context.Context) {
	d.ok("session", "%s (%s)", d.ID, d.from("session"))
	if d.Quiet != "" {
		d.warn("mode", "unset that variable to have this session checkpointed", "the agent does nothing here: %s", d.Quiet)
	}
	info, err := os.Stat(d.Home)
	if err != nil {
		d.problem("home", "set HOME to the home directory of the session's user", "%v", err)
		return
	}
	if uid, ours := uidOf(info), os.Getuid(); uid != ours {
		d.warn("user", fmt.Sprintf("run helix-ckpt as the session's user, e.g. docker exec -u %d", uid),
			"%s belongs to uid %d and this is uid %d: files would be written that the other cannot replace", d.Home, uid, ours)
		return
	}
	d.ok("user", "uid %d, home %s", os.Getuid(), d.Home)
}

func uidOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return os.Getuid()
}

// directory looks at where checkpoints are kept, or at the nearest directory
// above, in which it will be made.
func (d *doctor) directory(context.Context) {
	const what = "directory"
	elsewhere := "choose another with --dir or HELIX_CKPT_DIR"
	there := d.Dir
	info, err := os.Stat(there)
	for errors.Is(err, fs.ErrNotExist) && there != "/" {
		there = filepath.Dir(there)
		info, err = os.Stat(there)
	}
	switch {
	case err != nil:
		d.problem(what, elsewhere, "%s (%s): %v", d.Dir, d.from("dir"), err)
		return
	case !info.IsDir():
		d.problem(what, elsewhere, "%s is no directory", there)
		return
	case there == d.Dir && uidOf(info) != os.Getuid():
		d.problem(what, "run helix-ckpt as that user, or "+elsewhere, "%s belongs to uid %d and this is uid %d", d.Dir, uidOf(info), os.Getuid())
	case there == d.Dir && info.Mode().Perm()&0o077 != 0:
		d.warn(what, "chmod 0700 "+d.Dir, "%s has mode %04o: other users can reach what is in it", d.Dir, info.Mode().Perm())
	}
	switch err := unix.Access(there, unix.W_OK|unix.X_OK); {
	case errors.Is(err, unix.EROFS):
		d.problem(what, "mount it writable, or "+elsewhere, "%s is on a read-only file system", there)
	case err != nil:
		d.problem(what, "make it writable for this user, or "+elsewhere, "%s cannot be written by uid %d: %v", there, os.Getuid(), err)
	case there == d.Dir:
		d.ok(what, "%s (%s)", d.Dir, d.from("dir"))
	default:
		d.ok(what, "%s (%s), made at the first checkpoint", d.Dir, d.from("dir"))
	}
	d.disk(there)
}

// disk looks at the file system below dir.
func (d *doctor) disk(dir string) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		d.warn("disk", "", "%s: %v", dir, err)
		return
	}
	switch st.Type {
	case unix.TMPFS_MAGIC:
		d.warn("disk", "mount a persistent directory and name it by WORKSPACE_DIR or --dir",
			"%s is in memory: checkpoints there do not survive the container", dir)
	case unix.OVERLAYFS_SUPER_MAGIC:
		d.warn("disk", "mount a persistent directory and name it by WORKSPACE_DIR or --dir",
			"%s is in the container's own layer: checkpoints there go with the container", dir)
	}
	level, detail := space(int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize, st.Ffree, st.Files)
	f := Finding{Level: level, What: "disk", Detail: dir + ": " + detail}
	if level != OK {
		f.Remedy = "free space, or choose another directory with --dir"
	}
	d.findings = append(d.findings, f)
}

const (
	// littleSpace is where an evening's work may no longer fit, in bytes: the
	// first checkpoint of a large session took 30 MB, later ones far less.
	littleSpace = 256 << 20
	// noSpace is where the next checkpoint may not fit, in bytes.
	noSpace = 32 << 20
	// littleInodes is how many files must still fit: a checkpoint makes three.
	littleInodes = 1000
)

// space judges what a file system has left. Some count no inodes (files 0).
func space(free, size int64, inodes, files uint64) (Level, string) {
	detail := fmt.Sprintf("%d MiB free of %d", free>>20, size>>20)
	switch {
	case free < noSpace:
		return Problem, detail
	case files > 0 && inodes < littleInodes:
		return Problem, fmt.Sprintf("%d files can still be made", inodes)
	case free < littleSpace:
		return Warn, detail
	}
	return OK, detail
}

// owner looks at who writes this session.
func (d *doctor) owner(context.Context) {
	dir := session.Dir(d.Dir, d.ID)
	record, err := session.Load(dir)
	if err != nil {
		d.problem("owner", "helix-ckpt run or checkpoint puts the file into quarantine; the epoch is then taken from the checkpoints", "%v", err)
		return
	}
	if f := record.Fence; f != nil && record.Epoch < f.Epoch {
		d.warn("owner", fmt.Sprintf("if this is the session's home again: helix-ckpt run --epoch %d", f.Epoch+1),
			"epoch %d is fenced by %d: this session was taken over elsewhere and nothing is written here", record.Epoch, f.Epoch)
	}
	if owner, held := session.Holder(dir); held {
		d.ok("owner", "epoch %d, written by %s", record.Epoch, owner)
		return
	}
	d.warn("owner", "start it with helix-ckpt run", "no agent runs for this session: it is checkpointed by hand only")
}

func (d *doctor) workspace(context.Context) {
	const what = "workspace"
	if d.Workspace == "" {
		d.warn(what, "mount one and set WORKSPACE_DIR", "no persistent directory: neither WORKSPACE_DIR nor /workspace nor ~/work")
		return
	}
	info, err := os.Stat(d.Workspace)
	switch {
	case err != nil:
		d.problem(what, "mount it, or correct --workspace or WORKSPACE_DIR", "%v (%s)", err, d.from(what))
	case !info.IsDir():
		d.problem(what, "correct --workspace or WORKSPACE_DIR", "%s (%s) is no directory", d.Workspace, d.from(what))
	case len(d.Mounts) > 1:
		d.ok(what, "%s (%s), the same directory as %s", d.Workspace, d.from(what), strings.Join(d.Mounts[1:], ", "))
	default:
		d.ok(what, "%s (%s)", d.Workspace, d.from(what))
	}
}

func (d *doctor) runtime(context.Context) {
	const what = "runtime directory"
	info, err := os.Stat(d.RuntimeDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.problem(what, fmt.Sprintf("mkdir -m 0700 -p %s, or set XDG_RUNTIME_DIR", d.RuntimeDir),
			"%s does not exist (%s): no agent can run and no Sway be found", d.RuntimeDir, d.from("runtime-dir"))
	case err != nil:
		d.problem(what, "set XDG_RUNTIME_DIR to a directory of this user", "%v", err)
	case !info.IsDir() || uidOf(info) != os.Getuid():
		d.problem(what, "set XDG_RUNTIME_DIR to a directory of this user",
			"%s is not a directory of uid %d", d.RuntimeDir, os.Getuid())
	case info.Mode().Perm()&0o077 != 0:
		d.warn(what, "chmod 0700 "+d.RuntimeDir, "%s has mode %04o: it should be open to its owner alone", d.RuntimeDir, info.Mode().Perm())
	default:
		d.ok(what, "%s (%s)", d.RuntimeDir, d.from("runtime-dir"))
	}
}

// maxSocketPath is the longest path of a unix socket on Linux, in bytes:
// sun_path has 108, the last of which is a NUL.
const maxSocketPath = 107

// agent looks at the socket of the API.
func (d *doctor) agent(ctx context.Context) {
	const what = "agent's socket"
	if len(d.Socket) > maxSocketPath {
		d.warn(what, "choose a shorter --socket or XDG_RUNTIME_DIR",
			"%s has %d bytes and sockets %d: helix-ckpt gets there, other programs such as grpcurl do not", d.Socket, len(d.Socket), maxSocketPath)
		return
	}
	switch err := dial(ctx, d.Socket); {
	case err == nil:
		d.ok(what, "an agent answers at %s", d.Socket)
	case errors.Is(err, fs.ErrNotExist):
		d.ok(what, "%s is free", d.Socket)
	case errors.Is(err, unix.ECONNREFUSED):
		d.warn(what, "nothing to do: the next agent takes its place", "%s was left behind by an agent that ended", d.Socket)
	default:
		d.problem(what, "choose another with --socket", "%s: %v", d.Socket, err)
	}
}

// dialTimeout bounds one connection: a unix socket accepts at once or its owner
// hangs.
const dialTimeout = time.Second

func dial(ctx context.Context, socket string) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (d *doctor) compositor(ctx context.Context) {
	const what = "compositor"
	socket, c, err := d.FindSway(ctx)
	if err != nil {
		d.problem(what, "start Sway, or name its socket by --sway-socket or SWAYSOCK", "%v; windows and layout are not checkpointed", err)
	} else {
		d.ok(what, "sway %s, pid %d, at %s", c.Version, c.PID, socket)
	}
	sockets, _ := filepath.Glob(filepath.Join(d.RuntimeDir, "sway*.sock*")) // the pattern is well formed
	if s := d.env("SWAYSOCK"); s != "" && !slices.Contains(sockets, s) {
		sockets = append(sockets, s)
	}
	for _, s := range sockets {
		if errors.Is(dial(ctx, s), unix.ECONNREFUSED) {
			d.warn(what, "nothing to do: it is passed over; programs that only know SWAYSOCK may need the other one",
				"%s was left behind by a Sway that ended", s)
		}
	}
}

// agents looks at the conversations of agents other than Zed's own.
func (d *doctor) agents(ctx context.Context) {
	const what = "conversations"
	sources, unread, err := conversations.List(ctx, d.Home)
	if err != nil {
		d.warn(what, "", "%v", err)
		return
	}
	for _, u := range unread {
		d.problem(what, "make it readable for this user, or mount what it leads to",
			"%s: %v; what was captured of it before is carried", u.Logical, u.Err)
	}
	var size int64
	for _, s := range sources {
		size += s.Size
	}
	d.ok(what, "files of agents: %d, %d KiB", len(sources), size>>10)
}

// oldest is before any helix-ckpt was built: a clock that shows less is not
// set.
func oldest() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// skew is how far in the future a file may have been written before the clock
// is in doubt.
const skew = 5 * time.Minute

// clock looks at the time: order among checkpoints does not depend on it, but
// their ids, retention and selection by time do.
func (d *doctor) clock(context.Context) {
	remedy := "set the host's clock"
	if d.now.Before(oldest()) {
		d.problem("clock", remedy, "it is %s here", d.now.UTC().Format(time.RFC3339))
		return
	}
	for _, path := range []string{d.Zed.WorkspaceDB(), d.Zed.ThreadsDB(), session.Dir(d.Dir, d.ID)} {
		if info, err := os.Stat(path); err == nil && info.ModTime().Sub(d.now) > skew {
			d.warn("clock", remedy, "%s was written at %s and it is %s here", path,
				info.ModTime().UTC().Format(time.RFC3339), d.now.UTC().Format(time.RFC3339))
		}
	}
}
