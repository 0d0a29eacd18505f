package models

import (
	"errors"
	"fmt"
	"strings"
)

// Code says what kind of failure an [Error] is. The set is closed: each surface
// has one table from code to its own answer, and a test fails when a code is
// missing from it. The names are those that GraphQL clients already switch on
// (Apollo Server's set), completed with customary ones.
type Code string

// The codes, in the order of docs/graphql.md.
const (
	// CodeParseFailed means that the document is not GraphQL, or holds more tokens than allowed.
	CodeParseFailed Code = "GRAPHQL_PARSE_FAILED"
	// CodeValidationFailed means that the document does not fit the schema.
	CodeValidationFailed Code = "GRAPHQL_VALIDATION_FAILED"
	// CodeBadRequest means that the HTTP request is not a well-formed GraphQL or REST request.
	CodeBadRequest Code = "BAD_REQUEST"
	// CodeBadUserInput means that an argument, a variable or a parameter has a value that is not allowed.
	CodeBadUserInput Code = "BAD_USER_INPUT"
	// CodeOperationResolution means that the document does not say which operation to run.
	CodeOperationResolution Code = "OPERATION_RESOLUTION_FAILURE"
	// CodeUnauthenticated means that there is no token, or none that can be accepted.
	CodeUnauthenticated Code = "UNAUTHENTICATED"
	// CodeForbidden means that the token is good and does not give this right.
	CodeForbidden Code = "FORBIDDEN"
	// CodeNotFound means that there is no such thing, or none that this caller may know of.
	CodeNotFound Code = "NOT_FOUND"
	// CodePersistedQueryNotFound asks the client to send the document along with its hash.
	CodePersistedQueryNotFound Code = "PERSISTED_QUERY_NOT_FOUND"
	// CodePersistedQueryNotSupported means that only trusted documents run here.
	CodePersistedQueryNotSupported Code = "PERSISTED_QUERY_NOT_SUPPORTED"
	// CodeIntrospectionDisabled means that the operator turned introspection off.
	CodeIntrospectionDisabled Code = "INTROSPECTION_DISABLED"
	// CodeTooManySelections means that the document is too deep or selects too much.
	CodeTooManySelections Code = "MAX_RECURSIVE_SELECTIONS_EXCEEDED"
	// CodeTooComplex means that the document costs more than one request may.
	CodeTooComplex Code = "COMPLEXITY_LIMIT_EXCEEDED"
	// CodePayloadTooLarge means that the request body is larger than allowed.
	CodePayloadTooLarge Code = "PAYLOAD_TOO_LARGE"
	// CodeRateLimited means that this caller sent too many requests.
	CodeRateLimited Code = "RATE_LIMITED"
	// CodeTimeout means that the answer took longer than one request may.
	CodeTimeout Code = "TIMEOUT"
	// CodeUnavailable means that the server cannot answer at the moment, and that trying again helps.
	CodeUnavailable Code = "SERVICE_UNAVAILABLE"
	// CodeInternal means that something is wrong on this side. Its cause is only in the log.
	CodeInternal Code = "INTERNAL_SERVER_ERROR"
)

// Codes lists every code there is, in the order of their declaration.
func Codes() []Code {
	return []Code{
		CodeParseFailed, CodeValidationFailed, CodeBadRequest, CodeBadUserInput, CodeOperationResolution,
		CodeUnauthenticated, CodeForbidden, CodeNotFound, CodePersistedQueryNotFound,
		CodePersistedQueryNotSupported, CodeIntrospectionDisabled, CodeTooManySelections, CodeTooComplex,
		CodePayloadTooLarge, CodeRateLimited, CodeTimeout, CodeUnavailable, CodeInternal,
	}
}

// Error is a failure that a caller may be told about. Message is written for
// the caller: it names the value that was wrong and what is allowed, and never
// holds text of a driver. Err is the cause; it goes to the log and to nobody else.
type Error struct {
	Code    Code
	Message string
	Err     error
	// NamesSchema says that Message names types or values of the GraphQL schema. Callers
	// who may not introspect the schema get another message.
	NamesSchema bool
}

// Error returns the message and, for the log, the cause behind it.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause, so that errors.Is and errors.As see through an Error.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a cause. The arguments are those of fmt.Sprintf.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// InternalMessage is all that a caller ever reads of a failure on this side.
const InternalMessage = "Something went wrong on our side. Quote the request id when you report it."

// AsError finds the Error in err's chain. Anything else is an internal error:
// its text may hold what no caller should see, so it stays the cause.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: InternalMessage, Err: err}
}

// DescribeTypes names the types of an error and of those that it wraps, with the codes
// that a database gave them; several that were joined stand in brackets. Their texts,
// which may quote values, are left out.
func DescribeTypes(err error) string {
	description := fmt.Sprintf("%T", err)
	if coded, ok := err.(interface{ SQLState() string }); ok {
		description += " " + coded.SQLState()
	}
	switch wrapping := err.(type) { //nolint:errorlint // each is looked at in turn
	case interface{ Unwrap() error }:
		if inner := wrapping.Unwrap(); inner != nil {
			description += " < " + DescribeTypes(inner)
		}
	case interface{ Unwrap() []error }:
		var joined []string
		for _, inner := range wrapping.Unwrap() {
			joined = append(joined, DescribeTypes(inner))
		}
		description += " < [" + strings.Join(joined, ", ") + "]"
	}
	return description
}
