package layout_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/restore/layout"
)

// seed returns $HELIX_CKPT_TEST_SEED or a new one, and prints it.
func seed(tb testing.TB) uint64 {
	tb.Helper()
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("HELIX_CKPT_TEST_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("HELIX_CKPT_TEST_SEED: %v", err)
		}
	}
	tb.Logf("seed: HELIX_CKPT_TEST_SEED=%d", s)
	return s
}

func socket(d *desktop.Desktop) sway.Socket { return sway.Socket(d.Socket()) }

// capture takes the layout of a desktop and the app_id of each leaf.
func capture(tb testing.TB, d *desktop.Desktop) (*checkpoint.Layout, map[string]string) {
	tb.Helper()
	windows, saved, err := socket(d).Snapshot(tb.Context(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	apps := map[string]string{}
	for _, w := range windows.Items {
		apps[w.Leaf] = w.AppID
	}
	return saved, apps
}

// match maps leaves to the windows that d shows under the same app_id.
func match(ctx context.Context, tb testing.TB, d *desktop.Desktop, apps map[string]string) map[string]int64 {
	tb.Helper()
	tree, err := socket(d).Tree(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	byApp := map[string]int64{}
	for _, w := range tree.Windows() {
		byApp[w.Window.AppID] = w.ID
	}
	windows := map[string]int64{}
	for leaf, app := range apps {
		if con, ok := byApp[app]; ok {
			windows[leaf] = con
		}
	}
	return windows
}

func restore(tb testing.TB, d *desktop.Desktop, saved *checkpoint.Layout, leaves map[string]string) layout.Report {
	tb.Helper()
	report, err := layout.Restore(tb.Context(), socket(d), saved, match(tb.Context(), tb, d, leaves), layout.Options{})
	if err != nil {
		tb.Fatalf("%v\n%+v", err, report)
	}
	return report
}

// judge compares a desktop with what swaymsg said of the saved one, and our own
// report with that.
func judge(want []byte, d *desktop.Desktop, report layout.Report) string {
	got := d.Settled()
	diff := desktop.Diff(want, got)
	switch {
	case diff == "" && !report.Exact():
		return fmt.Sprintf("it is exact, but the report says otherwise: %+v", report)
	case diff != "" && report.Exact():
		return diff + "\nand the report says that it is exact"
	case diff != "":
		return fmt.Sprintf("%s\nreport: %+v", diff, report)
	case bytes.Contains(got, []byte("__helix_ckpt")):
		return "a temporary name is left in the tree"
	}
	return ""
}
