package match

import (
	"testing"

	"pgregory.net/rapid"
)

// The best sum, by trying everything.
func best(rows, columns int, gain func(int, int) int64, taken map[int]bool) int64 {
	if rows == 0 {
		return 0
	}
	most := best(rows-1, columns, gain, taken)
	for c := range columns {
		if g := gain(rows-1, c); !taken[c] && g > 0 {
			taken[c] = true
			most = max(most, g+best(rows-1, columns, gain, taken))
			delete(taken, c)
		}
	}
	return most
}

func sum(t *rapid.T, columns int, gain func(int, int) int64, partner []int) int64 {
	var total int64
	taken := map[int]bool{}
	for row, c := range partner {
		if c < 0 {
			continue
		}
		if taken[c] || c >= columns {
			t.Fatalf("column %d is assigned twice, or is none", c)
		}
		taken[c] = true
		if gain(row, c) <= 0 {
			t.Fatalf("row %d has column %d without gain", row, c)
		}
		total += gain(row, c)
	}
	return total
}

func drawGains(t *rapid.T) (rows, columns int, gain func(int, int) int64) {
	rows = rapid.IntRange(0, 6).Draw(t, "rows")
	columns = rapid.IntRange(0, 6).Draw(t, "columns")
	limit := rapid.SampledFrom([]int64{3, 100, 1 << 45}).Draw(t, "limit")
	gains := make([]int64, rows*columns)
	for i := range gains {
		gains[i] = rapid.Int64Range(-limit, limit).Draw(t, "gain")
	}
	return rows, columns, func(r, c int) int64 { return gains[r*columns+c] }
}

func TestAssignIsOptimal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows, columns, gain := drawGains(t)
		got := sum(t, columns, gain, assign(rows, columns, gain))
		if want := best(rows, columns, gain, map[int]bool{}); got != want {
			t.Fatalf("gained %d of %d", got, want)
		}
	})
}

// Taking the best pair first, as one is tempted to, must be seen as worse: it
// is what the test above is there to refuse.
func TestGreedyAssignmentIsFoundOut(t *testing.T) {
	t.Parallel()
	gains := [][]int64{{10, 9}, {9, 1}}
	gain := func(r, c int) int64 { return gains[r][c] }
	greedy := gains[0][0] + gains[1][1]
	if want := best(2, 2, gain, map[int]bool{}); greedy >= want {
		t.Fatalf("greedy gains %d, the best %d", greedy, want)
	}
	if got := assign(2, 2, gain); got[0] != 1 || got[1] != 0 {
		t.Errorf("assigned %v", got)
	}
}

// A checkpoint that claims thousands of windows must not hold a restore up.
func TestAssignManyColumns(t *testing.T) {
	t.Parallel()
	partner := assign(20, 10000, func(r, c int) int64 { return int64((r*7919+c*104729)%1000 + 1) })
	for r, c := range partner {
		if c < 0 {
			t.Errorf("row %d is left without", r)
		}
	}
}
