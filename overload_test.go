package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
	"roster/rest"
)

// gate holds up every page of users until it is opened.
type gate struct{ entered, open chan bool }

func newGate() gate { return gate{make(chan bool, 1000), make(chan bool)} }

// wait tells the test that a page is asked for, and holds it up.
func (g gate) wait(ctx context.Context) error {
	g.entered <- true
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// With as many documents running as may, and as many waiting, the next request
// is refused in the words of its API, without a look at its token or its body.
// What runs and waits is answered, and then everything is as before.
func TestOverloadIsRefusedAndPasses(t *testing.T) {
	for _, at := range (&testServer{customers: make([]models.Customer, generated+1)}).surfaces() {
		t.Run(at.name, func(t *testing.T) {
			gate := newGate()
			server := startTestServer(t, gate.wait, func(s *serverSettings) { s.MaxConcurrent = 2 })
			server.admission.maxWait = 20 * time.Millisecond
			for _, own := range server.surfaces() {
				if own.name == at.name {
					at = own
				}
			}
			token := server.token(t, "a")
			answers := make(chan int, 2)
			for range 2 {
				go func() {
					status, _, _ := server.ask(t, at, token)
					answers <- status
				}()
			}
			<-gate.entered
			<-gate.entered
			// Those that wait do so for a moment only, so the test waits in their stead.
			server.admission.waiting.Add(server.admission.queue)
			body, sending := io.Pipe()
			request, err := http.NewRequestWithContext(t.Context(), at.method, server.url+at.path, body)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			response, err := http.DefaultTransport.RoundTrip(request) // no token, and a body that never comes
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			sending.Close()
			if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" || !strings.Contains(string(text), at.code[models.CodeUnavailable]) {
				t.Errorf("refused with %d %v %s", response.StatusCode, response.Header, text)
			}
			for _, path := range []string{"/healthz", "/readyz"} {
				if status, _, _ := ask(t, "GET", server.url+path, "", ""); status != 200 {
					t.Errorf("%s: %d", path, status)
				}
			}
			server.admission.waiting.Add(-server.admission.queue)

			// One that finds no slot in time is refused like one that cannot wait.
			if status, _, text := server.ask(t, at, token); status != 503 || !strings.Contains(text, at.code[models.CodeUnavailable]) {
				t.Errorf("after waiting: %d %s", status, text)
			}
			close(gate.open)
			for range 2 {
				if status := <-answers; status != 200 {
					t.Errorf("one that ran was answered %d", status)
				}
			}
			if status, _, text := server.ask(t, at, token); status != 200 {
				t.Errorf("afterwards: %d %.200s", status, text)
			}
			if n := server.admission.refused.Load(); n != 2 {
				t.Errorf("%d are counted as refused", n)
			}
		})
	}
}

// Requests of one caller that take long, however many, leave slots for others.
func TestManyRequestsOfOneCallerKeepNobodyOut(t *testing.T) {
	gate := newGate()
	server := startTestServer(t, func(ctx context.Context) error {
		if auth.PrincipalFrom(ctx).Subject == "greedy" {
			return gate.wait(ctx)
		}
		return nil
	})
	greedy, other := server.token(t, "greedy"), server.token(t, "other")
	most := server.admission.share.slots + server.admission.share.queue
	at := server.surfaces()[0]
	statuses := make(chan int)
	for range most + 10 {
		go func() {
			status, _, _ := server.ask(t, at, greedy)
			statuses <- status
		}()
	}
	for range 10 {
		if status := <-statuses; status != http.StatusServiceUnavailable {
			t.Errorf("one too many is answered %d", status)
		}
	}
	for _, at := range server.surfaces() {
		if status, _, text := server.ask(t, at, other); status != http.StatusOK {
			t.Errorf("%s: another caller is answered %d %.200s", at.name, status, text)
		}
	}
	close(gate.open)
	for range most {
		<-statuses
	}
	if status, _, text := server.ask(t, at, greedy); status != http.StatusOK || len(server.admission.callers) > 0 {
		t.Errorf("afterwards: %d %.200s; %d callers are remembered", status, text, len(server.admission.callers))
	}
}

// A document of many lists that take long leaves connections to the database for others.
func TestManyStatementsOfOneCallerKeepNobodyOut(t *testing.T) {
	database := dbtest.Open(t, db.Postgres)
	server := startTestServerOn(t, database, nil)
	conn := dbtest.Connect(t, database)
	lock, err := conn.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	if _, err := lock.ExecContext(t.Context(), "LOCK TABLE user_authorities IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	var lists strings.Builder
	for i := range 2 * database.Connections() {
		fmt.Fprintf(&lists, ` a%d: users(filter: {authority: {anyOf: [\"ROLE_%d\"]}}) { totalCount }`, i, i)
	}
	customer := server.customers[generated].ID
	document := func(fields string) string {
		return fmt.Sprintf(`{"query":"{ customer(id: \"%s\") { %s } }"}`, customer, fields)
	}
	answered := make(chan int, 1)
	go func() {
		status, _, _ := ask(t, "POST", server.url+"/graphql", server.token(t, "greedy"), document(lists.String()))
		answered <- status
	}()
	if !within(30*time.Second, func() bool {
		var waiting int
		if err := conn.NewRaw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(t.Context(), &waiting); err != nil {
			t.Fatal(err)
		}
		return waiting >= server.admission.share.statements || len(answered) > 0
	}) {
		t.Fatal("the statements do not wait for the table")
	}
	if status, _, text := ask(t, "POST", server.url+"/graphql", server.token(t, "other"), document("users { totalCount }")); status != http.StatusOK || !strings.Contains(text, `"totalCount":`) {
		t.Errorf("another caller is answered %d %.200s", status, text)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the document is answered %d", status)
	}
}

// The pages of a caller's streams, which are never refused, do not take the room of its
// other requests to wait.
func TestStreamsTakeNoRoomToWait(t *testing.T) {
	admission := newAdmission(1, 1, 1)
	admission.maxWait = time.Minute
	first, err := admission.acquireOrRefuse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slots, errs := make(chan slot), make(chan error)
	enter := func(enter func(context.Context) (slot, error)) {
		acquired, err := enter(t.Context())
		if err != nil {
			errs <- err
			return
		}
		slots <- acquired
	}
	streams := admission.share.queue + 10
	for range streams {
		go enter(admission.acquire)
	}
	documents := func() int {
		admission.mu.Lock()
		defer admission.mu.Unlock()
		return admission.callers[callerName{}].documents
	}
	if !within(30*time.Second, func() bool { return documents() > streams }) {
		t.Fatal("the streams did not come")
	}
	go enter(admission.acquireOrRefuse)
	if !within(30*time.Second, func() bool { return admission.waiting.Load() > 0 }) {
		t.Fatal("a request may not wait behind streams")
	}
	first.release()
	for range streams + 1 {
		select {
		case acquired := <-slots:
			acquired.release()
		case err := <-errs:
			t.Error(err)
		}
	}
}

// A request that waits gets the slot that becomes free.
func TestWaitingGetsTheNextSlot(t *testing.T) {
	admission := newAdmission(1, 1, 1)
	first, err := admission.acquireOrRefuse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan error, 1)
	go func() {
		_, err := admission.acquireOrRefuse(t.Context())
		entered <- err
	}()
	if !within(30*time.Second, func() bool { return admission.waiting.Load() > 0 || len(entered) > 0 }) {
		t.Fatal("it does not wait")
	}
	first.release()
	if err := <-entered; err != nil {
		t.Error(err)
	}
}

// A request that finds no room is held for a moment, and refused only when there
// is none after it either, or when others were refused meanwhile.
func TestRefusedAfterAMoment(t *testing.T) {
	for _, test := range []struct {
		name           string
		leaves, answer time.Duration // when those who wait are gone, and when the answer is there
		refused        int64         // how many others are refused when those are gone
		status         int
	}{
		{"Room", 0, 0, 1, http.StatusOK},
		{"RoomSoon", holdTime / 2, holdTime, 0, http.StatusOK},
		{"RoomTooLate", 2 * holdTime, holdTime, 0, http.StatusServiceUnavailable},
		{"OthersRefused", holdTime / 2, holdTime, 1, http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				admission := newAdmission(1, 1, 1)
				admission.waiting.Add(admission.queue)
				left := time.AfterFunc(test.leaves, func() {
					admission.refused.Add(test.refused)
					admission.waiting.Add(-admission.queue)
				})
				defer left.Stop()
				synctest.Wait()
				handler := admission.shed(refusePlain)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
				began, answer := time.Now(), httptest.NewRecorder()
				handler.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
				if took := time.Since(began); answer.Code != test.status || took != test.answer {
					t.Errorf("%d after %s", answer.Code, took)
				}
			})
		})
	}
}

// A client that leaves while it is held or waits is no sign of load: no other request is
// refused for it.
func TestWhoLeavesIsNotRefused(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		admission := newAdmission(1, 1, 1)
		first, err := admission.acquireOrRefuse(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !waiting {
			admission.waiting.Add(admission.queue)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = admission.acquireOrRefuse(ctx)
		if code := models.AsError(err).Code; code != models.CodeTimeout || admission.refused.Load()+first.usage.refused.Load() > 0 {
			t.Errorf("waiting: %v; %v, %d and %d refused", waiting, err, admission.refused.Load(), first.usage.refused.Load())
		}
		first.release()
		if n := len(admission.callers); n > 0 {
			t.Errorf("%d callers are remembered", n)
		}
	}
}

// Who waits until the time is over is refused as anybody else: the server has too much to do.
func TestWaitingUntilTheTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		admission := newAdmission(1, 1, 1)
		first, err := admission.acquireOrRefuse(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer first.release()
		ctx, cancel := context.WithTimeout(t.Context(), maxWait/2)
		defer cancel()
		if _, err := admission.acquireOrRefuse(ctx); models.AsError(err).Code != models.CodeUnavailable || admission.refused.Load() != 1 || first.usage.refused.Load() != 1 {
			t.Errorf("%v, %d and %d refused", err, admission.refused.Load(), first.usage.refused.Load())
		}
	})
}

// secretsReader is read for the secrets of a page.
type secretsReader func(ctx context.Context) error

func (r secretsReader) LegacyCredentialsByUser(ctx context.Context, _ models.Scope, _ []models.ID) (map[models.ID]*models.LegacyCredentials, error) {
	return nil, r(ctx)
}

// The secrets of legacy pages are read by as many at once as documents may run.
func TestSecretsAreReadInASlot(t *testing.T) {
	admission := newAdmission(2, 1, 1)
	var reading, most atomic.Int64
	credentials := admittedCredentials{secretsReader(func(context.Context) error {
		most.Store(max(most.Load(), reading.Add(1)))
		runtime.Gosched()
		reading.Add(-1)
		return nil
	}), admission}
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			if _, err := credentials.LegacyCredentialsByUser(t.Context(), models.Scope{}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if most.Load() > 1 {
		t.Errorf("%d were read at once for one caller", most.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	taken, err := admission.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.release()
	if _, err := credentials.LegacyCredentialsByUser(ctx, models.Scope{}, nil); models.AsError(err).Code != models.CodeTimeout {
		t.Errorf("without a slot: %v", err)
	}
}

// The same holds where one caller has as many waiting as it may.
func TestRefusedAfterAMomentForOneCaller(t *testing.T) {
	for _, othersRefused := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			admission := newAdmission(2, 1, 1)
			first, err := admission.acquireOrRefuse(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			queue := int64(admission.share.queue)
			first.usage.waiting.Add(queue)
			left := time.AfterFunc(holdTime/2, func() {
				if othersRefused {
					_ = admission.register(t.Context()).refusal(t.Context())
				}
				first.usage.waiting.Add(-queue)
				first.release()
			})
			defer left.Stop()
			began := time.Now()
			second, err := admission.acquireOrRefuse(t.Context())
			if took := time.Since(began); (err != nil) != othersRefused || took != holdTime {
				t.Errorf("others refused: %v; got %v after %s", othersRefused, err, took)
			}
			if err == nil {
				second.release()
			}
			if n := len(admission.callers); n > 0 {
				t.Errorf("%d callers are remembered", n)
			}
		})
	}
}

// A stream gives its slot back between pages, and waits for the next one as
// long as it takes; a client that does not read has no slot.
func TestStreamsHoldNoSlot(t *testing.T) {
	server := startTestServer(t, nil, func(s *serverSettings) { s.MaxConcurrent = 1 })
	stream := server.surfaces()[2]
	request, err := http.NewRequest("GET", server.url+stream.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+server.token(t, "a"))
	request.Header.Set("current-company-id", "1")
	response, err := (&http.Transport{}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	// The first page is there and nobody reads on.
	if status, _, body := server.ask(t, server.surfaces()[0], server.token(t, "b")); status != 200 {
		t.Errorf("beside a stream: %d %s", status, body)
	}
	if data, err := io.ReadAll(response.Body); err != nil || !strings.HasSuffix(string(data), "]") {
		t.Errorf("the stream ends with %v", err)
	}
}

// answering is an executor that has an answer for everything.
type answering struct{}

// ExecuteStored gives an answer without errors.
func (answering) ExecuteStored(context.Context, graph.Request) graph.Response {
	return graph.Response{}
}

// The second page of a stream waits where a new request is refused.
func TestStreamsAreNotCutByOverload(t *testing.T) {
	executor := admittedExecutor{answering{}, newAdmission(1, 1, 1)}
	executor.admission.maxWait = 20 * time.Millisecond
	newRequest := func() context.Context { return context.WithValue(t.Context(), requestStateKey{}, &requestState{}) }
	stream := newRequest()
	if answer := executor.ExecuteStored(stream, graph.Request{}); len(answer.Errors) > 0 {
		t.Fatalf("the first page: %v", answer.Errors)
	}
	other, err := executor.admission.acquireOrRefuse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan graph.Response, 1)
	go func() { second <- executor.ExecuteStored(stream, graph.Request{}) }()
	if answer := executor.ExecuteStored(newRequest(), graph.Request{}); len(answer.Errors) != 1 || answer.Errors[0].Extensions["code"] != string(models.CodeUnavailable) {
		t.Errorf("a new request: %v", answer.Errors)
	}
	other.release()
	if answer := <-second; len(answer.Errors) > 0 {
		t.Errorf("the second page: %v", answer.Errors)
	}
}

// Refusing costs no line in the log for errors, in which those of a database that
// is away would be lost.
func TestRefusalsAreNoErrorsInTheLog(t *testing.T) {
	var log lockedBuffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	anyone := func(refuseFunc) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler { return next }
	}
	graphQL := graph.NewHandler(graph.NewExecutor(nil, logger, graph.Settings{}), 1)
	for name, refuse := range map[string]refuseFunc{
		"GraphQL":   graphQL.Refuse,
		"Worth":     rest.NewWorth(rest.Config{Log: logger, Authenticate: anyone}).Refuse,
		"Testinium": rest.NewTestinium(rest.Config{Log: logger, Authenticate: anyone}).Refuse,
	} {
		for _, err := range []error{newAdmission(1, 1, 1).refusal(t.Context()), models.Errorf(models.CodeRateLimited, "Too many.")} {
			refuse(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), err)
			if log.String() != "" {
				t.Fatalf("%s: %v is in the log: %s", name, err, log.String())
			}
		}
	}
	graphQL.Refuse(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), &models.Error{Code: models.CodeUnavailable, Err: io.EOF})
	if !strings.Contains(log.String(), "level=ERROR") {
		t.Error("a database that is away is not in the log")
	}
}

// A setting that makes no sense is named at the start, in one line.
func TestMistakesInLimits(t *testing.T) {
	env := map[string]string{"ROSTER_JWT_SECRET": strings.Repeat("k", 32), "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a"}
	for _, test := range []struct{ flag, wants string }{
		{"--max-concurrent=-1", "--max-concurrent is -1"},
		{"--rate-limit=-1", "--rate-limit is -1"},
		{"--rate-limit=NaN", "--rate-limit is NaN"},
		{"--rate-limit=many", "--rate-limit"},
		{"--rate-limit=1e-300", "--rate-limit is 1e-300; it must be 0, or between 0.001 and 1000000"},
		{"--max-concurrent=4611686018427387904", "--max-concurrent is 4611686018427387904; it must be between 1 and 100000"},
		{"--max-body=9223372036854775807", "--max-body is 9223372036854775807; it must be between 1 and 1073741824"},
		{"--max-tokens=199", "--max-tokens is 199; it must be at least 200"},
		{"--cors-origin=https://app.example/", `--cors-origin is "https://app.example/"; it must be * or an origin such as`},
		{"--cors-origin=app.example", `--cors-origin is "app.example"`},
		{"--cors-origin=https://app.example:443", `--cors-origin is "https://app.example:443"`},
		{"--rate-burst=5", "--rate-burst is 5"},
		{"--drain-delay=-1s", "--drain-delay is -1s"},
		{"--listen=8080", `--listen is "8080"; it must be HOST:PORT, such as 127.0.0.1:8080`},
		{"--admin-listen=http://127.0.0.1:9090", `--admin-listen is "http://127.0.0.1:9090"; it must be HOST:PORT`},
		{"--database-connections=0", "--database-connections is 0; it must be between 1 and 100000"},
		{"--legacy-deprecated-since=31.12.2026", `--legacy-deprecated-since: "31.12.2026" is no day such as 2026-12-31`},
		{"--tls-cert=cert.pem", "--tls-cert and --tls-key are needed both"},
	} {
		_, _, err := command(t, env, "serve", test.flag)
		if err == nil || !strings.HasPrefix(err.Error(), test.wants) || strings.Contains(strings.TrimSuffix(err.Error(), "\nroster --help lists the commands, and roster COMMAND --help the flags of one"), "\n") {
			t.Errorf("%s: got %v", test.flag, err)
		}
	}
}
