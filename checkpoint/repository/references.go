package repository

import (
	"context"
	"fmt"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Reference is one content that a checkpoint needs.
type Reference struct {
	Component string
	// Path is the logical path of a file; of a list, what it lists: "files" or
	// "threads".
	Path string
	// List is set when the content is a list.
	List *checkpoint.List
	// File is set when the content is that of a file.
	File    *checkpoint.File
	Content checkpoint.Content
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
		f := &files[i]
		if f.State.Usable() {
			refs = append(refs, Reference{Component: component, Path: f.Name(), File: f, Content: f.Content})
		}
	}
	return refs
}

// References returns every content that a checkpoint needs, the files of its
// lists included, in the order of the manifest: each list before its files. A
// symlink is among them, with no content.
func References(ctx context.Context, src Source, m *checkpoint.Manifest) ([]Reference, error) {
	refs := references(m)
	var all []Reference
	for _, ref := range refs {
		all = append(all, ref)
		if ref.List == nil || ref.Path != "files" {
			continue
		}
		files, err := ReadFiles(ctx, src, m.Components.FileSet(ref.Component))
		if err != nil {
			return nil, fmt.Errorf("component %s: %w", ref.Component, err)
		}
		all = append(all, fileReferences(ref.Component, files)...)
	}
	return all, nil
}
