// Package conversations knows where the agents that Zed talks to keep their
// conversations, and takes exactly these files: by an allow-list of places, so
// that what lies beside them (credentials, settings, caches) is never read.
//
//	~/.claude/projects/<project>/<id>.jsonl               a conversation
//	                            /<id>/subagents/…/*.jsonl  and its sub-agents'
//	                            /<id>/tool-results/*.txt   outputs it refers to
//	└── store.dir ──┘└──────────── store.take ───────────┘
//
// Conversations are append-only JSON lines. While an agent writes, the last
// line may be torn: what has no newline yet is left for next time.
//
// The store's own directory may be a link (Helix links it into the workspace);
// below it no link is followed and nothing but regular files is opened, since
// whoever works in the session can put anything there.
package conversations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// store is where one agent keeps its conversations.
type store struct {
	agent string
	// dir is below the home directory.
	dir string
	// take is what is taken below dir. Adding an agent is adding a store.
	take []place
}

// place is a pattern for each component of a path: a name, "*" and how it ends, or
// "**" for any number of directories. No pattern matches a name that starts
// with a dot: these are temporary files and secrets.
type place struct {
	pattern string
	kind    checkpoint.Kind
}

func stores() []store {
	return []store{
		// Seen in Claude Code 1.0 to 2.1: sub-agents lay beside the conversation
		// until 2.1.1, below it since.
		{agent: "claude", dir: ".claude/projects", take: []place{
			{"*/*.jsonl", checkpoint.KindJSONL},
			{"*/*/subagents/**/*.jsonl", checkpoint.KindJSONL},
			{"*/*/subagents/**/*.meta.json", checkpoint.KindFile},
			{"*/*/tool-results/*.txt", checkpoint.KindFile},
		}},
	}
}

// Limits of a store; what is beyond is reported as unread.
const (
	// MaxFiles is how many files are taken of one agent.
	MaxFiles = 100_000
	// maxDepth is how deep directories are entered below a store. Claude's
	// sub-agents of sub-agents lie at 6.
	maxDepth = 16
)

// Source is a file to take.
type Source struct {
	Agent string
	// Path is where it lies, Logical its path below $HOME. Neither need be
	// UTF-8.
	Path, Logical string
	Kind          checkpoint.Kind
	// What follows is as listed; Open knows better.
	Size    int64
	Mode    fs.FileMode
	ModTime time.Time
	// Changed is when the inode changed last: no program can set it.
	Changed       time.Time
	Device, Inode uint64

	base, rel string // the store's directory, and the path below it
}

// Unread is a directory that could not be listed. Files known to be below it
// are to be carried: not seen is not gone.
type Unread struct {
	// Logical is the directory's path below $HOME.
	Logical string
	Err     error
}

// Covers reports whether the file with this logical path lies below u.
func (u Unread) Covers(logical string) bool { return strings.HasPrefix(logical, u.Logical+"/") }

// List finds the conversations of all agents of the user whose home directory
// is given, sorted by logical path. An agent that is not there has none. Its
// error is that of ctx.
func List(ctx context.Context, home string) ([]Source, []Unread, error) {
	var all []Source
	var unread []Unread
	for _, s := range stores() {
		l := lister{store: s, base: filepath.Join(home, s.dir)}
		l.list(ctx, home)
		if err := ctx.Err(); err != nil {
			return nil, nil, fmt.Errorf("list conversations: %w", err)
		}
		all = append(all, l.sources...)
		unread = append(unread, l.unread...)
	}
	slices.SortFunc(all, func(a, b Source) int { return strings.Compare(a.Logical, b.Logical) })
	return all, unread, nil
}

// lister walks one store.
type lister struct {
	store   store
	base    string
	sources []Source
	unread  []Unread
}

func (l *lister) list(ctx context.Context, home string) {
	there, err := exists(home, l.store.dir)
	if !there {
		return
	}
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(l.base)
	}
	if err != nil {
		l.fail("", err)
		return
	}
	defer root.Close()
	l.walk(ctx, root, "", 0)
}

// exists reports whether dir is below home. A link on the way that leads to
// nothing is an error: what it leads to is not mounted.
func exists(home, dir string) (bool, error) {
	part := home
	for name := range strings.SplitSeq(dir, "/") {
		part = filepath.Join(part, name)
		if _, err := os.Lstat(part); err != nil {
			return !errors.Is(err, fs.ErrNotExist), err
		}
		if _, err := os.Stat(part); err != nil {
			return true, err
		}
	}
	return true, nil
}

func (l *lister) fail(rel string, err error) {
	l.unread = append(l.unread, Unread{Logical: l.logical(rel), Err: err})
}

func (l *lister) logical(rel string) string {
	return path.Join(checkpoint.RootHome, l.store.dir, rel)
}

// walk lists the directory rel, "" for the store itself. One that vanishes
// meanwhile had nothing that is still there.
func (l *lister) walk(ctx context.Context, root *os.Root, rel string, depth int) {
	entries, err := readDir(root, rel)
	if err != nil {
		if rel == "" || !errors.Is(err, fs.ErrNotExist) {
			l.fail(rel, err)
		}
		return
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return
		}
		name := path.Join(rel, e.Name())
		switch {
		case e.IsDir() && l.store.enters(name):
			if depth == maxDepth {
				l.fail(name, fmt.Errorf("more than %d directories deep", maxDepth))
				continue
			}
			l.walk(ctx, root, name, depth+1)
		case e.Type().IsRegular():
			kind, ok := l.store.takes(name)
			info, err := e.Info()
			if !ok || err != nil { // gone
				continue
			}
			if len(l.sources) == MaxFiles {
				l.fail(rel, fmt.Errorf("more than %d files", MaxFiles))
				return
			}
			s := Source{
				Agent: l.store.agent, Path: filepath.Join(l.base, name), Logical: l.logical(name), Kind: kind,
				Size: info.Size(), Mode: info.Mode().Perm(), ModTime: info.ModTime(), base: l.base, rel: name,
			}
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				s.Changed, s.Device, s.Inode = time.Unix(st.Ctim.Unix()), st.Dev, st.Ino
			}
			l.sources = append(l.sources, s)
		}
	}
}

// readDir lists a directory. What has become a pipe meanwhile does not make it
// wait.
func readDir(root *os.Root, rel string) ([]fs.DirEntry, error) {
	f, err := root.OpenFile(path.Join(".", rel), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// takes reports whether a file at rel is taken, and as what.
func (s store) takes(rel string) (checkpoint.Kind, bool) {
	for _, p := range s.take {
		if match(p.pattern, rel, false) {
			return p.kind, true
		}
	}
	return "", false
}

// enters reports whether anything below the directory rel may be taken.
func (s store) enters(rel string) bool {
	return slices.ContainsFunc(s.take, func(p place) bool { return match(p.pattern, rel, true) })
}

// match matches the path rel with pattern, component by component; with prefix,
// rel may also be a directory on the way.
func match(pattern, rel string, prefix bool) bool {
	first, others, longer := strings.Cut(pattern, "/")
	name, rest, more := strings.Cut(rel, "/")
	if name == "" || name[0] == '.' {
		return false
	}
	if first == "**" { // never last
		return match(others, rel, prefix) || more && match(pattern, rest, prefix) || !more && prefix
	}
	if suffix, star := strings.CutPrefix(first, "*"); star && !strings.HasSuffix(name, suffix) || !star && name != first {
		return false
	}
	if more && longer {
		return match(others, rest, prefix)
	}
	return !more && longer == prefix
}
