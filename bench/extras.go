//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"time"
)

// extras are the figures that are not a matter of rounds.
type extras struct {
	streams  []stream
	sweep    []sweep
	rate     int    // 70 % of Roster's throughput, at which the next two are measured
	steady   steady // of Roster
	floor    steady // of the floor, for comparison
	cold     time.Duration
	idle     int64
	binary   int64
	complete bool
}

// stream is one way to read all users of the large customer, the median of some readings.
type stream struct {
	name      string
	perSecond float64
	peakRSS   int64
}

// sweep is what Roster does with this many connections.
type sweep struct {
	connections int
	result      result
}

// steady is what a target does at a rate that it can take, round after round.
type steady struct{ p50, tails []float64 }

func (s *steady) add(r result) {
	s.p50 = append(s.p50, float64(r.P50))
	s.tails = append(s.tails, float64(r.P99)/float64(r.P50))
}

const (
	streamTimes = 3
	// capacityShare is the load under which the tail of the latency is looked at.
	capacityShare = 0.7
)

func (r *report) measureExtras(ctx context.Context, s *suite, d *driver, pg *postgres, dir, program string) (err error) {
	e := &r.extras
	if e.streams, err = measureStreams(ctx, s, pg); err != nil {
		return err
	}
	page := r.lane(page20Small, rosterName)
	for n := 1; n <= 256; n *= 2 {
		o := page.order
		o.Connections, o.Duration, o.MayRefuse = n, r.settings.duration, true
		result, err := d.drive(ctx, o)
		if err != nil {
			return fmt.Errorf("%d connections: %w", n, err)
		}
		e.sweep = append(e.sweep, sweep{n, result})
	}
	e.rate = max(1, int(capacityShare*page.median(perSecond)))
	// One pause of the machine decides the p99 of a few thousand requests.
	for range r.settings.rounds {
		for _, of := range []struct {
			target string
			steady *steady
		}{{rosterName, &e.steady}, {floorName, &e.floor}} {
			o := r.lane(page20Small, of.target).order
			o.MayRefuse, o.Rate, o.Duration, o.Connections = true, e.rate, r.settings.duration, 4*connections
			result, err := d.drive(ctx, o)
			if err != nil {
				return err
			}
			of.steady.add(result)
		}
	}
	if e.cold, e.idle, err = coldStart(ctx, dir, program, pg.url()); err != nil {
		return err
	}
	e.binary, e.complete = size(program), true
	return nil
}

// measureStreams reads all users of the large customer: in Testinium's form from
// Roster, and with COPY from the database alone, each in turn.
func measureStreams(ctx context.Context, s *suite, pg *postgres) ([]stream, error) {
	const columns = `u.user_type, u.number, u.first_name, u.last_name, u.username, u.email, c.name, u.status = 'ACTIVE',
		u.account_non_expired, u.account_non_locked, u.credentials_non_expired, u.created_at, c.number, u.last_password_reset_at`
	id := string(s.data.customer(0).ID)
	from := " FROM users u JOIN customers c ON c.id = u.customer_id WHERE u.customer_id = '" + id + "' ORDER BY u.number"
	withAuthorities := columns + `, (SELECT json_agg(a ORDER BY a.id) FROM user_authorities ua JOIN authorities a ON a.id = ua.authority_id WHERE ua.user_id = u.id)`
	ways := []struct {
		name string
		read func() error
	}{
		{"Testinium, from Roster", func() error { return s.readTestinium(ctx) }},
		{"`psql` COPY, without authorities", func() error { return readAll(pg.psql(ctx, "COPY (SELECT "+columns+from+") TO STDOUT"), s.data.large) }},
		{"`psql` COPY, with authorities", func() error {
			return readAll(pg.psql(ctx, "COPY (SELECT "+withAuthorities+from+") TO STDOUT"), s.data.large)
		}},
	}
	if err := forgetPeak(s.roster.pid()); err != nil {
		return nil, err
	}
	speeds := make([][]float64, len(ways))
	for range streamTimes {
		for i, way := range ways {
			began := time.Now()
			if err := way.read(); err != nil {
				return nil, fmt.Errorf("%s: %w", way.name, err)
			}
			speeds[i] = append(speeds[i], float64(s.data.large)/time.Since(began).Seconds())
		}
	}
	streams := make([]stream, len(ways))
	for i, way := range ways {
		streams[i] = stream{name: way.name, perSecond: median(speeds[i])}
	}
	streams[0].peakRSS = memory(s.roster.pid(), "VmHWM")
	return streams, nil
}

// readTestinium reads Testinium's list of the large customer and counts its records.
func (s *suite) readTestinium(ctx context.Context) error {
	customer := s.data.customer(0)
	url := s.roster.url + "/account/api/v1/customers/" + strconv.FormatInt(customer.Number, 10) + "/users/"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Current-Company-Id", strconv.FormatInt(*customer.CompanyID, 10))
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	return count(response.Body, `"vcsPassword":`, s.data.large)
}

// readAll runs a command and counts the lines that it writes.
func readAll(cmd *exec.Cmd, lines int) error {
	var problems bytes.Buffer
	cmd.Stderr = &problems
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = count(output, "\n", lines)
	if waited := cmd.Wait(); waited != nil {
		return fmt.Errorf("%w: %s", waited, &problems)
	}
	return err
}

// count reads everything and gives an error unless text occurs as often as wanted.
func count(r io.Reader, text string, wanted int) error {
	buffer := make([]byte, 256<<10)
	found, kept := 0, 0
	for {
		n, err := r.Read(buffer[kept:])
		read := buffer[:kept+n]
		found += bytes.Count(read, []byte(text))
		// The text may have begun at the end of this part.
		kept = copy(buffer, read[max(0, len(read)-len(text)+1):])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if found != wanted {
		return fmt.Errorf("%d records came, not %d", found, wanted)
	}
	return nil
}
