package graph

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

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
		} else if contentType == jsonType && models.AsError(err).Code != models.CodeBadRequest { // well-formed, as below
			status = http.StatusOK
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
	// GraphQL over HTTP: what did not run is 400, but 200 as application/json if it was
	// well-formed.
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
	if status < http.StatusInternalServerError || !allFailed(response) {
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
	return len(response.Errors) > 0 && allFailed(response)
}

// codeOf gives the code of the first error, "" when there is none.
func codeOf(list gqlerror.List) models.Code {
	if len(list) == 0 {
		return ""
	}
	code, _ := list[0].Extensions["code"].(string)
	return models.Code(code)
}

// allFailed reports whether there is no data, or every field is null because of an error.
// Of more than maxErrors errors not all are listed, so there every null counts as failed.
func allFailed(response Response) bool {
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
