package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

// evidence is what independent readers say of a desktop: swaymsg of its tree,
// sqlite3 of its databases, sha256sum of its conversations. No code of
// helix-ckpt takes part.
type evidence struct {
	tree  []byte
	pids  map[string]int           // of the windows on the host, by app_id
	files map[string]string        // what a file holds, by its path below the home
	last  map[zedwriter.Kind]int64 // the newest transaction in each database
}

const zedData = ".local/share/zed"

// lookAtDesk reads what only a living desktop can tell.
func (e *evidence) lookAtDesk(ctx context.Context, b *box) (err error) {
	if e.tree, err = b.tree(ctx); err != nil {
		return err
	}
	host, err := b.hostPIDs()
	if err != nil {
		return err
	}
	e.pids = windowPIDs(e.tree)
	for app, inside := range e.pids {
		if e.pids[app] = host[inside]; e.pids[app] == 0 {
			return fmt.Errorf("desktop %s: window %s says that its pid is %d, which is none of the desktop's", b.name, app, inside)
		}
	}
	return nil
}

// lookAtFiles reads databases and conversations, also of a desktop that was
// killed. It opens copies: sqlite3 would leave files beside the originals.
func (e *evidence) lookAtFiles(ctx context.Context, home string) error {
	e.files, e.last = map[string]string{}, map[zedwriter.Kind]int64{}
	for _, kind := range zedwriter.Kinds {
		if err := e.lookAtDatabase(ctx, home, kind); err != nil {
			return err
		}
	}
	return filepath.WalkDir(filepath.Join(home, ".claude", "projects"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(home, path)
		if err != nil {
			return err
		}
		e.files[name], err = digest(ctx, `sha256sum <"$1"`, path)
		return err
	})
}

func (e *evidence) lookAtDatabase(ctx context.Context, home string, kind zedwriter.Kind) error {
	dir, err := os.MkdirTemp("", "helix-demo-db-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	original, private := kind.Path(filepath.Join(home, zedData)), filepath.Join(dir, "db")
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if err := copyFile(original+suffix, private+suffix); err != nil && (suffix == "" || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	name, err := filepath.Rel(home, original)
	if err != nil {
		return err
	}
	// The dump comes first: it makes sqlite3 take over what stands in the
	// write-ahead log or roll back the journal.
	if e.files[name], err = digest(ctx, `sqlite3 "$1" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null && sqlite3 "$1" .dump | sha256sum`, private); err != nil {
		return err
	}
	e.last[kind], err = zedwriter.Check(ctx, kind, private)
	return err
}

// digest runs a pipe of programs over a file and returns the checksum that it
// prints.
func digest(ctx context.Context, pipe, file string) (string, error) {
	out, err := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", pipe, "bash", file).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	return strings.Fields(string(out))[0], nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// differences says what of want is not in got, one line each, and what is in
// got only. It is empty when the desktop that came back is the one that was
// lost, in other processes.
func differences(want, got evidence) []string {
	var found []string
	if diff := desktop.Diff(want.tree, got.tree); diff != "" {
		found = append(found, "the tree differs:\n"+diff)
	}
	for app := range want.pids {
		if want.pids[app] == got.pids[app] {
			found = append(found, fmt.Sprintf("window %s is the process that it was", app))
		}
	}
	for name, sum := range want.files {
		switch other, ok := got.files[name]; {
		case !ok:
			found = append(found, name+" did not come back")
		case other != sum:
			found = append(found, name+" came back with other content")
		}
	}
	for name := range got.files {
		if _, ok := want.files[name]; !ok {
			found = append(found, name+" was not there before")
		}
	}
	sort.Strings(found)
	return found
}
