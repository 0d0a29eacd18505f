package graph

import (
	"context"
	"math"
	"reflect"

	"github.com/vektah/gqlparser/v2/ast"

	"roster/models"
)

// Limits bound what one document may ask for.
type Limits struct {
	// Tokens is the most tokens a document may have. Validating takes time that
	// grows with the square of their number.
	Tokens int
	// Depth is how deep fields may nest, fragments expanded.
	Depth int
	// Selections is how many fields may be selected, fragments expanded.
	Selections int
	// Cost is the most a document may cost; see docs/graphql.md for the prices. What its
	// lists hold beyond what was priced may cost as much again.
	Cost int
}

// DefaultLimits let GraphiQL's introspection query and a dashboard's largest
// sensible query pass.
func DefaultLimits() Limits {
	return Limits{Tokens: 1_000, Depth: 12, Selections: 1_000, Cost: 10_000}
}

// What Limits.Depth and Limits.Selections are inside __schema and __type: tools ask for
// the type of a type nine levels deep, and for 230 fields, most of which are answered
// once for each of the schema's types.
const (
	introspectionDepth      = 20
	introspectionSelections = 400
)

// maxAlias is the most bytes of an alias. Each record of a list repeats it, so one long
// alias makes an answer as large as thousands of fields would.
const maxAlias = 100

// maxSchemaAliases bounds the bytes of all aliases, and names, below __schema and __type,
// where nothing has a price though each is answered for hundreds of fields. GraphiQL needs
// 1,300.
const maxSchemaAliases = 4 << 10

// The prices that are not 1. docs/graphql.md lists them for callers.
const (
	countCost       = 10 // totalCount and totalPages may have to read every matching row
	valueCost       = 10 // bytes of an argument's text that cost as much as a field
	freeValues      = 10 // of what a field's arguments cost, so that a usual filter costs nothing
	authoritiesSize = 5  // a user has a handful of authorities
	subrolesSize    = 10 // a customer has about ten subroles
)

// Nothing bounds how many authorities a user has and how many subroles a customer, and a
// document repeats them as often as it likes. So those beyond the priced ones are paid for
// once they are known, before they are written, from a budget of the request. It is as
// large as Limits.Cost whatever the price was: a document whose price is just allowed has
// room for longer lists too. A limit on the bytes of an answer would have to be looked at
// with each leaf, in gqlgen's code as well, and only once much had been written for nothing.

// errSpent ends a field when the budget is spent. Callers do not see it: fields are
// resolved in any order, so the whole answer is refused and not those that came last.
var errSpent = models.Errorf(models.CodeTooComplex, "the lists are too long")

// spend takes a cost, which may be 0, from the request's budget. It fails once that is spent.
func spend(ctx context.Context, cost int) error {
	if requestOf(ctx).budget.Add(-int64(cost)) < 0 {
		return errSpent
	}
	return nil
}

// surplus is what entries beyond the priced ones cost when these fields of them are selected.
func surplus(entries int, fields []selected) int {
	return multiply(entries, max(1, len(fields)))
}

// unpriced gives how many authorities there are beyond the priced ones of each user.
func unpriced(lists [][]*models.Authority) (entries int) {
	for _, list := range lists {
		entries += max(0, len(list)-authoritiesSize)
	}
	return entries
}

// weight is what a selection set amounts to. The numbers saturate. perRecord is
// the cost of what is selected once for each record of the list around it; it is
// kept apart because a fragment can be spread in lists of different sizes.
type weight struct {
	depth, selections, cost, perRecord int
	// What is below __schema and __type counts apart.
	schemaDepth, schemaSelections, schemaAliases int
	// aliases are the bytes of all aliases, or names where there is none.
	aliases int
}

// weigher adds up a document. A fragment weighs the same wherever it is spread,
// so each is weighed once; without the memo, fragments that spread the next one
// twice take time that doubles with each.
type weigher struct {
	variables map[string]any
	fragments map[string]weight
	// values are what variables cost each time that they are used.
	values map[string]int
	// named is how many customers the caller's token names.
	named int
	// longestAlias is how many bytes the longest alias has.
	longestAlias int
}

// check refuses an operation that asks for more than the limits allow. named is how many
// customers the caller's token names. gqlgen's own complexity walk is not used, as it
// weighs a fragment anew wherever it is spread.
func (l Limits) check(operation *ast.OperationDefinition, variables map[string]any, named int) (cost int, err error) {
	w := weigher{variables: variables, fragments: map[string]weight{}, values: map[string]int{}, named: named}
	total := w.selectionSet(operation.SelectionSet)
	if total.schemaAliases > maxSchemaAliases {
		return total.cost, models.Errorf(models.CodeTooManySelections,
			"the aliases below __schema and __type have %d bytes together; at most %d are allowed", total.schemaAliases, maxSchemaAliases)
	}
	if w.longestAlias > maxAlias {
		return total.cost, models.Errorf(models.CodeTooManySelections, "an alias has %d bytes; at most %d are allowed", w.longestAlias, maxAlias)
	}
	if total.depth > l.Depth || total.schemaDepth > introspectionDepth {
		return total.cost, models.Errorf(models.CodeTooManySelections,
			"the document nests fields too deep: at most %d levels are allowed (%d below __schema and __type)", l.Depth, introspectionDepth)
	}
	if add(total.selections, total.schemaSelections) > l.Selections || total.schemaSelections > introspectionSelections {
		return total.cost, models.Errorf(models.CodeTooManySelections,
			"the document selects too many fields once its fragments are expanded: at most %d are allowed (%d of them below __schema and __type)",
			l.Selections, introspectionSelections)
	}
	if total.cost > l.Cost {
		return total.cost, models.Errorf(models.CodeTooComplex, "the document costs %d; at most %d are allowed", total.cost, l.Cost)
	}
	return total.cost, nil
}

func (w *weigher) selectionSet(set ast.SelectionSet) weight {
	var total weight
	for _, selection := range set {
		var part weight
		switch selection := selection.(type) {
		case *ast.Field:
			part = w.field(selection)
		case *ast.InlineFragment:
			part = w.selectionSet(selection.SelectionSet)
		case *ast.FragmentSpread:
			part = w.fragment(selection)
		}
		total.depth = max(total.depth, part.depth)
		total.selections = add(total.selections, part.selections)
		total.cost = add(total.cost, part.cost)
		total.perRecord = add(total.perRecord, part.perRecord)
		total.schemaDepth = max(total.schemaDepth, part.schemaDepth)
		total.schemaSelections = add(total.schemaSelections, part.schemaSelections)
		total.schemaAliases = add(total.schemaAliases, part.schemaAliases)
		total.aliases = add(total.aliases, part.aliases)
	}
	return total
}

func (w *weigher) fragment(spread *ast.FragmentSpread) weight {
	known, ok := w.fragments[spread.Name]
	if !ok {
		known = w.selectionSet(spread.Definition.SelectionSet)
		w.fragments[spread.Name] = known
	}
	return known
}

func (w *weigher) field(field *ast.Field) weight {
	w.longestAlias = max(w.longestAlias, len(field.Alias))
	children := w.selectionSet(field.SelectionSet)
	if field.Name == "__schema" || field.Name == "__type" { // fields of Query only
		return weight{schemaDepth: add(1, children.depth), schemaSelections: add(1, children.selections), schemaAliases: add(len(field.Alias), children.aliases)}
	}
	total := weight{depth: add(1, children.depth), selections: add(1, children.selections), aliases: add(len(field.Alias), children.aliases)}
	parent := ""
	if field.ObjectDefinition != nil {
		parent = field.ObjectDefinition.Name
	}
	switch parent + "." + field.Name {
	case "UserConnection.nodes", "UserConnection.edges", "CustomerConnection.nodes", "CustomerConnection.edges":
		total.perRecord = add(1, children.cost)
	case "Query.customers", "Customer.users":
		total.cost = add(1, add(children.cost, multiply(w.pageSize(field), children.perRecord)))
	case "UserConnection.totalCount", "UserConnection.totalPages", "CustomerConnection.totalCount", "CustomerConnection.totalPages":
		total.cost = countCost
	case "User.authorities":
		total.cost = add(1, multiply(authoritiesSize, children.cost))
	case "Customer.subroles":
		total.cost = add(1, multiply(subrolesSize, children.cost))
	case "Viewer.customers":
		total.cost = add(1, multiply(max(models.DefaultPageSize, w.named), children.cost))
	default:
		total.cost = add(1, children.cost)
	}
	values := 0
	for _, argument := range field.Arguments {
		values = add(values, w.value(argument.Value))
	}
	total.cost = add(total.cost, max(0, values-freeValues))
	return total
}

// value gives what reading an argument costs: it is read anew for each alias and for
// each record of a list, and 60 KB of the worst text take a tenth of a second.
func (w *weigher) value(value *ast.Value) int {
	switch value.Kind {
	case ast.Variable:
		cost, ok := w.values[value.Raw]
		if !ok {
			cost = size(reflect.ValueOf(w.variables[value.Raw]))
			w.values[value.Raw] = cost
		}
		return cost
	case ast.ListValue, ast.ObjectValue:
		cost := 0
		for _, child := range value.Children {
			cost = add(cost, add(1, w.value(child.Value)))
		}
		return cost
	}
	return len(value.Raw) / valueCost
}

// size is what reading the value of a variable costs. Where a list is expected, gqlparser
// wraps a single value in a slice of the value's own type, so this goes by the kind.
func size(value reflect.Value) (cost int) {
	switch value.Kind() {
	case reflect.Interface:
		return size(value.Elem())
	case reflect.Map:
		for _, field := range value.Seq2() {
			cost = add(cost, add(1, size(field)))
		}
	case reflect.Slice:
		for i := range value.Len() {
			cost = add(cost, add(1, size(value.Index(i))))
		}
	case reflect.String:
		cost = value.Len() / valueCost
	}
	return cost
}

// pageSize reads the size of a page from the arguments. A value that the
// resolver will refuse anyway counts as the largest page.
func (w *weigher) pageSize(field *ast.Field) int {
	arguments := field.ArgumentMap(w.variables)
	size := arguments["first"]
	if size == nil {
		size = arguments["last"]
	}
	if page, ok := arguments["page"].(map[string]any); ok && size == nil {
		size = page["size"]
	}
	if size == nil {
		return models.DefaultPageSize
	}
	n, err := UnmarshalInt(size)
	if err != nil || n < 1 || n > models.MaxPageSize {
		return models.MaxPageSize
	}
	return n
}

// add and multiply saturate: a document can be made to weigh more than fits.
func add(a, b int) int {
	if a > math.MaxInt32-b {
		return math.MaxInt32
	}
	return a + b
}

func multiply(a, b int) int {
	if b != 0 && a > math.MaxInt32/b {
		return math.MaxInt32
	}
	return a * b
}
