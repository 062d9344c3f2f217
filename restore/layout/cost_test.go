package layout_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/integration/desktop"
	"github.com/helixml/helix-ckpt/restore/layout"
)

// timed is a Sway whose requests are timed.
type timed struct {
	sway.Socket

	spent time.Duration
}

func (c *timed) Tree(ctx context.Context) (*sway.Node, error) {
	defer c.add(time.Now())
	return c.Socket.Tree(ctx)
}

func (c *timed) Run(ctx context.Context, commands []string) ([]sway.Result, error) {
	defer c.add(time.Now())
	return c.Socket.Run(ctx, commands)
}

func (c *timed) add(since time.Time) { c.spent += time.Since(since) }

// BenchmarkRestore20 restores 20 windows that were moved about. The aim is a
// median of 60 ms spent in requests to Sway, and at most 12 round trips; on a
// busy machine most of the time is the clients' drawing.
func BenchmarkRestore20(b *testing.B) {
	d := save(b, 20, desktop.Options{})
	var total layout.Report
	var spent []time.Duration
	for b.Loop() {
		b.StopTimer()
		d.user(b).wreck()
		windows := match(b.Context(), b, d.Desktop, d.leaves)
		d.Settled()
		c := timed{Socket: socket(d.Desktop)}
		b.StartTimer()
		r, err := layout.Restore(b.Context(), &c, d.layout, windows, layout.Options{})
		if err != nil || !r.Exact() {
			b.Fatalf("%v: %+v", err, r)
		}
		spent = append(spent, c.spent)
		total.RoundTrips += r.RoundTrips
		total.Commands += r.Commands
		total.Bytes += r.Bytes
	}
	n := float64(b.N)
	slices.Sort(spent)
	b.ReportMetric(float64(spent[len(spent)/2].Microseconds())/1000, "median-ipc-ms")
	b.ReportMetric(float64(total.RoundTrips)/n, "trips/op")
	b.ReportMetric(float64(total.Commands)/n, "commands/op")
	b.ReportMetric(float64(total.Bytes)/n, "bytes/op")
}
