package graph

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"roster/models"
)

// httpError is a request that breaks the rules of HTTP rather than of GraphQL.
type httpError struct {
	status  int
	code    models.Code
	message string
}

// Error gives the message for the caller.
func (e *httpError) Error() string { return e.message }

func badRequest(format string, args ...any) error {
	return models.Errorf(models.CodeBadRequest, format, args...)
}

func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) (Request, error) {
	mediaType, options, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != jsonType {
		return Request{}, &httpError{http.StatusUnsupportedMediaType, models.CodeBadRequest, "Content-Type must be " + jsonType}
	}
	if charset := options["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return Request{}, &httpError{http.StatusUnsupportedMediaType, models.CodeBadRequest, "the charset must be utf-8"}
	}
	body, err := h.decompress(http.MaxBytesReader(w, r.Body, h.maxBody), r.Header.Get("Content-Encoding"))
	if err != nil {
		return Request{}, err
	}
	data, err := io.ReadAll(body)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge || int64(len(data)) > h.maxBody {
		return Request{}, &httpError{http.StatusRequestEntityTooLarge, models.CodePayloadTooLarge,
			fmt.Sprintf("the body is too large: at most %d bytes are allowed", h.maxBody)}
	}
	if err != nil {
		return Request{}, badRequest("the body could not be read to its end")
	}
	if !utf8.Valid(data) {
		return Request{}, badRequest("the body is not valid UTF-8")
	}
	if models.LoneSurrogate(data) {
		return Request{}, errHalf("the body")
	}
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("[")) {
		return Request{}, badRequest("batching is not supported: the body must be one JSON object")
	}
	const shape = "the body must be a JSON object with query, and optionally operationName (texts), variables and extensions (objects)"
	parameters, err := decodeObject("the body", shape, data, 1+maxNesting)
	if err != nil {
		return Request{}, err
	}
	return newRequest(parameters)
}

// decompress reads a body that the client compressed.
func (h *Handler) decompress(body io.Reader, encoding string) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip":
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, badRequest("the body is not valid gzip")
		}
		// One byte more than allowed tells that there is too much.
		return io.LimitReader(unzipped, h.maxBody+1), nil
	}
	return nil, &httpError{http.StatusUnsupportedMediaType, models.CodeBadRequest, "Content-Encoding must be gzip or identity"}
}

func readURL(r *http.Request) (Request, error) {
	// r.URL.Query drops what is malformed, and a dropped variable would hand out
	// users that were not asked for.
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Request{}, badRequest("the query string is not well formed: percent-encode every & ; %% and = of a value")
	}
	for _, name := range []string{"query", "operationName", "documentId", "variables", "extensions"} {
		if n := len(values[name]); n > 1 {
			return Request{}, badRequest("%s is given %d times; once is allowed", name, n)
		}
	}
	parameters := map[string]any{}
	for _, name := range []string{"query", "operationName", "documentId"} {
		parameters[name] = values.Get(name)
	}
	for _, name := range []string{"variables", "extensions"} {
		value := values.Get(name)
		if value == "" {
			continue
		}
		if !utf8.ValidString(value) { // encoding/json would read another text
			return Request{}, badRequest("%s is not valid UTF-8", name)
		}
		if models.LoneSurrogate([]byte(value)) {
			return Request{}, errHalf(name)
		}
		if parameters[name], err = decodeObject(name, name+" must be a JSON object and nothing else", []byte(value), maxNesting); err != nil {
			return Request{}, err
		}
	}
	return newRequest(parameters)
}

// newRequest makes a Request of parameters that were read as JSON.
func newRequest(parameters map[string]any) (request Request, err error) {
	for _, text := range []struct {
		name  string
		value *string
	}{{"query", &request.Query}, {"operationName", &request.OperationName}, {"documentId", &request.DocumentID}} {
		if *text.value, err = parameter[string](parameters, text.name, "string"); err != nil {
			return Request{}, err
		}
	}
	if request.Variables, err = objectParameter(parameters, "variables"); err != nil {
		return Request{}, err
	}
	extensions, err := objectParameter(parameters, "extensions")
	if err != nil {
		return Request{}, err
	}
	request.Hash, err = persistedQuery(extensions)
	return request, err
}

// parameter gives a parameter of a type, or nothing where it is null or not given.
func parameter[T any](parameters map[string]any, name, kind string) (value T, err error) {
	given := parameters[name]
	value, ok := given.(T)
	if !ok && given != nil {
		return value, badRequest("%s must be a JSON %s", name, kind)
	}
	return value, nil
}

func objectParameter(parameters map[string]any, name string) (map[string]any, error) {
	return parameter[map[string]any](parameters, name, "object")
}

// decodeObject decodes what must be a JSON object, or null, of at most so many levels. shape
// says so.
func decodeObject(name, shape string, data []byte, levels int) (map[string]any, error) {
	object, err := models.DecodeObject(data, levels)
	if err == nil {
		return object, nil
	}
	found := models.AsError(err)
	if found.Code == models.CodeBadRequest {
		return nil, badRequest("%s", shape)
	}
	return nil, models.Errorf(found.Code, "%s: %s", name, found.Message)
}

// errHalf refuses a text that would be another one once it is read.
func errHalf(where string) error {
	return models.Errorf(models.CodeBadUserInput, "%s: an escape is half of a surrogate pair", where)
}

// maxNesting is how many levels of objects and lists variables and extensions have at most,
// which is more than twice what the deepest filter needs. gqlgen takes time that grows with
// the square of the levels.
const maxNesting = 32
