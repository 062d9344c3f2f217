package session

import (
	"encoding/json"
	"testing"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// FuzzRecord: what is read of session.json is written and read the same, and
// from it an epoch follows that a checkpoint may have.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"session":"s1","epoch":4,"fence":{"epoch":5,"request_id":"r"},"instance":{"id":"i"},"agent_pid":7,"started":"2026-11-23T10:15:00Z"}`))
	f.Add([]byte(`{"epoch":18446744073709551615}`))
	f.Add([]byte(`{"epoch":9007199254740991}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Record
		if decode(b, &r) != nil {
			return
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(b, &again); err != nil {
			t.Fatalf("written as %s: %v", b, err)
		}
		if next, err := Epoch(r, "me", 0, 0); err == nil && (next == 0 || next > checkpoint.MaxEpoch) {
			t.Errorf("%s: the next epoch is %d", b, next)
		}
	})
}

// FuzzOwner: what is read of a lock is an owner that is written and read the same,
// or an unknown one.
func FuzzOwner(f *testing.F) {
	f.Add([]byte(`{"pid":7,"hostname":"h","instance":"i","command":"run","socket":"/run/s","since":"2026-11-23T10:15:00Z"}   `))
	f.Add([]byte(`{"pid":7,"hostname":"h"}7,"hostname":"h"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := decodeOwner(b)
		if o.String() == "" {
			t.Error("it has no name")
		}
		b, err := json.Marshal(o)
		if err != nil {
			return // a year that RFC 3339 cannot write
		}
		if again := decodeOwner(b); again != o && !again.Since.Equal(o.Since) {
			t.Errorf("%+v was read again as %+v", o, again)
		}
	})
}

// FuzzStatus: what is read of status.json is written and read again.
func FuzzStatus(f *testing.F) {
	f.Add([]byte(`{"session":"s1","state":"running","since":"2026-11-23T10:15:00Z","pid":7,"epoch":4,"components":{"zed":"ok"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again Status
		if decode(b, &s) != nil {
			return
		}
		b, err := json.Marshal(s)
		if err != nil {
			return // a year that RFC 3339 cannot write
		}
		if err := decode(b, &again); err != nil {
			t.Errorf("written as %s: %v", b, err)
		}
	})
}
