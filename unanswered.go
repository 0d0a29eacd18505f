package main

import (
	"net"
	"sync/atomic"
	"time"
)

// unansweredListener accepts connections on which a client that sends much and takes no
// answer is read from slowly. Over HTTP/2 nothing else bounds what needs no answer, such
// as requests that are given up as they begin: net/http drops most of these before
// resetLimit could count them, and would take all of the processors for reading them.
type unansweredListener struct {
	net.Listener
	// atOnce is how many bytes may be unanswered before the connection is slowed down.
	atOnce int64
}

// What may be unanswered on a connection: so much at once, or a body of the size that is
// allowed, if that is more; so many times as much in each second; and so many bytes for
// each that is sent to the client. A request can have 1,500 bytes, most of them its token,
// and an answer 150.
const (
	minUnanswered       = 64 << 10
	unansweredPerSecond = 4
	readForEachSent     = 16
)

// unansweredPause is how long reading waits before it looks again.
const unansweredPause = 10 * time.Millisecond

// Accept gives the next connection.
func (l unansweredListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newUnansweredConnection(connection, l.atOnce), nil
}

// unansweredConnection is a connection that reads slowly while too much is unanswered.
type unansweredConnection struct {
	net.Conn
	atOnce int64
	// unanswered is what was read and not answered until since. They are the reader's.
	unanswered float64
	since      time.Time
	// sent is what was written after that.
	sent atomic.Int64
	// interrupted has something when a pause shall end, as Read has to.
	interrupted chan struct{}
}

func newUnansweredConnection(connection net.Conn, atOnce int64) *unansweredConnection {
	return &unansweredConnection{Conn: connection, atOnce: atOnce, since: time.Now(), interrupted: make(chan struct{}, 1)}
}

// Read waits until it may read, and reads.
func (c *unansweredConnection) Read(p []byte) (int, error) {
	for pausing := c.tooMuch(); pausing; {
		select {
		case <-time.After(unansweredPause):
			pausing = c.tooMuch()
		case <-c.interrupted:
			pausing = false
		}
	}
	n, err := c.Conn.Read(p)
	c.unanswered += float64(n)
	return n, err
}

func (c *unansweredConnection) tooMuch() bool {
	now := time.Now()
	c.unanswered -= readForEachSent*float64(c.sent.Swap(0)) + now.Sub(c.since).Seconds()*unansweredPerSecond*float64(c.atOnce)
	c.unanswered, c.since = max(0, c.unanswered), now
	return c.unanswered > float64(c.atOnce)
}

// Write writes, and lets more be read.
func (c *unansweredConnection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// Close closes the connection, and ends what is being read.
func (c *unansweredConnection) Close() error {
	defer c.interrupt()
	return c.Conn.Close()
}

// SetReadDeadline bounds the time for what is being read; net/http ends it so.
func (c *unansweredConnection) SetReadDeadline(t time.Time) error {
	defer c.interrupt()
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline bounds the time for what is being read or written.
func (c *unansweredConnection) SetDeadline(t time.Time) error {
	defer c.interrupt()
	return c.Conn.SetDeadline(t)
}

func (c *unansweredConnection) interrupt() {
	select {
	case c.interrupted <- struct{}{}:
	default:
	}
}
