package main

import (
	"bufio"
	"bytes"
	"context"

	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/graphiql"
	"roster/models"
)

// TestMain lets the test binary be the program, so that a test can send it
// signals without building it once more.
func TestMain(m *testing.M) {
	if run := programs[os.Getenv("ROSTER_TEST_PROGRAM")]; run != nil {
		run()
		return
	}
	os.Exit(m.Run())
}

// programs are what the binary of the tests is besides, by ROSTER_TEST_PROGRAM.
var programs = map[string]func(){"1": main}

// program is the program in a process of its own.
type program struct {
	*exec.Cmd
	log lockedBuffer
}

// startProgram starts "roster demo" in a process of its own and gives its facts
// once it serves.
func startProgram(t testing.TB, args ...string) (*program, demoFacts) {
	t.Helper()
	p := &program{Cmd: exec.Command(os.Args[0], append([]string{"demo", "--json", "--listen", "127.0.0.1:0"}, args...)...)}
	p.Env = append(os.Environ(), "ROSTER_TEST_PROGRAM=1", "TMPDIR="+t.TempDir())
	p.Stderr = &p.log
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the program did not start: %v %s", err, p.log.String())
	}
	var facts demoFacts
	if err := json.Unmarshal(line, &facts); err != nil {
		t.Fatal(err)
	}
	return p, facts
}

// signal sends the program a signal.
func (p *program) signal(t testing.TB, signal os.Signal) {
	t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// clients call a server until it cannot be connected to any more, and count
// what was answered and what was lost.
type clients struct {
	sync.WaitGroup
	answered, lost atomic.Int64
	firstLoss      atomic.Value
}

// start starts n clients, each on a connection of its own; each calls every one
// of the requests in turn.
func (c *clients) start(n int, requests []func() *http.Request) {
	for client := range n {
		transport := &http.Transport{DisableCompression: true}
		c.Go(func() {
			defer transport.CloseIdleConnections()
			for i := client; ; i++ {
				if !c.call(transport, requests[i%len(requests)]()) {
					return
				}
			}
		})
	}
}

// call makes one request, and reports whether the server is there. A request
// that no connection was made for was never sent, so it cannot be lost; every
// other one must be answered whole.
func (c *clients) call(transport *http.Transport, request *http.Request) bool {
	response, err := transport.RoundTrip(request)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", response.StatusCode)
		}
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return false
	}
	if err != nil {
		c.lost.Add(1)
		c.firstLoss.CompareAndSwap(nil, fmt.Sprintf("%s %s: %v", request.Method, request.URL.Path, err))
		return true
	}
	c.answered.Add(1)
	return true
}

// demoRequests are GraphQL queries, pages of Worth's list and Testinium's stream.
func demoRequests(facts demoFacts) []func() *http.Request {
	get := func(url string) *http.Request {
		request, err := http.NewRequest("GET", url, nil)
		if err != nil {
			panic(err)
		}
		request.Header.Set("Authorization", "Bearer "+facts.Tokens.Admin)
		return request
	}
	query := func() *http.Request {
		// Not repeated by the client of its own accord: it has no GetBody.
		body := fmt.Sprintf(`{"query":"{ customer(id: \"%s\") { users { nodes { email } } } }"}`, facts.Customers[generated].ID)
		request, err := http.NewRequest("POST", facts.GraphQL, io.NopCloser(strings.NewReader(body)))
		if err != nil {
			panic(err)
		}
		request.ContentLength = int64(len(body))
		request.Header.Set("Authorization", "Bearer "+facts.Tokens.Admin)
		request.Header.Set("Content-Type", "application/json")
		return request
	}
	page := func() *http.Request { return get(facts.Worth) }
	stream := func() *http.Request {
		request := get(fmt.Sprintf("%s/account/api/v1/customers/%d/users/", facts.URL, facts.Customers[generated].Number))
		request.Header.Set("current-company-id", "1")
		return request
	}
	return []func() *http.Request{query, page, query, page, query, page, query, stream}
}

// Ten times the program is stopped under twenty clients that do not stop by
// themselves. No request that reached it is lost, streams included, and it ends
// in time and with success.
func TestStoppingLosesNoRequest(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		program, facts := startProgram(t, "--users", "50", "--max-concurrent", "40")
		var calls clients
		calls.start(20, demoRequests(facts))
		if !within(30*time.Second, func() bool { return calls.answered.Load() >= 60 || calls.lost.Load() > 0 }) || calls.lost.Load() > 0 {
			t.Fatalf("before the signal: %d were answered, %v", calls.answered.Load(), calls.firstLoss.Load())
		}
		began := time.Now()
		program.signal(t, syscall.SIGTERM)
		if err := program.Wait(); err != nil {
			t.Errorf("round %d: the program ended with %v: %s", round, err, program.log.String())
		}
		took := time.Since(began)
		calls.Wait()
		if took > 15*time.Second {
			t.Errorf("round %d: it took %s to stop", round, took)
		}
		if calls.lost.Load() > 0 {
			t.Errorf("round %d: lost %d of %d: %v", round, calls.lost.Load(), calls.answered.Load(), calls.firstLoss.Load())
		}
		t.Logf("round %d: %d answered, %d lost, stopped in %s", round, calls.answered.Load(), calls.lost.Load(), took.Round(time.Millisecond))
	}
}

// Over HTTP/2 a connection is ended only when no new one can be made: what is under
// way on it is lost to those who cannot repeat it.
func TestStoppingEndsSharedConnectionsOnce(t *testing.T) {
	server := startTestServer(t, nil)
	front, opened := server.overHTTP2(t, server.record(http.HandlerFunc(server.healthz)))
	for _, step := range []struct {
		name  string
		state *atomic.Bool
		want  int64
	}{{"at first", new(atomic.Bool), 1}, {"stopping", &server.draining, 1}, {"the listener is closed", &server.closed, 3}} {
		step.state.Store(true)
		for range 3 {
			response, err := front.Client().Get(front.URL)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		if opened.Load() != step.want {
			t.Errorf("%s: %d connections so far, want %d", step.name, opened.Load(), step.want)
		}
	}
}

// testServer is a server inside the test, whose parts the test can exchange.
type testServer struct {
	*server
	url       string
	customers []models.Customer
	secret    []byte
	stop      func() error // ends it as SIGTERM does
}

// failingStore is a store whose users are read by the test's own function.
type failingStore struct {
	graph.Store
	users func(ctx context.Context) error
}

// Users calls the test's function first.
func (s failingStore) Users(ctx context.Context, scope models.Scope, query models.UserQuery) ([]*models.User, bool, error) {
	if err := s.users(ctx); err != nil {
		return nil, false, err
	}
	return s.Store.Users(ctx, scope, query)
}

// CustomerAndUsers calls the test's function first.
func (s failingStore) CustomerAndUsers(ctx context.Context, scope models.Scope, query models.UserQuery) (*models.Customer, *models.UserPage, error) {
	if err := s.users(ctx); err != nil {
		return nil, nil, err
	}
	return s.Store.CustomerAndUsers(ctx, scope, query)
}

// startTestServer serves a database of examples. Every page of users is read
// only after users has been called; nil is nothing to call.
func startTestServer(t testing.TB, users func(ctx context.Context) error, change ...func(*serverSettings)) *testServer {
	t.Helper()
	return startTestServerOn(t, dbtest.Open(t, db.SQLite), users, change...)
}

// startTestServerOn serves an empty database that it fills with examples.
func startTestServerOn(t testing.TB, database *db.DB, users func(ctx context.Context) error, change ...func(*serverSettings)) *testServer {
	t.Helper()
	customers, err := database.FillDemo(t.Context(), 1500)
	if err != nil {
		t.Fatal(err)
	}
	settings := &serverSettings{
		Listen: "127.0.0.1:0", Introspection: true, RequestTimeout: 10 * time.Second, GraceTime: 10 * time.Second,
		DatabaseConnections: 16, MaxConnections: 500, MaxBody: 64 << 10, MaxTokens: 1000, MaxDepth: 12, MaxSelections: 1000, MaxCost: 10_000,
	}
	for _, change := range change {
		change(settings)
	}
	if err := settings.validate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &testServer{customers: customers, secret: bytes.Repeat([]byte("k"), 32)}
	log := slog.New(slog.DiscardHandler)
	verifier, err := auth.NewVerifier(ctx, log, auth.Issuer{Name: "i", Audience: "a", Secret: s.secret})
	if err != nil {
		t.Fatal(err)
	}
	if s.server, err = newServer(settings, verifier, database, graphiql.Page{}, log); err != nil {
		t.Fatal(err)
	}
	if users != nil {
		limits := graph.Limits{Tokens: settings.MaxTokens, Depth: settings.MaxDepth, Selections: settings.MaxSelections, Cost: settings.MaxCost}
		s.executor = graph.NewExecutor(failingStore{database, users}, log, graph.Settings{Limits: limits, Introspection: true, CacheBytes: 1 << 20})
	}
	listener, err := s.listen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + listener.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, listener) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if err := s.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return s
}

// token is one of an admin of the platform.
func (s *testServer) token(t testing.TB, subject string) string {
	t.Helper()
	token, err := auth.Sign(s.secret, "i", "a", auth.Principal{Subject: subject, Authorities: []string{auth.RoleAdmin}, ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// surface is one of the three APIs, asked for users.
type surface struct {
	name, method, path, body string
	code                     map[models.Code]string // the API's own word, as its envelope has it
}

// surfaces are the three APIs, asked for the users of the larger customer.
func (s *testServer) surfaces() []surface {
	customer := s.customers[generated]
	return []surface{
		{"graphql", "POST", "/graphql", fmt.Sprintf(`{"query":"{ customer(id: \"%s\") { users { nodes { email } } } }"}`, customer.ID),
			map[models.Code]string{models.CodeInternal: `"code":"INTERNAL_SERVER_ERROR"`, models.CodeUnavailable: `"code":"SERVICE_UNAVAILABLE"`, models.CodeRateLimited: `"code":"RATE_LIMITED"`}},
		{"worth", "GET", fmt.Sprintf("/auth/api/v1/customers/%s/users", customer.ID), "",
			map[models.Code]string{models.CodeInternal: `"errorCode":"ERR_INTERNAL_SERVER"`, models.CodeUnavailable: `"errorCode":"ERR_SERVICE_UNAVAILABLE"`, models.CodeRateLimited: `"errorCode":"ERR_TOO_MANY_REQUESTS"`}},
		{"testinium", "GET", fmt.Sprintf("/account/api/v1/customers/%d/users/", customer.Number), "",
			map[models.Code]string{models.CodeInternal: `"error":"INTERNAL_SERVER_ERROR"`, models.CodeUnavailable: `"error":"SERVICE_UNAVAILABLE"`, models.CodeRateLimited: `"error":"TOO_MANY_REQUESTS"`}},
	}
}

// ask asks one of the surfaces.
func (s *testServer) ask(t testing.TB, at surface, token string) (int, http.Header, string) {
	t.Helper()
	return ask(t, at.method, s.url+at.path, token, at.body, "current-company-id", "1")
}

// A stopping server says so at /readyz and answers new requests, while a stream
// that runs is finished; and every answer sends its client elsewhere.
func TestStoppingFinishesStreams(t *testing.T) {
	pages := make(chan bool)
	server := startTestServer(t, func(context.Context) error {
		<-pages
		return nil
	})
	streamed := make(chan string, 1)
	go func() {
		_, _, body := server.ask(t, server.surfaces()[2], server.token(t, "a"))
		streamed <- body
	}()
	pages <- true // the first of two pages is read, and the other one waits
	ended := make(chan error, 1)
	go func() { ended <- server.stop() }()
	if !within(30*time.Second, server.draining.Load) {
		t.Fatal("the server does not stop")
	}
	response, err := http.DefaultTransport.RoundTrip(httptest.NewRequest("GET", server.url+"/readyz", nil))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 503 || !response.Close {
		t.Errorf("/readyz: %d, Connection: close is %v", response.StatusCode, response.Close)
	}
	if status, _, body := ask(t, "POST", server.url+"/graphql", server.token(t, "a"), `{"query":"{ viewer { subject } }"}`); status != 200 {
		t.Errorf("a request while stopping: %d %s", status, body)
	}
	close(pages)
	var users []map[string]any
	if err := json.Unmarshal([]byte(<-streamed), &users); err != nil || len(users) != 1500 {
		t.Errorf("the stream has %d users, %v", len(users), err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// What outlasts the grace time is cut, so that the stop has an end.
func TestStoppingEndsWithTheGraceTime(t *testing.T) {
	began := make(chan bool, 1)
	server := startTestServer(t, func(ctx context.Context) error {
		began <- true
		<-ctx.Done()
		return ctx.Err()
	}, func(s *serverSettings) { s.GraceTime = 50 * time.Millisecond })
	answered := make(chan error, 1)
	go func() {
		request, _ := http.NewRequest("GET", server.url+server.surfaces()[1].path, nil)
		request.Header.Set("Authorization", "Bearer "+server.token(t, "a"))
		response, err := (&http.Transport{}).RoundTrip(request)
		if err == nil {
			response.Body.Close()
		}
		answered <- err
	}()
	<-began
	stop := server.stop
	server.stop = func() error { return nil }
	if err := stop(); err == nil || !strings.Contains(err.Error(), "still running") {
		t.Errorf("it ended with %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("the request got an answer")
	}
}

// A connection without a request, as browsers make them ahead, is none itself, and
// neither keeps a server from stopping nor makes a failure of it.
func TestStoppingClosesSilentConnections(t *testing.T) {
	for name, grace := range map[string]string{"in time": "10s", "in less than it is waited for": "1s"} {
		t.Run(name, func(t *testing.T) {
			program, facts := startProgram(t, "--users", "50", "--grace-time", grace)
			silent, err := net.Dial("tcp", strings.TrimPrefix(facts.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			if status, _, _ := ask(t, "GET", facts.URL+"/healthz", "", ""); status != http.StatusOK { // after the other was accepted
				t.Fatal(status)
			}
			program.signal(t, syscall.SIGTERM)
			if err := program.Wait(); err != nil {
				t.Errorf("the program ended with %v: %s", err, program.log.String())
			}
		})
	}
}

// A second signal ends the program although a request still runs.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	program, facts := startProgram(t, "--users", "10", "--drain-delay", "1h")
	program.signal(t, syscall.SIGTERM)
	for {
		if status, _, _ := ask(t, "GET", facts.URL+"/readyz", "", ""); status == 503 {
			break
		}
	}
	program.signal(t, syscall.SIGTERM)
	err := program.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v: %s", err, program.log.String())
	}
}

// A server whose log nobody reads any more goes on.
func TestServingOutlivesItsLog(t *testing.T) {
	env := emptyDatabase(t)
	env["ROSTER_TEST_PROGRAM"] = "1"
	reader, log, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(os.Args[0], "serve", "--listen", "127.0.0.1:0")
	for name, value := range env {
		program.Env = append(program.Env, name+"="+value)
	}
	program.Stderr = log
	err = errors.Join(program.Start(), log.Close())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Process.Kill() }()
	line, err := bufio.NewReader(reader).ReadString('\n')
	_, rest, ok := strings.Cut(line, "msg=serving address=")
	if err != nil || !ok {
		t.Fatalf("it did not start: %q %v", line, err)
	}
	reader.Close()
	for range 3 { // each is a line of the log
		if status, _, body := ask(t, "GET", "http://"+strings.Fields(rest)[0]+"/healthz", "", ""); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	}
	if err := errors.Join(program.Process.Signal(syscall.SIGTERM), program.Wait()); err != nil {
		t.Error(err)
	}
}

// A panic where users are read is one 500 with the request's id, in the words of
// each API, and the server goes on.
func TestPanicInAResolver(t *testing.T) {
	var broken atomic.Bool
	server := startTestServer(t, func(context.Context) error {
		if broken.Load() {
			panic("secret")
		}
		return nil
	})
	for _, at := range server.surfaces() {
		broken.Store(true)
		status, header, body := server.ask(t, at, server.token(t, "a"))
		if status != 500 || !strings.Contains(body, at.code[models.CodeInternal]) || strings.Contains(body, "secret") || header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d %v %s", at.name, status, header, body)
		}
		broken.Store(false)
		if status, _, body := server.ask(t, at, server.token(t, "a")); status != 200 {
			t.Errorf("%s afterwards: %d %.200s", at.name, status, body)
		}
	}
}

// A panic outside the resolvers is one 500 in the form that the middleware was
// given, or a cut connection when the answer had begun.
func TestPanicInMiddleware(t *testing.T) {
	s := &server{settings: &serverSettings{}, log: slog.New(slog.DiscardHandler), metrics: newMetrics(newAdmission(1, 1, 1), &resetLimit{})}
	executor := graph.NewExecutor(nil, s.log, graph.Settings{})
	for _, test := range []struct {
		name     string
		refuse   refuseFunc
		begins   bool
		contains string
	}{
		{"plain", refusePlain, false, "Request id: mine"},
		{"graphql", graph.NewHandler(executor, 1).Refuse, false, `"requestId":"mine"`},
		{"begun", refusePlain, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			listening := httptest.NewServer(s.assignRequestID(s.record(s.recover(test.refuse)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.begins {
					_, _ = io.WriteString(w, "half")
				}
				panic("secret")
			})))))
			defer listening.Close()
			request, _ := http.NewRequest("GET", listening.URL, nil)
			request.Header.Set("X-Request-Id", "mine")
			response, err := http.DefaultTransport.RoundTrip(request)
			if test.begins {
				if err == nil {
					_, err = io.ReadAll(response.Body)
				}
				if err == nil {
					t.Error("half an answer looks complete")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != 500 || !strings.Contains(string(body), test.contains) || strings.Contains(string(body), "secret") {
				t.Errorf("%d %s", response.StatusCode, body)
			}
		})
	}
}
