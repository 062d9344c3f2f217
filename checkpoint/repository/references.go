package repository

import (
	"context"
	"fmt"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Reference is one content that a checkpoint needs.
type Reference struct {
	Component string
	// Path is the logical path of a file, or what a list lists: "files" or
	// "threads".
	Path string
	// List is set when the content is a list.
	List *checkpoint.List
	// File is set when the content is that of a file.
	File    *checkpoint.File
	Content checkpoint.Content
}

// ofFiles reports whether ref is a list of files, whose entries are references
// themselves.
func (ref Reference) ofFiles() bool { return ref.List != nil && ref.Path == "files" }

// References calls visit for every content that a checkpoint needs, in the order
// of the manifest: Zed's threads, then each component's files; a list of files
// is visited before it is read and followed by its files. A symlink is among
// them, with no content; a file of which nothing was captured is not.
func References(ctx context.Context, src Source, m *checkpoint.Manifest, visit func(Reference) error) error {
	for _, ref := range references(m) {
		if err := visit(ref); err != nil {
			return err
		}
		if !ref.ofFiles() {
			continue
		}
		err := EachFile(ctx, src, m.Components.FileSet(ref.Component), func(f *checkpoint.File) error {
			if ref, ok := fileReference(ref.Component, f); ok {
				return visit(ref)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("component %s: %w", ref.Component, err)
		}
	}
	return nil
}

// references returns what the manifest itself names: not the files of a list.
func references(m *checkpoint.Manifest) []Reference {
	var refs []Reference
	if z := m.Components.Zed; z != nil && z.Threads != nil {
		refs = append(refs, Reference{Component: checkpoint.NameZed, Path: "threads", List: z.Threads, Content: z.Threads.Content})
	}
	for _, name := range checkpoint.Names() {
		set := m.Components.FileSet(name)
		if set == nil {
			continue
		}
		if l := set.FileList; l != nil {
			refs = append(refs, Reference{Component: name, Path: "files", List: l, Content: l.Content})
		}
		refs = append(refs, fileReferences(name, set.Files)...)
	}
	return refs
}

func fileReferences(component string, files []checkpoint.File) []Reference {
	var refs []Reference
	for i := range files {
		if ref, ok := fileReference(component, &files[i]); ok {
			refs = append(refs, ref)
		}
	}
	return refs
}

// fileReference returns what a file needs; nothing for one of which nothing was
// captured.
func fileReference(component string, f *checkpoint.File) (ref Reference, ok bool) {
	if !f.State.Usable() {
		return ref, false
	}
	ref = Reference{Component: component, Path: f.Name(), File: f}
	if f.Kind != checkpoint.KindSymlink {
		ref.Content = f.Content
	}
	return ref, true
}
