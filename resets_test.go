package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// overHTTP2 serves a handler over HTTP/2 with TLS, as serve does, and counts the
// connections that are opened.
func (s *testServer) overHTTP2(t *testing.T, handler http.Handler) (front *httptest.Server, opened *atomic.Int64) {
	t.Helper()
	opened = &atomic.Int64{}
	front = httptest.NewUnstartedServer(s.resets.middleware(handler))
	front.EnableHTTP2 = true
	front.Config.ConnContext = withConnection
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
			handler := limit.middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it is worked on") }))
			client, connection := net.Pipe()
			t.Cleanup(func() { client.Close() })
			ctx, cancel := context.WithCancel(withConnection(t.Context(), connection))
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
			c := connectionOf(r.Context())
			c.answered.Store(1_000_000)
			c.resetsAllowed.SetLimit(0)
			c.resetsAllowed.SetBurst(0)
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
