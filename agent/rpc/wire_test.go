package rpc

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
	"github.com/helixml/helix-ckpt/restore"
)

// diff reports whether two values of the domain differ.
func diff(a, b any) bool { return !reflect.DeepEqual(a, b) }

// maxFill is deep enough for a node in a node of a layout.
const maxFill = 24

// fill sets every exported field below v to something that is not zero, so that
// a field that the wire forgets is seen.
func fill(v reflect.Value, depth int) {
	switch {
	case depth > maxFill && v.Kind() == reflect.Slice:
		return // a tree of nodes has to end
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1763979300, 5).UTC()))
		return
	case v.Type() == reflect.TypeFor[checkpoint.State]():
		v.SetString(string(checkpoint.Carried))
		return
	case v.Type() == reflect.TypeFor[checkpoint.Kind]():
		v.SetString(string(checkpoint.KindSQLite))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), depth+1)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.SetString(checkpoint.NameZed)
		fill(value, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		v.SetInt(7)
	}
}

// unset lists the fields of m, and of the messages in it, that nothing set.
func unset(m protoreflect.Message, path string, depth int) (names []string) {
	if depth == 0 {
		return nil
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := path + "." + string(f.Name())
		switch {
		case !m.Has(f):
			names = append(names, name)
		case f.IsMap():
			m.Get(f).Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				if f.MapValue().Message() != nil {
					names = append(names, unset(v.Message(), name, depth-1)...)
				}
				return true
			})
		case f.IsList() && f.Message() != nil:
			names = append(names, unset(m.Get(f).List().Get(0).Message(), name, depth-1)...)
		case !f.IsList() && f.Message() != nil && !strings.HasPrefix(string(f.Message().FullName()), "google."):
			names = append(names, unset(m.Get(f).Message(), name, depth-1)...)
		}
	}
	return names
}

func TestTheFullViewLeavesNothingOut(t *testing.T) {
	t.Parallel()
	var found Found
	fill(reflect.ValueOf(&found).Elem(), 0)
	for _, name := range unset(full(found).ProtoReflect(), "checkpoint", 6) {
		t.Errorf("%s is not set", name)
	}
	var f checkpoint.File
	fill(reflect.ValueOf(&f).Elem(), 0)
	for _, name := range unset(file(checkpoint.NameZed, f).ProtoReflect(), "file", 3) {
		t.Errorf("%s is not set", name)
	}
	var th checkpoint.Thread
	fill(reflect.ValueOf(&th).Elem(), 0)
	for _, name := range unset(thread(th).ProtoReflect(), "thread", 3) {
		t.Errorf("%s is not set", name)
	}
	// The check can fail.
	if got := unset((&ckptv1.Checkpoint{Id: "x"}).ProtoReflect(), "checkpoint", 6); len(got) == 0 {
		t.Error("an empty message has nothing unset")
	}
}

// What the client returns is what the backend said.
func TestStatusTravels(t *testing.T) {
	t.Parallel()
	var want Status
	fill(reflect.ValueOf(&want).Elem(), 0)
	want.State, want.Restore.Phase = SessionDrained, restore.RolledBack
	want.Latest.Components = testEntry(1).Components
	for name, h := range want.Components {
		h.V = checkpoint.ComponentVersion
		want.Components[name] = h
	}
	m := newMemory()
	m.status = want
	got, err := NewClient(serve(t, m, Options{}).dial(t)).Status(ctxOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, name := range unset(statusMessage(want).ProtoReflect(), "status", 1) {
		t.Errorf("%s is not set", name)
	}
}

// Every word has a number and every number a word.
func TestWordsAndNumbers(t *testing.T) {
	t.Parallel()
	for _, name := range checkpoint.Names() {
		if n := components().number(name); n == 0 || components().word(n) != name {
			t.Errorf("component %s is %v", name, n)
		}
	}
	check := func(enum protoreflect.EnumDescriptor, word func(int32) string) {
		for i := range enum.Values().Len() {
			n := int32(enum.Values().Get(i).Number())
			if n != 0 && word(n) == "" {
				t.Errorf("%s %d has no word", enum.Name(), n)
			}
		}
	}
	check(ckptv1.Component(0).Descriptor(), func(n int32) string { return components().word(ckptv1.Component(n)) })
	check(ckptv1.State(0).Descriptor(), func(n int32) string { return string(states().word(ckptv1.State(n))) })
	check(ckptv1.FileKind(0).Descriptor(), func(n int32) string { return string(kinds().word(ckptv1.FileKind(n))) })
	check(ckptv1.RestorePhase(0).Descriptor(), func(n int32) string { return string(phases().word(ckptv1.RestorePhase(n))) })
	check(ckptv1.RestoreScope(0).Descriptor(), func(n int32) string { return string(scopes().word(ckptv1.RestoreScope(n))) })
	check(ckptv1.ThreadsPolicy(0).Descriptor(), func(n int32) string { return string(policies().word(ckptv1.ThreadsPolicy(n))) })
	check(ckptv1.RestoreResult(0).Descriptor(), func(n int32) string { return string(results().word(ckptv1.RestoreResult(n))) })
	check(ckptv1.SessionState(0).Descriptor(), func(n int32) string { return string(sessionStates().word(ckptv1.SessionState(n))) })
}

func TestTextFitsTheWire(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")) + rapid.String().Draw(t, "string")
		n := rapid.IntRange(0, 60).Draw(t, "n")
		got := text(s, n)
		if !utf8.ValidString(got) {
			t.Fatalf("%q is not UTF-8", got)
		}
		if utf8.ValidString(s) && (len(got) > n || !strings.HasPrefix(s, got)) {
			t.Fatalf("%q cut to %d is %q", s, n, got)
		}
		if utf8.ValidString(s) && len(s) <= n && got != s {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

// The views of a list and of one checkpoint agree.
func TestEntryTravels(t *testing.T) {
	t.Parallel()
	want := testEntry(9)
	want.RequestID, want.Pinned = "r-9", true
	b, err := proto.Marshal(basic("s", want))
	if err != nil {
		t.Fatal(err)
	}
	c := &ckptv1.Checkpoint{}
	if err := proto.Unmarshal(b, c); err != nil {
		t.Fatal(err)
	}
	if got := entry(c); diff(got, want) {
		t.Errorf("%s", fmt.Sprintf("got  %+v\nwant %+v", got, want))
	}
}
