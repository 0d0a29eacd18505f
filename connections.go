package main

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// clientConnection is a connection of a client, with what became of the requests on it.
type clientConnection struct {
	net.Conn
	// metered is what TLS reads from and writes to; nil without TLS.
	metered *meteredConnection
	// resetsAllowed is how many more requests may be given up.
	resetsAllowed *rate.Limiter
	// What became of the requests so far.
	answered, givenUp atomic.Int64
	// over tells that too many were given up, so that each connection is counted once.
	over atomic.Bool
}

type clientConnectionKey struct{}

// withConnection is a ConnContext of an http.Server.
func withConnection(ctx context.Context, connection net.Conn) context.Context {
	c := &clientConnection{Conn: connection, resetsAllowed: rate.NewLimiter(resetsPerSecond, resetsAtOnce)}
	if secure, ok := connection.(*tls.Conn); ok {
		c.metered, _ = secure.NetConn().(*meteredConnection)
	}
	return context.WithValue(ctx, clientConnectionKey{}, c)
}

// connectionOf gives the connection of the request of ctx; nil where there is none, as in
// tests.
func connectionOf(ctx context.Context) *clientConnection {
	connection, _ := ctx.Value(clientConnectionKey{}).(*clientConnection)
	return connection
}

// cut closes the connection at once.
func (c *clientConnection) cut() {
	connection := c.Conn
	if secure, ok := connection.(*tls.Conn); ok {
		connection = secure.NetConn() // no goodbye, for which the client could make the server wait
	}
	_ = connection.Close() // it is given up in any case
}

// connectionLimit bounds the number of connections, and with it the memory for
// those that nobody uses. Room for one more is made by closing the one that has
// been without a request for longest, as HTTP allows at any time; so whoever
// opens many keeps nobody out. When each has a request, the one without a valid token
// goes whose client has taken nothing of its answer for longest, such as one that asks
// for a file and does not read it. When each is a caller's, the oldest of a caller who
// has more than half of them all goes. A new connection finds no room only while every
// other one is a caller's and nobody has so many.
//
// It also closes those that nobody has used for long. net/http can do that too, but over
// HTTP/2 it then keeps what was under way on a connection for as long after its end:
// half a megabyte when that was amid many requests. The price is that a client of HTTP/2
// is not told first, so the time is longer than most wait between two requests.
type connectionLimit struct {
	limit int

	mu sync.Mutex
	// all has every connection, with its place in one of the lists.
	all map[net.Conn]*list.Element
	// unused are those without a request, and anonymous those with requests none of
	// which had a valid token. All lists hold closable, the longest in front.
	unused, anonymous *list.List
	// callers are those with a request that had one, by the first caller on each.
	callers map[callerName]*list.List
}

// closable is a connection that may be closed to make room, the list that it is in, and
// the caller whose list that is, if any.
type closable struct {
	net.Conn
	since  time.Time
	list   *list.List
	caller callerName
}

// The time after which a connection that nobody uses is closed, and how often that
// is looked for.
const (
	idleTimeout  = 3 * time.Minute
	idleInterval = 5 * time.Second
)

func newConnectionLimit(limit int) *connectionLimit {
	return &connectionLimit{limit: limit, all: map[net.Conn]*list.Element{}, unused: list.New(), anonymous: list.New(), callers: map[callerName]*list.List{}}
}

// note follows the connections; it is a ConnState of an http.Server.
func (l *connectionLimit) note(connection net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	element, known := l.all[connection]
	if !known && state != http.StateNew {
		return // it is being closed, to make room
	}
	l.remove(element)
	switch state {
	case http.StateNew, http.StateIdle:
		l.add(l.unused, connection, callerName{})
	case http.StateActive:
		l.add(l.anonymous, connection, callerName{})
	case http.StateClosed, http.StateHijacked:
		delete(l.all, connection)
	}
	if len(l.all) <= l.limit {
		return
	}
	own := l.all[connection]
	for _, longest := range []*list.Element{l.unused.Front(), l.anonymous.Front(), l.overHalf()} {
		if longest != nil && longest != own {
			l.close(longest)
			return
		}
	}
	if own != nil {
		l.close(own)
	}
}

// overHalf gives the oldest connection of the caller who has more than half of all that
// there may be, or nil.
func (l *connectionLimit) overHalf() *list.Element {
	for _, connections := range l.callers {
		if connections.Len() > max(1, l.limit/2) {
			return connections.Front()
		}
	}
	return nil
}

func (l *connectionLimit) add(to *list.List, connection net.Conn, caller callerName) {
	l.all[connection] = to.PushBack(closable{connection, time.Now(), to, caller})
}

// remove takes a connection out of the list that it is in, if any.
func (l *connectionLimit) remove(element *list.Element) {
	if element == nil {
		return
	}
	c := element.Value.(closable)
	if c.list.Remove(element); c.list.Len() == 0 && c.list == l.callers[c.caller] {
		delete(l.callers, c.caller)
	}
}

// keep protects the connection of a request with a valid token from being closed while it
// has a request and its caller does not have too many. It may be idle by now: a request
// of HTTP/2 can be given up before.
func (l *connectionLimit) keep(r *http.Request) {
	connection := connectionOf(r.Context())
	if connection == nil {
		return // in tests
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if element := l.all[connection.Conn]; element != nil && element.Value.(closable).list == l.anonymous {
		l.remove(element)
		caller := callerOf(r.Context())
		if l.callers[caller] == nil {
			l.callers[caller] = list.New()
		}
		l.add(l.callers[caller], connection.Conn, caller)
	}
}

// progressed notes that a client without a valid token has taken a part of its answer:
// those that take none are closed first.
func (l *connectionLimit) progressed(connection net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if element := l.all[connection]; element != nil && element.Value.(closable).list == l.anonymous {
		l.anonymous.MoveToBack(element)
	}
}

// close closes a connection.
func (l *connectionLimit) close(element *list.Element) {
	closing := element.Value.(closable).Conn
	l.remove(element)
	delete(l.all, closing)
	// TLS says goodbye, for which a client that reads nothing can make it wait.
	go func() { _ = closing.Close() }() // it is given up in any case
}

// closeIdle closes what nobody has used for long, again and again until ctx is done.
func (l *connectionLimit) closeIdle(ctx context.Context) {
	ticker := time.NewTicker(idleInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.closeUnusedSince(time.Now().Add(-idleTimeout))
		}
	}
}

func (l *connectionLimit) closeUnusedSince(then time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for longest := l.unused.Front(); longest != nil && !longest.Value.(closable).since.After(then); longest = l.unused.Front() {
		l.close(longest)
	}
}
