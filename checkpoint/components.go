package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// The components, in the order in which they are captured and shown.
const (
	NameZed           = "zed"
	NameConversations = "conversations"
	NameWindows       = "windows"
	NameLayout        = "layout"
	NameFiles         = "files"
)

// Names returns the names of the components, in order.
func Names() []string {
	return []string{NameZed, NameConversations, NameWindows, NameLayout, NameFiles}
}

// Components are the parts of a checkpoint. One that is nil is absent.
type Components struct {
	Zed           *Zed     `json:"zed,omitempty"`
	Conversations *Files   `json:"conversations,omitempty"`
	Windows       *Windows `json:"windows,omitempty"`
	Layout        *Layout  `json:"layout,omitempty"`
	Files         *Files   `json:"files,omitempty"`

	// Unsupported holds the version of every component that this program does
	// not know, by its version or its name. It is not restored, and said so; the
	// others are. What it refers to is not known.
	Unsupported map[string]int `json:"-"`
}

// Head is what every component says of itself.
type Head struct {
	V     int   `json:"v"`
	State State `json:"state"`
	// AsOf is when it was read; for a carried one, long before the checkpoint.
	AsOf *time.Time `json:"as_of,omitempty"`
	// From is the checkpoint that captured a carried component. It informs.
	From ID `json:"from,omitempty"`
	// Error says why it is not ok.
	Error string `json:"error,omitempty"`
}

// NewHead returns the head of a component captured at asOf.
func NewHead(s State, asOf time.Time) Head {
	h := Head{V: ComponentVersion, State: s}
	if s.Usable() {
		t := asOf.UTC().Truncate(time.Millisecond)
		h.AsOf = &t
	}
	return h
}

// Files is a component that is nothing but files. A long list of them is kept
// as content in FileList instead of Files.
type Files struct {
	Head
	FileSet
}

// FileSet is a set of files, written inline when it is short, else as a List
// whose entries are File documents keyed by path.
type FileSet struct {
	Files    []File `json:"files,omitempty"`
	FileList *List  `json:"file_list,omitempty"`
}

// MaxInlineFiles is how many files stand in the manifest itself.
const MaxInlineFiles = 64

// Zed is the editor's state: its databases, and what a person can recognise
// in them.
type Zed struct {
	Head
	// Channel is the release channel whose database was taken: dev, nightly,
	// preview or stable.
	Channel    string `json:"channel,omitempty"`
	ZedVersion string `json:"zed_version,omitempty"`
	// Pointer is kv_store.session_id: the session that Zed will restore.
	Pointer string `json:"pointer,omitempty"`
	// Migrations holds, per domain, the list of migrations applied.
	Migrations map[string]Migration `json:"migrations,omitempty"`
	Windows    []ZedWindow          `json:"windows,omitempty"`
	// Threads lists the agent's threads as Thread documents keyed by id.
	Threads *List `json:"threads,omitempty"`
	// Dangling lists ids of threads that db.sqlite names and threads.db, as
	// stored here, does not hold.
	Dangling []string `json:"dangling,omitempty"`
	FileSet
}

// Migration is the state of one migration domain of db.sqlite.
type Migration struct {
	Steps  int  `json:"steps"`
	SHA256 Hash `json:"sha256"`
}

// ZedWindow is one window of Zed: its root folders and open tabs.
type ZedWindow struct {
	Roots []string `json:"roots"`
	Tabs  []ZedTab `json:"tabs,omitempty"`
}

// ZedTab is one open tab. Path is "" for an untitled buffer; Active means that
// its pane shows it, Dirty that it holds unsaved text.
type ZedTab struct {
	Path   string `json:"path"`
	Active bool   `json:"active,omitempty"`
	Dirty  bool   `json:"dirty,omitempty"`
	// Kind is what Zed calls a tab that is no editor, as in Terminal.
	Kind string `json:"kind,omitempty"`
}

// Thread is one conversation with Zed's agent.
type Thread struct {
	ID      string    `json:"id"`
	Title   string    `json:"title"`
	Updated time.Time `json:"updated"`
	// Bytes is the size of its stored payload.
	Bytes int64 `json:"bytes"`
}

// Head returns the head of the named component; one that is not there is
// absent.
func (c *Components) Head(name string) Head {
	switch {
	case name == NameZed && c.Zed != nil:
		return c.Zed.Head
	case name == NameConversations && c.Conversations != nil:
		return c.Conversations.Head
	case name == NameWindows && c.Windows != nil:
		return c.Windows.Head
	case name == NameLayout && c.Layout != nil:
		return c.Layout.Head
	case name == NameFiles && c.Files != nil:
		return c.Files.Head
	}
	return Head{V: ComponentVersion, State: Absent}
}

// FileSet returns the files of the named component, nil when it has none.
func (c *Components) FileSet(name string) *FileSet {
	switch {
	case name == NameZed && c.Zed != nil:
		return &c.Zed.FileSet
	case name == NameConversations && c.Conversations != nil:
		return &c.Conversations.FileSet
	case name == NameFiles && c.Files != nil:
		return &c.Files.FileSet
	}
	return nil
}

// States returns the state of every component.
func (c *Components) States() map[string]State {
	s := make(map[string]State, len(Names()))
	for _, name := range Names() {
		s[name] = c.Head(name).State
	}
	return s
}

// UnmarshalJSON decodes the components it knows and sets those of an unknown
// version aside in Unsupported.
func (c *Components) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*c = Components{}
	into := map[string]any{
		NameZed: &c.Zed, NameConversations: &c.Conversations, NameWindows: &c.Windows, NameLayout: &c.Layout, NameFiles: &c.Files,
	}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		// Of what a newer program wrote nothing but the version is known.
		var head struct{ V int }
		if err := json.Unmarshal(raw[name], &head); err != nil && into[name] != nil {
			return fmt.Errorf("component %s: %w", name, err)
		}
		if head.V != ComponentVersion || into[name] == nil {
			if c.Unsupported == nil {
				c.Unsupported = map[string]int{}
			}
			c.Unsupported[name] = head.V
			continue
		}
		if err := json.Unmarshal(raw[name], into[name]); err != nil {
			return fmt.Errorf("component %s: %w", name, err)
		}
	}
	return nil
}

func (c *Components) validate() error {
	for _, name := range Names() {
		if s := c.Head(name).State; !s.Known() {
			return fmt.Errorf("component %s: unknown state %q", name, s)
		}
		if set := c.FileSet(name); set != nil {
			if err := set.validate(); err != nil {
				return fmt.Errorf("component %s: %w", name, err)
			}
		}
	}
	if c.Zed != nil && c.Zed.Threads != nil {
		if err := c.Zed.Threads.validate(); err != nil {
			return fmt.Errorf("component %s: threads: %w", NameZed, err)
		}
	}
	if err := validateDesk(c.Windows, c.Layout); err != nil {
		return fmt.Errorf("component %s: %w", NameLayout, err)
	}
	return nil
}

func (s *FileSet) validate() error {
	if s.FileList != nil {
		if len(s.Files) > 0 {
			return errors.New("files both inline and as a list")
		}
		return s.FileList.validate()
	}
	return ValidateFiles(s.Files)
}

// ValidateFiles reports the first thing that cannot be true of a set of files:
// a path that leaves its root, content that does not add up, a path twice, more
// bytes than MaxSize.
// FileSet's own are checked when a manifest is decoded; those read from a List
// must be passed here.
func ValidateFiles(files []File) error {
	seen := make(map[string]bool, len(files))
	size := int64(0)
	for _, f := range files {
		if err := f.Validate(); err != nil {
			return err
		}
		if f.State.Usable() {
			size += f.Size
		}
		if size > MaxSize {
			return fmt.Errorf("files of more than %d bytes together", int64(MaxSize))
		}
		if seen[f.Name()] {
			return fmt.Errorf("file %s stands twice", f.Name())
		}
		seen[f.Name()] = true
	}
	return nil
}

func (l *List) validate() error {
	if l.Count > MaxEntries || l.Size > MaxListSize {
		return fmt.Errorf("list of %d entries in %d bytes, at most %d in %d are allowed", l.Count, l.Size, MaxEntries, MaxListSize)
	}
	if l.Count < 0 || (l.Count == 0) != (l.Size == 0) {
		return fmt.Errorf("list of %d entries in %d bytes", l.Count, l.Size)
	}
	return l.Content.validate()
}
