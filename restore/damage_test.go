package restore_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

// twoCheckpoints returns a store with an older and a newer checkpoint.
func twoCheckpoints(t *testing.T, s session) *store {
	t.Helper()
	st := simple(t, s)
	main, _, _, err := database("older", 50)
	if err != nil {
		t.Fatal(err)
	}
	st.add(idOld, s.roots, checkpoint.Components{
		Zed:           zedOf(st.file(dbPath, checkpoint.KindSQLite, main)),
		Conversations: filesOf(st.file(convPath, checkpoint.KindJSONL, []byte("older\n"))),
	})
	return st
}

func TestDamagedComponentComesFromAnOlderCheckpoint(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := twoCheckpoints(t, s)
	st.damaged[st.manifests[idNew].Components.Zed.Files[0].SHA256] = true
	var warnings []string
	r := s.restorer(st)
	r.Emit = func(e restore.Event) { warnings = append(warnings, e.Warning) }

	report := run(t, r, restore.Request{Checkpoint: idNew, Older: []checkpoint.ID{idOld}})
	if report.Outcome != restore.Degraded || report.Class() != restore.InPart {
		t.Errorf("outcome %s", report.Outcome)
	}
	if z := component(t, report, "zed"); z.From != idOld || z.Result != restore.Partial {
		t.Errorf("zed: %+v", z)
	}
	if c := component(t, report, "conversations"); c.From != "" || c.Result != restore.Restored {
		t.Errorf("conversations: %+v", c)
	}
	if said, err := sqliteCLI(s.path(dbPath), "SELECT count(*), min(substr(v,1,5)) FROM t"); err != nil || said != "50|older" {
		t.Errorf("the database holds %q, %v", said, err)
	}
	if got := s.read(t, convPath); got != "{\"a\":1}\n" {
		t.Errorf("conversation %q", got)
	}
	if !strings.Contains(strings.Join(warnings, "\n"), string(idOld)) {
		t.Errorf("not said loudly: %q", warnings)
	}
}

func TestDamagedEverywhere(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := twoCheckpoints(t, s)
	for sum := range st.content {
		st.damaged[sum] = true
	}
	before := s.live(t)
	report, err := s.restorer(st).Run(t.Context(), restore.Request{Checkpoint: idNew, Older: []checkpoint.ID{idOld}})
	if !errors.Is(err, checkpoint.ErrDamaged) || report == nil || report.Outcome != restore.RolledBack {
		t.Errorf("%v %+v", err, report)
	}
	if d := difference(s.live(t), before); d != "" || len(s.stagingDirs(t)) > 0 {
		t.Errorf("something damaged was restored: %s", d)
	}
}

func TestDamagedManifest(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := twoCheckpoints(t, s)
	st.noLoad[idNew] = fmt.Errorf("%w: manifest %s", checkpoint.ErrDamaged, idNew)
	report := run(t, s.restorer(st), restore.Request{Checkpoint: idNew, Older: []checkpoint.ID{idOld}})
	if report.Outcome != restore.Degraded || s.read(t, convPath) != "older\n" {
		t.Errorf("%+v", report)
	}
	if _, err := s.restorer(st).Run(t.Context(), restore.Request{Checkpoint: idNew}); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("with no older one: %v", err)
	}
}

// The hash is right, but what was captured is no sound database.
func TestUnsoundDatabaseIsNotRestored(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := twoCheckpoints(t, s)
	main := slices.Clone(st.content[st.manifests[idNew].Components.Zed.Files[0].SHA256])
	copy(main[4096:], make([]byte, 2048))
	st.manifests[idNew].Components.Zed.Files[0] = st.file(dbPath, checkpoint.KindSQLite, main)
	report := run(t, s.restorer(st), restore.Request{Checkpoint: idNew, Older: []checkpoint.ID{idOld}})
	if z := component(t, report, "zed"); z.From != idOld {
		t.Errorf("zed: %+v", z)
	}
}

// Everything that a manifest may say, but must not reach.
func TestHostileManifests(t *testing.T) {
	t.Parallel()
	conversations, zed, files := checkpoint.NameConversations, checkpoint.NameZed, checkpoint.NameFiles
	for _, c := range []struct{ component, path string }{
		{files, "$HOME/../escape"},
		{files, "/etc/escape"},
		{files, "$HOME//escape"},
		{files, "$HOME/a/./escape"},
		{files, "$NOWHERE/escape"},
		{files, "$HOME/out/escape"},              // a link to a directory outside
		{files, "$WORKSPACE/tohome/escape"},      // a link from the workspace into home
		{files, "$HOME/loop/escape"},             // a link to itself
		{files, "$HOME/file/escape"},             // a file where a directory is needed
		{files, "$HOME/dir"},                     // a directory where a file is to be put
		{files, "$WORKSPACE/../ckpt/escape"},     // the repository, plainly
		{files, "$HOME/repository/escape"},       // and through a link
		{files, "$HOME/.ssh/authorized_keys"},    //
		{files, "$HOME/.claude/settings.json"},   //
		{files, "$HOME/.config/ZED/KeyMap.json"}, // in any case of letters
		{conversations, "$HOME/.claude/.credentials.json"},
		{conversations, "$HOME/.codex/auth.json"},
		{conversations, "$HOME/.bashrc"},
		{conversations, "$ZED_DATA/threads/threads.db"},
		{zed, "$HOME/.config/sway/config"},
		{zed, "$ZED_DATA/db/0-global/db.sqlite"},
		{zed, "$ZED_DATA/db/0-dev/db.sqlite-wal"},
		{zed, "$ZED_DATA/extensions/x.wasm"},
		{zed, "$ZED_DATA/development_credentials"},
		{files, "$WORKSPACE/app/data.db-journal"},
	} {
		t.Run(c.path, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			outside := t.TempDir()
			home, workspace := s.roots[checkpoint.RootHome], s.roots[checkpoint.RootWorkspace]
			for link, to := range map[string]string{
				home + "/out": outside, workspace + "/tohome": home, home + "/loop": home + "/loop", home + "/repository": s.dir,
			} {
				if err := os.Symlink(to, link); err != nil {
					t.Fatal(err)
				}
			}
			s.write(t, "$HOME/file", "a file")
			s.write(t, "$HOME/dir/x", "in a directory")
			before := s.live(t)
			st := newStore()
			set := filesOf(st.file(c.path, checkpoint.KindFile, []byte("hostile")), st.file(goodFile[c.component], checkpoint.KindFile, []byte("good")))
			var parts checkpoint.Components
			switch c.component {
			case files:
				parts.Files = set
			case conversations:
				parts.Conversations = set
			case zed:
				parts.Zed = &checkpoint.Zed{Head: set.Head, FileSet: set.FileSet}
			}
			st.add(idNew, s.roots, parts)

			report := run(t, s.restorer(st), restore.Request{Checkpoint: idNew})
			got := component(t, report, c.component)
			if got.Result != restore.Partial || got.Restored != 1 || got.Of != 2 || len(report.Items) == 0 || report.Items[0].Result != restore.Skipped {
				t.Errorf("report: %+v %+v", got, report.Items)
			}
			t.Log(report.Items[0].Reason)
			if s.read(t, goodFile[c.component]) != "good" {
				t.Error("the good file beside it did not come back")
			}
			now := s.live(t)
			for path := range now {
				if strings.Contains(path, "escape") {
					t.Errorf("%s was written", path)
				}
			}
			for path, was := range before {
				if now[path] != was {
					t.Errorf("%s was %q, is %q", path, was, now[path])
				}
			}
			if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
				t.Errorf("written outside: %v %v", left, err)
			}
			if _, err := os.Stat(s.path(c.path)); err == nil && strings.Contains(c.path, "sqlite") {
				t.Errorf("%s was written", c.path)
			}
		})
	}
}

var goodFile = map[string]string{
	checkpoint.NameFiles: "$WORKSPACE/good.txt", checkpoint.NameConversations: "$HOME/.qwen/good.jsonl", checkpoint.NameZed: "$ZED_DATA/prompts/good",
}

func TestFilesThatCannotStandBesideEachOther(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := newStore()
	main, _, _, err := database("x", 5)
	if err != nil {
		t.Fatal(err)
	}
	st.add(idNew, s.roots, checkpoint.Components{Files: filesOf(
		st.file("$WORKSPACE/a", checkpoint.KindFile, []byte("a")),
		st.file("$WORKSPACE/a/b", checkpoint.KindFile, []byte("a file below a file")),
		st.file("$WORKSPACE/d/e", checkpoint.KindFile, []byte("e")),
		st.file("$WORKSPACE/d", checkpoint.KindFile, []byte("a file where a directory is needed")),
		st.file("$ZED_DATA/same", checkpoint.KindFile, []byte("same")),
		st.file("$WORKSPACE/.zed-state/same", checkpoint.KindFile, []byte("the same place by another name")),
		st.file("$WORKSPACE/Case", checkpoint.KindFile, []byte("Case")),
		st.file("$WORKSPACE/case", checkpoint.KindFile, []byte("case")),
		st.file("$WORKSPACE/odd", checkpoint.KindFile, main),
		st.file("$WORKSPACE/odd-wal", checkpoint.KindFile, []byte("a WAL that is not its")),
	)})
	report := run(t, s.restorer(st), restore.Request{Checkpoint: idNew})
	var refused []string
	for _, i := range report.Items {
		if i.Result == restore.Skipped {
			refused = append(refused, i.Name)
			t.Log(i.Name, i.Reason)
		}
	}
	want := []string{"$WORKSPACE/a/b", "$WORKSPACE/d", "$WORKSPACE/.zed-state/same", "$WORKSPACE/odd-wal"}
	if !slices.Equal(refused, want) {
		t.Errorf("refused %q, want %q", refused, want)
	}
	// Where the file system tells them apart, names that differ in case are two.
	if s.read(t, "$WORKSPACE/Case") != "Case" || s.read(t, "$WORKSPACE/case") != "case" {
		t.Error("names that differ in case were mixed up")
	}
}

// A source that lies about what it gives is found out.
func TestContentIsCheckedAgain(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	for name, lie := range map[string][]byte{"other": []byte("buy MILK\n"), "longer": []byte("buy milk\nand more"), "shorter": []byte("buy")} {
		st := simple(t, s)
		st.content[st.manifests[idNew].Components.Files.Files[0].SHA256] = lie
		_, err := s.restorer(st).Run(t.Context(), restore.Request{Checkpoint: idNew, Only: []string{"files"}})
		if !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An older checkpoint that cannot stand in, and one that has gone, keep nothing
// else from coming back.
func TestAnOlderCheckpointThatCannotStandIn(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	st := twoCheckpoints(t, s)
	st.damaged[st.manifests[idNew].Components.Zed.Files[0].SHA256] = true
	old := st.manifests[idOld]
	old.Roots = map[string]string{checkpoint.RootWorkspace: "/elsewhere/w"}
	old.Components.Zed.Windows = []checkpoint.ZedWindow{{Roots: []string{checkpoint.RootWorkspace + "/app"}}}

	const gone = checkpoint.ID("20260101T000000.000Z-00000000")
	report := run(t, s.restorer(st), restore.Request{Checkpoint: gone, Older: []checkpoint.ID{idNew, idOld}})
	if z := component(t, report, "zed"); z.Result != restore.Failed {
		t.Errorf("zed: %+v", z)
	}
	if c := component(t, report, "conversations"); c.From != idNew || s.read(t, convPath) != "{\"a\":1}\n" {
		t.Errorf("conversations: %+v", c)
	}
	said := strings.Join(report.Warnings, "\n")
	for _, id := range []checkpoint.ID{gone, idOld} {
		if !strings.Contains(said, "checkpoint "+string(id)+" cannot be used") {
			t.Errorf("not said of %s: %s", id, said)
		}
	}
	if _, err := s.restorer(st).Run(t.Context(), restore.Request{Checkpoint: gone}); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("with no older one: %v", err)
	}
}
