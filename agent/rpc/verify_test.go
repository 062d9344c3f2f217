package rpc

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/helixml/helix-ckpt/checkpoint"
)

func TestVerifyTellsEverything(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.verified = []VerifyEvent{
		{Progress: &Progress{Done: 1 << 40, Total: 1 << 41}},
		{Damage: &Damage{File: "packs/x.zst", Problem: "it is damaged", Repaired: true}},
		{Damage: &Damage{Checkpoints: []checkpoint.ID{testEntry(2).ID, testEntry(1).ID}, Hurt: 200, Component: "zed", Path: "$ZED_DATA/a", Problem: "lost"}},
		{Repaired: &Repaired{File: "packs/x.zst", Quarantine: "quarantine/y-x.zst", Chunks: 9, Kept: 8}},
		{Repaired: &Repaired{File: "checkpoints/x.json.zst", Quarantine: "quarantine/y-x.json.zst", Rewritten: true}},
		{Report: &VerifyReport{Checkpoints: 3, Damaged: 2, Packs: 4, PackBytes: 5, PlainBytes: 1 << 40, Orphans: &Orphans{1, 2, 3}}},
	}
	c := NewClient(serve(t, m, Options{}).dial(t))
	for _, r := range []VerifyRequest{{Selector: "latest~1"}, {All: true, Repair: true}} {
		var got []VerifyEvent
		err := c.Verify(ctxOf(t), r, func(e VerifyEvent) { got = append(got, e) })
		if err != nil || !reflect.DeepEqual(got, m.verified) || m.askedVerify != r {
			t.Errorf("got %+v, %v; asked %+v", got, err, m.askedVerify)
		}
	}
	nothing := func(VerifyEvent) {}
	if err := c.Verify(ctxOf(t), VerifyRequest{Selector: strings.Repeat("x", maxSelector+1)}, nothing); !errors.Is(err, checkpoint.ErrInvalid) {
		t.Errorf("a long selector: %v", err)
	}
	m.fail = fmt.Errorf("here: %w", checkpoint.ErrUndecided)
	if err := c.Verify(ctxOf(t), VerifyRequest{}, nothing); !errors.Is(err, checkpoint.ErrUndecided) {
		t.Errorf("got %v", err)
	}
	// An answer without its end is none.
	m.fail, m.verified = nil, m.verified[:5]
	if err := c.Verify(ctxOf(t), VerifyRequest{}, nothing); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without a report: %v", err)
	}
}

func TestVerifyAnswersWithinItsBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\xff", 1_000_000)
	d := &Damage{File: long, Path: long, Problem: long}
	for i := range 10_000 {
		d.Checkpoints = append(d.Checkpoints, testEntry(uint64(i)).ID)
	}
	for _, e := range []VerifyEvent{{Damage: d}, {Repaired: &Repaired{File: long, Quarantine: long}}} {
		if n := proto.Size(verifyEvent(e)); n > 100_000 {
			t.Errorf("a message of %d bytes", n)
		}
	}
}

// TestALostCallEndsTheReading: nobody else would be told what it finds.
func TestALostCallEndsTheReading(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.verified = []VerifyEvent{{Progress: &Progress{Total: 1}}}
	m.verifyEnds = make(chan error, 1)
	c := NewClient(serve(t, m, Options{}).dial(t))
	ctx, cancel := context.WithCancel(ctxOf(t))
	err := c.Verify(ctx, VerifyRequest{All: true}, func(VerifyEvent) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case err := <-m.verifyEnds:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	case <-ctxOf(t).Done():
		t.Error("it goes on")
	}
}
