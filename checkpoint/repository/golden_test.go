package repository_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/repository/archive"
)

// The golden repository was written by the first release that froze the format,
// and is read by every later one. It is never written again: what the format
// gains later goes into a directory of its own beside it.
var (
	update = flag.Bool("update", false, "write testdata/v1 where there is none")
	force  = flag.Bool("force", false, "with -update: write it where there is one; every reader in the world then has to agree")
)

var write sync.Once

const goldenDir = "testdata/v1"

// golden is expected.json: what the repository holds, as it was known before it
// was stored.
type golden struct {
	Checkpoints []goldenCheckpoint `json:"checkpoints"` // newest first
}

type goldenCheckpoint struct {
	ID             checkpoint.ID               `json:"id"`
	Pinned         bool                        `json:"pinned"`
	ManifestSHA256 checkpoint.Hash             `json:"manifest_sha256"`
	Components     map[string]checkpoint.State `json:"components"`
	Threads        []string                    `json:"threads"`
	Files          []goldenFile                `json:"files"`
}

type goldenFile struct {
	Component string             `json:"component"`
	Path      []byte             `json:"path"`
	Kind      checkpoint.Kind    `json:"kind"`
	State     checkpoint.State   `json:"state"`
	Mode      checkpoint.Mode    `json:"mode,omitempty"`
	MtimeNS   checkpoint.MtimeNS `json:"mtime_ns,omitempty"`
	Link      []byte             `json:"link,omitempty"`
	Holes     [][2]int64         `json:"holes,omitempty"`
	Size      int64              `json:"size"`
	// SHA256 is that of its bytes, also where the manifest does not say it.
	SHA256 checkpoint.Hash `json:"sha256"`
}

// openGolden copies the golden session and opens the copy.
func openGolden(t *testing.T) (*repository.Repository, golden) {
	t.Helper()
	if *update {
		write.Do(func() { writeGolden(t) })
	}
	b, err := os.ReadFile(filepath.Join(goldenDir, "expected.json"))
	must(t, err)
	var want golden
	must(t, json.Unmarshal(b, &want))
	dir := filepath.Join(t.TempDir(), "sessions", "ses_01")
	must(t, os.CopyFS(dir, os.DirFS(filepath.Join(goldenDir, "session"))))
	repo, err := repository.Open(dir)
	must(t, err)
	return repo, want
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// TestGoldenIsRead reads the golden repository, whole.
func TestGoldenIsRead(t *testing.T) {
	t.Parallel()
	repo, want := openGolden(t)
	holdsGolden(t, repo, want.Checkpoints)
	report, err := repo.Verify(t.Context(), nil, nil)
	must(t, err)
	if len(report.Damage) > 0 || report.Checkpoints != len(want.Checkpoints) {
		t.Errorf("verify: %+v", report)
	}
}

// holdsGolden compares what repo holds with what it must.
func holdsGolden(t *testing.T, repo *repository.Repository, want []goldenCheckpoint) {
	t.Helper()
	entries, damage, err := repo.List(t.Context())
	must(t, err)
	if len(damage) > 0 || len(entries) != len(want) {
		t.Fatalf("listed: %v, %v", entries, damage)
	}
	for i, w := range want {
		if e := entries[i]; e.ID != w.ID || e.ManifestSHA256 != w.ManifestSHA256 {
			t.Errorf("entry %d: %+v, want %+v", i, e, w)
		}
		got := describe(t, repo, w.ID)
		got.Pinned = w.Pinned // compared below, where it counts
		a, err := json.MarshalIndent(got, "", " ")
		must(t, err)
		b, err := json.MarshalIndent(w, "", " ")
		must(t, err)
		if !bytes.Equal(a, b) {
			t.Errorf("%s: read\n%s\nwant\n%s", w.ID, a, b)
		}
	}
}

// describe reads a checkpoint back.
func describe(t *testing.T, repo *repository.Repository, id checkpoint.ID) goldenCheckpoint {
	t.Helper()
	m, sum, err := repo.Load(t.Context(), id)
	must(t, err)
	c := goldenCheckpoint{ID: id, ManifestSHA256: sum, Components: m.Components.States()}
	if z := m.Components.Zed; z != nil && z.Threads != nil {
		must(t, repo.ReadList(t.Context(), *z.Threads, func(b json.RawMessage) error {
			var thread checkpoint.Thread
			err := json.Unmarshal(b, &thread)
			c.Threads = append(c.Threads, thread.ID)
			return err
		}))
	}
	for _, name := range checkpoint.Names() {
		must(t, repository.EachFile(t.Context(), repo, m.Components.FileSet(name), func(f *checkpoint.File) error {
			g := goldenFile{
				Component: name, Path: []byte(f.Name()), Kind: f.Kind, State: f.State, Mode: f.Mode, MtimeNS: f.MtimeNS,
				Link: []byte(f.Target()), Holes: f.Holes, Size: f.Size,
			}
			if f.State.Usable() && f.Kind != checkpoint.KindSymlink {
				sum := sha256.New()
				if err := repo.CopyTo(t.Context(), sum, f.Content); err != nil {
					return err
				}
				g.SHA256 = checkpoint.Hash(sum.Sum(nil))
			}
			c.Files = append(c.Files, g)
			return nil
		}))
	}
	return c
}

// TestGoldenPinsAndPacks: the pin is one, and either pack with a chunk that two
// hold may be lost.
func TestGoldenPinsAndPacks(t *testing.T) {
	t.Parallel()
	repo, want := openGolden(t)
	for _, w := range want.Checkpoints {
		if pinned, err := repo.Pinned(w.ID); err != nil || pinned != w.Pinned {
			t.Errorf("%s: pinned %v, %v", w.ID, pinned, err)
		}
	}
	// The older checkpoint's pack gone, the newer one is whole.
	packs, err := filepath.Glob(filepath.Join(repo.Dir(), "packs", "*.zst"))
	must(t, err)
	if len(packs) != 2 {
		t.Fatalf("%d packs", len(packs))
	}
	whole := 0
	for _, pack := range packs {
		kept, err := os.ReadFile(pack)
		must(t, err)
		must(t, os.Remove(pack))
		fresh, err := repository.Open(repo.Dir())
		must(t, err)
		report, err := fresh.Verify(t.Context(), []checkpoint.ID{want.Checkpoints[0].ID}, nil)
		must(t, err)
		if len(report.Damage) == 0 {
			whole++
		}
		must(t, os.WriteFile(pack, kept, 0o600))
	}
	if whole != 1 {
		t.Errorf("%d of 2 packs are needed by the newer checkpoint alone", 2-whole)
	}
}

// TestGoldenArchive takes the golden archive in and gives the same tar out; and
// from the golden repository too. Another version may compress it otherwise.
func TestGoldenArchive(t *testing.T) {
	t.Parallel()
	repo, want := openGolden(t)
	w := want.Checkpoints[len(want.Checkpoints)-1]
	stored, err := os.ReadFile(filepath.Join(goldenDir, string(w.ID)+".tar.zst"))
	must(t, err)
	empty, err := repository.Open(filepath.Join(t.TempDir(), "sessions", "ses_01"))
	must(t, err)
	_, err = archive.Import(t.Context(), empty, bytes.NewReader(stored), nil, archive.Options{Session: "ses_01"})
	must(t, err)
	holdsGolden(t, empty, []goldenCheckpoint{w})
	var exported [2]bytes.Buffer
	for i, r := range []*repository.Repository{repo, empty} {
		must(t, archive.Export(t.Context(), r, w.ID, &exported[i]))
		if !bytes.Equal(unzstd(t, exported[i].Bytes()), unzstd(t, stored)) {
			t.Errorf("copy %d exports another tar", i)
		}
	}
	if !bytes.Equal(exported[0].Bytes(), exported[1].Bytes()) {
		t.Error("two copies export other bytes")
	}
}

func unzstd(t *testing.T, b []byte) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "zstd", "-dc")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	must(t, err)
	return out
}

// TestGoldenByHand reads every file of the golden repository with another
// reader: the shell functions of FORMAT.md, zstd and jq.
func TestGoldenByHand(t *testing.T) {
	t.Parallel()
	repo, want := openGolden(t)
	doc, err := os.ReadFile("FORMAT.md")
	must(t, err)
	_, functions, _ := strings.Cut(string(doc), "\nu32() {")
	functions, _, found := strings.Cut("u32() {"+functions, "\nmkdir -p /tmp/")
	if !found {
		t.Fatal("FORMAT.md has no functions")
	}
	const unpack = `set -eu
for p in packs/*.zst; do
	[ "$(sha256sum <"$p" | cut -d' ' -f1).zst" = "${p#packs/}" ]
	unpack "$p" "$OUT"
done
`
	const read = `set -eu
zstd -dc "checkpoints/$ID.json.zst" | sha256sum | cut -d' ' -f1
names='[(.recipe.levels // 0 | tostring), (.recipe.sha256 // (.chunks // [] | join(" ")))]'
files="[.kind, .state, (.link // .link_b64 // \"\"), (.path_b64 // (.path | @base64))] + $names | join(\"|\")"
zstd -dc "checkpoints/$ID.json.zst" | jq -r ".components[].files[]? | $files" >"$OUT/files"
zstd -dc "checkpoints/$ID.json.zst" | jq -r ".components[].file_list? // empty | $names | join(\"|\")" >"$OUT/lists"
while IFS='|' read -r level ids; do
	expand "$OUT" "$level" $ids | jq -r "$files" >>"$OUT/files"
done <"$OUT/lists"
while IFS='|' read -r kind state link path level ids; do
	case $kind/$state in
	symlink/*) printf '%s' "$link" ;;
	*/failed) printf failed ;;
	*) { [ -z "$ids" ] || expand "$OUT" "$level" $ids; } | sha256sum | cut -d' ' -f1 | tr -d '\n' ;;
	esac
	printf ' %s\n' "$path"
done <"$OUT/files"
`
	chunks := t.TempDir()
	sh := func(script, id string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", functions+"\n"+script)
		cmd.Dir = repo.Dir()
		cmd.Env = append(os.Environ(), "ID="+id, "OUT="+chunks)
		out, err := cmd.Output()
		if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
			t.Fatalf("%v: %s", err, failed.Stderr)
		}
		must(t, err)
		return strings.TrimSpace(string(out))
	}
	sh(unpack, "")
	for _, w := range want.Checkpoints {
		got := strings.Split(sh(read, string(w.ID)), "\n")
		lines := []string{w.ManifestSHA256.String()}
		for _, f := range w.Files {
			lines = append(lines, handLine(f))
		}
		slices.Sort(got[1:])
		slices.Sort(lines[1:])
		if !slices.Equal(got, lines) {
			t.Errorf("%s by hand:\n%s\nwant\n%s", w.ID, strings.Join(got, "\n"), strings.Join(lines, "\n"))
		}
	}
}

// TestGoldenIsWhole: nothing is in the directory that no test reads, and nothing
// has grown in it.
func TestGoldenIsWhole(t *testing.T) {
	t.Parallel()
	openGolden(t)
	var names []string
	var size int64
	must(t, filepath.WalkDir(goldenDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		names, size = append(names, path), size+info.Size()
		return err
	}))
	// Two manifests, two packs, a pin, an archive, expected.json.
	if len(names) != 7 || size > 200<<10 {
		t.Errorf("%d bytes in %v", size, names)
	}
}

// handLine is what the script says of a file.
func handLine(f goldenFile) string {
	sum := f.SHA256.String()
	switch {
	case f.Kind == checkpoint.KindSymlink && utf8.Valid(f.Link):
		sum = string(f.Link)
	case f.Kind == checkpoint.KindSymlink:
		sum = base64.StdEncoding.EncodeToString(f.Link)
	case f.State == checkpoint.Failed:
		sum = "failed"
	}
	return sum + " " + base64.StdEncoding.EncodeToString(f.Path)
}
