package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"roster/graph"
	"roster/models"
)

// assignRequestID gives every request an id: the caller's own X-Request-Id where it is
// harmless, or a new one. It is echoed and stands in the log. It also sets nosniff for
// all answers.
func (s *server) assignRequestID(next http.Handler) http.Handler {
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

// recover makes the middleware that turns a panic outside the resolvers into one
// 500, answered by refuse, and one line in the log. An answer that has begun is
// cut, as it must not look complete. A panic that cuts it on purpose passes.
func (s *server) recover(refuse refuseFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begun := &statusRecorder{ResponseWriter: w}
			defer func() {
				value := recover()
				if value == nil {
					return
				}
				if value == http.ErrAbortHandler { //nolint:errorlint // the documented sentinel, compared as net/http does
					panic(value)
				}
				s.log.ErrorContext(r.Context(), "panic", "requestId", graph.RequestID(r.Context()), "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
				if begun.begun {
					panic(http.ErrAbortHandler)
				}
				refuse(w, r, &models.Error{Code: models.CodeInternal, Message: models.InternalMessage})
			}()
			next.ServeHTTP(begun, r)
		})
	}
}

// refuseFunc answers a request with an error, in the form of the API that it is for.
type refuseFunc = func(w http.ResponseWriter, r *http.Request, err error)

// refuseUnread refuses requests whose body nobody has read. net/http would read it before
// it sends the answer, so that the connection can be used again, and wait for a slow
// one as long as a request may take to arrive.
func refuseUnread(refuse refuseFunc) refuseFunc {
	return func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Body != http.NoBody {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime)) // a writer of tests has no deadlines
			// HTTP/2 ends a stream and keeps the connection.
			if r.ProtoMajor < 2 && !drainBody(r) {
				lingerClose(w)
			}
		}
		refuse(w, r, err)
	}
}

// drainBody reads a body and reports whether that was all of it. A client that expects
// to be asked for its body is not asked.
func drainBody(r *http.Request) bool {
	const maxDrained = 256 << 10 // which is what net/http itself would read
	if r.Header.Get("Expect") != "" {
		return false
	}
	_, err := io.CopyN(io.Discard, r.Body, maxDrained+1)
	return errors.Is(err, io.EOF)
}

// lingerClose has net/http close the connection after the answer as it does for a body
// that is too large: half a second later. Bytes that arrive on a closed connection reset
// it, and the client may never see the answer.
func lingerClose(w http.ResponseWriter) {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = outer.Unwrap()
	}
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("more")), 0).Read(make([]byte, 1))
}

// drainTime is how long a body that nobody reads may take to arrive.
const drainTime = 20 * time.Millisecond

// refusePlain refuses what is for no API in plain text.
func refusePlain(w http.ResponseWriter, r *http.Request, err error) {
	failure := models.AsError(err)
	plain(w, graph.HTTPStatus(failure.Code), failure.Message+" Request id: "+graph.RequestID(r.Context()))
}

// limitTime ends a request that takes longer than the settings allow.
func (s *server) limitTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.settings.RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
