package capture_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/capture"
)

// again is another process that captures the same session, with the marks of
// the one before.
func (s *site) again(marks []byte) {
	s.capturer = capture.Capturer{}
	s.capturer.Trust(marks)
}

// rewrite replaces what stands in a file, in place, and sets its times back as
// touch -r does: only the change time of the inode tells.
func (s *site) rewrite(logical string, content []byte) {
	s.t.Helper()
	path := s.path(logical)
	info, err := os.Stat(path)
	s.must(err)
	if int64(len(content)) != info.Size() {
		s.t.Fatalf("%d bytes in the place of %d", len(content), info.Size())
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	s.must(err)
	_, err = f.Write(content)
	s.must(err)
	s.must(f.Close())
	s.must(os.Chtimes(path, info.ModTime(), info.ModTime()))
}

func TestMarksOutliveTheProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.plant(conversation, []byte("{}\n"))
	s.plant(output, []byte("output"))
	first := s.take()
	marks := s.capturer.Marks()

	s.again(marks)
	got := s.take()
	s.wantChange(got, capture.None)
	if got.puts != 0 || got.bytes != 0 {
		t.Errorf("%d contents read, %d new bytes; nothing had moved", got.puts, got.bytes)
	}
	was, is := first.Components.Zed, got.Components.Zed
	if is.State != checkpoint.OK || is.Pointer != was.Pointer || len(is.Windows) != len(was.Windows) || is.Threads.Count != 2 || len(got.Threads) != 2 {
		t.Errorf("zed is %+v, was %+v", is, was)
	}
	if !bytes.Equal(s.capturer.Marks(), marks) {
		t.Error("the marks have changed, and nothing else")
	}

	// When one database has moved, both are read: what the other names is not
	// known to a new process.
	s.sqlite(threadsDB, "DELETE FROM threads")
	s.again(marks)
	got = s.take()
	s.wantChange(got, capture.New)
	if got.puts != 2 {
		t.Errorf("%d contents read, want both databases", got.puts)
	}
	if z := got.Components.Zed; len(z.Dangling) == 0 || z.Threads != nil {
		t.Errorf("threads that db.sqlite names are gone, and zed is %+v", z)
	}
}

// Whatever is lost of the marks costs that files are read again, and nothing
// else.
func TestLostMarksCostTimeOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.plant(conversation, []byte("{}\n"))
	s.plant(output, []byte("output"))
	s.take()
	marks := s.capturer.Marks()
	for name, left := range map[string][]byte{
		"none": nil, "garbage": bytes.Repeat([]byte{1}, 100), "cut": marks[:20], "shifted": marks[1:],
	} {
		s.again(left)
		got := s.take()
		s.wantChange(got, capture.None)
		if got.puts == 0 || got.bytes != 0 {
			t.Errorf("%s: %d contents read, %d new bytes", name, got.puts, got.bytes)
		}
	}
}

// A file that was rewritten to the same size, with its time set back, is found
// out by the change time of its inode. The broken variant, marks that do not
// look at it (those of the file as it is now), gives a checkpoint that is not
// what is there; and the comparison with what is there tells.
func TestARewriteIsSeenByTheChangeTime(t *testing.T) {
	t.Parallel()
	for _, logical := range []string{conversation, output, threadsDB} {
		s := newSite(t)
		s.plant(conversation, []byte("{\"n\":1}\n"))
		s.plant(output, []byte("one"))
		component := componentOf(logical)
		stale := func(got taken) bool {
			live, err := os.ReadFile(s.path(logical))
			s.must(err)
			stored, err := os.ReadFile(s.stored(got.file(t, component, logical)))
			s.must(err)
			return !bytes.Equal(live, stored)
		}
		s.take()
		marks, before := s.capturer.Marks(), s.prev
		content, err := os.ReadFile(s.path(logical))
		s.must(err)
		switch logical {
		case threadsDB:
			content[63] ^= 1 // PRAGMA user_version
		default:
			content = []byte(strings.NewReplacer("1", "2", "one", "two").Replace(string(content)))
		}
		s.rewrite(logical, content)
		s.again(marks)
		got := s.take()
		s.wantChange(got, capture.New)
		if stale(got) {
			t.Errorf("%s: an old state was captured", logical)
		}

		blind := s.capturer.Marks()
		s.again(blind)
		s.prev = before
		if got := s.take(); !stale(got) {
			t.Errorf("%s: marks that hide the change were not noticed", logical)
		}
	}
}

// What was written just before it was looked at can be written again without a
// trace: it has no mark.
func TestYoungFilesHaveNoMark(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.plant(conversation, []byte("{}\n"))
	soon := time.Now().Add(5 * time.Millisecond)
	for _, logical := range []string{conversation, threadsDB} {
		s.must(os.Chtimes(s.path(logical), soon, soon))
	}
	for {
		s.take()
		marks := s.capturer.Marks()
		s.again(marks)
		got := s.take()
		s.wantChange(got, capture.None)
		if time.Now().Before(soon.Add(20 * time.Millisecond)) {
			continue // some are too young still; when they are not, nothing is read
		}
		s.again(s.capturer.Marks())
		if got = s.take(); got.puts != 0 {
			t.Errorf("%d contents read", got.puts)
		}
		return
	}
}
