package match

import "math"

// assign pairs each of rows with at most one of columns, and each of columns
// with at most one of rows, so that the sum of gains is the largest possible.
// A pair without gain is not made. It returns the column of every row, -1 for
// none.
//
// It is the Hungarian method with potentials, one shortest augmenting path for
// each row (Kuhn 1955, Munkres 1957, in the form of Jonker and Volgenant 1987):
// O(rows² · (rows+columns)). To be left without a partner is a column too, one
// for each row, at no gain; so an assignment always exists, and which side is
// larger does not matter. Rows should be the side that is known to be small:
// here the live windows, as a checkpoint can claim to hold thousands.
func assign(rows, columns int, gain func(row, column int) int64) []int {
	width := columns + rows
	cost := func(row, column int) int64 {
		if column >= columns {
			return 0
		}
		if g := gain(row, column); g > 0 {
			return -g
		}
		return 1 // worse than to be left without
	}
	// Index 0 of all of these stands for "none", as is usual for this method.
	rowPotential, columnPotential := make([]int64, rows+1), make([]int64, width+1)
	rowOf := make([]int, width+1)    // the row that a column is taken by
	cameFrom := make([]int, width+1) // the column before it on the path
	for row := 1; row <= rows; row++ {
		rowOf[0] = row
		slack := make([]int64, width+1)
		for c := range slack {
			slack[c] = math.MaxInt64
		}
		done := make([]bool, width+1)
		at := 0
		for rowOf[at] != 0 {
			done[at] = true
			next, least := 0, int64(math.MaxInt64)
			for c := 1; c <= width; c++ {
				if done[c] {
					continue
				}
				if d := cost(rowOf[at]-1, c-1) - rowPotential[rowOf[at]] - columnPotential[c]; d < slack[c] {
					slack[c], cameFrom[c] = d, at
				}
				if slack[c] < least {
					next, least = c, slack[c]
				}
			}
			for c := range done {
				if done[c] {
					rowPotential[rowOf[c]] += least
					columnPotential[c] -= least
				} else if slack[c] != math.MaxInt64 {
					slack[c] -= least
				}
			}
			at = next
		}
		for at != 0 { // the path ends at a free column: shift every row along it
			rowOf[at] = rowOf[cameFrom[at]]
			at = cameFrom[at]
		}
	}
	partner := make([]int, rows)
	for i := range partner {
		partner[i] = -1
	}
	for c := 1; c <= columns; c++ {
		if rowOf[c] != 0 {
			partner[rowOf[c]-1] = c - 1
		}
	}
	return partner
}
