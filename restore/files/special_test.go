package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// bytesOf is a Source of one content.
type bytesOf []byte

func (b bytesOf) CopyTo(_ context.Context, w io.Writer, _ checkpoint.Content) error {
	_, err := io.Copy(w, bytes.NewReader(b))
	return err
}

// restored puts files into a home and returns it, with the targets.
func restored(t *testing.T, src Source, home string, files ...checkpoint.File) []Target {
	t.Helper()
	p := NewPlaces(map[string]string{"$HOME": home})
	var targets []Target
	for _, f := range files {
		targets = append(targets, p.Find(checkpoint.NameFiles, f))
	}
	st := NewStager("x", src, StagerOptions{})
	targets, err := st.Stage(t.Context(), targets)
	if err != nil {
		t.Fatal(errors.Join(err, st.Discard()))
	}
	set, err := st.Seal()
	if err == nil {
		_, _, err = set.Apply(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

func TestLinksLeadNowhereElse(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	home := filepath.Join(top, "home")
	for _, dir := range []string{"sub", ".ssh"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"out": "..", "sub/live": "../sub"} {
		if err := os.Symlink(target, filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, "was"), []byte("was"), 0o600); err != nil {
		t.Fatal(err)
	}
	for target, good := range map[string]bool{
		"x": true, "../home-x": false, "sub/x": true, "sub/../x": true, filepath.Join(home, "sub"): true, "nowhere/x": true, "\xff": true,
		"..": false, "../x": false, "/etc/passwd": false, filepath.Join(top, "home2"): false, "sub/../../x": false, home + "/../x": false,
		"out/x": false, ".ssh/id_rsa": false, ".claude/.credentials.json": false,
	} {
		for _, name := range []string{"new", "was", "sub/live"} {
			f := checkpoint.File{Path: "$HOME/" + name, Kind: checkpoint.KindSymlink, State: checkpoint.OK, LinkB64: []byte(target)}
			if name == "sub/live" && !filepath.IsAbs(target) {
				f.LinkB64 = []byte("../" + target)
			}
			got := NewPlaces(map[string]string{"$HOME": home}).Find(checkpoint.NameFiles, f)
			if (got.Refused == nil) != good {
				t.Errorf("%s -> %q: %v", name, f.Target(), got.Refused)
			}
			if good && got.Path != filepath.Join(home, name) {
				t.Errorf("%s -> %q goes to %s", name, f.Target(), got.Path)
			}
		}
	}
	link := func(name, target string) checkpoint.File {
		return checkpoint.File{Path: "$HOME/" + name, Kind: checkpoint.KindSymlink, State: checkpoint.OK, Link: target, MtimeNS: 1763892900123456789}
	}
	// A file behind a link of the same checkpoint is refused.
	behind := checkpoint.File{Path: "$HOME/new/x", Kind: checkpoint.KindFile, State: checkpoint.OK}
	targets := restored(t, bytesOf(nil), home, link("new", "sub"), link("was", "sub"), link("sub/live", "x"), behind)
	for i, target := range targets[:3] {
		if target.Refused != nil {
			t.Fatalf("%s: %v", target.File.Name(), target.Refused)
		}
		info, err := os.Lstat(target.Path)
		if err != nil || info.ModTime().UnixNano() != 1763892900123456789 {
			t.Errorf("%s: %v, %v", target.Path, info, err)
		}
		if got, err := os.Readlink(target.Path); err != nil || got != []string{"sub", "sub", "x"}[i] {
			t.Errorf("%s -> %q, %v", target.Path, got, err)
		}
	}
	if !errors.Is(targets[3].Refused, ErrRefused) {
		t.Errorf("a file behind a link: %v", targets[3].Refused)
	}
	if kept, err := os.ReadFile(filepath.Join(home, stagePrefix+"x/old/was")); err != nil || string(kept) != "was" {
		t.Errorf("what was there: %q, %v", kept, err)
	}
	if kept, err := os.Readlink(filepath.Join(home, stagePrefix+"x/old/sub/live")); err != nil || kept != "../sub" {
		t.Errorf("the link that was there: %q, %v", kept, err)
	}
}

// TestHolesStayHoles: a sparse file takes no more space than it did, and holes
// that are said and are none take nothing away.
func TestHolesStayHoles(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	b := make([]byte, size)
	copy(b[1<<20:], "middle")
	copy(b[size-3:], "end")
	for name, tc := range map[string]struct {
		holes [][2]int64
		most  int64 // bytes on disk
	}{
		"none said":     {nil, size},
		"as they are":   {[][2]int64{{0, 1 << 20}, {2 << 20, 5 << 20}}, 2<<20 + 64<<10},
		"to the end":    {[][2]int64{{2 << 20, size - 2<<20}}, 3 << 20},
		"all of it":     {[][2]int64{{0, size}}, 1 << 20},
		"many and odd":  {[][2]int64{{1, 4095}, {5000, 1}, {1<<20 + 1, 3}, {3<<20 + 7, 4 << 20}}, 5 << 20},
		"over the text": {[][2]int64{{1<<20 + 2, 2}}, size},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			f := checkpoint.File{Path: "$HOME/x", Kind: checkpoint.KindFile, State: checkpoint.OK, Holes: tc.holes, Content: checkpoint.Content{Size: size, SHA256: checkpoint.Sum(b)}}
			if got := restored(t, bytesOf(b), home, f); got[0].Refused != nil {
				t.Fatal(got[0].Refused)
			}
			got, err := os.ReadFile(filepath.Join(home, "x"))
			if err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d other bytes, %v", len(got), err)
			}
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(home, "x"), &st); err != nil || st.Blocks*512 > tc.most {
				t.Errorf("%d bytes on disk, at most %d expected (%v)", st.Blocks*512, tc.most, err)
			}
		})
	}
}
