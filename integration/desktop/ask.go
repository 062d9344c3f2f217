package desktop

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// ask reads the tree straight from the socket. It is for waiting only, where a
// swaymsg for every look would load the machine that is waited for; what is
// judged comes from swaymsg.
//
// A message of the protocol (sway-ipc(7)) is "i3-ipc", the length of its
// payload and its type, both uint32, and the payload.
func (d *Desktop) ask() ([]byte, error) {
	conn, err := net.Dial("unix", d.socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	const getTree = 4
	header := binary.LittleEndian.AppendUint32([]byte("i3-ipc"), 0)
	header = binary.LittleEndian.AppendUint32(header, getTree)
	if _, err := conn.Write(header); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(conn, header); err != nil {
		return nil, fmt.Errorf("get_tree: %w", err)
	}
	reply := make([]byte, binary.LittleEndian.Uint32(header[6:]))
	_, err = io.ReadFull(conn, reply)
	return reply, err
}
