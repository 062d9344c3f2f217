package layout_test

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/restore/layout"
)

// whole is a desktop with something of everything on two outputs.
func whole(tb testing.TB) saved {
	tb.Helper()
	d := saved{Desktop: desktop.Start(tb, desktop.Options{Outputs: 2}), rand: rand.New(rand.NewPCG(seed(tb), 0)), apps: names(10)}
	open(d.Desktop, d.apps)
	d.Settled()
	for _, commands := range []string{
		`workspace b; move workspace to output HEADLESS-2; [app_id=w6] move container to workspace b`,
		`workspace a; move workspace to output HEADLESS-2; [app_id="w[78]"] move container to workspace a`,
		`[app_id=w0] mark --add here; [app_id=w0] border pixel 5; [app_id=w0] inhibit_idle open`,
		`[app_id=w2] floating enable, resize set 400 px 300 px, move absolute position 30 px 600 px`,
		`[app_id=w3] floating enable, resize set 500 px 200 px, move absolute position 50 px 650 px`,
		`[app_id="w[45]"] move scratchpad`,
		`focus output HEADLESS-1; [app_id=w4] scratchpad show; [app_id=w4] resize set 300 px 200 px; [app_id=w4] move absolute position 900 px 100 px`,
		`[app_id=w6] focus; [app_id=w7] focus; [app_id=w0] focus; [app_id=w3] focus; [app_id=w2] focus; [app_id=w9] focus`,
		`[app_id=w3] move container to workspace aside; [app_id=w3] move container to workspace 1`,
		`[app_id=w4] sticky enable; [app_id=w1] urgent enable; [app_id=w7] fullscreen enable`,
	} {
		d.Swaymsg(commands)
	}
	d.take(tb)
	return d
}

// The judge must see what each command is for, and the report must say it.
func TestWithoutACommandTheJudgeFails(t *testing.T) {
	t.Parallel()
	d := whole(t)
	wreck := []string{
		`[app_id="w[78]"] fullscreen disable; [app_id=w0] unmark here; [app_id=w0] border normal 2; [app_id=w0] inhibit_idle none; [app_id=w1] urgent disable`,
		`[app_id=w4] sticky disable; focus output HEADLESS-1; workspace 5`,
		`[app_id="w[0-35-9]"] move container to workspace 5; [app_id="w[2345]"] floating disable`,
		`[app_id=w4] focus`,
	}
	again := func() {
		for _, commands := range wreck {
			d.Swaymsg(commands)
		}
		d.Settled()
	}
	for _, deaf := range []string{
		` move absolute position `, ` resize set `, ` floating enable$`, ` move scratchpad$`,
		` border `, ` mark --add "`, ` inhibit_idle `, ` sticky enable`, ` urgent enable`, ` fullscreen enable`,
		` container to workspace "__helix_ckpt_stage_[0-9]+"$`, `move workspace to output "HEADLESS-2"$`, ` focus$`,
	} {
		again()
		b := broken{socket(d.Desktop), regexp.MustCompile(deaf)}
		report, err := layout.Restore(t.Context(), b, d.layout, match(t.Context(), t, d.Desktop, d.leaves), layout.Options{})
		if err != nil {
			t.Fatalf("without %s: %v", deaf, err)
		}
		if desktop.Diff(d.want, d.Settled()) == "" {
			t.Errorf("without %q the judge sees no difference", deaf)
		}
		if report.Exact() {
			t.Errorf("without %q the report says that it is exact", deaf)
		}
	}
	again()
	if diff := judge(d.want, d.Desktop, restore(t, d.Desktop, d.layout, d.leaves)); diff != "" {
		t.Errorf("with all commands: %s", diff)
	}
	d.Swaymsg(`rename workspace a to 0a; rename workspace 0a to a`) // now it stands before b
	b := broken{socket(d.Desktop), regexp.MustCompile(`^rename `)}
	report, err := layout.Restore(t.Context(), b, d.layout, match(t.Context(), t, d.Desktop, d.leaves), layout.Options{})
	if err != nil || report.Exact() || desktop.Diff(d.want, d.Settled()) == "" {
		t.Errorf("without rename: %v, %+v", err, report)
	}
	if diff := judge(d.want, d.Desktop, restore(t, d.Desktop, d.layout, d.leaves)); diff != "" {
		t.Errorf("with rename: %s", diff)
	}
}

func TestAKilledRunIsCompletedByTheNext(t *testing.T) {
	t.Parallel()
	d := whole(t)
	user := d.user(t)
	for range 4 {
		user.wreck()
		c := &dying{socket(d.Desktop), d.rand.IntN(150)}
		_, err := layout.Restore(t.Context(), c, d.layout, match(t.Context(), t, d.Desktop, d.leaves), layout.Options{})
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		d.Settled()
		if diff := judge(d.want, d.Desktop, restore(t, d.Desktop, d.layout, d.leaves)); diff != "" {
			t.Fatalf("killed with %d commands left: %s", c.left, diff)
		}
	}
}
