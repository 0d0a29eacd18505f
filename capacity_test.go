package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// With four times as many requests as it can answer, the server still answers
// about as many, and tells the others at once to come back. Times and rates
// depend on what else the machine does, so they are told and not tested.
func TestFourTimesTheCapacity(t *testing.T) {
	if testing.Short() { // CI runs it without -short, before the race detector
		t.Skip("what a server can do at most takes half a minute to find out")
	}
	_, facts := startProgram(t)
	load := newLoad(t, facts)
	load.run(8, 0, time.Second) // warms up
	alone := load.run(1, 0, time.Second)
	var best outcome
	for _, connections := range []int{4, 8, 16} {
		if o := load.run(connections, 0, 2*time.Second); len(o.answered) > len(best.answered) {
			best = o
		}
	}
	loaded := load.run(256, 4*best.perSecond(), 4*time.Second)
	after := load.run(1, 0, time.Second)
	t.Logf("unloaded: %s", alone)
	t.Logf("at best: %s", best)
	t.Logf("at four times that: %s; %d %% of the best throughput", loaded, 100*loaded.perSecond()/best.perSecond())
	t.Logf("at once after that: %s", after)
	if len(loaded.refused) == 0 || len(loaded.answered) == 0 {
		t.Error("this was no overload")
	}
	if len(after.refused) > 0 {
		t.Error("it goes on refusing")
	}
}

// load sends one request over and over, with as little work as can be: it takes
// processors that the server could use.
type load struct {
	t       *testing.T
	address string
	request []byte
}

func newLoad(t *testing.T, facts demoFacts) *load {
	var request bytes.Buffer
	if err := usersRequest(facts)().Write(&request); err != nil {
		t.Fatal(err)
	}
	return &load{t, strings.TrimPrefix(facts.URL, "http://"), request.Bytes()}
}

// outcome is what became of a run.
type outcome struct {
	duration          time.Duration
	answered, refused []time.Duration
}

func (o *outcome) perSecond() int { return int(float64(len(o.answered)) / o.duration.Seconds()) }

// String tells the outcome in one line.
func (o outcome) String() string {
	text := fmt.Sprintf("%d answered a second, p50 %s, p99 %s", o.perSecond(), percentile(o.answered, 50), percentile(o.answered, 99))
	if len(o.refused) > 0 {
		text += fmt.Sprintf("; %d refused a second, p50 %s, p99 %s", int(float64(len(o.refused))/o.duration.Seconds()), percentile(o.refused, 50), percentile(o.refused, 99))
	}
	return text
}

// run sends requests over so many connections, so many a second in all, or as
// many as are answered when rate is 0.
func (l *load) run(connections, rate int, duration time.Duration) outcome {
	l.t.Helper()
	result := outcome{duration: duration}
	var mu sync.Mutex
	var group sync.WaitGroup
	began := time.Now()
	for i := range connections {
		group.Go(func() {
			connection, err := net.Dial("tcp", l.address)
			if err != nil {
				l.t.Error(err)
				return
			}
			defer connection.Close()
			reader := bufio.NewReader(connection)
			var mine outcome
			var pause time.Duration
			if rate > 0 {
				pause = time.Duration(connections) * time.Second / time.Duration(rate)
			}
			for next := began.Add(pause * time.Duration(i) / time.Duration(connections)); ; next = next.Add(pause) {
				sleep(l.t.Context(), time.Until(next))
				sent := time.Now()
				if sent.Sub(began) > duration {
					break
				}
				if !l.ask(connection, reader, sent, &mine) {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			result.answered = append(result.answered, mine.answered...)
			result.refused = append(result.refused, mine.refused...)
		})
	}
	group.Wait()
	return result
}

func (l *load) ask(connection net.Conn, reader *bufio.Reader, sent time.Time, into *outcome) bool {
	if _, err := connection.Write(l.request); err != nil {
		l.t.Error(err)
		return false
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		l.t.Error(err)
		return false
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		l.t.Error(err)
		return false
	}
	took := time.Since(sent)
	switch {
	case response.StatusCode == http.StatusOK:
		into.answered = append(into.answered, took)
	case response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != "":
		into.refused = append(into.refused, took)
	default:
		l.t.Errorf("answered with %d %v", response.StatusCode, response.Header)
	}
	return true
}

// usersRequest is what a dashboard asks for.
func usersRequest(facts demoFacts) func() *http.Request {
	body := fmt.Sprintf(`{"query":"{ customerByNumber(number: %d) { name users(first: 20) { totalCount nodes { email subrole { code } authorities { name } } } } }"}`,
		facts.Customers[generated].Number)
	return func() *http.Request {
		request, err := http.NewRequest("POST", facts.GraphQL, strings.NewReader(body))
		if err != nil {
			panic(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+facts.Tokens.Admin)
		return request
	}
}

func percentile(took []time.Duration, percent int) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)*percent/100, len(took)-1)].Round(time.Microsecond)
}
