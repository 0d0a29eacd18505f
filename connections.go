package main

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// connectionLimit bounds the number of connections, and with it the memory for
// those that nobody uses. Room for one more is made by closing the one that has
// been without a request for longest, as HTTP allows at any time; so whoever
// opens many keeps nobody out. When each has a request, the one goes that has shown no
// token and has taken nothing of its answer for longest, as somebody has who asks for
// a file and then does not read it. When each is a caller's, the oldest goes of a
// caller who has more than half of them all. A new connection finds no room only while
// every other one is a caller's and nobody has so many.
//
// It also closes those that nobody has used for long. net/http can do that too, but
// then keeps for as long, over HTTP/2, what was under way on a connection when it
// ended, which is half a megabyte when it ended amid many requests. The price is
// that a client of HTTP/2 is not told first: the time is longer than most wait
// between two requests.
type connectionLimit struct {
	most int

	mu sync.Mutex
	// all has every connection, with its place in one of the lists.
	all map[net.Conn]*list.Element
	// unused are those without a request, and anonymous those with requests none of
	// which has shown a token. All lists hold closable, the longest in front.
	unused, anonymous *list.List
	// callers are those with a request that has, by the first caller on each.
	callers map[callerName]*list.List
}

// closable is a connection that may be closed to make room, and the list it is in,
// which is that of a caller or of none.
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

func newConnectionLimit(most int) *connectionLimit {
	return &connectionLimit{most: most, all: map[net.Conn]*list.Element{}, unused: list.New(), anonymous: list.New(), callers: map[callerName]*list.List{}}
}

// note follows the connections; it is a ConnState of an http.Server.
func (l *connectionLimit) note(connection net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	place, known := l.all[connection]
	if !known && state != http.StateNew {
		return // it is being closed, to make room
	}
	l.remove(place)
	switch state {
	case http.StateNew, http.StateIdle:
		l.add(l.unused, connection)
	case http.StateActive:
		l.add(l.anonymous, connection)
	case http.StateClosed, http.StateHijacked:
		delete(l.all, connection)
	}
	if len(l.all) <= l.most {
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
		if connections.Len() > max(1, l.most/2) {
			return connections.Front()
		}
	}
	return nil
}

func (l *connectionLimit) add(to *list.List, connection net.Conn) {
	l.all[connection] = to.PushBack(closable{Conn: connection, since: time.Now(), list: to})
}

// remove takes a connection out of the list that it is in, if any.
func (l *connectionLimit) remove(place *list.Element) {
	if place == nil {
		return
	}
	c := place.Value.(closable)
	if c.list.Remove(place); c.list.Len() == 0 && c.list == l.callers[c.caller] {
		delete(l.callers, c.caller)
	}
}

// keep keeps the connection of a request whose token is valid from being closed, until
// it has no request, while its caller does not have too many. It may have none any
// more: one of HTTP/2 can be given up before.
func (l *connectionLimit) keep(r *http.Request) {
	c, ok := r.Context().Value(resetsKey{}).(*resets)
	if !ok {
		return // in tests
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if place := l.all[c.connection]; place != nil && place.Value.(closable).list == l.anonymous {
		l.remove(place)
		by := callerOf(r.Context())
		if l.callers[by] == nil {
			l.callers[by] = list.New()
		}
		own := l.callers[by]
		l.all[c.connection] = own.PushBack(closable{c.connection, time.Now(), own, by})
	}
}

// progressed notes that a client who has shown no token has taken a part of its answer:
// those go first who take none.
func (l *connectionLimit) progressed(connection net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if place := l.all[connection]; place != nil && place.Value.(closable).list == l.anonymous {
		l.anonymous.MoveToBack(place)
	}
}

// close closes a connection.
func (l *connectionLimit) close(place *list.Element) {
	closing := place.Value.(closable).Conn
	l.remove(place)
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
