package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// peerCredentials lets in whom the kernel names as the session's owner, or
// root. The socket's mode says the same; this holds also where somebody has
// changed that, or passed the socket on.
type peerCredentials struct {
	// owner is the uid of the session.
	owner uint32
	log   *slog.Logger
}

// peer is who is at the other end, as the kernel saw it when it connected.
type peer struct {
	credentials.CommonAuthInfo
	ucred unix.Ucred
}

// AuthType names the way in which the peer was found out.
func (peer) AuthType() string { return "peercred" }

// ServerHandshake refuses a peer that is neither the owner nor root.
func (c peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	ucred, err := peerOf(conn)
	if err != nil {
		return nil, nil, fmt.Errorf("who is connecting: %w", err)
	}
	if !c.admits(ucred.Uid) {
		c.log.Warn("rpc: a connection was refused", "uid", ucred.Uid, "pid", ucred.Pid)
		return nil, nil, fmt.Errorf("uid %d (pid %d) may not connect: the session belongs to uid %d", ucred.Uid, ucred.Pid, c.owner)
	}
	return conn, peer{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, *ucred}, nil
}

func (c peerCredentials) admits(uid uint32) bool { return uid == c.owner || uid == 0 }

// ClientHandshake is not for a server.
func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.ErrUnsupported
}

// Info says that nothing is encrypted: it is a socket of this machine.
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

// Clone returns c, which never changes.
func (c peerCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName is for TLS.
func (peerCredentials) OverrideServerName(string) error { return errors.ErrUnsupported }

// peerOf asks the kernel who is at the other end of conn.
func peerOf(conn net.Conn) (*unix.Ucred, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%T is no unix socket", conn)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var ucred *unix.Ucred
	var opt error
	err = raw.Control(func(fd uintptr) {
		ucred, opt = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return ucred, errors.Join(err, opt)
}
