package agent

import (
	"bytes"
	"slices"
)

// seenNote is the note of the repository that holds what the capturer saw: the
// sha256 of the manifest that holds it, and its marks.
const seenNote = "seen"

// note keeps what the capturer saw for the next process: a command that finds
// nothing new then reads nothing.
func (k *Keeper) note() {
	if k.latest != nil && k.latest.Manifest.ID == k.entry.ID {
		k.repo.SaveNote(seenNote, slices.Concat(k.entry.ManifestSHA256[:], k.capturer.Marks()))
	}
}

// trust takes over what an earlier process noted, if it is of the latest
// checkpoint.
func (k *Keeper) trust() {
	sum := k.entry.ManifestSHA256
	note := k.repo.Note(seenNote)
	if k.latest != nil && k.latest.Manifest.ID == k.entry.ID && bytes.HasPrefix(note, sum[:]) {
		k.capturer.Trust(note[len(sum):])
	}
}
