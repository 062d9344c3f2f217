package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// sessionService tells how the session is.
type sessionService struct {
	ckptv1.UnimplementedSessionServiceServer
	backend Backend
}

// GetStatus answers at once.
func (s *sessionService) GetStatus(ctx context.Context, _ *ckptv1.GetStatusRequest) (*ckptv1.GetStatusResponse, error) {
	st, err := s.backend.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &ckptv1.GetStatusResponse{Status: statusMessage(st)}, nil
}

func sessionStates() words[SessionState, ckptv1.SessionState] {
	return words[SessionState, ckptv1.SessionState]{
		{SessionStarting, ckptv1.SessionState_SESSION_STATE_STARTING},
		{SessionWaiting, ckptv1.SessionState_SESSION_STATE_WAITING},
		{SessionRestoring, ckptv1.SessionState_SESSION_STATE_RESTORING},
		{SessionRunning, ckptv1.SessionState_SESSION_STATE_RUNNING},
		{SessionDrained, ckptv1.SessionState_SESSION_STATE_DRAINED},
		{SessionFenced, ckptv1.SessionState_SESSION_STATE_FENCED},
		{SessionStopping, ckptv1.SessionState_SESSION_STATE_STOPPING},
	}
}

// maxProblems bounds the sentences of a status.
const maxProblems = 50

func statusMessage(st Status) *ckptv1.Status {
	out := &ckptv1.Status{
		Session: st.Session, State: sessionStates().number(st.State), Epoch: st.Epoch, FenceEpoch: st.Fence, InstanceId: text(st.Instance, maxTitle),
		AgentVersion: text(st.AgentVersion, maxTitle), AgentPid: int32(st.AgentPID), StartTime: stamp(st.Started), Directory: text(st.Dir, maxWord),
		ConfirmTime: stamp(st.Confirmed), Unsaved: durationpb.New(st.Unsaved),
		Problems: texts(st.Problems[:min(len(st.Problems), maxProblems)], maxWord),
	}
	if st.Latest != nil {
		out.Latest = basic(st.Session, *st.Latest)
	}
	for _, name := range checkpoint.Names() {
		if h, ok := st.Components[name]; ok {
			out.Components = append(out.Components, summary(name, h))
		}
	}
	if r := st.Restore; r != nil {
		out.Restore = &ckptv1.RestoreSummary{RequestId: r.RequestID, CheckpointId: string(r.Checkpoint), Phase: phases().number(r.Phase)}
	}
	return out
}

// statusOf is the inverse of statusMessage.
func statusOf(in *ckptv1.Status) Status {
	st := Status{
		Session: in.GetSession(), State: sessionStates().word(in.GetState()), Epoch: in.GetEpoch(), Fence: in.GetFenceEpoch(), Instance: in.GetInstanceId(),
		AgentVersion: in.GetAgentVersion(), AgentPID: int(in.GetAgentPid()), Started: moment(in.GetStartTime()), Dir: in.GetDirectory(),
		Confirmed: moment(in.GetConfirmTime()), Unsaved: in.GetUnsaved().AsDuration(), Problems: in.GetProblems(),
	}
	if in.GetLatest() != nil {
		e := entry(in.GetLatest())
		st.Latest = &e
	}
	for _, s := range in.GetComponents() {
		if name := components().word(s.GetComponent()); name != "" {
			if st.Components == nil {
				st.Components = map[string]checkpoint.Head{}
			}
			st.Components[name] = head(s)
		}
	}
	if r := in.GetRestore(); r != nil {
		st.Restore = &RestoreSummary{RequestID: r.GetRequestId(), Checkpoint: checkpoint.ID(r.GetCheckpointId()), Phase: phases().word(r.GetPhase())}
	}
	return st
}
