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
	limit.keep(httptest.NewRequestWithContext((&resetLimit{}).context(t.Context(), busy), "GET", "/", nil))
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

// Of strangers with a request the one goes that takes nothing of its answer, and not one
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
	on := &resets{connection: reading}
	recorder := &statusRecorder{ResponseWriter: httptest.NewRecorder(), patience: readTime, visit: &visit{}, on: on, connections: limit}
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
	request := httptest.NewRequestWithContext((&resetLimit{}).context(t.Context(), server), "GET", "/", nil)
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

// overHTTP2 serves a handler over HTTP/2 with TLS, as serve does, and counts the
// connections that are opened.
func (s *testServer) overHTTP2(t *testing.T, handler http.Handler) (front *httptest.Server, opened *atomic.Int64) {
	t.Helper()
	opened = &atomic.Int64{}
	front = httptest.NewUnstartedServer(s.resets.refuse(handler))
	front.EnableHTTP2 = true
	front.Config.ConnContext = s.resets.context
	front.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	front.StartTLS()
	t.Cleanup(front.Close)
	return front, opened
}

// Whoever takes the answers keeps the connection, also those who do not wait for
// their very end, and those who ask for heads only.
func TestAnswersAreNoResets(t *testing.T) {
	server := startTestServer(t, nil)
	front, opened := server.overHTTP2(t, server.routes())
	for i := range 5 * resetsAtOnce {
		method := []string{"GET", "HEAD"}[i%2]
		request, err := http.NewRequest(method, front.URL+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := front.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if method == "GET" {
			if _, err := io.ReadFull(response.Body, make([]byte, len("ok\n"))); err != nil {
				t.Fatal(err)
			}
		}
		response.Body.Close()
	}
	if opened.Load() != 1 || server.resets.ended.Load() != 0 {
		t.Errorf("%d connections; %d ended", opened.Load(), server.resets.ended.Load())
	}
}

// Callers who change their minds now and then keep their connection; who does
// nothing else loses it.
func TestResets(t *testing.T) {
	server := startTestServer(t, nil)
	front, opened := server.overHTTP2(t, server.record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})))
	// ask waits until the answer begins, and gives up the rest of it.
	ask := func() error {
		response, err := front.Client().Get(front.URL)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	}
	for range resetsAtOnce / 2 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if opened.Load() != 1 || server.resets.ended.Load() != 0 {
		t.Fatalf("after some requests that were given up there are %d connections", opened.Load())
	}
	for tries := 0; opened.Load() == 1; tries++ {
		if tries > 100*resetsAtOnce {
			t.Fatalf("after %d more the connection is still open", tries)
		}
		_ = ask() // fails when the connection is being closed
	}
	if server.resets.ended.Load() == 0 {
		t.Error("that is not counted")
	}
}

// Requests that were given up before they began do no work. A connection with
// nothing else on it is cut; one with other callers finishes what it has.
func TestHastyResets(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("Shared=%t", shared), func(t *testing.T) {
			var limit resetLimit
			handler := limit.refuse(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it is worked on") }))
			client, connection := net.Pipe()
			t.Cleanup(func() { client.Close() })
			ctx, cancel := context.WithCancel(limit.context(t.Context(), connection))
			cancel()
			request := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
			request.ProtoMajor = 2
			if shared {
				for range manyAnswered*(resetsAtOnce/hastyReset+1) + 1 {
					limit.finished(httptest.NewRecorder(), request, true)
				}
			}
			var last *httptest.ResponseRecorder
			for range resetsAtOnce/hastyReset + 1 {
				if limit.ended.Load() > 0 {
					t.Fatal("it is ended too early")
				}
				last = httptest.NewRecorder()
				handler.ServeHTTP(last, request)
			}
			if err := connection.SetDeadline(time.Now()); (err != nil) == shared {
				t.Errorf("the connection: %v", err)
			}
			if told := last.Header().Get("Connection") == "close"; told != shared || limit.ended.Load() != 1 {
				t.Errorf("told to end: %t, ended: %d", told, limit.ended.Load())
			}
			// The requests that are still open end with the connection.
			for range resetsAtOnce {
				limit.finished(httptest.NewRecorder(), request, false)
			}
			if ended := limit.ended.Load(); ended != 1 {
				t.Errorf("one connection is counted %d times", ended)
			}
		})
	}
}

// On a shared connection that is over because answers were given up in their
// middle, too late to tell the client with them, the next answer tells it. Those
// that are under way are finished.
func TestSharedConnectionEndsWithTheNextAnswer(t *testing.T) {
	server := startTestServer(t, nil)
	finish := make(chan bool)
	front, opened := server.overHTTP2(t, server.record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		switch r.URL.Path {
		case "/long":
			<-finish
		case "/givenUp":
			c := r.Context().Value(resetsKey{}).(*resets)
			c.answered.Store(1_000_000)
			c.allowed.SetLimit(0)
			c.allowed.SetBurst(0)
			<-r.Context().Done()
		}
	})))
	begin := func(path string) *http.Response {
		t.Helper()
		response, err := front.Client().Get(front.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	whole := func(response *http.Response) {
		t.Helper()
		if body, err := io.ReadAll(response.Body); err != nil || string(body) != "part" {
			t.Errorf("%q, %v", body, err)
		}
	}
	long := begin("/long")
	begin("/givenUp").Body.Close()
	for began := time.Now(); server.resets.ended.Load() == 0; runtime.Gosched() {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the connection is not over")
		}
	}
	// The client can have sent some more before it hears that.
	for tries := 0; opened.Load() == 1; tries++ {
		if tries > 100 {
			t.Fatalf("after %d more answers the connection still takes requests", tries)
		}
		whole(begin("/"))
	}
	close(finish)
	whole(long)
	if ended := server.resets.ended.Load(); ended != 1 {
		t.Errorf("%d connections are counted", ended)
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
				limit.keep(httptest.NewRequestWithContext((&resetLimit{}).context(ctx, server), "GET", "/", nil))
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
