package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// start starts a server that speaks this version of HTTP.
func start(server *httptest.Server, version int) {
	if version == 1 {
		server.Start()
		return
	}
	server.EnableHTTP2 = true
	server.StartTLS()
}

// getFrom serves handler over a version of HTTP and gives the answer.
func getFrom(t *testing.T, version int, handler http.HandlerFunc) *http.Response {
	t.Helper()
	listening := httptest.NewUnstartedServer(handler)
	start(listening, version)
	t.Cleanup(listening.Close)
	response, err := listening.Client().Get(listening.URL)
	if err != nil {
		t.Fatal(err)
	}
	if response.ProtoMajor != version {
		t.Fatalf("this is %s", response.Proto)
	}
	return response
}

// The handler of a client that does not read is ended, over both versions of HTTP.
func TestClientsThatDoNotReadAreGivenUp(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", version), func(t *testing.T) {
			ended := make(chan error, 1)
			response := getFrom(t, version, func(w http.ResponseWriter, _ *http.Request) {
				recorder := &statusRecorder{ResponseWriter: w, patience: 100 * time.Millisecond}
				var err error
				for part := make([]byte, 1<<20); err == nil; {
					_, err = recorder.Write(part)
				}
				ended <- err
			})
			defer response.Body.Close()
			if err := <-ended; err == nil {
				t.Error("it ended without an error")
			}
		})
	}
}

// writes counts the pieces that are written.
type writes struct {
	http.ResponseWriter
	sizes []int
}

func (w *writes) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	return w.ResponseWriter.Write(p)
}

// An answer is cut into parts for the client's time only: inside of the compression it stays
// whole, as that compresses a whole body before it waits for the client.
func TestPartsOfAnswers(t *testing.T) {
	for _, test := range []struct {
		patience time.Duration
		size     int
		want     []int
	}{
		{time.Minute, 2*partSize + 1, []int{partSize, partSize, 1}},
		{0, 2*partSize + 1, []int{2*partSize + 1}},
		{0, 0, nil},
	} {
		counted := &writes{ResponseWriter: httptest.NewRecorder()}
		recorder := &statusRecorder{ResponseWriter: counted, patience: test.patience}
		if n, err := recorder.Write(make([]byte, test.size)); n != test.size || err != nil || !slices.Equal(counted.sizes, test.want) {
			t.Errorf("%d bytes with patience %s were written as %v (%d, %v)", test.size, test.patience, counted.sizes, n, err)
		}
	}
}

// An answer may pause for longer than a client may take to read a part of it.
func TestPausesAreNotTakenForSlowReaders(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", version), func(t *testing.T) {
			response := getFrom(t, version, func(w http.ResponseWriter, r *http.Request) {
				recorder := &statusRecorder{ResponseWriter: w, patience: 50 * time.Millisecond}
				for range 3 {
					_, _ = io.WriteString(recorder, "part ")
					_ = recorder.FlushError()
					sleep(r.Context(), 4*recorder.patience)
				}
			})
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err != nil || string(body) != "part part part " {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
}

// The log and the metrics tell of an answer that the server gave up, whatever its status.
func TestCutAnswersAreTold(t *testing.T) {
	var log lockedBuffer
	logger, _ := newLog(&log)
	s := &server{settings: &serverSettings{}, log: logger, metrics: newMetrics(newAdmission(1, 1, 1), &resetLimit{}), resets: &resetLimit{}}
	for path, cut := range map[string]bool{"/whole": false, "/cut": true} {
		server := httptest.NewServer(s.record(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "a part")
			if cut {
				panic(http.ErrAbortHandler)
			}
		})))
		if response, err := http.Get(server.URL + path); err == nil {
			response.Body.Close()
		}
		server.Close()
		if strings.Contains(log.String(), "cut=true") != cut {
			t.Errorf("%s: %s", path, log.String())
		}
		log = lockedBuffer{}
	}
	metrics := httptest.NewRecorder()
	s.adminRoutes().ServeHTTP(metrics, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if !strings.Contains(metrics.Body.String(), "\nroster_answers_cut_total 1\n") {
		t.Error(metrics.Body.String())
	}
}
