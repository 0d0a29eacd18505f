package graph

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// selected is a field of an object in an answer, with all that the document selects
// below it, in whatever places.
type selected struct {
	graphql.CollectedField
	// member begins the field in the answer: a comma and its key.
	member string
}

// selections are what the selection sets of a document select. They are worked out by
// gqlgen's rules for fragments, directives and aliases, once for a document: doing it
// for each request took a fifth of BenchmarkPage's time (92 us a page in place of 73).
type selections struct {
	mu    sync.RWMutex
	known map[setKey][]selected
	// room is how many more bytes may be kept. Fragments can be spread so often that
	// they select far more than the document is long.
	room int
}

// About how many bytes it takes to keep a set or one of its fields, and each selection
// below a field.
const (
	selectedBytes  = 120
	selectionBytes = 16
)

func newSelections(room int) *selections {
	return &selections{known: map[setKey][]selected{}, room: room}
}

// setKey is a selection set on an object of a type. Only sets of the document and of what
// is kept for it are looked up, so the address of the first selection identifies a set.
type setKey struct {
	first    *ast.Selection
	typeName string
}

type selectionsKey struct{}

// withSelections puts the selections of the operation into ctx.
func withSelections(ctx context.Context, s *selections) context.Context {
	return context.WithValue(ctx, selectionsKey{}, s)
}

// selectedBy gives the fields that a selection set of the document selects of an
// object of the named type.
func selectedBy(ctx context.Context, set ast.SelectionSet, typeName string) []selected {
	if len(set) == 0 {
		return nil
	}
	s := ctx.Value(selectionsKey{}).(*selections)
	key := setKey{&set[0], typeName}
	s.mu.RLock()
	fields, ok := s.known[key]
	s.mu.RUnlock()
	if ok {
		return fields
	}
	collected := graphql.CollectFields(graphql.GetOperationContext(ctx), set, []string{typeName, "Node"})
	fields = make([]selected, len(collected))
	for i, field := range collected {
		fields[i] = selected{field, "," + strconv.Quote(field.Alias) + ":"}
	}
	size := selectedBytes
	for _, field := range fields {
		size += selectedBytes + selectionBytes*len(field.Selections)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.known[key]; ok { // another goroutine was first: sets below are known by its copy
		return known
	}
	if s.room -= size; s.room >= 0 {
		s.known[key] = fields
	} else {
		// The sets below one that is not kept have new addresses in each request: keeping
		// them would be of no use.
		s.room = 0
	}
	return fields
}

// selectionOf gives what is selected of the field being resolved. It is looked up from the
// document's root, as gqlgen copies the selection anew for each request.
func selectionOf(ctx context.Context) ast.SelectionSet {
	return selectionAt(ctx, graphql.GetFieldContext(ctx))
}

func selectionAt(ctx context.Context, field *graphql.FieldContext) ast.SelectionSet {
	for field != nil && field.Field.Field == nil { // an element of a list
		field = field.Parent
	}
	if field == nil {
		return graphql.GetOperationContext(ctx).Operation.SelectionSet
	}
	for _, sibling := range selectedBy(ctx, selectionAt(ctx, field.Parent), field.Object) {
		if sibling.Alias == field.Field.Alias {
			return sibling.Selections
		}
	}
	return nil
}

// conditional reports whether variables decide what a document selects.
func conditional(document *ast.QueryDocument) bool {
	return slices.ContainsFunc(document.Operations, func(o *ast.OperationDefinition) bool { return depends(o.SelectionSet) }) ||
		slices.ContainsFunc(document.Fragments, func(f *ast.FragmentDefinition) bool { return depends(f.SelectionSet) })
}

// depends reports whether variables decide what a selection set selects, apart from its
// named fragments.
func depends(set ast.SelectionSet) bool {
	return slices.ContainsFunc(set, func(selection ast.Selection) bool {
		switch selection := selection.(type) {
		case *ast.Field:
			return onVariable(selection.Directives) || depends(selection.SelectionSet)
		case *ast.InlineFragment:
			return onVariable(selection.Directives) || depends(selection.SelectionSet)
		case *ast.FragmentSpread:
			return onVariable(selection.Directives)
		}
		return true
	})
}

func onVariable(directives ast.DirectiveList) bool {
	return slices.ContainsFunc(directives, func(directive *ast.Directive) bool {
		return slices.ContainsFunc(directive.Arguments, func(argument *ast.Argument) bool { return argument.Value.Kind == ast.Variable })
	})
}
