package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore/files"
)

// Action is what a plan does with something.
type Action string

// The actions.
const (
	ActionRestore Action = "restore" // put it there; what is there is moved aside
	ActionKeep    Action = "keep"    // what is there stays
	ActionSkip    Action = "skip"    // it is in the checkpoint and is left out
	ActionLaunch  Action = "launch"  // start a program for it
	ActionMatch   Action = "match"   // a live window is taken for it
)

// Plan is what a restore would do: what --dry-run shows.
type Plan struct {
	Checkpoint checkpoint.ID `json:"checkpoint"`
	// From is the checkpoint that was read, where Checkpoint is damaged.
	From checkpoint.ID `json:"from,omitempty"`
	// Latest is the latest checkpoint, where that is another one.
	Latest     checkpoint.ID   `json:"latest,omitempty"`
	Components []ComponentPlan `json:"components"`
	Files      []FilePlan      `json:"files,omitempty"`
	Windows    []WindowPlan    `json:"windows,omitempty"`
	Warnings   []string        `json:"warnings,omitempty"`
	// Refused is why the restore would not begin; empty when it would.
	Refused string `json:"refused,omitempty"`

	err        error
	targets    map[string][]files.Target
	unstored   map[string][]checkpoint.File
	listDamage map[string]error
}

// Err returns why the restore would not begin, as the error that Run would
// return.
func (p *Plan) Err() error { return p.err }

// Degraded reports whether it is known already that not everything would come from
// the checkpoint asked for. That content is damaged only a restore finds out.
func (p *Plan) Degraded() bool { return p.From != "" || len(p.listDamage) > 0 }

// ComponentPlan is what would happen to a component.
type ComponentPlan struct {
	Component string `json:"component"`
	Action    Action `json:"action"`
	Reason    string `json:"reason,omitempty"`
}

// FilePlan is what would happen to a file.
type FilePlan struct {
	Component string `json:"component"`
	// Name is the logical path, Path the absolute one.
	Name   string `json:"name"`
	Path   string `json:"path,omitempty"`
	Action Action `json:"action"`
	Size   int64  `json:"size"`
	Reason string `json:"reason,omitempty"`
}

// WindowPlan is what would happen to a window.
type WindowPlan struct {
	Leaf   string `json:"leaf"`
	App    string `json:"app,omitempty"`
	Title  string `json:"title,omitempty"`
	Action Action `json:"action"`
	// Reason is the allow-list entry, or what the match is based on.
	Reason string `json:"reason,omitempty"`
}

// Facts are what a plan is made from.
type Facts struct {
	Manifest *checkpoint.Manifest
	// Selected are the components asked for, in order.
	Selected []string
	// Targets holds the places of each component's usable files.
	Targets map[string][]files.Target
	// Unstored holds each component's files that were never captured.
	Unstored map[string][]checkpoint.File
	// ListDamage is set for a component whose list of files is damaged. An
	// older checkpoint may have it.
	ListDamage map[string]error
	// Moved holds the roots that are elsewhere now.
	Moved map[string]Move
	// ZedRunning is why Zed's databases cannot be replaced; nil when they can.
	ZedRunning error
}

// Move is a root that has moved. Now is "" when there is none.
type Move struct{ Then, Now string }

// NewPlan plans. It is a function of facts and does no I/O.
func NewPlan(f Facts) *Plan {
	p := &Plan{Checkpoint: f.Manifest.ID, targets: f.Targets, unstored: f.Unstored, listDamage: f.ListDamage}
	for _, name := range f.Selected {
		c, usable := planComponent(f.Manifest, name)
		if c.Action != "" {
			p.Components = append(p.Components, c)
		}
		if usable {
			p.addFiles(f, name)
		}
	}
	if p.has(checkpoint.NameZed) {
		p.refuse(f.ZedRunning)
		p.refuse(movedZed(f.Manifest.Components.Zed, f.Moved))
	}
	if p.has(checkpoint.NameConversations) {
		p.refuse(movedAgents(f.Targets[checkpoint.NameConversations], f.Moved))
	}
	if len(p.Components) == 0 {
		p.refuse(fmt.Errorf("%w to restore: checkpoint %s has none of %s", checkpoint.ErrNothing, f.Manifest.ID, strings.Join(f.Selected, ", ")))
	}
	return p
}

// planComponent says what is to be done with a component; the action of one
// that the checkpoint does not have is empty.
func planComponent(m *checkpoint.Manifest, name string) (c ComponentPlan, usable bool) {
	c.Component = name
	if v, ok := m.Components.Unsupported[name]; ok {
		c.Action, c.Reason = ActionSkip, fmt.Sprintf("version %d is not known to this program; use a newer helix-ckpt", v)
		return c, false
	}
	head := m.Components.Head(name)
	switch {
	case head.State == checkpoint.Absent:
		return c, false
	case !head.State.Usable():
		c.Action, c.Reason = ActionSkip, "it was not captured: "+head.Error
		return c, false
	case name == checkpoint.NameLayout && !m.Components.Head(checkpoint.NameWindows).State.Usable():
		c.Action, c.Reason = ActionSkip, "a layout without its windows"
		return c, false
	case head.State == checkpoint.Carried && head.AsOf != nil:
		c.Reason = "as of " + head.AsOf.Format("2006-01-02 15:04:05Z")
	}
	c.Action = ActionRestore
	return c, true
}

func (p *Plan) addFiles(f Facts, component string) {
	if err := f.ListDamage[component]; err != nil {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s: %v; an older checkpoint may have it", component, err))
	}
	for _, t := range f.Targets[component] {
		plan := FilePlan{Component: component, Name: t.File.Name(), Path: t.Path, Action: ActionRestore, Size: t.File.Size}
		if t.Refused != nil {
			plan.Action, plan.Path, plan.Reason = ActionSkip, "", t.Refused.Error()
		} else {
			plan.Reason = t.Note()
		}
		p.Files = append(p.Files, plan)
	}
	for _, file := range f.Unstored[component] {
		p.Files = append(p.Files, FilePlan{Component: component, Name: file.Name(), Action: ActionSkip, Reason: "it was not captured: " + file.Error})
	}
}

// component returns what is to be done with a component; nothing when the
// checkpoint does not have it.
func (p *Plan) component(name string) ComponentPlan {
	for _, c := range p.Components {
		if c.Component == name {
			return c
		}
	}
	return ComponentPlan{Component: name}
}

// has reports whether a component is to be restored.
func (p *Plan) has(name string) bool { return p.component(name).Action == ActionRestore }

// refuse notes the first reason why the restore cannot begin.
func (p *Plan) refuse(err error) {
	if err != nil && p.err == nil {
		p.err, p.Refused = err, err.Error()
	}
}

// movedZed reports the first path in Zed's windows that lies below a root that
// has moved. Its databases hold absolute paths, so it would find nothing there.
func movedZed(z *checkpoint.Zed, moved map[string]Move) error {
	for _, w := range z.Windows {
		paths := slices.Clone(w.Roots)
		for _, tab := range w.Tabs {
			paths = append(paths, tab.Path)
		}
		for _, path := range paths {
			root, _, _ := strings.Cut(path, "/")
			if m, ok := moved[root]; ok {
				return mapNeeded("zed's windows", checkpoint.Absolute(map[string]string{root: m.Then}, path), m)
			}
		}
	}
	return nil
}

// movedAgents reports the first conversation that is filed under a directory
// which has moved: claude and qwen name a project's directory by its path, with
// everything but letters and digits turned to '-'. They would not find it.
func movedAgents(targets []files.Target, moved map[string]Move) error {
	for _, name := range slices.Sorted(maps.Keys(moved)) {
		m := moved[name]
		coded := strings.Map(dashed, m.Then)
		for _, t := range targets {
			_, rest, ok := strings.Cut(t.File.Name(), "/projects/")
			project, _, _ := strings.Cut(rest, "/")
			if ok && (project == coded || strings.HasPrefix(project, coded+"-")) {
				return mapNeeded("conversation "+t.File.Name(), m.Then, m)
			}
		}
	}
	return nil
}

func dashed(r rune) rune {
	if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return '-'
}

func mapNeeded(what, path string, m Move) error {
	if m.Now == "" {
		return fmt.Errorf("%w: %s name %s, and this session has nothing in the place of %s; mount it there, or leave the component out with --only", ErrMapNeeded, what, path, m.Then)
	}
	return fmt.Errorf("%w: %s name %s, and %s is %s now: mount it at the same place, or leave the component out with --only; rewriting the paths (--map %s=%s) is not built yet",
		ErrMapNeeded, what, path, m.Then, m.Now, m.Then, m.Now)
}

// Plan says what a restore would do, and changes nothing. The plan of one that
// would not begin says so (Plan.Refused); an error means that there is no
// plan.
func (r *Restorer) Plan(ctx context.Context, q Request) (*Plan, error) {
	selected, err := q.selected()
	if err != nil {
		return nil, err
	}
	p, m, err := r.planBest(ctx, q, selected)
	if err != nil {
		return nil, err
	}
	return p, r.planDesk(ctx, p, m, q)
}

// planBest plans, but for the windows, from the newest manifest that can be
// read, which it returns.
func (r *Restorer) planBest(ctx context.Context, q Request, selected []string) (*Plan, *checkpoint.Manifest, error) {
	var damage []error
	for _, id := range append([]checkpoint.ID{q.Checkpoint}, q.Older...) {
		m, release, err := r.load(ctx, id)
		if errors.Is(err, checkpoint.ErrDamaged) || errors.Is(err, checkpoint.ErrNotFound) {
			damage = append(damage, err)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		p, err := r.plan(ctx, m, selected)
		release()
		if err != nil {
			return nil, nil, err
		}
		for _, d := range damage {
			p.Warnings = append(p.Warnings, d.Error())
		}
		p.Checkpoint = q.Checkpoint
		if id != q.Checkpoint {
			p.From = id
		}
		if q.Latest != q.Checkpoint {
			p.Latest = q.Latest
		}
		return p, m, nil
	}
	return nil, nil, fmt.Errorf("no checkpoint can be read: %w", errors.Join(damage...))
}

// load reads the manifest of a checkpoint, which is held until release is called.
func (r *Restorer) load(ctx context.Context, id checkpoint.ID) (m *checkpoint.Manifest, release func(), err error) {
	if release, err = r.Source.Hold(id); err != nil {
		return nil, nil, err
	}
	if m, _, err = r.Source.Load(ctx, id); err != nil {
		release()
		return nil, nil, err
	}
	return m, release, nil
}

// plan gathers the facts about one checkpoint.
func (r *Restorer) plan(ctx context.Context, m *checkpoint.Manifest, selected []string) (*Plan, error) {
	f := Facts{
		Manifest: m, Selected: selected, Targets: map[string][]files.Target{}, Unstored: map[string][]checkpoint.File{},
		ListDamage: map[string]error{}, Moved: moved(m.Roots, r.Roots),
	}
	places := files.NewPlaces(r.Roots, r.KeepOut...)
	for _, name := range selected {
		if _, usable := planComponent(m, name); !usable || phases[name] != ScopeFiles {
			continue
		}
		list, err := r.Source.Files(ctx, m.Components.FileSet(name))
		if errors.Is(err, checkpoint.ErrDamaged) {
			f.ListDamage[name] = err
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list files of %s in checkpoint %s: %w", name, m.ID, err)
		}
		for _, file := range list {
			if !file.State.Usable() {
				f.Unstored[name] = append(f.Unstored[name], file)
				continue
			}
			f.Targets[name] = append(f.Targets[name], places.Find(name, file))
		}
		if name == checkpoint.NameZed {
			f.ZedRunning = r.zedClosed(ctx)
		}
	}
	return NewPlan(f), nil
}

// planDesk adds what would happen to the windows.
func (r *Restorer) planDesk(ctx context.Context, p *Plan, m *checkpoint.Manifest, q Request) error {
	if !p.has(checkpoint.NameWindows) {
		return nil
	}
	if r.Desk == nil {
		p.Warnings = append(p.Warnings, "windows: "+checkpoint.ErrNoCompositor.Error())
		return nil
	}
	windows, err := r.Desk.Plan(ctx, r.desktop(m, q.wait()))
	if errors.Is(err, checkpoint.ErrNoCompositor) {
		p.Warnings = append(p.Warnings, "windows: "+err.Error())
		return nil
	}
	p.Windows = windows
	return err
}

func (r *Restorer) desktop(m *checkpoint.Manifest, wait time.Duration) Desktop {
	return Desktop{Checkpoint: m.ID, Windows: m.Components.Windows, Layout: m.Components.Layout, Roots: r.Roots, Wait: wait}
}

// moved returns the roots that are elsewhere now. One directory under two
// mounts has not moved.
func moved(then, now map[string]string) map[string]Move {
	gone := map[string]Move{}
	for name, dir := range then {
		if now[name] == dir || sameDir(dir, now[name]) {
			continue
		}
		gone[name] = Move{Then: dir, Now: now[name]}
	}
	return gone
}

func sameDir(a, b string) bool {
	ia, erra := os.Stat(a)
	ib, errb := os.Stat(b)
	return erra == nil && errb == nil && os.SameFile(ia, ib)
}
