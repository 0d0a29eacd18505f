package graph_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The customers and callers of the tests.
const (
	acme  = models.ID("00000000-0000-4000-8000-00000000000a")
	other = models.ID("00000000-0000-4000-8000-00000000000b")
)

var callers = map[string]*auth.Principal{
	"admin":         {Subject: "admin", Authorities: []string{auth.RoleAdmin}, ExpiresAt: moment},
	"own-admin":     {Subject: "own-admin", Authorities: []string{auth.RoleAdmin}, CustomerNumbers: []int64{1}, ExpiresAt: moment},
	"member":        {Subject: "member", Authorities: []string{"ROLE_USER"}, CustomerIDs: []models.ID{acme}, ExpiresAt: moment},
	"by-number":     {Subject: "by-number", CustomerNumbers: []int64{1}, ExpiresAt: moment},
	"member-of-two": {Subject: "member-of-two", CustomerIDs: []models.ID{acme, "00000000-0000-4000-8000-00000000000c"}, CustomerNumbers: []int64{3}, ExpiresAt: moment},
	"stranger":      {Subject: "stranger", CustomerIDs: []models.ID{other}, ExpiresAt: moment},
	"nobody":        {Subject: "nobody", ExpiresAt: moment},
}

var moment = time.Date(2024, 2, 12, 14, 16, 49, 53_000_000, time.UTC)

// fixture is two customers: Acme with three users that differ in everything,
// and Other with one.
func fixture() *dbtest.Data {
	cro := &models.Subrole{ID: "00000000-0000-4000-8000-0000000000c1", CustomerID: acme, Code: "cro", DisplayName: "CRO", Label: "CRO", Description: "Revenue & more"}
	foreign := &models.Subrole{ID: "00000000-0000-4000-8000-0000000000c2", CustomerID: other, Code: "cro", DisplayName: "CRO of Other", Label: "CRO", Description: ""}
	user := func(n int, customer models.ID, first, last, email string) *models.User {
		return &models.User{
			ID: models.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)), Number: int64(n), CustomerID: customer,
			FirstName: first, LastName: last, Email: email, Status: models.StatusActive,
			AccountNonExpired: true, AccountNonLocked: true, CredentialsNonExpired: true,
			CreatedAt: moment.Add(time.Duration(n) * time.Hour), UpdatedAt: moment.Add(time.Duration(n) * 2 * time.Hour),
		}
	}
	ayse := user(1, acme, "Ayşe", "Yazıcıoğlu", "ayse@example.com")
	ayse.Username, ayse.Mobile, ayse.UserType = new("ayse"), new("+90 555"), new("LDAP")
	ayse.SubroleID, ayse.CreatedBy, ayse.UpdatedBy, ayse.ExtAuthRefID = &cro.ID, new(ayse.ID), new(ayse.ID), new(other)
	ayse.IsEmailVerified, ayse.LastPasswordResetAt = true, new(moment)
	bob := user(2, acme, "Bob", "O'Brien 100%", "bob@example.com")
	bob.Status, bob.IsFirstLogin = models.StatusInvited, true
	empty := user(3, acme, "", "", "empty@example.com")
	empty.Status, empty.AccountNonLocked = models.StatusInactive, false
	stranger := user(4, other, "Ayşe", "Stranger", "secret@other.example")
	stranger.SubroleID = &foreign.ID
	return &dbtest.Data{
		Customers: []*models.Customer{
			{ID: acme, Number: 1, CompanyID: new(int64(11)), Name: "Acme", CreatedAt: moment, UpdatedAt: moment},
			{ID: other, Number: 2, Name: "Other", CreatedAt: moment, UpdatedAt: moment},
		},
		Subroles:    []*models.Subrole{cro, foreign},
		Authorities: []*models.Authority{{ID: 1, Name: "ROLE_ADMIN"}, {ID: 3, Name: "ROLE_USER", CleanName: new("User")}},
		Users:       []*models.User{ayse, bob, empty, stranger},
		Granted:     map[models.ID][]int64{ayse.ID: {3, 1}, bob.ID: {3}, stranger.ID: {1}},
	}
}

func settings() graph.Settings {
	return graph.Settings{Limits: graph.DefaultLimits(), Introspection: true, CacheBytes: 1 << 20}
}

func newExecutor(store graph.Store) *graph.Executor {
	return graph.NewExecutor(store, slog.New(slog.DiscardHandler), settings())
}

// as gives the context of a request by one of the callers.
func as(t testing.TB, caller string) context.Context {
	t.Helper()
	principal, ok := callers[caller]
	if !ok {
		t.Fatalf("there is no caller %q", caller)
	}
	return graph.WithRequestID(auth.WithPrincipal(t.Context(), principal), "the-request")
}

// answer gives a response as indented JSON, for people to read in golden files.
func answer(t testing.TB, response graph.Response) string {
	t.Helper()
	whole := map[string]any{}
	if response.Data != nil {
		whole["data"] = json.RawMessage(response.Data)
	}
	if len(response.Errors) > 0 {
		whole["errors"] = response.Errors
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(whole); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// Each file of testdata is one question by one caller, with the answer and the
// number of SQL statements that it takes, on both engines.
func TestGoldenQueries(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		dbtest.Fill(t, database, fixture())
		statements := dbtest.Count(database)
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
				archive, err := txtar.ParseFile(file)
				if err != nil {
					t.Fatal(err)
				}
				section := map[string]string{}
				for _, f := range archive.Files {
					section[f.Name] = string(f.Data)
				}
				request := graph.Request{Query: section["query"]}
				if variables := strings.TrimSpace(section["variables"]); variables != "" {
					decoder := json.NewDecoder(strings.NewReader(variables))
					decoder.UseNumber()
					if err := decoder.Decode(&request.Variables); err != nil {
						t.Fatal(err)
					}
				}
				statements.Reset()
				// A new executor knows no subroles and authorities yet.
				response := newExecutor(database).Execute(as(t, strings.TrimSpace(section["caller"])), request)
				got := answer(t, response)
				gotStatements := strconv.Itoa(statements.N()) + "\n"
				if *update {
					for i := range archive.Files {
						switch archive.Files[i].Name {
						case "answer":
							archive.Files[i].Data = []byte(got)
						case "statements":
							archive.Files[i].Data = []byte(gotStatements)
						}
					}
					if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				if diff := cmp.Diff(section["answer"], got); diff != "" {
					t.Errorf("the answer differs (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(section["statements"], gotStatements); diff != "" {
					t.Errorf("the number of statements differs (-want +got):\n%s\n%s", diff, strings.Join(statements.Statements(), "\n"))
				}
			})
		}
	})
}

// A page takes the same statements whether it has 1 user or 100: the customer,
// the users and their count. The first one takes two more, for the customer's
// subroles and for the authorities, which are known from then on.
func TestStatementsDoNotGrowWithThePage(t *testing.T) {
	const query = `query ($size: Int!) { customerByNumber(number: 1) { name users(page: {size: $size}, orderBy: {field: NUMBER, direction: ASC}) {
		totalCount totalPages pageInfo { hasNextPage }
		nodes { firstName customer { name } subrole { code } authorities { name } } } } }`
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := fixture()
		for n := 100; n < 250; n++ {
			user := *data.Users[n%2]
			user.ID, user.Number = models.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)), int64(n)
			data.Users = append(data.Users, &user)
			data.Granted[user.ID] = []int64{1, 3}
		}
		dbtest.Fill(t, database, data)
		statements := dbtest.Count(database)
		executor := newExecutor(database)
		for i, size := range []int{1, 1, 100} {
			statements.Reset()
			response := executor.Execute(as(t, "member"), graph.Request{Query: query, Variables: map[string]any{"size": json.Number(strconv.Itoa(size))}})
			if len(response.Errors) > 0 || strings.Count(string(response.Data), `"firstName"`) != size {
				t.Fatalf("size %d: %.300s %v", size, response.Data, response.Errors)
			}
			if got, want := statements.N(), []int{5, 3, 3}[i]; got != want {
				t.Errorf("a page of %d took %d statements, want %d:\n%s", size, got, want, strings.Join(statements.Statements(), "\n"))
			}
		}
	})
}

// Another's customer and one that does not exist look the same and take the same
// statements, for every way to ask.
func TestForeignLooksLikeMissing(t *testing.T) {
	missing := map[string]string{
		`{ customer(id: %q) { name users { nodes { email } } } }`: "00000000-0000-4000-8000-0000000000ff",
		`{ node(id: %q) { id __typename } }`:                      "00000000-0000-4000-8000-0000000000ff",
		`{ customerByNumber(number: %s) { name } }`:               "99",
	}
	foreign := map[string][]string{
		`{ customer(id: %q) { name users { nodes { email } } } }`: {string(other)},
		`{ node(id: %q) { id __typename } }`:                      {string(other), "00000000-0000-4000-8000-000000000004", "00000000-0000-4000-8000-0000000000c2"},
		`{ customerByNumber(number: %s) { name } }`:               {"2"},
	}
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		dbtest.Fill(t, database, fixture())
		executor := newExecutor(database)
		statements := dbtest.Count(database)
		for _, caller := range []string{"member", "by-number", "member-of-two", "nobody"} {
			for query, ids := range foreign {
				ask := func(id string) (string, int) {
					statements.Reset()
					if strings.Contains(query, "%q") {
						id = strconv.Quote(id)
					}
					response := executor.Execute(as(t, caller), graph.Request{Query: strings.NewReplacer("%q", id, "%s", id).Replace(query)})
					return answer(t, response), statements.N()
				}
				want, wantN := ask(missing[query])
				for _, id := range ids {
					got, gotN := ask(id)
					if diff := cmp.Diff(want, got); diff != "" || gotN != wantN {
						t.Errorf("%s asks %s for %s: %d statements, want %d; (-missing +foreign):\n%s", caller, query, id, gotN, wantN, diff)
					}
					// A list that is read, though for nothing, takes as long as it is.
					for _, statement := range statements.Statements() {
						if strings.Contains(query, "users") && strings.Contains(statement, "users AS u") {
							t.Errorf("%s asks %s for %s, which runs %s", caller, query, id, statement)
						}
					}
				}
			}
		}
	})
}

// brokenStore fails at what a test wants to fail.
type brokenStore struct {
	graph.Store
	fail map[string]error
}

// Subroles fails when the test says so.
func (s brokenStore) Subroles(ctx context.Context, scope models.Scope, customer models.ID) ([]*models.Subrole, error) {
	if err := s.fail["subroles"]; err != nil {
		return nil, err
	}
	return s.Store.Subroles(ctx, scope, customer)
}

// Authorities panics when the test says so.
func (s brokenStore) Authorities(ctx context.Context) ([]*models.Authority, error) {
	if err := s.fail["authorities"]; err != nil {
		panic(err)
	}
	return s.Store.Authorities(ctx)
}

// A side field that fails loses only itself, and says nothing of the cause.
func TestFailingSideFieldsLoseOnlyThemselves(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	secret := fmt.Errorf("SELECT secret FROM vault: driver says no")
	var log bytes.Buffer
	executor := graph.NewExecutor(brokenStore{database, map[string]error{"subroles": secret, "authorities": secret}},
		slog.New(slog.NewTextHandler(&log, nil)), settings())
	response := executor.Execute(as(t, "member"), graph.Request{Query: `{ customerByNumber(number: 1) { users { nodes { email subrole { code } authorities { name } } } } }`})
	got := answer(t, response)
	if !strings.Contains(got, "ayse@example.com") || !strings.Contains(got, `"subrole": null`) || !strings.Contains(got, `"authorities": null`) {
		t.Errorf("the page was lost: %s", got)
	}
	if len(response.Errors) == 0 || response.Errors[0].Extensions["code"] != "INTERNAL_SERVER_ERROR" || response.Errors[0].Extensions["requestId"] != "the-request" {
		t.Errorf("want an internal error with the request id, got %v", response.Errors)
	}
	for _, text := range []string{got, log.String()} {
		if strings.Contains(text, "vault") || strings.Contains(text, "driver") {
			t.Errorf("the cause shows: %s", text)
		}
	}
}

func TestErrorsAreCapped(t *testing.T) {
	var query strings.Builder
	query.WriteString("{ viewer { subject } ")
	for n := range 40 {
		fmt.Fprintf(&query, "c%d: customer(id: \"nonsense\") { id } ", n)
	}
	query.WriteString("}")
	response := newExecutor(dbtest.Open(t, db.SQLite)).Execute(as(t, "member"), graph.Request{Query: query.String()})
	if len(response.Errors) != 11 || !strings.Contains(response.Errors[10].Message, "30 or more errors") {
		t.Errorf("got %d errors, the last one: %v", len(response.Errors), response.Errors[len(response.Errors)-1])
	}
}

// Sent by nobody, but readable by anyone: what a driver, a database or Go would say.
var neverShown = []string{"SELECT", "sqlite", "pq:", "SQLSTATE", "panic", "interface {}", "map[string]", "json: ", "strconv.", "*models.", "bun", "goroutine"}

// Every code of the closed set has a status of its own choosing.
func TestEveryCodeHasAStatus(t *testing.T) {
	for _, code := range models.Codes() {
		status := graph.HTTPStatus(code)
		if status == 500 && code != models.CodeInternal {
			t.Errorf("%s has no status", code)
		}
	}
	docs, err := os.ReadFile("../docs/graphql.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range models.Codes() {
		if !strings.Contains(string(docs), "| `"+string(code)+"` |") {
			t.Errorf("docs/graphql.md does not tell of %s", code)
		}
	}
	if graph.HTTPStatus("NEW") != 500 {
		t.Error("an unknown code must be a 500")
	}
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
