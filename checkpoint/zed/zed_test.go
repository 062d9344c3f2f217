package zed_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plant makes the databases of channels below data, each written one minute
// after the one before it.
func plant(t *testing.T, data string, channels ...string) {
	t.Helper()
	at := time.Now().Add(-24 * time.Hour)
	for i, c := range channels {
		dir := filepath.Join(data, "db", "0-"+c)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		touch(t, filepath.Join(dir, "db.sqlite"), at.Add(time.Duration(i)*time.Minute))
	}
}

func touch(t *testing.T, name string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestFindChoosesTheChannelWrittenLast(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		channels []string
		wal      string // a channel whose -wal is written now
		want     string
		others   []string
	}{
		{name: "none"},
		{name: "the global database is no session", channels: []string{"global"}},
		{name: "one", channels: []string{"dev", "global"}, want: "dev"},
		{name: "the newest", channels: []string{"stable", "preview", "dev"}, want: "dev", others: []string{"preview", "stable"}},
		{name: "a wal counts", channels: []string{"stable", "dev"}, wal: "stable", want: "stable", others: []string{"dev"}},
		{name: "names that are none are left alone", channels: []string{"Dev", "..", "de v", "nightly"}, want: "nightly"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			plant(t, data, c.channels...)
			if c.wal != "" {
				touch(t, filepath.Join(data, "db", "0-"+c.wal, "db.sqlite-wal"), time.Now())
			}
			p, err := zed.Find(data, filepath.Join(data, "config"))
			if err != nil {
				t.Fatal(err)
			}
			if p.Channel != c.want || !slices.Equal(p.Others, c.others) {
				t.Errorf("channel %q, others %q; want %q and %q", p.Channel, p.Others, c.want, c.others)
			}
			if got := p.WorkspaceDB(); (got == "") != (c.want == "") || (got != "" && got != filepath.Join(data, "db", "0-"+c.want, "db.sqlite")) {
				t.Errorf("workspace database at %q", got)
			}
		})
	}
}

func TestFindIgnoresWhatIsNoFile(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := os.MkdirAll(filepath.Join(data, "db", "0-dev", "db.sqlite"), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := zed.Find(data, data)
	if err != nil || p.Channel != "" {
		t.Errorf("found channel %q (%v) in a directory named db.sqlite", p.Channel, err)
	}
}

func TestFindKeepsTheLinkAndNamesItsTarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "workspace", ".zed-state", "local-share")
	plant(t, target, "dev")
	data := filepath.Join(dir, "zed")
	if err := os.Symlink(target, data); err != nil {
		t.Fatal(err)
	}
	p, err := zed.Find(data, filepath.Join(dir, "config"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Data != data || p.Target != target || p.Channel != "dev" {
		t.Errorf("found %+v; want data %s with target %s", p, data, target)
	}
}

func TestFindRefusesRelativePaths(t *testing.T) {
	t.Parallel()
	if _, err := zed.Find("zed", "/config"); err == nil {
		t.Error("a relative data directory was accepted")
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"real/sub", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"absolute": filepath.Join(dir, "real"),
		"relative": "real/sub",
		"up":       "real/sub/../../other",
		"dangling": filepath.Join(dir, "not", "yet"),
		"chain":    "absolute",
		"loop":     "loop",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for in, want := range map[string]string{
		"real/sub":      "real/sub",
		"absolute/sub":  "real/sub",
		"relative":      "real/sub",
		"relative/..":   "", // filepath.Clean leaves the directory itself
		"up":            "other",
		"dangling/deep": "not/yet/deep",
		"chain/sub":     "real/sub",
	} {
		got, err := zed.Follow(filepath.Join(dir, in))
		if want := filepath.Join(dir, want); err != nil || got != want {
			t.Errorf("Follow(%s) = %s, %v; want %s", in, got, err, want)
		}
		// Where everything exists, the standard library is the judge.
		if std, err := filepath.EvalSymlinks(filepath.Join(dir, in)); err == nil && std != got {
			t.Errorf("Follow(%s) = %s; filepath.EvalSymlinks says %s", in, got, std)
		}
	}
	if got, err := zed.Follow(filepath.Join(dir, "loop")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Follow(loop) = %s, %v; want an error about too many links", got, err)
	}
}

func TestForRefusesWhatIsNoChannel(t *testing.T) {
	t.Parallel()
	p := zed.Places{Data: "/data", Channel: "dev"}
	for _, c := range []string{"", "global", "../x", "Dev", "a/b", strings.Repeat("a", 40)} {
		if got, err := p.For(c); err == nil {
			t.Errorf("For(%q) gave %s", c, got.WorkspaceDB())
		}
	}
	got, err := p.For("stable")
	if err != nil || got.WorkspaceDB() != "/data/db/0-stable/db.sqlite" || !slices.Equal(got.Others, []string{"dev"}) {
		t.Errorf("For(stable) = %+v, %v", got, err)
	}
}
