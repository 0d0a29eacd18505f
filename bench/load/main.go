// Command load drives HTTP servers with vegeta for the benchmark in bench. It is a
// module of its own so that vegeta and what it needs stay out of the server's
// go.mod. It reads one Order after the other from its standard input, as lines
// of JSON, and answers each with a line of its Result.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Order says what to send, how, and for how long.
type Order struct {
	// Targets are sent one after the other, over and over.
	Targets []Target
	// Connections is the number of connections and of requests on their way at once.
	Connections int
	// Rate is how many requests are sent a second; 0 sends as many as are answered.
	Rate     int
	Duration time.Duration
	// Want tells how often each text stands in every answer.
	Want map[string]int
	// SampleEvery is how many answers there are for each whose body is checked.
	SampleEvery int
	// MayRefuse allows answers of 503, which count as refused and not as answered.
	MayRefuse bool
}

// Target is one request.
type Target struct {
	Method, URL, Body string
	Header            map[string]string
}

// Result is what came of an order.
type Result struct {
	Requests  uint64
	Refused   uint64
	PerSecond float64
	P50, P99  time.Duration
	// Checked is how many bodies were looked at. Failure is the first answer that
	// was not 200 or did not have the wanted body, or empty.
	Checked int
	Failure string
}

func main() {
	orders, results := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	clients := map[int]*http.Client{}
	for {
		var order Order
		if err := orders.Decode(&order); err == io.EOF {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		if clients[order.Connections] == nil {
			clients[order.Connections] = newClient(order.Connections)
		}
		if err := results.Encode(attack(clients[order.Connections], order)); err != nil {
			log.Fatal(err)
		}
	}
}

// newClient makes a client that opens no more than this many connections to a
// server, and keeps them between orders. Answers come as they are: a target that
// compresses would be measured at something else.
func newClient(connections int) *http.Client {
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, DisableCompression: true,
		},
	}
}

func attack(client *http.Client, order Order) (result Result) {
	workers := uint64(order.Connections)
	attacker := vegeta.NewAttacker(vegeta.Client(client), vegeta.Workers(workers), vegeta.MaxWorkers(workers))
	targets := make([]vegeta.Target, len(order.Targets))
	for i, t := range order.Targets {
		targets[i] = vegeta.Target{Method: t.Method, URL: t.URL, Body: []byte(t.Body), Header: http.Header{}}
		for name, value := range t.Header {
			targets[i].Header.Set(name, value)
		}
	}
	pacer := vegeta.ConstantPacer{Freq: order.Rate, Per: time.Second}
	var metrics vegeta.Metrics
	for r := range attacker.Attack(vegeta.NewStaticTargeter(targets...), pacer, order.Duration, "") {
		if order.MayRefuse && r.Code == http.StatusServiceUnavailable {
			result.Refused++
			continue
		}
		metrics.Add(r)
		if result.Failure == "" {
			result.check(r, order)
		}
	}
	metrics.Close()
	result.Requests, result.PerSecond = metrics.Requests, metrics.Throughput
	result.P50, result.P99 = metrics.Latencies.P50, metrics.Latencies.P99
	return result
}

// check looks at the status of every answer and at the body of some.
func (result *Result) check(r *vegeta.Result, order Order) {
	if r.Code != http.StatusOK || r.Error != "" {
		result.Failure = fmt.Sprintf("%s %s: status %d, %s: %.300s", r.Method, r.URL, r.Code, r.Error, r.Body)
		return
	}
	if r.Seq%uint64(max(1, order.SampleEvery)) != 0 {
		return
	}
	result.Checked++
	for text, n := range order.Want {
		if found := bytes.Count(r.Body, []byte(text)); found != n {
			result.Failure = fmt.Sprintf("%s %s: %s occurs %d times, not %d: %.300s", r.Method, r.URL, text, found, n, r.Body)
		}
	}
}
