package checkpoint_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	file := func(m *checkpoint.Manifest) *checkpoint.File { return &m.Components.Zed.Files[0] }
	for name, spoil := range map[string]func(m *checkpoint.Manifest){
		"another session's directory": func(m *checkpoint.Manifest) { m.Session = "../other" },
		"an id that is a path":        func(m *checkpoint.Manifest) { m.ID = "../../x" },
		"epoch 0":                     func(m *checkpoint.Manifest) { m.Epoch = 0 },
		"a path that climbs":          func(m *checkpoint.Manifest) { file(m).Path = "$HOME/../../etc/passwd" },
		"an absolute path":            func(m *checkpoint.Manifest) { file(m).Path = "/etc/passwd" },
		"a path twice":                func(m *checkpoint.Manifest) { file(m).Path = m.Components.Zed.Files[1].Path },
		"two paths of one file":       func(m *checkpoint.Manifest) { file(m).PathB64 = []byte("$HOME/x") },
		"an unknown kind":             func(m *checkpoint.Manifest) { file(m).Kind = "device" },
		"an unknown state":            func(m *checkpoint.Manifest) { m.Components.Zed.State = "fine" },
		"a negative size":             func(m *checkpoint.Manifest) { file(m).Size = -1 },
		"a size beyond the limit":     func(m *checkpoint.Manifest) { file(m).Size = math.MaxInt64 },
		"a recipe too deep": func(m *checkpoint.Manifest) {
			file(m).Recipe = &checkpoint.Recipe{SHA256: checkpoint.Sum(nil), Levels: 6}
		},
		"bytes without chunks":        func(m *checkpoint.Manifest) { file(m).Recipe = nil },
		"a relative root":             func(m *checkpoint.Manifest) { m.Roots["$HOME"] = "home" },
		"a root with another name":    func(m *checkpoint.Manifest) { m.Roots["HOME"] = "/home" },
		"a leaf without a window":     func(m *checkpoint.Manifest) { m.Components.Windows.Items = m.Components.Windows.Items[:1] },
		"a window without a leaf":     func(m *checkpoint.Manifest) { m.Components.Windows.Items[0].Leaf = "w9" },
		"two windows of one leaf":     func(m *checkpoint.Manifest) { m.Components.Windows.Items[1].Leaf = "w1" },
		"a window of no process":      func(m *checkpoint.Manifest) { m.Components.Windows.Items[0].Process = "p9" },
		"a node twice":                func(m *checkpoint.Manifest) { m.Components.Layout.Scratchpad[0].ID = "w1" },
		"a node without an id":        func(m *checkpoint.Manifest) { m.Components.Layout.Workspaces[0].Nodes[0].ID = "" },
		"focus on a stranger":         func(m *checkpoint.Manifest) { m.Components.Layout.Workspaces[0].Focus = []string{"w2"} },
		"focused on nothing":          func(m *checkpoint.Manifest) { m.Components.Layout.Focused = "w9" },
		"a null node":                 func(m *checkpoint.Manifest) { m.Components.Layout.Scratchpad = []*checkpoint.Node{nil} },
		"threads that do not add up":  func(m *checkpoint.Manifest) { m.Components.Zed.Threads.Count = 0 },
		"files inline and as a list":  func(m *checkpoint.Manifest) { m.Components.Conversations.Files = m.Components.Files.Files },
		"a NUL in a path":             func(m *checkpoint.Manifest) { file(m).Path = "$HOME/a\x00b" },
		"a root that is a prefix":     func(m *checkpoint.Manifest) { file(m).Path = "$HOME2/../$HOME/x/.." },
		"a root in the middle":        func(m *checkpoint.Manifest) { file(m).Path = "x/$HOME/y" },
		"a root alone":                func(m *checkpoint.Manifest) { file(m).Path = "$HOME/" },
		"a path with an empty name":   func(m *checkpoint.Manifest) { file(m).Path = "$HOME//x" },
		"a link to nowhere":           func(m *checkpoint.Manifest) { *file(m) = link("") },
		"a link with a NUL":           func(m *checkpoint.Manifest) { *file(m) = link("a\x00b") },
		"a link with two targets":     func(m *checkpoint.Manifest) { *file(m) = link("a"); file(m).LinkB64 = []byte("b") },
		"a link with content":         func(m *checkpoint.Manifest) { file(m).Kind, file(m).Link = checkpoint.KindSymlink, "x" },
		"a hole before the start":     func(m *checkpoint.Manifest) { file(m).Holes = [][2]int64{{-4096, 4096}} },
		"a hole of nothing":           func(m *checkpoint.Manifest) { file(m).Holes = [][2]int64{{0, 0}} },
		"a hole of less than nothing": func(m *checkpoint.Manifest) { file(m).Holes = [][2]int64{{4096, -4096}} },
		"a hole beyond the end":       func(m *checkpoint.Manifest) { file(m).Holes = [][2]int64{{4096, 311296}} },
		"a hole that overflows":       func(m *checkpoint.Manifest) { file(m).Holes = [][2]int64{{4096, math.MaxInt64}} },
		"holes in another order":      func(m *checkpoint.Manifest) { file(m).Holes = [][2]int64{{8192, 4096}, {0, 4096}} },
		"holes over each other":       func(m *checkpoint.Manifest) { file(m).Holes = [][2]int64{{0, 4096}, {4095, 4096}} },
		"a null node, no windows": func(m *checkpoint.Manifest) {
			m.Components.Windows, m.Components.Layout.Scratchpad = nil, []*checkpoint.Node{nil}
		},
		"a process twice, no layout": func(m *checkpoint.Manifest) {
			m.Components.Layout = nil
			m.Components.Windows.Processes = append(m.Components.Windows.Processes, m.Components.Windows.Processes[0])
		},
		"nesting beyond any desk": func(m *checkpoint.Manifest) { m.Components.Layout.Workspaces[0].Nodes[0].Nodes[0] = deep(100) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := full()
			spoil(m)
			if err := m.Validate(); err == nil {
				t.Error("Validate lets it pass")
			}
			if _, err := checkpoint.Encode(m); err == nil {
				t.Error("Encode writes it")
			}
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := checkpoint.Decode(b); err == nil {
				t.Error("Decode reads it")
			}
		})
	}
}

func link(target string) checkpoint.File {
	return checkpoint.File{Path: "$HOME/x", Kind: checkpoint.KindSymlink, State: checkpoint.OK, Link: target}
}

func deep(n int) *checkpoint.Node {
	leaf := &checkpoint.Node{ID: "w1"}
	for i := range n {
		leaf = &checkpoint.Node{ID: fmt.Sprintf("d%d", i), Layout: "splith", Nodes: []*checkpoint.Node{leaf}}
	}
	return leaf
}
