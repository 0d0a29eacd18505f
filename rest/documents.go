package rest

import (
	"context"
	"embed"
	"encoding/json"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"roster/graph"
	"roster/models"
)

// Executor runs the stored documents. *graph.Executor does.
type Executor interface {
	// ExecuteStored runs a document that is part of this program for the caller of ctx.
	ExecuteStored(ctx context.Context, request graph.Request) graph.Response
}

//go:embed documents/*.graphql
var documentFiles embed.FS

// The stored documents. A test validates each against schema.graphqls.
var (
	worthUsersDocument        = document("worth_users")
	worthUserDocument         = document("worth_user")
	worthSubrolesDocument     = document("worth_subroles")
	testiniumUsersDocument    = document("testinium_users")
	testiniumCustomerDocument = document("testinium_customer")
)

// DocumentTokens is more than the tokens of any stored document. The executor must
// allow that many.
const DocumentTokens = 200

// document reads a stored document. The files are compiled in, so one that is
// missing is a mistake in this package, which shows at the first start.
func document(name string) string {
	text, err := documentFiles.ReadFile("documents/" + name + ".graphql")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// runner runs stored documents, each within a bounded time.
type runner struct {
	executor Executor
	timeout  time.Duration
}

// run runs a stored document and decodes its data into answer.
func (r runner) run(ctx context.Context, document string, variables map[string]any, answer any) error {
	response, err := r.data(ctx, document, variables)
	if err != nil {
		return err
	}
	defer response.Release()
	if err := json.Unmarshal(response.Data, answer); err != nil {
		return internalError(err)
	}
	return nil
}

// data runs a stored document and gives the answer, to be released when its data has
// been read. Any error in it fails it, for a legacy client has no way to learn that
// only a part of a record could be read.
func (r runner) data(ctx context.Context, document string, variables map[string]any) (graph.Response, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	response := r.executor.ExecuteStored(ctx, graph.Request{Query: document, Variables: variables})
	if len(response.Errors) > 0 {
		return graph.Response{}, fromGraphQL(response.Errors[0])
	}
	return response, nil
}

// bounded gives the time of one document. A streamed list takes many documents
// and so any time in all, while none of them holds the database for longer.
func (r runner) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, r.timeout)
}

// fromGraphQL reads our own error back from what GraphQL shows of it.
func fromGraphQL(shown *gqlerror.Error) error {
	code, _ := shown.Extensions["code"].(string)
	return &models.Error{Code: models.Code(code), Message: shown.Message}
}

// internalError is a failure of this program itself.
func internalError(err error) error {
	return &models.Error{Code: models.CodeInternal, Message: models.InternalMessage, Err: err}
}
