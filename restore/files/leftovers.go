package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Leftover is a staging directory that was found on a disk.
type Leftover struct {
	ID    string
	Stage Stage
	// Staged is how many files wait for their place. Begun: a file is in its place,
	// or one was moved aside. With both, a restore was cut off after its commit
	// mark.
	Staged int
	Begun  bool
}

// Leftovers returns the staging directories of which anchor is one's, for a caller
// that has lost its journal. It changes nothing. What cannot be understood is
// returned as unknown, by its path.
func Leftovers(anchor string) (found []Leftover, unknown []string, err error) {
	root, err := os.OpenRoot(anchor)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look for staged files: %w", err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, nil, fmt.Errorf("look for staged files in %s: %w", anchor, err)
	}
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), stagePrefix)
		if !ok || !e.IsDir() || validID(id) != nil {
			continue
		}
		one := Leftover{ID: id, Stage: Stage{Anchor: Path(anchor), Files: map[string]int{}}}
		switch err := one.look(root); {
		case errors.Is(err, fs.ErrNotExist): // never sealed: nothing was placed
			found = append(found, one)
		case err != nil:
			unknown = append(unknown, path.Join(anchor, e.Name()))
		default:
			found = append(found, one)
		}
	}
	return found, unknown, nil
}

// look finds out what became of the steps.
func (l *Leftover) look(root *os.Root) error {
	dir := stagePrefix + l.ID
	steps, err := readSteps(root, dir)
	if err != nil {
		return err
	}
	old, err := fs.ReadDir(root.FS(), path.Join(dir, "old"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.Begun = len(old) > 0
	for _, s := range steps {
		l.Stage.Files[s.Component]++
		if _, err := root.Lstat(path.Join(dir, s.staged())); err == nil {
			l.Staged++
		} else if _, err := root.Lstat(string(s.Path)); err == nil {
			l.Begun = true
		}
	}
	return nil
}
