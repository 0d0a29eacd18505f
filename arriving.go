package main

import (
	"bytes"
	"io"
	"net/http"
	"slices"
)

// maxArriving bounds the memory for the bodies of one caller that are on their way or
// wait for a slot, over however many connections they come: a hundred and more of the
// size that is allowed without a setting.
const maxArriving = 8 << 20

// readAhead reads a body before anybody asks for it, up to one byte more than
// the handler accepts, and gives it as it was sent, with the error that ended it.
// fits is asked for each part whether there is room for it.
func readAhead(body io.ReadCloser, maxBody int64, fits func(n int64) bool) *arrivedBody {
	b := &arrivedBody{Closer: body}
	if body == http.NoBody {
		b.err = io.EOF
		return b
	}
	limited := io.LimitReader(body, maxBody+1)
	for b.err == nil {
		n := 0
		if len(b.data) == cap(b.data) {
			b.data = slices.Grow(b.data, bytes.MinRead)
		}
		n, b.err = limited.Read(b.data[len(b.data):cap(b.data)])
		if b.tooMuch = n > 0 && !fits(int64(n)); b.tooMuch {
			return b
		}
		b.data, b.size = b.data[:len(b.data)+n], b.size+int64(n)
	}
	return b
}

// arrivedBody is a body that was read ahead.
type arrivedBody struct {
	io.Closer
	data []byte
	// size is that of the body, and err what ended it.
	size int64
	err  error
	// tooMuch tells that the rest was not read, as it did not fit.
	tooMuch bool
}

// Read gives what was read ahead, whose memory it needs no longer.
func (b *arrivedBody) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		b.data = nil
		return 0, b.err
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}
