package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// stageEnv makes this test binary a process that stages files, says "marked",
// puts them in place and says "done", for strace to watch.
const stageEnv = "FILES_TEST_STAGE"

type stageSpec struct {
	Anchor string
	Files  int
}

// contents is a Source that makes content up: as many bytes as its size.
type contents struct{}

func (contents) CopyTo(_ context.Context, w io.Writer, c checkpoint.Content) error {
	_, err := w.Write(made(c.Size))
	return err
}

func made(size int64) []byte {
	return []byte(strings.Repeat("0123456789abcdef", int(size)/16+1)[:size])
}

func stageChild(spec string) error {
	var s stageSpec
	if err := json.Unmarshal([]byte(spec), &s); err != nil {
		return err
	}
	var targets []Target
	for i := range s.Files {
		b := made(int64(100 * i))
		targets = append(targets, Target{
			Component: checkpoint.NameFiles, Anchor: s.Anchor, Path: filepath.Join(s.Anchor, fmt.Sprintf("d%d/f%d", i%3, i)),
			File: checkpoint.File{
				Path: fmt.Sprintf("$HOME/f%d", i), Mode: 0o644, MtimeNS: 1763892900123456789,
				Content: checkpoint.Content{Size: int64(len(b)), SHA256: checkpoint.Sum(b)},
			},
		})
	}
	st := NewStager("x", contents{}, StagerOptions{})
	if _, err := st.Stage(context.Background(), targets); err != nil {
		return errors.Join(err, st.Discard())
	}
	set, err := st.Seal()
	if err != nil {
		return errors.Join(err, set.Discard(nil))
	}
	fmt.Println("marked")
	if _, _, err := set.Apply(nil); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

// watch has strace run the child.
func watch(t *testing.T, s stageSpec, inject ...string) (trace, stderr string, err error) {
	t.Helper()
	spec, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	args := []string{"-f", "-y", "-o", log, "-e", "trace=openat,write,fchmod,utimensat,fsync,syncfs,renameat,renameat2,mkdirat,fstatfs"}
	cmd := exec.CommandContext(t.Context(), "strace", slices.Concat(args, inject, os.Args[:1])...)
	cmd.Env = append(os.Environ(), stageEnv+"="+string(spec))
	var out strings.Builder
	cmd.Stderr = &out
	err = cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("strace is needed: apt install strace")
	}
	b, readErr := os.ReadFile(log)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return string(b), out.String(), err
}

var (
	unfinished = regexp.MustCompile(`^(\d+)\s+(.*) <unfinished \.\.\.>$`)
	resumed    = regexp.MustCompile(`^(\d+)\s+<\.\.\. \w+ resumed>(.*)$`)
	calls      = regexp.MustCompile(`^\d+\s+(\w+)\((.*)\)\s+= (-?\d+)`)
	onFile     = regexp.MustCompile(`^\d+<([^>]*)>`)
	inDir      = regexp.MustCompile(`^\d+<([^>]*)>, "([^"]*)"`)
	moves      = regexp.MustCompile(`^\d+<([^>]*)>, "([^"]*)", \d+<([^>]*)>, "([^"]*)"`)
)

// durable reads a trace and reports what is not as it must be: all that was
// staged is durable when the mark is set, nothing is put in place before, and
// where it was put is durable at the end. Calls count when they return.
func durable(trace, anchor string) error {
	staging := filepath.Join(anchor, stagePrefix+"x")
	files := filepath.Join(staging, "new")
	dirty := map[string]bool{} // files and directories that a power cut may take
	begun := map[string]string{}
	opened, marked, done := false, false, false
	for line := range strings.Lines(trace) {
		line = strings.TrimSuffix(line, "\n")
		if m := unfinished.FindStringSubmatch(line); m != nil {
			begun[m[1]] = m[1] + " " + m[2]
			continue
		}
		if m := resumed.FindStringSubmatch(line); m != nil {
			line = begun[m[1]] + m[2]
		}
		m := calls.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(m[3], "-") {
			continue
		}
		name, args := m[1], m[2]
		switch on, in, mv := onFile.FindStringSubmatch(args), inDir.FindStringSubmatch(args), moves.FindStringSubmatch(args); {
		case name == "openat" && strings.Contains(args, "O_CREAT") && in != nil && in[1] == files:
			if !opened {
				return errors.New("the directory was opened after a file was written: its sync would not tell of an error")
			}
			dirty[filepath.Join(in[1], in[2])], dirty[in[1]] = true, true
		case name == "openat" && strings.Contains(args, `"new"`):
			opened = true
		case (name == "write" || name == "fchmod") && on != nil && strings.HasPrefix(on[1], files+"/"):
			dirty[on[1]] = true
		case name == "utimensat" && in != nil:
			dirty[filepath.Join(in[1], in[2])] = true
		case name == "fsync":
			delete(dirty, on[1])
		case name == "syncfs":
			for path := range dirty {
				if filepath.Dir(path) == files { // the directories are synced apart
					delete(dirty, path)
				}
			}
		case mv != nil && filepath.Dir(mv[1]) == staging && mv[1] == files:
			if !marked {
				return fmt.Errorf("%s was put in place before the mark", mv[4])
			}
			dirty[mv[1]], dirty[mv[3]] = true, true
		case name == "write" && strings.Contains(args, `"marked\n"`), name == "write" && strings.Contains(args, `"done\n"`):
			for path := range dirty {
				return fmt.Errorf("%s may be lost when the program says %s", path, args)
			}
			done, marked = marked, true
		}
	}
	if !done {
		return errors.New("it did not come to its end")
	}
	return nil
}

// A few files are synced each, many by one sync of their file system; each
// where such a sync does not tell of errors.
func TestStagedFilesAreDurableBeforeTheMark(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		files   int
		inject  []string
		fsyncs  int // of staged files
		syncfs  int
		without string // a call whose absence must be noticed
	}{
		{"few", 4, nil, 4, 0, `.*fsync\(\d+<.*/new/2>.*\n`},
		{"many", fewFiles + 8, nil, 0, 1, `.*syncfs\(.*\n`},
		{"stacked", fewFiles + 8, []string{"-e", "inject=fstatfs:error=ENOSYS"}, fewFiles + 8, 0, `.*fsync\(\d+<.*/new/2>.*\n`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			anchor := t.TempDir()
			trace, stderr, err := watch(t, stageSpec{anchor, c.files}, c.inject...)
			if err != nil {
				t.Fatalf("%v: %s", err, stderr)
			}
			if err := durable(trace, anchor); err != nil {
				t.Errorf("%v in\n%s", err, trace)
			}
			fsyncs := len(regexp.MustCompile(`fsync\(\d+<.*/new/\d+>`).FindAllString(trace, -1))
			syncfs := len(regexp.MustCompile(`syncfs\(\d+<.*/new>`).FindAllString(trace, -1))
			if fsyncs != c.fsyncs || syncfs != c.syncfs {
				t.Errorf("%d fsync of staged files and %d syncfs, want %d and %d", fsyncs, syncfs, c.fsyncs, c.syncfs)
			}
			// Broken variants: what judges the trace can tell.
			variants := map[string]string{
				"not synced":           regexp.MustCompile(c.without).ReplaceAllString(trace, ""),
				"directory not synced": regexp.MustCompile(`.*fsync\(\d+<.*/new>.*\n`).ReplaceAllString(trace, ""),
				"places not synced":    regexp.MustCompile(`.*fsync\(\d+<.*/d1>.*\n`).ReplaceAllString(trace, ""),
				"no mark":              strings.ReplaceAll(trace, `"marked\n"`, `"unheard\n"`),
				"opened late":          regexp.MustCompile(`.*openat\(.*"new", O_RDONLY.*\n`).ReplaceAllString(trace, ""),
			}
			for name, broken := range variants {
				if broken == trace {
					t.Errorf("%s: the variant is the same", name)
				}
				if durable(broken, anchor) == nil {
					t.Errorf("%s: not noticed", name)
				}
			}
		})
	}
}

// A sync that fails fails the restore before its mark, and nothing is left.
func TestFailedSyncUndoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files  int
		inject string
	}{
		"few":  {4, "inject=fsync:error=EIO:when=2"},
		"many": {fewFiles + 8, "inject=syncfs:error=EIO"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			anchor := t.TempDir()
			trace, stderr, err := watch(t, stageSpec{anchor, c.files}, "-e", c.inject)
			if err == nil || !strings.Contains(stderr, "input/output error") || strings.Contains(trace, "marked") {
				t.Errorf("%v: %s", err, stderr)
			}
			if left, err := os.ReadDir(anchor); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}
