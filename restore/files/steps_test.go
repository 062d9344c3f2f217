package files

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(stageEnv); spec != "" {
		if err := stageChild(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestPathsOfAnyBytesSurviveJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := Path(rapid.OneOf(
			rapid.String(),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.Map(rapid.String(), func(s string) string { return pathB64 + s }),
		).Draw(t, "path"))
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Path
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Fatalf("%q became %s became %q (%v)", want, b, got, err)
		}
	})
}

func TestHostileSteps(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"../x", "/x", "a/../../x", ".", "", "a/", "a//b", "./a", "a/..", "x\x00", stagePrefix + "a/old/x", "a/" + stagePrefix + "b",
	} {
		b, err := json.Marshal(stepsFile{stepsFormat, []Step{{N: 1, Path: Path(path)}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeSteps(b); err == nil {
			t.Errorf("a step to %q was accepted", path)
		}
	}
}

// A link that was planted after staging leads nowhere outside the anchor.
func TestPlantedLinkIsNotFollowed(t *testing.T) {
	t.Parallel()
	anchor, outside := t.TempDir(), t.TempDir()
	set := Set{ID: "x", Stages: []Stage{{Anchor: Path(anchor)}}}
	dir := set.Dir(set.Stages[0])
	if err := os.MkdirAll(filepath.Join(dir, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new", "1"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeSteps(dir, []Step{{N: 1, Component: "files", Name: "$HOME/d/f", Path: "d/f"}}); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(anchor, "d")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := set.Apply(nil); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("followed: %v", err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("written outside: %v %v", left, err)
	}
	// The link goes, and what was left is done.
	if err := os.Remove(filepath.Join(anchor, "d")); err != nil {
		t.Fatal(err)
	}
	done, lost, err := set.Apply(nil)
	if err != nil || len(done) != 1 || len(lost) != 0 {
		t.Fatalf("%v %v %v", done, lost, err)
	}
}

// Something wrote the file again between a crash and the recovery: that is
// kept too.
func TestASecondFileIsMovedAsideBesideTheFirst(t *testing.T) {
	t.Parallel()
	anchor := t.TempDir()
	set := Set{ID: "x", Stages: []Stage{{Anchor: Path(anchor)}}}
	dir := set.Dir(set.Stages[0])
	for name, text := range map[string]string{"new/1": "new", "old/f": "first"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeSteps(dir, []Step{{N: 1, Component: "files", Name: "$HOME/f", Path: "f"}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(anchor, "f"), []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	done, _, err := set.Apply(nil)
	if err != nil || len(done) != 1 || len(done[0].Aside) != 2 {
		t.Fatalf("%+v %v", done, err)
	}
	for i, want := range []string{"first", "second"} {
		if b, err := os.ReadFile(done[0].Aside[i]); err != nil || string(b) != want {
			t.Errorf("kept %q %v, want %q", b, err, want)
		}
	}
}

func FuzzDecodeSteps(f *testing.F) {
	f.Add([]byte(`{"format":"helix.ckpt.steps/v1","steps":[{"n":1,"component":"zed","name":"$ZED_DATA/x","path":"db/x","database":true}]}`))
	f.Add([]byte(`{"format":"helix.ckpt.steps/v1","steps":[{"n":1,"path":"b64:/w=="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		steps, err := decodeSteps(b)
		if err != nil {
			return
		}
		for _, s := range steps {
			if !filepath.IsLocal(string(s.Path)) || bytes.ContainsRune([]byte(s.Path), 0) {
				t.Fatalf("accepted a step to %q", s.Path)
			}
		}
	})
}
