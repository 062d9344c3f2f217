// Package launch starts the programs of saved windows again.
//
//	saved process ─ List.Plan ─► Command ─ Start ─► Running
//
// A checkpoint is untrusted: whoever can write to the workspace can put any
// command line into it. So a recorded command line is never run. It only
// selects, by the base name of its program, a Template from an allow-list; what
// runs is the template's program, found in PATH, with the template's
// arguments and those few recorded flags that the template keeps. What ran
// inside a terminal is never run again; the terminal opens a shell in its
// directory.
//
// Each process is started once, however many windows it had, in a session of
// its own so that it outlives us. It carries a marker by which its windows are
// recognised (process.LaunchVar).
package launch

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// ErrNotAllowed is returned for a program that is not on the list.
var ErrNotAllowed = errors.New("program is not on the launch list")

// Template says how one program is started again.
type Template struct {
	// Names are the base names by which the program is recognised in a
	// recorded command line, as in /opt/google/chrome/chrome.
	Names []string
	// Commands are the programs to run: the first that is in PATH.
	Commands []string
	// Args are given always.
	Args []string
	// Keep are the flags that are taken over from the recorded command line.
	Keep []Flag
	// Drop are flags that are not taken over though they have a value, which
	// must not be taken for something else.
	Drop []Flag
	// Terminal is set for a program that starts in the directory of what ran
	// inside it.
	Terminal bool
	// HandsOver is set for a program that, where an instance of it runs, only
	// asks that one for a window: the window bears no marker.
	HandsOver bool
}

// Flag is a flag of a command line.
type Flag struct {
	// Names are its forms: -a, --app-id.
	Names []string
	// Value is set if it takes one: --app-id=x, --app-id x.
	Value bool
	// Pair is set for a flag whose value is key=value. A program that takes
	// it apart in place leaves two arguments in /proc: -o key value.
	Pair bool
}

// List is the allow-list. The first template that fits is taken.
type List []Template

// Default is the list that helix-ckpt ships with. No flag in it can name a
// program or a file of configuration.
func Default() List {
	chrome := Template{
		Keep: []Flag{
			{Names: []string{"--user-data-dir"}, Value: true},
			{Names: []string{"--profile-directory"}, Value: true},
			{Names: []string{"--class"}, Value: true},
			{Names: []string{"--ozone-platform"}, Value: true},
			{Names: []string{"--ozone-platform-hint"}, Value: true},
			{Names: []string{"--no-sandbox"}}, // without it, it does not start in most containers
		},
		Args:      []string{"--no-first-run", "--no-default-browser-check", "--restore-last-session"},
		HandsOver: true,
	}
	chromium, google := chrome, chrome
	chromium.Names = []string{"chromium", "chromium-browser"}
	chromium.Commands = []string{"chromium", "chromium-browser"}
	google.Names = []string{"google-chrome", "google-chrome-stable", "chrome"}
	google.Commands = []string{"google-chrome", "google-chrome-stable"}
	return List{
		{
			Names: []string{"foot"}, Commands: []string{"foot"}, Terminal: true,
			Keep: []Flag{
				{Names: []string{"--app-id", "-a"}, Value: true},
				{Names: []string{"--title", "-T"}, Value: true},
				{Names: []string{"--font", "-f"}, Value: true},
			},
			Drop: []Flag{
				{Names: []string{"--override", "-o"}, Value: true, Pair: true},
				{Names: []string{"--config", "-c"}, Value: true},
				{Names: []string{"--term", "-t"}, Value: true},
				{Names: []string{"--working-directory", "-D"}, Value: true},
				{Names: []string{"--window-size-pixels", "-w"}, Value: true},
				{Names: []string{"--window-size-chars", "-W"}, Value: true},
				{Names: []string{"--print-pid", "-p"}, Value: true},
				{Names: []string{"--log-level", "-d"}, Value: true},
			},
		},
		{
			Names: []string{"kitty"}, Commands: []string{"kitty"}, Terminal: true,
			Keep: []Flag{
				{Names: []string{"--class", "--app-id"}, Value: true},
				{Names: []string{"--name"}, Value: true},
				{Names: []string{"--title", "-T"}, Value: true},
			},
			Drop: []Flag{
				{Names: []string{"--override", "-o"}, Value: true, Pair: true},
				{Names: []string{"--config", "-c"}, Value: true},
				{Names: []string{"--directory", "--working-directory", "-d"}, Value: true},
				{Names: []string{"--session"}, Value: true},
				{Names: []string{"--listen-on"}, Value: true},
				{Names: []string{"--instance-group"}, Value: true},
				{Names: []string{"--start-as"}, Value: true},
			},
		},
		{
			Names: []string{"ghostty"}, Commands: []string{"ghostty"}, Terminal: true,
			Keep: []Flag{
				{Names: []string{"--class"}, Value: true},
				{Names: []string{"--title"}, Value: true},
			},
			Args: []string{"--gtk-single-instance=false"},
		},
		chromium,
		google,
		{
			Names:    []string{"zed", "zeditor", "zed-editor"},
			Commands: []string{"zed", "zeditor", "zed-editor"},
			// No folders: it opens the windows of its last session by itself.
			HandsOver: true,
		},
	}
}

// Command is a program to start.
type Command struct {
	// Process is the id of the saved process.
	Process string
	// LaunchID is the marker that it will carry.
	LaunchID string
	// Programs are the names to look for in PATH, in this order.
	Programs []string
	// Args are its arguments, without the program.
	Args []string
	// Dir is where it starts; empty where that is not known.
	Dir string
	// HandsOver is that of the template.
	HandsOver bool
}

func (c Command) String() string {
	return strings.Join(append([]string{c.Programs[0]}, c.Args...), " ")
}

// NewID returns a launch id that was not used before.
func NewID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// Plan returns how a saved process is started again, with a new launch id.
// Roots are what its logical paths are relative to now. It returns an error
// that wraps ErrNotAllowed for a program that is not on the list.
func (l List) Plan(p checkpoint.Process, roots map[string]string) (Command, error) {
	if len(p.Argv) == 0 {
		return Command{}, fmt.Errorf("process %s: %w: its command line is not known", p.ID, ErrNotAllowed)
	}
	t := l.find(p.Argv[0])
	if t == nil || len(t.Commands) == 0 {
		return Command{}, fmt.Errorf("%w: %s; it can be added in the configuration file", ErrNotAllowed, filepath.Base(p.Argv[0]))
	}
	return Command{
		Process: p.ID, LaunchID: NewID(), Programs: t.Commands, HandsOver: t.HandsOver,
		Args: append(slices.Clone(t.Args), t.kept(p.Argv[1:])...), Dir: t.dir(p, roots),
	}, nil
}

func (l List) find(program string) *Template {
	for i, t := range l {
		if slices.Contains(t.Names, filepath.Base(program)) {
			return &l[i]
		}
	}
	return nil
}

func (t *Template) dir(p checkpoint.Process, roots map[string]string) string {
	dir := p.Cwd
	if t.Terminal && p.Child != nil && p.Child.Cwd != "" {
		dir = p.Child.Cwd
	}
	dir = checkpoint.Absolute(roots, dir)
	if !filepath.IsAbs(dir) {
		return ""
	}
	return dir
}
