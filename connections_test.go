package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// isLast reports whether the client's connection is the one that was used last of
// those that have no request on them.
func (l *connectionLimit) isLast(client net.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.unused.Back()
	return last != nil && last.Value.(net.Conn).RemoteAddr().String() == client.String()
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
