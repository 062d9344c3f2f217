package process

import (
	"os"
	"path/filepath"
	"strconv"
)

// Openers returns the pids, other than our own, that have the file at path
// open, as far as we may see them: those of this user in this pid namespace.
func Openers(path string) []int {
	want, err := os.Stat(path)
	if err != nil {
		return nil
	}
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*/fd") // the pattern is well formed
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		fds, _ := os.ReadDir(dir) // somebody else's process has none for us
		for _, fd := range fds {
			info, err := os.Stat(filepath.Join(dir, fd.Name()))
			if err == nil && os.SameFile(info, want) {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}
