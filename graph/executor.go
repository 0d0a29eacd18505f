package graph

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

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
	// CacheBytes bounds each of two caches: parsed documents, and texts that clients name
	// by their hash.
	CacheBytes int
}

// Executor runs GraphQL documents. Two callers use it: the endpoint /graphql, and
// the REST endpoints with documents of their own. So every rule, limit and batch
// is the same for both.
type Executor struct {
	log       *slog.Logger
	settings  Settings
	gqlgen    *executor.Executor
	documents documentCache
	// persisted are the documents that clients sent along with their hash.
	persisted    *cache[string]
	trustedTexts map[string]bool
}

// NewExecutor makes an Executor whose resolvers read from store.
func NewExecutor(store Store, log *slog.Logger, settings Settings) *Executor {
	resolver := newResolver(store)
	schema := NewExecutableSchema(Config{Schema: servedSchema(), Resolvers: resolver})
	x := newExecutor(executable{schema.(*executableSchema)}, log, settings)
	x.gqlgen.Use(encoder{resolver})
	x.gqlgen.Use(introspectionNulls{})
	return x
}

func newExecutor(schema graphql.ExecutableSchema, log *slog.Logger, settings Settings) *Executor {
	x := &Executor{
		log:          log,
		settings:     settings,
		gqlgen:       executor.New(schema),
		documents:    documentCache{newCache[parsedDocument](settings.CacheBytes)},
		persisted:    newCache[string](settings.CacheBytes),
		trustedTexts: map[string]bool{},
	}
	for _, text := range settings.Trusted {
		x.trustedTexts[text] = true
	}
	x.gqlgen.SetErrorPresenter(presenter(log, settings.Introspection))
	x.gqlgen.SetRecoverFunc(recoverFrom(log))
	x.gqlgen.SetDefaultRulesFn(boundedRules)
	x.gqlgen.SetParserTokenLimit(settings.Limits.Tokens)
	x.gqlgen.SetDisableSuggestion(!settings.Introspection)
	x.gqlgen.SetQueryCache(x.documents)
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
	// Cost is what the document costs; 0 when that was not computed.
	Cost int
	// Extensions are sent along; nil for none.
	Extensions map[string]any
}

// Release gives back the memory of Data to be used again. Nothing may read it
// afterwards. An answer that is not released is left to the collector.
func (r Response) Release() { giveBack(r.Data) }

// storedDocument marks a request whose document is part of this program.
type storedDocument struct{}

// ExecuteStored runs a document that is part of this program. It may ask for larger
// pages than a caller, and its cost is not checked.
func (x *Executor) ExecuteStored(ctx context.Context, request Request) Response {
	return x.run(context.WithValue(ctx, storedDocument{}, true), request)
}

// storedPageSize is the largest page that a stored document may ask for.
const storedPageSize = 1_000

func isStored(ctx context.Context) bool { return ctx.Value(storedDocument{}) != nil }

func maxPageSize(ctx context.Context) int {
	if isStored(ctx) {
		return storedPageSize
	}
	return models.MaxPageSize
}

// running is what is known of a request while it runs.
type running struct {
	logged atomic.Int32 // failures that the log has
	budget atomic.Int64 // of [spend]; below zero once it is spent
}

type runningKey struct{}

// requestOf gives the request that runs, or nil.
func requestOf(ctx context.Context) *running {
	request, _ := ctx.Value(runningKey{}).(*running)
	return request
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
	if halfInLiteral(request.Query) {
		return x.refuse(ctx, models.Errorf(models.CodeParseFailed, "query: an escape in a string is half of a surrogate pair"))
	}
	state := new(running)
	ctx = graphql.StartOperationTrace(context.WithValue(ctx, runningKey{}, state))
	operation, listErr := x.prepare(ctx, request)
	if len(listErr) > 0 {
		return Response{Errors: capErrors(x.classify(operation, listErr))}
	}
	operation.DisableIntrospection = !x.settings.Introspection
	if operation.DisableIntrospection && introspects(operation.Operation.SelectionSet, map[string]bool{}) {
		return x.refuse(ctx, models.Errorf(models.CodeIntrospectionDisabled, "introspection is turned off here"))
	}
	if err := checkValues(operation.Operation.SelectionSet, operation.Variables, map[string]bool{}); err != nil {
		return x.refuse(ctx, err)
	}
	var cost int
	state.budget.Store(math.MaxInt64)
	if !isStored(ctx) {
		state.budget.Store(int64(x.settings.Limits.Cost))
		caller := scope(ctx)
		named := len(caller.CustomerIDs) + len(caller.CustomerNumbers)
		var err error
		if cost, err = x.settings.Limits.check(operation.Operation, operation.Variables, named); err != nil {
			response := x.refuse(ctx, err)
			response.Cost = cost
			if response.Errors[0].Extensions["code"] == string(models.CodeTooComplex) {
				response.Errors[0].Extensions["cost"], response.Errors[0].Extensions["limit"] = cost, x.settings.Limits.Cost
			}
			return response
		}
	}
	answer, err := x.dispatch(withSelections(ctx, x.documents.selections(operation)), operation)
	if err != nil {
		return x.refuse(ctx, err)
	}
	if state.budget.Load() < 0 {
		// No field is named: callers who may not introspect the schema read this too.
		response := x.refuse(ctx, models.Errorf(models.CodeTooComplex,
			"too much is selected of lists that are longer than they are priced for: what they hold beyond that may cost at most %d", x.settings.Limits.Cost))
		response.Cost = cost
		return response
	}
	if answer == nil { // gqlgen gives nothing once the context is done
		return x.refuse(ctx, &models.Error{Code: models.CodeTimeout, Message: "The answer took too long.", Err: context.Cause(ctx)})
	}
	return Response{Data: answer.Data, Errors: capErrors(answer.Errors), Cost: cost}
}

// literals matches string literals, and comments, which may contain quotes.
var literals = regexp.MustCompile(`(?s)"""(?:\\"""|.)*?"""|#[^\r\n]*|"(?:\\.|[^"\\\r\n])*"`)

// halfInLiteral reports whether a string literal has an escape for half a surrogate pair.
// In a comment or a block string a backslash is only a backslash.
func halfInLiteral(query string) bool {
	return strings.Contains(query, `\u`) && slices.ContainsFunc(literals.FindAllString(query, -1), func(literal string) bool {
		return literal[0] == '"' && !strings.HasPrefix(literal, `"""`) && models.LoneSurrogate([]byte(literal))
	})
}

// apart puts a space between a block string and a quotation mark right after it, which
// begins another string (GraphQL, 2.9.4). gqlparser takes it for a part of the first.
func apart(query string) string {
	if !strings.Contains(query, `""""`) {
		return query
	}
	var parts strings.Builder
	from := 0
	for _, found := range literals.FindAllStringIndex(query, -1) {
		start, end := found[0], found[1]
		if strings.HasPrefix(query[start:], `"""`) && strings.HasPrefix(query[end:], `"`) {
			parts.WriteString(query[from:end] + " ")
			from = end
		}
	}
	return parts.String() + query[from:]
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
		// CR and LF end one line, as LF does (GraphQL, section 2.1.2), but gqlparser counts the
		// columns of what follows from one too many.
		Query:         apart(strings.ReplaceAll(request.Query, "\r\n", "\n")),
		OperationName: request.OperationName,
		Variables:     request.Variables,
	})
}

// dispatch runs an operation. gqlgen recovers from a panic in a resolver, and not
// from one of its own.
func (x *Executor) dispatch(ctx context.Context, operation *graphql.OperationContext) (answer *graphql.Response, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = recoverFrom(x.log)(ctx, value)
		}
	}()
	run, ctx := x.gqlgen.DispatchOperation(ctx, operation)
	return run(ctx), nil
}

// servedSchema is the schema without @defer, which gqlgen adds to every schema: an
// answer here is always whole. And it is without Float, which nothing refers to
// (GraphQL, 3.5).
func servedSchema() *ast.Schema {
	schema := *NewExecutableSchema(Config{}).Schema()
	schema.Directives = maps.Clone(schema.Directives)
	delete(schema.Directives, "defer")
	schema.Types = maps.Clone(schema.Types)
	delete(schema.Types, "Float")
	return &schema
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
			err.Message = strings.TrimPrefix(err.Path.String(), "variable.") + ": " + withoutGoKinds(err.Message, typeOf(operation, err.Path))
			err.Path = nil
		}
		if !x.settings.Introspection && code != models.CodeOperationResolution && code != models.CodeParseFailed {
			// What gqlparser says names fields and types that the caller did not.
			err.Message = schemaMismatch
		}
		err.Extensions = map[string]any{"code": string(code)}
	}
	return list
}

// helpfulMessage matches gqlparser's messages about a variable that help a caller. goKind
// is the Go kind at the end of some, which does not help. wrongType finds the expected type.
var (
	helpfulMessage = regexp.MustCompile(`^(must be defined|cannot be null|unknown field|must be an? \w+.*|.* is not a valid \w+)$`)
	goKind         = regexp.MustCompile(`, not an? \w+$`)
	wrongType      = regexp.MustCompile(`^cannot use \w+ as (\w+)$`)
)

// typeOf gives the type that the document declares for the variable of which gqlparser
// speaks.
func typeOf(operation *graphql.OperationContext, path ast.Path) string {
	if len(path) > 1 {
		name, _ := path[1].(ast.PathName)
		if variable := operation.Operation.VariableDefinitions.ForName(string(name)); variable != nil {
			return " " + variable.Type.String()
		}
	}
	return ""
}

// withoutGoKinds says what is wrong with a variable of a type, without words of Go.
func withoutGoKinds(message, ofType string) string {
	if named := wrongType.FindStringSubmatch(message); named != nil {
		return "the value is not of type " + named[1]
	}
	if helpfulMessage.MatchString(message) {
		return goKind.ReplaceAllString(message, "")
	}
	return "the value does not fit the variable's type" + ofType
}

// introspects reports whether the schema itself is asked for. Fragments that were
// seen are not looked into again.
func introspects(set ast.SelectionSet, seen map[string]bool) bool {
	for _, selection := range set {
		switch selection := selection.(type) {
		case *ast.Field:
			if selection.Name == "__schema" || selection.Name == "__type" {
				return true
			}
		case *ast.InlineFragment:
			if introspects(selection.SelectionSet, seen) {
				return true
			}
		case *ast.FragmentSpread:
			if seen[selection.Name] {
				continue
			}
			seen[selection.Name] = true
			if introspects(selection.Definition.SelectionSet, seen) {
				return true
			}
		}
	}
	return false
}
