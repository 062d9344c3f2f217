package agent

import (
	"context"
	"os"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/discover"
	"github.com/helixml/helix-ckpt/checkpoint/process"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/session"
	"github.com/helixml/helix-ckpt/checkpoint/sqlite"
	"github.com/helixml/helix-ckpt/checkpoint/sway"
	"github.com/helixml/helix-ckpt/checkpoint/zed"
	"github.com/helixml/helix-ckpt/restore"
	"github.com/helixml/helix-ckpt/restore/desk"
	"github.com/helixml/helix-ckpt/restore/launch"
)

// NewRestorer returns what plans a restore of the session at site, and, for the
// holder of its lock, what restores it. emit may be nil.
func NewRestorer(site discover.Session, repo *repository.Repository, emit func(restore.Event)) *restore.Restorer {
	return &restore.Restorer{
		Dir: session.Dir(site.Dir, site.ID), Source: repo, Roots: site.Roots, KeepOut: []string{site.Dir},
		Desk: &desk.Desk{
			Find: func(ctx context.Context) (sway.Socket, error) {
				socket, _, err := site.FindSway(ctx)
				return socket, err
			},
			Allowed: launch.Default(), Env: os.Environ(),
		},
		ZedClosed: func(context.Context) error { return zedClosed(site) },
		Emit:      emit,
	}
}

// zedClosed returns a *checkpoint.ZedRunning while a Zed has the databases of
// site open, also one in another container on the same volume: a lock can be
// seen where a process cannot.
func zedClosed(site discover.Session) error {
	places, err := zed.Find(site.Zed.Data, site.Zed.Config)
	if err != nil {
		return err
	}
	for _, channel := range append([]string{places.Channel}, places.Others...) {
		if channel == "" {
			continue
		}
		of, err := places.For(channel)
		if err != nil {
			return err
		}
		used, err := sqlite.InUse(of.WorkspaceDB())
		if err != nil {
			return err
		}
		if !used {
			continue
		}
		running := &checkpoint.ZedRunning{}
		if pids := process.Openers(of.WorkspaceDB()); len(pids) > 0 {
			running.PID = pids[0]
		}
		return running
	}
	return nil
}
