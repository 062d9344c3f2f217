package conversations_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/conversations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const project = ".claude/projects/-home-retro-work-app/"

func write(t *testing.T, home, rel, content string) string {
	t.Helper()
	name := filepath.Join(home, rel)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func list(t *testing.T, home string) ([]conversations.Source, []conversations.Unread) {
	t.Helper()
	sources, unread, err := conversations.List(context.Background(), home)
	if err != nil {
		t.Fatal(err)
	}
	return sources, unread
}

func names(sources []conversations.Source) []string {
	var all []string
	for _, s := range sources {
		all = append(all, s.Logical)
	}
	return all
}

// one returns the only conversation below home.
func one(t *testing.T, home string) conversations.Source {
	t.Helper()
	sources, unread := list(t, home)
	if len(sources) != 1 || len(unread) != 0 {
		t.Fatalf("listed %v, unread %v; want one file", names(sources), unread)
	}
	return sources[0]
}

func TestListTakesConversationsAndNothingElse(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	want := []string{
		"b.jsonl",
		"a.jsonl",
		"a/subagents/agent-1.jsonl",
		"a/subagents/agent-1.meta.json",
		"a/subagents/workflows/w/agent-2.jsonl",
		"a/tool-results/r.txt",
		"name with\nnewline.jsonl",
		"not-\xff-utf8.jsonl",
	}
	for i, rel := range want {
		write(t, home, project+rel, "{}\n")
		want[i] = "$HOME/" + project + rel
	}
	slices.Sort(want)
	for _, secret := range []string{
		".claude/.credentials.json", ".claude/settings.json", ".claude/history.jsonl", ".claude/projects/loose.jsonl",
		".claude.json", ".codex/auth.json", ".git-credentials", ".zed/development_credentials",
		project + ".credentials.json", project + ".hidden.jsonl", project + "auth.json", project + "x.jsonl.tmp", project + "memory/MEMORY.md",
		project + "a/.credentials.jsonl", project + "a/other/x.jsonl", project + "a/subagents/.tmp/x.jsonl", project + "a/tool-results/sub/r.txt",
		".claude/projects/.hidden/x.jsonl",
	} {
		write(t, home, secret, "secret\n")
	}
	sources, unread := list(t, home)
	if got := names(sources); !slices.Equal(got, want) || len(unread) != 0 {
		t.Errorf("listed\n%q\nwant\n%q\nunread %v", got, want, unread)
	}
	for _, s := range sources {
		wantKind := checkpoint.KindJSONL
		if !strings.HasSuffix(s.Path, ".jsonl") {
			wantKind = checkpoint.KindFile
		}
		info, err := os.Stat(s.Path)
		if err != nil || s.Kind != wantKind || s.Mode != 0o600 || !s.ModTime.Equal(info.ModTime()) || s.Agent != "claude" || s.Size != 3 {
			t.Errorf("%+v (%v)", s, err)
		}
	}
}

func TestAHomeWithoutAgentsHasNoConversations(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	for _, prepare := range []func(){
		func() {},
		func() { write(t, home, ".claude/settings.json", "{}") },
		func() { write(t, home, ".claude/projects/loose", "") },
	} {
		prepare()
		if sources, unread := list(t, home); len(sources) != 0 || len(unread) != 0 {
			t.Errorf("listed %v, unread %v", names(sources), unread)
		}
	}
}

func TestTheStoreMayBeALinkButNothingInItIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home, state := filepath.Join(dir, "home"), filepath.Join(dir, "workspace", ".claude-state")
	write(t, state, "projects/p/a.jsonl", "{}\n")
	write(t, dir, "secret/x.jsonl", "secret\n")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		filepath.Join(home, ".claude"):                   state,
		filepath.Join(state, "projects", "p", "l.jsonl"): filepath.Join(dir, "secret", "x.jsonl"),
		filepath.Join(state, "projects", "linked"):       filepath.Join(dir, "secret"),
		filepath.Join(state, "projects", "loop"):         ".",
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(state, "projects", "p", "pipe.jsonl"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := one(t, home)
	if want := filepath.Join(home, ".claude/projects/p/a.jsonl"); s.Path != want || s.Logical != "$HOME/.claude/projects/p/a.jsonl" {
		t.Errorf("listed %s as %s, want the path by the link, %s", s.Path, s.Logical, want)
	}

	// What was a file when it was listed can be a link or a pipe by now.
	for name, become := range map[string]func(string) error{
		"a link out of the store": func(p string) error { return os.Symlink(filepath.Join(dir, "secret", "x.jsonl"), p) },
		"a pipe":                  func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"nothing":                 func(string) error { return nil },
	} {
		if err := os.Remove(s.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := become(s.Path); err != nil {
			t.Fatal(err)
		}
		if c, err := open(t, s); err == nil {
			b, _ := io.ReadAll(c)
			t.Errorf("%s was opened and gave %q", name, b)
		} else if name == "nothing" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("vanished: %v, want fs.ErrNotExist", err)
		}
	}
}

func TestADirectoryThatCannotBeReadIsReported(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	write(t, home, ".claude/projects/p/a.jsonl", "{}\n")

	// A link to what is not mounted. (Permissions do not stop root.)
	if err := os.Rename(filepath.Join(home, ".claude"), filepath.Join(home, "mounted")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(home, "gone"), filepath.Join(home, ".claude")); err != nil {
		t.Fatal(err)
	}
	sources, unread := list(t, home)
	if len(sources) != 0 || len(unread) != 1 || unread[0].Logical != "$HOME/.claude/projects" {
		t.Fatalf("listed %v, unread %v", names(sources), unread)
	}
	for logical, want := range map[string]bool{
		"$HOME/.claude/projects/p/a.jsonl":  true,
		"$HOME/.claude/projects2/p/a.jsonl": false,
		"$HOME/.codex/a.jsonl":              false,
	} {
		if unread[0].Covers(logical) != want {
			t.Errorf("Covers(%s) = %v", logical, !want)
		}
	}

	// And a file where a directory should be.
	if err := os.Remove(filepath.Join(home, ".claude")); err != nil {
		t.Fatal(err)
	}
	write(t, home, ".claude/projects", "")
	if _, unread := list(t, home); len(unread) != 1 {
		t.Errorf("unread %v", unread)
	}
}

func TestADirectoryWithoutPermissionIsReported(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		home := t.TempDir()
		name := write(t, home, project+"a.jsonl", "{}\n")
		if err := os.Chmod(filepath.Dir(name), 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(filepath.Dir(name), 0o700) //nolint:errcheck // so that it can be removed
		if _, unread := list(t, home); len(unread) != 1 || !errors.Is(unread[0].Err, fs.ErrPermission) {
			t.Errorf("unread %v, want one for lack of permission", unread)
		}
		return
	}
	// Root may read everything: the test runs itself as another user.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"TMPDIR=/tmp"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
		t.Errorf("as uid 65534: %v\n%s", err, out)
	}
}

func TestATornLastLineIsLeftOut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200<<10) // longer than the block searched at once
	for _, c := range []struct {
		content, want string
		torn          bool
	}{
		{"", "", false},
		{"{}\n", "{}\n", false},
		{"{}\n{\"a\"", "{}\n", true},
		{"{\"a\"", "", true},
		{"\n", "\n", false},
		{long + "\n" + long, long + "\n", true},
		{long, "", true},
	} {
		home := t.TempDir()
		write(t, home, project+"a.jsonl", c.content)
		r, err := open(t, one(t, home))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close() //nolint:errcheck // read only
		b, err := io.ReadAll(r)
		if err != nil || string(b) != c.want || r.Torn != c.torn || r.Size != int64(len(c.want)) {
			t.Errorf("%.20q gave %d bytes of %d, torn %v, %v", c.content, len(b), r.Size, r.Torn, err)
		}
	}
}

func TestOtherFilesAreTakenToTheirEnd(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	write(t, home, project+"a/tool-results/r.txt", "no newline")
	r, err := open(t, one(t, home))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // read only
	if b, err := io.ReadAll(r); err != nil || string(b) != "no newline" || r.Torn {
		t.Errorf("%q, torn %v, %v", b, r.Torn, err)
	}
}

func TestAFileThatChangesWhileItIsRead(t *testing.T) {
	t.Parallel()
	const before = "{\"n\":1}\n{\"n\":2}\n"
	for _, c := range []struct {
		name, rel string
		change    func(f *os.File) error
		want      string
		err       error
	}{
		{
			name: "appended to", rel: "a.jsonl", want: before,
			change: func(f *os.File) error { _, err := f.WriteString("{\"n\":3}\n{"); return err },
		},
		{
			name: "cut", rel: "a.jsonl", err: conversations.ErrChanged,
			change: func(f *os.File) error { return f.Truncate(9) },
		},
		{
			name: "rewritten as something shorter", rel: "a.jsonl", err: conversations.ErrChanged,
			change: func(f *os.File) error { return errors.Join(f.Truncate(0), f.Truncate(15)) },
		},
		{
			name: "removed", rel: "a.jsonl", want: before,
			change: func(f *os.File) error { return os.Remove(f.Name()) },
		},
		{
			name: "not append-only, appended to", rel: "a/tool-results/a.txt", err: conversations.ErrChanged,
			change: func(f *os.File) error { _, err := f.WriteString("more"); return err },
		},
		{
			name: "not append-only, rewritten", rel: "a/tool-results/a.txt", err: conversations.ErrChanged,
			change: func(f *os.File) error { return os.Chtimes(f.Name(), time.Time{}, time.Now().Add(time.Minute)) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			f, err := os.OpenFile(write(t, home, project+c.rel, before), os.O_RDWR|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r, err := open(t, one(t, home))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close() //nolint:errcheck // read only
			first := make([]byte, 3)
			if _, err := io.ReadFull(r, first); err != nil {
				t.Fatal(err)
			}
			if err := c.change(f); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(r)
			if !errors.Is(err, c.err) || (c.err == nil && string(first)+string(rest) != c.want) {
				t.Errorf("%q, %v; want %q, %v", string(first)+string(rest), err, c.want, c.err)
			}
		})
	}
}

func TestACancelledListSaysSo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := conversations.List(ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// What is read of JSON lines always ends with the last newline there is.
func TestAnyContent(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"{}", "\n", strings.Repeat("y", 1000), strings.Repeat("z", 65_535), strings.Repeat("\n", 65_536)}), 0, 8).Draw(r, "parts")
		content := strings.Join(parts, "")
		write(t, home, project+"a.jsonl", content)
		c, err := open(t, one(t, home))
		if err != nil {
			r.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // read only
		b, err := io.ReadAll(c)
		if want := content[:strings.LastIndexByte(content, '\n')+1]; err != nil || string(b) != want || c.Torn != (want != content) {
			r.Errorf("%d bytes of %d, torn %v, %v; want %d", len(b), len(content), c.Torn, err, len(want))
		}
	})
}

func open(t *testing.T, s conversations.Source) (*conversations.Content, error) {
	t.Helper()
	var o conversations.Opener
	t.Cleanup(o.Close)
	return o.Open(s)
}

// The directory that an Opener has open was replaced by another one.
func TestOpenFindsWhatIsThereNow(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	dir := filepath.Join(home, ".claude/projects/p")
	plant := func(name, text string) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plant("a.jsonl", "{}\n")
	plant("b.jsonl", "{}\n")
	sources, _, err := conversations.List(t.Context(), home)
	if err != nil || len(sources) != 2 {
		t.Fatal(sources, err)
	}
	var o conversations.Opener
	defer o.Close()
	reads := func(s conversations.Source, want string) {
		t.Helper()
		c, err := o.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // in a test
		if b, err := io.ReadAll(c); err != nil || string(b) != want {
			t.Errorf("%q %v, want %q", b, err, want)
		}
	}
	reads(sources[0], "{}\n")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	plant("b.jsonl", "{\"new\":1}\n")
	reads(sources[1], "{\"new\":1}\n")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open(sources[1]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of what is gone: %v", err)
	}
}
