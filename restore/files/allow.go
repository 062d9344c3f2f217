package files

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
)

// denied are names, in lower case, of files that no checkpoint may bring: fresh
// credentials and settings are made at the start of a session, and old ones
// would replace them. A capture that obeys its rules stores none of them, so
// one that stands in a manifest is hostile.
var denied = []string{
	".credentials.json", "auth.json", "development_credentials", "settings.json", "keymap.json",
	".git-credentials", ".netrc", ".pgpass", "authorized_keys", "known_hosts",
	"cookies", "login data", "key4.db", "logins.json",
}

// deniedDirs are directories that hold nothing but such.
var deniedDirs = []string{".ssh", ".gnupg", ".aws", ".kube", "github-copilot"}

// databases are the extensions of files that SQLite keeps others beside.
var databases = []string{".db", ".db3", ".sqlite", ".sqlite3"}

// agents are the directories in $HOME of the agents whose conversations are
// captured. Helix keeps them in $WORKSPACE under these names and "-state".
var agents = []string{".claude", ".codex", ".qwen", ".gemini"}

// allow reports why a component may not write to a path below a root.
func allow(component, root, rel string) error {
	parts := strings.Split(strings.ToLower(rel), "/")
	base := parts[len(parts)-1]
	if slices.Contains(denied, base) {
		return fmt.Errorf("%s is a credential or a setting, which no checkpoint may replace", base)
	}
	for _, dir := range parts[:len(parts)-1] {
		if slices.Contains(deniedDirs, dir) {
			return fmt.Errorf("%s holds credentials, which no checkpoint may replace", dir)
		}
	}
	for _, suffix := range sideFiles {
		if main, ok := strings.CutSuffix(base, suffix); ok && slices.Contains(databases, path.Ext(main)) {
			return fmt.Errorf("%s is stored without its %s file, which would damage a live one", main, suffix)
		}
	}
	switch component {
	case checkpoint.NameZed:
		return allowZed(root, rel)
	case checkpoint.NameConversations:
		top, _, _ := strings.Cut(rel, "/")
		agent := strings.TrimSuffix(top, "-state")
		if !slices.Contains([]string{checkpoint.RootHome, checkpoint.RootWorkspace}, root) || !slices.Contains(agents, agent) {
			return errors.New("no agent keeps its conversations there")
		}
		return nil
	case checkpoint.NameFiles:
		return nil
	}
	return fmt.Errorf("component %q has no files", component)
}

// allowZed lets only the two databases and the prompts through. Of the others
// db/0-global is the machine's identity, which must never travel.
func allowZed(root, rel string) error {
	if root != checkpoint.RootZedData {
		return fmt.Errorf("zed keeps its state below %s", checkpoint.RootZedData)
	}
	at := "/" + rel
	places := zed.Places{Data: "/"}
	if at == places.ThreadsDB() {
		return nil
	}
	channel := strings.TrimPrefix(path.Base(path.Dir(rel)), "0-")
	if p, err := places.For(channel); err == nil && at == p.WorkspaceDB() {
		return nil
	}
	top, _, _ := strings.Cut(rel, "/")
	if (top == "prompts" || top == "prompt_overrides") && path.Base(rel) != "lock.mdb" {
		return nil
	}
	return errors.New("zed keeps nothing there that may travel")
}
