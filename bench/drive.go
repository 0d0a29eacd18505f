//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// order and result are Order and Result of load/main.go, which is a module of its
// own and says what the fields mean.
type (
	order struct {
		Targets     []request
		Connections int
		Rate        int
		Duration    time.Duration
		Want        map[string]int
		SampleEvery int
		MayRefuse   bool
	}
	request struct {
		Method, URL, Body string
		Header            map[string]string
	}
	result struct {
		Requests  uint64
		Refused   uint64
		PerSecond float64
		P50, P99  time.Duration
		Checked   int
		Failure   string
	}
)

// driver is the one process that sends all the requests that are measured.
type driver struct {
	*process
	orders  *json.Encoder
	results *json.Decoder
	// input ends the process when it is closed.
	input *os.File
}

func startDriver(ctx context.Context, b *builder) (*driver, error) {
	program, err := b.build(ctx, "bench/load", "load")
	if err != nil {
		return nil, err
	}
	theirInput, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	output, theirOutput, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirInput.Close()
	defer theirOutput.Close()
	p, err := start(command{name: "load", dir: b.dir, program: program, stdin: theirInput, stdout: theirOutput})
	if err != nil {
		return nil, err
	}
	return &driver{p, json.NewEncoder(input), json.NewDecoder(output), input}, nil
}

func (d *driver) stop() {
	if d != nil {
		_ = d.input.Close()
		d.process.stop(syscall.SIGTERM)
	}
}

// drive has an order carried out.
func (d *driver) drive(ctx context.Context, o order) (r result, err error) {
	if err := ctx.Err(); err != nil {
		return r, err
	}
	if err := d.orders.Encode(o); err != nil {
		return r, fmt.Errorf("the load driver: %w", err)
	}
	if err := d.results.Decode(&r); err != nil {
		return r, fmt.Errorf("the load driver: %w", err)
	}
	if r.Failure != "" {
		return r, errors.New(r.Failure)
	}
	return r, nil
}

// round is what one lane did in one round.
type round struct {
	result
	// server and database are CPU seconds per 1,000 requests.
	server, database float64
}

// runRounds drives every lane in turn, over and over, so that whatever else the
// machine does meets all of them alike. Each round begins with another lane. A
// first, shorter one that does not count warms up.
func runRounds(ctx context.Context, d *driver, lanes []*lane, rounds int, duration time.Duration, databasePid int, progress func(string)) error {
	for n := range rounds + 1 {
		for i := range lanes {
			l := lanes[(i+n)%len(lanes)]
			o := l.order
			o.Duration = duration
			if n == 0 {
				o.Duration = duration / 2
			}
			progress(fmt.Sprintf("round %d of %d: %s, %s", n, rounds, l.scenario, l.target.name))
			server, database := used(l.target.pid()), used(databasePid)
			r, err := d.drive(ctx, o)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", l.scenario, l.target.name, err)
			}
			if n == 0 {
				continue
			}
			perThousand := 1_000 / float64(max(1, r.Requests))
			l.rounds = append(l.rounds, round{
				r,
				(used(l.target.pid()).cpu - server.cpu).Seconds() * perThousand,
				(used(databasePid).cpu - database.cpu).Seconds() * perThousand,
			})
		}
	}
	return nil
}
