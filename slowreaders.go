package main

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// mostUnsent is how much of an answer the system takes from us before the client reads.
// Left alone it takes 4 MB on each connection, of those who read nothing too. And who
// writes to a full connection waits until a third of it has been read: of 4 MB that is
// more in readTime than a slow client gets, though it reads all the time.
const mostUnsent = 128 << 10

func boundUnsent(connection net.Conn) {
	if secure, ok := connection.(*tls.Conn); ok {
		connection = secure.NetConn()
	}
	if gathering, ok := connection.(*gatheringConnection); ok {
		connection = gathering.Conn
	}
	if sized, ok := connection.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = sized.SetWriteBuffer(mostUnsent) // it fails when the connection is gone, as reading will tell
	}
}

// mostUnread bounds the memory for the answers of one caller that it does not read. What
// comes beyond is cut.
const mostUnread = 32 << 20

// bound is the middleware that cuts answers while too much of their caller's is being
// written.
func (c *callerBytes) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&boundWriter{w, c, callerOf(r.Context())}, r)
	})
}

// boundWriter counts what is being written with the rest of its caller's.
type boundWriter struct {
	http.ResponseWriter
	bytes *callerBytes
	by    callerName
}

// Write passes the bytes on.
func (w *boundWriter) Write(p []byte) (int, error) {
	if !w.bytes.add(w.by, int64(len(p))) {
		panic(http.ErrAbortHandler)
	}
	defer w.bytes.add(w.by, -int64(len(p)))
	return w.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the writer below.
func (w *boundWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// writingLimit bounds how many answers are being written at once. Room for one more is
// made by giving up the oldest that is not the first on its connection: over HTTP/1 each
// is the first, so whoever leaves many unread over HTTP/2 keeps nobody out who reads,
// however slowly. A connection is closed when an answer does not end in time though it
// was given up.
type writingLimit struct {
	most int
	// patience is how long an answer has to end after it was given up.
	patience time.Duration

	mu sync.Mutex
	// first are the answers that began on a connection without another, further the
	// others, and givenUp those of both that were given up. Each has the oldest in front.
	first, further, givenUp *list.List
	on                      map[*resets]int // how many on each connection
}

// writing is one answer that is being written.
type writing struct {
	on     *resets
	giveUp func()
	list   *list.List
	place  *list.Element
	since  time.Time // in this list
}

func newWritingLimit(most int) *writingLimit {
	return &writingLimit{most: most, patience: 5 * time.Second, first: list.New(), further: list.New(), givenUp: list.New(), on: map[*resets]int{}}
}

// begin notes an answer that is being written on a connection, which giveUp ends, until
// the function that it gives is called.
func (l *writingLimit) begin(on *resets, giveUp func()) (end func()) {
	l.mu.Lock()
	own := &writing{on: on, giveUp: giveUp}
	if l.on[on]++; l.on[on] == 1 {
		own.moveTo(l.first)
	} else {
		own.moveTo(l.further)
	}
	makeRoom := func() {}
	if l.first.Len()+l.further.Len()+l.givenUp.Len() > l.most {
		makeRoom = l.makeRoom(own)
	}
	l.mu.Unlock()
	makeRoom()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		own.list.Remove(own.place)
		if l.on[on]--; l.on[on] == 0 {
			delete(l.on, on)
		}
	}
}

// makeRoom gives what has to be done for one less than with own.
func (l *writingLimit) makeRoom(own *writing) func() {
	from := []*list.List{l.further, l.first}
	closeLate := func() {}
	if front := l.givenUp.Front(); front != nil {
		if late := front.Value.(*writing); time.Since(late.since) > l.patience {
			late.moveTo(l.givenUp) // its time begins anew
			closeLate, from = late.on.close, from[:1]
		}
	}
	for _, answers := range from {
		if front := answers.Front(); front != nil && front != own.place {
			oldest := front.Value.(*writing)
			oldest.moveTo(l.givenUp)
			return func() { closeLate(); oldest.giveUp() }
		}
	}
	return closeLate
}

func (w *writing) moveTo(to *list.List) {
	if w.list != nil {
		w.list.Remove(w.place)
	}
	w.list, w.place, w.since = to, to.PushBack(w), time.Now()
}
