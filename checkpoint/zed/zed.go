// Package zed knows how the Zed editor keeps its state: where its databases
// lie, what a person can recognise in them, and when a snapshot of them is one
// that Zed can come back from. It reads; putting back is restore's.
//
//	<data>/                       Places.Data, often a link to Places.Target
//	  db/0-<channel>/db.sqlite    windows, splits, tabs, unsaved text: WAL
//	  db/0-global/                the machine's identity: never copied
//	  threads/threads.db          the agent's conversations: rollback journal
//
// The databases are read through a *sqlite3.Conn that the caller opens over an
// image (package sqlite): nothing here ever locks a file of Zed's.
//
// Everything read is untrusted: counts and lengths are bounded, and what is
// longer is left out of the facts, never out of the checkpoint.
package zed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Places is where one Zed keeps what. Paths are absolute.
type Places struct {
	// Data is the data directory as Zed names it; Target is the directory it
	// leads to when symbolic links are followed, which need not exist yet. A
	// restore writes to Target and keeps the link.
	Data, Target string
	// Config and ConfigTarget are the same of the configuration.
	Config, ConfigTarget string
	// Channel is the release channel whose database is used: dev, nightly,
	// preview or stable. It is "" while no channel has a database.
	Channel string
	// Others are the channels that have a database too, written less recently.
	Others []string
}

// globalChannel holds the machine's identity, not a session.
const globalChannel = "global"

// Names inside the data directory.
const (
	dbDir       = "db"
	dbName      = "db.sqlite"
	threadsDir  = "threads"
	threadsName = "threads.db"
)

// channelPattern is what follows "0-" in the name of a channel's directory.
// The names come from a disk that others write, and become part of paths.
var channelPattern = regexp.MustCompile(`^0-([a-z][a-z0-9_-]{0,31})$`)

// WorkspaceDB is the path of the channel's db.sqlite, "" without a channel.
func (p Places) WorkspaceDB() string {
	if p.Channel == "" {
		return ""
	}
	return filepath.Join(p.Data, dbDir, "0-"+p.Channel, dbName)
}

// ThreadsDB is the path of threads.db, which all channels share.
func (p Places) ThreadsDB() string { return filepath.Join(p.Data, threadsDir, threadsName) }

// For returns p with another channel: where a checkpoint of that channel goes.
func (p Places) For(channel string) (Places, error) {
	if !channelPattern.MatchString("0-"+channel) || channel == globalChannel {
		return Places{}, fmt.Errorf("%q is not a release channel of Zed", channel)
	}
	p.Others = slices.DeleteFunc(slices.Clone(p.Others), func(c string) bool { return c == channel })
	if p.Channel != "" && p.Channel != channel {
		p.Others = append(p.Others, p.Channel)
	}
	p.Channel = channel
	return p, nil
}

// WatchDirs are the directories whose changes announce a change of the
// databases. SQLite writes the -wal and -journal files beside them.
func (p Places) WatchDirs() []string {
	dirs := []string{filepath.Join(p.Data, threadsDir)}
	if db := p.WorkspaceDB(); db != "" {
		dirs = append(dirs, filepath.Dir(db))
	}
	return dirs
}

// Find looks at Zed's data and configuration directories. Of several channels
// with a database the most recently written one is chosen. Directories that do
// not exist yet are no error: Channel is then empty. With an error the Places
// hold what could be found.
func Find(data, config string) (Places, error) {
	p := Places{Data: filepath.Clean(data), Config: filepath.Clean(config)}
	p.Target, p.ConfigTarget = p.Data, p.Config
	if !filepath.IsAbs(p.Data) || !filepath.IsAbs(p.Config) {
		return p, fmt.Errorf("find Zed's directories: %q and %q must be absolute paths", data, config)
	}
	target, err := Follow(p.Data)
	if err != nil {
		return p, fmt.Errorf("find Zed's data: %w", err)
	}
	p.Target = target
	if target, err = Follow(p.Config); err != nil {
		return p, fmt.Errorf("find Zed's configuration: %w", err)
	}
	p.ConfigTarget = target
	channels, err := findChannels(filepath.Join(p.Data, dbDir))
	if err != nil {
		return p, fmt.Errorf("find Zed's databases: %w", err)
	}
	for i, c := range channels {
		if i == 0 {
			p.Channel = c.name
			continue
		}
		p.Others = append(p.Others, c.name)
	}
	return p, nil
}

type channel struct {
	name    string
	written time.Time
}

// findChannels lists the channels below dir that have a database, the most
// recently written first.
func findChannels(dir string) ([]channel, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []channel
	for _, e := range entries {
		m := channelPattern.FindStringSubmatch(e.Name())
		if m == nil || m[1] == globalChannel {
			continue
		}
		db := filepath.Join(dir, e.Name(), dbName)
		info, err := os.Stat(db)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.Mode().IsRegular()) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// A running Zed writes the -wal, and db.sqlite only when it checkpoints.
		written := info.ModTime()
		if wal, err := os.Stat(db + "-wal"); err == nil && wal.ModTime().After(written) {
			written = wal.ModTime()
		}
		found = append(found, channel{m[1], written})
	}
	slices.SortFunc(found, func(a, b channel) int {
		if c := b.written.Compare(a.written); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return found, nil
}

// maxLinks is how many symbolic links in a row are followed, as in Linux.
const maxLinks = 40

// Follow returns where path leads to when symbolic links are followed. Unlike
// filepath.EvalSymlinks it also answers for what does not exist yet: Helix
// links Zed's directories into a workspace that a restore is about to fill.
func Follow(path string) (string, error) {
	real := "/"
	rest := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			real = filepath.Dir(real)
			continue
		}
		next := filepath.Join(real, name)
		target, err := os.Readlink(next)
		if err != nil {
			// Not a link, or not there: a part of the path as it is. A directory
			// that cannot be searched is one nobody can be led through.
			if errors.Is(err, fs.ErrPermission) {
				return "", err
			}
			real = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: more than %d symbolic links in a row", path, maxLinks)
		}
		if filepath.IsAbs(target) {
			real = "/"
		}
		// Not cleaned: in a/../b, a may be a link.
		rest = append(strings.Split(target, "/"), rest...)
	}
	return real, nil
}
