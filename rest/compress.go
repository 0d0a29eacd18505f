package rest

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compress sends answers in gzip or zstd to those who accept it, and answers
// If-None-Match. The two belong together: a compressed answer is another
// representation with another ETag (RFC 9110, section 8.8.3.3), so only whoever
// compresses knows which tag to compare with. A handler opts in to conditional
// requests by setting a strong ETag on its uncompressed answer.
func Compress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cw := &compressWriter{ResponseWriter: w, request: r}
		defer cw.leave()
		next.ServeHTTP(cw, r)
		// Not deferred: after a panic the compressed body must stay without its end.
		cw.close()
	})
}

// compressedStreams bounds the answers of unknown length that are compressed. The encoder
// of each, of half a megabyte, waits for a client that reads slowly; what comes beyond is
// sent as it is.
var compressedStreams = make(chan struct{}, 16)

// minCompressed is the least size worth compressing, about what fits into one packet.
const minCompressed = 1_400

// compressWriter decides when the header is written, for only then the type,
// size and tag of the answer are known.
type compressWriter struct {
	http.ResponseWriter
	request *http.Request

	decided bool
	silent  bool // the answer has no body
	stream  bool // it is one of compressedStreams
	size    int  // of the uncompressed body, where it is known
	coding  *coding
	encoder encoder
}

// WriteHeader settles the coding and sends the header.
func (w *compressWriter) WriteHeader(status int) {
	if w.decided || status < http.StatusOK {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.decided = true
	header := w.Header()
	header.Add("Vary", "Accept-Encoding")
	if compressible(status, header) {
		w.coding = negotiate(w.request.Header.Values("Accept-Encoding"))
		w.size, _ = strconv.Atoi(header.Get("Content-Length"))
	}
	if w.coding != nil && w.size == 0 && !w.enter() {
		w.coding = nil
	}
	if w.coding != nil {
		header.Set("Content-Encoding", w.coding.name)
		header.Del("Content-Length")
		if tag, ok := strings.CutSuffix(header.Get("ETag"), `"`); ok {
			header.Set("ETag", tag+"-"+w.coding.name+`"`)
		}
	}
	w.silent = w.request.Method == http.MethodHead
	if status == http.StatusOK && w.unchanged() {
		status, w.silent = http.StatusNotModified, true
		for _, name := range []string{"Content-Type", "Content-Length", "Content-Encoding"} {
			header.Del(name)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (w *compressWriter) Write(p []byte) (int, error) {
	if !w.decided {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.silent:
		return len(p), nil
	case w.coding == nil:
		return w.ResponseWriter.Write(p)
	case w.encoder == nil && w.size > 0 && len(p) == w.size:
		return w.writeWhole(p)
	case w.encoder == nil:
		w.encoder = w.coding.encoder(w.ResponseWriter)
	}
	return w.encoder.Write(p)
}

// enter counts the answer among compressedStreams, if there is room.
func (w *compressWriter) enter() bool {
	select {
	case compressedStreams <- struct{}{}:
		w.stream = true
	default:
	}
	return w.stream
}

// leave makes room for another stream.
func (w *compressWriter) leave() {
	if w.stream {
		<-compressedStreams
	}
}

// writeWhole sends a body that is here as a whole. The encoder does not wait for a client
// that reads slowly.
func (w *compressWriter) writeWhole(p []byte) (int, error) {
	var compressed bytes.Buffer
	encoder := w.coding.encoder(&compressed)
	_, err := encoder.Write(p)
	err = errors.Join(err, encoder.Close())
	w.coding.pool.Put(encoder)
	if err != nil {
		return 0, err
	}
	if _, err := w.ResponseWriter.Write(compressed.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// FlushError sends what has been written so far on its way.
func (w *compressWriter) FlushError() error {
	if w.encoder != nil {
		if err := w.encoder.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap gives http.ResponseController the writer below.
func (w *compressWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// close ends the compressed body. The client may be gone, and there is nobody
// else to tell.
func (w *compressWriter) close() {
	if w.encoder != nil {
		_ = w.encoder.Close()
		w.coding.pool.Put(w.encoder)
	}
}

// unchanged reports whether the client has this very representation already
// (RFC 9110, section 13.1.2).
func (w *compressWriter) unchanged() bool {
	tag := w.Header().Get("ETag")
	if tag == "" || w.request.Method != http.MethodGet && w.request.Method != http.MethodHead {
		return false
	}
	for _, known := range list(w.request.Header.Values("If-None-Match")) {
		if known == "*" || strings.TrimPrefix(known, "W/") == tag {
			return true
		}
	}
	return false
}

func compressible(status int, header http.Header) bool {
	if status == http.StatusNoContent || status == http.StatusPartialContent || status == http.StatusNotModified || header.Get("Content-Encoding") != "" {
		return false
	}
	if size, err := strconv.Atoi(header.Get("Content-Length")); err == nil && size < minCompressed {
		return false
	}
	mediaType, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return strings.HasPrefix(mediaType, "text/") || mediaType == jsonType || strings.HasSuffix(mediaType, "+json") ||
		mediaType == "image/svg+xml"
}

// encoder is what gzip and zstd have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// coding is one way to compress, with encoders to use again: making one costs
// more than compressing a page with it.
type coding struct {
	name string
	pool sync.Pool
}

func (c *coding) encoder(w io.Writer) encoder {
	e := c.pool.Get().(encoder)
	e.Reset(w)
	return e
}

// codings are those that are offered, the better ones first.
var codings = []*coding{
	{name: "zstd", pool: sync.Pool{New: newZstd}},
	{name: "gzip", pool: sync.Pool{New: newGzip}},
}

// newZstd makes an encoder with a small window, so that thousands of answers
// under way do not fill the memory, here or at the client.
func newZstd() any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
}

func newGzip() any {
	e, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return e
}

// negotiate picks the coding that the client likes best, and among equals the
// better one (RFC 9110, section 12.5.3). nil is none.
func negotiate(accept []string) *coding {
	var (
		best    *coding
		quality float64
	)
	entries := list(accept)
	for _, c := range codings {
		if q := qualityOf(c.name, entries); q > quality {
			best, quality = c, q
		}
	}
	return best
}

func qualityOf(name string, entries []string) float64 {
	wildcard := 0.0
	for _, entry := range entries {
		coding, parameters, _ := strings.Cut(entry, ";")
		q := quality(parameters)
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case name:
			return q
		case "*":
			wildcard = q
		}
	}
	return wildcard
}

func quality(parameters string) float64 {
	value, ok := strings.CutPrefix(strings.ToLower(strings.Join(strings.Fields(parameters), "")), "q=")
	if !ok {
		return 1
	}
	q, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0
	}
	return q
}

// list splits header fields that hold lists.
func list(fields []string) []string {
	entries := strings.Split(strings.Join(fields, ","), ",")
	for i := range entries {
		entries[i] = strings.TrimSpace(entries[i])
	}
	return slices.DeleteFunc(entries, func(entry string) bool { return entry == "" })
}
