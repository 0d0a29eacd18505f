//go:build !unix

package main

import "net"

// stopListening closes a listener. What waits to be accepted can be saved only on Unix.
func stopListening(listener net.Listener) (waiting []net.Conn, err error) {
	return nil, listener.Close()
}
