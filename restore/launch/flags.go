package launch

import (
	"slices"
	"strings"

	"github.com/helixml/helix-ckpt/checkpoint/process"
)

// kept returns the flags of recorded arguments that the template keeps, each
// with its value in the one form --name=value where the name is long. It stops
// at the first argument that is no flag: there a terminal's command begins,
// whose flags are not its own. A flag whose value was redacted is left out.
func (t *Template) kept(args []string) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" || arg == "-e" || !strings.HasPrefix(arg, "-") || arg == "-" {
			break
		}
		flag, value, given := t.flag(arg)
		if flag == nil {
			continue
		}
		if flag.Value && !given {
			i++
			if i == len(args) {
				break
			}
			value = args[i]
		}
		if flag.Pair && !strings.Contains(value, "=") {
			i++ // the other half of a pair that was taken apart in place
		}
		if !slices.ContainsFunc(t.Keep, func(k Flag) bool { return k.is(flag) }) || strings.Contains(value, process.Redacted) {
			continue
		}
		kept = append(kept, flag.write(value)...)
	}
	return kept
}

// flag finds the flag that an argument is, and its value if that is part of
// the argument: --name=value, or -nvalue.
func (t *Template) flag(arg string) (flag *Flag, value string, given bool) {
	name, value, given := strings.Cut(arg, "=")
	for _, flags := range [][]Flag{t.Keep, t.Drop} {
		for i := range flags {
			f := &flags[i]
			if slices.Contains(f.Names, name) && (strings.HasPrefix(name, "--") || !given) {
				return f, value, given
			}
			for _, short := range f.Names {
				if rest, ok := strings.CutPrefix(arg, short); ok && f.Value && rest != "" && len(short) == 2 && short != "--" {
					return f, rest, true
				}
			}
		}
	}
	return nil, "", false
}

func (f *Flag) is(other *Flag) bool { return slices.Equal(f.Names, other.Names) }

func (f *Flag) write(value string) []string {
	name := f.Names[0]
	switch {
	case !f.Value:
		return []string{name}
	case strings.HasPrefix(name, "--"):
		return []string{name + "=" + value}
	}
	return []string{name, value}
}
