package graph_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
)

// levels makes a document of n fragments that each spread the next one twice:
// 2^n fields once they are expanded.
func levels(n int) string {
	var query strings.Builder
	query.WriteString("{ viewer { ...F0 } }")
	for level := range n {
		fmt.Fprintf(&query, " fragment F%d on Viewer { ...F%d ...F%d }", level, level+1, level+1)
	}
	fmt.Fprintf(&query, " fragment F%d on Viewer { subject }", n)
	return query.String()
}

// Documents made to take long. Each is refused for the reason that it should be,
// and the refusal is small. How fast is measured by BenchmarkRefusals.
var hostileDocuments = map[string]struct{ query, code string }{
	"fragments that double":      {levels(60), "MAX_RECURSIVE_SELECTIONS_EXCEEDED"},
	"doubling on Query":          {strings.NewReplacer("{ viewer { ...F0 } }", "{ ...F0 }", "on Viewer { subject }", "on Query { viewer { subject } }", "on Viewer", "on Query").Replace(levels(60)), "MAX_RECURSIVE_SELECTIONS_EXCEEDED"},
	"many aliases":               {"{ " + strings.Repeat("a: viewer { subject } ", 160) + "}", ""},
	"different aliases":          {aliases(60, `customers(first: 100) { nodes { id } }`), "COMPLEXITY_LIMIT_EXCEEDED"},
	"spreads of nothing much":    {"{ " + strings.Repeat("...{viewer{subject}} ", 140) + "}", ""},
	"a fragment cycle":           {"{ viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }", "GRAPHQL_VALIDATION_FAILED"},
	"too many tokens":            {"{ " + strings.Repeat("viewer { subject } ", 400) + "}", "GRAPHQL_PARSE_FAILED"},
	"directives":                 {"{ viewer { subject " + strings.Repeat("@include(if: true) ", 120) + "} }", "GRAPHQL_VALIDATION_FAILED"},
	"nested lists in a value":    {"{ customers(search: " + strings.Repeat("[", 480) + strings.Repeat("]", 480) + ") { totalCount } }", "GRAPHQL_VALIDATION_FAILED"},
	"nested fields":              {strings.Repeat("{ node(id: 1) ", 100) + strings.Repeat("}", 100), "GRAPHQL_VALIDATION_FAILED"},
	"nested pages":               {nestedPages(4), "MAX_RECURSIVE_SELECTIONS_EXCEEDED"},
	"pages of pages":             {`{ customers(first: 100) { nodes { users(first: 100) { nodes { id } } } } }`, "COMPLEXITY_LIMIT_EXCEEDED"},
	"pages of pages by variable": {`query ($n: Int = 100) { customers(first: $n) { nodes { users(page: {size: $n}) { nodes { id } } } } }`, "COMPLEXITY_LIMIT_EXCEEDED"},
	"introspection of itself":    {"{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }", "GRAPHQL_VALIDATION_FAILED"},
	"a long name":                {"{ " + strings.Repeat("x", 60_000) + " }", "GRAPHQL_VALIDATION_FAILED"},
	"many unknown fields":        {"{ viewer { " + numbered("f%d ", 900) + "} }", "GRAPHQL_VALIDATION_FAILED"},
	"many conflicting fields":    {"{ viewer { " + numbered("a: subject a: expiresAt ", 160) + "} }", "GRAPHQL_VALIDATION_FAILED"},
	"many unused variables":      {"query (" + numbered("$v%d: Int ", 240) + ") { viewer { subject } }", "GRAPHQL_VALIDATION_FAILED"},
	"many operations":            {numbered("query Q%d { viewer { subject } } ", 120), "OPERATION_RESOLUTION_FAILURE"},
	"a long alias":               {`{ viewer { ...V } } fragment V on Viewer { ` + strings.Repeat("x", 101) + `: subject }`, "MAX_RECURSIVE_SELECTIONS_EXCEEDED"},
	"the longest alias":          {`{ ` + strings.Repeat("x", 100) + `: customer(id: "x") { id } }`, "BAD_USER_INPUT"},
}

func numbered(format string, n int) string {
	var text strings.Builder
	for i := range n {
		if strings.Contains(format, "%d") {
			fmt.Fprintf(&text, format, i)
		} else {
			text.WriteString(format)
		}
	}
	return text.String()
}

func aliases(n int, field string) string {
	var query strings.Builder
	query.WriteString("{ ")
	for i := range n {
		fmt.Fprintf(&query, "a%d: %s ", i, field)
	}
	return query.String() + "}"
}

func nestedPages(n int) string {
	return `{ customers { nodes ` + strings.Repeat(`{ users { nodes { customer `, n) + `{ id }` + strings.Repeat(` } } }`, n) + ` } }`
}

func TestHostileDocumentsAreRefused(t *testing.T) {
	for _, introspection := range []bool{true, false} {
		t.Run(fmt.Sprintf("introspection %v", introspection), func(t *testing.T) { refuseAll(t, introspection) })
	}
}

func refuseAll(t *testing.T, introspection bool) {
	limited := settings()
	limited.Introspection = introspection
	executor := graph.NewExecutor(dbtest.Open(t, db.SQLite), slog.New(slog.DiscardHandler), limited)
	for name, hostile := range hostileDocuments {
		response := executor.Execute(as(t, "member"), graph.Request{Query: hostile.query})
		var code any
		if len(response.Errors) > 0 {
			code = response.Errors[0].Extensions["code"]
		}
		if hostile.code == "" && code != nil || hostile.code != "" && code != hostile.code {
			t.Errorf("%s: got %v %.300v, want %s", name, code, response.Errors, hostile.code)
		}
		data, err := json.Marshal(response.Errors)
		if err != nil || len(data) > 64<<10 {
			t.Errorf("%s: the refusal has %d bytes, %v", name, len(data), err)
		}
	}
}

// Values take time for each alias and each record that they are read for, whatever is
// selected, so they are priced as well, and a usual filter is free.
func TestValuesCost(t *testing.T) {
	executor := newExecutor(dbtest.Open(t, db.SQLite))
	wide := map[string]any{"and": slices.Repeat([]any{map[string]any{}}, 9_000)}
	long := map[string]any{"search": strings.Repeat("ﷺ", 10_000)}
	literal := fmt.Sprintf("{search: %q}", strings.Repeat("x", 50_000))
	for name, test := range map[string]struct {
		query  string
		filter any
		code   string
		cost   int
	}{
		"a usual filter":        {"query ($f: UserFilter) { customerByNumber(number: 1) { users(filter: $f) { __typename } } }", map[string]any{"search": "ayse yilmaz", "status": map[string]any{"in": []any{"ACTIVE", "INVITED"}}}, "", 3},
		"a usual one, literal":  {`{ customerByNumber(number: 1) { users(filter: {search: "ayse yilmaz", status: {in: [ACTIVE, INVITED]}}) { __typename } } }`, nil, "", 3},
		"one that is not given": {"query ($f: UserFilter) { customerByNumber(number: 1) { users(filter: $f) { __typename } } }", nil, "", 3},
		"a hundred ids":         {"query ($f: UserFilter) { customerByNumber(number: 1) { users(filter: $f) { __typename } } }", map[string]any{"id": map[string]any{"in": slices.Repeat([]any{acme}, 100)}}, "", 3 + 392},
		"wide, used twice":      {"query ($f: UserFilter) { customerByNumber(number: 1) { " + numbered("a%d: users(filter: $f) { __typename } ", 2) + "} }", wide, "COMPLEXITY_LIMIT_EXCEEDED", 0},
		"long, used four times": {"query ($f: UserFilter) { customerByNumber(number: 1) { " + numbered("a%d: users(filter: $f) { __typename } ", 4) + "} }", long, "COMPLEXITY_LIMIT_EXCEEDED", 0},
		"long, for each record": {"query ($f: UserFilter) { customerByNumber(number: 1) { users(first: 5) { nodes { customer { users(filter: $f) { __typename } } } } } }", long, "COMPLEXITY_LIMIT_EXCEEDED", 0},
		"long, literal":         {"{ customerByNumber(number: 1) { " + numbered("a%d: users(filter: "+literal+") { __typename } ", 3) + "} }", nil, "COMPLEXITY_LIMIT_EXCEEDED", 0},
	} {
		response := executor.Execute(as(t, "admin"), graph.Request{Query: test.query, Variables: map[string]any{"f": test.filter}})
		var code any = ""
		if len(response.Errors) > 0 {
			code = response.Errors[0].Extensions["code"]
		}
		if code != test.code || test.cost != 0 && response.Cost != test.cost {
			t.Errorf("%s: costs %d, want %d; code %q, want %q", name, response.Cost, test.cost, code, test.code)
		}
	}
}

// A cursor costs one, however long the filter or the search of its list is, so it takes no
// more memory and time for a long one.
func TestCursorsOfLongListsAreCheap(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	executor := newExecutor(database)
	// In JSON, as it is summed up, each < takes six bytes and each empty filter 500.
	filter := map[string]any{"and": []any{
		map[string]any{"and": slices.Repeat([]any{map[string]any{}}, 40)},
		map[string]any{"not": map[string]any{"firstName": map[string]any{"eq": strings.Repeat("<", 30_000)}}},
	}}
	cursors := numbered("c%d: cursor ", 200)
	for query, value := range map[string]any{
		"query ($v: UserFilter) { customerByNumber(number: 1) { users(filter: $v) { edges { " + cursors + "} } } }": filter,
		"query ($v: String) { customers(search: $v) { edges { " + cursors + "} } }":                                 strings.Repeat(" ", 50_000),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		response := executor.Execute(as(t, "admin"), graph.Request{Query: query, Variables: map[string]any{"v": value}})
		runtime.ReadMemStats(&after)
		if len(response.Errors) > 0 || !strings.Contains(string(response.Data), `"c199":`) {
			t.Errorf("%.300s, %v", response.Data, response.Errors)
		}
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 8<<20 {
			t.Errorf("%d MiB were taken", taken>>20)
		}
	}
}

// BenchmarkRefusals tells how long each hostile document keeps the server busy.
func BenchmarkRefusals(b *testing.B) {
	executor := newExecutor(dbtest.Open(b, db.SQLite))
	for name, hostile := range hostileDocuments {
		b.Run(name, func(b *testing.B) {
			var slowest time.Duration
			for b.Loop() {
				began := time.Now()
				executor.Execute(as(b, "member"), graph.Request{Query: hostile.query})
				slowest = max(slowest, time.Since(began))
			}
			b.ReportMetric(float64(slowest.Microseconds())/1000, "ms-max")
		})
	}
}

// What is selected below __schema is answered for each type, or for each field of each,
// so its number is bounded.
func TestFieldsBelowSchemaAreBounded(t *testing.T) {
	const schema = `__schema { types { fields { ...F type { fields { ...F } ofType { fields { ...F } } } } } }`
	for _, query := range []string{"{ " + schema + " }", "{ ... { " + schema + " } }", "{ ...Q } fragment Q on Query { " + schema + " }"} {
		for fields, refused := range map[int]bool{130: false, 140: true} {
			query := query + " fragment F on __Field { " + numbered("a%d: name ", fields) + "}"
			response := newExecutor(nil).Execute(as(t, "nobody"), graph.Request{Query: query})
			if !refused && len(response.Errors) > 0 || refused && (len(response.Errors) != 1 || response.Errors[0].Extensions["code"] != "MAX_RECURSIVE_SELECTIONS_EXCEEDED") {
				t.Errorf("%.30s with %d fields: %d bytes, errors %v", query, fields, len(response.Data), response.Errors)
			}
		}
	}
}

// An alias below __schema, where nothing has a price, is repeated for each type.
func TestAliasesBelowSchemaAreBounded(t *testing.T) {
	for query, code := range map[string]string{
		strings.Repeat("x", 100) + ": name": "", strings.Repeat("x", 101) + ": name": "MAX_RECURSIVE_SELECTIONS_EXCEEDED",
		numbered(strings.Repeat("x", 90)+"%d: name ", 40): "", numbered(strings.Repeat("x", 90)+"%d: name ", 50): "MAX_RECURSIVE_SELECTIONS_EXCEEDED",
	} {
		query := `{ __schema { types { fields { ...F } } } } fragment F on __Field { ` + query + ` }`
		response := newExecutor(nil).Execute(as(t, "nobody"), graph.Request{Query: query})
		got := ""
		if len(response.Errors) > 0 {
			got = response.Errors[0].Extensions["code"].(string)
		}
		if got != code {
			t.Errorf("%.150s: an answer of %d bytes, code %q", query, len(response.Data), got)
		}
	}
}

// A customer that a token names costs as much as one of a page.
func TestCustomersOfATokenCost(t *testing.T) {
	executor := newExecutor(dbtest.Open(t, db.SQLite))
	const query = `{ viewer { customers { users(first: 100) { nodes { id } } } } }`
	for named, want := range map[int]int{1: 4022, 20: 4022, 100: 20102} {
		caller := &auth.Principal{Subject: "many", ExpiresAt: moment}
		for number := range named {
			caller.CustomerNumbers = append(caller.CustomerNumbers, int64(number))
		}
		response := executor.Execute(auth.WithPrincipal(t.Context(), caller), graph.Request{Query: query})
		if refused := want > graph.DefaultLimits().Cost; response.Cost != want || refused != (len(response.Errors) > 0) {
			t.Errorf("%d customers: costs %d, errors %v", named, response.Cost, response.Errors)
		}
	}
}

// Nothing bounds how many subroles a customer and authorities a user has. What there is
// beyond those priced may cost as much again as a document, whoever writes the answer;
// stored documents are spared.
func TestLongListsCost(t *testing.T) {
	data := fixture()
	for n := range 509 { // and the one that is there: 500 beyond those priced
		subrole := *data.Subroles[0]
		subrole.ID, subrole.Code = models.ID(fmt.Sprintf("00000000-0000-4000-8001-%012d", n)), fmt.Sprintf("s%d", n)
		subrole.Description = strings.Repeat("d", 100)
		data.Subroles = append(data.Subroles, &subrole)
	}
	var all []int64
	for id := range int64(100) {
		all = append(all, 1_000+id)
		data.Authorities = append(data.Authorities, &models.Authority{ID: 1_000 + id, Name: fmt.Sprintf("ROLE_%d", id)})
	}
	for n := range 200 { // of Acme with 30 authorities, of Other with 100
		user := *data.Users[0]
		user.ID, user.Number, user.SubroleID = models.ID(fmt.Sprintf("00000000-0000-4000-8002-%012d", n)), int64(1_000+n), nil
		data.Granted[user.ID] = all[:30]
		if n >= 100 {
			user.CustomerID, data.Granted[user.ID] = other, all
		}
		data.Users = append(data.Users, &user)
	}
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, data)

	log := slog.New(slog.DiscardHandler)
	fast, plain := newExecutor(database), graph.NewPlainExecutor(wholeStore{database}, log, settings())
	long := strings.Repeat("x", 90)
	descriptions := func(n int) string { return numbered(long+"%d: description ", n) }
	const wholeUser = `id number username firstName lastName email mobile userType status enabled isEmailVerified isFirstLogin
		accountNonExpired accountNonLocked credentialsNonExpired createdAt createdBy updatedAt updatedBy lastPasswordResetAt extAuthRefId
		subrole { id code displayName label description } authorities { id name cleanName }`
	for name, test := range map[string]struct {
		query   string
		refused bool
	}{
		"subroles, all fields":             {`{ customer(id: $c) { subroles { id code displayName label description } } }`, false},
		"subroles, by many names":          {`{ customer(id: $c) { ` + numbered("a%d: subroles { ...F } ", 20) + `} } fragment F on Subrole { ` + descriptions(45) + `}`, true},
		"of the customer of each user":     {`{ customer(id: $c) { users(first: 100) { nodes { customer { subroles { id } } } } } }`, true},
		"of the customer of a few users":   {`{ customer(id: $c) { users(first: 10) { nodes { customer { subroles { id label } } } } } }`, false},
		"without any field":                {`{ customer(id: $c) { ` + numbered("a%d: subroles { id @skip(if: true) } ", 30) + `} }`, true},
		"exactly what is allowed":          {`{ customer(id: $c) { subroles { ` + descriptions(20) + `} } }`, false},
		"one more":                         {`{ customer(id: $c) { subroles { ` + descriptions(21) + `} } }`, true},
		"the same field twice":             {`{ customer(id: $c) { subroles { ...F ...F } } } fragment F on Subrole { ` + descriptions(20) + `}`, false},
		"in several root fields":           {`{ a: customer(id: $c) { ...F } b: customer(id: $c) { ...F } } fragment F on Customer { subroles { ` + descriptions(10) + `} users { totalCount } }`, false},
		"in several root fields, one more": {`{ a: customer(id: $c) { ...F } b: customer(id: $c) { ...F } } fragment F on Customer { subroles { ` + descriptions(11) + `} users { nodes { id } } }`, true},
		"paid for once":                    {`{ customer(id: $c) { subroles { ` + descriptions(18) + `} users(first: 1) { nodes { customer { users(first: 1) { nodes { id } } } } } } }`, false},
		"by node":                          {`{ node(id: $c) { ... on Customer { subroles { ` + descriptions(21) + `} } } }`, true},
		"authorities, the largest page":    {`{ customer(id: $c) { users(first: 100, orderBy: {field: NUMBER, direction: DESC}) { nodes { ` + wholeUser + ` } } } }`, false},
		"authorities, all fields":          {`{ customer(id: $o) { users(first: 100) { nodes { authorities { id name cleanName } } } } }`, true},
		"authorities, one field":           {`{ customer(id: $o) { users(first: 100) { nodes { authorities { name } } } } }`, false},
		"authorities, by edges":            {`{ customer(id: $o) { users(first: 100) { edges { node { a: authorities { id } b: authorities { id } } } } } }`, true},
		"authorities of one user":          {`{ customer(id: $o) { user(id: "00000000-0000-4000-8002-000000000100") { authorities { ` + numbered("a%d: name ", 100) + `} } } }`, false},
		"authorities of one user, by many": {`{ customer(id: $o) { user(id: "00000000-0000-4000-8002-000000000100") { authorities { ` + numbered("a%d: name ", 110) + `} } } }`, true},
	} {
		request := graph.Request{Query: strings.NewReplacer("$c", `"`+string(acme)+`"`, "$o", `"`+string(other)+`"`).Replace(test.query)}
		want := plain.Execute(as(t, "admin"), request)
		for range 2 { // what is selected is kept from the first time
			got := fast.Execute(as(t, "admin"), request)
			if answer(t, got) != answer(t, want) {
				t.Errorf("%s: %.300s %v\nand from gqlgen %.300s %v", name, got.Data, got.Errors, want.Data, want.Errors)
			}
			refused := len(got.Errors) == 1 && got.Data == nil && got.Errors[0].Extensions["code"] == "COMPLEXITY_LIMIT_EXCEEDED" &&
				strings.Contains(got.Errors[0].Message, "may cost at most 10000")
			if refused != test.refused || !refused && len(got.Errors) > 0 {
				t.Errorf("%s: costs %d, %d bytes, errors %v", name, got.Cost, len(got.Data), got.Errors)
			}
			if got.Cost == 0 || got.Cost > graph.DefaultLimits().Cost {
				t.Errorf("%s: costs %d, and is to be refused for its lists only", name, got.Cost)
			}
		}
	}
	request := graph.Request{Query: `{ customerByNumber(number: 2) { users(first: 1000) { nodes { authorities { id name cleanName } } } } }`}
	for _, executor := range []*graph.Executor{fast, plain} {
		if stored := executor.ExecuteStored(as(t, "admin"), request); len(stored.Errors) > 0 || strings.Count(string(stored.Data), `"name"`) < 10_000 {
			t.Errorf("stored: %.300s %v", stored.Data, stored.Errors)
		}
	}
}

// What GraphiQL asks at start, and the largest page a dashboard would ask for,
// pass with the defaults.
func TestSensibleDocumentsPass(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	executor := newExecutor(database)
	for name, query := range map[string]string{
		"introspection": introspectionQuery,
		"dashboard": `query Dashboard { viewer { subject authorities } customerByNumber(number: 1) { id name subroles { id code displayName }
			users(page: {number: 1, size: 100}, filter: {search: "a", status: {in: [ACTIVE, INVITED]}}, orderBy: {field: NAME, direction: ASC}) {
				totalCount totalPages pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
				nodes { id number username firstName lastName email mobile userType status enabled isEmailVerified isFirstLogin
					accountNonExpired accountNonLocked credentialsNonExpired createdAt createdBy updatedAt updatedBy lastPasswordResetAt extAuthRefId
					subrole { id code displayName label description } authorities { id name cleanName } } } } }`,
	} {
		response := executor.Execute(as(t, "member"), graph.Request{Query: query})
		if len(response.Errors) > 0 {
			t.Errorf("%s: %v", name, response.Errors)
		}
		t.Logf("%s costs %d", name, response.Cost)
	}
}

// introspectionQuery is the one of the GraphQL reference implementation, which GraphiQL sends.
const introspectionQuery = `query IntrospectionQuery {
  __schema { description queryType { name kind } mutationType { name kind } subscriptionType { name kind }
    types { ...FullType }
    directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } } } }
fragment FullType on __Type { kind name description specifiedByURL isOneOf
  fields(includeDeprecated: true) { name description args(includeDeprecated: true) { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
  inputFields(includeDeprecated: true) { ...InputValue }
  interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
  ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }`

// Long, odd and foreign texts are searched for like any other.
func TestOddSearches(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		dbtest.Fill(t, database, fixture())
		executor := newExecutor(database)
		for name, search := range map[string]string{
			"emoji": "👩🏽‍💻", "right to left": "مريم", "10,000 letters": strings.Repeat("x", 10_000), "10,000 dotted": strings.Repeat("İ", 10_000),
			"signs": `%_!\'"?$1;--`, "spaces": " \t\n\u00a0", "combining": strings.Repeat("\u0301", 500),
		} {
			response := executor.Execute(as(t, "member"), graph.Request{
				Query:     `query ($s: String) { customerByNumber(number: 1) { users(filter: {search: $s}) { totalCount nodes { id } } } }`,
				Variables: map[string]any{"s": search},
			})
			if len(response.Errors) > 0 {
				t.Errorf("%s: %v", name, response.Errors)
			}
		}
		response := executor.Execute(as(t, "member"), graph.Request{
			Query:     `query ($s: String) { customerByNumber(number: 1) { users(filter: {search: $s}) { totalCount } } }`,
			Variables: map[string]any{"s": numbered("w%d ", 51)},
		})
		if len(response.Errors) != 1 || !strings.Contains(response.Errors[0].Message, "51 conditions; at most 50 are allowed") {
			t.Errorf("51 words: %v", response.Errors)
		}
	})
}

// The limits of what is below __schema hold below __type as well.
func TestLimitsBelowType(t *testing.T) {
	ofType := func(levels int) string {
		return strings.Repeat("ofType { ", levels) + "name" + strings.Repeat(" }", levels)
	}
	long := strings.Repeat("x", 90)
	for name, test := range map[string]struct{ query, code string }{
		"deep":             {`{ __type(name: "User") { ` + ofType(18) + " } }", ""},
		"too deep":         {`{ __type(name: "User") { ` + ofType(19) + " } }", "MAX_RECURSIVE_SELECTIONS_EXCEEDED"},
		"schema, deep":     {`{ __schema { queryType { ` + ofType(17) + " } } }", ""},
		"schema, too deep": {`{ __schema { queryType { ` + ofType(18) + " } } }", "MAX_RECURSIVE_SELECTIONS_EXCEEDED"},
		"fields":           {`{ __type(name: "User") { ` + numbered("a%d: name ", 330) + " } }", ""},
		"aliases":          {`{ __type(name: "User") { ` + numbered(long+"%d: name ", 40) + " } }", ""},
		"long aliases":     {`{ __type(name: "User") { ` + numbered(long+"%d: name ", 50) + " } }", "MAX_RECURSIVE_SELECTIONS_EXCEEDED"},
	} {
		response := newExecutor(nil).Execute(as(t, "nobody"), graph.Request{Query: test.query})
		got := ""
		if len(response.Errors) > 0 {
			got = response.Errors[0].Extensions["code"].(string)
		}
		if got != test.code {
			t.Errorf("%s: code %q, want %q: %v", name, got, test.code, response.Errors)
		}
	}
}

// What is allowed is allowed to the last level, field and cost.
func TestLimitsAreInclusive(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	run := func(limits graph.Limits) string {
		s := settings()
		s.Limits = limits
		response := graph.NewExecutor(database, slog.New(slog.DiscardHandler), s).Execute(as(t, "member"),
			graph.Request{Query: `{ customerByNumber(number: 1) { users { nodes { id } } } }`})
		if len(response.Errors) > 0 {
			return response.Errors[0].Extensions["code"].(string)
		}
		return ""
	}
	// Four levels, four fields; the cost is 1 + 1 + 20 * (1 + 1).
	exact := graph.Limits{Tokens: 1_000, Depth: 4, Selections: 4, Cost: 42}
	if code := run(exact); code != "" {
		t.Errorf("exactly what is allowed: %s", code)
	}
	for want, less := range map[string]graph.Limits{
		"MAX_RECURSIVE_SELECTIONS_EXCEEDED":  {Tokens: 1_000, Depth: 3, Selections: 4, Cost: 42},
		"MAX_RECURSIVE_SELECTIONS_EXCEEDED ": {Tokens: 1_000, Depth: 4, Selections: 3, Cost: 42},
		"COMPLEXITY_LIMIT_EXCEEDED":          {Tokens: 1_000, Depth: 4, Selections: 4, Cost: 41},
	} {
		if code := run(less); code != strings.TrimSpace(want) {
			t.Errorf("less than that: %q, want %s", code, want)
		}
	}
}

// What is part of the program is not priced: an operator who allows callers little does
// not turn the legacy APIs off.
func TestStoredDocumentsHaveNoPrice(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	tight := settings()
	tight.Limits = graph.Limits{Tokens: 200, Depth: 1, Selections: 1, Cost: 1}
	executor := graph.NewExecutor(database, slog.New(slog.DiscardHandler), tight)
	request := graph.Request{Query: `{ customerByNumber(number: 1) { users { nodes { id } } } }`}
	if response := executor.ExecuteStored(as(t, "member"), request); len(response.Errors) > 0 {
		t.Errorf("%v", response.Errors)
	}
	if response := executor.Execute(as(t, "member"), request); len(response.Errors) != 1 {
		t.Errorf("a caller's own document: %v", response.Errors)
	}
}

// Every price of docs/graphql.md is what a document costs.
func TestPrices(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	executor := newExecutor(database)
	users := func(selection string) string {
		return "{ customerByNumber(number: 1) { users(first: 7) { " + selection + " } } }"
	}
	for query, want := range map[string]int{
		users("nodes { id }"):                                 1 + 1 + 7*(1+1),
		users("edges { cursor node { id } }"):                 1 + 1 + 7*(1+1+1+1),
		users("pageInfo { hasNextPage }"):                     1 + 1 + 1 + 1,
		users("totalCount"):                                   1 + 1 + 10,
		users("totalPages"):                                   1 + 1 + 10,
		users("nodes { authorities { id name } }"):            1 + 1 + 7*(1+1+5*2),
		"{ customers(first: 7) { nodes { id } } }":            1 + 7*(1+1),
		"{ customers(last: 7) { edges { node { id } } } }":    1 + 7*(1+1+1),
		"{ customers(page: {size: 7}) { totalCount } }":       1 + 10,
		"{ customers { totalPages } }":                        1 + 10,
		"{ customers { nodes { id } } }":                      1 + 20*(1+1),
		"{ customerByNumber(number: 1) { subroles { id } } }": 1 + 1 + 10*1,
		"{ viewer { customers { id } } }":                     1 + 1 + 20*1,
	} {
		response := executor.Execute(as(t, "member"), graph.Request{Query: query})
		if len(response.Errors) > 0 || response.Cost != want {
			t.Errorf("%s costs %d, want %d; errors %v", query, response.Cost, want, response.Errors)
		}
	}
}

// A document that weighs more than a number holds is refused like one that weighs too
// much.
func TestWeightsSaturate(t *testing.T) {
	for n := 61; n <= 90; n++ {
		response := newExecutor(nil).Execute(as(t, "member"), graph.Request{Query: levels(n)})
		if len(response.Errors) != 1 || response.Errors[0].Extensions["code"] != "MAX_RECURSIVE_SELECTIONS_EXCEEDED" {
			t.Errorf("%d levels: %v", n, response.Errors)
		}
	}
}

// A message repeats no more of a document than helps.
func TestMessagesAreShort(t *testing.T) {
	response := newExecutor(nil).Execute(as(t, "member"), graph.Request{Query: "{ " + strings.Repeat("x", 60_000) + " }"})
	if len(response.Errors) != 1 || len(response.Errors[0].Message) > 1_010 || !strings.HasSuffix(response.Errors[0].Message, "…") {
		t.Errorf("%d errors, %.2000v", len(response.Errors), response.Errors)
	}
}

// Values are checked inside fragments too, and a validation ends with the first error too
// many.
func TestValuesInFragments(t *testing.T) {
	const huge = "customerByNumber(number: 99999999999999999999999) { id }"
	for query, want := range map[string]string{
		"{ ... { " + huge + " } }":                                                                      "number: a number is out of range",
		"{ ...F } fragment F on Query { " + huge + " }":                                                 "number: a number is out of range",
		"query ($x: Boolean = true) { viewer { ... @include(if: $x) { subject } } }":                    "@include(if:) needs true or false",
		"query ($x: Boolean = true) { viewer { ...F } } fragment F on Viewer { subject @skip(if: $x) }": "@skip(if:) needs true or false",
	} {
		response := newExecutor(nil).Execute(as(t, "member"), graph.Request{Query: query, Variables: map[string]any{"x": nil}})
		if len(response.Errors) != 1 || !strings.Contains(response.Errors[0].Message, want) {
			t.Errorf("%s: %v", query, response.Errors)
		}
	}
	response := newExecutor(nil).Execute(as(t, "member"), graph.Request{Query: hostileDocuments["many conflicting fields"].query})
	if n := len(response.Errors); n != 11 || response.Errors[10].Message != "1 or more errors are not listed" {
		t.Errorf("%d errors, the last one: %v", n, response.Errors[n-1])
	}
}
