package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// Nobody waits for a reader of the log that stands still. What it misses is counted, and
// what it can still read is whole and in order.
func TestLogThatNobodyReads(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	const lines = 20_000 // more than the pipe and maxQueuedLines hold
	log, end := newLog(writer)
	for i := range lines {
		log.Info("line", "i", i, "filler", strings.Repeat("x", 100))
	}
	read := make(chan error)
	go func() {
		next, lost := 0, 0
		for scanner := bufio.NewScanner(reader); scanner.Scan(); {
			var i, n int
			_, text, _ := strings.Cut(scanner.Text(), " level=")
			if _, err := fmt.Sscanf(text, "INFO msg=line i=%d filler=", &i); err == nil {
				if i < next {
					read <- fmt.Errorf("line %d comes after %d", i, next)
					return
				}
				next = i + 1
			} else if _, err := fmt.Sscanf(text, `WARN msg="lines of the log were lost, as nobody read them" lines=%d`, &n); err == nil {
				lost += n
			} else {
				read <- fmt.Errorf("read %q", scanner.Text())
				return
			}
			if lost > 0 && next == lines+1 {
				break
			}
		}
		if lost == 0 {
			read <- errors.New("no line was lost")
			return
		}
		read <- nil
	}()
	for { // until there is room again
		log.Info("line", "i", lines, "filler", "last")
		select {
		case err := <-read:
			if err != nil {
				t.Error(err)
			}
			end()
			return
		default:
		}
	}
}

// The last lines of a server that ends are written, and a log that nobody reads does not
// keep it from ending.
func TestLastLinesOfTheLog(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	log, end := newLog(writer)
	for i := range 100 {
		log.Info("line", "i", i)
	}
	end()
	log.Info("late") // by what was cut, and is not waited for
	writer.Close()
	all, err := io.ReadAll(reader)
	if n := strings.Count(string(all), "\n"); err != nil || n != 100 || !strings.HasSuffix(string(all), "i=99\n") {
		t.Errorf("%d lines were written: %v", n, err)
	}

	unread, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	defer writer.Close()
	log, end = newLog(writer)
	for range 20_000 {
		log.Info("line", "filler", strings.Repeat("x", 100))
	}
	end()
}
