package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"roster/models"
)

// maxErrors is how many errors one answer lists. The rest are counted.
const maxErrors = 10

// requestIDKey is the key of the request's id in the context.
type requestIDKey struct{}

// WithRequestID gives the context the id under which the log knows the request.
// Internal errors show it, so that whoever reports one can be helped.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID is the id that [WithRequestID] gave the context, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// presenter turns an error that arises while a document runs into what its caller may see.
// Errors of our own type show their code and message; errors about the document itself
// already have a code. Anything else is internal: the caller gets a fixed text and the
// request's id, and the cause goes to the log. Without introspection, messages that name
// parts of the schema are replaced.
func presenter(log *slog.Logger, introspection bool) graphql.ErrorPresenterFunc {
	return func(ctx context.Context, err error) *gqlerror.Error {
		shown, failure, prefix := &gqlerror.Error{Path: graphql.GetPath(ctx)}, models.AsError(err), ""
		if located, ok := errors.AsType[*gqlerror.Error](err); ok {
			shown.Locations = located.Locations
			if _, ok := located.Extensions["code"]; ok && located.Err == nil {
				shown.Message, shown.Extensions, shown.Path = located.Message, located.Extensions, located.Path
				return shown
			}
			if introspection {
				prefix = argument(shown.Path, located.Path)
			}
		}
		if field := graphql.GetFieldContext(ctx); shown.Locations == nil && field != nil && field.Field.Field != nil && field.Field.Position != nil {
			// gqlgen gives none for an argument that cannot be read.
			shown.Locations = []gqlerror.Location{{Line: field.Field.Position.Line, Column: field.Field.Position.Column}}
		}
		shown = describe(ctx, log, shown, failure)
		shown.Message = prefix + shown.Message
		if failure.NamesSchema && !introspection {
			shown.Message = schemaMismatch
		}
		return shown
	}
}

// schemaMismatch is the whole message, when a request does not fit the schema, for callers
// who may not learn the schema.
const schemaMismatch = "the document or its variables do not fit the schema"

// argument names the argument that an error is about. gqlgen puts it at the end
// of the error's path, where GraphQL has only fields.
func argument(field, path ast.Path) string {
	if len(path) <= len(field) {
		return ""
	}
	return strings.TrimPrefix(path[len(field):].String(), ".") + ": "
}

// describe fills in the code and message of err and logs what the caller does not see.
func describe(ctx context.Context, log *slog.Logger, shown *gqlerror.Error, err *models.Error) *gqlerror.Error {
	shown.Message = err.Message
	shown.Extensions = map[string]any{"code": string(err.Code)}
	switch err.Code {
	case models.CodeInternal, models.CodeTimeout, models.CodeUnavailable:
		shown.Extensions["requestId"] = RequestID(ctx)
		// Refused on purpose, as there is too much to do: the metrics count it.
		refused := err.Code == models.CodeUnavailable && err.Err == nil
		// Nobody waits for the answer any more. A time that is over ends a context otherwise.
		left := err.Code == models.CodeTimeout && errors.Is(ctx.Err(), context.Canceled)
		if !refused && !left && worthLogging(ctx) {
			log.ErrorContext(ctx, "request failed", "requestId", RequestID(ctx), "code", err.Code, "path", shown.Path.String(), "cause", cause(err))
		}
	}
	return shown
}

// worthLogging counts a failure and reports whether it is to be logged: what fails for
// a list fails for each of its records.
func worthLogging(ctx context.Context) bool {
	request := requestOf(ctx)
	return request == nil || request.logged.Add(1) <= maxErrors
}

// cause describes an error for the log by its type and the code that the
// database gave it. Its text is left out: drivers quote values in it.
func cause(err *models.Error) string {
	if err.Err == nil {
		return err.Message
	}
	return models.DescribeTypes(err.Err)
}

// recoverFrom turns a panic in a resolver into an internal error. The stack goes
// to the log; the panic's value does not, as it may hold anything.
func recoverFrom(log *slog.Logger) graphql.RecoverFunc {
	return func(ctx context.Context, value any) error {
		if worthLogging(ctx) {
			log.ErrorContext(ctx, "panic", "requestId", RequestID(ctx), "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
		}
		return &models.Error{Code: models.CodeInternal, Message: models.InternalMessage}
	}
}

// The size of what an answer says of its errors. Names in a document are as long
// as a caller likes, and messages and paths repeat them.
const (
	maxMessage = 1_000
	maxPath    = 1_000
)

// capErrors keeps the first errors of an answer and says how many there were.
func capErrors(list gqlerror.List) gqlerror.List {
	capped := list
	if len(list) > maxErrors {
		capped = append(gqlerror.List{}, list[:maxErrors]...)
		capped = append(capped, &gqlerror.Error{
			Message:    fmt.Sprintf("%d or more errors are not listed", len(list)-maxErrors),
			Extensions: map[string]any{"code": list[maxErrors].Extensions["code"]},
		})
	}
	for _, err := range capped {
		if len(err.Message) > maxMessage {
			err.Message = strings.ToValidUTF8(err.Message[:maxMessage], "") + "…"
		}
		if len(err.Path.String()) > maxPath {
			err.Path = err.Path[:1] // which tells what was asked for
		}
	}
	return capped
}
