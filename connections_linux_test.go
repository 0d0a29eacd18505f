package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Who asks for what needs no token, and then does not read it, keeps nobody out.
func TestSlowReadersKeepNobodyOut(t *testing.T) {
	const most = 20
	server := startTestServer(t, nil, func(s *serverSettings) { s.MaxConnections, s.GraphiQL = most, true })
	scripts, err := filepath.Glob("graphiql/dist/assets/monaco-editor-*.js.gz")
	if len(scripts) != 1 {
		t.Fatal(scripts, err)
	}
	script := strings.TrimSuffix(filepath.Base(scripts[0]), ".gz")
	narrow := net.Dialer{Control: func(_, _ string, socket syscall.RawConn) error {
		var err error
		return errors.Join(socket.Control(func(fd uintptr) {
			// As on a network: loopback would take the whole file at once.
			err = errors.Join(syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400),
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048))
		}), err)
	}}
	for range most {
		slow, err := narrow.DialContext(t.Context(), "tcp", strings.TrimPrefix(server.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		fmt.Fprintf(slow, "GET /graphiql/assets/%s HTTP/1.1\r\nHost: x\r\n\r\n", script)
		if line, err := bufio.NewReaderSize(slow, 16).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 200 ") {
			t.Fatal(script, line, err)
		}
	}
	for range 5 {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get(server.url + "/healthz")
		if err != nil {
			t.Error(err)
			continue
		}
		response.Body.Close()
	}
}
