package checkpoint_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
)

var update = flag.Bool("update", false, "rewrite testdata/manifest.json from the code")

const golden = "testdata/manifest.json"

// full is a manifest with every field of the format in use, also those that
// nothing captures yet.
func full() *checkpoint.Manifest {
	at := time.Date(2026, 11, 23, 10, 15, 0, 123e6, time.UTC)
	sum := checkpoint.Sum
	head := func(s checkpoint.State) checkpoint.Head { return checkpoint.NewHead(s, at) }
	small := func(text string) checkpoint.Content {
		return checkpoint.Content{Size: int64(len(text)), SHA256: sum([]byte(text)), ChunkSize: checkpoint.ChunkSize, Chunks: []checkpoint.Hash{sum([]byte(text))}}
	}
	earlier := at.Add(-time.Minute)
	return &checkpoint.Manifest{
		Format: checkpoint.Format, ID: "20261123T101500.123Z-3f9a1c2e", Session: "ses_01", Epoch: 3, Seq: 118,
		Parent:  &checkpoint.Parent{ID: "20261123T101400.000Z-00000001", SHA256: sum([]byte("parent"))},
		Created: at, Reason: "interval", RequestID: "r1", RequestDigest: "sha256:00",
		Instance: checkpoint.Instance{ID: "0123456789abcdef0123456789abcdef", Hostname: "h", BootID: "b", Container: "c"},
		Agent:    checkpoint.Agent{Version: "v0"},
		Roots:    map[string]string{"$HOME": "/home/retro", "$WORKSPACE": "/workspace", "$ZED_DATA": "/home/retro/.local/share/zed"},
		Components: checkpoint.Components{
			Zed: &checkpoint.Zed{
				Head: head(checkpoint.Partial), Channel: "dev", ZedVersion: "1.9.0", Pointer: "p",
				Migrations: map[string]checkpoint.Migration{"WorkspaceDb": {Steps: 39, SHA256: sum([]byte("m"))}},
				Windows:    []checkpoint.ZedWindow{{Roots: []string{"$WORKSPACE/app"}, Tabs: []checkpoint.ZedTab{{Path: "$WORKSPACE/app/main.go", Active: true, Dirty: true}}}},
				Threads:    &checkpoint.List{Count: 2, Content: small("threads")},
				Dangling:   []string{"t3"},
				FileSet: checkpoint.FileSet{Files: []checkpoint.File{
					{
						Path: "$ZED_DATA/db/0-dev/db.sqlite", Kind: checkpoint.KindSQLite, State: checkpoint.OK, Mode: 0o644, MtimeNS: 1763892900123456789, Meaning: "sha256:00",
						Content: checkpoint.Content{Size: 311296, SHA256: sum([]byte("db")), ChunkSize: checkpoint.ChunkSize, Recipe: &checkpoint.Recipe{SHA256: sum([]byte("page")), Levels: 1}},
					},
					{Path: "$ZED_DATA/threads/threads.db", Kind: checkpoint.KindSQLite, State: checkpoint.Carried, AsOf: &earlier, From: "20261123T101400.000Z-00000001", Error: "busy", Mode: 0o600, MtimeNS: 1, Content: small("t")},
				}},
			},
			Conversations: &checkpoint.Files{Head: head(checkpoint.OK), FileSet: checkpoint.FileSet{FileList: &checkpoint.List{Count: 1, Content: small("files")}}},
			Windows: &checkpoint.Windows{
				Head: head(checkpoint.OK),
				Processes: []checkpoint.Process{{
					ID: "p1", Argv: []string{"foot"}, Cwd: "$WORKSPACE/app", PID: 812, StartTicks: 77, LaunchID: "l1",
					Child: &checkpoint.Child{Argv: []string{"bash"}, Cwd: "$WORKSPACE/app"},
				}},
				Items: []checkpoint.Window{
					{Leaf: "w1", Process: "p1", AppID: "foot", Title: "one", Tag: "t"},
					{Leaf: "w2", Class: "Chromium", Instance: "chromium", Role: "browser", Title: "two", SandboxEngine: "e", SandboxAppID: "a"},
				},
			},
			Layout: &checkpoint.Layout{
				Head: head(checkpoint.OK), Compositor: checkpoint.Compositor{Name: "sway", Version: "1.11", PID: 41, StartTicks: 9},
				Outputs: []checkpoint.Output{{Name: "HEADLESS-1", Active: true, Rect: checkpoint.Rect{Width: 1920, Height: 1080}, Scale: 1, Transform: "normal", CurrentWorkspace: "ws:1", Focus: []string{"ws:1"}}},
				Workspaces: []checkpoint.Workspace{{
					ID: "ws:1", Name: "1", Num: 1, Output: "HEADLESS-1", Layout: "splith", Rect: checkpoint.Rect{Width: 1920, Height: 1080}, Focus: []string{"c1"},
					Nodes: []*checkpoint.Node{{
						ID: "c1", Layout: "tabbed", Rect: checkpoint.Rect{Width: 1920, Height: 1080}, Border: "pixel", BorderWidth: 2, Marks: []string{"m"}, Sticky: true, Urgent: true,
						FullscreenMode: 1, InhibitIdle: "focus", Percent: 1, Focus: []string{"w1"}, Nodes: []*checkpoint.Node{{ID: "w1"}},
					}},
				}},
				Scratchpad: []*checkpoint.Node{{ID: "w2", InScratchpad: true}}, Focused: "w1",
			},
			Files: &checkpoint.Files{Head: head(checkpoint.OK), FileSet: checkpoint.FileSet{Files: []checkpoint.File{
				{PathB64: []byte("$HOME/\xff"), Kind: checkpoint.KindFile, State: checkpoint.OK, Mode: 0o600, Holes: [][2]int64{{0, 2}, {3, 1}}, Content: small("hole")},
				{Path: "$HOME/l", Kind: checkpoint.KindSymlink, State: checkpoint.OK, Link: "f"},
				{Path: "$HOME/m", Kind: checkpoint.KindSymlink, State: checkpoint.OK, LinkB64: []byte("\xff")},
			}}},
		},
		Stats: checkpoint.Stats{PlainBytes: 1, NewBytes: 2, Files: 3, DurationMS: 4},
	}
}

// TestGolden holds the written form fixed: what one version wrote, every later
// one reads, and the names are those that users' jq programs know.
func TestGolden(t *testing.T) {
	t.Parallel()
	b, err := checkpoint.Encode(full())
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, b, "", " "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	if *update {
		if err := os.WriteFile(golden, pretty.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Errorf("the written form has changed; got:\n%s", pretty.String())
	}
	m, err := checkpoint.Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, full()) {
		t.Errorf("read back as %+v", m)
	}
	if !bytes.HasPrefix(b, []byte(`{"format":"helix.ckpt/v1"`)) {
		t.Errorf("format is not the first key: %.40s", b)
	}
}

// TestGoldenByJQ reads the golden file with jq, at the places that
// documentation names.
func TestGoldenByJQ(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		`.components.zed.files[0].mtime_ns`:                                  "1763892900123456789",
		`.components.zed.files[0].recipe.levels`:                             "1",
		`.components.layout.workspaces[0].nodes[0].rect|@csv`:                "0,0,1920,1080",
		`.components.windows.items|map(.leaf)|join(",")`:                     "w1,w2",
		`.components|to_entries|map(.key+"="+.value.state)|join(" ")`:        "zed=partial conversations=ok windows=ok layout=ok files=ok",
		`.components.zed.files[1]|[.state,.from,.mode]|join(" ")`:            "carried 20261123T101400.000Z-00000001 0600",
		`[.session,.epoch,.seq,.created,.reason]|map(tostring)|join(" ")`:    "ses_01 3 118 2026-11-23T10:15:00.123Z interval",
		`.components.layout.outputs[0]|[.name,.current_workspace]|join(" ")`: "HEADLESS-1 ws:1",
	} {
		out, err := exec.Command("jq", "-r", query, golden).Output()
		if err != nil {
			t.Fatalf("jq %s: %v", query, err)
		}
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("jq %s = %q, want %q", query, got, want)
		}
	}
}

func TestDecodeOfTheFuture(t *testing.T) {
	t.Parallel()
	b, err := checkpoint.Encode(full())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Decode(bytes.Replace(b, []byte("helix.ckpt/v1"), []byte("helix.ckpt/v2"), 1)); !errors.Is(err, checkpoint.ErrFormat) {
		t.Errorf("a newer format: %v", err)
	}
	if _, err := checkpoint.Decode(bytes.Replace(b, []byte(`"epoch":3`), []byte(`"epoch":3,"novelty":[1]`), 1)); err != nil {
		t.Errorf("an unknown field: %v", err)
	}
	m, err := checkpoint.Decode(bytes.Replace(b, []byte(`"zed":{"v":1,"state":"partial"`), []byte(`"zed":{"v":2,"state":["otherwise"],"files":7`), 1))
	if err != nil {
		t.Fatalf("an unknown component version: %v", err)
	}
	if m.Components.Zed != nil || m.Components.Unsupported["zed"] != 2 || m.Components.Layout == nil {
		t.Errorf("an unknown component version must put aside that component and no other: %+v", m.Components)
	}
}

func TestContentIsEqualByItsChunks(t *testing.T) {
	t.Parallel()
	a, b := checkpoint.Sum([]byte("a")), checkpoint.Sum([]byte("b"))
	inline := checkpoint.Content{Size: 20, ChunkSize: 10, Chunks: []checkpoint.Hash{a, b}}
	recipe := checkpoint.Content{Size: 100, ChunkSize: 10, Recipe: &checkpoint.Recipe{SHA256: a, Levels: 1}}
	with := func(c checkpoint.Content, change func(*checkpoint.Content)) checkpoint.Content {
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		a, b  checkpoint.Content
		equal bool
	}{
		"the same":               {inline, with(inline, func(c *checkpoint.Content) { c.Chunks = []checkpoint.Hash{a, b} }), true},
		"one whole is not known": {inline, with(inline, func(c *checkpoint.Content) { c.SHA256 = a }), true},
		"another order":          {inline, with(inline, func(c *checkpoint.Content) { c.Chunks = []checkpoint.Hash{b, a} }), false},
		"another size":           {inline, with(inline, func(c *checkpoint.Content) { c.Size = 19 }), false},
		"cut in another way":     {inline, with(inline, func(c *checkpoint.Content) { c.ChunkSize = 11 }), false},
		"inline and a recipe":    {with(inline, func(c *checkpoint.Content) { c.Size, c.Chunks = 100, nil }), recipe, false},
		"the same recipe": {recipe, with(recipe, func(c *checkpoint.Content) {
			c.Recipe = &checkpoint.Recipe{SHA256: a, Levels: 1}
		}), true},
		"another recipe": {recipe, with(recipe, func(c *checkpoint.Content) {
			c.Recipe = &checkpoint.Recipe{SHA256: b, Levels: 1}
		}), false},
		"a deeper recipe": {recipe, with(recipe, func(c *checkpoint.Content) {
			c.Recipe = &checkpoint.Recipe{SHA256: a, Levels: 2}
		}), false},
		"empty": {checkpoint.Content{}, checkpoint.Content{ChunkSize: 10, SHA256: checkpoint.Sum(nil)}, true},
	} {
		if c.a.Equal(c.b) != c.equal || c.b.Equal(c.a) != c.equal {
			t.Errorf("%s: Equal is %v", name, !c.equal)
		}
	}
}

// FuzzDecode looks for input that makes Decode panic, or that it reads as
// something it would not write.
func FuzzDecode(f *testing.F) {
	b, err := checkpoint.Encode(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"helix.ckpt/v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := checkpoint.Decode(b)
		if err != nil {
			return
		}
		again, err := checkpoint.Encode(m)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		if _, err := checkpoint.Decode(again); err != nil {
			t.Fatalf("written but not read: %v", err)
		}
	})
}

func TestLogicalPaths(t *testing.T) {
	t.Parallel()
	roots := map[string]string{"$HOME": "/home/retro", "$WORKSPACE": "/w", "$ZED_DATA": "/home/retro/.local/share/zed"}
	for abs, want := range map[string]string{
		"/home/retro/x":                         "$HOME/x",
		"/home/retro":                           "$HOME",
		"/home/retro2/x":                        "/home/retro2/x",
		"/w2/x":                                 "/w2/x",
		"/w/x":                                  "$WORKSPACE/x",
		"/home/retro/.local/share/zed/db/0-dev": "$ZED_DATA/db/0-dev",
		"relative":                              "relative",
	} {
		got := checkpoint.Logical(roots, abs)
		if got != want {
			t.Errorf("Logical(%q) = %q, want %q", abs, got, want)
		}
		if back := checkpoint.Absolute(roots, got); back != abs {
			t.Errorf("Absolute(%q) = %q, want %q", got, back, abs)
		}
	}
}

// TestSplitLogicalNeverLeavesItsRoot: whatever the text, what SplitLogical
// accepts stays below the root when it is joined to it.
func TestSplitLogicalNeverLeavesItsRoot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"..", ".", "", "a", "$HOME", "b c", "\x00", "…", "/"}), 0, 6).Draw(t, "parts")
		logical := "$HOME/" + strings.Join(parts, "/")
		root, rel, err := checkpoint.SplitLogical(logical)
		if err != nil {
			if !errors.Is(err, checkpoint.ErrPath) {
				t.Fatalf("%q: %v", logical, err)
			}
			return
		}
		for _, p := range strings.Split(rel, "/") {
			if p == ".." || p == "." || p == "" {
				t.Fatalf("%q was taken as %q below %s", logical, rel, root)
			}
		}
		if root+"/"+rel != logical {
			t.Fatalf("%q came apart into %q and %q", logical, root, rel)
		}
	})
}

func TestSelect(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	entry := func(epoch, seq uint64, age time.Duration, suffix string) checkpoint.Entry {
		created := at.Add(-age)
		return checkpoint.Entry{ID: checkpoint.ID(created.Format("20060102T150405.000Z") + "-" + suffix), Epoch: epoch, Seq: seq, Created: created}
	}
	// The newest clock is not the latest checkpoint: epoch 3 is.
	entries := []checkpoint.Entry{entry(2, 9, 0, "aaaaaaaa"), entry(3, 1, time.Hour, "bbbbbbbb"), entry(3, 2, 30*time.Minute, "cccccccc"), entry(2, 8, 2*time.Hour, "dddddddd")}
	checkpoint.SortEntries(entries)
	for selector, want := range map[string]string{
		"": "cccccccc", "latest": "cccccccc", "latest~1": "bbbbbbbb", "latest~3": "dddddddd",
		"20261123T0900": "bbbbbbbb", "2026-11-23T09:40:00Z": "cccccccc", "2026-11-23T11:29:59+02:00": "bbbbbbbb",
	} {
		got, err := checkpoint.Select(entries, selector)
		if err != nil || !strings.HasSuffix(string(got.ID), want) {
			t.Errorf("Select(%q) = %s, %v; want …-%s", selector, got.ID, err, want)
		}
	}
	for selector, want := range map[string]error{
		"latest~4": checkpoint.ErrNotFound, "latest~x": checkpoint.ErrInvalid, "2026": checkpoint.ErrInvalid,
		"1999": checkpoint.ErrNotFound, "2026-11-23T07:00:00Z": checkpoint.ErrNotFound,
	} {
		if got, err := checkpoint.Select(entries, selector); !errors.Is(err, want) {
			t.Errorf("Select(%q) = %s, %v; want %v", selector, got.ID, err, want)
		}
	}
	if _, err := checkpoint.Select(nil, "latest"); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("nothing to select from: %v", err)
	}
}

func TestCombine(t *testing.T) {
	t.Parallel()
	const ok, partial, carried, failed, absent = checkpoint.OK, checkpoint.Partial, checkpoint.Carried, checkpoint.Failed, checkpoint.Absent
	for _, tc := range []struct {
		files []checkpoint.State
		want  checkpoint.State
	}{
		{nil, absent},
		{[]checkpoint.State{ok, ok}, ok},
		{[]checkpoint.State{carried, carried}, carried},
		{[]checkpoint.State{failed}, failed},
		{[]checkpoint.State{ok, carried}, partial},
		{[]checkpoint.State{ok, failed}, partial},
		{[]checkpoint.State{carried, failed}, partial},
		{[]checkpoint.State{ok, partial}, partial},
		{[]checkpoint.State{partial}, partial},
	} {
		if got := checkpoint.Combine(tc.files); got != tc.want {
			t.Errorf("Combine(%v) = %s, want %s", tc.files, got, tc.want)
		}
	}
}

func TestNewID(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 12, 15, 0, 123e6, time.FixedZone("", 2*3600))
	a, b := checkpoint.NewID(at), checkpoint.NewID(at)
	if a == b || !strings.HasPrefix(string(a), "20261123T101500.123Z-") {
		t.Errorf("ids %s and %s", a, b)
	}
	if _, err := checkpoint.ParseID(string(a)); err != nil {
		t.Error(err)
	}
}
