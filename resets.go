package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
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
// who goes on must begin with a handshake.
type resetLimit struct{ ended atomic.Int64 }

// resets counts the requests that were given up on a connection.
type resets struct {
	connection net.Conn
	allowed    *rate.Limiter
	// What became of the requests so far.
	answered, givenUp atomic.Int64
	// over tells that there were too many, so that each connection is counted once.
	over atomic.Bool
}

type resetsKey struct{}

// context is a ConnContext of an http.Server.
func (*resetLimit) context(ctx context.Context, connection net.Conn) context.Context {
	return context.WithValue(ctx, resetsKey{}, &resets{connection: connection, allowed: rate.NewLimiter(resetsPerSecond, resetsAtOnce)})
}

// refuse makes no work of a request that was given up already. On a connection
// that is over and still there it lets the next answer tell net/http so, as the one
// that was given up last may have begun too early for that.
func (l *resetLimit) refuse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(resetsKey{}).(*resets); ok && c.over.Load() {
			w.Header().Set("Connection", "close")
		}
		if r.ProtoMajor < 2 || r.Context().Err() == nil {
			next.ServeHTTP(w, r)
			return
		}
		l.note(w, r, hastyReset)
	})
}

// finished follows what became of a request.
func (l *resetLimit) finished(w http.ResponseWriter, r *http.Request, answered bool) {
	c, ok := r.Context().Value(resetsKey{}).(*resets)
	switch {
	case r.ProtoMajor < 2 || !ok:
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
	c := r.Context().Value(resetsKey{}).(*resets)
	c.givenUp.Add(1)
	if c.allowed.AllowN(time.Now(), weight) {
		return
	}
	if c.over.CompareAndSwap(false, true) {
		l.ended.Add(1)
	}
	if c.answered.Load() > manyAnswered*c.givenUp.Load() {
		w.Header().Set("Connection", "close")
		return
	}
	c.close()
}

// close closes the connection.
func (c *resets) close() {
	connection := c.connection
	if secure, ok := connection.(*tls.Conn); ok {
		connection = secure.NetConn() // no goodbye, for which the client could make the server wait
	}
	_ = connection.Close() // it is given up in any case
}
