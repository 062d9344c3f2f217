package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// byteSize is the value of a flag: a number of bytes, or with K, M, G or T behind it
// of KiB and so on. Below 0 it was not given.
type byteSize struct{ n *int64 }

// Type is part of pflag.Value.
func (byteSize) Type() string { return "size" }

// String is part of pflag.Value.
func (s *byteSize) String() string {
	if s.n == nil || *s.n < 0 {
		return ""
	}
	return strconv.FormatInt(*s.n, 10)
}

// Set is part of pflag.Value.
func (s *byteSize) Set(v string) error {
	digits := strings.TrimRight(v, "KMGT")
	unit := uint64(1)
	if len(v)-len(digits) == 1 {
		unit <<= 10 * (1 + strings.Index("KMGT", v[len(digits):]))
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || len(v)-len(digits) > 1 || n > math.MaxInt64/unit {
		return errors.New("want a size in bytes, or as 512K, 256M, 4G or 1T")
	}
	*s.n = int64(n * unit)
	return nil
}
