package graph

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"roster/models"
)

// The media types of an answer, as the GraphQL-over-HTTP specification names them.
const (
	jsonType     = "application/json"
	responseType = "application/graphql-response+json"
)

// costHeader asks for the cost of the document in the answer's extensions.
const costHeader = "X-Roster-Cost"

// Handler is the endpoint /graphql: POST with a JSON body, and GET with the same
// parameters in the URL, as the GraphQL-over-HTTP specification has them.
// gqlgen's own transports are not used: they encode an answer twice, read
// Accept and the body too loosely, and echo bodies in errors.
type Handler struct {
	executor *Executor
	maxBody  int64
}

// NewHandler makes the endpoint. Bodies of more than maxBody bytes, before or
// after decompression, are refused.
func NewHandler(executor *Executor, maxBody int64) *Handler {
	return &Handler{executor, maxBody}
}

// ServeHTTP answers one GraphQL request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	contentType := negotiate(r.Header.Values("Accept"))
	if contentType == "" {
		h.refuse(w, r, jsonType, http.StatusNotAcceptable,
			models.Errorf(models.CodeBadRequest, "Accept must allow %s or %s", responseType, jsonType))
		return
	}
	var (
		request Request
		err     error
	)
	switch r.Method {
	case http.MethodPost:
		request, err = h.readBody(w, r)
	case http.MethodGet:
		request, err = readURL(r)
	default:
		w.Header().Set("Allow", "GET, POST")
		err = &httpError{http.StatusMethodNotAllowed, models.CodeBadRequest, "only GET and POST are allowed here"}
	}
	if err != nil {
		status := http.StatusBadRequest
		if refused, ok := errors.AsType[*httpError](err); ok {
			status, err = refused.status, models.Errorf(refused.code, "%s", refused.message)
		}
		h.refuse(w, r, contentType, status, err)
		return
	}
	cost := r.Header.Values(costHeader)
	if cost != nil && !slices.Equal(cost, []string{"1"}) {
		h.refuse(w, r, contentType, http.StatusBadRequest, models.Errorf(models.CodeBadRequest, "The header %s must be 1, once, or be left out.", costHeader))
		return
	}
	response := h.executor.Execute(r.Context(), request)
	if cost != nil {
		response.Extensions = map[string]any{"cost": map[string]int{"cost": response.Cost, "limit": h.executor.settings.Limits.Cost}}
	}
	failed, status := failure(response)
	if failed || badInput(response) {
		// What is left of the answer says no more than the status and the errors
		// do, and a client's cache would take its nulls for the truth.
		response.Release()
		response.Data = nil
	}
	if !failed && response.Data == nil && (contentType == responseType || codeOf(response.Errors) == models.CodeBadRequest) {
		status = http.StatusBadRequest
	}
	write(w, contentType, status, response)
}

// Refuse answers a request that never gets as far as GraphQL, such as one
// without a token, in GraphQL's own form.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	contentType := cmp.Or(negotiate(r.Header.Values("Accept")), jsonType)
	h.refuse(w, r, contentType, HTTPStatus(models.AsError(err).Code), err)
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, contentType string, status int, err error) {
	write(w, contentType, status, h.executor.refuse(r.Context(), err))
}

// HTTPStatus is the status of an answer that consists of an error with this code
// and nothing else.
func HTTPStatus(code models.Code) int {
	switch code {
	case models.CodeUnauthenticated:
		return http.StatusUnauthorized
	case models.CodeForbidden:
		return http.StatusForbidden
	case models.CodeNotFound:
		return http.StatusNotFound
	case models.CodePayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case models.CodeRateLimited:
		return http.StatusTooManyRequests
	case models.CodeTimeout:
		return http.StatusGatewayTimeout
	case models.CodeUnavailable:
		return http.StatusServiceUnavailable
	case models.CodeInternal:
		return http.StatusInternalServerError
	case models.CodePersistedQueryNotFound, models.CodePersistedQueryNotSupported:
		return http.StatusOK // clients expect to try again, not to give up
	case models.CodeParseFailed, models.CodeValidationFailed, models.CodeBadRequest, models.CodeBadUserInput,
		models.CodeOperationResolution, models.CodeIntrospectionDisabled, models.CodeTooManySelections, models.CodeTooComplex:
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// failure reports whether nothing at all could be read for a reason on this
// side, and the status that says so. Such an answer is a failed request to
// proxies, monitors and clients alike.
func failure(response Response) (failed bool, status int) {
	if len(response.Errors) == 0 {
		return false, http.StatusOK
	}
	for i := range response.Errors {
		status = max(status, HTTPStatus(codeOf(response.Errors[i:])))
	}
	if status < http.StatusInternalServerError || !nothing(response) {
		return false, http.StatusOK
	}
	return true, status
}

// badInput reports whether nothing could be read because all that was asked for
// was asked with values that are not allowed.
func badInput(response Response) bool {
	for i := range response.Errors {
		if codeOf(response.Errors[i:]) != models.CodeBadUserInput {
			return false
		}
	}
	return len(response.Errors) > 0 && nothing(response)
}

// codeOf gives the code of the first error, "" when there is none.
func codeOf(list gqlerror.List) models.Code {
	if len(list) == 0 {
		return ""
	}
	code, _ := list[0].Extensions["code"].(string)
	return models.Code(code)
}

// nothing reports whether nothing could be read: all fields are null, each for an error
// and not because there is no such thing. Of many errors not all are listed.
func nothing(response Response) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(response.Data, &fields) != nil {
		return len(response.Data) == 0
	}
	for name, value := range fields {
		failed := func(err *gqlerror.Error) bool { return len(err.Path) > 0 && err.Path[0] == ast.PathName(name) }
		if string(value) != "null" || len(response.Errors) <= maxErrors && !slices.ContainsFunc(response.Errors, failed) {
			return false
		}
	}
	return true
}

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
	// A struct would take Variables for variables: encoding/json does not mind the case.
	parameters, err := decodeObject(data)
	if err != nil {
		return Request{}, badRequest("the body must be a JSON object with query, and optionally operationName (texts), variables and extensions (objects)")
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
		if models.LoneSurrogate([]byte(value)) {
			return Request{}, errHalf(name)
		}
		if parameters[name], err = decodeObject([]byte(value)); err != nil {
			return Request{}, badRequest("%s must be a JSON object and nothing else", name)
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
	value, err := parameter[map[string]any](parameters, name, "object")
	if err == nil && nests(value, maxNesting) {
		err = models.Errorf(models.CodeBadUserInput, "%s nest too deep: at most %d levels are allowed", name, maxNesting)
	}
	return value, err
}

// decodeObject decodes a JSON object, or null, and nothing else. Numbers stay as they
// were written.
func decodeObject(data []byte) (object map[string]any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows")
	}
	return object, nil
}

// errHalf refuses a text that would be another one once it is read.
func errHalf(where string) error {
	return models.Errorf(models.CodeBadUserInput, "%s: an escape stands for half a character", where)
}

// maxNesting is more than twice what the deepest filter needs. gqlgen takes time that
// grows with the square of the levels.
const maxNesting = 32

// nests reports whether a JSON value has more levels of objects and lists than these.
func nests(value any, levels int) bool {
	switch value := value.(type) {
	case map[string]any:
		for _, field := range value {
			if levels == 0 || nests(field, levels-1) {
				return true
			}
		}
	case []any:
		for _, element := range value {
			if levels == 0 || nests(element, levels-1) {
				return true
			}
		}
	}
	return false
}

// negotiate picks the media type of the answer: the one that the client likes
// best, the specification's own among equals that it names, and plain JSON for a
// client that does not care. It gives "" when neither will do.
func negotiate(accept []string) string {
	header := strings.Join(accept, ",")
	if strings.TrimSpace(header) == "" {
		return jsonType
	}
	type offer struct {
		contentType string
		quality     float64
		specificity int
	}
	offers := []offer{{contentType: responseType}, {contentType: jsonType}}
	for entry := range strings.SplitSeq(header, ",") {
		mediaType, options, err := mime.ParseMediaType(entry)
		if err != nil {
			continue
		}
		if charset := options["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			continue
		}
		quality := 1.0
		if q, ok := options["q"]; ok {
			if quality, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		for i := range offers {
			specificity := matches(mediaType, offers[i].contentType)
			// The most specific entry decides, wherever it stands (RFC 9110, section 12.5.1).
			if specificity > offers[i].specificity {
				offers[i].quality, offers[i].specificity = quality, specificity
			}
		}
	}
	best := slices.MaxFunc(offers, func(a, b offer) int {
		return cmp.Or(cmp.Compare(a.quality, b.quality), cmp.Compare(a.specificity, b.specificity))
	})
	if best.quality <= 0 {
		return ""
	}
	if best.specificity < exactMatch && offers[1].quality == best.quality {
		return jsonType // a wildcard: what every client can read
	}
	return best.contentType
}

const exactMatch = 3

// matches tells how closely an entry of Accept names a media type; 0 is not at all.
func matches(entry, contentType string) int {
	switch entry {
	case contentType:
		return exactMatch
	case "application/*":
		return 2
	case "*/*":
		return 1
	}
	return 0
}

// write sends an answer, and releases it first: its client may read as slowly as it
// likes. The data is sent as the executor made it, not encoded once more.
func write(w http.ResponseWriter, contentType string, status int, response Response) {
	body := append(slices.Grow(takeBuffer(), len(response.Data)+512), '{')
	if len(response.Errors) > 0 {
		body = append(body, `"errors":`...)
		body = append(body, mustJSON(response.Errors)...)
		if response.Data != nil {
			body = append(body, ',')
		}
	}
	if response.Data != nil {
		body = append(body, `"data":`...)
		body = append(body, response.Data...)
	}
	if response.Extensions != nil {
		body = append(body, `,"extensions":`...)
		body = append(body, mustJSON(response.Extensions)...)
	}
	body = append(body, '}')
	response.Release()

	header := w.Header()
	header.Set("Content-Type", contentType+"; charset=utf-8")
	header.Set("Cache-Control", "private, no-cache")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Add("Vary", "Accept")
	if (status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout) && header.Get("Retry-After") == "" {
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone: there is nobody to tell
	giveBack(body)
}

// mustJSON encodes errors and extensions. They hold texts and numbers only, so it
// cannot fail.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
