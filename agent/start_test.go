package agent_test

import (
	"testing"

	"github.com/helixml/helix-ckpt/agent"
	"github.com/helixml/helix-ckpt/restore"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	const keep, nothing, never, declined, bring = restore.ChoiceKeep, restore.ChoiceNothing, restore.ChoiceNever, restore.ChoiceDeclined, restore.ChoiceRestore
	id := agent.Mode("20261123T101500.123Z-3f9a1c2e")
	decided := &restore.Decision{Files: bring, Desk: bring}
	kept := &restore.Decision{Files: keep, Desk: bring}
	for _, tc := range []struct {
		name        string
		found       agent.Found
		wait        bool
		files, desk restore.Choice
	}{
		{"a new session", agent.Found{Mode: agent.Auto, Databases: true}, false, nothing, nothing},
		{"a new session, asked to wait", agent.Found{Mode: agent.Wait}, true, "", ""},
		{"another host, nothing there", agent.Found{Mode: agent.Auto, Committed: true}, false, bring, bring},
		{"another host, databases there", agent.Found{Mode: agent.Auto, Committed: true, Databases: true}, false, keep, bring},
		{"a Zed came first", agent.Found{Mode: agent.Auto, Committed: true, ZedRunning: true}, false, keep, bring},
		{"the agent was restarted", agent.Found{Mode: agent.Auto, Committed: true, SameInstance: true, SameCompositor: true, Databases: true}, false, keep, keep},
		{"the agent was restarted, Zed's files are gone", agent.Found{Mode: agent.Auto, Committed: true, SameInstance: true, SameCompositor: true}, false, keep, keep},
		{"agent and Sway were restarted", agent.Found{Mode: agent.Auto, Committed: true, SameInstance: true, Databases: true}, false, keep, bring},
		{"restarted after a restore, before its first checkpoint", agent.Found{Mode: agent.Auto, Committed: true, Decided: decided, SameCompositor: true}, false, keep, keep},
		{"restarted, its restore cut off", agent.Found{Mode: agent.Auto, Committed: true, Decided: decided, Undone: true}, false, bring, bring},
		{"the same after a wait", agent.Found{Mode: agent.Wait, Committed: true, Decided: decided, Undone: true}, false, bring, bring},
		{"cut off, and Zed has begun afresh", agent.Found{Mode: agent.Auto, Committed: true, Decided: decided, Undone: true, Databases: true}, false, keep, bring},
		{"of windows only", agent.Found{Mode: agent.Auto, Committed: true, Decided: kept, Undone: true, SameCompositor: true}, false, keep, keep},
		{"asked to wait, and restarted after the wait", agent.Found{Mode: agent.Wait, Committed: true, Decided: decided, SameCompositor: true}, false, keep, keep},
		{"asked for one, and restarted after it", agent.Found{Mode: id, Committed: true, Decided: decided, SameCompositor: true}, false, keep, keep},
		{"asked for one", agent.Found{Mode: id, Committed: true, Databases: true}, false, bring, bring},
		{"asked for one, of this very instance", agent.Found{Mode: id, Committed: true, SameInstance: true, SameCompositor: true, Databases: true}, false, bring, bring},
		{"asked for one, with a Zed there", agent.Found{Mode: id, Committed: true, Databases: true, ZedRunning: true}, false, bring, bring},
		{"never", agent.Found{Mode: agent.Never, Committed: true}, false, never, never},
		{"declined before a restart", agent.Found{Mode: agent.Wait, Committed: true, Decided: &restore.Decision{Files: declined, Desk: declined}}, false, declined, declined},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := agent.Decide(tc.found)
			if got.Wait != tc.wait || got.Files != tc.files || got.Desk != tc.desk || got.Reason == "" {
				t.Errorf("got %+v, want wait %v, files %q, desk %q", got, tc.wait, tc.files, tc.desk)
			}
		})
	}
}
