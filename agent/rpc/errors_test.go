package rpc

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// Every error travels and arrives as itself, wrapped or not, with a code and a
// reason of its own.
func TestErrorsTravel(t *testing.T) {
	t.Parallel()
	m := newMemory()
	c := NewClient(serve(t, m, Options{}).dial(t))
	reasons := map[string]error{}
	for _, r := range rules() {
		m.fail = fmt.Errorf("while testing: %w", r.is)
		_, err := c.Status(ctxOf(t))
		if !errors.Is(err, r.is) {
			t.Errorf("%v arrived as %v", r.is, err)
		}
		for _, other := range rules() {
			if !errors.Is(other.is, r.is) && errors.Is(err, other.is) {
				t.Errorf("%v arrived as %v too", r.is, other.is)
			}
		}
		if err.Error() != m.fail.Error() {
			t.Errorf("message %q arrived as %q", m.fail, err)
		}
		s := status.Convert(err)
		info, retry := details(s)
		if s.Code() != r.code || info.GetDomain() != "helix.ckpt" || info.GetReason() != reasonName(r.reason) {
			t.Errorf("%v: code %v, domain %q, reason %q", r.is, s.Code(), info.GetDomain(), info.GetReason())
		}
		if retry.GetRetryDelay().AsDuration() != r.retry {
			t.Errorf("%v: retry in %v, want %v", r.is, retry.GetRetryDelay().AsDuration(), r.retry)
		}
		if was := reasons[info.GetReason()]; was != nil {
			t.Errorf("%v and %v have the same reason %s", was, r.is, info.GetReason())
		}
		reasons[info.GetReason()] = r.is
	}
}

func details(s *status.Status) (info *errdetails.ErrorInfo, retry *errdetails.RetryInfo) {
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	return info, retry
}

// A sentinel that is added to package checkpoint must get a rule: its source is
// read, so that none is forgotten.
func TestEverySentinelHasARule(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"errors.go", "manifest.go", "roots.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), "../../checkpoint/"+file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for _, name := range spec.Names {
				if strings.HasPrefix(name.Name, "Err") {
					found++
					if !strings.Contains(string(source), "{checkpoint."+name.Name+",") {
						t.Errorf("checkpoint.%s has no rule", name.Name)
					}
				}
			}
			return true
		})
		if found == 0 {
			t.Errorf("no sentinel found in %s: does this test look in the right place?", file)
		}
	}
}

// Reasons that no rule has yet belong to calls that are not built yet.
func TestEveryReasonIsUsedOrKnownAsLater(t *testing.T) {
	t.Parallel()
	later := map[ckptv1.ErrorReason]bool{
		ckptv1.ErrorReason_ERROR_REASON_DRAINED:    true, // Drain
		ckptv1.ErrorReason_ERROR_REASON_MAP_NEEDED: true, // restore --map
		ckptv1.ErrorReason_ERROR_REASON_VERSION:    true, // restore --ignore-version
	}
	used := map[ckptv1.ErrorReason]bool{ckptv1.ErrorReason_ERROR_REASON_UNSPECIFIED: true}
	for _, r := range rules() {
		used[r.reason] = true
	}
	for n := range ckptv1.ErrorReason_name {
		if r := ckptv1.ErrorReason(n); used[r] == later[r] {
			t.Errorf("%v: used %v, later %v", r, used[r], later[r])
		}
	}
}

func TestZedsPidTravels(t *testing.T) {
	t.Parallel()
	m := newMemory()
	c := NewClient(serve(t, m, Options{}).dial(t))
	m.fail = fmt.Errorf("restore: %w", &checkpoint.ZedRunning{PID: 4711})
	_, err := c.Status(ctxOf(t))
	var zed *checkpoint.ZedRunning
	if !errors.As(err, &zed) || zed.PID != 4711 || !errors.Is(err, checkpoint.ErrZedRunning) {
		t.Errorf("got %v (%+v)", err, zed)
	}
	if info, _ := details(status.Convert(err)); info.GetMetadata()["pid"] != "4711" {
		t.Errorf("metadata %v", info.GetMetadata())
	}
}

func TestOtherErrorsKeepTheirWords(t *testing.T) {
	t.Parallel()
	m := newMemory()
	c := NewClient(serve(t, m, Options{}).dial(t))
	for _, test := range []struct {
		err  error
		code codes.Code
		is   error
	}{
		{errors.New("the disk is on fire"), codes.Unknown, nil},
		{fmt.Errorf("gave up: %w", context.Canceled), codes.Canceled, context.Canceled},
		{status.Error(codes.Unimplemented, "later"), codes.Unimplemented, nil},
	} {
		m.fail = test.err
		_, err := c.Status(ctxOf(t))
		if status.Code(err) != test.code || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%v arrived as %v", test.err, err)
		}
		if want := status.Convert(ToStatus(test.err)).Message(); !strings.Contains(err.Error(), want) {
			t.Errorf("%q arrived as %q", want, err)
		}
	}
}

// What an error says can come from a file name or a hostile archive.
func TestHostileErrorTextTravels(t *testing.T) {
	t.Parallel()
	m := newMemory()
	c := NewClient(serve(t, m, Options{}).dial(t))
	m.fail = fmt.Errorf("file \xff\xfe\n%s: %w", strings.Repeat("é", 1<<20), checkpoint.ErrDamaged)
	_, err := c.Status(ctxOf(t))
	if !errors.Is(err, checkpoint.ErrDamaged) || len(err.Error()) > maxErrorText+8 || !utf8.ValidString(err.Error()) {
		t.Errorf("got %d bytes: %.80q", len(err.Error()), err)
	}
}
