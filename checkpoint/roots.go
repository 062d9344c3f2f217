package checkpoint

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// The roots that this program knows. Stored paths are relative to one, so that
// a session can come back under another HOME or mount.
const (
	RootHome      = "$HOME"
	RootWorkspace = "$WORKSPACE"
	RootZedData   = "$ZED_DATA"
)

var rootPattern = regexp.MustCompile(`^\$[A-Z][A-Z0-9_]{0,31}$`)

func isRootName(s string) bool { return rootPattern.MatchString(s) }

// Limits of a stored path below its root and of a link's target, in bytes:
// those of Linux (PATH_MAX without its NUL, NAME_MAX). What is longer could not
// have been read, and could not be put anywhere.
const (
	MaxPath = 4095
	MaxName = 255
)

// ErrPath is returned for a stored path that would leave its root.
var ErrPath = errors.New("unsafe path")

// SplitLogical takes a logical path such as $HOME/.claude/x.jsonl apart into
// its root and the path below it. It refuses, with ErrPath, everything that is
// not plainly below a root: no "..", no empty component, no trailing slash, no
// NUL, nothing longer than MaxPath and MaxName.
func SplitLogical(logical string) (root, rel string, err error) {
	root, rel, ok := strings.Cut(logical, "/")
	switch {
	case !ok || !isRootName(root):
		return "", "", fmt.Errorf("%w: %q is not below a root such as %s", ErrPath, logical, RootHome)
	case rel == "" || rel == "." || strings.HasPrefix(rel, "/") || path.Clean(rel) != rel || rel == ".." || strings.HasPrefix(rel, "../"):
		return "", "", fmt.Errorf("%w: %q", ErrPath, logical)
	case strings.ContainsRune(rel, 0):
		return "", "", fmt.Errorf("%w: %q holds a NUL", ErrPath, logical)
	case len(rel) > MaxPath:
		return "", "", fmt.Errorf("%w: %d bytes, at most %d are allowed: %.40q…", ErrPath, len(rel), MaxPath, logical)
	}
	for name := range strings.SplitSeq(rel, "/") {
		if len(name) > MaxName {
			return "", "", fmt.Errorf("%w: a name of %d bytes, at most %d are allowed: %.40q…", ErrPath, len(name), MaxName, logical)
		}
	}
	return root, rel, nil
}

// Logical rewrites an absolute path to be relative to the root that it lies
// deepest in; one outside every root, or a relative one, is returned as it is.
// Whole components are matched: /w is no root of /w2.
func Logical(roots map[string]string, abs string) string {
	best, bestDir := "", ""
	for name, dir := range roots {
		if len(dir) < len(bestDir) || (len(dir) == len(bestDir) && best != "" && name > best) {
			continue
		}
		if abs == dir || strings.HasPrefix(abs, strings.TrimSuffix(dir, "/")+"/") {
			best, bestDir = name, dir
		}
	}
	if best == "" {
		return abs
	}
	return best + strings.TrimPrefix(abs, strings.TrimSuffix(bestDir, "/"))
}

// Absolute is the inverse of Logical: a path that starts with one of roots is
// placed below it; another is returned as it is.
func Absolute(roots map[string]string, logical string) string {
	name, rest, _ := strings.Cut(logical, "/")
	dir, ok := roots[name]
	if !ok || !isRootName(name) {
		return logical
	}
	if rest == "" {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + "/" + rest
}
