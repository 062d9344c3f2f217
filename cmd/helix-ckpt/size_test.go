package main

import "testing"

func TestSizesOfFlags(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]int64{"0": 0, "512": 512, "1K": 1 << 10, "256M": 256 << 20, "4G": 4 << 30, "2T": 2 << 40, "8388607T": 8388607 << 40} {
		var n int64
		if err := (&byteSize{&n}).Set(v); err != nil || n != want {
			t.Errorf("%s: %d, %v", v, n, err)
		}
	}
	for _, v := range []string{"", "M", "5X", "5MM", "-1", "1.5G", "5 M", "8388608T", "99999999999999999999"} {
		n := int64(7)
		if err := (&byteSize{&n}).Set(v); err == nil || n != 7 {
			t.Errorf("%q was taken as %d", v, n)
		}
	}
}
