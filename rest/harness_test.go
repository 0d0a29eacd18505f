package rest_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
	"roster/rest"
)

var update = flag.Bool("update", false, "write the golden files")

// callers are who may call in a test: the bearer token is the name.
type callers map[string]*auth.Principal

// authenticate stands in for the verification of tokens, which is not the shim's.
func (c callers) authenticate(refuse func(http.ResponseWriter, *http.Request, error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			caller, ok := c[name]
			if !ok {
				w.Header().Set("WWW-Authenticate", "Bearer")
				refuse(w, r, models.Errorf(models.CodeUnauthenticated, "This needs a bearer token."))
				return
			}
			next.ServeHTTP(w, r.WithContext(auth.WithPrincipal(r.Context(), caller)))
		})
	}
}

// theAdmin is the one caller of the tests that are not about who calls.
func theAdmin() callers {
	return callers{"admin": {Subject: "admin", Authorities: []string{auth.RoleAdmin}}}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func executor(store graph.Store) *graph.Executor {
	return graph.NewExecutor(store, quiet(), graph.Settings{Limits: graph.DefaultLimits(), CacheBytes: 1 << 20})
}

func configFor(database *db.DB) rest.Config {
	return rest.Config{
		Executor:     executor(database),
		Authenticate: theAdmin().authenticate,
		Log:          quiet(),
		Credentials:  database,
		Timeout:      time.Minute,
	}
}

// server is both APIs over real HTTP.
type server struct {
	*httptest.Server
}

func serve(t testing.TB, config rest.Config) *server {
	t.Helper()
	s := &server{httptest.NewServer(handler(config))}
	t.Cleanup(s.Close)
	return s
}

func handler(config rest.Config) http.Handler {
	apis := rest.Front(http.NotFoundHandler(), rest.NewWorth(config), rest.NewTestinium(config))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "the-request")
		apis.ServeHTTP(w, r.WithContext(graph.WithRequestID(r.Context(), "the-request")))
	})
}

// response is an answer, read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// String is what a test compares: status and body.
func (r response) String() string { return fmt.Sprintf("%d %s", r.status, r.body) }

// header changes one header of a request; an empty value removes it.
type header struct{ name, value string }

func as(caller string) header        { return header{"Authorization", "Bearer " + caller} }
func company(number string) header   { return header{"current-company-id", number} }
func accepting(coding string) header { return header{"Accept-Encoding", coding} }

// get asks as the admin for company 1 unless the headers say otherwise.
func (s *server) get(t testing.TB, path string, headers ...header) response {
	t.Helper()
	return s.do(t, http.MethodGet, path, headers...)
}

func (s *server) do(t testing.TB, method, path string, headers ...header) response {
	t.Helper()
	request := s.request(t, method, path, headers...)
	answer, err := s.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := readBody(answer)
	if err != nil {
		t.Fatal(err)
	}
	got := response{answer.StatusCode, answer.Header, string(body)}
	checkDocumented(t, request, got)
	return got
}

func (s *server) request(t testing.TB, method, path string, headers ...header) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer admin")
	request.Header.Set("Accept-Encoding", "identity")
	if strings.HasPrefix(path, rest.TestiniumPrefix) {
		request.Header.Set("current-company-id", "1")
	}
	for _, h := range headers {
		if h.value == "" {
			request.Header.Del(h.name)
		} else {
			request.Header.Set(h.name, h.value)
		}
	}
	return request
}

// golden compares with a file of testdata, byte for byte.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(read(t, path)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func open(t testing.TB, name string) io.Reader {
	t.Helper()
	return bytes.NewReader(read(t, filepath.Join("testdata", name)))
}

func worthUsers(customer models.ID, query string) string {
	return rest.WorthPrefix + "customers/" + string(customer) + "/users" + query
}

func testiniumUsers(customer int64) string {
	return fmt.Sprintf("%scustomers/%d/users/", rest.TestiniumPrefix, customer)
}

// fetch asks a handler of its own for a page.
func fetch(h http.Handler, path string) ([]byte, error) {
	s := httptest.NewServer(h)
	defer s.Close()
	answer, err := s.Client().Get(s.URL + path)
	if err != nil {
		return nil, err
	}
	return readBody(answer)
}

func readBody(answer *http.Response) ([]byte, error) {
	body, err := io.ReadAll(answer.Body)
	return body, errors.Join(err, answer.Body.Close())
}

// answerList answers a request for a Testinium list of 100 users without a network, in pages
// of as many as the change of the settings makes them. ended is what the handler panics with,
// as it does to cut an answer.
func answerList(t *testing.T, method string, change func(*rest.Config)) (answer *httptest.ResponseRecorder, ended any) {
	t.Helper()
	database := dbtest.Open(t, db.SQLite)
	data := dbtest.Users(100, 3)
	dbtest.Fill(t, database, data)
	config := configFor(database)
	change(&config)
	request := httptest.NewRequestWithContext(t.Context(), method, testiniumUsers(data.Customers[0].Number), nil)
	request.Header.Set("Authorization", "Bearer admin")
	request.Header.Set("current-company-id", "1")
	answer = httptest.NewRecorder()
	defer func() { ended = recover() }()
	handler(config).ServeHTTP(answer, request)
	return answer, nil
}
