package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// isLast reports whether the client's connection is the one that was used last of
// those that have no request on them.
func (l *connectionLimit) isLast(client net.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.unused.Back()
	return last != nil && last.Value.(unusedConnection).RemoteAddr().String() == client.String()
}

// One connection too many costs the one that has been unused for longest; those
// with a request on them stay.
func TestConnectionLimit(t *testing.T) {
	gate := newGate()
	server := startTestServer(t, gate.wait, func(s *serverSettings) { s.MaxConnections = 3 })
	address := strings.TrimPrefix(server.url, "http://")
	dial := func() net.Conn {
		t.Helper()
		connection, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() })
		return connection
	}
	healthy := func(connection net.Conn) {
		t.Helper()
		fmt.Fprintf(connection, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(connection), nil); err != nil {
			t.Fatal(err)
		}
		// The server counts a connection as unused only after the answer has left.
		for began := time.Now(); !server.connections.isLast(connection.LocalAddr()); runtime.Gosched() {
			if time.Since(began) > 10*time.Second {
				t.Fatal("the connection is not among the unused")
			}
		}
	}
	closed := func(connection net.Conn) {
		t.Helper()
		_ = connection.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := connection.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection is open: %v", err)
		}
	}
	busy := dial()
	fmt.Fprintf(busy, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", server.surfaces()[1].path, server.token(t, "a"))
	<-gate.entered
	first, second := dial(), dial()
	healthy(second)
	healthy(first)
	third := dial()
	healthy(third)
	closed(second)
	healthy(first) // now third is the longest unused
	healthy(dial())
	closed(third)
	close(gate.open)
	if answer, err := io.ReadAll(busy); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("%v %.100s", err, answer)
	}
}

// While every connection has a request on it, a new one finds no room.
func TestConnectionLimitKeepsThoseInUse(t *testing.T) {
	limit := newConnectionLimit(1)
	busy, _ := net.Pipe()
	defer busy.Close()
	limit.note(busy, http.StateNew)
	limit.note(busy, http.StateActive)
	late, other := net.Pipe()
	limit.note(late, http.StateNew)
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the late one: %v", err)
	}
	limit.note(late, http.StateClosed)
	limit.note(busy, http.StateClosed)
	if len(limit.all) != 0 || limit.unused.Len() != 0 {
		t.Errorf("%v and %v are left", limit.all, limit.unused)
	}
}

// Callers who change their minds now and then keep their connection of HTTP/2; who
// does nothing else loses it.
func TestResets(t *testing.T) {
	server := httptest.NewUnstartedServer(boundResets(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})))
	server.Config.ConnContext = withResets
	server.EnableHTTP2 = true
	var opened atomic.Int64
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	// ask waits until the answer begins, and gives up the rest of it.
	ask := func(path string) error {
		response, err := server.Client().Get(server.URL + path)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	}

	for range resetsAtOnce / 2 {
		if err := ask("/slow"); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask("/"); err != nil || opened.Load() != 1 {
		t.Errorf("after some requests that were given up: %v, on connection %d", err, opened.Load())
	}
	for tries := 0; opened.Load() == 1; tries++ {
		if tries > 100*resetsAtOnce {
			t.Fatalf("after %d more the connection is still open", tries)
		}
		_ = ask("/slow") // fails when the connection is being closed
	}
}

// A connection that nobody has used for a minute is closed, and one in use is not.
func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := newConnectionLimit(10)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go limit.closeIdle(ctx)
		open := func(state http.ConnState) net.Conn {
			client, server := net.Pipe()
			t.Cleanup(func() { client.Close() })
			limit.note(server, http.StateNew)
			limit.note(server, state)
			return client
		}
		// closed reports whether the connection ends within so long, which takes no
		// time in a bubble.
		closed := func(client net.Conn, within time.Duration) bool {
			if err := client.SetReadDeadline(time.Now().Add(within)); err != nil {
				t.Fatal(err)
			}
			_, err := client.Read(make([]byte, 1))
			return errors.Is(err, io.EOF)
		}
		unused, busy := open(http.StateIdle), open(http.StateActive)
		if closed(unused, idleTimeout-time.Second) {
			t.Error("it is closed too early")
		}
		if !closed(unused, time.Second+idleInterval) {
			t.Error("it stays open")
		}
		if closed(busy, time.Hour) {
			t.Error("one with a request on it is closed")
		}
	})
}
