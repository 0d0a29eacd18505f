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
	return last != nil && last.Value.(closable).RemoteAddr().String() == client.String()
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

// While every connection has a caller's request on it, a new one finds no room.
func TestConnectionLimitKeepsThoseInUse(t *testing.T) {
	limit := newConnectionLimit(1)
	busy, _ := net.Pipe()
	defer busy.Close()
	limit.note(busy, http.StateNew)
	limit.note(busy, http.StateActive)
	limit.keep(httptest.NewRequestWithContext(withConnection(t.Context(), busy), "GET", "/", nil))
	late, other := net.Pipe()
	limit.note(late, http.StateNew)
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the late one: %v", err)
	}
	limit.note(late, http.StateClosed)
	limit.note(busy, http.StateClosed)
	if len(limit.all) != 0 || limit.unused.Len() != 0 || limit.anonymous.Len() != 0 || len(limit.callers) != 0 {
		t.Errorf("%v, %v, %v and %v are left", limit.all, limit.unused, limit.anonymous, limit.callers)
	}
}

// Of connections without a valid token the one goes that takes nothing of its answer, not one
// that reads slowly and came before.
func TestConnectionLimitKeepsThoseThatRead(t *testing.T) {
	limit := newConnectionLimit(2)
	connect := func() (ours, theirs net.Conn) {
		ours, theirs = net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		return ours, theirs
	}
	reading, _ := connect()
	idle, client := connect()
	for _, connection := range []net.Conn{reading, idle} {
		limit.note(connection, http.StateNew)
		limit.note(connection, http.StateActive)
	}
	on := &clientConnection{Conn: reading}
	recorder := &statusRecorder{ResponseWriter: httptest.NewRecorder(), patience: readTime, state: &requestState{}, connection: on, connections: limit}
	if _, err := recorder.Write(make([]byte, 2*partSize)); err != nil {
		t.Fatal(err)
	}
	late, _ := connect()
	limit.note(late, http.StateNew)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the one that reads nothing: %v", err)
	}
	if limit.all[reading] == nil || limit.all[late] == nil {
		t.Error("another one was closed")
	}
}

// A caller who opens many connections, and has a request on each, keeps nobody out,
// and nobody else's request is cut for that.
func TestManyConnectionsOfOneCallerKeepNobodyOut(t *testing.T) {
	const most = 10
	server := startTestServer(t, nil, func(s *serverSettings) { s.MaxConnections = most })
	address := strings.TrimPrefix(server.url, "http://")
	half := func(token string) net.Conn {
		t.Helper()
		connection, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() })
		fmt.Fprintf(connection, "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: 34\r\n\r\n{", token)
		return connection
	}
	counted := func(connections int) {
		t.Helper()
		for began := time.Now(); server.connections.ofCallers() != connections; runtime.Gosched() {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%d connections are callers', not %d", server.connections.ofCallers(), connections)
			}
		}
	}
	modest := half(server.token(t, "modest"))
	counted(1)
	for n := range 2 * most {
		half(server.token(t, "greedy"))
		counted(min(n+2, most))
	}
	for range 5 {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get(server.url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	fmt.Fprintf(modest, `"query":"{ viewer { subject } }"}`)
	if response, err := http.ReadResponse(bufio.NewReader(modest), nil); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%v %v", response, err)
	}
}

// ofCallers gives how many connections have a caller's request.
func (l *connectionLimit) ofCallers() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, connections := range l.callers {
		n += connections.Len()
	}
	return n
}

// A request of HTTP/2 can be given up before its token is verified. Its connection is
// unused then, and not kept.
func TestConnectionOfARequestThatIsOverIsNotKept(t *testing.T) {
	limit := newConnectionLimit(1)
	server, client := net.Pipe()
	request := httptest.NewRequestWithContext(withConnection(t.Context(), server), "GET", "/", nil)
	for _, state := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle} {
		limit.note(server, state)
	}
	limit.keep(request)
	late, _ := net.Pipe()
	limit.note(late, http.StateNew)
	if err := client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is not closed: %v", err)
	}
}

// A connection that nobody has used for long is closed, and one in use is not.
func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := newConnectionLimit(10)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go limit.closeIdle(ctx)
		open := func(state http.ConnState, caller bool) net.Conn {
			client, server := net.Pipe()
			t.Cleanup(func() { client.Close() })
			limit.note(server, http.StateNew)
			limit.note(server, state)
			if caller {
				limit.keep(httptest.NewRequestWithContext(withConnection(ctx, server), "GET", "/", nil))
			}
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
		unused, busy, callers := open(http.StateIdle, false), open(http.StateActive, false), open(http.StateActive, true)
		if closed(unused, idleTimeout-time.Second) {
			t.Error("it is closed too early")
		}
		if !closed(unused, time.Second+idleInterval) {
			t.Error("it stays open")
		}
		if closed(busy, time.Hour) || closed(callers, time.Hour) {
			t.Error("one with a request on it is closed")
		}
	})
}
