package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// readInPieces gives a connection whose client sends without end, and what reads so many
// bytes of that, each piece answered. In a bubble it takes no time.
func readInPieces(t *testing.T, answer int) (connection *meteredConnection, read func(n int)) {
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	connection = &meteredConnection{Conn: server, since: time.Now()}
	t.Cleanup(func() { connection.Close() })
	go func() { _, _ = io.Copy(io.Discard, client) }()
	go func() { _, _ = client.Write(make([]byte, 1<<30)) }()
	return connection, func(n int) {
		t.Helper()
		for piece := make([]byte, 1<<10); n > 0; n -= len(piece) {
			if _, err := io.ReadFull(connection, piece); err != nil {
				t.Fatal(err)
			}
			if _, err := connection.Write(piece[:answer]); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What nobody takes is read as slowly as is promised, and what somebody does at once. A
// deadline that is far changes nothing.
func TestUntakenIsReadSlowly(t *testing.T) {
	post := httptest.NewRequest("POST", "/graphql", strings.NewReader("body"))
	post.ProtoMajor = 2
	old := httptest.NewRequest("POST", "/graphql", nil)
	for name, test := range map[string]struct {
		reads  int // bytes
		answer int // bytes for each KiB that is read
		before func(*meteredConnection)
		takes  time.Duration
	}{
		"ALittle":      {reads: untakenAtOnce},
		"TooMuch":      {reads: untakenAtOnce + 3*untakenPerSecond, takes: 3 * time.Second},
		"Answered":     {reads: 100 * untakenPerSecond, answer: 1 << 10},
		"HalfAnswered": {reads: untakenAtOnce + 6*untakenPerSecond, answer: 1 << 9, takes: 3*time.Second - time.Second/4},
		"Later": {reads: untakenAtOnce + 2*untakenPerSecond, takes: 2 * time.Second, before: func(c *meteredConnection) {
			c.since = c.since.Add(-time.Hour)
		}},
		"LargeHeader": {reads: untakenAtOnce, before: func(c *meteredConnection) {
			c.untaken = 1 << 20
			large := post.Clone(t.Context())
			large.Header.Set("Authorization", strings.Repeat("x", 1<<20))
			c.take(large)
		}},
		"OverHTTP1": {reads: 100 * untakenPerSecond, before: func(c *meteredConnection) { c.take(old) }},
		"OverHTTP2": {reads: untakenAtOnce + 3*untakenPerSecond, takes: 3 * time.Second, before: func(c *meteredConnection) { c.take(post) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connection, read := readInPieces(t, test.answer)
				if test.before != nil {
					test.before(connection)
				}
				for _, deadline := range []time.Time{time.Now().Add(time.Hour), {}} {
					if err := errors.Join(connection.SetReadDeadline(deadline), connection.SetDeadline(deadline)); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				read(test.reads)
				if took := time.Since(began); took < test.takes*9/10 || took > test.takes*11/10 {
					t.Errorf("it took %s, not %s", took, test.takes)
				}
			})
		})
	}
}

// A pause ends when the connection is closed, and when the time for reading is over.
func TestPauseOfReadingEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(net.Conn) error
		after time.Duration
		with  error // nil is any, as what came may be read in the last moment
	}{
		"Close":           {net.Conn.Close, 0, io.ErrClosedPipe},
		"SetReadDeadline": {func(c net.Conn) error { return c.SetReadDeadline(time.Now()) }, 0, os.ErrDeadlineExceeded},
		"SetDeadline":     {func(c net.Conn) error { return c.SetDeadline(time.Now().Add(time.Second)) }, time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connection, _ := readInPieces(t, 0)
				connection.untaken = 1 << 40
				ended := make(chan error)
				go func() {
					_, err := connection.Read(make([]byte, 1))
					ended <- err
				}()
				synctest.Wait()
				began := time.Now()
				if err := test.end(connection); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; test.with != nil && !errors.Is(err, test.with) || time.Since(began) > test.after+untakenPause {
					t.Errorf("%v after %s", err, time.Since(began))
				}
			})
		})
	}
}

// Who sends large requests over HTTP/2 and has them answered is not slowed down, however
// small the answers are: without being taken, what is sent here would take a minute.
func TestTakenRequestsAreReadAtOnce(t *testing.T) {
	front := httptest.NewUnstartedServer(new(resetLimit).middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err != nil || n != 60_000 {
			t.Errorf("%d bytes came, %v", n, err)
		}
	})))
	front.EnableHTTP2 = true
	front.Config.ConnContext = withConnection
	front.Listener = meteredListener{front.Listener}
	front.StartTLS()
	defer front.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 16 {
				request, err := http.NewRequestWithContext(ctx, "POST", front.URL, bytes.NewReader(make([]byte, 60_000)))
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Authorization", rand.Text())
				response, err := front.Client().Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
			}
		})
	}
	group.Wait()
}

// "roster serve" reads frames of HTTP/2 slowly that nobody takes: 256 KiB of them take half
// a second, or less by what was sent to the client for its handshake.
func TestFramesForNothingAreReadSlowly(t *testing.T) {
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	address := startTLS(t, files)
	began := time.Now()
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	const priority = "\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x00\x10"
	sent := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
		strings.Repeat(priority, 256<<10/len(priority)) + "\x00\x00\x08\x06\x00\x00\x00\x00\x00answered"
	if _, err := io.WriteString(connection, sent); err != nil {
		t.Fatal(err)
	}
	var answers []byte
	for !bytes.HasSuffix(answers, []byte("answered")) {
		piece := make([]byte, 1<<10)
		n, err := connection.Read(piece)
		if answers = append(answers, piece[:n]...); err != nil {
			t.Fatalf("%q, %v", answers, err)
		}
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}
