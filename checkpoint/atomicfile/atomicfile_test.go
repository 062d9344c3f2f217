package atomicfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
)

// writerEnv makes this test binary a process that replaces one file and ends,
// in the way it names; pathEnv says which file.
const (
	writerEnv = "ATOMICFILE_TEST_WRITER"
	pathEnv   = "ATOMICFILE_TEST_PATH"
)

func TestMain(m *testing.M) {
	if way := os.Getenv(writerEnv); way != "" {
		if err := writers()[way](os.Getenv(pathEnv), []byte("new\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// writers are Write and what it would be with one step left out.
func writers() map[string]func(path string, data []byte) error {
	replace := func(path string, data []byte, syncFile, syncDir bool) error {
		temp := filepath.Join(filepath.Dir(path), ".tmp-x")
		f, err := os.Create(temp)
		if err == nil {
			_, err = f.Write(data)
		}
		if err == nil && syncFile {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close(), os.Rename(temp, path)); err == nil && syncDir {
			err = atomicfile.SyncDir(filepath.Dir(path))
		}
		return err
	}
	return map[string]func(path string, data []byte) error{
		"Write":              func(path string, data []byte) error { return atomicfile.Write(path, data, 0o640) },
		"every step":         func(path string, data []byte) error { return replace(path, data, true, true) },
		"file not synced":    func(path string, data []byte) error { return replace(path, data, false, true) },
		"name not synced":    func(path string, data []byte) error { return replace(path, data, true, false) },
		"written in place":   func(path string, data []byte) error { return os.WriteFile(path, data, 0o600) },
		"name synced before": syncedTooEarly,
	}
}

func syncedTooEarly(path string, data []byte) error {
	temp := filepath.Join(filepath.Dir(path), ".tmp-x")
	return errors.Join(os.WriteFile(temp, data, 0o600), atomicfile.SyncDir(temp), atomicfile.SyncDir(filepath.Dir(path)), os.Rename(temp, path))
}

// writer is this binary as a process that replaces path.
func writer(t *testing.T, way, path string, before ...string) *exec.Cmd {
	t.Helper()
	args := slices.Concat(before, []string{"/proc/self/exe"})
	if len(before) > 0 { // for another program, its own is another
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		args[len(args)-1] = self
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{writerEnv + "=" + way, pathEnv + "=" + path}
	return cmd
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWriteReplacesContentAndMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	for _, c := range []struct {
		data string
		perm fs.FileMode
	}{{"first", 0o600}, {"", 0o644}, {strings.Repeat("long ", 100_000), 0o666}} {
		if err := atomicfile.Write(path, []byte(c.data), c.perm); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b) != c.data {
			t.Errorf("%d bytes, want %d; %v", len(b), len(c.data), err)
		}
		// The umask has no say.
		if info, err := os.Stat(path); err != nil || info.Mode() != c.perm {
			t.Errorf("mode %v, want %v; %v", info.Mode(), c.perm, err)
		}
		if names := list(t, filepath.Dir(path)); !slices.Equal(names, []string{"file"}) {
			t.Errorf("files %q", names)
		}
	}
}

func TestAFailedWriteLeavesWhatWasThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := atomicfile.Write(filepath.Join(dir, "none", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v for a directory that is not there", err)
	}
	// What cannot be replaced: a directory with something in it.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "something"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(taken, []byte("new"), 0o600); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("error %v does not name %s", err, taken)
	}
	if names := list(t, dir); !slices.Equal(names, []string{"taken"}) {
		t.Errorf("files %q", names)
	}
}

func TestAReadOnlyDirectoryIsAnError(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "atomicfile-") //nolint:usetesting // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "file")
	if err := errors.Join(os.WriteFile(path, []byte("old"), 0o600), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	cmd := writer(t, "Write", path)
	if os.Getuid() == 0 { // who may write everywhere
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte(path)) || !bytes.Contains(out, []byte("permission denied")) {
		t.Errorf("%v: %s", err, out)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	if names := list(t, dir); !slices.Equal(names, []string{"file"}) {
		t.Errorf("files %q", names)
	}
}

// trace returns the system calls by which the process replaced path, as strace
// saw them: one word each, in order.
func trace(t *testing.T, way, path string) string {
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace")
	cmd := writer(t, way, path, "strace", "-f", "-y", "-o", log, "-e", "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("strace (apt-get install strace): %v\n%s", err, out)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	dir := regexp.QuoteMeta(filepath.Dir(path))
	var calls []string
	for _, step := range regexp.MustCompile(`(\w+)\((?:AT_FDCWD(?:<[^>]*>)?, "`+dir+`/([^"]*)"|\d+<`+dir+`(/[^>]*)?>)`).FindAllStringSubmatch(string(b), -1) {
		what := strings.TrimPrefix(step[2]+step[3], "/")
		switch {
		case what == "":
			what = "directory"
		case atomicfile.IsTemp(what):
			what = "temp"
		}
		calls = append(calls, strings.TrimRight(step[1], "at2")+" "+what)
	}
	return strings.Join(calls, ", ")
}

// After a power cut there is what was synced, so the order is the promise.
func TestTheOrderOfSystemCalls(t *testing.T) {
	t.Parallel()
	const durable = "write temp, fsync temp, rename temp, fsync directory"
	for way := range writers() {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "file")
			calls := trace(t, way, path)
			t.Log(calls)
			sound := way == "Write" || way == "every step"
			if (calls == durable) != sound {
				t.Errorf("%q, durable is %q", calls, durable)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != "new\n" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}
