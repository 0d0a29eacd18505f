package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"roster/auth"
)

// blockedWriter is a client that reads nothing before it is told to.
type blockedWriter struct {
	http.ResponseWriter
	begun, read chan struct{}
}

// Write waits.
func (w blockedWriter) Write(p []byte) (int, error) {
	w.begun <- struct{}{}
	<-w.read
	return len(p), nil
}

// The answers that one caller does not read take bounded memory, however many there
// are, and none of another is cut for them.
func TestUnreadAnswersOfOneCallerAreBounded(t *testing.T) {
	const size = 1 << 20
	answer := make([]byte, size)
	handler := newCallerBytes(maxUnread).bound(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
	begun, read, ended := make(chan struct{}), make(chan struct{}), make(chan any)
	ask := func(caller string) {
		defer func() { ended <- recover() }()
		request := httptest.NewRequestWithContext(auth.WithPrincipal(t.Context(), &auth.Principal{Subject: caller}), "POST", "/graphql", nil)
		handler.ServeHTTP(blockedWriter{httptest.NewRecorder(), begun, read}, request)
	}
	for range maxUnread / size {
		go ask("greedy")
		<-begun
	}
	go ask("greedy")
	select {
	case value := <-ended:
		if value != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			t.Errorf("one too many ends with %v", value)
		}
	case <-begun:
		t.Fatal("one too many is sent")
	}
	go ask("other")
	<-begun
	close(read)
	for range maxUnread/size + 1 {
		if value := <-ended; value != nil {
			t.Errorf("an answer ends with %v", value)
		}
	}
	go ask("greedy")
	<-begun
	<-ended
}

// deadlineWriter is a client that reads, and whose deadline a test sees.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

// SetWriteDeadline notes the deadline.
func (w *deadlineWriter) SetWriteDeadline(deadline time.Time) error {
	w.deadline = deadline
	return nil
}

// So many answers are written at once to those who have shown no token. For one more the
// oldest is given up that is not the first on its connection, and the connection closed
// when that does not end in time. Who has shown a token is not counted.
func TestAnonymousAnswersAreBounded(t *testing.T) {
	anonymous := newWritingLimit(4)
	anonymous.patience = time.Hour
	limit := newConnectionLimit(3)
	connect := func() (*clientConnection, net.Conn) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		return &clientConnection{Conn: ours}, theirs
	}
	begun, read, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	begin := func(on *clientConnection) *statusRecorder {
		slow := &statusRecorder{
			ResponseWriter: blockedWriter{httptest.NewRecorder(), begun, read}, status: http.StatusOK, begun: true,
			patience: readTime, state: &requestState{}, anonymousWrites: anonymous, connection: on, connections: limit,
		}
		go func() { _, _ = slow.Write([]byte("answer")); ended <- struct{}{} }()
		<-begun
		return slow
	}
	write := func(authenticated bool) {
		t.Helper()
		on, _ := connect()
		client := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
		recorder := &statusRecorder{ResponseWriter: client, patience: readTime, state: &requestState{authenticated: authenticated}, anonymousWrites: anonymous, connection: on, connections: limit}
		_, _ = recorder.Write([]byte("answer"))
		if recorder.cut.Load() || !client.deadline.IsZero() {
			t.Errorf("an answer that is read is cut; its client has shown a token: %t", authenticated)
		}
	}
	lone, _ := connect()
	shared, client := connect()
	slow := []*statusRecorder{begin(lone), begin(shared), begin(shared), begin(shared)}
	cut := func() (n []bool) {
		for _, s := range slow {
			n = append(n, s.cut.Load())
		}
		return n
	}
	write(true)
	if got := cut(); !slices.Equal(got, []bool{false, false, false, false}) {
		t.Errorf("cut for a caller's: %v", got)
	}
	write(false)
	if got := cut(); !slices.Equal(got, []bool{false, false, true, false}) {
		t.Errorf("cut for one more: %v", got)
	}
	write(false)
	if got := cut(); !slices.Equal(got, []bool{false, false, true, true}) {
		t.Errorf("cut for another: %v", got)
	}
	anonymous.patience = 0 // they have not ended in time
	closed := make(chan error)
	go func() { _, err := client.Read(make([]byte, 1)); closed <- err }()
	write(false)
	if err := <-closed; !errors.Is(err, io.EOF) {
		t.Errorf("the connection whose answers do not end: %v", err)
	}
	if slow[0].cut.Load() {
		t.Error("the only answer of a connection is cut")
	}
	close(read)
	for range slow {
		<-ended
	}
	if n := anonymous.first.Len() + anonymous.further.Len() + anonymous.givenUp.Len(); n != 0 || len(anonymous.answersOn) > 0 {
		t.Errorf("%d answers are counted after the end of all, on %d connections", n, len(anonymous.answersOn))
	}
}
