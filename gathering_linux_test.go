package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// accepting tells of every connection that it accepts.
type accepting struct {
	net.Listener
	accepted chan *net.TCPConn
}

func (l accepting) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- connection.(*net.TCPConn)
	}
	return connection, err
}

// packets is how many packets with data were sent on a connection.
func packets(t *testing.T, connection *net.TCPConn) (n int) {
	t.Helper()
	raw, err := connection.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if failed = err; err == nil {
			n = int(info.Data_segs_out)
		}
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return n
}

// serveGathering serves handler as the program does, and gives a connection to it
// and its other end.
func serveGathering(t *testing.T, handler http.HandlerFunc) (client, server *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving := &http.Server{ReadHeaderTimeout: time.Second, ConnContext: withGathering, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &statusRecorder{ResponseWriter: w, patience: readTime, connection: gatheringOf(r)}
		handler(recorder, r)
		recorder.finish(r)
	})}
	accepted := make(chan *net.TCPConn, 1)
	go func() { _ = serving.Serve(gatheringListener{accepting{listener, accepted}}) }() // ends with the test
	t.Cleanup(func() { _ = serving.Close() })
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection.(*net.TCPConn), <-accepted
}

// An answer whose length is known goes out as one packet, however long it is and
// whatever came before it on the connection.
func TestAnswersGoOutAtOnce(t *testing.T) {
	content := []byte(rand.Text())
	client, server := serveGathering(t, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(bytes.Repeat(content, size/len(content)+1)[:size])
	})
	answers := bufio.NewReader(client)
	// net/http's buffer is full at 4,096 bytes, and the header takes about 100.
	sizes := []int{1, 100, 12_000, 2_048, 5_000, 9_000, 30_000, 1}
	for size := 3_900; size <= 4_100; size++ {
		sizes = append(sizes, size)
	}
	for _, size := range sizes {
		before := packets(t, server)
		fmt.Fprintf(client, "GET /?size=%d HTTP/1.1\r\nHost: x\r\n\r\n", size)
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || !bytes.Equal(body, bytes.Repeat(content, size/len(content)+1)[:size]) {
			t.Fatalf("%d bytes came as %.100q, error %v", size, body, err)
		}
		if n := packets(t, server) - before; n != 1 {
			t.Errorf("%d bytes came in %d packets", size, n)
		}
	}
}

// A part that is flushed is on its way at once, and all parts arrive in their order.
func TestPartsAreNotHeldBack(t *testing.T) {
	next := make(chan struct{})
	part := []byte(rand.Text())
	client, _ := serveGathering(t, func(w http.ResponseWriter, _ *http.Request) {
		for range next {
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = w.Write(bytes.Repeat(part, 1_000))
		_, _ = w.Write([]byte("end"))
	})
	fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	next <- struct{}{}
	response, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for i := range 300 {
		if i > 0 {
			next <- struct{}{}
		}
		got := make([]byte, len(part))
		if _, err := io.ReadFull(response.Body, got); err != nil || !bytes.Equal(got, part) {
			t.Fatalf("part %d is %q, error %v", i, got, err)
		}
	}
	close(next)
	rest, err := io.ReadAll(response.Body)
	if want := append(bytes.Repeat(part, 1_000), "end"...); err != nil || !bytes.Equal(rest, want) {
		t.Errorf("the rest has %d bytes, want %d, error %v", len(rest), len(want), err)
	}
}
