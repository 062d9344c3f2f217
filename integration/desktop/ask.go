package desktop

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Message types of sway-ipc(7).
const (
	runCommand = 0
	getTree    = 4
)

// ask sends one message straight to the socket and returns the payload of the
// reply. It is for waiting and building only, where a swaymsg for every look
// and step would load the machine that is waited for; what is judged comes
// from swaymsg.
//
// A message is "i3-ipc", the length of its payload and its type, both uint32,
// and the payload.
func (d *Desktop) ask(kind uint32, payload string) ([]byte, error) {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "unix", d.socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	header := binary.LittleEndian.AppendUint32([]byte("i3-ipc"), uint32(len(payload)))
	header = binary.LittleEndian.AppendUint32(header, kind)
	if _, err := conn.Write(append(header, payload...)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(conn, header); err != nil {
		return nil, fmt.Errorf("sway's reply: %w", err)
	}
	reply := make([]byte, binary.LittleEndian.Uint32(header[len("i3-ipc"):]))
	_, err = io.ReadFull(conn, reply)
	return reply, err
}

// try runs commands; the error is that of the first that failed.
func (d *Desktop) try(commands string) error {
	reply, err := d.ask(runCommand, commands)
	if err != nil {
		return err
	}
	return failure(reply)
}

// failure reads the replies to commands.
func failure(reply []byte) error {
	var replies []struct {
		Success bool
		Error   string
	}
	if err := json.Unmarshal(reply, &replies); err != nil {
		return err
	}
	for i, r := range replies {
		if !r.Success {
			return fmt.Errorf("command %d: %s", i, r.Error)
		}
	}
	if len(replies) == 0 {
		return errors.New("no command in it")
	}
	return nil
}
