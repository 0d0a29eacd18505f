package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"roster/auth"
	"roster/graph"
	"roster/models"
)

// slowBody gives some bytes, tells that it has, and the end when it may.
type slowBody struct {
	io.Reader
	given, end chan struct{}
}

// Read gives the bytes.
func (b slowBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.given <- struct{}{}
		<-b.end
	}
	return n, err
}

// The bodies of one caller that are on their way take bounded memory, however many
// there are, and keep nobody else's out.
func TestArrivingBodiesAreBounded(t *testing.T) {
	const maxBody = 1 << 20
	refuse := func(w http.ResponseWriter, _ *http.Request, err error) {
		w.WriteHeader(graph.HTTPStatus(models.AsError(err).Code))
	}
	handler := newAdmission(100, 100, 1).admit(maxBody, refuse)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); n != r.ContentLength || err != nil {
			t.Errorf("%d bytes of %d, %v", n, r.ContentLength, err)
		}
	}))
	given, end, statuses := make(chan struct{}), make(chan struct{}), make(chan int)
	send := func(caller string, size int64) {
		answer := httptest.NewRecorder()
		body := slowBody{bytes.NewReader(make([]byte, size)), given, end}
		request := httptest.NewRequestWithContext(auth.WithPrincipal(t.Context(), &auth.Principal{Subject: caller}), "POST", "/graphql", body)
		request.ContentLength = size
		request.Header.Set("Expect", "100-continue") // or a refusal would wait for the rest
		handler.ServeHTTP(answer, request)
		statuses <- answer.Code
	}
	const most = maxArriving / maxBody
	for range most {
		go send("greedy", maxBody)
		<-given
	}
	go send("greedy", 1)
	select {
	case status := <-statuses:
		if status != http.StatusServiceUnavailable {
			t.Errorf("one more: %d", status)
		}
	case <-given:
		t.Fatal("one more was read")
	}
	go send("another", 1)
	<-given
	close(end)
	for range most + 1 {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("one of those that fit: %d", status)
		}
	}
	go send("greedy", maxBody)
	<-given
	if status := <-statuses; status != http.StatusOK {
		t.Errorf("afterwards: %d", status)
	}
}
