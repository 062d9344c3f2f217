package capture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/conversations"
)

// conversations captures the agents' files. They come after Zed's databases,
// which point to them: content without a pointer heals, a pointer without
// content does not.
func (r *run) conversations(ctx context.Context) error {
	listed := time.Now()
	sources, unread, err := conversations.List(ctx, r.src.Home)
	if err != nil {
		return err
	}
	before := byName(r.prev.Files[checkpoint.NameConversations])
	files := make([]checkpoint.File, 0, len(sources))
	seen := make(map[string]bool, len(sources))
	unmoved := 0
	var opener conversations.Opener
	defer opener.Close()
	for _, s := range sources {
		mark, marked := markFile(s, listed)
		if f, ok := before[s.Logical]; ok && marked && r.marks[mark] && isAs(f, s) {
			r.fresh[mark] = true
			files = append(files, *f)
			seen[s.Logical] = true
			unmoved++
			continue
		}
		f, err := r.conversation(ctx, &opener, s)
		var fatal *storeError
		switch {
		case errors.As(err, &fatal) || (err != nil && ctx.Err() != nil):
			return fmt.Errorf("capture %s: %w", s.Logical, err)
		case errors.Is(err, fs.ErrNotExist): // it went after it was listed
			continue
		case err != nil:
			f = r.carried(checkpoint.NameConversations, s.Logical, s.Kind, err)
		case marked && f.State == checkpoint.OK:
			r.fresh[mark] = true
		}
		files = append(files, f)
		seen[s.Logical] = true
	}
	// What lies in a directory that cannot be read is not gone.
	for name, f := range before {
		for _, u := range unread {
			if !seen[name] && f.State.Usable() && u.Covers(name) {
				files = append(files, r.carry(checkpoint.NameConversations, *f, u.Err))
				seen[name] = true
			}
		}
	}
	if len(files) == 0 && len(unread) == 0 {
		return nil
	}
	head := r.head(files)
	if len(unread) > 0 {
		// Something may be there that nobody has seen.
		switch head.State {
		case checkpoint.OK:
			head.State = checkpoint.Partial
		case checkpoint.Absent:
			head.State = checkpoint.Failed
		}
		head.Error = fmt.Sprintf("%s: %v", unread[0].Logical, unread[0].Err)
	}
	var set checkpoint.FileSet
	if unmoved > 0 && unmoved == len(files) && unmoved == len(before) {
		// Its list too is stored already.
		set, r.out.Files[checkpoint.NameConversations] = r.prev.Manifest.Components.Conversations.FileSet, files
	} else if set, err = r.fileSet(ctx, checkpoint.NameConversations, files); err != nil {
		return err
	}
	r.out.Components.Conversations = &checkpoint.Files{Head: head, FileSet: set}
	return nil
}

// isAs reports whether f was captured whole from a file that looked like s.
func isAs(f *checkpoint.File, s conversations.Source) bool {
	return f.State == checkpoint.OK && f.Size == s.Size && int64(f.MtimeNS) == s.ModTime.UnixNano() && fs.FileMode(f.Mode) == s.Mode
}

// conversation captures one file.
func (r *run) conversation(ctx context.Context, o *conversations.Opener, s conversations.Source) (checkpoint.File, error) {
	content, err := o.Open(s)
	if err != nil {
		return checkpoint.File{}, err
	}
	defer content.Close() //nolint:errcheck // read only
	f := checkpoint.File{
		Kind: s.Kind, State: checkpoint.OK, Mode: checkpoint.Mode(content.Mode), MtimeNS: checkpoint.MtimeNS(content.ModTime.UnixNano()),
	}
	setName(&f, s.Logical)
	if content.Torn {
		f.State = checkpoint.Partial
	}
	f.Content, err = r.put(ctx, content)
	return f, err
}
