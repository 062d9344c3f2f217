package repository_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/repository/archive"
)

// writeGolden makes the golden repository. It is here for the record: its files
// are frozen, and what today's code would write may look otherwise.
func writeGolden(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(goldenDir); err == nil && !*force {
		t.Fatalf("%s is there, and frozen: what the format has gained goes into another directory (or -force)", goldenDir)
	}
	must(t, os.RemoveAll(goldenDir))
	dir := filepath.Join(t.TempDir(), "sessions", "ses_01")
	older := goldenMaker{t: t, dir: dir}
	older.begin()
	first := older.older()
	sum := older.commit(first)

	// The packs are out of the way, so that what both need is stored once more.
	must(t, os.Rename(filepath.Join(dir, "packs"), filepath.Join(dir, "packs.away")))
	newer := goldenMaker{t: t, dir: dir}
	newer.begin()
	second := newer.newer(first, sum)
	newer.commit(second)
	packs, err := filepath.Glob(filepath.Join(dir, "packs.away", "*"))
	must(t, err)
	for _, pack := range packs {
		must(t, os.Rename(pack, filepath.Join(dir, "packs", filepath.Base(pack))))
	}
	must(t, os.Remove(filepath.Join(dir, "packs.away")))

	repo, err := repository.Open(dir)
	must(t, err)
	must(t, repo.Pin(t.Context(), first.ID))
	newer.want.Pinned, older.want.Pinned = false, true
	for _, sub := range []string{"checkpoints", "packs", "pins"} {
		must(t, os.CopyFS(filepath.Join(goldenDir, "session", sub), os.DirFS(filepath.Join(dir, sub))))
	}
	var exported bytes.Buffer
	must(t, archive.Export(t.Context(), repo, first.ID, &exported))
	must(t, os.WriteFile(filepath.Join(goldenDir, string(first.ID)+".tar.zst"), exported.Bytes(), 0o644))
	b, err := json.MarshalIndent(golden{[]goldenCheckpoint{newer.want, older.want}}, "", " ")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(goldenDir, "expected.json"), append(b, '\n'), 0o644))
}

// goldenMaker makes one checkpoint and notes what it holds.
type goldenMaker struct {
	t    *testing.T
	dir  string
	tx   *repository.Tx
	want goldenCheckpoint
}

func (g *goldenMaker) begin() {
	repo, err := repository.Open(g.dir)
	must(g.t, err)
	g.tx, err = repo.Begin(g.t.Context())
	must(g.t, err)
	g.t.Cleanup(g.tx.Abort)
}

func (g *goldenMaker) commit(m *checkpoint.Manifest) checkpoint.Hash {
	sum, err := g.tx.Commit(g.t.Context(), m, nil)
	must(g.t, err)
	g.want.ID, g.want.ManifestSHA256, g.want.Components = m.ID, sum, m.Components.States()
	return sum
}

var goldenTime = time.Date(2026, 11, 23, 10, 15, 0, 123e6, time.UTC)

const goldenMtime = 1763892900123456789

// file stores b and notes it as a file of component.
func (g *goldenMaker) file(component, path string, kind checkpoint.Kind, b []byte, change ...func(*checkpoint.File)) checkpoint.File {
	c, err := g.tx.Put(g.t.Context(), bytes.NewReader(b), checkpoint.ChunkSize)
	must(g.t, err)
	f := checkpoint.File{Path: path, Kind: kind, State: checkpoint.OK, Mode: 0o644, MtimeNS: goldenMtime, Content: c}
	for _, change := range change {
		change(&f)
	}
	g.note(component, f, b)
	return f
}

func (g *goldenMaker) note(component string, f checkpoint.File, b []byte) checkpoint.File {
	want := goldenFile{
		Component: component, Path: []byte(f.Name()), Kind: f.Kind, State: f.State, Mode: f.Mode, MtimeNS: f.MtimeNS,
		Link: []byte(f.Target()), Holes: f.Holes, Size: int64(len(b)),
	}
	if f.State.Usable() && f.Kind != checkpoint.KindSymlink {
		want.SHA256 = checkpoint.Sum(b)
	}
	g.want.Files = append(g.want.Files, want)
	return f
}

// rows returns n bytes of text that compress well, of chunks that are all
// different.
func rows(seed, n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%d: row %d of %s\n", seed, i, "a table in which every row is much like the others")
	}
	return b[:n]
}

func (g *goldenMaker) manifest(seq uint64) *checkpoint.Manifest {
	at := goldenTime.Add(time.Duration(seq) * time.Minute)
	return &checkpoint.Manifest{
		Format: checkpoint.Format, ID: checkpoint.ID(fmt.Sprintf("%s-0000000%d", at.Format("20060102T150405.000Z"), seq)), Session: "ses_01", Epoch: 3, Seq: seq,
		Created: at, Reason: "interval", RequestID: fmt.Sprintf("request-%d", seq), RequestDigest: "sha256:00",
		Instance: checkpoint.Instance{ID: "0123456789abcdef0123456789abcdef", Hostname: "host", BootID: "boot", Container: "container"},
		Agent:    checkpoint.Agent{Version: "v1"},
		Roots:    map[string]string{"$HOME": "/home/retro", "$WORKSPACE": "/workspace", "$ZED_DATA": "/home/retro/.local/share/zed"},
		Stats:    checkpoint.Stats{PlainBytes: 1, NewBytes: 2, Files: 3, DurationMS: 4},
	}
}

// database has a recipe of two levels, and its last page is not full.
func database(seed int) []byte { return rows(seed, 66*checkpoint.ChunkSize+100) }

func (g *goldenMaker) older() *checkpoint.Manifest {
	m := g.manifest(1)
	head := func(s checkpoint.State) checkpoint.Head { return checkpoint.NewHead(s, m.Created) }

	var threads []repository.Keyed
	for i := range 100 {
		id := fmt.Sprintf("thread-%03d", i)
		threads = append(threads, repository.Keyed{Key: id, Value: checkpoint.Thread{ID: id, Title: "A title", Updated: goldenTime, Bytes: int64(i)}})
		g.want.Threads = append(g.want.Threads, id)
	}
	list, err := g.tx.PutList(g.t.Context(), threads)
	must(g.t, err)
	m.Components.Zed = &checkpoint.Zed{
		Head: head(checkpoint.OK), Channel: "dev", ZedVersion: "1.9.0", Pointer: "pointer", Threads: &list,
		Migrations: map[string]checkpoint.Migration{"WorkspaceDb": {Steps: 39, SHA256: checkpoint.Sum([]byte("migrations"))}},
		Windows:    []checkpoint.ZedWindow{{Roots: []string{"$WORKSPACE/app"}, Tabs: []checkpoint.ZedTab{{Path: "$WORKSPACE/app/main.go", Active: true, Dirty: true}, {Kind: "Terminal"}}}},
		FileSet: checkpoint.FileSet{Files: []checkpoint.File{
			g.file(checkpoint.NameZed, "$ZED_DATA/db/0-dev/db.sqlite", checkpoint.KindSQLite, database(1), func(f *checkpoint.File) { f.Meaning = "sha256:01" }),
			g.file(checkpoint.NameZed, "$ZED_DATA/threads/threads.db", checkpoint.KindSQLite, rows(2, 200_000), func(f *checkpoint.File) { f.Mode = 0o600 }),
		}},
	}
	m.Components.Conversations = g.conversations(head(checkpoint.Partial))
	m.Components.Windows, m.Components.Layout = goldenDesk(head(checkpoint.OK))

	sparse := make([]byte, 20*checkpoint.ChunkSize)
	copy(sparse, "start")
	copy(sparse[len(sparse)-3:], "end")
	link := func(path string, change func(f *checkpoint.File)) checkpoint.File {
		f := checkpoint.File{Path: path, Kind: checkpoint.KindSymlink, State: checkpoint.OK, Mode: 0o777, MtimeNS: goldenMtime}
		change(&f)
		return g.note(checkpoint.NameFiles, f, nil)
	}
	m.Components.Files = &checkpoint.Files{Head: head(checkpoint.OK), FileSet: checkpoint.FileSet{Files: []checkpoint.File{
		g.file(checkpoint.NameFiles, "$HOME/empty", checkpoint.KindFile, nil),
		g.file(checkpoint.NameFiles, "$HOME/inline", checkpoint.KindFile, rows(4, checkpoint.MaxInline*checkpoint.ChunkSize), func(f *checkpoint.File) { f.SHA256 = checkpoint.Hash{} }),
		g.file(checkpoint.NameFiles, "$HOME/a\nnewline", checkpoint.KindFile, []byte("newline")),
		g.file(checkpoint.NameFiles, "$HOME/Case", checkpoint.KindFile, []byte("upper"), func(f *checkpoint.File) { f.Mode, f.MtimeNS = 0, 0 }),
		g.file(checkpoint.NameFiles, "$HOME/case", checkpoint.KindFile, []byte("lower"), func(f *checkpoint.File) { f.Mode, f.MtimeNS = 0, -1 }),
		g.file(checkpoint.NameFiles, "$WORKSPACE/sparse", checkpoint.KindFile, sparse, func(f *checkpoint.File) {
			f.Holes = [][2]int64{{checkpoint.ChunkSize, 4 * checkpoint.ChunkSize}, {8 * checkpoint.ChunkSize, 11 * checkpoint.ChunkSize}}
		}),
		link("$WORKSPACE/link", func(f *checkpoint.File) { f.Link = "sparse" }),
		link("$WORKSPACE/odd-link", func(f *checkpoint.File) { f.LinkB64 = []byte("\xff") }),
	}}}
	return m
}

// conversations are more files than stand in a manifest, one of them torn, one
// failed, one with a path that is not UTF-8.
func (g *goldenMaker) conversations(head checkpoint.Head) *checkpoint.Files {
	var keyed []repository.Keyed
	add := func(f checkpoint.File) { keyed = append(keyed, repository.Keyed{Key: f.Name(), Value: f}) }
	before := len(g.want.Files)
	for i := range 70 {
		add(g.file(checkpoint.NameConversations, fmt.Sprintf("$HOME/.claude/projects/-workspace-app/%03d.jsonl", i), checkpoint.KindJSONL, rows(i, 10+i)))
	}
	add(g.file(checkpoint.NameConversations, "$HOME/.claude/torn.jsonl", checkpoint.KindJSONL, []byte("{}\n"), func(f *checkpoint.File) {
		f.State, f.Error = checkpoint.Partial, "its last line is torn"
	}))
	add(g.file(checkpoint.NameConversations, "", checkpoint.KindJSONL, []byte("{}\n"), func(f *checkpoint.File) { f.PathB64 = []byte("$HOME/.codex/\xff.jsonl") }))
	add(g.note(checkpoint.NameConversations, checkpoint.File{Path: "$HOME/.qwen/x.jsonl", Kind: checkpoint.KindJSONL, State: checkpoint.Failed, Error: "permission denied"}, nil))
	slices.SortFunc(g.want.Files[before:], func(a, b goldenFile) int { return bytes.Compare(a.Path, b.Path) })
	list, err := g.tx.PutList(g.t.Context(), keyed)
	must(g.t, err)
	return &checkpoint.Files{Head: head, FileSet: checkpoint.FileSet{FileList: &list}}
}

func goldenDesk(head checkpoint.Head) (*checkpoint.Windows, *checkpoint.Layout) {
	full := checkpoint.Rect{Width: 1920, Height: 1080}
	return &checkpoint.Windows{
		Head: head,
		Processes: []checkpoint.Process{{
			ID: "p1", Argv: []string{"foot"}, Cwd: "$WORKSPACE/app", PID: 812, StartTicks: 77, LaunchID: "l1",
			Child: &checkpoint.Child{Argv: []string{"bash"}, Cwd: "$WORKSPACE/app"},
		}},
		Items: []checkpoint.Window{{Leaf: "w1", Process: "p1", AppID: "foot", Title: "one", Tag: "t"}, {Leaf: "w2", Class: "Chromium", Instance: "chromium", Role: "browser", Title: "two"}},
	}, &checkpoint.Layout{
		Head: head, Compositor: checkpoint.Compositor{Name: "sway", Version: "1.11", PID: 41, StartTicks: 9},
		Outputs: []checkpoint.Output{{Name: "HEADLESS-1", Active: true, Rect: full, Scale: 1, Transform: "normal", CurrentWorkspace: "ws:1", Focus: []string{"ws:1"}}},
		Workspaces: []checkpoint.Workspace{{
			ID: "ws:1", Name: "1", Num: 1, Output: "HEADLESS-1", Layout: "splith", Rect: full, Focus: []string{"c1"},
			Nodes: []*checkpoint.Node{{ID: "c1", Layout: "tabbed", Rect: full, Border: "pixel", BorderWidth: 2, Marks: []string{"m"}, Focus: []string{"w1"}, Nodes: []*checkpoint.Node{{ID: "w1"}}}},
		}},
		Scratchpad: []*checkpoint.Node{{ID: "w2", InScratchpad: true}}, Focused: "w1",
	}
}

// newer has one file that is new, and carries the rest of first.
func (g *goldenMaker) newer(first *checkpoint.Manifest, sum checkpoint.Hash) *checkpoint.Manifest {
	m := g.manifest(2)
	m.Parent = &checkpoint.Parent{ID: first.ID, SHA256: sum}
	fresh := database(1)
	copy(fresh[40*checkpoint.ChunkSize:], rows(9, 4096))
	carry := func(f *checkpoint.File) {
		f.State, f.From, f.AsOf, f.Error, f.Mode = checkpoint.Carried, first.ID, &first.Created, "database is busy", 0o600
	}
	m.Components.Zed = &checkpoint.Zed{
		Head: checkpoint.NewHead(checkpoint.Partial, m.Created), Channel: "dev", ZedVersion: "1.9.0", Pointer: "pointer", Dangling: []string{"thread-100"},
		FileSet: checkpoint.FileSet{Files: []checkpoint.File{
			g.file(checkpoint.NameZed, "$ZED_DATA/db/0-dev/db.sqlite", checkpoint.KindSQLite, fresh, func(f *checkpoint.File) { f.SHA256 = checkpoint.Hash{} }),
			g.file(checkpoint.NameZed, "$ZED_DATA/threads/threads.db", checkpoint.KindSQLite, rows(2, 200_000), carry),
		}},
	}
	head := checkpoint.NewHead(checkpoint.Carried, first.Created)
	head.From, head.Error = first.ID, "the compositor is gone"
	m.Components.Windows, m.Components.Layout = goldenDesk(head)
	failed := checkpoint.NewHead(checkpoint.Failed, m.Created)
	failed.Error = "permission denied"
	m.Components.Files = &checkpoint.Files{Head: failed, FileSet: checkpoint.FileSet{Files: []checkpoint.File{
		g.note(checkpoint.NameFiles, checkpoint.File{Path: "$HOME/x", Kind: checkpoint.KindFile, State: checkpoint.Failed, Error: "permission denied"}, nil),
	}}}
	return m
}
