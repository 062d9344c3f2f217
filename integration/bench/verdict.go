package main

import (
	"fmt"
	"slices"
)

// verdict is a goal and how near we came. A miss is said and fails nothing:
// whether a figure is good enough is not for a noisy machine to decide.
type verdict struct {
	Size     int64   `json:"size_bytes"`
	Goal     string  `json:"goal"`
	Unit     string  `json:"unit"`
	Limit    float64 `json:"limit"`
	Measured float64 `json:"measured"`
	// Unmeasured is why there is no figure, "" when there is.
	Unmeasured string `json:"unmeasured,omitempty"`
}

func (v verdict) pass() bool { return v.Unmeasured == "" && v.Measured <= v.Limit }

func (v verdict) String() string {
	word := map[bool]string{true: "PASS", false: "MISS"}[v.pass()]
	if v.Unmeasured != "" {
		return fmt.Sprintf("NOT MEASURED  %4d MB  %s: %s", v.Size/1e6, v.Goal, v.Unmeasured)
	}
	return fmt.Sprintf("%s  %4d MB  %s: %.2f %s, wanted at most %.2f %s", word, v.Size/1e6, v.Goal, v.Measured, v.Unit, v.Limit, v.Unit)
}

// judge fills in the verdicts. The goals are meant for 110 MB; they are
// computed at every size.
func (r *report) judge() {
	for _, res := range r.Results {
		r.judgeRatios(res)
		r.judgeFigures(res)
	}
	r.judgeGrowth()
}

func (r *report) judgeRatios(res result) {
	for _, goal := range []struct {
		text   string
		of, to string
		op     operation
		figure func(sample) float64
		limit  float64
	}{
		{"first, wall", helix, tarThree, first, wall, 1},
		{"first, bytes kept", helix, tarThree, first, kept, 1},
		{"first at the fastest setting, wall", fastest, tarThree, first, wall, 0.85},
		{"unchanged as a command, wall", helix, rsync, unchanged, wall, 1},
		{"small change, bytes added", helix, restic, change, added, 0.5},
		{"restore, wall", helix, tarThree, restore, wall, 1},
		{"restore, wall", helix, restic, restore, wall, 0.5},
	} {
		v := verdict{Size: res.Size, Goal: goal.text + ", to " + goal.to, Unit: "×", Limit: goal.limit}
		var ok bool
		if v.Measured, ok = res.ratio(goal.of, goal.to, goal.op, goal.figure); !ok {
			v.Unmeasured = r.whyNot(goal.of, goal.to)
		}
		r.Verdicts = append(r.Verdicts, v)
	}
}

func (r *report) judgeFigures(res result) {
	ours := res.Samples[helix]
	var peaks []float64
	for _, samples := range ours {
		peaks = append(peaks, median(each(samples, rss))/1e6)
	}
	slices.Sort(peaks)
	inAgentMS := each(ours[inAgent], wall)
	for i := range inAgentMS {
		inAgentMS[i] /= 1e6
	}
	for _, goal := range []struct {
		text, unit string
		limit      float64
		values     []float64
	}{
		{"unchanged in the agent, wall", "ms", 10, inAgentMS},
		{"unchanged as a command, bytes added", "bytes", 0, each(ours[unchanged], added)},
		{"unchanged in the agent, bytes added", "bytes", 0, each(ours[inAgent], added)},
		{"peak RSS of all operations", "MB", 80, peaks[max(0, len(peaks)-1):]},
	} {
		v := verdict{Size: res.Size, Goal: goal.text, Unit: goal.unit, Limit: goal.limit}
		if len(goal.values) == 0 {
			v.Unmeasured = r.whyNot(helix)
		} else {
			v.Measured = median(goal.values)
		}
		r.Verdicts = append(r.Verdicts, v)
	}
}

// judgeGrowth compares the largest size with the smallest.
func (r *report) judgeGrowth() {
	if len(r.Results) < 2 {
		return
	}
	small, large := r.Results[0], r.Results[0]
	for _, res := range r.Results {
		if res.Size < small.Size {
			small = res
		}
		if res.Size > large.Size {
			large = res
		}
	}
	for _, op := range []operation{unchanged, inAgent} {
		a, b := small.Samples[helix][op], large.Samples[helix][op]
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		r.Verdicts = append(r.Verdicts, verdict{
			Size: large.Size, Goal: fmt.Sprintf("%s, wall, to the same at %d MB", op, small.Size/1e6), Unit: "×", Limit: 2,
			Measured: median(each(b, wall)) / median(each(a, wall)),
		})
	}
}

// whyNot says why one of two contenders has no figures.
func (r *report) whyNot(names ...string) string {
	for _, name := range names {
		if why, ok := r.LeftOut[name]; ok {
			return name + ": " + why
		}
	}
	return "not asked for"
}
