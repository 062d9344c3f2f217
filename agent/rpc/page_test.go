package rpc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// pager returns a page of the ids of what backend lists, and the next token.
type pager func(t *rapid.T, m *memory, size int32, token string) (ids []checkpoint.ID, next string)

// walk reads all pages while checkpoints come and go between them, and says
// what is wrong with what was read: each that was there all the time must come
// once, and nothing twice or out of order.
func walk(t *rapid.T, next pager) error {
	m := newMemory()
	seq := uint64(rapid.IntRange(0, 60).Draw(t, "entries"))
	for n := seq; n > 0; n-- {
		m.entries = append(m.entries, testEntry(n))
	}
	always := map[checkpoint.ID]bool{}
	for _, e := range m.entries {
		always[e.ID] = true
	}
	var got []checkpoint.ID
	for token := ""; ; {
		ids, after := next(t, m, rapid.Int32Range(1, 10).Draw(t, "page_size"), token)
		got = append(got, ids...)
		if token = after; token == "" {
			break
		}
		for range rapid.IntRange(0, 3).Draw(t, "new") {
			seq++
			m.entries = slices.Insert(m.entries, 0, testEntry(seq))
		}
		if len(m.entries) > 0 && rapid.Bool().Draw(t, "prune") {
			i := rapid.IntRange(0, len(m.entries)-1).Draw(t, "pruned")
			delete(always, m.entries[i].ID)
			m.entries = slices.Delete(m.entries, i, i+1)
		}
	}
	if !slices.IsSortedFunc(got, func(a, b checkpoint.ID) int { return strings.Compare(string(b), string(a)) }) {
		return fmt.Errorf("not newest first: %v", got)
	}
	if unique := slices.Compact(slices.Clone(got)); len(unique) != len(got) {
		return fmt.Errorf("something came twice: %v", got)
	}
	for id := range always {
		if !slices.Contains(got, id) {
			return fmt.Errorf("%s never came: %v", id, got)
		}
	}
	return nil
}

func TestListPagesAreWholeWhileCheckpointsComeAndGo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		if err := walk(t, listPage); err != nil {
			t.Error(err)
		}
	})
}

func listPage(t *rapid.T, m *memory, size int32, token string) (ids []checkpoint.ID, next string) {
	out, err := (&checkpointService{backend: m}).ListCheckpoints(t.Context(), &ckptv1.ListCheckpointsRequest{PageSize: size, PageToken: token})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range out.GetCheckpoints() {
		ids = append(ids, checkpoint.ID(c.GetId()))
	}
	if len(ids) > int(size) || len(ids) == 0 && out.GetNextPageToken() != "" {
		t.Fatalf("a page of %d, at most %d were asked for; next %q", len(ids), size, out.GetNextPageToken())
	}
	return ids, out.GetNextPageToken()
}

// The check can fail: tokens that are positions skip and repeat.
func TestPositionsAsTokensFailTheCheck(t *testing.T) {
	t.Parallel()
	byPosition := func(_ *rapid.T, m *memory, size int32, token string) (ids []checkpoint.ID, next string) {
		start, _ := strconv.Atoi(token)
		end := min(start+int(size), len(m.entries))
		for _, e := range m.entries[min(start, end):end] {
			ids = append(ids, e.ID)
		}
		if end < len(m.entries) {
			next = strconv.Itoa(end)
		}
		return ids, next
	}
	caught := rapid.Custom(func(t *rapid.T) bool { return walk(t, byPosition) != nil }).Filter(func(b bool) bool { return b })
	if !caught.Example() {
		t.Error("positions pass the check")
	}
}

// A page of a checkpoint's files and threads by either token, with entries so
// big that a page ends before it is full.
func TestFilesAndThreadsPages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := pagedBackend(t)
		s := &checkpointService{backend: m}
		var files, threads []string
		in := &ckptv1.GetCheckpointRequest{
			View: ckptv1.CheckpointView_CHECKPOINT_VIEW_FULL, PageSize: rapid.SampledFrom([]int32{0, 1, 7, 250, 1000, 5000}).Draw(t, "page_size"),
		}
		for {
			out, err := s.GetCheckpoint(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if size := proto.Size(out); size > maxMessage {
				t.Fatalf("an answer of %d bytes", size)
			}
			for _, f := range out.GetFiles() {
				files = append(files, f.GetComponent().String()+string(f.GetPath()))
			}
			for _, th := range out.GetThreads() {
				threads = append(threads, th.GetId())
			}
			if out.GetNextFilesPageToken() == "" && out.GetNextThreadsPageToken() == "" {
				break
			}
			in.FilesPageToken, in.ThreadsPageToken = out.GetNextFilesPageToken(), out.GetNextThreadsPageToken()
		}
		var wantFiles, wantThreads []string
		for _, name := range checkpoint.Names() {
			for _, f := range m.files[name] {
				wantFiles = append(wantFiles, components().number(name).String()+f.Name())
			}
		}
		for _, th := range m.threads {
			wantThreads = append(wantThreads, th.ID)
		}
		if !slices.Equal(files, wantFiles) {
			t.Fatalf("%d files came, want %d", len(files), len(wantFiles))
		}
		if !slices.Equal(threads, wantThreads) {
			t.Fatalf("%d threads came, want %d", len(threads), len(wantThreads))
		}
	})
}

// pagedBackend has one checkpoint with random numbers of files and threads.
func pagedBackend(t *rapid.T) *memory {
	m := newMemory()
	m.entries = []checkpoint.Entry{testEntry(1)}
	manifest := &checkpoint.Manifest{ID: m.entries[0].ID, Session: "s", Components: checkpoint.Components{
		Zed: &checkpoint.Zed{Threads: &checkpoint.List{}}, Conversations: &checkpoint.Files{}, Files: &checkpoint.Files{},
	}}
	m.manifests[manifest.ID] = manifest
	long := rapid.SampledFrom([]int{0, 20_000}).Draw(t, "long")
	for _, name := range []string{checkpoint.NameZed, checkpoint.NameConversations, checkpoint.NameFiles} {
		for i := range rapid.IntRange(0, 60).Draw(t, name) {
			long := strings.Repeat("p", long)
			m.files[name] = append(m.files[name], checkpoint.File{Path: fmt.Sprintf("$HOME/%06d%s", i, long), Kind: checkpoint.KindFile, State: checkpoint.OK})
		}
	}
	for i := range rapid.IntRange(0, 300).Draw(t, "threads") {
		m.threads = append(m.threads, checkpoint.Thread{ID: strconv.Itoa(i), Title: strings.Repeat("é", 700)})
	}
	return m
}

// A token is of one checkpoint: "latest" can mean another one by now.
func TestTokenOfAnotherCheckpointIsRefused(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.entries = []checkpoint.Entry{testEntry(1)}
	m.manifests[m.entries[0].ID] = &checkpoint.Manifest{ID: m.entries[0].ID, Session: "s"}
	token, err := encodeToken(offset{ID: testEntry(2).ID, N: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&checkpointService{backend: m}).GetCheckpoint(t.Context(), &ckptv1.GetCheckpointRequest{FilesPageToken: token})
	if err == nil || !strings.Contains(err.Error(), "page_token is of checkpoint") {
		t.Errorf("got %v", err)
	}
}

// A caller can send anything as a token.
func FuzzPageTokens(f *testing.F) {
	good, err := encodeToken(offset{ID: testEntry(1).ID, N: 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("eyJuIjotMX0")
	f.Add("e30")
	m := newMemory()
	m.entries = []checkpoint.Entry{testEntry(1)}
	m.manifests[m.entries[0].ID] = &checkpoint.Manifest{ID: m.entries[0].ID, Session: "s", Components: checkpoint.Components{Files: &checkpoint.Files{}}}
	m.files[checkpoint.NameFiles] = []checkpoint.File{{Path: "$HOME/a"}, {Path: "$HOME/b"}}
	s := &checkpointService{backend: m}
	f.Fuzz(func(t *testing.T, token string) {
		out, err := s.GetCheckpoint(t.Context(), &ckptv1.GetCheckpointRequest{FilesPageToken: token, ThreadsPageToken: token})
		if err == nil && len(out.GetFiles()) > 2 {
			t.Errorf("%d files", len(out.GetFiles()))
		}
		if _, err := s.ListCheckpoints(t.Context(), &ckptv1.ListCheckpointsRequest{PageToken: token}); err != nil && token == "" {
			t.Error(err)
		}
	})
}
