package process

import (
	"regexp"
	"strings"
)

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// secretName matches the names that people and programs give to secrets, in
// flags and in variables: --token, --api-key, OPENAI_API_KEY, DB_PASSWORD.
const secretName = `(?:[a-z0-9_.-]*[_.-])?(?:tokens?|api_?-?keys?|access_?-?keys?|private_?-?keys?|secret_?-?keys?|secrets?|passwords?|passwd|passphrases?|credentials?|auth)` //nolint:gosec // the names, not the secrets

var (
	// secretFlag is a flag whose value is the next argument.
	secretFlag = regexp.MustCompile(`(?i)^--?` + secretName + `$`)
	// secretFlagInText is the same inside a shell's -c argument or a title.
	secretFlagInText = regexp.MustCompile(`(?i)(--` + secretName + `\s+)("[^"]*"|'[^']*'|[^\s"']+)`)
	// secretValue is NAME=value and --name=value, anywhere in an argument.
	secretValue = regexp.MustCompile(`(?i)(\b` + secretName + `\s*=\s*)("[^"]*"|'[^']*'|[^\s"';&|]+)`)
	// authorization is a header: "Authorization: Bearer x", "Bearer x",
	// "x-api-key: x".
	authorization = regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+|\b(?:authorization|x-[a-z-]*(?:key|token))\s*:\s*(?:[a-z]+\s+)?)([^\s"',;]+)`)
	// userinfo is the part of a URL before the host.
	userinfo = regexp.MustCompile(`(\b[A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s"'@]*(?:@[^/?#\s"'@]*)*@`)
	// known are the forms of tokens that carry their kind in a prefix, whatever
	// they are called: of Anthropic, OpenAI, GitHub, GitLab, Slack, AWS,
	// Google, and JSON web tokens.
	known = regexp.MustCompile(`\b(?:sk-[A-Za-z0-9_-]{16,}|gh[opsur]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[a-z]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?)`)
)

// Redact returns a command line without the secrets that it can be seen to
// hold: userinfo of URLs, values of flags and variables named like a secret,
// authorization headers, tokens of a known form. It errs towards cutting out
// too much: what is stored serves to recognise a program and to start it by a
// template, not to run this line again.
func Redact(argv []string) []string {
	if argv == nil {
		return nil
	}
	out := make([]string, len(argv))
	for i, arg := range argv {
		if i > 0 && secretFlag.MatchString(argv[i-1]) && !strings.HasPrefix(arg, "--") {
			out[i] = Redacted
			continue
		}
		out[i] = RedactText(arg)
	}
	return out
}

// RedactText is Redact for text in one piece, such as the title that a shell
// gives its window.
func RedactText(s string) string {
	s = userinfo.ReplaceAllString(s, "${1}")
	s = authorization.ReplaceAllString(s, "${1}"+Redacted)
	s = secretFlagInText.ReplaceAllString(s, "${1}"+Redacted)
	s = secretValue.ReplaceAllString(s, "${1}"+Redacted)
	return known.ReplaceAllString(s, Redacted)
}
