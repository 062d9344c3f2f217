package rpc

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

func TestPinAndDelete(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.entries = []checkpoint.Entry{testEntry(2), testEntry(1)}
	conn := serve(t, m, Options{}).dial(t)
	c, second := NewClient(conn), testEntry(2)

	pinned := second
	pinned.Pinned = true
	if got, err := c.Pin(ctxOf(t), "latest", true); err != nil || !reflect.DeepEqual(got, pinned) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.Pin(ctxOf(t), strings.Repeat("x", maxSelector+1), true); !errors.Is(err, checkpoint.ErrInvalid) {
		t.Errorf("a long selector: %v", err)
	}
	// A full id only, lest another one goes.
	for _, selector := range []string{"latest", "", string(second.ID[:20]), "../" + string(second.ID)} {
		if _, err := c.Delete(ctxOf(t), checkpoint.ID(selector)); !errors.Is(err, checkpoint.ErrInvalid) {
			t.Errorf("delete %q: %v", selector, err)
		}
	}
	if freed, err := c.Delete(ctxOf(t), second.ID); freed != second.NewBytes || err != nil {
		t.Errorf("got %d, %v", freed, err)
	}
	if _, err := c.Delete(ctxOf(t), second.ID); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("once more: %v", err)
	}
}

func TestPruneAnswersWithinItsBounds(t *testing.T) {
	t.Parallel()
	m := newMemory()
	conn := serve(t, m, Options{}).dial(t)
	m.pruned = Pruned{Count: 2, Kept: 7, FreedBytes: 1 << 40, Deleted: []checkpoint.ID{testEntry(2).ID, testEntry(1).ID}, Held: []checkpoint.ID{testEntry(3).ID}, Blocked: []string{"checkpoint x: damaged"}}
	got, err := NewClient(conn).Prune(ctxOf(t), true)
	if err != nil || !reflect.DeepEqual(got, m.pruned) || !m.askedDryRun {
		t.Errorf("got %+v, %v", got, err)
	}
	m.pruned = Pruned{Count: 5000}
	for i := range m.pruned.Count {
		m.pruned.Deleted = append(m.pruned.Deleted, testEntry(uint64(i)).ID)
		m.pruned.Blocked = append(m.pruned.Blocked, fmt.Sprint(i, strings.Repeat("\xff", 100_000)))
	}
	out, err := ckptv1.NewCheckpointServiceClient(conn).PruneCheckpoints(ctxOf(t), &ckptv1.PruneCheckpointsRequest{})
	if err != nil || out.GetDeleted() != 5000 || len(out.GetDeletedIds()) != 1000 || proto.Size(out) > maxMessage || m.askedDryRun {
		t.Errorf("%d ids of %d in %d bytes, %v", len(out.GetDeletedIds()), out.GetDeleted(), proto.Size(out), err)
	}
}
