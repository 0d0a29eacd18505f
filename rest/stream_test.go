package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
	"roster/rest"
)

// paged is an executor that reads Testinium's list in small pages and counts them.
type paged struct {
	rest.Executor
	size  int
	pages atomic.Int64
	// fail is the page that fails; 0 is none.
	fail int64
}

func (p *paged) ExecuteStored(ctx context.Context, request graph.Request) graph.Response {
	if n := p.pages.Add(1); n == p.fail {
		return graph.Response{Errors: gqlerror.List{{Message: "gone", Extensions: map[string]any{"code": string(models.CodeUnavailable)}}}}
	}
	if request.Variables["first"] == 1_000 {
		request.Variables["first"] = p.size
	}
	return p.Executor.ExecuteStored(ctx, request)
}

// All users come, in order, whatever the size of the pages they are read in.
func TestStream(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := dbtest.Users(2_000, 3)
		dbtest.Fill(t, database, data)
		for _, size := range []int{1_000, 999, 7} {
			for _, customer := range data.Customers {
				t.Run(fmt.Sprintf("%d/%d", size, customer.Number), func(t *testing.T) {
					config := configFor(database)
					config.Executor = &paged{Executor: config.Executor, size: size}
					got := serve(t, config).get(t, testiniumUsers(customer.Number))
					if diff := cmp.Diff("200 "+legacyList(t, data, customer), got.String()); diff != "" {
						t.Error(diff)
					}
				})
			}
		}
	})
}

// legacyList writes a customer's users as Testinium's document has them, from
// the test's own data and field by field.
func legacyList(t *testing.T, data *dbtest.Data, customer *models.Customer) string {
	t.Helper()
	users := slices.Clone(data.UsersOf(customer.ID))
	slices.SortFunc(users, func(a, b *models.User) int { return int(a.Number - b.Number) })
	records := []string{}
	for _, user := range users {
		records = append(records, legacyRecord(t, data, customer, user))
	}
	return "[" + strings.Join(records, ",") + "]"
}

func legacyRecord(t *testing.T, data *dbtest.Data, customer *models.Customer, user *models.User) string {
	t.Helper()
	authorities := []string{}
	for _, authority := range data.AuthoritiesOf(user.ID) {
		authorities = append(authorities, fmt.Sprintf(`{"entityId":%d,"name":%s,"cleanName":%s}`, authority.ID, asJSON(t, authority.Name), asJSON(t, authority.CleanName)))
	}
	var token, password *string
	for _, secret := range data.Credentials {
		if secret.UserID == user.ID {
			token, password = secret.AccessToken, secret.VCSPassword
		}
	}
	reset := "null"
	if user.LastPasswordResetAt != nil {
		reset = fmt.Sprint(user.LastPasswordResetAt.UnixMilli())
	}
	return fmt.Sprintf(`{"userType":%s,"verificationToken":null,"resetPasswordToken":null,"entityId":%d,"name":%s,"surname":%s,"username":%s,"email":%s,`+
		`"password":null,"newPassword":null,"accessToken":%s,"companyName":%s,"enabled":%t,"accountNonExpired":%t,"accountNonLocked":%t,"credentialNonExpired":%t,`+
		`"createdDate":%d,"customer":%d,"lastPasswordResetDate":%s,"authorities":[%s],"vcsPassword":%s}`,
		asJSON(t, user.UserType), user.Number, asJSON(t, user.FirstName), asJSON(t, user.LastName), asJSON(t, user.Username), asJSON(t, user.Email),
		asJSON(t, token), asJSON(t, customer.Name), user.Status == models.StatusActive, user.AccountNonExpired, user.AccountNonLocked, user.CredentialsNonExpired,
		user.CreatedAt.UnixMilli(), customer.Number, reset, strings.Join(authorities, ","), asJSON(t, password))
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// One user has the same record as in the list, and no other customer's is found.
func TestTestiniumUser(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := dbtest.Users(60, 3)
		dbtest.Fill(t, database, data)
		s := serve(t, configFor(database))
		for _, customer := range data.Customers {
			for _, user := range data.Users {
				want := fmt.Sprintf(`404 {"status":404,"error":"USER_NOT_FOUND","message":"This customer has no user %d."}`, user.Number)
				if user.CustomerID == customer.ID {
					want = "200 " + legacyRecord(t, data, customer, user)
				}
				got := s.get(t, fmt.Sprintf("%s%d", testiniumUsers(customer.Number), user.Number))
				if diff := cmp.Diff(want, got.String()); diff != "" {
					t.Error(diff)
				}
			}
		}
	})
}

// scripted is an executor that gives one answer after the other.
type scripted struct {
	answers []string
	asked   int
}

func (s *scripted) ExecuteStored(context.Context, graph.Request) graph.Response {
	s.asked++
	return graph.Response{Data: []byte(`{"customer":{"id":"` + string(sandbox) + `","number":1,"name":"x","users":` + s.answers[s.asked-1] + `}}`)}
}

// When the users after a page are deleted before the next one is read, that page is empty.
func TestEmptyPages(t *testing.T) {
	const (
		user = `{"id":"` + string(sandbox) + `","userType":null,"entityId":1,"name":"","surname":"","username":null,"email":"a@b","enabled":true,` +
			`"accountNonExpired":true,"accountNonLocked":true,"credentialNonExpired":true,` +
			`"createdDate":"2024-02-12T14:16:49.053Z","lastPasswordResetDate":null,"authorities":[]}`
		more  = `{"nodes":[` + user + `],"pageInfo":{"hasNextPage":true,"endCursor":"x"}}`
		empty = `{"nodes":[],"pageInfo":{"hasNextPage":false,"endCursor":null}}`
		hole  = `{"nodes":[],"pageInfo":{"hasNextPage":true,"endCursor":"x"}}`
	)
	for want, answers := range map[int][]string{
		0: {empty},
		1: {more, empty},
		2: {hole, more, hole, more, empty},
	} {
		config := configFor(nil)
		config.Executor, config.Credentials = &scripted{answers: answers}, nil
		got := serve(t, config).get(t, testiniumUsers(1))
		var list []any
		if err := json.Unmarshal([]byte(got.body), &list); err != nil || len(list) != want {
			t.Errorf("%d users are wanted: %v in %s", want, err, got)
		}
	}
}

// A failure in the middle of the array breaks the body: no client can take what
// has come for the whole list, compressed or not, over HTTP/1.1 or HTTP/2.
func TestFailureInTheMiddle(t *testing.T) {
	database := dbtest.Open(t, db.SQLite)
	data := dbtest.Users(100, 3)
	dbtest.Fill(t, database, data)
	path := testiniumUsers(data.Customers[0].Number)
	for _, http2 := range []bool{false, true} {
		for _, coding := range []string{"identity", "gzip", "zstd"} {
			t.Run(fmt.Sprintf("%s/%t", coding, http2), func(t *testing.T) {
				config := configFor(database)
				config.Executor = &paged{Executor: config.Executor, size: 10, fail: 3}
				s := &server{httptest.NewUnstartedServer(handler(config))}
				defer s.Close()
				s.EnableHTTP2 = http2
				s.StartTLS()
				answer, err := s.Client().Do(s.request(t, http.MethodGet, path, accepting(coding)))
				if err != nil {
					t.Fatal(err)
				}
				body, err := readBody(answer)
				if answer.StatusCode != http.StatusOK || (answer.ProtoMajor == 2) != http2 {
					t.Fatalf("%s %s", answer.Proto, answer.Status)
				}
				if err == nil {
					t.Errorf("the body of %d bytes ended in order", len(body))
				}
				if len(body) == 0 {
					t.Error("nothing had been sent")
				}
				plain, err := tryDecompress(coding, body)
				if json.Valid([]byte(plain)) || plain == "" {
					t.Errorf("what has come is nothing or a complete value: %q", plain)
				}
				if coding != "identity" && err == nil {
					t.Error("the compressed data ended in order")
				}
			})
		}
	}
}

// A failure before the array is an error like any other.
func TestFailureBeforeTheArray(t *testing.T) {
	s, data := filled(t, 100, func(config *rest.Config) {
		config.Executor = &paged{Executor: config.Executor, size: 10, fail: 1}
	})
	got := s.get(t, testiniumUsers(data.Customers[0].Number))
	if diff := cmp.Diff(`503 {"status":503,"error":"SERVICE_UNAVAILABLE","message":"gone"}`, got.String()); diff != "" {
		t.Error(diff)
	}
}

// noSecrets is a store of credentials that fails.
type noSecrets struct{ after int }

func (s *noSecrets) LegacyCredentialsByUser(context.Context, models.Scope, []models.ID) (map[models.ID]*models.LegacyCredentials, error) {
	s.after--
	if s.after < 0 {
		return nil, &models.Error{Code: models.CodeInternal, Message: "text of a driver"}
	}
	return nil, nil
}

func TestCredentialsFail(t *testing.T) {
	s, data := filled(t, 100, func(config *rest.Config) { config.Credentials = &noSecrets{} })
	got := s.get(t, testiniumUsers(data.Customers[0].Number))
	if diff := cmp.Diff(`500 {"status":500,"error":"INTERNAL_SERVER_ERROR","message":"`+models.InternalMessage+`"}`, got.String()); diff != "" {
		t.Error(diff)
	}
}

// smallBuffers makes connections that hold next to nothing on their way.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetWriteBuffer(32 << 10)
	}
	return conn, err
}

// Who reads slowly keeps only itself waiting: the one connection to the database
// is free while the server waits for the reader.
func TestSlowReader(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			data := dbtest.Users(3_000, 3)
			dbtest.Write(t, dbtest.ConnectURL(t, url), data)
			database, err := db.Open(t.Context(), url, db.Options{MaxConnections: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := database.Close(); err != nil {
					t.Error(err)
				}
			})
			config := configFor(database)
			counting := &paged{Executor: config.Executor, size: 50}
			config.Executor = counting
			s := &server{httptest.NewUnstartedServer(handler(config))}
			s.Listener = smallBuffers{s.Listener}
			s.Start()
			defer s.Close()

			customer := data.Customers[0]
			slow := s.open(t, testiniumUsers(customer.Number))
			body := bufio.NewReaderSize(slow.Body, 16)
			if _, err := body.ReadByte(); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if got := s.get(t, worthUsers(customer.ID, "")); got.status != http.StatusOK {
					t.Fatal(got)
				}
			}
			read, all := counting.pages.Load()-5, int64(len(data.UsersOf(customer.ID))/50)
			if read > all/2 {
				t.Errorf("%d of %d pages were read for a reader who took one byte", read, all)
			}
			rest, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(legacyList(t, data, customer), "["+string(rest)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// waitingWriter is for a client that does not read.
type waitingWriter struct {
	*httptest.ResponseRecorder
	writing, read chan struct{}
}

func (w waitingWriter) Write(p []byte) (int, error) {
	select {
	case w.writing <- struct{}{}:
		<-w.read
	case <-w.read:
	}
	return w.ResponseRecorder.Write(p)
}

// While a client does not read, the server keeps what it is to read next and not the
// answer that it was made from.
func TestSlowReaderKeepsNoAnswer(t *testing.T) {
	const size = 16 << 20
	config := configFor(nil)
	config.Executor, config.Credentials = &scripted{answers: []string{
		`{"unknown":"` + strings.Repeat("x", size) + `","nodes":[{"name":"first"}],"pageInfo":{"hasNextPage":true,"endCursor":"x"}}`,
		`{"nodes":[{"name":"second"}],"pageInfo":{"hasNextPage":false,"endCursor":null}}`,
	}}, nil
	api := handler(config)
	allocated := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	before := allocated()
	w := waitingWriter{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		api.ServeHTTP(w, (&server{&httptest.Server{}}).request(t, http.MethodGet, testiniumUsers(1)))
	}()
	select {
	case <-w.writing:
	case <-done:
		t.Fatal(w.Code, w.Body)
	}
	if grown := allocated() - before; grown > size/2 {
		t.Errorf("%d bytes are kept while the client does not read", grown)
	}
	close(w.read)
	<-done
	if body := w.Body.String(); !strings.Contains(body, `"second"`) {
		t.Error(body)
	}
}

// open asks with a client that buffers next to nothing, and leaves the body to be read.
func (s *server) open(t *testing.T, path string) *http.Response {
	t.Helper()
	transport := &http.Transport{
		ReadBufferSize: 1_024,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if tcp, ok := conn.(*net.TCPConn); ok {
				err = tcp.SetReadBuffer(32 << 10)
			}
			return conn, err
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	answer, err := transport.RoundTrip(s.request(t, http.MethodGet, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// HEAD reads no more than the first page.
func TestHeadReadsOnePage(t *testing.T) {
	var executor *paged
	answer, _ := answerList(t, http.MethodHead, func(config *rest.Config) {
		executor = &paged{Executor: config.Executor, size: 10}
		config.Executor = executor
	})
	if answer.Code != http.StatusOK || answer.Body.Len() != 0 || executor.pages.Load() != 1 {
		t.Errorf("%d after %d pages", answer.Code, executor.pages.Load())
	}
}

// What is cut on purpose is no panic to the log.
func TestCutIsNoPanic(t *testing.T) {
	var log bytes.Buffer
	_, ended := answerList(t, http.MethodGet, func(config *rest.Config) {
		config.Executor, config.Log = &paged{Executor: config.Executor, size: 10, fail: 2}, slog.New(slog.NewTextHandler(&log, nil))
	})
	if ended != http.ErrAbortHandler || strings.Contains(log.String(), "panic") { //nolint:errorlint // as net/http compares it
		t.Errorf("the answer ended with %v, and the log has %s", ended, log.String())
	}
}
