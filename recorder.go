package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"roster/graph"
)

// record logs and counts every request: the route it took and not its path, which names
// customers; no query, header or body.
func (s *server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, end := time.Now(), s.metrics.begin()
		state, answered, cut := &requestState{}, false, true
		recorder := &statusRecorder{
			ResponseWriter: w, status: http.StatusOK, patience: readTime, leaving: s.leaving(r), gathering: gatheringOf(r),
			state: state, anonymousWrites: s.anonymousWrites, connection: connectionOf(r.Context()), connections: s.connections,
		}
		r = r.WithContext(context.WithValue(r.Context(), requestStateKey{}, state))
		defer func() {
			if cut { // by a panic: the client sees as much of the answer as there was
				recorder.cut.Store(true)
				_ = recorder.inTime(recorder.gathering.send) // the connection is closed in any case
			}
			s.resets.finished(w, r, answered)
			took := time.Since(began)
			end(r.Pattern, recorder.status, took)
			if recorder.cut.Load() {
				s.metrics.cut.Inc()
			}
			if state.refused {
				return // under a flood, a line for each would cost more than the refusal; the metrics count them
			}
			s.logRequest(r, recorder, took)
		}()
		next.ServeHTTP(recorder, r)
		// A client that has all of the answer may be gone before we return.
		answered = r.Context().Err() == nil || recorder.complete()
		recorder.finish(r)
		cut = false
	})
}

// leaving tells whether the answers to such requests ask the client to go elsewhere.
// Over HTTP/2 that ends the connection for what is on its way to us too (the client
// may send it again: RFC 9113, section 6.8), so it is not said while the client would
// come back and hear the same.
func (s *server) leaving(r *http.Request) func() bool {
	if r.ProtoMajor >= 2 {
		return s.closed.Load
	}
	return s.draining.Load
}

// logRequest writes the line of a request. The record is made by hand: a Logger
// would find out where it was called from, for a handler that does not want to know.
func (s *server) logRequest(r *http.Request, answer *statusRecorder, took time.Duration) {
	handler := s.log.Handler()
	if !handler.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	line.AddAttrs(slog.String("requestId", graph.RequestID(r.Context())), slog.String("method", method(r)), slog.String("route", r.Pattern),
		slog.Int("status", answer.status), slog.Int64("bytes", answer.bytes), slog.Duration("duration", took.Round(time.Microsecond)))
	if answer.cut.Load() {
		line.AddAttrs(slog.Bool("cut", true)) // whatever the status says, which went ahead
	}
	_ = handler.Handle(r.Context(), line) // as a Logger does: there is nowhere to say that the log is broken
}

// method is the request's method when it is a usual one; a caller can send any text.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// statusRecorder remembers what was answered, and gives up on a client that
// does not read it. A time limit for the whole answer would not fit streams, so
// each part of an answer has its own.
type statusRecorder struct {
	http.ResponseWriter
	status int
	begun  bool // the header is on its way
	bytes  int64
	// patience is how long the client may take to read one part; 0 is any time.
	patience time.Duration
	// leaving tells that the server is stopping; nil is never.
	leaving func() bool
	// anonymousWrites bounds the answers being written to clients without a valid token;
	// nil is no bound. Over HTTP/2 each keeps its request, up to 16 KiB, for as long.
	anonymousWrites *writingLimit
	state           *requestState
	// connection is the client's, one of connections; nil in tests.
	connection  *clientConnection
	connections *connectionLimit
	// gathering holds back small writes; nil does not.
	gathering *gatheringConnection
	// cut tells that the server gave up before the answer was whole.
	cut atomic.Bool
}

// readTime is how long a client may take to read one part of an answer. Its system
// asks for more only when there is room for a sixteenth of all that it keeps: at 20 KB
// a second that takes up to 20 seconds.
const readTime = 30 * time.Second

// partSize is how much of an answer has a time limit of its own, so that a slow
// client that does read can have as large an answer as any.
const partSize = 32 << 10

// WriteHeader notes the status and passes it on. A server that is stopping asks
// the client to send its next request elsewhere.
func (r *statusRecorder) WriteHeader(status int) {
	if status >= http.StatusOK && !r.begun {
		r.status, r.begun = status, true
		if r.leaving != nil && r.leaving() {
			r.Header().Set("Connection", "close")
		}
		r.gathering.gather()
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write passes the bytes on, in parts, and notes their number.
func (r *statusRecorder) Write(data []byte) (written int, err error) {
	if !r.begun {
		r.WriteHeader(http.StatusOK)
	}
	size := partSize
	if r.patience == 0 { // no part has a time of its own, and Compress looks for a whole body
		size = max(1, len(data))
	}
	for part := range slices.Chunk(data, size) {
		err := r.inTime(func() error {
			n, err := r.ResponseWriter.Write(part)
			written += n
			r.bytes += int64(n)
			return err
		})
		if err != nil {
			return written, err
		}
		if r.connection != nil && !r.state.authenticated {
			r.connections.progressed(r.connection.Conn)
		}
	}
	return written, nil
}

// FlushError sends what has been written so far on its way.
func (r *statusRecorder) FlushError() error {
	if !r.begun {
		r.WriteHeader(http.StatusOK)
	}
	return r.inTime(func() error {
		err := http.NewResponseController(r.ResponseWriter).Flush()
		return errors.Join(err, r.gathering.send())
	})
}

// inTime runs write, and ends it when the client does not read. Over HTTP/1 a deadline
// set ahead would do. Over HTTP/2, when the request is given up meanwhile, it holds the
// memory of its connection until it expires: half a megabyte for each of thousands of
// connections.
func (r *statusRecorder) inTime(write func() error) error {
	if r.patience == 0 {
		return write()
	}
	var (
		mu    sync.Mutex
		ended bool
	)
	giveUp := func() {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			r.cut.Store(true)
			// A writer that knows no deadlines, as in tests, has none.
			_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(longAgo)
		}
	}
	if r.anonymousWrites != nil && !r.state.authenticated {
		defer r.anonymousWrites.begin(r.connection, giveUp)()
	}
	timer := time.AfterFunc(r.patience, giveUp)
	defer func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		ended = true
	}()
	return write()
}

// longAgo is a deadline that ends what is being written.
var longAgo = time.Unix(1, 0)

// complete reports whether all of an answer whose length was told has been written.
func (r *statusRecorder) complete() bool {
	return r.begun && r.Header().Get("Content-Length") == strconv.FormatInt(r.bytes, 10)
}

// finish has what is still held of the answer sent in time. Over HTTP/1 net/http
// itself ends an answer that has no body, or whose length was not told, when the
// handler has returned.
func (r *statusRecorder) finish(request *http.Request) {
	hasBody := r.bytes > 0 && request.Method != http.MethodHead
	if hasBody && (request.ProtoMajor >= 2 || r.complete()) {
		_ = r.FlushError() // the client is gone: there is nobody to tell
		return
	}
	if request.ProtoMajor < 2 {
		_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Now().Add(r.patience))
		_ = r.gathering.send() // the client is gone here too
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
