package checkpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Latest is the selector of the checkpoint with the highest (epoch, seq).
const Latest = "latest"

// SortEntries sorts entries newest first, in the order of Entry.Compare.
func SortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return b.Compare(a) })
}

// Select returns the entry that selector means, of entries sorted newest
// first:
//
//	"" or latest       the highest (epoch, seq)
//	latest~N           the N-th before it
//	an id or a prefix  the one checkpoint whose id starts so
//	an RFC 3339 time   the newest that was not created after it
//
// It returns an error that wraps ErrNotFound when there is none, and ErrInvalid
// when the selector is ambiguous or makes no sense.
func Select(entries []Entry, selector string) (Entry, error) {
	if len(entries) == 0 {
		return Entry{}, fmt.Errorf("%w: this session has no checkpoint yet", ErrNotFound)
	}
	if selector == "" || selector == Latest {
		return entries[0], nil
	}
	if n, ok := strings.CutPrefix(selector, Latest+"~"); ok {
		back, err := strconv.ParseUint(n, 10, 31)
		if err != nil {
			return Entry{}, fmt.Errorf("%w: selector %q: want %s~N with N a number", ErrInvalid, selector, Latest)
		}
		if int(back) >= len(entries) {
			return Entry{}, fmt.Errorf("%w: %s goes back further than the %d checkpoints there are", ErrNotFound, selector, len(entries))
		}
		return entries[back], nil
	}
	if t, err := time.Parse(time.RFC3339Nano, selector); err == nil {
		return NotAfter(entries, t)
	}
	var found []Entry
	for _, e := range entries {
		if strings.HasPrefix(string(e.ID), selector) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return Entry{}, fmt.Errorf("%w: no checkpoint id starts with %q; 'helix-ckpt list' shows them", ErrNotFound, selector)
	case 1:
		return found[0], nil
	}
	return Entry{}, fmt.Errorf("%w: selector %q is ambiguous: %s, %s and %d more ids start with it", ErrInvalid, selector, found[0].ID, found[1].ID, len(found)-2)
}

// NotAfter returns the newest of entries, sorted newest first, that was not
// created after t.
func NotAfter(entries []Entry, t time.Time) (Entry, error) {
	for _, e := range entries {
		if !e.Created.After(t) {
			return e, nil
		}
	}
	return Entry{}, fmt.Errorf("%w: no checkpoint is as old as %s", ErrNotFound, t.Format(time.RFC3339))
}
