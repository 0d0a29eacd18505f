package main

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// meteredListener accepts connections on which a client that sends much for nothing is read
// from slowly. It is for TLS: over HTTP/2 nothing else bounds what no handler takes, such as
// requests that are given up as they begin. net/http drops most of these before resetLimit
// could count them, and would take all of the processors for reading them.
type meteredListener struct{ net.Listener }

// Accept gives the next connection.
func (l meteredListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &meteredConnection{Conn: connection, since: time.Now()}, nil
}

// How many bytes that no handler has taken may come on a connection at once, twice what
// net/http reads ahead of bodies, and how many in each second.
const (
	untakenAtOnce    = 128 << 10
	untakenPerSecond = 256 << 10
)

// untakenPause is how long reading waits before it looks again.
const untakenPause = 10 * time.Millisecond

// meteredConnection is a connection below TLS that reads slowly while too much of what came
// was for nothing.
type meteredConnection struct {
	net.Conn
	// untaken is what was read until since and not taken. They are the reader's.
	untaken float64
	since   time.Time
	// taken is what handlers have taken after that, and what was sent: clients answer that
	// with frames of their own.
	taken atomic.Int64
	// free tells that all is read as it comes, and ended that reading is to end.
	free, ended atomic.Bool
	// deadline is that of reading, in nanoseconds since 1970; 0 is none.
	deadline atomic.Int64
}

// Read waits until it may read, and reads.
func (c *meteredConnection) Read(p []byte) (int, error) {
	for c.tooMuch() {
		// The client is to wait, and the kernel has it wait while nothing is read. This
		// goroutine does nothing else, and Close and deadlines may end a pause a little late.
		time.Sleep(untakenPause)
	}
	n, err := c.Conn.Read(p)
	c.untaken += float64(n)
	return n, err
}

func (c *meteredConnection) tooMuch() bool {
	if c.free.Load() {
		return false
	}
	now := time.Now()
	c.untaken -= float64(c.taken.Swap(0)) + now.Sub(c.since).Seconds()*untakenPerSecond
	c.untaken, c.since = max(0, c.untaken), now
	if deadline := c.deadline.Load(); deadline != 0 && deadline <= now.UnixNano() {
		return false // which reading is going to tell
	}
	return c.untaken > untakenAtOnce && !c.ended.Load()
}

// Write writes, and lets as much be read.
func (c *meteredConnection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.taken.Add(int64(n))
	return n, err
}

// Close closes the connection, and ends what is being read.
func (c *meteredConnection) Close() error {
	c.ended.Store(true)
	return c.Conn.Close()
}

// SetReadDeadline bounds the time for what is being read, a pause included.
func (c *meteredConnection) SetReadDeadline(t time.Time) error {
	c.noteDeadline(t)
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline bounds the time for what is being read or written.
func (c *meteredConnection) SetDeadline(t time.Time) error {
	c.noteDeadline(t)
	return c.Conn.SetDeadline(t)
}

func (c *meteredConnection) noteDeadline(t time.Time) {
	if t.IsZero() {
		c.deadline.Store(0)
		return
	}
	c.deadline.Store(t.UnixNano())
}

// take notes that a handler takes a request, and what it reads of the body. Over HTTP/1
// there is nothing that no handler takes.
func (c *meteredConnection) take(r *http.Request) {
	if r.ProtoMajor < 2 {
		c.free.Store(true)
		return
	}
	// As it was before it was compressed, and with room for what frames and records add.
	size := 512 + len(r.Method) + len(r.Host) + len(r.RequestURI)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	c.taken.Add(int64(size))
	if r.Body != http.NoBody {
		r.Body = &takenBody{r.Body, c}
	}
}

// takenBody is a body whose bytes are taken as they are read.
type takenBody struct {
	io.ReadCloser
	connection *meteredConnection
}

// Read reads a part of the body.
func (b *takenBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.connection.taken.Add(int64(n))
	return n, err
}
