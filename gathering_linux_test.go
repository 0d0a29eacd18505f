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
	"strings"
	"sync/atomic"
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

// serveGathering serves handler as the program does, and gives a connection to it,
// its other end, and what is closed when the server has closed that.
func serveGathering(t *testing.T, patience time.Duration, handler http.HandlerFunc) (client, server *net.TCPConn, closed <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving := &http.Server{ReadHeaderTimeout: time.Second, ConnContext: withGathering, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &statusRecorder{ResponseWriter: w, patience: patience, gathering: gatheringOf(r)}
		handler(recorder, r)
		recorder.finish(r)
	})}
	ended := make(chan struct{})
	serving.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(ended)
		}
	}
	accepted := make(chan *net.TCPConn, 1)
	go func() { _ = serving.Serve(gatheringListener{accepting{listener, accepted}}) }() // ends with the test
	t.Cleanup(func() { _ = serving.Close() })
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection.(*net.TCPConn), <-accepted, ended
}

// An answer whose length is known goes out as one packet, up to the size of a part,
// whatever came before it on the connection.
func TestAnswersGoOutAtOnce(t *testing.T) {
	content := []byte(rand.Text())
	client, server, _ := serveGathering(t, readTime, func(w http.ResponseWriter, r *http.Request) {
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
	client, _, _ := serveGathering(t, readTime, func(w http.ResponseWriter, _ *http.Request) {
		for range next {
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = w.Write(bytes.Repeat(part, 1_000))
		_, _ = w.Write([]byte("end"))
	})
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
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

// A client that reads nothing loses its connection with the first answer that it does
// not take, and never gets the next one in its place.
func TestNoAnswerIsSkipped(t *testing.T) {
	const n, size = 1_000, 1_000
	var handled atomic.Int64
	all := make(chan struct{})
	client, server, closed := serveGathering(t, 20*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		if handled.Add(1) == n {
			close(all)
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		fmt.Fprintf(w, "%*s", size, r.URL.Query().Get("n"))
	})
	if err := errors.Join(server.SetWriteBuffer(4<<10), client.SetReadBuffer(4<<10)); err != nil {
		t.Fatal(err)
	}
	var requests bytes.Buffer
	for i := range n {
		fmt.Fprintf(&requests, "GET /?n=%d HTTP/1.1\r\nHost: x\r\n\r\n", i)
	}
	go func() { _, _ = requests.WriteTo(client) }() // fails when the connection is closed
	select {
	case <-closed:
	case <-all:
		t.Error("all requests were answered, though nobody reads")
	}
	answers := bufio.NewReader(client)
	for i := 0; ; i++ {
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			break
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			break
		}
		if got := strings.TrimSpace(string(body)); got != strconv.Itoa(i) {
			t.Fatalf("answer %d is that of request %s", i, got)
		}
	}
}
