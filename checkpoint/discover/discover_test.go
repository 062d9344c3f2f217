package discover_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint/discover"
)

// place is a made-up machine: a home, a runtime directory, mounts.
type place struct {
	root string
	env  map[string]string
}

func newPlace(t *testing.T) place {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := place{root, map[string]string{"HOME": filepath.Join(root, "home"), "XDG_RUNTIME_DIR": filepath.Join(root, "run")}}
	for _, dir := range []string{"home", "run"} {
		p.mkdir(t, dir)
	}
	return p
}

func (p place) path(rel string) string { return filepath.Join(p.root, rel) }

func (p place) mkdir(t *testing.T, rel string) string {
	t.Helper()
	if err := os.MkdirAll(p.path(rel), 0o700); err != nil {
		t.Fatal(err)
	}
	return p.path(rel)
}

// options looks at this place only: no real /workspace counts.
func (p place) options() discover.Options {
	return discover.Options{Env: func(k string) string { return p.env[k] }, Mounts: []string{p.path("workspace"), p.path("home/work")}}
}

func find(t *testing.T, o discover.Options) discover.Session {
	t.Helper()
	s, err := discover.Find(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func value(t *testing.T, s discover.Session, name string) discover.Value {
	t.Helper()
	i := slices.IndexFunc(s.Values, func(v discover.Value) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("no value %q in %+v", name, s.Values)
	}
	return s.Values[i]
}

func TestSessionID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, flag string
		env        map[string]string
		want, from string
	}{
		{name: "nobody says", want: "default", from: "default"},
		{name: "Helix says", env: map[string]string{"HELIX_SESSION_ID": "ses_01"}, want: "ses_01", from: "$HELIX_SESSION_ID"},
		{
			name: "ours before Helix's", env: map[string]string{"HELIX_SESSION_ID": "ses_01", "HELIX_CKPT_SESSION": "mine"},
			want: "mine", from: "$HELIX_CKPT_SESSION",
		},
		{
			name: "the flag before all", flag: "f", env: map[string]string{"HELIX_SESSION_ID": "ses_01", "HELIX_CKPT_SESSION": "mine"},
			want: "f", from: "flag --session",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			maps.Copy(p.env, c.env)
			o := p.options()
			o.Session = c.flag
			s := find(t, o)
			if got := value(t, s, "session"); s.ID != c.want || got.From != c.from {
				t.Errorf("session %q from %q, want %q from %q", s.ID, got.From, c.want, c.from)
			}
		})
	}
}

func TestASessionIDThatCannotBeADirectoryIsRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, id := range []string{"../other", "a/b", ".", "-x", strings.Repeat("a", 200)} {
		p.env["HELIX_SESSION_ID"] = id
		if s, err := discover.Find(p.options()); err == nil {
			t.Errorf("session %q was accepted as %q", id, s.ID)
		} else if !strings.Contains(err.Error(), "$HELIX_SESSION_ID") {
			t.Errorf("%v: does not say where it came from", err)
		}
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		env   map[string]string
		flags discover.Options
		mkdir []string
		want  string // relative to the place
	}{
		{name: "no workspace: the user's state", want: "home/.local/state/helix-ckpt"},
		{name: "XDG_STATE_HOME", env: map[string]string{"XDG_STATE_HOME": "@state"}, want: "state/helix-ckpt"},
		{name: "a relative XDG_STATE_HOME is ignored", env: map[string]string{"XDG_STATE_HOME": "state"}, want: "home/.local/state/helix-ckpt"},
		{name: "~/work", mkdir: []string{"home/work"}, want: "home/work/.helix"},
		{name: "/workspace before ~/work", mkdir: []string{"home/work", "workspace"}, want: "workspace/.helix"},
		{name: "WORKSPACE_DIR before both", mkdir: []string{"home/work", "workspace"}, env: map[string]string{"WORKSPACE_DIR": "@w"}, want: "w/.helix"},
		{name: "--workspace", env: map[string]string{"WORKSPACE_DIR": "@w"}, flags: discover.Options{Workspace: "@v"}, want: "v/.helix"},
		{name: "HELIX_CKPT_DIR", env: map[string]string{"WORKSPACE_DIR": "@w", "HELIX_CKPT_DIR": "@d"}, want: "d"},
		{name: "--dir", env: map[string]string{"HELIX_CKPT_DIR": "@d"}, flags: discover.Options{Dir: "@e/../f"}, want: "f"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			for _, d := range c.mkdir {
				p.mkdir(t, d)
			}
			for k, v := range c.env {
				p.env[k] = strings.ReplaceAll(v, "@", p.root+"/")
			}
			o := p.options()
			o.Dir = strings.ReplaceAll(c.flags.Dir, "@", p.root+"/")
			o.Workspace = strings.ReplaceAll(c.flags.Workspace, "@", p.root+"/")
			s := find(t, o)
			if s.Dir != p.path(c.want) {
				t.Errorf("directory %s (%s), want %s", s.Dir, value(t, s, "dir").From, p.path(c.want))
			}
			if root, ok := s.Roots["$WORKSPACE"]; root != s.Workspace || ok != (s.Workspace != "") {
				t.Errorf("root $WORKSPACE is %q, the workspace %q", root, s.Workspace)
			}
		})
	}
}

func TestOneDirectoryAtSeveralPathsIsKnownAsOne(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	real := p.mkdir(t, "data")
	p.mkdir(t, "home/work") // another directory
	if err := os.Symlink(real, p.path("workspace")); err != nil {
		t.Fatal(err)
	}
	p.env["WORKSPACE_DIR"] = real
	s := find(t, p.options())
	if want := []string{real, p.path("workspace")}; !slices.Equal(s.Mounts, want) {
		t.Errorf("mounts %q, want %q", s.Mounts, want)
	}
}

func TestZedsPlaces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		env          map[string]string
		flag         string
		data, config string
	}{
		{name: "default", data: "home/.local/share/zed", config: "home/.config/zed"},
		{name: "XDG", env: map[string]string{"XDG_DATA_HOME": "@d", "XDG_CONFIG_HOME": "@c"}, data: "d/zed", config: "c/zed"},
		{name: "ours before XDG", env: map[string]string{"XDG_DATA_HOME": "@d", "HELIX_CKPT_ZED_DATA_DIR": "@z"}, data: "z", config: "home/.config/zed"},
		{name: "the flag", env: map[string]string{"HELIX_CKPT_ZED_DATA_DIR": "@z"}, flag: "@y", data: "y", config: "home/.config/zed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			for k, v := range c.env {
				p.env[k] = strings.ReplaceAll(v, "@", p.root+"/")
			}
			o := p.options()
			o.ZedDataDir = strings.ReplaceAll(c.flag, "@", p.root+"/")
			s := find(t, o)
			if s.Zed.Data != p.path(c.data) || s.Zed.Config != p.path(c.config) || s.Roots["$ZED_DATA"] != p.path(c.data) {
				t.Errorf("data %s, config %s, roots %v; want %s and %s", s.Zed.Data, s.Zed.Config, s.Roots, c.data, c.config)
			}
		})
	}
}

func TestQuietModes(t *testing.T) {
	t.Parallel()
	for v, quiet := range map[string]bool{"": false, "0": false, "false": false, "No": false, "1": true, "true": true, "yes": true, "x": true} {
		for _, variable := range []string{"HELIX_GOLDEN_BUILD", "HELIX_SKIP_ZED"} {
			p := newPlace(t)
			p.env[variable] = v
			if s := find(t, p.options()); (s.Quiet != "") != quiet {
				t.Errorf("%s=%s: quiet %q, want %v", variable, v, s.Quiet, quiet)
			}
		}
	}
}

func TestTheSocketLiesInTheRuntimeDirectory(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	if s := find(t, p.options()); s.Socket != p.path("run/helix-ckpt.sock") {
		t.Errorf("socket %s", s.Socket)
	}
	p.env["HELIX_CKPT_SOCKET"] = "/elsewhere/x.sock"
	if s := find(t, p.options()); s.Socket != "/elsewhere/x.sock" {
		t.Errorf("socket %s, want the one of $HELIX_CKPT_SOCKET", s.Socket)
	}
}

func TestAUserWithoutHOMEHasOneInTheUserDatabase(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	delete(p.env, "HOME")
	s := find(t, p.options())
	if !filepath.IsAbs(s.Home) || value(t, s, "home").From != "user database" {
		t.Errorf("home %q from %q", s.Home, value(t, s, "home").From)
	}
}

// Whatever the environment holds, what is found is absolute and below no
// surprise, or it is an error.
func TestAnyEnvironment(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	names := []string{
		"HOME", "HELIX_SESSION_ID", "HELIX_CKPT_SESSION", "HELIX_CKPT_DIR", "WORKSPACE_DIR", "HELIX_CKPT_WORKSPACE", "XDG_STATE_HOME",
		"XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HELIX_CKPT_ZED_DATA_DIR", "HELIX_CKPT_ZED_CONFIG_DIR", "HELIX_CKPT_SOCKET",
	}
	rapid.Check(t, func(r *rapid.T) {
		env := rapid.MapOf(rapid.SampledFrom(names), rapid.OneOf(rapid.String(), rapid.StringMatching(`/?([a-z.]{1,3}/){0,4}`))).Draw(r, "env")
		o := p.options()
		o.Env = func(k string) string { return env[k] }
		s, err := discover.Find(o)
		if err != nil {
			return
		}
		for name, path := range map[string]string{"dir": s.Dir, "home": s.Home, "runtime": s.RuntimeDir, "socket": s.Socket, "zed": s.Zed.Data} {
			if !filepath.IsAbs(path) || filepath.Clean(path) != path {
				r.Errorf("%s is %q", name, path)
			}
		}
		if strings.ContainsAny(s.ID, "/\x00") || s.ID == "" {
			r.Errorf("session %q", s.ID)
		}
	})
}
