package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What is answered is read at once, and what is not as slowly as is promised. In a bubble
// that takes no time.
func TestUnansweredIsReadSlowly(t *testing.T) {
	const atOnce = 64 << 10
	second := int64(unansweredPerSecond * atOnce)
	for name, test := range map[string]struct {
		reads   int64 // bytes
		answers int64 // bytes for each 1,000 that are read
		later   bool  // than as much as may be read at once
		takes   time.Duration
	}{
		"ALittle":        {reads: atOnce},
		"TooMuch":        {reads: atOnce + 3*second, takes: 3 * time.Second},
		"MuchAndAnswers": {reads: 100 * second, answers: 1000/readForEachSent + 1},
		"HalfAnswered":   {reads: atOnce + 6*second, answers: 1000 / readForEachSent / 2, takes: 3 * time.Second},
		"Later":          {reads: atOnce + 2*second, later: true, takes: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				connection := newUnansweredConnection(server, atOnce)
				defer connection.Close()
				go func() { _, _ = io.Copy(io.Discard, client) }()
				go func() { _, _ = client.Write(make([]byte, 1<<30)) }()
				if test.later {
					if _, err := io.ReadFull(connection, make([]byte, atOnce)); err != nil {
						t.Fatal(err)
					}
					connection.since = connection.since.Add(-time.Hour)
				}
				began := time.Now()
				for piece, read := make([]byte, 1000), int64(0); read < test.reads; read += int64(len(piece)) {
					if _, err := io.ReadFull(connection, piece); err != nil {
						t.Fatal(err)
					}
					if _, err := connection.Write(piece[:test.answers]); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(began); took < test.takes*9/10 || took > test.takes*11/10 {
					t.Errorf("it took %s, not %s", took, test.takes)
				}
			})
		})
	}
}

// A pause ends at once when the connection is closed, or is told to stop reading.
func TestPauseOfUnansweredConnectionEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(net.Conn) error
		with error
	}{
		"Close":           {net.Conn.Close, io.ErrClosedPipe},
		"SetReadDeadline": {func(c net.Conn) error { return c.SetReadDeadline(time.Now()) }, os.ErrDeadlineExceeded},
		"SetDeadline":     {func(c net.Conn) error { return c.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				connection := newUnansweredConnection(server, 1<<10)
				go func() { _, _ = client.Write(make([]byte, 1<<20)) }()
				if _, err := io.ReadFull(connection, make([]byte, 1<<20)); err != nil {
					t.Fatal(err)
				}
				connection.unanswered = 1 << 40
				ended := make(chan error)
				go func() {
					_, err := connection.Read(make([]byte, 1))
					ended <- err
				}()
				synctest.Wait()
				began := time.Now()
				if err := test.end(connection); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; !errors.Is(err, test.with) || time.Since(began) > 0 {
					t.Errorf("%v after %s", err, time.Since(began))
				}
				_ = connection.Close()
			})
		})
	}
}

// "roster serve" reads frames of HTTP/2 slowly that need no answer: 192 KiB of them take
// half a second, or less by what was sent to the client for its handshake.
func TestFramesWithoutAnswerAreReadSlowly(t *testing.T) {
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	address := startTLS(t, files)
	began := time.Now()
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	const priority = "\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x00\x10"
	sent := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
		strings.Repeat(priority, 192<<10/len(priority)) + "\x00\x00\x08\x06\x00\x00\x00\x00\x00answered"
	if _, err := io.WriteString(connection, sent); err != nil {
		t.Fatal(err)
	}
	var answers []byte
	for !bytes.HasSuffix(answers, []byte("answered")) {
		piece := make([]byte, 1<<10)
		n, err := connection.Read(piece)
		if answers = append(answers, piece[:n]...); err != nil {
			t.Fatalf("%q, %v", answers, err)
		}
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}
