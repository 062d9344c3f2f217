package restore

import (
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Event is one thing that happened in a restore: exactly one of the pointers
// and words below Time is set. The first event is Started, the last Report.
type Event struct {
	// Number counts from 1.
	Number  int64     `json:"number"`
	Time    time.Time `json:"time"`
	Started *Started  `json:"started,omitempty"`
	// Phase was reached.
	Phase Phase `json:"phase,omitempty"`
	// Item came back, or did not.
	Item *Item `json:"item,omitempty"`
	// Component is finished.
	Component *ComponentReport `json:"component,omitempty"`
	Warning   string           `json:"warning,omitempty"`
	Report    *Report          `json:"report,omitempty"`
}

// Started says what is being restored.
type Started struct {
	RequestID  string        `json:"request_id,omitempty"`
	Checkpoint checkpoint.ID `json:"checkpoint"`
	// Latest is the latest checkpoint, where that is another one.
	Latest checkpoint.ID `json:"latest,omitempty"`
}

// Events returns what can be told of a restore from its report alone: for
// those who attach after the agent that ran it has gone.
func (r *Report) Events() []Event {
	events := []Event{{Time: r.Start, Started: &Started{RequestID: r.RequestID, Checkpoint: r.Checkpoint, Latest: r.Latest}}}
	for _, w := range r.Warnings {
		events = append(events, Event{Time: r.End, Warning: w})
	}
	for i := range r.Items {
		events = append(events, Event{Time: r.End, Item: &r.Items[i]})
	}
	for i := range r.Components {
		events = append(events, Event{Time: r.End, Component: &r.Components[i]})
	}
	events = append(events, Event{Time: r.End, Phase: r.Outcome}, Event{Time: r.End, Report: r})
	for i := range events {
		events[i].Number = int64(i + 1)
	}
	return events
}
