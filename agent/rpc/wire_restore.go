package rpc

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
	"github.com/helixml/helix-ckpt/restore"
)

func scopes() words[restore.Scope, ckptv1.RestoreScope] {
	return words[restore.Scope, ckptv1.RestoreScope]{
		{restore.ScopeAll, ckptv1.RestoreScope_RESTORE_SCOPE_ALL},
		{restore.ScopeFiles, ckptv1.RestoreScope_RESTORE_SCOPE_FILES},
		{restore.ScopeWindows, ckptv1.RestoreScope_RESTORE_SCOPE_WINDOWS},
		{restore.ScopeLayout, ckptv1.RestoreScope_RESTORE_SCOPE_LAYOUT},
		{restore.ScopeAll, ckptv1.RestoreScope_RESTORE_SCOPE_UNSPECIFIED},
	}
}

func policies() words[Threads, ckptv1.ThreadsPolicy] {
	return words[Threads, ckptv1.ThreadsPolicy]{
		{ThreadsMerge, ckptv1.ThreadsPolicy_THREADS_POLICY_MERGE},
		{ThreadsReplace, ckptv1.ThreadsPolicy_THREADS_POLICY_REPLACE},
		{ThreadsSkip, ckptv1.ThreadsPolicy_THREADS_POLICY_SKIP},
		{ThreadsMerge, ckptv1.ThreadsPolicy_THREADS_POLICY_UNSPECIFIED},
	}
}

func phases() words[restore.Phase, ckptv1.RestorePhase] {
	return words[restore.Phase, ckptv1.RestorePhase]{
		{restore.Planned, ckptv1.RestorePhase_RESTORE_PHASE_PLANNED},
		{restore.Verified, ckptv1.RestorePhase_RESTORE_PHASE_VERIFIED},
		{restore.Staged, ckptv1.RestorePhase_RESTORE_PHASE_STAGED},
		{restore.Committed, ckptv1.RestorePhase_RESTORE_PHASE_COMMITTED},
		{restore.FilesReady, ckptv1.RestorePhase_RESTORE_PHASE_FILES_READY},
		{restore.InWindows, ckptv1.RestorePhase_RESTORE_PHASE_WINDOWS},
		{restore.InLayout, ckptv1.RestorePhase_RESTORE_PHASE_LAYOUT},
		{restore.Done, ckptv1.RestorePhase_RESTORE_PHASE_DONE},
		{restore.Degraded, ckptv1.RestorePhase_RESTORE_PHASE_DEGRADED},
		{restore.Declined, ckptv1.RestorePhase_RESTORE_PHASE_DECLINED},
		{restore.RolledBack, ckptv1.RestorePhase_RESTORE_PHASE_ROLLED_BACK},
	}
}

func results() words[restore.Result, ckptv1.RestoreResult] {
	return words[restore.Result, ckptv1.RestoreResult]{
		{restore.Restored, ckptv1.RestoreResult_RESTORE_RESULT_RESTORED},
		{restore.Kept, ckptv1.RestoreResult_RESTORE_RESULT_KEPT},
		{restore.Partial, ckptv1.RestoreResult_RESTORE_RESULT_PARTIAL},
		{restore.Skipped, ckptv1.RestoreResult_RESTORE_RESULT_SKIPPED},
		{restore.Failed, ckptv1.RestoreResult_RESTORE_RESULT_FAILED},
	}
}

// maxMappings bounds the directories that one restore can say have moved.
const maxMappings = 100

// restoreRequest reads what a caller asks for.
func restoreRequest(in *ckptv1.RestoreRequest) (RestoreRequest, error) {
	o := in.GetOptions()
	r := RestoreRequest{
		RequestID: in.GetRequestId(), Selector: o.GetSelector(), Scope: scopes().word(o.GetScope()),
		Force: o.GetForce(), Threads: policies().word(o.GetThreads()), IgnoreVersion: o.GetIgnoreVersion(),
	}
	var err error
	if err := validID(r.RequestID); err != nil {
		return r, err
	}
	if r.MinAge, err = span("options.min_age", o.GetMinAge()); err != nil {
		return r, err
	}
	if r.Wait, err = span("options.wait", o.GetWait()); err != nil {
		return r, err
	}
	switch {
	case r.Scope == "":
		return r, fmt.Errorf("%w: options.scope: unknown value %d", checkpoint.ErrInvalid, o.GetScope())
	case r.Threads == "":
		return r, fmt.Errorf("%w: options.threads: unknown value %d", checkpoint.ErrInvalid, o.GetThreads())
	case r.MinAge > 0 && r.Selector != "":
		return r, fmt.Errorf("%w: options: selector and min_age exclude each other", checkpoint.ErrInvalid)
	case len(o.GetMappings()) > maxMappings:
		return r, fmt.Errorf("%w: options.mappings: %d are more than %d", checkpoint.ErrInvalid, len(o.GetMappings()), maxMappings)
	}
	for _, c := range o.GetComponents() {
		name := components().word(c)
		if name == "" {
			return r, fmt.Errorf("%w: options.components: unknown value %d", checkpoint.ErrInvalid, c)
		}
		if !slices.Contains(r.Only, name) {
			r.Only = append(r.Only, name)
		}
	}
	for _, m := range o.GetMappings() {
		r.Map = append(r.Map, Mapping{Old: m.GetOldPath(), New: m.GetNewPath()})
	}
	return r, nil
}

// restoreRequestOf is the inverse of restoreRequest.
func restoreRequestOf(r RestoreRequest) *ckptv1.RestoreRequest {
	o := &ckptv1.RestoreOptions{
		Selector: r.Selector, Scope: scopes().number(r.Scope), Force: r.Force, Threads: policies().number(r.Threads),
		IgnoreVersion: r.IgnoreVersion,
	}
	if r.MinAge > 0 {
		o.MinAge = durationpb.New(r.MinAge)
	}
	if r.Wait > 0 {
		o.Wait = durationpb.New(r.Wait)
	}
	for _, name := range r.Only {
		o.Components = append(o.Components, components().number(name))
	}
	for _, m := range r.Map {
		o.Mappings = append(o.Mappings, &ckptv1.PathMapping{OldPath: m.Old, NewPath: m.New})
	}
	return &ckptv1.RestoreRequest{RequestId: r.RequestID, Options: o}
}

// span reads a duration that cannot be negative; one not set is 0.
func span(field string, d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() < 0 {
		return 0, fmt.Errorf("%w: %s: want a duration that is not negative", checkpoint.ErrInvalid, field)
	}
	return d.AsDuration(), nil
}

// restoreResponse returns an event for the wire.
func restoreResponse(e restore.Event) *ckptv1.RestoreResponse {
	out := &ckptv1.RestoreResponse{Number: e.Number, Time: stamp(e.Time)}
	switch {
	case e.Started != nil:
		out.Event = &ckptv1.RestoreResponse_Started{Started: &ckptv1.RestoreStarted{
			RequestId: e.Started.RequestID, CheckpointId: string(e.Started.Checkpoint), LatestId: string(e.Started.Latest),
		}}
	case e.Item != nil:
		out.Event = &ckptv1.RestoreResponse_Item{Item: restoreItem(*e.Item)}
	case e.Component != nil:
		out.Event = &ckptv1.RestoreResponse_Component{Component: restoreComponent(*e.Component)}
	case e.Report != nil:
		out.Event = &ckptv1.RestoreResponse_Report{Report: restoreReport(*e.Report)}
	case e.Warning != "":
		out.Event = &ckptv1.RestoreResponse_Warning{Warning: text(e.Warning, maxWord)}
	default:
		out.Event = &ckptv1.RestoreResponse_Phase{Phase: phases().number(e.Phase)}
	}
	return out
}

// restoreEvent is the inverse of restoreResponse.
func restoreEvent(in *ckptv1.RestoreResponse) restore.Event {
	e := restore.Event{Number: in.GetNumber(), Time: moment(in.GetTime())}
	switch v := in.GetEvent().(type) {
	case *ckptv1.RestoreResponse_Started:
		e.Started = &restore.Started{
			RequestID: v.Started.GetRequestId(), Checkpoint: checkpoint.ID(v.Started.GetCheckpointId()), Latest: checkpoint.ID(v.Started.GetLatestId()),
		}
	case *ckptv1.RestoreResponse_Item:
		i := restoreItemOf(v.Item)
		e.Item = &i
	case *ckptv1.RestoreResponse_Component:
		c := restoreComponentOf(v.Component)
		e.Component = &c
	case *ckptv1.RestoreResponse_Report:
		e.Report = restoreReportOf(v.Report)
	case *ckptv1.RestoreResponse_Warning:
		e.Warning = v.Warning
	case *ckptv1.RestoreResponse_Phase:
		e.Phase = phases().word(v.Phase)
	}
	return e
}

func restoreItem(i restore.Item) *ckptv1.RestoreItem {
	return &ckptv1.RestoreItem{
		Component: components().number(i.Component), Name: text(i.Name, maxWord), Label: text(i.Label, maxTitle),
		Result: results().number(i.Result), Reason: text(i.Reason, maxWord), Aside: texts(i.Aside, maxWord),
	}
}

func restoreItemOf(i *ckptv1.RestoreItem) restore.Item {
	return restore.Item{
		Component: components().word(i.GetComponent()), Name: i.GetName(), Label: i.GetLabel(),
		Result: results().word(i.GetResult()), Reason: i.GetReason(), Aside: i.GetAside(),
	}
}

func restoreComponent(c restore.ComponentReport) *ckptv1.RestoreComponent {
	return &ckptv1.RestoreComponent{
		Component: components().number(c.Component), Result: results().number(c.Result), Reason: text(c.Reason, maxWord),
		FromId: string(c.From), Restored: int32(c.Restored), Total: int32(c.Of),
	}
}

func restoreComponentOf(c *ckptv1.RestoreComponent) restore.ComponentReport {
	return restore.ComponentReport{
		Component: components().word(c.GetComponent()), Result: results().word(c.GetResult()), Reason: c.GetReason(),
		From: checkpoint.ID(c.GetFromId()), Restored: int(c.GetRestored()), Of: int(c.GetTotal()),
	}
}

// maxReportBytes bounds the items of a report, so that it fits a message.
const maxReportBytes = 512 << 10

// maxReportItems is how many items a report holds on the wire.
const maxReportItems = 1000

func restoreReport(r restore.Report) *ckptv1.RestoreReport {
	out := &ckptv1.RestoreReport{
		RequestId: r.RequestID, CheckpointId: string(r.Checkpoint), LatestId: string(r.Latest), Outcome: phases().number(r.Outcome),
		StartTime: stamp(r.Start), EndTime: stamp(r.End), Aside: texts(r.Aside, maxWord), Warnings: texts(r.Warnings, maxWord),
		Error: text(r.Error, maxWord),
	}
	for _, c := range r.Components {
		out.Components = append(out.Components, restoreComponent(c))
	}
	p := page{limit: maxReportItems, bytes: maxReportBytes}
	for _, i := range r.Items {
		item := restoreItem(i)
		if !p.take(item) {
			break
		}
		out.Items = append(out.Items, item)
	}
	out.ItemsLeftOut = int32(len(r.Items) - len(out.Items) + r.LeftOut)
	return out
}

func restoreReportOf(r *ckptv1.RestoreReport) *restore.Report {
	out := &restore.Report{
		RequestID: r.GetRequestId(), Checkpoint: checkpoint.ID(r.GetCheckpointId()), Latest: checkpoint.ID(r.GetLatestId()),
		Outcome: phases().word(r.GetOutcome()), LeftOut: int(r.GetItemsLeftOut()), Start: moment(r.GetStartTime()), End: moment(r.GetEndTime()),
		Aside: r.GetAside(), Warnings: r.GetWarnings(), Error: r.GetError(),
	}
	for _, c := range r.GetComponents() {
		out.Components = append(out.Components, restoreComponentOf(c))
	}
	for _, i := range r.GetItems() {
		out.Items = append(out.Items, restoreItemOf(i))
	}
	return out
}
