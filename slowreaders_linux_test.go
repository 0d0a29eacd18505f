package main

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The system takes no more of an answer than [maxUnsent] before the client reads, over
// TLS too.
func TestUnsentAnswersAreBounded(t *testing.T) {
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	env := emptyDatabase(t)
	plain := strings.TrimPrefix(startServer(t, env), "http://")
	env["ROSTER_TLS_CERT"], env["ROSTER_TLS_KEY"] = string(files.Certificate), string(files.Key)
	secure := strings.TrimPrefix(startServer(t, env), "http://")
	for address, secured := range map[string]bool{plain: false, secure: true} {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		client := connection
		if secured {
			client = tls.Client(connection, &tls.Config{InsecureSkipVerify: true})
		}
		if _, err := client.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		// Linux gives twice of what was asked for, for its own needs.
		if size := sendBufferOfPeer(t, connection.LocalAddr().(*net.TCPAddr).Port); size != 2*maxUnsent {
			t.Errorf("TLS %v: the send buffer has %d bytes", secured, size)
		}
	}
}

// sendBufferOfPeer looks among the sockets of this process for the one whose other end
// has this port, and gives the size of its send buffer.
func sendBufferOfPeer(t *testing.T, port int) int {
	t.Helper()
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range descriptors {
		fd, _ := strconv.Atoi(descriptor.Name())
		peer, err := unix.Getpeername(fd)
		if four, ok := peer.(*unix.SockaddrInet4); err != nil || !ok || four.Port != port {
			continue
		}
		size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
		if err != nil {
			t.Fatal(err)
		}
		return size
	}
	t.Fatal("the server's socket was not found")
	return 0
}
