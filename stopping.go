package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// stop ends a server whose answers ask their clients to go elsewhere. Shutdown
// alone would lose requests, as it does not answer what arrives after it was
// called: on a connection that was just accepted, or on one that looked idle
// while a request was on its way. So it comes last. First the listener stays open
// for a moment, while clients come back on new connections and learn from /readyz
// and from every answer that the server is stopping. Then no more connections are
// begun, those under way are accepted, the listener is closed, and what has been
// accepted is answered.
func stop(ctx context.Context, server *http.Server, serve func(net.Listener) error, listener net.Listener, busy *busyConnections) error {
	linger, cancel := context.WithTimeout(ctx, lingerTime)
	defer cancel()
	busy.waitForNone(linger)
	_ = ignoreHandshakes(listener) // where a sandbox forbids it, all but the last instant is covered
	sleep(ctx, handshakeTime)
	waiting, closing := stopListening(listener)
	_ = serve(&acceptedListener{waiting, listener.Addr()}) // ends with io.EOF
	busy.waitForNone(ctx)
	busy.closeSilent()
	if err := server.Shutdown(ctx); err != nil && ctx.Err() != nil {
		cut := busy.hasRequests()
		if err := server.Close(); cut {
			return errors.Join(errors.New("requests were still running when the grace time was over"), err)
		}
	}
	return closing
}

const (
	// lingerTime is how long the listener stays open at most for clients that
	// never stop coming.
	lingerTime = 2 * time.Second
	// quietTime is how long nothing must have come before nothing is expected.
	quietTime = 100 * time.Millisecond
	// handshakeTime is how long a connection takes at most to be made, half a way
	// around the world and back.
	handshakeTime = 300 * time.Millisecond
	// headerTime is how long a connection may take for the header of its first request.
	// Browsers make connections ahead on which none ever comes.
	headerTime = 5 * time.Second
)

// acceptedListener is a listener of connections that were accepted already, and no more.
type acceptedListener struct {
	waiting []net.Conn
	addr    net.Addr
}

// Accept gives the next connection, and io.EOF when there is none.
func (c *acceptedListener) Accept() (net.Conn, error) {
	if len(c.waiting) == 0 {
		return nil, io.EOF
	}
	next := c.waiting[0]
	c.waiting = c.waiting[1:]
	return next, nil
}

// Close does nothing: the connections have been given away.
func (c *acceptedListener) Close() error { return nil }

// Addr is the address that the connections were made to.
func (c *acceptedListener) Addr() net.Addr { return c.addr }

// busyConnections are those with a request on them, or about to have their first.
type busyConnections struct {
	mu      sync.Mutex
	busy    map[net.Conn]bool
	silent  map[net.Conn]time.Time // since when they are there without a request
	changed time.Time
}

func newBusyConnections() *busyConnections {
	return &busyConnections{busy: map[net.Conn]bool{}, silent: map[net.Conn]time.Time{}}
}

// note follows the connections; it is the ConnState of an http.Server.
func (b *busyConnections) note(connection net.Conn, state http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = time.Now()
	delete(b.silent, connection)
	switch state {
	case http.StateNew:
		b.silent[connection] = b.changed
	case http.StateActive:
		b.busy[connection] = true
	case http.StateIdle, http.StateClosed, http.StateHijacked:
		delete(b.busy, connection)
	}
}

// quiet tells how long ago a connection last changed; 0 while one is busy or new.
func (b *busyConnections) quiet() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.busy) > 0 {
		return 0
	}
	for _, since := range b.silent {
		if time.Since(since) < headerTime {
			return 0
		}
	}
	return time.Since(b.changed)
}

// hasRequests reports whether there is a request.
func (b *busyConnections) hasRequests() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.busy) > 0
}

// closeSilent closes the connections that never had a request.
func (b *busyConnections) closeSilent() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for connection := range b.silent {
		_ = connection.Close() // it is given up in any case
	}
}

// waitForNone waits until all has been quiet for a moment, or ctx is done.
func (b *busyConnections) waitForNone(ctx context.Context) {
	for quiet := b.quiet(); quiet < quietTime && ctx.Err() == nil; quiet = b.quiet() {
		sleep(ctx, quietTime-quiet)
	}
}

// sleep waits for duration, or until ctx is done.
func sleep(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
