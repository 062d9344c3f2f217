package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// check compares a restored home with the original, outside the timed region
// and by independent readers: sha256sum of every file, and of a database whose
// bytes differ, sqlite3's integrity_check and dump. A file too many, too few,
// with other content or another mode is an error. Ours may leave what it needs
// for an undo.
func check(ctx context.Context, who contender, original, restored string) error {
	want, err := inventory(ctx, original, who.databases)
	if err != nil {
		return err
	}
	got, err := inventory(ctx, restored, who.databases)
	if err != nil {
		return err
	}
	var wrong []error
	for name, w := range want {
		g, ok := got[name]
		switch {
		case !ok:
			wrong = append(wrong, fmt.Errorf("%s did not come back", name))
		case g.mode != w.mode && !who.databases: // sqlite3 chooses its own
			wrong = append(wrong, fmt.Errorf("%s came back with mode %v, it was %v", name, g.mode, w.mode))
		case g.sum != w.sum && !isDatabase(name):
			wrong = append(wrong, fmt.Errorf("%s came back with other content", name))
		case g.sum != w.sum:
			if err := sameRows(ctx, filepath.Join(original, name), filepath.Join(restored, name)); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	for name := range got {
		forUndo := who.ours && strings.HasPrefix(name, ".helix-ckpt-restore-")
		if _, ok := want[name]; !ok && !forUndo {
			wrong = append(wrong, fmt.Errorf("%s was not there before", name))
		}
	}
	if len(wrong) > 5 {
		wrong = append(wrong[:5], fmt.Errorf("and %d more", len(wrong)-5))
	}
	return errors.Join(wrong...)
}

type content struct {
	mode fs.FileMode
	sum  string
}

func isDatabase(name string) bool {
	return strings.HasSuffix(name, ".sqlite") || strings.HasSuffix(name, ".db")
}

// inventory reads all files below a home, by their path in it.
func inventory(ctx context.Context, home string, databasesOnly bool) (map[string]content, error) {
	files := map[string]content{}
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || databasesOnly && !isDatabase(path) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(home, path)
		files[name] = content{mode: info.Mode()}
		return err
	})
	if err != nil {
		return nil, err
	}
	var names strings.Builder
	for name := range files {
		names.WriteString(name + "\x00")
	}
	cmd := exec.CommandContext(ctx, "xargs", "-0r", "sha256sum", "--")
	cmd.Dir, cmd.Stdin, cmd.Stderr = home, strings.NewReader(names.String()), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("sha256sum of the files in %s: %w", home, err)
	}
	for line := range strings.Lines(string(out)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		f, ok := files[name]
		if !ok {
			return nil, fmt.Errorf("sha256sum says %q, of no file that it was given", line)
		}
		f.sum = sum
		files[name] = f
	}
	return files, nil
}

// sameRows compares two databases by what they say, of copies: to read a
// database can leave files beside it.
func sameRows(ctx context.Context, original, restored string) error {
	var dumps []string
	for _, path := range []string{original, restored} {
		dir, err := os.MkdirTemp("", "bench-db-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		const script = `cp -- "$1" "$2" && [ "$(sqlite3 "$2" 'PRAGMA integrity_check')" = ok ] && sqlite3 "$2" .dump | sha256sum`
		out, err := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", script, "bash", path, filepath.Join(dir, "db")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("cannot be read by sqlite3: %w %s", err, out)
		}
		dumps = append(dumps, string(out))
	}
	if len(slices.Compact(dumps)) != 1 {
		return errors.New("came back with other rows")
	}
	return nil
}
