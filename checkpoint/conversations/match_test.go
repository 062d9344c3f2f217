package conversations

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzTakes compares the allow-list with a regular expression written apart
// from it: no path that someone makes up gets something else taken.
func FuzzTakes(f *testing.F) {
	for _, rel := range []string{
		"p/a.jsonl", "p/a/subagents/x.jsonl", "p/a/subagents/b/c/x.meta.json", "p/a/tool-results/r.txt", "p/.x.jsonl", "../a.jsonl",
		".credentials.json", "p/a/subagents/../../x.jsonl", "p//a.jsonl", "p/a/subagents/.git/x.jsonl", "\xff/\xfe.jsonl",
	} {
		f.Add(rel)
	}
	name := `[^./][^/]*`
	allowed := regexp.MustCompile(`(?s)^(` + name + `/[^./][^/]*\.jsonl|` +
		name + `/` + name + `/subagents/(` + name + `/)*[^./][^/]*(\.jsonl|\.meta\.json)|` +
		name + `/` + name + `/tool-results/[^./][^/]*\.txt)$`)
	claude := stores()[0]
	f.Fuzz(func(t *testing.T, rel string) {
		if strings.Count(rel, "/") > maxDepth {
			return
		}
		_, got := claude.takes(rel)
		if want := allowed.MatchString(rel); got != want {
			t.Errorf("takes(%q) = %v, want %v", rel, got, want)
		}
		if i := strings.LastIndexByte(rel, '/'); got && i >= 0 && !claude.enters(rel[:i]) {
			t.Errorf("takes %q but does not enter its directory", rel)
		}
	})
}

func TestEntersOnlyWhatCanHoldConversations(t *testing.T) {
	t.Parallel()
	claude := stores()[0]
	for dir, want := range map[string]bool{
		"p": true, "p/id": true, "p/id/subagents": true, "p/id/subagents/w/x": true, "p/id/tool-results": true,
		".git": false, "p/.git": false, "p/id/node_modules": false, "p/id/tool-results/x": false, "p/id/workflows": false,
	} {
		if got := claude.enters(dir); got != want {
			t.Errorf("enters(%s) = %v", dir, got)
		}
	}
}
