package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// newLog makes the log of a server. What is written to a file, a terminal or a pipe is
// handed to a goroutine, as whoever reads a pipe may stand still, and the server with it.
// end waits for the last lines.
func newLog(to io.Writer) (log *slog.Logger, end func()) {
	file, ok := to.(*os.File)
	if !ok {
		return slog.New(slog.NewTextHandler(to, nil)), func() {}
	}
	lines := &lineWriter{to: file, lines: make(chan []byte, maxQueuedLines), ended: make(chan struct{})}
	go lines.run()
	return slog.New(slog.NewTextHandler(lines, nil)), lines.end
}

const (
	// maxQueuedLines is how many lines wait to be written, which is some hundred kilobytes.
	maxQueuedLines = 1024
	// maxWriteBytes is how many bytes of them are written at once.
	maxWriteBytes = 32 << 10
	// flushTimeout is how long the end of the server waits for them.
	flushTimeout = time.Second
)

// lineWriter has lines written by a goroutine. Those for which there is no room are lost,
// and counted by a line that follows.
type lineWriter struct {
	to    io.Writer
	lines chan []byte
	lost  atomic.Int64
	ended chan struct{}
}

// Write takes a line. It never waits.
func (w *lineWriter) Write(line []byte) (int, error) {
	select {
	case w.lines <- bytes.Clone(line):
	default:
		w.lost.Add(1)
	}
	return len(line), nil
}

func (w *lineWriter) run() {
	defer close(w.ended)
	for last := false; !last; {
		var lines []byte
		lines, last = w.next()
		_, _ = w.to.Write(lines) // there is nowhere to say that the log is broken
		if lost := w.lost.Swap(0); lost > 0 {
			slog.New(slog.NewTextHandler(w.to, nil)).Warn("lines of the log were lost, as nobody read them", "lines", lost)
		}
	}
}

// next waits for a line and gives it with those that have come meanwhile. Nothing at all
// is the sign that these are the last.
func (w *lineWriter) next() (lines []byte, last bool) {
	for line := range w.lines {
		lines = append(lines, line...)
		if line == nil || len(w.lines) == 0 || len(lines) > maxWriteBytes {
			return lines, line == nil
		}
	}
	return lines, true
}

// end has the last lines written, if somebody reads them. What is logged after it is lost.
func (w *lineWriter) end() {
	timeout := time.After(flushTimeout)
	select {
	case w.lines <- nil:
	case <-timeout:
		return
	}
	select {
	case <-w.ended:
	case <-timeout:
	}
}
