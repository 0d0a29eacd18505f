package graph_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
)

// downStore fails at everything.
type downStore struct {
	graph.Store
	err error
}

// CustomerByNumber fails, or waits until the request's time is over.
func (s downStore) CustomerByNumber(ctx context.Context, _ models.Scope, _ int64) (*models.Customer, error) {
	if s.err == nil {
		<-ctx.Done()
		return nil, &models.Error{Code: models.CodeTimeout, Message: "The answer took too long.", Err: ctx.Err()}
	}
	return nil, s.err
}

// An answer in which nothing could be read says so by its status, whichever type
// the client reads, and tells nothing of the cause.
func TestWhenNothingCanBeRead(t *testing.T) {
	cause := errors.New("dial tcp 10.0.0.1:5432: SELECT secret")
	for name, test := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"unavailable": {&models.Error{Code: models.CodeUnavailable, Message: "Try again.", Err: cause}, 503, "SERVICE_UNAVAILABLE"},
		"timeout":     {&models.Error{Code: models.CodeTimeout, Message: "Too long.", Err: cause}, 504, "TIMEOUT"},
		"too late":    {nil, 504, "TIMEOUT"},
		"internal":    {cause, 500, "INTERNAL_SERVER_ERROR"},
	} {
		for _, accept := range []string{"application/json", "application/graphql-response+json"} {
			t.Run(name+" "+accept, func(t *testing.T) {
				var log strings.Builder
				executor := graph.NewExecutor(downStore{err: test.err}, slog.New(slog.NewTextHandler(&log, nil)), settings())
				handler := graph.NewHandler(executor, maxBody)
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ctx, cancel := context.WithCancel(graph.WithRequestID(auth.WithPrincipal(r.Context(), callers["member"]), "the-request"))
					defer cancel()
					if test.err == nil {
						var end context.CancelFunc
						ctx, end = context.WithTimeout(ctx, time.Millisecond)
						defer end()
					}
					handler.ServeHTTP(w, r.WithContext(ctx))
				}))
				defer server.Close()
				response, body := send(t, "POST", server.URL, `{"query":"{ customerByNumber(number: 1) { name } }"}`, "Accept", accept)
				if response.StatusCode != test.status || !strings.Contains(body, test.code) || !strings.Contains(body, `"requestId":"the-request"`) || strings.Contains(body, `"data"`) {
					t.Errorf("%d %s", response.StatusCode, body)
				}
				if (response.Header.Get("Retry-After") != "") != (test.status != 500) {
					t.Errorf("Retry-After is %q", response.Header.Get("Retry-After"))
				}
				for _, text := range []string{body, log.String()} {
					if strings.Contains(text, "secret") || strings.Contains(text, "10.0.0.1") {
						t.Errorf("the cause shows: %s", text)
					}
				}
				if !strings.Contains(log.String(), "the-request") {
					t.Errorf("the log does not know the request: %s", log.String())
				}
			})
		}
	}
}

// The log has a failure when the time for an answer is over, and none when its client has
// left.
func TestWhoLeavesIsNoFailure(t *testing.T) {
	for name, test := range map[string]struct {
		over   func(context.Context) (context.Context, context.CancelFunc)
		logged bool
	}{
		"left":     {func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }, false},
		"too late": {func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 0) }, true},
	} {
		var log strings.Builder
		executor := graph.NewExecutor(downStore{}, slog.New(slog.NewTextHandler(&log, nil)), settings())
		ctx, cancel := test.over(as(t, "member"))
		cancel()
		response := executor.Execute(ctx, graph.Request{Query: "{ customerByNumber(number: 1) { name } }"})
		if len(response.Errors) != 1 || response.Errors[0].Extensions["code"] != "TIMEOUT" || (log.Len() > 0) != test.logged {
			t.Errorf("%s: %v; the log has %q", name, response.Errors, log.String())
		}
	}
}

// What could be read stands when something else could not.
func TestWhenSomethingCanBeRead(t *testing.T) {
	executor := graph.NewExecutor(downStore{err: errors.New("down")}, slog.New(slog.DiscardHandler), settings())
	handler := graph.NewHandler(executor, maxBody)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(auth.WithPrincipal(r.Context(), callers["member"])))
	}))
	defer server.Close()
	response, body := send(t, "POST", server.URL, `{"query":"{ viewer { subject } customerByNumber(number: 1) { name } }"}`)
	if response.StatusCode != 200 || !strings.Contains(body, `"data":{"viewer":{"subject":"member"},"customerByNumber":null}`) {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}

// What there is not is an answer, and stands beside what could not be read.
func TestNothingThereIsAnAnswer(t *testing.T) {
	target := serve(t, settings())
	const nobody = `a: node(id: "00000000-0000-4000-8000-000000000000") { id }`
	for query, want := range map[string]string{
		`{ ` + nobody + ` b: node(id: "x") { id } }`: `"data":{"a":null,"b":null}`,
		`{ ` + nobody + ` }`:                         `{"data":{"a":null}}`,
	} {
		if response, body := send(t, "POST", target, `{"query":`+strconv.Quote(query)+`}`); response.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", query, response.StatusCode, body)
		}
	}
}

// brokenAuthorities has no authorities to give.
type brokenAuthorities struct{ graph.Store }

// Authorities fails.
func (brokenAuthorities) Authorities(context.Context) ([]*models.Authority, error) {
	return nil, errors.New("down")
}

// AuthoritiesByUser fails.
func (brokenAuthorities) AuthoritiesByUser(context.Context, models.Scope, []models.ID) (map[models.ID][]*models.Authority, error) {
	return nil, errors.New("down")
}

// A statement that fails for a whole list is a few lines in the log.
func TestLogOfAListThatFailsIsShort(t *testing.T) {
	var log strings.Builder
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	executor := graph.NewExecutor(brokenAuthorities{database}, slog.New(slog.NewTextHandler(&log, nil)), settings())
	response := executor.Execute(as(t, "member"), graph.Request{Query: aliases(20, `customer(id: "`+string(acme)+`") { users { nodes { authorities { id } } } }`)})
	if lines := strings.Count(log.String(), "\n"); len(response.Errors) != 11 || lines != 10 {
		t.Errorf("%d errors, %d lines in the log", len(response.Errors), lines)
	}
}

// The log names what the database said wherever in an error it is, and repeats no
// text, in which a value may stand.
func TestCauseNamesJoinedErrors(t *testing.T) {
	failure := &pgconn.PgError{Code: "42501", Message: "hush-hush"}
	for want, err := range map[string]error{
		"*pgconn.PgError 42501":                  failure,
		"*fmt.wrapError < *pgconn.PgError 42501": fmt.Errorf("hush-hush: %w", failure),
		"*errors.errorString":                    errors.New("hush-hush"),
		"*errors.joinError < [*errors.errorString, *fmt.wrapError < *pgconn.PgError 42501]": errors.Join(errors.New("hush-hush"), fmt.Errorf("hush-hush: %w", failure)),
		"*fmt.wrapErrors < [*pgconn.PgError 42501, *errors.errorString]":                    fmt.Errorf("%w and %w", failure, errors.New("hush-hush")),
	} {
		if got := graph.Cause(&models.Error{Code: models.CodeInternal, Message: "hush-hush", Err: err}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// changingStore has something change between the statement that reads users and those
// that read what belongs to them.
type changingStore struct {
	graph.Store
	change func()
}

// UsersByID gives users as they were before the change.
func (s changingStore) UsersByID(ctx context.Context, scope models.Scope, ids []models.ID) (map[models.ID]*models.User, error) {
	users, err := s.Store.UsersByID(ctx, scope, ids)
	s.change()
	return users, err
}

// CustomerAndUsers gives users as they were before the change.
func (s changingStore) CustomerAndUsers(ctx context.Context, scope models.Scope, query models.UserQuery) (*models.Customer, *models.UserPage, error) {
	customer, page, err := s.Store.CustomerAndUsers(ctx, scope, query)
	s.change()
	return customer, page, err
}

// A user who has a subrole at every moment is never shown without one, and one that is
// deleted with its customer meanwhile is no failure of the server.
func TestChangesWhileAQueryRuns(t *testing.T) {
	const (
		ayse    = "00000000-0000-4000-8000-000000000001"
		subrole = "subrole { code }"
	)
	list := `{ customer(id: "` + string(acme) + `") { users(filter: { id: { eq: "` + ayse + `" } }) { nodes { ` + subrole + ` } } } }`
	moved := []string{
		`INSERT INTO subroles (id, customer_id, code, display_name, label, description, code_key)
			SELECT '00000000-0000-4000-8000-0000000000c9', customer_id, 'new', '', '', '', 'new' FROM subroles WHERE customer_id = '` + string(acme) + `'`,
		`UPDATE users SET subrole_id = '00000000-0000-4000-8000-0000000000c9' WHERE id = '` + ayse + `'`,
		`DELETE FROM subroles WHERE customer_id = '` + string(acme) + `' AND code = 'cro'`,
	}
	deleted := []string{"DELETE FROM user_authorities", "DELETE FROM users", "DELETE FROM subroles", "DELETE FROM customers"}
	for _, test := range []struct {
		name, query string
		changes     []string
		wants       string
	}{
		{"a subrole in a list", list, moved, `"code": "new"`},
		{"a subrole of a node", `{ node(id: "` + ayse + `") { ... on User { ` + subrole + ` } } }`, moved, `"code": "new"`},
		{"a subrole of a user", `{ customer(id: "` + string(acme) + `") { user(id: "` + ayse + `") { ` + subrole + ` } } }`, moved, `"code": "new"`},
		{"the customer of a node", `{ node(id: "` + ayse + `") { ... on User { customer { name } } } }`, deleted, `"NOT_FOUND"`},
		{"the customer of a user", `{ customer(id: "` + string(acme) + `") { user(id: "` + ayse + `") { customer { name } } } }`, deleted, `"name": "Acme"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			database := dbtest.Open(t, db.SQLite)
			dbtest.Fill(t, database, fixture())
			writer := dbtest.Connect(t, database)
			change := sync.OnceFunc(func() {
				for _, statement := range test.changes {
					if _, err := writer.ExecContext(t.Context(), statement); err != nil {
						t.Error(err)
					}
				}
			})
			got := answer(t, newExecutor(changingStore{database, change}).Execute(as(t, "admin"), graph.Request{Query: test.query}))
			if !strings.Contains(got, test.wants) || strings.Contains(got, "INTERNAL_SERVER_ERROR") {
				t.Error(got)
			}
		})
	}
}

// An answer over HTTP of which a part could not be read: the rest stands, in JSON that can
// be read.
func TestPartOfAnAnswer(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	executor := graph.NewExecutor(brokenStore{database, map[string]error{"subroles": errors.New("down")}}, slog.New(slog.DiscardHandler), settings())
	handler := graph.NewHandler(executor, maxBody)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(auth.WithPrincipal(r.Context(), callers["member"])))
	}))
	defer server.Close()
	response, body := send(t, "POST", server.URL, `{"query":"{ customerByNumber(number: 1) { users { nodes { email subrole { code } } } } }"}`)
	var answer struct {
		Errors []struct{ Path []any }
		Data   struct {
			CustomerByNumber struct {
				Users struct{ Nodes []struct{ Email string } }
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if response.StatusCode != 200 || len(answer.Errors) == 0 || len(answer.Data.CustomerByNumber.Users.Nodes) != 3 {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}

// panickingStore panics with a value that nobody may read.
type panickingStore struct{ graph.Store }

func (panickingStore) CustomerByNumber(context.Context, models.Scope, int64) (*models.Customer, error) {
	panic("a secret")
}

// A panic in a resolver is told to the log, with the request's id and without its value.
func TestPanicInTheLog(t *testing.T) {
	var log strings.Builder
	executor := graph.NewExecutor(panickingStore{}, slog.New(slog.NewTextHandler(&log, nil)), settings())
	response := executor.Execute(as(t, "member"), graph.Request{Query: `{ customerByNumber(number: 1) { name } }`})
	if len(response.Errors) != 1 || response.Errors[0].Message != models.InternalMessage || response.Errors[0].Extensions["requestId"] != "the-request" {
		t.Errorf("%v", response.Errors)
	}
	if text := log.String(); !strings.Contains(text, "msg=panic requestId=the-request type=string") || !strings.Contains(text, "failure_test.go") || strings.Contains(text, "a secret") {
		t.Errorf("the log has %s", text)
	}
}
