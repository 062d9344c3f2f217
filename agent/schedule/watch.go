package schedule

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// Watcher tells that something changed in a set of directories, including
// those that do not exist yet: of such a one, its nearest existing ancestor is
// watched for its appearance.
type Watcher struct {
	fs      *fsnotify.Watcher
	changes chan struct{}
	wanted  chan []string
	done    chan struct{}
}

// NewWatcher returns a Watcher of no directories.
func NewWatcher() (*Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch for changes: %w (fs.inotify.max_user_instances may be too low)", err)
	}
	watcher := &Watcher{fs: w, changes: make(chan struct{}, 1), wanted: make(chan []string), done: make(chan struct{})}
	go watcher.loop()
	return watcher, nil
}

// Changes delivers one value for any number of changes since the last was
// received.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Watch replaces the set of directories. Directories below them are not
// watched.
func (w *Watcher) Watch(dirs []string) {
	select {
	case w.wanted <- slices.Clone(dirs):
	case <-w.done:
	}
}

// Close ends the watch.
func (w *Watcher) Close() error {
	err := w.fs.Close()
	<-w.done
	return err
}

func (w *Watcher) loop() {
	defer close(w.done)
	var wanted []string
	for {
		select {
		case wanted = <-w.wanted:
			w.apply(wanted)
		case event, ok := <-w.fs.Events:
			if !ok {
				return
			}
			if event.Has(fsnotify.Create) || event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
				w.apply(wanted)
			}
			if concerns(wanted, event) {
				w.signal()
			}
		case err, ok := <-w.fs.Errors:
			if !ok {
				return
			}
			// An overflow means that events were lost: all of them count as one.
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				w.apply(wanted)
				w.signal()
			}
		}
	}
}

func (w *Watcher) signal() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

// apply watches what of wanted is there, and the nearest ancestor of what is
// not. A directory that cannot be watched is left to the interval.
func (w *Watcher) apply(wanted []string) {
	want := map[string]bool{}
	for _, dir := range wanted {
		want[existing(dir)] = true
	}
	for _, dir := range w.fs.WatchList() {
		if !want[dir] {
			w.fs.Remove(dir) //nolint:errcheck // it may be gone already
		}
		delete(want, dir)
	}
	for dir := range want {
		w.fs.Add(dir) //nolint:errcheck // left to the interval
	}
}

// existing returns dir, or its nearest ancestor that is a directory.
func existing(dir string) string {
	for {
		info, err := os.Stat(dir)
		if err == nil && info.IsDir() {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir || (err != nil && !errors.Is(err, fs.ErrNotExist)) {
			return parent
		}
		dir = parent
	}
}

// concerns reports whether an event is one of a wanted directory, and not of
// something else in an ancestor that is watched for its appearance.
func concerns(wanted []string, event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	for _, dir := range wanted {
		if filepath.Dir(event.Name) == dir || event.Name == dir || strings.HasPrefix(dir, event.Name+"/") {
			return true
		}
	}
	return false
}
