package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// jsonType is the media type of every answer.
const jsonType = "application/json"

// buffer gathers JSON.
type buffer struct{ bytes.Buffer }

// encode appends a value as compact JSON. The legacy documents show &, < and >
// as they are, so they are not escaped.
func (b *buffer) encode(value any) error {
	encoder := json.NewEncoder(&b.Buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // Encode ends every value with a line break
	return nil
}

// encode gives a value of one of our own structs as JSON, which cannot fail.
func encode(value any) []byte {
	var b buffer
	if err := b.encode(value); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// write sends a whole answer.
func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // when the client is gone there is nobody to tell
}
