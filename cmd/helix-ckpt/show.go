package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/agent"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
)

func (a *app) showCommand() *cobra.Command {
	var tree, files bool
	cmd := &cobra.Command{
		Use:   "show [SELECTOR]",
		Short: "Show what a checkpoint holds",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			site, err := a.site()
			if err != nil {
				return err
			}
			repo, err := openRepository(site)
			if err != nil {
				return err
			}
			m, entry, release, err := load(ctx, repo, first(args))
			defer release()
			if err != nil {
				return err
			}
			switch {
			case tree && files:
				return usage("--tree and --files exclude each other")
			case tree:
				return a.showTree(m)
			case files:
				return a.showFiles(ctx, repo, m)
			case a.json():
				return a.printJSON(m)
			}
			return a.showManifest(ctx, repo, m, entry)
		},
	}
	cmd.Flags().BoolVar(&tree, "tree", false, "the layout: workspaces, containers, windows")
	cmd.Flags().BoolVar(&files, "files", false, "every file")
	return cmd
}

// load reads the checkpoint that a selector means, and holds it until release is
// called, also after an error. When that one is damaged it says so, also of the
// latest, and returns the entry with its id: another in its place must be asked
// for.
func load(ctx context.Context, repo *repository.Repository, selector string) (m *checkpoint.Manifest, e checkpoint.Entry, release func(), err error) {
	entries, err := agent.Entries(ctx, repo)
	if err != nil {
		return nil, e, func() {}, err
	}
	if e, err = checkpoint.Select(entries, selector); err != nil {
		return nil, e, func() {}, err
	}
	if release, err = repo.Hold(e.ID); err != nil {
		return nil, e, func() {}, err
	}
	m, _, err = repo.Load(ctx, e.ID)
	return m, e, release, err
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (a *app) showManifest(ctx context.Context, repo *repository.Repository, m *checkpoint.Manifest, e checkpoint.Entry) error {
	rows := [][]string{
		{"checkpoint", string(m.ID)},
		{"session", m.Session},
		{"epoch, seq", fmt.Sprintf("%d, %d", m.Epoch, m.Seq)},
		{"created", moment(m.Created) + " (" + m.Reason + ")"},
		{"taken on", m.Instance.Hostname},
		{"size", fmt.Sprintf("%s in %d files, %s new", bytes(m.Stats.PlainBytes), m.Stats.Files, bytes(m.Stats.NewBytes))},
	}
	if e.Pinned {
		rows = append(rows, []string{"pinned", "yes"})
	}
	for _, name := range slices.Sorted(maps.Keys(m.Roots)) {
		rows = append(rows, []string{name, m.Roots[name]})
	}
	if err := table(a.stdout, rows...); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	rows = [][]string{{"COMPONENT", "STATE", "AS OF", "NOTE"}}
	for _, name := range checkpoint.Names() {
		h := m.Components.Head(name)
		if v, ok := m.Components.Unsupported[name]; ok {
			rows = append(rows, []string{name, "unknown", "-", fmt.Sprintf("version %d: a newer helix-ckpt reads it", v)})
			continue
		}
		asOf := "-"
		if h.AsOf != nil {
			asOf = moment(*h.AsOf)
		}
		rows = append(rows, []string{name, string(h.State), asOf, h.Error})
	}
	if err := table(a.stdout, rows...); err != nil {
		return err
	}
	if m.Components.Zed != nil {
		return showZed(ctx, a.stdout, repo, m.Components.Zed)
	}
	return nil
}

// shownThreads is how many threads a person wants to see at a glance.
const shownThreads = 20

func showZed(ctx context.Context, w io.Writer, repo *repository.Repository, z *checkpoint.Zed) error {
	fmt.Fprintf(w, "\nZed (%s)\n", z.Channel)
	for _, window := range z.Windows {
		fmt.Fprintf(w, "  window %s\n", printable(strings.Join(window.Roots, " ")))
		for _, tab := range window.Tabs {
			name := tab.Path
			if name == "" {
				name = "(untitled)"
			}
			if tab.Kind != "" {
				name = strings.TrimSpace(tab.Kind + " " + tab.Path)
			}
			if tab.Active {
				name += "  [active]"
			}
			if tab.Dirty {
				name += "  [unsaved]"
			}
			fmt.Fprintf(w, "    %s\n", printable(name))
		}
	}
	if z.Threads == nil {
		return nil
	}
	fmt.Fprintf(w, "  %d threads\n", z.Threads.Count)
	rows, left := [][]string{}, shownThreads
	err := repo.ReadList(ctx, *z.Threads, func(entry json.RawMessage) error {
		var t checkpoint.Thread
		if err := json.Unmarshal(entry, &t); err != nil {
			return fmt.Errorf("list of threads: %w", err)
		}
		if left--; left >= 0 {
			rows = append(rows, []string{"    " + t.ID, moment(t.Updated), bytes(t.Bytes), t.Title})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return table(w, rows...)
}

func (a *app) showFiles(ctx context.Context, repo *repository.Repository, m *checkpoint.Manifest) error {
	all := map[string][]checkpoint.File{}
	rows := [][]string{{"COMPONENT", "PATH", "KIND", "STATE", "SIZE", "MODIFIED", "SHA256"}}
	for _, name := range checkpoint.Names() {
		set := m.Components.FileSet(name)
		if set == nil {
			continue
		}
		files, err := repo.Files(ctx, set)
		if err != nil {
			return err
		}
		all[name] = files
		for _, f := range files {
			sum := "-"
			if !f.SHA256.IsZero() {
				sum = f.SHA256.String()[:12]
			}
			rows = append(rows, []string{name, f.Name(), string(f.Kind), string(f.State), bytes(f.Size), moment(f.MtimeNS.Time()), sum})
		}
	}
	if a.json() {
		return a.printJSON(all)
	}
	return table(a.stdout, rows...)
}

func (a *app) showTree(m *checkpoint.Manifest) error {
	l, w := m.Components.Layout, m.Components.Windows
	if l == nil || w == nil {
		return fmt.Errorf("%w: checkpoint %s holds no layout", checkpoint.ErrNothing, m.ID)
	}
	if a.json() {
		return a.printJSON(l)
	}
	windows := map[string]checkpoint.Window{}
	for _, item := range w.Items {
		windows[item.Leaf] = item
	}
	t := treePrinter{w: a.stdout, windows: windows, focused: l.Focused}
	for _, o := range l.Outputs {
		fmt.Fprintf(a.stdout, "output %s %dx%d\n", printable(o.Name), o.Rect.Width, o.Rect.Height)
		for _, ws := range l.Workspaces {
			if ws.Output != o.Name {
				continue
			}
			shown := ""
			if ws.ID == o.CurrentWorkspace {
				shown = " (shown)"
			}
			fmt.Fprintf(a.stdout, "  workspace %s %s%s\n", printable(ws.Name), ws.Layout, shown)
			t.nodes(ws.Nodes, 2, "")
			t.nodes(ws.Floating, 2, "floating ")
		}
	}
	if len(l.Scratchpad) > 0 {
		fmt.Fprintln(a.stdout, "scratchpad")
		t.nodes(l.Scratchpad, 1, "")
	}
	return nil
}

type treePrinter struct {
	w       io.Writer
	windows map[string]checkpoint.Window
	focused string
}

func (t treePrinter) nodes(nodes []*checkpoint.Node, depth int, prefix string) {
	for _, n := range nodes {
		name := n.Layout
		if n.Leaf() {
			w := t.windows[n.ID]
			name = w.AppID
			if name == "" {
				name = w.Class
			}
			name += fmt.Sprintf(" %q", w.Title)
		}
		marker := ""
		if n.ID == t.focused {
			marker = " (focused)"
		}
		fmt.Fprintf(t.w, "%s%s%s %dx%d%s\n", strings.Repeat("  ", depth), prefix, printable(name), n.Rect.Width, n.Rect.Height, marker)
		t.nodes(n.Nodes, depth+1, "")
	}
}
