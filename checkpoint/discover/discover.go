// Package discover finds out, from flags, the environment and what is really
// there, what a program of helix-ckpt works on: the session and its directory,
// Zed's places, the compositor. It changes nothing.
//
//	Options (flags, environment) ──► Find ──► Session ──► Diagnose ──► []Finding
//
// For every value the first of these that is set decides:
//
//	flag > HELIX_CKPT_<FLAG> > the variable of Helix or of XDG > what is there > default
//
// Session.Values says which one it was, because most trouble with a tool like
// this is a directory other than the one that was meant. What comes and goes
// while the session lives, the compositor and Zed's databases, is looked for
// again by FindSway and zed.Find.
package discover

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// DefaultSession is the session id where nobody gives one.
const DefaultSession = "default"

// EnvPrefix begins the environment variable of every flag: that of
// --zed-data-dir is HELIX_CKPT_ZED_DATA_DIR.
const EnvPrefix = "HELIX_CKPT_"

// Options is what the user said. An empty flag is one that was not given.
type Options struct {
	// Env reads the environment, as os.Getenv does.
	Env func(string) string

	// The flags of the same names.
	Dir, Session, Workspace  string
	ZedDataDir, ZedConfigDir string
	SwaySocket, Socket       string

	// Mounts are where the session's one persistent directory may be mounted;
	// nil means the places of Helix, /workspace and ~/work.
	Mounts []string
}

// Session is what was found. Paths are absolute.
type Session struct {
	// ID is the session id; Dir the helix-ckpt directory, which may not exist
	// yet and in which several sessions can live.
	ID, Dir string
	Home    string
	// Workspace is the session's persistent directory, "" if it has none, and
	// Mounts all paths at which that same directory is mounted.
	Workspace string
	Mounts    []string
	// Roots are the manifest's: what $HOME, $WORKSPACE and $ZED_DATA stand for.
	Roots map[string]string
	// Zed is where Zed keeps its state. Without a Channel there was no database
	// at this moment: zed.Find looks again. ZedError says why there is less than
	// there could be.
	Zed      zed.Places
	ZedError error
	// RuntimeDir is $XDG_RUNTIME_DIR or what stands for it.
	RuntimeDir string
	// Socket is the path of the agent's API.
	Socket string
	// Quiet says why the agent is to do nothing here, "" if it is not.
	Quiet string
	// Values says of every value, by the name of its flag, where it came from.
	Values []Value

	env  func(string) string
	sway string // the socket that the user named
}

// Value is one setting and what decided it.
type Value struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// From is as in "flag --dir", "$WORKSPACE_DIR", "found" or "default".
	From string `json:"from"`
}

// finder carries the options through the steps of Find.
type finder struct {
	Options
	s *Session
}

// Find looks around. Only what cannot be worked with is an error: a session id
// that is none, a user without a home. That there is no Zed is what the session
// is like now.
func Find(o Options) (Session, error) {
	s := Session{env: o.Env}
	f := finder{o, &s}
	for _, step := range []func() error{f.session, f.home, f.workspace, f.dir, f.runtime, f.zed} {
		if err := step(); err != nil {
			return Session{}, fmt.Errorf("discover: %w", err)
		}
	}
	f.roots()
	f.quiet()
	return s, nil
}

// FindSway returns the socket of the Sway that answers now, and who answered.
// The error wraps checkpoint.ErrNoCompositor when none does. A socket that the
// user named is the only one that is asked: another compositor is not what was
// meant.
func (s Session) FindSway(ctx context.Context) (sway.Socket, checkpoint.Compositor, error) {
	if s.sway == "" {
		return sway.Find(ctx, s.env)
	}
	c, err := sway.Socket(s.sway).Probe(ctx)
	if err != nil {
		return "", checkpoint.Compositor{}, fmt.Errorf("%w at %s: %w", checkpoint.ErrNoCompositor, s.sway, err)
	}
	return sway.Socket(s.sway), c, nil
}

// set records a value of s and where it came from.
func (f finder) set(name, value, from string) {
	f.s.Values = append(f.s.Values, Value{name, value, from})
}

// given returns what a flag or one of its variables says: that of helix-ckpt
// first, then others.
func (f finder) given(name, flag string, others ...string) (value, from string) {
	if flag != "" {
		return flag, "flag --" + name
	}
	own := EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	for _, variable := range append([]string{own}, others...) {
		if v := f.Env(variable); v != "" {
			return v, "$" + variable
		}
	}
	return "", ""
}

// path makes a given path absolute.
func (f finder) path(name, value, from string) (string, error) {
	if strings.ContainsRune(value, 0) {
		return "", fmt.Errorf("%s: %q (%s) holds a NUL", name, value, from)
	}
	abs, err := filepath.Abs(value)
	if err != nil {
		return "", fmt.Errorf("%s: %q (%s): %w", name, value, from, err)
	}
	return abs, nil
}

func (f finder) session() error {
	id, from := f.given("session", f.Session, "HELIX_SESSION_ID")
	if id == "" {
		id, from = DefaultSession, "default"
	}
	if err := checkpoint.ValidSession(id); err != nil {
		return fmt.Errorf("session (%s): %w", from, err)
	}
	f.s.ID = id
	f.set("session", id, from)
	return nil
}

func (f finder) home() error {
	home, from := f.Env("HOME"), "$HOME"
	if !filepath.IsAbs(home) {
		// An exec into a container may come without it.
		u, err := user.LookupId(strconv.Itoa(os.Getuid()))
		if err != nil || !filepath.IsAbs(u.HomeDir) {
			return fmt.Errorf("home: $HOME is %q and uid %d has no home directory; set HOME to that of the session's user", home, os.Getuid())
		}
		home, from = u.HomeDir, "user database"
	}
	f.s.Home = filepath.Clean(home)
	f.set("home", f.s.Home, from)
	return nil
}

// workspace finds the persistent directory. Helix mounts it at up to three
// paths; the one that the user named, or else the first, is the workspace.
func (f finder) workspace() error {
	mounts := f.Mounts
	if mounts == nil {
		mounts = []string{"/workspace", filepath.Join(f.s.Home, "work")}
	}
	value, from := f.given("workspace", f.Workspace, "WORKSPACE_DIR")
	if value == "" {
		for _, m := range mounts {
			if info, err := os.Stat(m); err == nil && info.IsDir() {
				value, from = m, "found"
				break
			}
		}
	}
	if value == "" {
		f.set("workspace", "", "none found")
		return nil
	}
	dir, err := f.path("workspace", value, from)
	if err != nil {
		return err
	}
	f.s.Workspace = dir
	f.s.Mounts = sameDirectory(dir, mounts)
	f.set("workspace", dir, from)
	return nil
}

// sameDirectory returns dir and those of candidates that are the same
// directory: the same inode, whatever the path, mount or link.
func sameDirectory(dir string, candidates []string) []string {
	same := []string{dir}
	info, err := os.Stat(dir)
	if err != nil {
		return same
	}
	for _, c := range candidates {
		if other, err := os.Stat(c); err == nil && c != dir && os.SameFile(info, other) {
			same = append(same, c)
		}
	}
	return same
}

// dir applies the rule of where checkpoints live: beside the work, which is what
// persists, else in the user's state.
func (f finder) dir() error {
	value, from := f.given("dir", f.Dir)
	switch {
	case value != "":
	case f.s.Workspace != "":
		value, from = filepath.Join(f.s.Workspace, ".helix"), "below the workspace"
	default:
		state, stateFrom := f.xdg("XDG_STATE_HOME", ".local/state")
		value, from = filepath.Join(state, "helix-ckpt"), stateFrom
	}
	dir, err := f.path("dir", value, from)
	if err != nil {
		return err
	}
	f.s.Dir = dir
	f.set("dir", dir, from)
	return nil
}

// xdg returns a base directory. The specification says to ignore a relative one.
func (f finder) xdg(variable, fallback string) (dir, from string) {
	if v := f.Env(variable); filepath.IsAbs(v) {
		return v, "$" + variable
	}
	return filepath.Join(f.s.Home, fallback), "default"
}

// runtime finds $XDG_RUNTIME_DIR, where sockets and the instance id live, and
// the agent's socket in it.
func (f finder) runtime() error {
	dir, from := f.Env("XDG_RUNTIME_DIR"), "$XDG_RUNTIME_DIR"
	if !filepath.IsAbs(dir) {
		dir, from = "/run/user/"+strconv.Itoa(os.Getuid()), "default"
	}
	f.s.RuntimeDir = filepath.Clean(dir)
	f.set("runtime-dir", f.s.RuntimeDir, from)

	socket, from := f.given("socket", f.Socket)
	if socket == "" {
		socket, from = filepath.Join(f.s.RuntimeDir, "helix-ckpt.sock"), "default"
	}
	socket, err := f.path("socket", socket, from)
	if err != nil {
		return err
	}
	f.s.Socket = socket
	f.set("socket", socket, from)

	f.s.sway, from = f.given("sway-socket", f.SwaySocket)
	if f.s.sway != "" {
		f.set("sway-socket", f.s.sway, from)
	}
	return nil
}

func (f finder) zed() error {
	data, dataFrom := f.given("zed-data-dir", f.ZedDataDir)
	if data == "" {
		base, from := f.xdg("XDG_DATA_HOME", ".local/share")
		data, dataFrom = filepath.Join(base, "zed"), from
	}
	config, configFrom := f.given("zed-config-dir", f.ZedConfigDir)
	if config == "" {
		base, from := f.xdg("XDG_CONFIG_HOME", ".config")
		config, configFrom = filepath.Join(base, "zed"), from
	}
	data, err := f.path("zed-data-dir", data, dataFrom)
	if err != nil {
		return err
	}
	if config, err = f.path("zed-config-dir", config, configFrom); err != nil {
		return err
	}
	f.s.Zed, f.s.ZedError = zed.Find(data, config)
	f.set("zed-data-dir", data, dataFrom)
	f.set("zed-config-dir", config, configFrom)
	f.set("zed-channel", f.s.Zed.Channel, "found")
	return nil
}

// roots names what the manifest's logical paths stand for.
func (f finder) roots() {
	f.s.Roots = map[string]string{checkpoint.RootHome: f.s.Home, checkpoint.RootZedData: f.s.Zed.Data}
	if f.s.Workspace != "" {
		f.s.Roots[checkpoint.RootWorkspace] = f.s.Workspace
	}
}

// quiet recognises the modes of Helix in which there is no session to keep.
func (f finder) quiet() {
	for _, mode := range []struct{ variable, why string }{
		{"HELIX_GOLDEN_BUILD", "a golden image is being built"},
		{"HELIX_SKIP_ZED", "this container runs no Zed"},
	} {
		if v := f.Env(mode.variable); truthy(v) {
			f.s.Quiet = fmt.Sprintf("%s ($%s=%s)", mode.why, mode.variable, v)
			return
		}
	}
}

// truthy reads a switch as shell scripts set one: any value but an empty one,
// 0, false and no.
func truthy(v string) bool {
	switch strings.ToLower(v) {
	case "", "0", "false", "no":
		return false
	}
	return true
}
