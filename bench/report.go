//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is everything that was measured.
type report struct {
	settings settings
	machine  string
	lanes    []*lane
	memory   []peak
	extras   extras
	took     time.Duration
}

// peak is the most memory that a target had resident during the rounds.
type peak struct {
	name string
	rss  int64
}

func (r *report) peaks(s *suite) {
	for _, t := range []*target{s.roster, s.sqlite, s.floor, s.postgraphile} {
		if t != nil {
			r.memory = append(r.memory, peak{t.name, used(t.pid()).peakRSS})
		}
	}
}

// lane gives the lane of a target in a scenario, or nil.
func (r *report) lane(scenario, target string) *lane {
	for _, l := range r.lanes {
		if l.scenario == scenario && l.target.name == target {
			return l
		}
	}
	return nil
}

// median gives the median of a figure over the rounds.
func (l *lane) median(figure func(round) float64) float64 {
	all := make([]float64, len(l.rounds))
	for i, round := range l.rounds {
		all[i] = figure(round)
	}
	return median(all)
}

// ratio gives the median of the ratios of a figure, each within one round.
func ratio(a, b *lane, figure func(round) float64) float64 {
	all := make([]float64, len(a.rounds))
	for i := range all {
		all[i] = figure(a.rounds[i]) / figure(b.rounds[i])
	}
	return median(all)
}

// median gives the middle of some numbers, which it sorts.
func median(numbers []float64) float64 {
	if len(numbers) == 0 {
		return 0
	}
	slices.Sort(numbers)
	half := len(numbers) / 2
	if len(numbers)%2 == 0 {
		return (numbers[half-1] + numbers[half]) / 2
	}
	return numbers[half]
}

func perSecond(r round) float64 { return r.PerSecond }
func p50(r round) float64       { return float64(r.P50) }
func p99(r round) float64       { return float64(r.P99) }

// print writes the report as Markdown.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n", r.machine)
	fmt.Fprintf(w, "Data: one customer with %d users and %d with %d. %d connections from one process, %d rounds of %s for each line, in turn; "+
		"medians of the rounds, and for ratios medians of the ratios within a round. %.0f minutes in all.\n\n",
		r.settings.large, r.settings.customers, r.settings.users, connections, r.settings.rounds, r.settings.duration, r.took.Minutes())
	r.printLanes(w)
	r.printGoals(w)
	fmt.Fprintln(w, "\n| peak memory during the rounds | MiB |\n| --- | ---: |")
	for _, p := range r.memory {
		fmt.Fprintf(w, "| %s | %.0f |\n", p.name, mebibytes(p.rss))
	}
	if r.extras.complete {
		r.extras.print(w)
	}
}

func (r *report) printLanes(w io.Writer) {
	fmt.Fprintln(w, "| scenario | target | requests/s | p50 ms | p99 ms | × floor | × PostGraphile | CPU s per 1,000: server | database |")
	fmt.Fprintln(w, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	printed := map[string]bool{}
	for _, first := range r.lanes {
		if printed[first.scenario] {
			continue
		}
		printed[first.scenario] = true
		for _, l := range r.lanes {
			if l.scenario != first.scenario {
				continue
			}
			database := fmt.Sprintf("%.2f", l.median(func(r round) float64 { return r.database }))
			if l.target.name == sqliteName {
				database = "-"
			}
			fmt.Fprintf(w, "| %s | %s | %.0f | %s | %s | %s | %s | %.2f | %s |\n", l.scenario, l.target.name, l.median(perSecond),
				milliseconds(l.median(p50)), milliseconds(l.median(p99)), r.against(l, floorName), r.against(l, postgraphileName),
				l.median(func(r round) float64 { return r.server }), database)
		}
	}
}

// against gives the throughput of a lane as a multiple of another target's.
func (r *report) against(l *lane, target string) string {
	other := r.lane(l.scenario, target)
	if other == nil || other == l {
		return ""
	}
	return fmt.Sprintf("%.2f", ratio(l, other, perSecond))
}

// goal is a ratio that a full run should reach.
type goal struct {
	what                 string
	scenario, target     string
	ofScenario, ofTarget string
	figure               func(round) float64
	// One of these is the bound.
	atLeast, atMost float64
}

func (r *report) goals() []goal {
	p50Goal := func(what, scenario, of string, atMost float64) goal {
		return goal{what: what, scenario: scenario, target: rosterName, ofScenario: of, ofTarget: rosterName, figure: p50, atMost: atMost}
	}
	goals := []goal{
		{what: "page20: throughput, Roster to the floor", scenario: page20Small, target: rosterName, ofScenario: page20Small, ofTarget: floorName, figure: perSecond, atLeast: 0.85},
		{what: "page20: throughput, Roster to PostGraphile", scenario: page20Small, target: rosterName, ofScenario: page20Small, ofTarget: postgraphileName, figure: perSecond, atLeast: 3},
		p50Goal("page20: p50, large to small customer", page20Large, page20Small, 1.25),
		p50Goal("page20 + totalCount: p50, large to small customer", totalLarge, totalSmall, 1.5),
		p50Goal("cursor page deep in the list: p50, to the first page", cursorLarge, page20Large, 1.25),
		p50Goal("numbered page deep in the list: p50, to the first page", numberedLarge, page20Large, 10),
		p50Goal("search, a rare last name: p50, to page20", searchLast, page20Large, 3),
		p50Goal("search, first and last name: p50, to page20", searchFull, page20Large, 3),
		p50Goal("search, nobody: p50, to page20", searchNobody, page20Large, 3),
		{what: "Worth: throughput, to the same fields by GraphQL", scenario: worthPage, target: rosterName, ofScenario: worthGraphQL, ofTarget: rosterName, figure: perSecond, atLeast: 0.9},
		{what: "page20: throughput, SQLite to PostgreSQL", scenario: page20Small, target: sqliteName, ofScenario: page20Small, ofTarget: rosterName, figure: perSecond, atLeast: 1},
	}
	// The goals for the large customer without a search hold on SQLite too.
	for _, g := range goals[2:6] {
		g.what, g.target, g.ofTarget = "SQLite, "+g.what, sqliteName, sqliteName
		goals = append(goals, g)
	}
	return goals
}

func (r *report) printGoals(w io.Writer) {
	fmt.Fprintln(w, "\n| ratio | goal | found | |\n| --- | ---: | ---: | --- |")
	for _, g := range r.goals() {
		l, of := r.lane(g.scenario, g.target), r.lane(g.ofScenario, g.ofTarget)
		if l == nil || of == nil {
			continue
		}
		found := ratio(l, of, g.figure)
		wanted, met := fmt.Sprintf("≥ %.2f", g.atLeast), found >= g.atLeast
		if g.atMost > 0 {
			wanted, met = fmt.Sprintf("≤ %.2f", g.atMost), found <= g.atMost
		}
		fmt.Fprintf(w, "| %s | %s | %.2f | %s |\n", g.what, wanted, found, verdict(met))
	}
}

func (e *extras) print(w io.Writer) {
	fmt.Fprintln(w, "\n| all users of the large customer | rows/s | × COPY with authorities | peak MiB |\n| --- | ---: | ---: | ---: |")
	reference := e.streams[len(e.streams)-1].perSecond
	for _, s := range e.streams {
		peak := ""
		if s.peakRSS > 0 {
			peak = fmt.Sprintf("%.0f", mebibytes(s.peakRSS))
		}
		fmt.Fprintf(w, "| %s | %.0f | %.2f | %s |\n", s.name, s.perSecond, s.perSecond/reference, peak)
	}
	fmt.Fprintln(w, "\n| Roster, page20: connections | answered/s | p50 ms | p99 ms | refused |\n| ---: | ---: | ---: | ---: | ---: |")
	for _, s := range e.sweep {
		refused := 100 * float64(s.result.Refused) / float64(max(1, s.result.Refused+s.result.Requests))
		fmt.Fprintf(w, "| %d | %.0f | %s | %s | %.0f %% |\n", s.connections, s.result.PerSecond, milliseconds(float64(s.result.P50)), milliseconds(float64(s.result.P99)), refused)
	}
	tail := median(e.steady.tails)
	fmt.Fprintln(w, "\n| Roster | goal | found | |\n| --- | ---: | ---: | --- |")
	fmt.Fprintf(w, "| p99 to p50 at %.0f %% of capacity (%d requests/s; p50 %s ms; the floor's at that rate: %.1f) | ≤ 5 | %.1f | %s |\n",
		100*capacityShare, e.rate, milliseconds(median(e.steady.p50)), median(e.floor.tails), tail, verdict(tail <= 5))
	half := e.streams[0].perSecond / reference
	fmt.Fprintf(w, "| Testinium's rows/s to COPY's | ≥ 0.50 | %.2f | %s |\n", half, verdict(half >= 0.5))
	fmt.Fprintf(w, "| cold start | < 150 ms | %.0f ms | %s |\n", float64(e.cold.Milliseconds()), verdict(e.cold < 150*time.Millisecond))
	fmt.Fprintf(w, "| idle memory | < 40 MiB | %.0f MiB | %s |\n", mebibytes(e.idle), verdict(e.idle < 40<<20))
	fmt.Fprintf(w, "| binary | < 60 MiB | %.0f MiB | %s |\n", mebibytes(e.binary), verdict(e.binary < 60<<20))
}

// describe says what the figures were measured on.
func describe(ctx context.Context, pg *postgres, b *builder, postgraphile bool) string {
	versions := []string{
		fmt.Sprintf("%s with %d cores, %.0f GiB of memory", processor(), runtime.NumCPU(), float64(totalMemory())/(1<<30)),
		output(ctx, "uname", "-sr"), runtime.Version(), output(ctx, filepath.Join(pg.bin, "postgres"), "--version"),
	}
	if postgraphile {
		versions = append(versions, "Node "+output(ctx, b.node(), "--version"))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		versions = append(versions, "load when the rounds ended "+strings.Fields(string(load))[0])
	}
	return "Machine: " + strings.Join(versions, "; ") + ". Servers, database and driver share it."
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// output gives what a program says of itself.
func output(ctx context.Context, program string, args ...string) string {
	text, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return program + ": " + err.Error()
	}
	return strings.TrimSpace(string(text))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

func milliseconds(nanoseconds float64) string {
	return fmt.Sprintf("%.2f", nanoseconds/float64(time.Millisecond))
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
