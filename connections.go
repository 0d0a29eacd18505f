package main

import (
	"container/list"
	"net"
	"net/http"
	"sync"
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
