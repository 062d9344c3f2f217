package rpc

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// Words are cut on the wire, so that a hostile title cannot fill a message.
const (
	maxTitle = 1 << 10 // bytes; a title in a list
	maxWord  = 4 << 10 // bytes; an argument, a title of a window, a reason
)

// text makes s fit a string of protobuf: valid UTF-8 of at most n bytes.
func text(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func texts(s []string, n int) []string {
	out := make([]string, len(s))
	for i := range s {
		out[i] = text(s[i], n)
	}
	return out
}

// stamp returns t for the wire; a zero time is not set.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func stampOf(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return stamp(*t)
}

// moment is the inverse of stamp.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// hash returns h for the wire; an unset one is empty.
func hash(h checkpoint.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

// pair is a word of the domain and its number on the wire.
type pair[W ~string, N ~int32] struct {
	word   W
	number N
}

// words translates between the two; what it does not know is 0 or "".
type words[W ~string, N ~int32] []pair[W, N]

func (t words[W, N]) number(w W) N {
	i := slices.IndexFunc(t, func(p pair[W, N]) bool { return p.word == w })
	if i < 0 {
		return 0
	}
	return t[i].number
}

func (t words[W, N]) word(n N) W {
	i := slices.IndexFunc(t, func(p pair[W, N]) bool { return p.number == n })
	if i < 0 {
		return ""
	}
	return t[i].word
}

func components() words[string, ckptv1.Component] {
	return words[string, ckptv1.Component]{
		{checkpoint.NameZed, ckptv1.Component_COMPONENT_ZED},
		{checkpoint.NameConversations, ckptv1.Component_COMPONENT_CONVERSATIONS},
		{checkpoint.NameWindows, ckptv1.Component_COMPONENT_WINDOWS},
		{checkpoint.NameLayout, ckptv1.Component_COMPONENT_LAYOUT},
		{checkpoint.NameFiles, ckptv1.Component_COMPONENT_FILES},
	}
}

func states() words[checkpoint.State, ckptv1.State] {
	return words[checkpoint.State, ckptv1.State]{
		{checkpoint.OK, ckptv1.State_STATE_OK},
		{checkpoint.Partial, ckptv1.State_STATE_PARTIAL},
		{checkpoint.Carried, ckptv1.State_STATE_CARRIED},
		{checkpoint.Failed, ckptv1.State_STATE_FAILED},
		{checkpoint.Absent, ckptv1.State_STATE_ABSENT},
	}
}

func kinds() words[checkpoint.Kind, ckptv1.FileKind] {
	return words[checkpoint.Kind, ckptv1.FileKind]{
		{checkpoint.KindFile, ckptv1.FileKind_FILE_KIND_FILE},
		{checkpoint.KindSQLite, ckptv1.FileKind_FILE_KIND_SQLITE},
		{checkpoint.KindJSONL, ckptv1.FileKind_FILE_KIND_JSONL},
		{checkpoint.KindSymlink, ckptv1.FileKind_FILE_KIND_SYMLINK},
	}
}

// basic returns the view BASIC of a checkpoint.
func basic(session string, e checkpoint.Entry) *ckptv1.Checkpoint {
	c := &ckptv1.Checkpoint{
		Id: string(e.ID), Session: session, Epoch: e.Epoch, Seq: e.Seq, CreateTime: stamp(e.Created),
		Reason: text(e.Reason, maxTitle), RequestId: text(e.RequestID, maxTitle), Pinned: e.Pinned,
		PlainBytes: e.PlainBytes, NewBytes: e.NewBytes, ManifestSha256: hash(e.ManifestSHA256),
	}
	for _, name := range checkpoint.Names() {
		state := cmp.Or(e.Components[name], checkpoint.Absent)
		c.Components = append(c.Components, &ckptv1.ComponentSummary{Component: components().number(name), State: states().number(state)})
	}
	return c
}

// entry is the inverse of basic.
func entry(c *ckptv1.Checkpoint) checkpoint.Entry {
	e := checkpoint.Entry{
		ID: checkpoint.ID(c.GetId()), Epoch: c.GetEpoch(), Seq: c.GetSeq(), Created: moment(c.GetCreateTime()),
		Reason: c.GetReason(), RequestID: c.GetRequestId(), Pinned: c.GetPinned(),
		PlainBytes: c.GetPlainBytes(), NewBytes: c.GetNewBytes(), Components: map[string]checkpoint.State{},
	}
	for _, s := range c.GetComponents() {
		if name := components().word(s.GetComponent()); name != "" {
			e.Components[name] = states().word(s.GetState())
		}
	}
	if sum, err := checkpoint.ParseHash(c.GetManifestSha256()); err == nil {
		e.ManifestSHA256 = sum
	}
	return e
}

// full returns the view FULL of a checkpoint, without its files and threads.
func full(f Found) *ckptv1.Checkpoint {
	m := f.Manifest
	c := basic(m.Session, f.Entry)
	if m.Parent != nil {
		c.ParentId = string(m.Parent.ID)
	}
	c.Instance = &ckptv1.Instance{
		Id: text(m.Instance.ID, maxTitle), Hostname: text(m.Instance.Hostname, maxTitle),
		BootId: text(m.Instance.BootID, maxTitle), Container: text(m.Instance.Container, maxTitle),
	}
	c.AgentVersion = text(m.Agent.Version, maxTitle)
	c.Roots = m.Roots
	c.DurationMs = m.Stats.DurationMS
	c.Components = nil
	for _, name := range checkpoint.Names() {
		s := summary(name, m.Components.Head(name))
		s.UnsupportedVersion = int32(m.Components.Unsupported[name])
		c.Components = append(c.Components, s)
	}
	if m.Components.Zed != nil {
		c.Zed = zed(m.Components.Zed)
	}
	if m.Components.Windows != nil {
		c.Windows = windows(m.Components.Windows)
	}
	if m.Components.Layout != nil {
		c.Layout = layout(m.Components.Layout)
	}
	return c
}

// summary says how well a component was captured, in full.
func summary(name string, h checkpoint.Head) *ckptv1.ComponentSummary {
	return &ckptv1.ComponentSummary{
		Component: components().number(name), State: states().number(h.State), AsOfTime: stampOf(h.AsOf),
		Error: text(h.Error, maxWord), FromId: string(h.From),
	}
}

// head is the inverse of summary.
func head(s *ckptv1.ComponentSummary) checkpoint.Head {
	h := checkpoint.Head{
		V: checkpoint.ComponentVersion, State: states().word(s.GetState()), Error: s.GetError(), From: checkpoint.ID(s.GetFromId()),
	}
	if t := moment(s.GetAsOfTime()); !t.IsZero() {
		h.AsOf = &t
	}
	return h
}

func zed(z *checkpoint.Zed) *ckptv1.Zed {
	out := &ckptv1.Zed{
		Channel: text(z.Channel, maxTitle), Version: text(z.ZedVersion, maxTitle), Pointer: text(z.Pointer, maxTitle),
		Migrations: map[string]*ckptv1.ZedMigrations{}, Dangling: texts(z.Dangling, maxTitle),
	}
	for domain, m := range z.Migrations {
		out.Migrations[domain] = &ckptv1.ZedMigrations{Steps: int32(m.Steps), Sha256: hash(m.SHA256)}
	}
	for _, w := range z.Windows {
		window := &ckptv1.ZedWindow{Roots: texts(w.Roots, maxWord)}
		for _, t := range w.Tabs {
			window.Tabs = append(window.Tabs, &ckptv1.ZedTab{Path: text(t.Path, maxWord), Active: t.Active, Dirty: t.Dirty})
		}
		out.Windows = append(out.Windows, window)
	}
	if z.Threads != nil {
		out.ThreadCount = int32(z.Threads.Count)
	}
	return out
}

// file returns one file of a component.
func file(component string, f checkpoint.File) *ckptv1.File {
	out := &ckptv1.File{
		Component: components().number(component), Path: []byte(f.Name()), Kind: kinds().number(f.Kind), State: states().number(f.State),
		AsOfTime: stampOf(f.AsOf), FromId: string(f.From), Error: text(f.Error, maxWord), Size: f.Size, Sha256: hash(f.SHA256),
		Mode: uint32(f.Mode), Meaning: text(f.Meaning, maxTitle), Link: []byte(f.Target()),
	}
	if f.MtimeNS != 0 {
		out.ModifyTime = stamp(f.MtimeNS.Time())
	}
	return out
}

// thread returns one thread.
func thread(t checkpoint.Thread) *ckptv1.Thread {
	return &ckptv1.Thread{Id: text(t.ID, maxTitle), Title: text(t.Title, maxTitle), UpdateTime: stamp(t.Updated), PayloadBytes: t.Bytes}
}
