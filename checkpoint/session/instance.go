package session

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint"
)

var instancePattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Instance returns the instance that runtimeDir ($XDG_RUNTIME_DIR) is the
// life of, creating its id when this is the first call in it.
func Instance(runtimeDir string) (checkpoint.Instance, error) {
	dir := filepath.Join(runtimeDir, "helix-ckpt")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return checkpoint.Instance{}, fmt.Errorf("instance: %w", err)
	}
	path := filepath.Join(dir, "instance")
	id, err := readInstance(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createInstance(dir, path); err == nil {
			id, err = readInstance(path)
		}
	}
	if err != nil {
		return checkpoint.Instance{}, fmt.Errorf("instance: %w", err)
	}
	host, _ := os.Hostname() // it only informs
	return checkpoint.Instance{ID: id, Hostname: host, BootID: readLine("/proc/sys/kernel/random/boot_id"), Container: containerID()}, nil
}

// createInstance makes the id appear whole: a link fails, as O_EXCL does, when
// another process was first, and is never seen half written.
func createInstance(dir, path string) error {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	f, err := os.CreateTemp(dir, ".instance-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // a temporary name
	_, err = f.WriteString(hex.EncodeToString(b[:]) + "\n")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func readInstance(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(b))
	if !instancePattern.MatchString(id) {
		return "", fmt.Errorf("%s holds no instance id; remove it if this is a new session", path)
	}
	return id, nil
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

var containerPattern = regexp.MustCompile(`[0-9a-f]{64}`)

// containerID is the id that a container runtime shows in the process's
// cgroups or mounts, if one does. It only informs.
func containerID() string {
	for _, path := range []string{"/proc/self/cgroup", "/proc/self/mountinfo"} {
		if id := containerPattern.FindString(readLine(path)); id != "" {
			return id[:12]
		}
	}
	return ""
}
