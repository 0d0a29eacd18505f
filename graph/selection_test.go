package graph_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
)

// A document that selects more than is kept for it does not keep more with each request.
func TestWhatIsKeptForADocumentDoesNotGrow(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	settings := settings()
	settings.CacheBytes = 8 << 20
	executor := graph.NewExecutor(database, slog.New(slog.DiscardHandler), settings)
	// A set that finds no room, and below it one that selects nothing.
	query := `{ a: customerByNumber(number: 1) { ...C } b: customerByNumber(number: 1) { ...C } c: customerByNumber(number: 1) { ...C } }
		fragment C on Customer { users(first: 1) { nodes { ...F } edges { node { ...F } } } }
		fragment F on User { ` + numbered("a%d:id ", 60) + `subrole { ` + strings.Repeat("...N ", 80) + `} }
		fragment N on Subrole { id @skip(if: true) }`
	kept := func(requests int) int {
		for range requests {
			if response := executor.Execute(as(t, "member"), graph.Request{Query: query}); len(response.Errors) > 0 {
				t.Fatal(response.Errors)
			}
		}
		return graph.KeptSelections(executor, query)
	}
	before := kept(3)
	if after := kept(20); before == 0 || after != before {
		t.Errorf("%d sets are kept after 3 requests, and %d after 23", before, after)
	}
}

// Callers who are the first to ask for a document, at once, keep no more for it than one.
func TestWhatIsKeptForADocumentIsKeptOnce(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	const query = `{ customerByNumber(number: 1) { name users { nodes { id subrole { code } authorities { name } } } } }`
	ctx := as(t, "member")
	kept := func(callers int) int {
		executor := newExecutor(database)
		var group sync.WaitGroup
		for range callers {
			group.Go(func() { executor.Execute(ctx, graph.Request{Query: query}) })
		}
		group.Wait()
		return graph.KeptSelections(executor, query)
	}
	alone := kept(1)
	for range 300 {
		if together := kept(4); together != alone {
			t.Fatalf("%d sets are kept, and %d for one caller", together, alone)
		}
	}
}

// What variables select is worked out for each request, wherever in the document they
// decide.
func TestSelectionsByVariables(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	executor := newExecutor(database)
	for _, query := range []string{
		`query ($x: Boolean!) { customerByNumber(number: 1) { users { nodes { id email @include(if: $x) } } } }`,
		`query ($x: Boolean!) { customerByNumber(number: 1) { users { nodes { id ... @include(if: $x) { email } } } } }`,
		`query ($x: Boolean!) { customerByNumber(number: 1) { users { nodes { id ... { email @include(if: $x) } } } } }`,
		`query ($x: Boolean!) { customerByNumber(number: 1) { users { nodes { id ...E @include(if: $x) } } } } fragment E on User { email }`,
		`query ($x: Boolean!) { customerByNumber(number: 1) { users { nodes { id ...E } } } } fragment E on User { email @include(if: $x) }`,
	} {
		for _, shown := range []bool{true, false, true} {
			got := answer(t, executor.Execute(as(t, "member"), graph.Request{Query: query, Variables: map[string]any{"x": shown}}))
			if strings.Contains(got, "ayse@example.com") != shown {
				t.Errorf("%s with %t: %s", query, shown, got)
			}
		}
	}
}
