package rest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
)

// jsonType is the media type of every answer.
const jsonType = "application/json"

// encode gives a value of one of our own structs as compact JSON, which cannot fail. The
// legacy documents show &, < and > as they are, so they are not escaped.
func encode(value any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")) // Encode ends every value with one
}

// write sends a whole answer.
func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // when the client is gone there is nobody to tell
}

// writeTagged sends a whole answer with a strong ETag: the same bytes always
// have the same tag. [Compress] answers If-None-Match by it.
func writeTagged(w http.ResponseWriter, contentType string, body []byte) {
	sum := sha256.Sum256(body)
	w.Header().Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`)
	write(w, http.StatusOK, contentType, body)
}
