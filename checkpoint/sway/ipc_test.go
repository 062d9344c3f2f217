package sway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func message(kind uint32, payload string) []byte {
	var b bytes.Buffer
	writeMessage(&b, kind, []byte(payload)) //nolint:errcheck // a buffer takes everything
	return b.Bytes()
}

func TestMessagesComeBackAsTheyWereSent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.SliceOf(rapid.Uint32()).Draw(t, "kinds")
		var stream []byte
		for _, k := range kinds {
			stream = append(stream, message(k, strings.Repeat("x", int(k%1000)))...)
		}
		r := bytes.NewReader(stream)
		for _, k := range kinds {
			kind, payload, err := readMessage(r)
			if err != nil || kind != k || len(payload) != int(k%1000) {
				t.Fatalf("message %d of %d bytes, %v; want %d", kind, len(payload), err, k)
			}
		}
		if _, _, err := readMessage(r); !errors.Is(err, io.EOF) {
			t.Fatalf("after the last one: %v", err)
		}
	})
}

func TestReadMessageRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	long := binary.LittleEndian.AppendUint32([]byte(magic), maxReply+1)
	long = binary.LittleEndian.AppendUint32(long, getTree)
	for name, stream := range map[string][]byte{
		"another protocol": []byte("HTTP/1.1 400 Bad Request"),
		"too long":         long,
		"cut in header":    message(getTree, "{}")[:7],
		"cut in payload":   message(getTree, "{}")[:headerSize+1],
	} {
		if kind, payload, err := readMessage(bytes.NewReader(stream)); err == nil {
			t.Errorf("%s: read as message %d %q", name, kind, payload)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add(message(getTree, `{"type":"root"}`))
	f.Add(message(subscribe, ""))
	f.Fuzz(func(t *testing.T, stream []byte) {
		kind, payload, err := readMessage(bytes.NewReader(stream))
		if err == nil && !bytes.HasPrefix(stream, message(kind, string(payload))) {
			t.Error("what was read is not what stands there")
		}
	})
}

func FuzzParseExtras(f *testing.F) {
	f.Add([]byte(`{"type":"root","nodes":[{"id":7,"tag":"x","nodes":[],"floating_nodes":[{"id":8,"sandbox_engine":"org.flatpak","sandbox_app_id":"a"}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		more, err := parseExtras(raw)
		if err != nil {
			return
		}
		for id, e := range more {
			if e.ID != id {
				t.Errorf("node %d stands under %d", e.ID, id)
			}
		}
	})
}

func TestExtrasFindTheirWindows(t *testing.T) {
	t.Parallel()
	more, err := parseExtras([]byte(`{"id":1,"nodes":[{"id":7,"tag":"x","sandbox_engine":"org.flatpak","sandbox_app_id":"a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	root := &Node{ID: 1, Type: "root", Nodes: []*Node{{ID: 7, Window: &Window{}}, {ID: 8, Window: &Window{}}}}
	root.complete(more)
	if got := *root.Nodes[0].Window; got != (Window{Tag: "x", SandboxEngine: "org.flatpak", SandboxAppID: "a"}) {
		t.Errorf("window %+v", got)
	}
	if got := *root.Nodes[1].Window; got != (Window{}) {
		t.Errorf("another window %+v", got)
	}
}

// stream plays a Sway that sends what it was given.
type stream struct{ io.Reader }

func (stream) Write(b []byte) (int, error) { return len(b), nil }

func TestWatchGoesOnAfterEventsThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	sent := bytes.Join([][]byte{
		message(subscribe, `{"success":true}`),
		message(eventBit|7, `{"first":true,"payload":""}`), // tick
		message(eventBit|99, `{"magic":"i3-ipc"}`),
		message(eventBit|3, `{"change":"title"}`),
		message(eventBit, `not json`),
		message(eventBit|6, `{"change":"exit"}`),
	}, nil)
	var got []Event
	err := Socket("x").watch(stream{bytes.NewReader(sent)}, func(e Event) { got = append(got, e) })
	if !errors.Is(err, io.EOF) {
		t.Errorf("it ended with %v", err)
	}
	want := []Event{{Kind: Subscribed}, {"window", "title"}, {Kind: "workspace"}, {"shutdown", "exit"}}
	if len(got) != len(want) {
		t.Fatalf("events %+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("event %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestWatchSaysThatASubscriptionIsRefused(t *testing.T) {
	t.Parallel()
	sent := message(subscribe, `{"success":false}`)
	err := Socket("x").watch(stream{bytes.NewReader(sent)}, func(Event) { t.Error("an event") })
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("it ended with %v", err)
	}
}

func TestNumberOfAWorkspace(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"1": 1, "12: mail": 12, "mail": -1, "": -1, "-3": -1, "99999999999": -1, "007": 7} {
		if got := number(name); got != want {
			t.Errorf("number(%q) = %d, want %d", name, got, want)
		}
	}
}

func TestNumbersThatAreNoneAreLeftOut(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"percent": NaN, "x": -Infinity, "y": [Infinity,-1]}`: `{"percent": null, "x": null, "y": [null,-1]}`,
		`{"name": "NaN \" Infinity \\", "percent": NaN}`:       `{"name": "NaN \" Infinity \\", "percent": null}`,
		`{"a":-1.5e-3,"b":null}`:                               `{"a":-1.5e-3,"b":null}`,
	} {
		if got := string(finite([]byte(raw))); got != want {
			t.Errorf("%s becomes %s, want %s", raw, got, want)
		}
	}
}
