package graph

import (
	"context"
	"log/slog"
	"regexp"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"roster/models"
)

// Settings are what an operator decides about the GraphQL side.
type Settings struct {
	Limits        Limits
	Introspection bool
	// Trusted, when set, are the only documents that callers may run.
	Trusted TrustedDocuments
	// CacheBytes bounds the memory for parsed documents, and that for documents
	// that clients name by their hash.
	CacheBytes int
}

// Executor runs GraphQL documents. Both doors use it: the endpoint /graphql, and
// the REST endpoints with documents of their own. So every rule, limit and batch
// is the same for both.
type Executor struct {
	log      *slog.Logger
	settings Settings
	gqlgen   *executor.Executor
	// persisted are the documents that clients sent along with their hash.
	persisted    *cache[string]
	trustedTexts map[string]bool
}

// NewExecutor makes an Executor whose resolvers read from store.
func NewExecutor(store Store, log *slog.Logger, settings Settings) *Executor {
	x := &Executor{
		log:          log,
		settings:     settings,
		gqlgen:       executor.New(NewExecutableSchema(Config{Resolvers: &Resolver{store}})),
		persisted:    newCache[string](settings.CacheBytes),
		trustedTexts: map[string]bool{},
	}
	for _, text := range settings.Trusted {
		x.trustedTexts[text] = true
	}
	x.gqlgen.SetErrorPresenter(presenter(log))
	x.gqlgen.SetRecoverFunc(recoverFrom(log))
	x.gqlgen.SetDefaultRulesFn(boundedRules)
	x.gqlgen.SetParserTokenLimit(settings.Limits.Tokens)
	x.gqlgen.SetDisableSuggestion(!settings.Introspection)
	x.gqlgen.SetQueryCache(documentCache{newCache[*ast.QueryDocument](settings.CacheBytes)})
	return x
}

// Request is one GraphQL request. The document is named by its text, or by a
// hash or id under which it is known already.
type Request struct {
	Query         string
	OperationName string
	Variables     map[string]any
	// Hash is that of an automatic persisted query, "" for none.
	Hash string
	// DocumentID names a trusted document, "" for none.
	DocumentID string
}

// Response is the answer to a Request. Data is nil when the request was refused
// before anything ran.
type Response struct {
	Data   []byte
	Errors gqlerror.List
	// Cost is what the document costs, when it came to be priced.
	Cost int
	// Extensions are sent along; nil for none.
	Extensions map[string]any
}

// ownDocument marks a request whose document is part of this program.
type ownDocument struct{}

// ExecuteOwn runs a document that is part of this program. It may ask for larger
// pages than a caller, and its cost is known.
func (x *Executor) ExecuteOwn(ctx context.Context, request Request) Response {
	return x.run(context.WithValue(ctx, ownDocument{}, true), request)
}

// ownPageSize is the largest page that our own documents may ask for.
const ownPageSize = 1_000

func isOwn(ctx context.Context) bool { return ctx.Value(ownDocument{}) != nil }

func maxPageSize(ctx context.Context) int {
	if isOwn(ctx) {
		return ownPageSize
	}
	return models.MaxPageSize
}

// Execute finds, parses, validates, prices and runs a document for the caller of ctx.
func (x *Executor) Execute(ctx context.Context, request Request) Response {
	var err error
	if request.Query, err = x.document(request); err != nil {
		return x.refuse(ctx, err)
	}
	return x.run(ctx, request)
}

func (x *Executor) run(ctx context.Context, request Request) Response {
	for name, text := range map[string]string{"query": request.Query, "operationName": request.OperationName} {
		if err := models.CheckText(text); err != nil {
			return x.refuse(ctx, models.Errorf(models.CodeBadUserInput, "%s: %s", name, err))
		}
	}
	ctx = graphql.StartOperationTrace(ctx)
	operation, listErr := x.prepare(ctx, request)
	if len(listErr) > 0 {
		return Response{Errors: capErrors(x.classify(operation, listErr))}
	}
	operation.DisableIntrospection = !x.settings.Introspection
	if operation.DisableIntrospection && introspects(operation.Operation.SelectionSet) {
		return x.refuse(ctx, models.Errorf(models.CodeIntrospectionDisabled, "introspection is turned off here"))
	}
	var cost int
	if !isOwn(ctx) {
		var err error
		if cost, err = x.settings.Limits.check(operation.Operation, operation.Variables); err != nil {
			response := x.refuse(ctx, err)
			response.Cost = cost
			if response.Errors[0].Extensions["code"] == string(models.CodeTooComplex) {
				response.Errors[0].Extensions["cost"], response.Errors[0].Extensions["limit"] = cost, x.settings.Limits.Cost
			}
			return response
		}
	}
	run, ctx := x.gqlgen.DispatchOperation(ctx, operation)
	answer := run(ctx)
	if answer == nil { // gqlgen gives nothing once the context is done
		return x.refuse(ctx, &models.Error{Code: models.CodeTimeout, Message: "The answer took too long.", Err: context.Cause(ctx)})
	}
	return Response{Data: answer.Data, Errors: capErrors(answer.Errors), Cost: cost}
}

// prepare parses and validates a document and coerces its variables.
func (x *Executor) prepare(ctx context.Context, request Request) (operation *graphql.OperationContext, list gqlerror.List) {
	defer func() {
		switch ended := recover().(type) {
		case nil:
		case tooManyErrors:
			operation, list = &graphql.OperationContext{}, ended.list
		default:
			panic(ended)
		}
	}()
	return x.gqlgen.CreateOperationContext(ctx, &graphql.RawParams{
		Query:         request.Query,
		OperationName: request.OperationName,
		Variables:     request.Variables,
	})
}

// refuse answers a request that does not run.
func (x *Executor) refuse(ctx context.Context, err error) Response {
	return Response{Errors: gqlerror.List{describe(ctx, x.log, &gqlerror.Error{}, models.AsError(err))}}
}

// classify gives what gqlgen says of a document one of our codes. gqlgen knows
// two codes only, so the stage that refused the document is told from what the
// operation context already holds.
func (x *Executor) classify(operation *graphql.OperationContext, list gqlerror.List) gqlerror.List {
	for _, err := range list {
		code := models.CodeValidationFailed
		switch {
		case operation.Doc == nil && err.Rule == "":
			code = models.CodeParseFailed
		case operation.Doc != nil && operation.Operation == nil:
			code = models.CodeOperationResolution
			err.Message = "operationName does not name an operation of the document"
			if operation.OperationName == "" {
				err.Message = "the document holds more than one operation: operationName must name the one to run"
			}
		case operation.Doc != nil:
			code = models.CodeBadUserInput
			err.Message = strings.TrimPrefix(err.Path.String(), "variable.") + ": " + withoutKinds(err.Message)
			err.Path = nil
		}
		if !x.settings.Introspection && code != models.CodeOperationResolution && code != models.CodeParseFailed {
			// What gqlparser says names fields and types that the caller did not.
			err.Message = "the document or its variables do not fit the schema"
		}
		err.Extensions = map[string]any{"code": string(code)}
	}
	return list
}

// kinds is where gqlparser names the Go kind of a variable's value, which means
// nothing to a caller.
var kinds = regexp.MustCompile(`^cannot use \S+ as |, not an? \w+$|^enums must be .*`)

func withoutKinds(message string) string {
	return kinds.ReplaceAllStringFunc(message, func(part string) string {
		switch {
		case strings.HasPrefix(part, "cannot"):
			return "the value is not of type "
		case strings.HasPrefix(part, "enums"):
			return "the value must be the name of an enum value, in quotes"
		}
		return ""
	})
}

// introspects reports whether the schema itself is asked for.
func introspects(set ast.SelectionSet) bool {
	for _, selection := range set {
		switch selection := selection.(type) {
		case *ast.Field:
			if selection.Name == "__schema" || selection.Name == "__type" {
				return true
			}
		case *ast.InlineFragment:
			if introspects(selection.SelectionSet) {
				return true
			}
		case *ast.FragmentSpread:
			if introspects(selection.Definition.SelectionSet) {
				return true
			}
		}
	}
	return false
}
