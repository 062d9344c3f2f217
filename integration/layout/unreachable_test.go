package layout_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/integration/desktop"
)

// TestUnreachableStatesAreWhatTheySay runs the shortest sequences that lead to
// the states that the property tests draw again, and to the deaths that they
// count apart.
func TestUnreachableStatesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no sequences: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var commands []string
			for line := range strings.Lines(string(text)) {
				if !strings.HasPrefix(line, "#") {
					commands = append(commands, strings.TrimSpace(line))
				}
			}
			b := &bench{tb: worker{t}, ctx: t.Context(), windows: 3}
			b.d = desktop.Start(t, desktop.Options{Outputs: 2})
			b.open([]string{"w0", "w1", "w2"})
			u := &user{ctx: t.Context(), d: b.d, apps: []string{"w0", "w1", "w2"}}
			err = u.run(commands...)
			if strings.HasPrefix(string(text), "# dies") {
				if !errors.Is(err, errDied) {
					t.Errorf("sway lives: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if why, err := u.unreachable(); err != nil || why == "" {
				t.Errorf("it is a state that can be reached: %v", err)
			}
		})
	}
}
