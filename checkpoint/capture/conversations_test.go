package capture_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/capture"
)

const (
	project      = "$HOME/.claude/projects/-workspace-app/"
	conversation = project + "a.jsonl"
	output       = project + "a/tool-results/1.txt"
)

func (s *site) append(logical, text string) {
	s.t.Helper()
	f, err := os.OpenFile(s.path(logical), os.O_APPEND|os.O_WRONLY, 0)
	s.must(err)
	_, err = f.WriteString(text)
	s.must(err)
	s.must(f.Close())
}

// wantStored demands what stands in the repository for a file.
func (s *site) wantStored(f checkpoint.File, want string) {
	s.t.Helper()
	b, err := os.ReadFile(s.stored(f))
	s.must(err)
	if string(b) != want {
		s.t.Errorf("%s is stored as %q, want %q", f.Name(), b, want)
	}
}

func TestATornLineIsLeftForNextTime(t *testing.T) {
	t.Parallel()
	s := newEmptySite(t)
	s.plant(conversation, []byte("{\"n\":1}\n{\"n\":"))
	got := s.take()
	s.wantChange(got, capture.New)
	f := got.file(t, checkpoint.NameConversations, conversation)
	s.wantFile(f, checkpoint.Partial)
	s.wantStored(f, "{\"n\":1}\n")
	if h := got.Components.Conversations.Head; h.State != checkpoint.Partial {
		t.Errorf("conversations are %+v", h)
	}
	// Whoever left it may be dead: nothing to wait for.
	s.wantChange(s.take(), capture.None)

	s.append(conversation, "2}\n")
	got = s.take()
	s.wantChange(got, capture.New)
	f = got.file(t, checkpoint.NameConversations, conversation)
	s.wantFile(f, checkpoint.OK)
	s.wantStored(f, "{\"n\":1}\n{\"n\":2}\n")

	// The same, the other way round: whole lines are all that there is.
	s.append(conversation, "{")
	got = s.take()
	s.wantChange(got, capture.New)
	s.wantFile(got.file(t, checkpoint.NameConversations, conversation), checkpoint.Partial)
	s.wantChange(s.take(), capture.None)
}

func TestADeletedConversationIsGone(t *testing.T) {
	t.Parallel()
	s := newEmptySite(t)
	s.plant(conversation, []byte("{}\n"))
	s.plant(project+"b.jsonl", []byte("{}\n"))
	s.take()
	s.remove(conversation)
	got := s.take()
	s.wantChange(got, capture.New)
	if listed := names(got.Files[checkpoint.NameConversations]); !slices.Equal(listed, []string{project + "b.jsonl"}) {
		t.Errorf("listed are %v", listed)
	}
	s.remove(project)
	got = s.take()
	s.wantChange(got, capture.New)
	if got.Components.Conversations != nil {
		t.Errorf("conversations are %+v", got.Components.Conversations)
	}
}

func TestAnUnmovedConversationIsNotRead(t *testing.T) {
	t.Parallel()
	s := newEmptySite(t)
	s.plant(conversation, []byte("{}\n"))
	s.plant(output, []byte("output\n"))
	if got := s.take(); got.puts != 2 {
		t.Errorf("%d contents read, want 2", got.puts)
	}
	got := s.take()
	s.wantChange(got, capture.None)
	if got.puts != 0 || got.bytes != 0 {
		t.Errorf("%d contents read, %d new bytes; nothing had moved", got.puts, got.bytes)
	}
	s.append(conversation, "{}\n")
	got = s.take()
	s.wantChange(got, capture.New)
	if got.puts != 1 {
		t.Errorf("%d contents read, want 1", got.puts)
	}
}

// A file that was written when it was captured may have been written again in
// the same tick of the clock that stamps it, to the same size.
func TestAYoungFileIsReadAgain(t *testing.T) {
	t.Parallel()
	s := newEmptySite(t)
	s.plant(output, []byte("one"))
	now := time.Now()
	s.must(os.Chtimes(s.path(output), now, now))
	s.take()
	s.must(os.WriteFile(s.path(output), []byte("two"), 0o600))
	s.must(os.Chtimes(s.path(output), now, now))
	got := s.take()
	s.wantChange(got, capture.New)
	s.wantStored(got.file(t, checkpoint.NameConversations, output), "two")
}

// meddlingStore does something to the session just before content is read.
type meddlingStore struct {
	capture.Store
	before func()
}

func (m meddlingStore) Put(ctx context.Context, r io.Reader, chunkSize int) (checkpoint.Content, error) {
	m.before()
	return m.Store.Put(ctx, r, chunkSize)
}

func TestAFileThatChangesUnderTheReaderIsCarried(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.plant(output, []byte("one"))
	s.plant(project+"b.jsonl", []byte("{}\n"))
	s.take()
	first := s.prev

	s.plant(output, []byte("two and more"))
	s.append(project+"b.jsonl", "{}\n")
	s.store = func(to capture.Store) capture.Store {
		return meddlingStore{to, func() { s.must(os.Truncate(s.path(output), 3)) }}
	}
	got := s.take() // no error: it is that file's alone
	s.wantChange(got, capture.New)
	s.wantCarried(got.file(t, checkpoint.NameConversations, output), first, checkpoint.NameConversations)
	s.wantFile(got.file(t, checkpoint.NameConversations, project+"b.jsonl"), checkpoint.OK)
	if h := got.Components.Conversations.Head; h.State != checkpoint.Partial || h.Error == "" {
		t.Errorf("conversations are %+v", h)
	}
}

func TestAConversationThatGoesWhileItIsCapturedIsGone(t *testing.T) {
	t.Parallel()
	s := newEmptySite(t)
	s.plant(conversation, []byte("{}\n"))
	s.plant(project+"b.jsonl", []byte("{}\n"))
	s.store = func(to capture.Store) capture.Store {
		return meddlingStore{to, func() { s.remove(project + "b.jsonl") }}
	}
	got := s.take()
	if listed := names(got.Files[checkpoint.NameConversations]); !slices.Equal(listed, []string{conversation}) {
		t.Errorf("listed are %v", listed)
	}
}

// A directory that cannot be read may hold something new: nothing is confirmed,
// also when nothing known is below it.
func TestAnUnreadableDirectoryIsNeverConfirmed(t *testing.T) {
	t.Parallel()
	s := newEmptySite(t)
	s.plant(conversation, []byte("{}\n"))
	s.take()
	other := s.path("$HOME/.claude/projects/other")
	deep := other
	for range 20 { // deeper than what is entered
		deep = filepath.Join(deep, "subagents")
	}
	s.must(os.MkdirAll(filepath.Join(deep, "x"), 0o700))
	got := s.take()
	s.wantChange(got, capture.Worse)
	if h := got.Components.Conversations.Head; h.State != checkpoint.Partial || h.Error == "" {
		t.Errorf("conversations are %+v", h)
	}
	s.append(conversation, "{}\n")
	s.wantChange(s.take(), capture.New)
	s.wantChange(s.take(), capture.Worse)
	s.must(os.RemoveAll(other))
	got = s.take()
	s.wantChange(got, capture.New) // the checkpoint before says partial
	s.wantChange(s.take(), capture.None)

	// Nothing known at all.
	s = newSite(t)
	s.take()
	s.plant("$HOME/.claude/projects", []byte("a file"))
	got = s.take()
	s.wantChange(got, capture.Worse)
	if h := got.Components.Head(checkpoint.NameConversations); h.State != checkpoint.Failed || h.Error == "" {
		t.Errorf("conversations are %+v", h)
	}
}

func TestManyConversationsAreAList(t *testing.T) {
	t.Parallel()
	s := newEmptySite(t)
	const n = checkpoint.MaxInlineFiles + 10
	for i := range n {
		s.plant(fmt.Sprintf("%s%03d.jsonl", project, i), bytes.Repeat([]byte("{}\n"), i))
	}
	s.plant(project+"\xff.jsonl", []byte("{}\n")) // no UTF-8
	got := s.take()
	c := got.Components.Conversations
	if c.FileList == nil || c.FileList.Count != n+1 || len(c.Files) != 0 {
		t.Fatalf("conversations are %+v", c)
	}
	if files, size := got.Size(); files != n+1 || size != 3*(n*(n-1)/2+1) {
		t.Errorf("%d files, %d bytes", files, size)
	}
	got = s.take()
	s.wantChange(got, capture.None)
	if got.puts != 0 || got.bytes != 0 {
		t.Errorf("%d contents read, %d new bytes", got.puts, got.bytes)
	}
	first := s.prev
	projects := s.path("$HOME/.claude/projects")
	s.must(os.Rename(projects, projects+".away"))
	s.must(os.Symlink("nowhere", projects))
	got = s.take()
	s.wantChange(got, capture.Worse)
	for _, f := range got.Files[checkpoint.NameConversations] {
		s.wantCarried(f, first, checkpoint.NameConversations)
	}
	if got.Components.Conversations.FileList.Count != n+1 {
		t.Errorf("conversations are %+v", got.Components.Conversations)
	}
}
