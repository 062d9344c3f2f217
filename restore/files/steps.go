package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint/atomicfile"
)

// Set is what was staged: the value that a caller's commit mark holds.
type Set struct {
	ID     string  `json:"id"`
	Stages []Stage `json:"stages,omitempty"`
}

// Stage is a staging directory.
type Stage struct {
	Anchor Path `json:"anchor"`
	// Files counts the staged files of each component.
	Files map[string]int `json:"files,omitempty"`
}

// Dir returns the staging directory of s, an absolute path.
func (s Set) Dir(st Stage) string { return filepath.Join(string(st.Anchor), stagePrefix+s.ID) }

// Has reports whether s holds a file of a component.
func (s Set) Has(component string) bool {
	return slices.ContainsFunc(s.Stages, func(st Stage) bool { return st.Files[component] > 0 })
}

// Step puts one staged file in its place.
type Step struct {
	// N names the staged file, new/<N>.
	N         int    `json:"n"`
	Component string `json:"component"`
	// Name is the logical path, for the report.
	Name Path `json:"name"`
	// Path is the place, below the anchor.
	Path Path `json:"path"`
	// Database means that the files SQLite keeps beside go aside with it.
	Database bool `json:"database,omitempty"`
	// Note is Target.Note.
	Note string `json:"note,omitempty"`
}

// sideFiles are what SQLite keeps beside a database. A stale -wal makes a
// restored one malformed, a stale -journal rolls it back to what it never was.
var sideFiles = []string{"-wal", "-shm", "-journal"}

// live returns the names that have to be out of the way: the main file first,
// so that nobody ever sees it without its WAL.
func (s Step) live() []string {
	names := []string{string(s.Path)}
	if s.Database {
		for _, suffix := range sideFiles {
			names = append(names, string(s.Path)+suffix)
		}
	}
	return names
}

const (
	stepsName   = "steps.json"
	stepsFormat = "helix.ckpt.steps/v1"
	// maxSteps bounds the files of one staging directory, and maxStepsBytes
	// their list: 100,000 files at 600 bytes each.
	maxSteps      = 100_000
	maxStepsBytes = 64 << 20
	// maxStages bounds the staging directories of a restore: one per volume
	// and root, so a few.
	maxStages = 1000
)

type stepsFile struct {
	Format string `json:"format"`
	Steps  []Step `json:"steps"`
}

func writeSteps(dir string, steps []Step) error {
	b, err := json.Marshal(stepsFile{stepsFormat, steps})
	if err != nil {
		return fmt.Errorf("write steps: %w", err)
	}
	return atomicfile.Write(filepath.Join(dir, stepsName), b, 0o600)
}

// readSteps reads the steps of the staging directory dir below root.
func readSteps(root *os.Root, dir string) ([]Step, error) {
	f, err := root.Open(path.Join(dir, stepsName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxStepsBytes+1))
	if err != nil {
		return nil, err
	}
	return decodeSteps(b)
}

// decodeSteps reads what writeSteps writes, and trusts none of it.
func decodeSteps(b []byte) ([]Step, error) {
	if len(b) > maxStepsBytes {
		return nil, fmt.Errorf("more than %d bytes", maxStepsBytes)
	}
	var f stepsFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	if f.Format != stepsFormat {
		return nil, fmt.Errorf("format %q: this program reads %s", f.Format, stepsFormat)
	}
	if len(f.Steps) > maxSteps {
		return nil, fmt.Errorf("%d steps, at most %d are allowed", len(f.Steps), maxSteps)
	}
	for _, s := range f.Steps {
		if err := s.validate(); err != nil {
			return nil, err
		}
	}
	return f.Steps, nil
}

func (s Step) validate() error {
	p := string(s.Path)
	switch {
	case s.N < 1:
		return fmt.Errorf("step %d", s.N)
	case !filepath.IsLocal(p) || path.Clean(p) != p || p == "." || strings.ContainsRune(p, 0):
		return fmt.Errorf("step %d: unsafe path %q", s.N, p)
	case strings.HasPrefix(p, stagePrefix) || strings.Contains(p, "/"+stagePrefix):
		return fmt.Errorf("step %d: %q is a staging directory", s.N, p)
	}
	return nil
}

// staged names the staged file of s below the staging directory.
func (s Step) staged() string { return path.Join("new", strconv.Itoa(s.N)) }

// validID keeps an id a plain name: it becomes part of a directory's.
func validID(id string) error {
	if id == "" || len(id) > 128 || strings.ContainsAny(id, "/\x00") {
		return errors.New("bad id of a restore")
	}
	return nil
}

// Validate reports why a Set that was read from a disk cannot be one.
func (s Set) Validate() error {
	if err := validID(s.ID); err != nil {
		return err
	}
	if len(s.Stages) > maxStages {
		return fmt.Errorf("%d staging directories, at most %d are allowed", len(s.Stages), maxStages)
	}
	for _, st := range s.Stages {
		if a := string(st.Anchor); !filepath.IsAbs(a) || filepath.Clean(a) != a || strings.ContainsRune(a, 0) {
			return fmt.Errorf("staging directory below %q: want a plain absolute path", a)
		}
	}
	return nil
}
