package repository

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// TestFormatByHand runs the commands of FORMAT.md.
func TestFormatByHand(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("FORMAT.md")
	must(t, err)
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(doc, -1) {
		script.Write(block[1])
	}
	r := openTemp(t)
	save(t, r, 1, noise(1, 100_000))
	b := append(noise(1, 100_000), text(1, 70*checkpoint.ChunkSize)...)
	m := save(t, r, 2, b) // of two packs, with a recipe of two levels
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(script.String(), "/tmp/", tmp+"/"))
	cmd.Dir = r.Dir()
	cmd.Env = append(os.Environ(), "ID="+string(m.ID))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	names, err := filepath.Glob(filepath.Join(tmp, "content.*"))
	must(t, err)
	got, err := os.ReadFile(names[0])
	must(t, err)
	if !bytes.Equal(got, b) {
		t.Errorf("the commands put %d other bytes together:\n%s", len(got), out)
	}
}

// TestFormatNumbers compares the places that FORMAT.md names with the code.
func TestFormatNumbers(t *testing.T) {
	t.Parallel()
	if headerLen != 27 || trailerLen != 71 || sealLen != 72 || chunkEntry != 36 || frameEntry != 8 || len(packFormat) != 19 {
		t.Errorf("header %d, trailer %d, seal %d, chunk %d, frame %d, name %d", headerLen, trailerLen, sealLen, chunkEntry, frameEntry, len(packFormat))
	}
}
