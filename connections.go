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
// opens many keeps nobody out. A new connection finds no room only while every
// other one has a request on it.
type connectionLimit struct {
	most int

	mu sync.Mutex
	// all has every connection, with its place in unused or nil.
	all    map[net.Conn]*list.Element
	unused *list.List // of net.Conn, the longest without a request in front
}

func newConnectionLimit(most int) *connectionLimit {
	return &connectionLimit{most: most, all: map[net.Conn]*list.Element{}, unused: list.New()}
}

// note follows the connections; it is a ConnState of an http.Server.
func (l *connectionLimit) note(connection net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if place := l.all[connection]; place != nil {
		l.unused.Remove(place)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		l.all[connection] = l.unused.PushBack(connection)
	case http.StateActive:
		l.all[connection] = nil
	case http.StateClosed, http.StateHijacked:
		delete(l.all, connection)
	}
	if len(l.all) <= l.most {
		return
	}
	if longest := l.unused.Front(); longest != nil {
		closing := l.unused.Remove(longest).(net.Conn)
		delete(l.all, closing)
		// TLS says goodbye, for which a client that reads nothing can make it wait.
		go func() { _ = closing.Close() }() // it is given up in any case
	}
}

// resetTime is how long a request that its client gave up keeps its place among
// those that a connection of HTTP/2 may have at once. It is next to nothing for
// one whose callers now and then change their minds, of which a proxy has many.
const resetTime = 20 * time.Millisecond

// holdResets bounds how fast one connection can begin requests and give them up
// (RFC 9113, section 10.5: a client can have a server work without limit, as what
// it gave up does not count as open). Such a request runs no further and keeps
// its place for a moment, the next ones wait for a place, and net/http closes a
// connection for which many wait.
func holdResets(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 || r.Context().Err() == nil {
			next.ServeHTTP(w, r)
		}
		if r.ProtoMajor >= 2 && r.Context().Err() != nil {
			wait(context.WithoutCancel(r.Context()), resetTime)
		}
	})
}
