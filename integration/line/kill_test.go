package line

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

// TestKills kills Sway, the writer or the agent, at any moment of a
// checkpoint. Afterwards the last one that was acknowledged is whole: its
// databases, taken out with tar, hold what was committed before it began, and
// its desk has the windows that were there, never the empty desk of a Sway that
// has just come back.
func TestKills(t *testing.T) {
	d := desktop.Start(t, desktop.Options{})
	r := newRig(t)
	r.env = append(r.env, "XDG_RUNTIME_DIR="+d.RuntimeDir())
	for i := range 3 {
		d.Foot(fmt.Sprintf("kill-%d", i), fmt.Sprintf("window %d", i), "")
	}
	d.Swaymsg(`[app_id="^kill-1$"] focus; splitv; layout tabbed`)
	w := r.writer(zedwriter.Config{DBSize: 4 << 20, ThreadsSize: 4 << 20})
	a := r.agent("--interval=1h", "--quiet=1h", "--start-timeout=60s")
	acked, err := r.checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	killed, cut, exact := map[string]int{}, 0, 0
	for n := range *kills {
		victim := []string{"sway", "writer", "agent"}[rng.IntN(3)]
		delay := time.Duration(rng.IntN(300)) * time.Millisecond
		result := make(chan error, 1)
		var now taken
		go func() {
			var err error
			now, err = r.checkpoint()
			result <- err
		}()
		time.Sleep(delay) // the moment is what is drawn
		killed[victim]++
		switch victim {
		case "sway":
			d.Kill9()
		case "writer":
			if err := w.Kill(); err != nil {
				t.Fatal(err)
			}
		case "agent":
			a.kill()
		}
		if err := <-result; err == nil {
			acked = now
		} else if victim == "agent" {
			cut++
		} else {
			t.Errorf("kill %d, of the %s after %v: %v", n, victim, delay, err)
		}
		if err := r.whole(w, acked.ID); err != nil {
			t.Errorf("kill %d, of the %s after %v: checkpoint %s: %v\n%s", n, victim, delay, acked.ID, err, a.log)
		} else {
			exact++
		}
		switch victim {
		case "sway":
			d.Restart()
			d.WaitWindows(3) // the agent brings them back
			r.await("the restore has ended", func() bool {
				out, _, code := r.try("status", "-o", "json", "-q")
				return code == 0 && strings.Contains(out, `"state":"running"`)
			})
		case "writer":
			if err := w.Restart(context.Background()); err != nil {
				t.Fatal(err)
			}
		case "agent":
			a = r.agent("--interval=1h", "--quiet=1h", "--start-timeout=60s")
		}
	}
	t.Logf("cases %d %v, exact %d, failed %d, excluded 0; %d requests were cut off by a kill of the agent", *kills, killed, exact, *kills-exact, cut)
	r.run("verify", "--all", "-q")
	if code := a.stop(); code != 0 {
		t.Errorf("the agent ended with %d\n%s", code, a.log)
	}
}

// whole takes a checkpoint out with the program's export and tar, and judges it
// with other programs.
func (r *rig) whole(w *zedwriter.Process, id string) error {
	dir, err := exec.Command("mktemp", "-d", filepath.Join(filepath.Dir(r.home), "out-XXXXXX")).Output()
	if err != nil {
		return err
	}
	out := strings.TrimSpace(string(dir))
	cmd := exec.Command("bash", "-o", "pipefail", "-c", `"$0" export "$1" -q -f - | tar --zstd -xf - -C "$2"`, program, id, out)
	cmd.Env = r.env
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("export: %w: %s", err, text)
	}
	log, err := w.Log()
	if err != nil {
		return err
	}
	created, files := r.manifest(id)
	for _, kind := range zedwriter.Kinds {
		at := kind.Path(filepath.Join(out, "ZED_DATA"))
		c := zedwriter.Copy{Kind: kind, Began: created, Path: at}
		if of := stateOf(files, filepath.Base(at)); of.State == "carried" {
			if c.Began, err = time.Parse(time.RFC3339Nano, of.AsOf); err != nil {
				return err
			}
		}
		if tally := zedwriter.Judge(context.Background(), log, []zedwriter.Copy{c}); tally.Exact != 1 {
			return fmt.Errorf("%s: %v", kind, tally.Problems)
		}
	}
	windows, err := exec.Command("jq", ".components.windows.items | length", filepath.Join(out, "manifest.json")).Output()
	if err != nil {
		return fmt.Errorf("count windows: %w", err)
	}
	if strings.TrimSpace(string(windows)) != "3" {
		return fmt.Errorf("%s windows, want 3", windows)
	}
	return exec.Command("rm", "-rf", out).Run()
}
