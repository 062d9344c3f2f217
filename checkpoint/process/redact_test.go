package process_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/helixml/helix-ckpt/checkpoint/process"
)

const secret = "hunter2hunter2hunter2hunter2"

func TestRedactCutsSecretsOut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ argv, want []string }{
		{[]string{"git", "clone", "https://me:" + secret + "@host/x.git"}, []string{"git", "clone", "https://host/x.git"}},
		{[]string{"psql", "postgres://" + secret + "@db:5432/x?a=b"}, []string{"psql", "postgres://db:5432/x?a=b"}},
		{[]string{"curl", "http://a:b@c@host/"}, []string{"curl", "http://host/"}},
		{[]string{"x", "--token", secret, "y"}, []string{"x", "--token", "[redacted]", "y"}},
		{[]string{"x", "--token=" + secret}, []string{"x", "--token=[redacted]"}},
		{[]string{"x", "--api-key", secret}, []string{"x", "--api-key", "[redacted]"}},
		{[]string{"x", "--github-token", secret}, []string{"x", "--github-token", "[redacted]"}},
		{[]string{"x", "-password", secret}, []string{"x", "-password", "[redacted]"}},
		{[]string{"env", "OPENAI_API_KEY=" + secret, "y"}, []string{"env", "OPENAI_API_KEY=[redacted]", "y"}},
		{[]string{"sh", "-c", "export A_TOKEN='" + secret + " x'; run"}, []string{"sh", "-c", "export A_TOKEN=[redacted]; run"}},
		{[]string{"sh", "-c", "x --password " + secret + " y"}, []string{"sh", "-c", "x --password [redacted] y"}},
		{[]string{"curl", "-H", "Authorization: Bearer " + secret}, []string{"curl", "-H", "Authorization: Bearer [redacted]"}},
		{[]string{"curl", "-H", "x-api-key: " + secret}, []string{"curl", "-H", "x-api-key: [redacted]"}},
		{[]string{"x", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"}, []string{"x", "[redacted]"}},
		{[]string{"x", "sk-ant-api03-abcdefghijklmnop"}, []string{"x", "[redacted]"}},
	} {
		if got := process.Redact(test.argv); !slices.Equal(got, test.want) {
			t.Errorf("Redact(%q) = %q, want %q", test.argv, got, test.want)
		}
	}
}

func TestRedactKeepsWhatIsNoSecret(t *testing.T) {
	t.Parallel()
	for _, argv := range [][]string{
		nil,
		{},
		{"foot", "-a", "editor", "-T", "main.go — auth", "--working-directory", "/home/retro/tokens"},
		{"git", "clone", "git@github.com:helixml/helix.git"},
		{"chromium", "--user-data-dir=/x", "--profile-directory=Default", "https://example.org/a@b?author=x"},
		{"vim", "tokenizer.go", "password.txt"},
		{"make", "test", "-j4"},
		{"ssh", "user@host"},
	} {
		if got := process.Redact(argv); !slices.Equal(got, argv) {
			t.Errorf("Redact(%q) = %q", argv, got)
		}
	}
}

// Wherever a secret stands among other words, it is gone afterwards, and a
// second time nothing changes.
func TestRedactProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-zA-Z0-9./:_=-]{0,12}`)
		form := rapid.SampledFrom([][]string{
			{"--token", "%"},
			{"--auth-token=%"},
			{"ANTHROPIC_API_KEY=%"},
			{"https://u:%@host/p"},
			{"Authorization: Bearer %"},
			{"sh -c 'TOKEN=% run'"},
		}).Draw(t, "form")
		argv := rapid.SliceOfN(word, 0, 4).Draw(t, "before")
		argv = append(argv, "--")
		for _, part := range form {
			argv = append(argv, strings.ReplaceAll(part, "%", secret))
		}
		argv = append(argv, rapid.SliceOfN(word, 0, 4).Draw(t, "after")...)
		once := process.Redact(argv)
		if strings.Contains(strings.Join(once, " "), secret) {
			t.Fatalf("Redact(%q) = %q", argv, once)
		}
		if twice := process.Redact(once); !slices.Equal(twice, once) {
			t.Fatalf("again: %q, then %q", once, twice)
		}
	})
}

func FuzzRedact(f *testing.F) {
	f.Add("--token", "x", "https://a:b@c/")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if got := process.Redact([]string{a, b, c}); len(got) != 3 {
			t.Errorf("%d arguments came out of 3", len(got))
		}
	})
}
