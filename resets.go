package main

import (
	"net/http"
	"sync/atomic"
	"time"
)

// How many requests one connection of HTTP/2 may begin and give up: so many a
// second, and after a pause so many at once. Callers change their minds now and
// then, but it takes them longer than the server needs to begin, so a request that
// was given up before counts as several.
const (
	resetsPerSecond = 100
	resetsAtOnce    = 100
	hastyReset      = 10
)

// manyAnswered is how many requests are answered on a shared connection for each
// that is given up.
const manyAnswered = 10

// resetLimit bounds how fast clients can begin requests and give them up, which
// HTTP/2 itself does not, as a request that was given up does not count as open
// (RFC 9113, section 10.5). A connection with too many of them is ended, so that
// whoever goes on must begin with a handshake.
type resetLimit struct{ ended atomic.Int64 }

// middleware does no work for a request that was given up already, and notes that the others
// are taken, for which their connection was rightly read. On a connection that is over but
// still open, the next answer tells net/http to close it, as the last request given up may
// have begun too early for that.
func (l *resetLimit) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connectionOf(r.Context())
		if c != nil && c.over.Load() {
			w.Header().Set("Connection", "close")
		}
		if r.ProtoMajor < 2 || r.Context().Err() == nil {
			if c != nil && c.metered != nil {
				c.metered.take(r)
			}
			next.ServeHTTP(w, r)
			return
		}
		l.note(w, r, hastyReset)
	})
}

// finished follows what became of a request.
func (l *resetLimit) finished(w http.ResponseWriter, r *http.Request, answered bool) {
	c := connectionOf(r.Context())
	switch {
	case r.ProtoMajor < 2 || c == nil:
	case answered:
		c.answered.Add(1)
	case r.Context().Err() != nil:
		l.note(w, r, 1)
	}
}

// note counts a request that was given up, and ends the connection when there were
// too many. One on which most were answered may be a proxy's, with many callers on
// it: net/http takes no more requests on it and finishes those it has. (Some of
// those that are given up at once are answered nevertheless, as the answer is
// quicker.)
func (l *resetLimit) note(w http.ResponseWriter, r *http.Request, weight int) {
	c := connectionOf(r.Context())
	c.givenUp.Add(1)
	if c.resetsAllowed.AllowN(time.Now(), weight) {
		return
	}
	if c.over.CompareAndSwap(false, true) {
		l.ended.Add(1)
	}
	if c.answered.Load() > manyAnswered*c.givenUp.Load() {
		w.Header().Set("Connection", "close")
		return
	}
	c.cut()
}
