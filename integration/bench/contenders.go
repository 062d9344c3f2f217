package main

import (
	"context"
	"os/exec"
	"strings"
)

// operation is one thing that everybody does, in this order in every round.
type operation string

const (
	first     operation = "first"                  // save a state into an empty place
	unchanged operation = "unchanged"              // save it again
	inAgent   operation = "unchanged in the agent" // ours: the same, asked of a running agent
	change    operation = "change"                 // save it after the small change
	restore   operation = "restore"                // bring that into an empty home
	verify    operation = "verify"                 // read back all that is kept
)

func operations() []operation {
	return []operation{first, unchanged, inAgent, change, restore, verify}
}

// contender is one way to keep a state. Its scripts are run by bash, in $HOME,
// which is the state, with
//
//	$STORE  where it keeps things; empty in each round
//	$SAVE   the operation, or for restore and verify that of the newest save
//	$TO     for restore: an empty directory that becomes the home
//	$HELIX  our program
//
// A save or a restore that returns is on the disk: those that do not see to
// it themselves end with a sync. Ours, restic's and borg's saves do it
// themselves, and so does our restore.
type contender struct {
	name  string
	needs []string // programs
	init  string   // not timed: for those that make a repository by a command of its own

	save, restore, verify string // verify may be "": it has no such thing

	databases bool // keeps these only
	ours      bool
	note      string
}

// Names that the verdicts refer to.
const (
	helix    = "helix-ckpt"
	fastest  = "helix-ckpt, fastest"
	tarThree = "tar | zstd -3 -T1"
	rsync    = "rsync -a"
	restic   = "restic"
)

func contenders() []contender {
	ours := func(name, flags string) contender {
		return contender{
			name: name, ours: true,
			save:    `WORKSPACE_DIR=$STORE exec "$HELIX" -q checkpoint --timeout 10m` + flags,
			restore: `WORKSPACE_DIR=$STORE HOME=$TO exec "$HELIX" -q restore --phase files`,
			verify:  `WORKSPACE_DIR=$STORE exec "$HELIX" -q verify --all`,
		}
	}
	tar := func(name, flags string) contender {
		return contender{
			name: name, needs: []string{"tar", "zstd"},
			save:    `tar -cf - . | zstd -q ` + flags + ` -o "$STORE/$SAVE.tar.zst"; sync "$STORE/$SAVE.tar.zst" "$STORE"`,
			restore: `zstd -dcq "$STORE/$SAVE.tar.zst" | tar -xf - -C "$TO"; sync -f "$TO"`,
			verify:  `zstd -tq "$STORE"/*.tar.zst`,
			note:    "a whole archive for every save",
		}
	}
	return []contender{
		ours(helix, ""),
		ours(fastest, " --compression fastest"),
		tar(tarThree, "-3 -T1"),
		tar("tar | zstd -1 -T2", "-1 -T2"),
		{
			name: rsync, needs: []string{"rsync"},
			save:    `rsync -a ./ "$STORE/"; sync -f "$STORE"`,
			restore: `rsync -a "$STORE/" "$TO/"; sync -f "$TO"`,
			note:    "keeps the newest state only, and no checksums",
		},
		{
			name: restic, needs: []string{"restic"},
			init:    `restic -q init`,
			save:    `exec restic -q backup .`,
			restore: `restic -q restore latest --target "$TO"; sync -f "$TO"`,
			verify:  `exec restic -q check --read-data`,
			note:    "encrypts",
		},
		{
			name: "borg", needs: []string{"borg"},
			init:    `borg init -e none "$STORE/borg"`,
			save:    `exec borg create "$STORE/borg::$SAVE" .`,
			restore: `cd "$TO"; borg extract "$STORE/borg::$SAVE"; sync -f .`,
			verify:  `exec borg check --verify-data "$STORE/borg"`,
		},
		{
			name: "casync", needs: []string{"casync"},
			save:    `casync make --store="$STORE/castr" "$STORE/$SAVE.caidx" . >/dev/null; sync -f "$STORE"`,
			restore: `casync extract --store="$STORE/castr" "$STORE/$SAVE.caidx" "$TO"; sync -f "$TO"`,
			note:    "has no command that verifies",
		},
		{
			name: "sqlite3 .backup", needs: []string{"sqlite3"}, databases: true,
			save:    databases(`sqlite3 "$db" ".backup '$STORE/$SAVE-$name'"`) + `sync -f "$STORE"`,
			restore: databases(`mkdir -p "$TO/$(dirname $db)"; sqlite3 "$STORE/$SAVE-$name" ".backup '$TO/$db'"`) + `sync -f "$TO"`,
			verify:  databases(`[ "$(sqlite3 -readonly "$STORE/$SAVE-$name" 'PRAGMA integrity_check')" = ok ]`),
			note:    "the two databases only",
		},
	}
}

// databases runs a script for both.
func databases(script string) string {
	return `for db in ` + zedData + `/db/0-dev/db.sqlite ` + zedData + `/threads/threads.db; do name=$(basename $db); ` + script + `; done; `
}

// script is what an operation runs, "" when there is no such thing.
func (c contender) script(op operation) string {
	switch op {
	case first, unchanged, change:
		return c.save
	case restore:
		return c.restore
	case verify:
		return c.verify
	default:
		return ""
	}
}

// lacks says why a contender cannot take part here, "" when it can.
func (c contender) lacks(ctx context.Context, binary string) string {
	for _, program := range c.needs {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
	}
	if c.name == fastest {
		if out, err := exec.CommandContext(ctx, binary, "checkpoint", "--help").Output(); err != nil || !strings.Contains(string(out), "--compression") {
			return "this helix-ckpt has no --compression"
		}
	}
	return ""
}
