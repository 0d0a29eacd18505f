package rest

import (
	"context"
	"errors"
	"net/http"

	"roster/models"
)

// refusal is a failure in the words of one of the legacy APIs.
type refusal struct {
	status  int
	name    string
	message string
}

// Error gives the message for the caller.
func (e *refusal) Error() string { return e.message }

// status is how one code is answered: the HTTP status, and the word that the
// API's document has for it.
type status struct {
	http int
	name string
}

// worthStatus is Worth's error table. 400, 401, 403 and 500 are those of its
// document; the others are customary statuses named in the same manner.
func worthStatus(code models.Code) status {
	switch code {
	case models.CodeBadRequest, models.CodeBadUserInput:
		return status{http.StatusBadRequest, "ERR_BAD_REQUEST"}
	case models.CodeUnauthenticated:
		return status{http.StatusUnauthorized, "ERR_UNAUTHORIZED"}
	case models.CodeForbidden:
		return status{http.StatusForbidden, "ERR_FORBIDDEN"}
	case models.CodeNotFound:
		return status{http.StatusNotFound, "ERR_NOT_FOUND"}
	case models.CodeRateLimited:
		return status{http.StatusTooManyRequests, "ERR_TOO_MANY_REQUESTS"}
	case models.CodeUnavailable:
		return status{http.StatusServiceUnavailable, "ERR_SERVICE_UNAVAILABLE"}
	case models.CodeTimeout:
		return status{http.StatusGatewayTimeout, "ERR_TIMEOUT"}
	}
	if isServerFault(code) {
		return status{http.StatusInternalServerError, "ERR_INTERNAL_SERVER"}
	}
	return status{}
}

// testiniumStatus is Testinium's error table. 400, 403, 404 and 500 are those of
// its document; the others are customary statuses named in the same manner.
func testiniumStatus(code models.Code) status {
	switch code {
	case models.CodeBadRequest, models.CodeBadUserInput:
		return status{http.StatusBadRequest, "INVALID_REQUEST"}
	case models.CodeUnauthenticated:
		return status{http.StatusUnauthorized, "UNAUTHORIZED"}
	case models.CodeForbidden:
		return status{http.StatusForbidden, "ACCESS_DENIED"}
	case models.CodeNotFound:
		return status{http.StatusNotFound, "CUSTOMER_NOT_FOUND"}
	case models.CodeRateLimited:
		return status{http.StatusTooManyRequests, "TOO_MANY_REQUESTS"}
	case models.CodeUnavailable:
		return status{http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE"}
	case models.CodeTimeout:
		return status{http.StatusGatewayTimeout, "GATEWAY_TIMEOUT"}
	}
	if isServerFault(code) {
		return status{http.StatusInternalServerError, "INTERNAL_SERVER_ERROR"}
	}
	return status{}
}

// isServerFault reports whether a code is a failure on this side. The codes about bodies
// and documents are: no body of a legacy client is read, and the documents are ours.
func isServerFault(code models.Code) bool {
	switch code {
	case models.CodeInternal, models.CodePayloadTooLarge,
		models.CodeParseFailed, models.CodeValidationFailed, models.CodeOperationResolution,
		models.CodePersistedQueryNotFound, models.CodePersistedQueryNotSupported, models.CodeIntrospectionDisabled,
		models.CodeTooManySelections, models.CodeTooComplex:
		return true
	}
	return false
}

// worthEnvelope is the body of every error of Worth, as its document has it.
func worthEnvelope(e *refusal) any {
	return struct {
		Message   string `json:"message"`
		ErrorCode string `json:"errorCode"`
	}{e.message, e.name}
}

// testiniumEnvelope is the body of every error of Testinium.
func testiniumEnvelope(e *refusal) any {
	return struct {
		Status  int    `json:"status"`
		Error   string `json:"error"`
		Message string `json:"message"`
	}{e.status, e.name, e.message}
}

// refusal puts err into the API's words. What is our own fault has a fixed text.
func (a *API) refusal(err error) *refusal {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused
	}
	failure := models.AsError(err)
	answer := a.status(failure.Code)
	if answer == (status{}) {
		// A code that the table lacks; a test fails on it.
		failure = &models.Error{Code: models.CodeInternal}
		answer = a.status(models.CodeInternal)
	}
	if isServerFault(failure.Code) {
		return &refusal{answer.http, answer.name, models.InternalMessage}
	}
	return &refusal{answer.http, answer.name, failure.Message}
}

// Refuse answers a request with an error in the API's own envelope. Middleware
// around the API uses it for what it refuses itself.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	refused := a.refusal(err)
	// Nobody waits for an answer that took too long as its client has left.
	left := models.AsError(err).Code == models.CodeTimeout && errors.Is(r.Context().Err(), context.Canceled)
	if refused.status >= http.StatusInternalServerError && !left {
		a.logFailure(r, err)
	}
	header := w.Header()
	header.Del("ETag")
	for name, value := range requiredHeaders[refused.status] {
		if header.Get(name) == "" { // whoever refused may know better
			header.Set(name, value)
		}
	}
	write(w, refused.status, jsonType, encode(a.envelope(refused)))
}

// requiredHeaders are the headers that an answer with this status must have.
var requiredHeaders = map[int]map[string]string{
	http.StatusUnauthorized:       {"WWW-Authenticate": "Bearer"},
	http.StatusTooManyRequests:    {"Retry-After": "1"},
	http.StatusServiceUnavailable: {"Retry-After": "1"},
	http.StatusGatewayTimeout:     {"Retry-After": "1"},
}

func noCustomer(id string) error {
	return models.Errorf(models.CodeNotFound, "There is no customer %s.", id)
}

// logFailure tells the log of a failure on this side by code and type. The text
// of a cause is left out, as it may quote values.
func (a *API) logFailure(r *http.Request, err error) {
	failure := models.AsError(err)
	if failure.Err == nil {
		return // refused on purpose, which the metrics count, or logged by the executor
	}
	a.log.ErrorContext(r.Context(), "legacy request failed", "requestId", requestID(r), "code", failure.Code, "cause", models.DescribeTypes(failure.Err))
}
