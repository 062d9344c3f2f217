package discover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/helixml/helix-ckpt/checkpoint/sqlite"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// editor looks at Zed: its directories, whether it runs, and what a checkpoint
// taken now would hold.
func (d *doctor) editor(ctx context.Context) {
	const what = "zed"
	if v := d.env("ZED_STATELESS"); v != "" {
		d.problem(what, "unset ZED_STATELESS where Zed is started", "ZED_STATELESS=%s: Zed keeps nothing that could be checkpointed", v)
	}
	if d.ZedError != nil {
		d.problem(what, "make it readable for this user", "%v", d.ZedError)
	}
	data := d.Zed.Data
	if d.Zed.Target != data {
		data += " → " + d.Zed.Target
	}
	_, lerr := os.Lstat(d.Zed.Data)
	switch info, err := os.Stat(d.Zed.Data); {
	case errors.Is(lerr, fs.ErrNotExist):
		d.warn(what, "start Zed once, or name its directory by --zed-data-dir", "%s (%s) does not exist", data, d.from("zed-data-dir"))
		return
	case errors.Is(err, fs.ErrNotExist):
		d.problem(what, "mount or make the directory that the link leads to", "%s leads to nothing", data)
		return
	case err != nil:
		d.problem(what, "make it readable for this user", "%v", err)
		return
	case !info.IsDir():
		d.problem(what, "correct --zed-data-dir", "%s is no directory", data)
		return
	}
	if d.Zed.Channel == "" {
		d.warn(what, "start Zed once, or name its directory by --zed-data-dir", "%s (%s) holds no database", data, d.from("zed-data-dir"))
	} else {
		d.ok(what, "channel %s in %s (%s)", d.Zed.Channel, data, d.from("zed-data-dir"))
		d.database(ctx, d.Zed.WorkspaceDB(), inspectWorkspace)
	}
	if len(d.Zed.Others) > 0 {
		d.warn(what, "start only one channel of Zed in a session",
			"there are databases of other channels too, written less recently: %s; only %s is checkpointed", strings.Join(d.Zed.Others, ", "), d.Zed.Channel)
	}
	d.database(ctx, d.Zed.ThreadsDB(), inspectThreads)
}

// database looks at one of Zed's databases as a checkpoint would.
func (d *doctor) database(ctx context.Context, path string, inspect func(*sqlite3.Conn) (string, error)) {
	const what = "zed"
	if inUse, err := sqlite.InUse(path); err != nil {
		d.problem(what, "make it readable for this user", "%v", err)
		return
	} else if inUse {
		d.ok(what, "%s is open: Zed is running, so a restore of it would be refused", path)
	}
	detail, err := look(ctx, path, inspect)
	var unsettled *zed.UnsettledError
	switch {
	case err == nil:
		d.ok(what, "%s: %s", path, detail)
	case errors.Is(err, fs.ErrNotExist):
		d.ok(what, "%s does not exist yet", path)
	case errors.As(err, &unsettled):
		d.warn(what, "wait until Zed shows its windows", "%s: %v; an earlier state is carried", path, unsettled)
	case errors.Is(err, sqlite.ErrBusy):
		d.warn(what, "", "%v; an earlier state is carried until it rests", err)
	default:
		d.problem(what, "let Zed open it, or restore a checkpoint", "%v", err)
	}
}

func look(ctx context.Context, path string, inspect func(*sqlite3.Conn) (string, error)) (detail string, err error) {
	img, err := sqlite.Capture(ctx, path, sqlite.Options{})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	conn, err := img.Open()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return inspect(conn)
}

func inspectWorkspace(conn *sqlite3.Conn) (string, error) {
	f, err := zed.InspectWorkspace(conn, nil)
	if err != nil {
		return "", err
	}
	tabs, dirty := 0, 0
	for _, w := range f.Windows {
		tabs += len(w.Tabs)
		for _, t := range w.Tabs {
			if t.Dirty {
				dirty++
			}
		}
	}
	if f.Starting() {
		return "", &zed.UnsettledError{Pointer: f.Pointer}
	}
	return fmt.Sprintf("%d windows, %d tabs (%d with unsaved text), %d conversations named", len(f.Windows), tabs, dirty, len(f.Threads)), nil
}

func inspectThreads(conn *sqlite3.Conn) (string, error) {
	threads, err := zed.InspectThreads(conn)
	return fmt.Sprintf("%d conversations", len(threads)), err
}
