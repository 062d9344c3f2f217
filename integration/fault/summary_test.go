package fault

import (
	"fmt"
	"sync"
	"testing"
)

// summary is what a run found, by kind. It is printed and written as JSON.
type summary struct {
	Seed uint64 `json:"seed"`
	// Sums over the kinds.
	Cases      int               `json:"cases"`
	Lost       int               `json:"lost"`
	Unreadable int               `json:"unreadable"`
	Kinds      map[string]*tally `json:"kinds"`

	mu sync.Mutex
}

// tally counts the cases of one kind: Cases = Exact + Failed + the sum of Excluded.
type tally struct {
	Cases int `json:"cases"`
	// Exact: everything that was acknowledged is there, with the bytes that it
	// had; what failed said so.
	Exact    int            `json:"exact"`
	Failed   int            `json:"failed"`
	Excluded map[string]int `json:"excluded"` // by reason
	// Acknowledged checkpoints, how many of them were lost, and in how many cases
	// a repository could not be read in full.
	Acknowledged int `json:"acknowledged"`
	Lost         int `json:"lost"`
	Unreadable   int `json:"unreadable"`
	// By counts the cases by what was done.
	By map[string]int `json:"by"`
}

func (s *summary) kind(name string) *tally {
	if s.Kinds[name] == nil {
		s.Kinds[name] = &tally{Excluded: map[string]int{}, By: map[string]int{}}
	}
	return s.Kinds[name]
}

// count enters one case: what was done in it, and what was wrong after it.
func (s *summary) count(kind, by string, f findings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kind(kind)
	k.Cases++
	s.Cases++
	k.By[by]++
	if f.ok() {
		k.Exact++
	} else {
		k.Failed++
	}
	k.Lost += len(f.lost)
	s.Lost += len(f.lost)
	if len(f.unreadable) > 0 {
		k.Unreadable++
		s.Unreadable++
	}
}

func (s *summary) acknowledged(kind string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kind(kind).Acknowledged += n
}

// mostExcluded is the part of the cases of a kind that may be excluded, in
// percent.
const mostExcluded = 2

// check returns an error where a result does not count: too much is excluded.
// What is lost has failed its own test.
func (s *summary) check() error {
	for name, k := range s.Kinds {
		excluded := k.Cases - k.Exact - k.Failed
		if excluded*100 > k.Cases*mostExcluded {
			return fmt.Errorf("%s: %d of %d cases are excluded: %v", name, excluded, k.Cases, k.Excluded)
		}
	}
	return nil
}

// findings are what a judge found wrong in one case.
type findings struct {
	lost       []string // acknowledged checkpoints that are not there
	unreadable []error  // what cannot be read, or has other bytes
	wrong      []error  // anything else, such as a failure that says nothing
}

func (f *findings) ok() bool { return len(f.lost)+len(f.unreadable)+len(f.wrong) == 0 }

func (f *findings) add(err error) {
	if err != nil {
		f.wrong = append(f.wrong, err)
	}
}

// report fails the test with what was found, if anything was.
func (f *findings) report(t *testing.T, format string, args ...any) {
	t.Helper()
	if f.ok() {
		return
	}
	const most = 3 // where one thing is wrong, many are
	text := fmt.Sprintf("seed %d: %s: lost %d checkpoints, %d things cannot be read, %d are wrong", seed, fmt.Sprintf(format, args...), len(f.lost), len(f.unreadable), len(f.wrong))
	for _, id := range f.lost[:min(most, len(f.lost))] {
		text += "\nlost: " + id
	}
	for _, err := range f.unreadable[:min(most, len(f.unreadable))] {
		text += "\nunreadable: " + err.Error()
	}
	for _, err := range f.wrong[:min(most, len(f.wrong))] {
		text += "\nwrong: " + err.Error()
	}
	t.Error(text)
}
