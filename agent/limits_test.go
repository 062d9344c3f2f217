package agent

import "testing"

func TestLimitsDependOnTheDisk(t *testing.T) {
	t.Parallel()
	const mib, gib = 1 << 20, 1 << 30
	for _, c := range []struct {
		given Limits
		disk  int64
		want  Limits
	}{
		{DefaultLimits(), 1000 * gib, Limits{4 * gib, 256 * mib}},
		{DefaultLimits(), 20 * gib, Limits{2 * gib, 256 * mib}},
		{DefaultLimits(), 1000 * mib, Limits{100 * mib, 50 * mib}},
		{Limits{0, 0}, 1000 * gib, Limits{0, 0}},
		{Limits{5 * gib, -1}, 1000 * gib, Limits{5 * gib, 256 * mib}},
	} {
		if got := c.given.on(c.disk); got != c.want {
			t.Errorf("%+v on %d: %+v, want %+v", c.given, c.disk, got, c.want)
		}
	}
}
