package main

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxUnsent is how much of an answer the system takes from us before the client reads.
// Left alone it takes 4 MB on each connection, also of a client that reads nothing. And
// writing to a full connection waits until a third of it has been read: a third of 4 MB
// is more than a slow client reads in readTime.
const maxUnsent = 128 << 10

func boundUnsent(connection net.Conn) {
	if secure, ok := connection.(*tls.Conn); ok {
		connection = secure.NetConn()
	}
	switch wrapped := connection.(type) {
	case *gatheringConnection:
		connection = wrapped.Conn
	case *meteredConnection:
		connection = wrapped.Conn
	}
	if sized, ok := connection.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = sized.SetWriteBuffer(maxUnsent) // it fails when the connection is gone, as reading will tell
	}
}

// maxUnread bounds the memory for the answers of one caller that it does not read. What
// comes beyond is cut.
const maxUnread = 32 << 20

// bound is the middleware that cuts answers while too much of their caller's is being
// written.
func (c *callerBytes) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&boundWriter{w, c, callerOf(r.Context())}, r)
	})
}

// boundWriter adds what is being written to the rest that its caller has not read.
type boundWriter struct {
	http.ResponseWriter
	bytes  *callerBytes
	caller callerName
}

// Write passes the bytes on.
func (w *boundWriter) Write(p []byte) (int, error) {
	if !w.bytes.add(w.caller, int64(len(p))) {
		panic(http.ErrAbortHandler)
	}
	defer w.bytes.add(w.caller, -int64(len(p)))
	return w.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the writer below.
func (w *boundWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// writingLimit bounds how many answers are being written at once. Room for one more is
// made by giving up the oldest that is not the first on its connection, or else the
// oldest. Over HTTP/1 each is the first, so whoever leaves many unread over HTTP/2 keeps
// nobody out who reads slowly. A connection is closed when an answer that was given up
// does not end in time.
type writingLimit struct {
	limit int
	// patience is how long an answer has to end after it was given up.
	patience time.Duration

	mu sync.Mutex
	// first are the answers that began on a connection without another, further the
	// others, and givenUp those of both that were given up. Each has the oldest in front.
	first, further, givenUp *list.List
	// answersOn is how many there are on each connection.
	answersOn map[*clientConnection]int
}

// writing is one answer that is being written.
type writing struct {
	connection *clientConnection
	giveUp     func()
	list       *list.List
	element    *list.Element
	since      time.Time // in this list
}

func newWritingLimit(limit int) *writingLimit {
	return &writingLimit{limit: limit, patience: 5 * time.Second, first: list.New(), further: list.New(), givenUp: list.New(), answersOn: map[*clientConnection]int{}}
}

// begin notes an answer that is being written on a connection, until end is called.
// giveUp ends the answer.
func (l *writingLimit) begin(connection *clientConnection, giveUp func()) (end func()) {
	l.mu.Lock()
	own := &writing{connection: connection, giveUp: giveUp}
	if l.answersOn[connection]++; l.answersOn[connection] == 1 {
		own.moveTo(l.first)
	} else {
		own.moveTo(l.further)
	}
	makeRoom := func() {}
	if l.first.Len()+l.further.Len()+l.givenUp.Len() > l.limit {
		makeRoom = l.makeRoom(own)
	}
	l.mu.Unlock()
	makeRoom()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		own.list.Remove(own.element)
		if l.answersOn[connection]--; l.answersOn[connection] == 0 {
			delete(l.answersOn, connection)
		}
	}
}

// makeRoom picks what to give up for own. The function that it gives does that, and is
// called without the lock.
func (l *writingLimit) makeRoom(own *writing) func() {
	from := []*list.List{l.further, l.first}
	closeLate := func() {}
	if front := l.givenUp.Front(); front != nil {
		if late := front.Value.(*writing); time.Since(late.since) > l.patience {
			late.moveTo(l.givenUp) // its time begins anew
			closeLate, from = late.connection.cut, from[:1]
		}
	}
	for _, answers := range from {
		if front := answers.Front(); front != nil && front != own.element {
			oldest := front.Value.(*writing)
			oldest.moveTo(l.givenUp)
			return func() { closeLate(); oldest.giveUp() }
		}
	}
	return closeLate
}

func (w *writing) moveTo(to *list.List) {
	if w.list != nil {
		w.list.Remove(w.element)
	}
	w.list, w.element, w.since = to, to.PushBack(w), time.Now()
}
