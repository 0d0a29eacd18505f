package graph_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
)

// FuzzDocument looks for a document, with its variables, that makes the endpoint
// panic, blame itself or answer in anything but JSON, or that is refused at length.
func FuzzDocument(f *testing.F) {
	golden, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(golden) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	for _, path := range golden {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		files := map[string]string{}
		for _, file := range archive.Files {
			files[file.Name] = string(file.Data)
		}
		f.Add(files["query"], files["variables"])
	}
	for _, query := range []string{
		"{ __schema { types { name fields(includeDeprecated: true) { name args { name defaultValue } type { name ofType { name } } } } } }",
		"", "{", "{}", "query A { viewer { subject } } query B { viewer { subject } }", "mutation { a }", "subscription { a }",
		"{ ...A } fragment A on Query { ...A }", "query ($a: ID = null) { node(id: $a) { id } }", `{ node(id: """x""") { ... on User { email } } }`,
		"{ customers(first: -1) { nodes { id } } }", "{ viewer { subject @skip(if: true) @include(if: false) } }", "{ __typename @deprecated }",
		"query ($a: [UserFilter!]!) { customerByNumber(number: 1) { users(filter: {and: $a}) { totalCount } } }",
		"{ customerByNumber(number: 99999999999999999999) { id } }", "\ufeff{ viewer { subject } }", "{ viewer { subject } \x00 }",
	} {
		f.Add(query, `{"a": null}`)
	}

	handler := graph.NewHandler(newExecutor(fuzzed(f)), maxBody)
	f.Fuzz(func(t *testing.T, query, variables string) {
		if strings.TrimSpace(variables) == "" {
			variables = "null"
		}
		text, err := json.Marshal(query)
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":`+string(text)+`,"variables":`+variables+"}"))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request.WithContext(as(t, "admin")))
		var answer struct {
			Data   json.RawMessage
			Errors []struct {
				Message    string
				Extensions struct{ Code models.Code }
			}
		}
		if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%v: %s", err, recorder.Body)
		}
		if recorder.Code >= http.StatusInternalServerError {
			t.Fatalf("%d %s", recorder.Code, recorder.Body)
		}
		for _, e := range answer.Errors {
			if !slices.Contains(models.Codes(), e.Extensions.Code) || e.Extensions.Code == models.CodeInternal {
				t.Fatalf("the code %q: %s", e.Extensions.Code, recorder.Body)
			}
		}
		if answer.Data == nil && (len(answer.Errors) == 0 || recorder.Body.Len() > maxBody) {
			t.Fatalf("refused with %d errors in %d bytes: %.1000s", len(answer.Errors), recorder.Body.Len(), recorder.Body)
		}
	})
}

// FuzzFilter looks for a filter that fails on our side, that reaches beyond the
// customer, or whose count is not that of the users it lists.
func FuzzFilter(f *testing.F) {
	for _, filter := range []string{
		`{}`, `null`, `{"search":"ayse yazicioglu"}`, `{"search":"%_\\'\""}`, `{"search":"\u0000"}`, `{"status":{"in":["ACTIVE"],"notIn":["INVITED"]}}`,
		`{"or":[{"email":{"contains":"EXAMPLE"}},{"not":{"subrole":{"eq":"cro"}}}]}`, `{"and":[],"or":[]}`, `{"not":{"not":{"not":{"not":{"enabled":true}}}}}`,
		`{"authority":{"anyOf":["ROLE_ADMIN"],"allOf":["ROLE_USER"],"noneOf":["X"]}}`, `{"authority":{"anyOf":[]}}`, `{"id":{"in":["00000000-0000-4000-8000-000000000004"]}}`,
		`{"createdAt":{"gte":"2024-02-12T14:16:49.053Z","lt":"9999-12-31T23:59:59.999Z"},"updatedAt":{"gt":"0000-01-01T00:00:00Z"}}`,
		`{"username":{"isNull":true},"mobile":{"startsWith":"+90"}}`, `{"lastName":{"eq":"O'Brien 100%"}}`, `{"createdBy":{"isNull":false},"extAuthRefId":{"eq":"x"}}`,
		`{"isEmailVerified":false,"isFirstLogin":true,"accountNonExpired":true,"accountNonLocked":null,"credentialsNonExpired":1}`, `{"nothing":1}`, `[{}]`,
	} {
		f.Add(filter)
	}
	executor := newExecutor(fuzzed(f))
	const query = `query ($filter: UserFilter) { customerByNumber(number: 1) { users(first: 100, filter: $filter) { totalCount nodes { number } } } }`
	f.Fuzz(func(t *testing.T, filter string) {
		decoder := json.NewDecoder(strings.NewReader(filter))
		decoder.UseNumber()
		var value any
		if decoder.Decode(&value) != nil {
			// What FuzzDocument sends as a body covers this.
			t.Skip("no JSON, which the endpoint refuses before it looks for a filter")
		}
		response := executor.Execute(as(t, "admin"), graph.Request{Query: query, Variables: map[string]any{"filter": value}})
		if len(response.Errors) > 0 {
			switch code := response.Errors[0].Extensions["code"]; code {
			case string(models.CodeBadUserInput), string(models.CodeTooComplex), string(models.CodeTooManySelections):
				return
			default:
				t.Fatalf("refused with %v", response.Errors)
			}
		}
		var answer struct {
			CustomerByNumber struct {
				Users struct {
					TotalCount int
					Nodes      []struct{ Number json.Number }
				}
			}
		}
		if err := json.Unmarshal(response.Data, &answer); err != nil {
			t.Fatal(err)
		}
		users := answer.CustomerByNumber.Users
		if users.TotalCount != len(users.Nodes) {
			t.Errorf("%d users are counted, and %d listed", users.TotalCount, len(users.Nodes))
		}
		for _, user := range users.Nodes {
			if user.Number == "4" {
				t.Error("a user of another customer is listed")
			}
		}
	})
}

// fuzzed is a database with the few users of the fixture.
func fuzzed(f *testing.F) graph.Store {
	f.Helper()
	database := dbtest.Open(f, db.SQLite)
	dbtest.Fill(f, database, fixture())
	return database
}
