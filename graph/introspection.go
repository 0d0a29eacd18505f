package graph

import (
	"context"
	"slices"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/introspection"
)

// introspectionNulls has what a type of the schema cannot have be null (GraphQL, 4.2.2).
// gqlgen gives an empty list of fields for a scalar, and so on.
type introspectionNulls struct{}

var _ interface {
	graphql.HandlerExtension
	graphql.FieldInterceptor
} = introspectionNulls{}

// ExtensionName names the extension for gqlgen.
func (introspectionNulls) ExtensionName() string { return "IntrospectionNulls" }

// Validate accepts every schema.
func (introspectionNulls) Validate(graphql.ExecutableSchema) error { return nil }

// kindsWith are the kinds of types that have something; all have what is not named here.
var kindsWith = map[string][]string{
	"fields":        {"OBJECT", "INTERFACE"},
	"interfaces":    {"OBJECT", "INTERFACE"},
	"possibleTypes": {"INTERFACE", "UNION"},
	"enumValues":    {"ENUM"},
	"inputFields":   {"INPUT_OBJECT"},
	"isOneOf":       {"INPUT_OBJECT"},
}

// InterceptField resolves a field unless the type that is looked at cannot have it.
func (introspectionNulls) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	field := graphql.GetFieldContext(ctx)
	if field.Object != "__Type" {
		return next(ctx)
	}
	kinds, ok := kindsWith[field.Field.Name]
	if !ok {
		return next(ctx)
	}
	var kind string
	switch looked := field.Parent.Result.(type) {
	case *introspection.Type: // an element of a list
		kind = looked.Kind()
	case **introspection.Type:
		kind = (*looked).Kind()
	}
	if !slices.Contains(kinds, kind) {
		return nil, nil
	}
	return next(ctx)
}
