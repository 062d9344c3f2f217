package sway

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Sway's IPC, as sway-ipc(7) describes it. Both directions carry messages
//
//	"i3-ipc"  length uint32  type uint32  payload
//
// in the byte order of the machine, which is little-endian on all that Sway
// runs on here. An event has the highest bit of its type set.
const (
	subscribe uint32 = 2
	getTree   uint32 = 4

	eventBit uint32 = 1 << 31
)

const (
	magic      = "i3-ipc"
	headerSize = len(magic) + 8
	// maxReply bounds a payload in bytes. A tree has some 0.9 kB per window.
	maxReply = 16 << 20
)

var errProtocol = errors.New("not a message of sway's ipc")

// readMessage reads one message whole.
func readMessage(r io.Reader) (kind uint32, payload []byte, err error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	if string(header[:len(magic)]) != magic {
		return 0, nil, fmt.Errorf("%w: it begins with %q", errProtocol, header[:len(magic)])
	}
	length := binary.LittleEndian.Uint32(header[len(magic):])
	kind = binary.LittleEndian.Uint32(header[len(magic)+4:])
	if length > maxReply {
		return 0, nil, fmt.Errorf("%w: %d bytes long, more than %d", errProtocol, length, maxReply)
	}
	// Read by growing: a length that lies costs what was sent, not what it says.
	payload, err = io.ReadAll(io.LimitReader(r, int64(length)))
	if err == nil && len(payload) < int(length) {
		err = io.ErrUnexpectedEOF
	}
	return kind, payload, err
}

func writeMessage(w io.Writer, kind uint32, payload []byte) error {
	message := append(make([]byte, 0, headerSize+len(payload)), magic...)
	message = binary.LittleEndian.AppendUint32(message, uint32(len(payload)))
	message = binary.LittleEndian.AppendUint32(message, kind)
	_, err := w.Write(append(message, payload...))
	return err
}

// dial connects; the connection closes when ctx ends. The caller calls stop
// when it is done.
func (s Socket) dial(ctx context.Context) (conn *net.UnixConn, stop func(), err error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", string(s))
	if err != nil {
		return nil, nil, fmt.Errorf("sway at %s: %w", s, err)
	}
	unhook := context.AfterFunc(ctx, func() { c.Close() })
	return c.(*net.UnixConn), func() { unhook(); c.Close() }, nil
}

// request sends one message and returns the payload of its reply.
func (s Socket) request(ctx context.Context, kind uint32, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	conn, stop, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	err = writeMessage(conn, kind, payload)
	var got uint32
	var reply []byte
	if err == nil {
		got, reply, err = readMessage(conn)
	}
	if err == nil && got != kind {
		err = errSenseless
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("sway at %s: %w", s, err)
	}
	return reply, nil
}

// peer returns the pid of the process that listens.
func (s Socket) peer(ctx context.Context) (int, error) {
	conn, stop, err := s.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("sway at %s: %w", s, err)
	}
	var cred *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(controlErr, err); err != nil {
		return 0, fmt.Errorf("sway at %s: %w", s, os.NewSyscallError("getsockopt", err))
	}
	return int(cred.Pid), nil
}

// Event is something that happened. Only a small part of what happens has
// one: a split, a resize, a floating window that moves and a change of layout
// have none.
type Event struct {
	// Kind is subscribed, workspace, window, binding or shutdown.
	Kind string
	// Change says what, such as new, close, focus, title, move; empty for
	// subscribed.
	Change string
}

// Subscribed is the kind of the event that Watch itself sends first: from now
// on nothing is missed, so this is the moment for a full look.
const Subscribed = "subscribed"

var eventKinds = map[uint32]string{
	eventBit:     "workspace",
	eventBit | 3: "window",
	eventBit | 5: "binding",
	eventBit | 6: "shutdown",
}

// Watch calls signal for every event until ctx ends or the connection does,
// which it does when Sway ends; it never returns nil. Sway drops a client that
// lags by some 2,000 events: signal must return at once and leave the work to
// another goroutine.
func (s Socket) Watch(ctx context.Context, signal func(Event)) error {
	conn, stop, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer stop()
	err = s.watch(conn, signal)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("watch sway at %s: %w", s, err)
}

func (s Socket) watch(conn io.ReadWriter, signal func(Event)) error {
	if err := writeMessage(conn, subscribe, []byte(`["workspace","window","binding","shutdown"]`)); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	for subscribed := false; ; {
		kind, payload, err := readMessage(r)
		if err != nil {
			return err
		}
		switch {
		case kind == subscribe && !subscribed:
			var reply struct {
				Success bool `json:"success"`
			}
			if err := json.Unmarshal(payload, &reply); err != nil || !reply.Success {
				return fmt.Errorf("subscription refused: %.200s", payload)
			}
			subscribed = true
			signal(Event{Kind: Subscribed})
		case eventKinds[kind] != "":
			signal(Event{Kind: eventKinds[kind], Change: change(payload)})
		}
	}
}

// change reads what an event says of itself; an event that cannot be read is
// still one.
func change(payload []byte) string {
	var e struct {
		Change string `json:"change"`
	}
	if json.Unmarshal(payload, &e) != nil {
		return ""
	}
	return e.Change
}
