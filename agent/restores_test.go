package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
)

// TestAttach: one restore at a time for those who ask, and a request id is one
// request. The agent's own is never refused for one that still waits for the
// loop: the empty session would be captured instead.
func TestAttach(t *testing.T) {
	t.Parallel()
	a := &Agent{}
	asked, isNew, err := a.attach("r1", "d1")
	if err != nil || !isNew {
		t.Fatalf("a new request: new %v, %v", isNew, err)
	}
	if again, isNew, err := a.attach("r1", "d1"); again != asked || isNew || err != nil {
		t.Errorf("the same once more: new %v, %v", isNew, err)
	}
	if _, _, err := a.attach("r1", "d2"); !errors.Is(err, checkpoint.ErrRequestReused) {
		t.Errorf("the same id with other arguments: %v", err)
	}
	own := a.ownView("", "")
	own.end(nil)
	if _, _, err := a.attach("r2", "d2"); !errors.Is(err, checkpoint.ErrBusy) {
		t.Errorf("another while the first has not ended: %v", err)
	}
	asked.end(nil)
	for _, id := range []string{"", "r2"} {
		v, isNew, err := a.attach(id, "d2")
		if err != nil || !isNew {
			t.Fatalf("request %q after the first: new %v, %v", id, isNew, err)
		}
		v.end(nil)
	}
	if again, isNew, err := a.attach("r1", "d1"); again != asked || isNew || err != nil {
		t.Errorf("one that has ended: new %v, %v", isNew, err)
	}
}

// TestARequestIsItsWords: repeated, it is the same although latest is another
// checkpoint by then.
func TestARequestIsItsWords(t *testing.T) {
	t.Parallel()
	digest := func(r rpc.RestoreRequest, chosen checkpoint.ID) string {
		q := asked(r)
		q.Checkpoint = chosen
		return q.Digest()
	}
	const one, two = checkpoint.ID("20261123T101500.123Z-3f9a1c2e"), checkpoint.ID("20261124T101500.123Z-3f9a1c2e")
	latest, old := rpc.RestoreRequest{}, rpc.RestoreRequest{MinAge: time.Minute}
	for _, r := range []rpc.RestoreRequest{latest, old} {
		if digest(r, one) != digest(r, two) {
			t.Errorf("%+v is another request when it means another checkpoint", r)
		}
	}
	if digest(latest, one) == digest(old, one) || digest(old, one) == digest(rpc.RestoreRequest{MinAge: time.Hour}, one) {
		t.Error("different requests look the same")
	}
}
