package sway

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Display returns the path of the Wayland socket of the Sway at s, which
// programs that are to appear there connect to. It lies in $XDG_RUNTIME_DIR or
// beside s; that it is the right one, of several that a crash may have left,
// the kernel tells: the same process listens on both.
func (s Socket) Display(ctx context.Context, getenv func(string) string) (string, error) {
	pid, err := s.peer(ctx)
	if err != nil {
		return "", err
	}
	dirs := []string{filepath.Dir(string(s))}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" && !slices.Contains(dirs, dir) {
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		paths, _ := filepath.Glob(filepath.Join(dir, "wayland-*")) // the pattern is well formed
		for _, path := range paths {
			if filepath.Ext(path) == ".lock" {
				continue
			}
			if listener, err := Socket(path).peer(ctx); err == nil && listener == pid {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%w: the Sway at %s listens on no wayland-* socket in %v", checkpoint.ErrNoCompositor, s, dirs)
}
