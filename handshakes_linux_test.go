package main

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// A connection that was made before listening ends is not reset, and none is made
// from then on, so that there is no instant in which one could be.
func TestNoConnectionIsMadeWhileListeningEnds(t *testing.T) {
	listener, err := (&server{settings: &serverSettings{Listen: "127.0.0.1:0"}}).listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := func(patience time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}
	before, err := dial(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := ignoreHandshakes(listener); err != nil {
		t.Fatal(err)
	}
	if _, err := before.Write([]byte("request")); err != nil {
		t.Fatal(err)
	}
	if amid, err := dial(50 * time.Millisecond); err == nil {
		amid.Close()
		t.Error("a connection was made, which the end of listening can reset")
	}

	waiting, err := stopListening(listener)
	if err != nil || len(waiting) != 1 {
		t.Fatalf("%d connections are waiting, want 1: %v", len(waiting), err)
	}
	if _, err := dial(time.Minute); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("afterwards a connection gives %v, want it refused", err)
	}
	request := make([]byte, len("request"))
	if _, err := io.ReadFull(waiting[0], request); err != nil {
		t.Errorf("the request that came before cannot be read: %v", err)
	}
	waiting[0].Close()
}
