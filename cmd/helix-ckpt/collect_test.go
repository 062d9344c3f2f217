package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// A heap that must be large raises the limit, or collecting it would take half
// of the time.
func TestTheLimitFollowsTheHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	collect()
	lives := make([]byte, 2*heapLimit)
	for end := time.Now().Add(time.Minute); debug.SetMemoryLimit(-1) < int64(2*len(lives)); runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("the limit is %d bytes, of %d that live", debug.SetMemoryLimit(-1), len(lives))
		}
	}
	runtime.KeepAlive(lives)
}
