package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"roster/graph"
)

// identify gives every request an id: the caller's own X-Request-Id where it is
// harmless, or a new one. It is echoed and stands in the log.
func (s *server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !harmless(id) {
			id = rand.Text()
		}
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r.WithContext(graph.WithRequestID(r.Context(), id)))
	})
}

// harmless reports whether an id can stand in a log and a header as it is.
func harmless(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// record logs every request: the route it took and not its path, which names
// customers; no query, header or body.
func (s *server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			s.log.InfoContext(r.Context(), "request", "requestId", graph.RequestID(r.Context()), "method", method(r), "route", r.Pattern,
				"status", recorder.status, "bytes", recorder.bytes, "duration", time.Since(began).Round(time.Microsecond))
		}()
		next.ServeHTTP(recorder, r)
	})
}

// method is the request's method when it is a usual one; a caller can send any text.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// statusRecorder remembers what was answered.
type statusRecorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader notes the status and passes it on.
func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Write notes the number of bytes and passes them on.
func (r *statusRecorder) Write(data []byte) (int, error) {
	n, err := r.ResponseWriter.Write(data)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// recover turns a panic outside the resolvers into one 500 and one line in the
// log. A panic that cuts the connection on purpose passes.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			if value == http.ErrAbortHandler { //nolint:errorlint // the documented sentinel, compared as net/http does
				panic(value)
			}
			s.log.ErrorContext(r.Context(), "panic", "requestId", graph.RequestID(r.Context()), "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
			plain(w, http.StatusInternalServerError, "Something went wrong on our side. Request id: "+graph.RequestID(r.Context()))
		}()
		next.ServeHTTP(w, r)
	})
}

// limitTime ends a request that takes longer than the settings allow.
func (s *server) limitTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.settings.RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
