package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/helixml/helix-ckpt/agent"
	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/discover"
	"github.com/helixml/helix-ckpt/checkpoint/session"
)

// owner is who does what a command asks for: the agent when one runs, else this
// process. Either agent or keeper is set.
type owner struct {
	agent  *rpc.Client
	keeper *agent.Keeper

	holder session.Owner // the agent
	conn   *grpc.ClientConn
}

// owner finds the agent of the session, or takes the session for this command.
// The one who holds the lock decides, not who answers on a socket: what writes
// must go through him.
func (a *app) owner(ctx context.Context, site discover.Session, command string) (*owner, error) {
	if o, err := a.agent(ctx, site); err == nil || !errors.Is(err, rpc.ErrNoAgent) {
		return o, err
	}
	k, err := agent.Open(ctx, site, agent.KeeperOptions{Command: command, Version: version(), Limits: a.limits, Compression: a.compression, Log: a.log})
	if err != nil {
		return nil, err
	}
	return &owner{keeper: k}, nil
}

// agent connects to the agent of the session; rpc.ErrNoAgent when none holds
// its lock.
func (a *app) agent(ctx context.Context, site discover.Session) (*owner, error) {
	holder, held := session.Holder(session.Dir(site.Dir, site.ID))
	if !held {
		return nil, fmt.Errorf("%w for session %s in %s: start one with 'helix-ckpt run'", rpc.ErrNoAgent, site.ID, site.Dir)
	}
	if holder.Socket == "" {
		return nil, fmt.Errorf("session %s in %s: %w by %s", site.ID, site.Dir, checkpoint.ErrLocked, holder)
	}
	conn, err := rpc.Dial(ctx, holder.Socket)
	if err != nil {
		return nil, fmt.Errorf("session %s in %s: %w by %s, which cannot be reached: %w", site.ID, site.Dir, checkpoint.ErrLocked, holder, err)
	}
	return &owner{agent: rpc.NewClient(conn), holder: holder, conn: conn}, nil
}

func (o *owner) close() {
	if o.conn != nil {
		o.conn.Close() // nothing is under way
	}
	if o.keeper != nil {
		o.keeper.Close() //nolint:errcheck // the process ends
	}
}
