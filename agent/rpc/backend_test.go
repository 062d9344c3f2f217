package rpc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/restore"
)

// memory is a Backend for the protocol only: it holds in memory what it is told
// to answer, and does what the interface promises about imports and restores.
type memory struct {
	mu        sync.Mutex
	entries   []checkpoint.Entry
	manifests map[checkpoint.ID]*checkpoint.Manifest
	files     map[string][]checkpoint.File
	threads   []checkpoint.Thread
	archive   []byte
	uploads   map[checkpoint.Hash]*bytes.Buffer
	restores  map[string]*script
	status    Status
	created   Created
	declined  checkpoint.ID
	pruned    Pruned
	verified  []VerifyEvent

	// fail, when set, is what every method returns.
	fail error
	// asked is the last request of each kind.
	askedCreate  CreateRequest
	askedRestore RestoreRequest
	askedDryRun  bool
	askedVerify  VerifyRequest
	// verifyEnds, when set, holds Verify until its context ends, and is told why.
	verifyEnds chan error
	// block, when set, holds Create until its context ends.
	block chan struct{}
	// panics makes Status panic.
	panics bool
}

func newMemory() *memory {
	return &memory{
		manifests: map[checkpoint.ID]*checkpoint.Manifest{}, files: map[string][]checkpoint.File{},
		uploads: map[checkpoint.Hash]*bytes.Buffer{}, restores: map[string]*script{},
	}
}

func (m *memory) Create(ctx context.Context, r CreateRequest) (Created, error) {
	m.mu.Lock()
	m.askedCreate = r
	block := m.block
	m.mu.Unlock()
	if block != nil {
		close(block)
		<-ctx.Done()
		return Created{}, fmt.Errorf("capture: %w", ctx.Err())
	}
	return m.created, m.fail
}

func (m *memory) List(context.Context) ([]checkpoint.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.entries), m.fail
}

func (m *memory) Get(_ context.Context, selector string) (Found, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return Found{}, m.fail
	}
	e, err := checkpoint.Select(m.entries, selector)
	return Found{e, m.manifests[e.ID]}, err
}

func (m *memory) Pin(_ context.Context, selector string, pinned bool) (checkpoint.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return checkpoint.Entry{}, m.fail
	}
	e, err := checkpoint.Select(m.entries, selector)
	e.Pinned = pinned
	return e, err
}

func (m *memory) Delete(_ context.Context, id checkpoint.ID) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return 0, m.fail
	}
	at := slices.IndexFunc(m.entries, func(e checkpoint.Entry) bool { return e.ID == id })
	if at < 0 {
		return 0, checkpoint.ErrNotFound
	}
	freed := m.entries[at].NewBytes
	m.entries = slices.Delete(m.entries, at, at+1)
	return freed, nil
}

func (m *memory) Prune(_ context.Context, dryRun bool) (Pruned, error) {
	m.askedDryRun = dryRun
	return m.pruned, m.fail
}

func (m *memory) Verify(ctx context.Context, r VerifyRequest, emit func(VerifyEvent)) error {
	m.askedVerify = r
	if m.fail != nil {
		return m.fail
	}
	for _, e := range m.verified {
		emit(e)
	}
	if m.verifyEnds != nil {
		<-ctx.Done()
		m.verifyEnds <- ctx.Err()
	}
	return ctx.Err()
}

func (m *memory) Files(_ context.Context, _ *checkpoint.Manifest, component string) iter.Seq2[checkpoint.File, error] {
	return all(m.files[component])
}

func (m *memory) Threads(context.Context, *checkpoint.Manifest) iter.Seq2[checkpoint.Thread, error] {
	return all(m.threads)
}

func all[T any](s []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range s {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func (m *memory) Export(_ context.Context, _ string, offset int64) (Archive, error) {
	if m.fail != nil {
		return Archive{}, m.fail
	}
	if offset > int64(len(m.archive)) {
		return Archive{}, fmt.Errorf("%w: offset %d", checkpoint.ErrInvalid, offset)
	}
	return Archive{
		ID: m.entries[0].ID, Size: int64(len(m.archive)), SHA256: checkpoint.Sum(m.archive),
		Body: io.NopCloser(bytes.NewReader(m.archive[offset:])),
	}, nil
}

func (m *memory) Import(_ context.Context, h ImportHeader) (Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	if m.uploads[h.SHA256] == nil {
		m.uploads[h.SHA256] = &bytes.Buffer{}
	}
	return &upload{m, h, m.uploads[h.SHA256]}, nil
}

// arrived is how much of an archive is here.
func (m *memory) arrived(sum checkpoint.Hash) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uploads[sum] == nil {
		return 0
	}
	return m.uploads[sum].Len()
}

type upload struct {
	m      *memory
	header ImportHeader
	buf    *bytes.Buffer
}

func (u *upload) Offset() int64 { return int64(u.m.arrived(u.header.SHA256)) }

func (u *upload) Write(b []byte) (int, error) {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	return u.buf.Write(b)
}

func (u *upload) Commit(context.Context) (checkpoint.Entry, error) {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	delete(u.m.uploads, u.header.SHA256)
	if checkpoint.Sum(u.buf.Bytes()) != u.header.SHA256 {
		return checkpoint.Entry{}, fmt.Errorf("archive: %w", checkpoint.ErrDamaged)
	}
	u.m.archive = bytes.Clone(u.buf.Bytes())
	return u.m.entries[0], nil
}

func (u *upload) Close() error { return nil }

// script is a restore whose events a test plays.
type script struct {
	mu     sync.Mutex
	events []restore.Event
	more   chan struct{} // closed and replaced at every event
	done   bool
}

func newScript() *script { return &script{more: make(chan struct{})} }

// play adds an event, and ends the restore with a report.
func (s *script) play(e restore.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Number = int64(len(s.events) + 1)
	e.Time = time.Unix(1763979300, 0).UTC()
	s.events = append(s.events, e)
	s.done = s.done || e.Report != nil
	close(s.more)
	s.more = make(chan struct{})
}

// at returns the event at i if it is there, else what to wait for.
func (s *script) at(i int) (e restore.Event, ok, done bool, more chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < len(s.events) {
		return s.events[i], true, false, nil
	}
	return restore.Event{}, false, s.done, s.more
}

func (m *memory) Restore(ctx context.Context, r RestoreRequest) (iter.Seq2[restore.Event, error], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.askedRestore = r
	s := m.restores[r.RequestID]
	if m.fail != nil || s == nil {
		return nil, cmpErr(m.fail, checkpoint.ErrNothing)
	}
	return func(yield func(restore.Event, error) bool) {
		for i := 0; ; {
			e, ok, done, more := s.at(i)
			switch {
			case ok && !yield(e, nil), done:
				return
			case ok:
				i++
			default:
				select {
				case <-more:
				case <-ctx.Done():
					return
				}
			}
		}
	}, nil
}

func (m *memory) DeclineRestore(context.Context, string) (checkpoint.ID, error) {
	return m.declined, m.fail
}

func (m *memory) Status(context.Context) (Status, error) {
	if m.panics {
		panic("planted")
	}
	return m.status, m.fail
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
