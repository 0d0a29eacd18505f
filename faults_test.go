package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"go.uber.org/goleak"
	"modernc.org/sqlite"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
)

// The time within which a caller hears something, whatever the database does,
// and that within which everything is answered once the database is back.
const (
	longestAnswer   = 5 * time.Second
	longestRecovery = 3 * time.Second
)

// TestDatabaseFaults does to PostgreSQL what happens to databases, under
// callers who do not stop. Every request gets the right answer or one that says
// to try again, /healthz stays up, /readyz tells, and once the database is back
// everything is answered without a restart of the server.
func TestDatabaseFaults(t *testing.T) {
	cluster := dbtest.Postgres(t)
	databaseURL := cluster.URL()
	dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), dbtest.Users(60, 1))
	leaks := goleak.IgnoreCurrent()

	t.Run("Faults", func(t *testing.T) {
		trial := newTrial(t, databaseURL)
		for _, fault := range []struct {
			name    string
			inflict func(t *testing.T) (heal func())
			// code is what every answer says while the fault lasts; "" when nobody
			// may notice anything.
			code string
			// unready is whether /readyz has to fail meanwhile.
			unready bool
		}{
			{"Stopped", func(*testing.T) func() { cluster.Stop(); return cluster.Start }, "SERVICE_UNAVAILABLE", true},
			{"Killed", func(*testing.T) func() { cluster.Kill(); return cluster.Start }, "SERVICE_UNAVAILABLE", true},
			{"Frozen", func(*testing.T) func() { cluster.Pause(); return cluster.Resume }, "TIMEOUT or SERVICE_UNAVAILABLE", true}, // by who waits for what
			{"TableLocked", func(t *testing.T) func() { return lockUsers(t, databaseURL) }, "TIMEOUT", false},
			{"ConnectionsCut", func(t *testing.T) func() { cutConnections(t, databaseURL, "true"); return func() {} }, "", false},
		} {
			t.Run(fault.name, func(t *testing.T) {
				trial.t = t
				trial.round("") // the pool is full of connections
				stop := trial.hammer(3)
				heal := fault.inflict(t)
				trial.round(fault.code)
				if fault.code != "" {
					trial.all(12) // more than the pool has connections, and than may wait
				}
				if status, text := trial.get("/readyz"); fault.unready && status != http.StatusServiceUnavailable {
					t.Errorf("/readyz: %d %s", status, text)
				}
				heal()
				took := trial.recover()
				stop()
				trial.round("")
				t.Logf("back after %s; the slowest answer took %s; %s", took.Round(time.Millisecond), trial.slowest().Round(time.Millisecond), trial.tally())
			})
		}

		// Nobody asks while the database restarts, so every connection of the pool
		// is dead without the server's knowing. Whoever comes first must not see it.
		for name, restart := range map[string]func(){"RestartedUnnoticed": cluster.Stop, "KilledUnnoticed": cluster.Kill} {
			t.Run(name, func(t *testing.T) {
				trial.t = t
				trial.round("")
				restart()
				cluster.Start()
				trial.round("")
				t.Log(trial.tally())
			})
		}
		t.Run("CutUnnoticed", func(t *testing.T) {
			trial.t = t
			for range 20 {
				trial.round("")
				if cutConnections(t, databaseURL, "true") == 0 {
					t.Error("there was no connection")
				}
			}
			trial.round("")
			t.Log(trial.tally())
		})
		if n := openConnections(t, databaseURL); n > 16+1 { // one is for /readyz
			t.Errorf("the server has %d connections", n)
		}
	})

	deadline := time.Now().Add(10 * time.Second)
	for n := openConnections(t, databaseURL); n > 0; n = openConnections(t, databaseURL) {
		if time.Now().After(deadline) {
			t.Fatalf("the server has gone and %d of its connections have not", n)
		}
	}
	// The cluster waits for the process that it started last.
	waiting := goleak.IgnoreAnyFunction("roster/db/dbtest.(*Cluster).startOnce.func1")
	for err := goleak.Find(leaks, waiting); err != nil; err = goleak.Find(leaks, waiting) {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// However many ask at once, a server keeps to the connections that it may have, and
// one is enough.
func TestDatabaseConnections(t *testing.T) {
	databaseURL := dbtest.Postgres(t).URL()
	dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), dbtest.Users(60, 1))
	before := openConnections(t, databaseURL) // of what filled the database
	trial := newTrial(t, databaseURL, "--database-connections", "1")
	unlock := lockUsers(t, databaseURL)
	answered := make(chan []string)
	go func() { answered <- trial.all(1) }() // of which the server runs each at once
	deadline := time.Now().Add(10 * time.Second)
	for waiting := 0; waiting == 0; {
		if time.Now().After(deadline) {
			t.Fatal("no request waits for the lock")
		}
		if err := query(t, databaseURL, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'roster' AND wait_event_type = 'Lock'`, &waiting); err != nil {
			t.Fatal(err)
		}
	}
	if status, text := trial.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz while all connections are in use: %d %s", status, text)
	}
	unlock()
	for _, code := range <-answered {
		if code != "" {
			t.Errorf("an answer has the code %q", code)
		}
	}
	trial.round("")
	if n := openConnections(t, databaseURL) - before; n != 1+1 {
		t.Errorf("the server has %d connections, of 1 that it may have and 1 for /readyz", n)
	}
}

// lockUsers keeps the users from being read until the lock is let go.
func lockUsers(t *testing.T, databaseURL string) (unlock func()) {
	t.Helper()
	tx, err := dbtest.ConnectURL(t, databaseURL).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// cutConnections ends the connections of the program for which the condition holds.
func cutConnections(t *testing.T, databaseURL, condition string) (cut int) {
	t.Helper()
	err := query(t, databaseURL, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE application_name = 'roster' AND datname = current_database() AND `+condition, &cut)
	if err != nil {
		t.Error(err)
	}
	return cut
}

func openConnections(t *testing.T, databaseURL string) (n int) {
	t.Helper()
	if err := query(t, databaseURL, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'roster' AND datname = current_database()`, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// query reads one value over a connection of its own.
func query(t *testing.T, databaseURL, statement string, into any) error {
	t.Helper()
	driver, name := "pgx", databaseURL
	if path, ok := strings.CutPrefix(databaseURL, "sqlite:"); ok {
		driver, name = "sqlite", path+"?_pragma=busy_timeout(5000)"
	}
	pool, err := sql.Open(driver, name)
	if err != nil {
		return err
	}
	return errors.Join(pool.QueryRowContext(t.Context(), statement).Scan(into), pool.Close())
}

// trial is a server under callers who know what the right answers are.
type trial struct {
	t         *testing.T
	server    *serving
	token     string
	transport *http.Transport
	calls     []call

	right, partial, refused atomic.Int64
	slowestCall             atomic.Int64
}

// call is a request of one surface, and its right answer.
type call struct {
	name, method, path, body string
	want                     string
	// codes finds the codes of an answer that is not, or not entirely, the right
	// one, as /graphql would have them.
	codes func(body []byte) []string
}

// newTrial starts a server and takes its first answers for the right ones.
func newTrial(t *testing.T, databaseURL string, args ...string) *trial {
	t.Helper()
	secret := strings.Repeat("k", 32)
	token, err := auth.Sign([]byte(secret), "i", "a", auth.Principal{Subject: "s", Authorities: []string{auth.RoleAdmin}, ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	trial := &trial{t: t, token: token, transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(trial.transport.CloseIdleConnections)
	trial.server = startServing(t, map[string]string{
		"DATABASE_URL": databaseURL, "ROSTER_JWT_SECRET": secret, "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
	}, args...)

	_, body := trial.send(call{method: "POST", path: "/graphql", body: `{"query":"{ customerByNumber(number: 1) { id } }"}`})
	_, id, _ := strings.Cut(body, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	trial.calls = []call{
		{
			name: "GraphQL", method: "POST", path: "/graphql", codes: graphQLCodes,
			body: `{"query":"{ customerByNumber(number: 1) { name users(first: 50) { totalCount nodes { id email subrole { code } authorities { name } } } } }"}`,
		},
		{name: "Worth", method: "GET", path: "/auth/api/v1/customers/" + id + "/users", codes: legacyCodes},
		{name: "Testinium", method: "GET", path: "/account/api/v1/customers/1/users/", codes: legacyCodes},
	}
	for i := range trial.calls {
		response, body := trial.send(trial.calls[i])
		if response == nil || response.StatusCode != http.StatusOK || !strings.Contains(body, "@") {
			t.Fatalf("%s: %v %s", trial.calls[i].name, response, body)
		}
		trial.calls[i].want = body
	}
	return trial
}

func graphQLCodes(body []byte) (codes []string) {
	var answer struct {
		Errors []struct{ Extensions struct{ Code string } }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil
	}
	for _, e := range answer.Errors {
		codes = append(codes, e.Extensions.Code)
	}
	return codes
}

func legacyCodes(body []byte) []string {
	var answer struct {
		ErrorCode, Error string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil
	}
	return []string{map[string]string{
		"ERR_SERVICE_UNAVAILABLE": "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE": "SERVICE_UNAVAILABLE",
		"ERR_TIMEOUT": "TIMEOUT", "GATEWAY_TIMEOUT": "TIMEOUT",
	}[answer.ErrorCode+answer.Error]}
}

// send makes a request that must be answered in time.
func (tr *trial) send(c call) (*http.Response, string) { return tr.sendWith(c) }

// sendWith is send with more headers, each a name and a value.
func (tr *trial) sendWith(c call, headers ...string) (*http.Response, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*longestAnswer)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, c.method, tr.server.base+c.path, strings.NewReader(c.body))
	if err != nil {
		tr.t.Error(err)
		return nil, ""
	}
	request.Header = http.Header{"Authorization": {"Bearer " + tr.token}, "Current-Company-Id": {"1"}, "Content-Type": {"application/json"}}
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	began := time.Now()
	response, err := tr.transport.RoundTrip(request)
	if err != nil {
		tr.t.Errorf("%s: %v", c.name, err)
		return nil, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		tr.t.Errorf("%s: %v", c.name, err)
		return nil, ""
	}
	took := time.Since(began)
	for slowest := tr.slowestCall.Load(); int64(took) > slowest && !tr.slowestCall.CompareAndSwap(slowest, int64(took)); {
		slowest = tr.slowestCall.Load()
	}
	if took > longestAnswer {
		tr.t.Errorf("%s took %s", c.name, took)
	}
	return response, string(body)
}

// get asks for one of the pages without a token.
func (tr *trial) get(path string) (status int, text string) {
	response, body := tr.send(call{name: path, method: http.MethodGet, path: path})
	if response == nil {
		return 0, ""
	}
	return response.StatusCode, body
}

// check makes a request and gives the code of its answer, "" for the right one.
// Any answer that is neither right nor an honest refusal fails the test.
func (tr *trial) check(c call) (code string) {
	response, body := tr.send(c)
	if response == nil {
		return "none"
	}
	if response.StatusCode == http.StatusOK && body == c.want {
		tr.right.Add(1)
		return ""
	}
	wrong := func(why string) {
		tr.t.Errorf("%s: %s: %d %v %.600s", c.name, why, response.StatusCode, response.Header, body)
	}
	codes := c.codes([]byte(body))
	if len(codes) == 0 {
		wrong("neither the answer nor a refusal")
		return "none"
	}
	for _, code := range codes {
		if code != "SERVICE_UNAVAILABLE" && code != "TIMEOUT" {
			wrong("the code")
		}
	}
	switch want := map[string]int{"SERVICE_UNAVAILABLE": http.StatusServiceUnavailable, "TIMEOUT": http.StatusGatewayTimeout}[codes[0]]; {
	case response.StatusCode == http.StatusOK && c.name == "GraphQL":
		tr.partial.Add(1) // what could still be read came with the error
	case response.StatusCode != want:
		wrong("the status")
	default:
		tr.refused.Add(1)
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); response.StatusCode >= http.StatusInternalServerError && (err != nil || seconds < 1) {
		wrong("Retry-After")
	}
	// The request's id is made of random letters, and may well spell EOF.
	told := strings.ReplaceAll(body, response.Header.Get("X-Request-Id"), "")
	for _, inside := range []string{"SQLSTATE", "FATAL", "ERROR:", "pgconn", "pgx", "sqlite", "dial", "socket", "EOF", "pipe", "SELECT", "context", "/tmp", "goroutine"} {
		if strings.Contains(told, inside) {
			wrong("it tells of " + inside)
		}
	}
	return codes[0]
}

// round makes every request a few times at once, and holds that each is answered
// with this code. Together with those who hammer they are no more than the server
// works on at once, so that none is refused for being too many.
func (tr *trial) round(code string) {
	tr.t.Helper()
	for _, got := range tr.all(4) {
		if !slices.Contains(strings.Split(code, " or "), got) {
			tr.t.Errorf("an answer has the code %q, want %q", got, code)
		}
	}
	if status, text := tr.get("/healthz"); status != http.StatusOK {
		tr.t.Errorf("/healthz: %d %s", status, text)
	}
}

// all makes every request so many times at once, and gives the codes.
func (tr *trial) all(times int) []string {
	codes := make([]string, times*len(tr.calls))
	var group sync.WaitGroup
	for i := range codes {
		group.Go(func() { codes[i] = tr.check(tr.calls[i%len(tr.calls)]) })
	}
	group.Wait()
	return codes
}

// hammer has so many callers make one request after the other until they are
// stopped, and one more who looks whether the process lives.
func (tr *trial) hammer(callers int) (stop func()) {
	ctx, cancel := context.WithCancel(tr.t.Context())
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				tr.check(tr.calls[n%len(tr.calls)])
			}
		})
	}
	group.Go(func() {
		for ctx.Err() == nil {
			if status, text := tr.get("/healthz"); status != http.StatusOK {
				tr.t.Errorf("/healthz: %d %s", status, text)
			}
		}
	})
	return func() { cancel(); group.Wait() }
}

// recover asks until everything is answered right, and gives how long that took.
func (tr *trial) recover() time.Duration {
	tr.t.Helper()
	for began := time.Now(); ; {
		wrong := 0
		for _, code := range tr.all(1) {
			if code != "" {
				wrong++
			}
		}
		status, text := tr.get("/readyz")
		took := time.Since(began)
		if wrong == 0 && status == http.StatusOK {
			return took
		}
		if took > longestRecovery {
			tr.t.Errorf("%s after the database is back %d requests fail, and /readyz says %d %s", took, wrong, status, text)
			return took
		}
	}
}

func (tr *trial) slowest() time.Duration { return time.Duration(tr.slowestCall.Swap(0)) }

func (tr *trial) tally() string {
	return fmt.Sprintf("%d answers were right, %d right in part, %d refused", tr.right.Swap(0), tr.partial.Swap(0), tr.refused.Swap(0))
}

// A database that dies under an import, or that is full, read-only or locked,
// keeps the batches that were complete and nothing of another. The import ends
// with an error, and running it again brings in the rest.
func TestImportDuringFaults(t *testing.T) {
	const rows = 2_500
	document := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(document, testiniumUsers(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []struct {
		name string
		// begin gives a database, and what is done to it once the first batch is in.
		begin func(t *testing.T) (databaseURL string, inflict, heal func())
		// none is whether not even the first batch can get in.
		none bool
	}{
		{"Killed", func(t *testing.T) (string, func(), func()) {
			cluster := dbtest.Postgres(t)
			return cluster.URL(), cluster.Kill, cluster.Start
		}, false},
		{"ConnectionsCut", func(t *testing.T) (string, func(), func()) {
			databaseURL := dbtest.URL(t, db.Postgres)
			return databaseURL, func() {
				// Between two batches the import would go on over a new connection. One
				// that is cut in a batch may just have ended it; so more than once.
				for cut, tries := 0, 0; cut < 3 && tries < 100; tries++ {
					cut += cutConnections(t, databaseURL, "xact_start IS NOT NULL")
				}
			}, func() {}
		}, false},
		{"DiskFull", func(t *testing.T) (string, func(), func()) {
			// The pages that SQLite may use end in the middle of the document.
			return dbtest.URL(t, db.SQLite), func() {}, limitWriters(t, "PRAGMA max_page_count = 1000")
		}, false},
		{"ReadOnly", func(t *testing.T) (string, func(), func()) {
			return dbtest.URL(t, db.SQLite), func() {}, limitWriters(t, "PRAGMA query_only = 1")
		}, true},
		{"Locked", func(t *testing.T) (string, func(), func()) {
			databaseURL := dbtest.URL(t, db.SQLite)
			return databaseURL, func() {}, lockFile(t, databaseURL)
		}, true},
	} {
		t.Run(fault.name, func(t *testing.T) {
			databaseURL, inflict, heal := fault.begin(t)
			count := func(t *testing.T) (n int) {
				t.Helper()
				if err := query(t, databaseURL, "SELECT count(*) FROM users", &n); err != nil {
					t.Error(err)
				}
				return n
			}
			env := map[string]string{"DATABASE_URL": databaseURL}
			type result struct {
				out string
				err error
			}
			ended := make(chan result, 1)
			go func() {
				out, _, err := command(t, env, "import", "--from", "testinium", document)
				ended <- result{out, err}
			}()
			if !fault.none {
				for deadline := time.Now().Add(time.Minute); count(t) == 0; {
					if time.Now().After(deadline) {
						t.Fatal("no batch came in")
					}
				}
			}
			inflict()
			got := <-ended
			if got.err == nil {
				t.Fatalf("the import went on to its end: %s", got.out)
			}
			heal()
			in := count(t)
			if in%1000 != 0 || in == rows || (in == 0) != fault.none {
				t.Errorf("%d users are in", in)
			}
			out, log, err := command(t, env, "import", "--from", "testinium", document)
			if err != nil {
				t.Fatalf("the second run: %v %s", err, log)
			}
			if want := fmt.Sprintf("%d users created, 0 updated, %d unchanged", rows-in, in); !strings.Contains(out, want) || count(t) != rows {
				t.Errorf("the second run said %q, want %q; %d users are in", out, want, count(t))
			}
			t.Logf("%d users were in when it failed: %v", in, got.err)
		})
	}
}

// testiniumUsers is a document of so many users.
func testiniumUsers(n int) []byte {
	type authority struct {
		EntityID  int     `json:"entityId"`
		Name      string  `json:"name"`
		CleanName *string `json:"cleanName"`
	}
	users := make([]map[string]any, n)
	for i := range users {
		users[i] = map[string]any{
			"userType": nil, "verificationToken": nil, "resetPasswordToken": nil, "entityId": i + 1,
			"name": fmt.Sprintf("Ünal %d", i), "surname": "Işık", "username": fmt.Sprintf("user%d", i), "email": fmt.Sprintf("u%d@example.com", i),
			"password": nil, "newPassword": nil, "accessToken": fmt.Sprintf("t%d", i), "companyName": "Örnek A.Ş.", "enabled": i%3 > 0,
			"accountNonExpired": true, "accountNonLocked": true, "credentialNonExpired": true,
			"createdDate": 1567664649000 + i, "customer": 77, "lastPasswordResetDate": nil,
			"authorities": []authority{{1, "ROLE_ADMIN", nil}, {3, "ROLE_USER", nil}}[i%2:], "vcsPassword": nil,
		}
	}
	document, err := json.Marshal(users)
	if err != nil {
		panic(err)
	}
	return document
}

// writerPragma is what every new connection that may write to SQLite begins
// with; nil for nothing. It stands in for a disk: how much fits, and whether it
// can be written to.
var writerPragma atomic.Pointer[string]

// limitWriters has writers of SQLite begin with a pragma until it is lifted.
func limitWriters(t *testing.T, pragma string) (lift func()) {
	registerWriterPragma()
	writerPragma.Store(&pragma)
	lift = func() { writerPragma.Store(nil) }
	t.Cleanup(lift)
	return lift
}

// registerWriterPragma hooks into the driver, which can never be undone.
var registerWriterPragma = sync.OnceFunc(func() {
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, dsn string) error {
		pragma := writerPragma.Load()
		// The program's own writers, as told by how it opens them.
		if pragma == nil || !strings.Contains(dsn, "_txlock=immediate") || !strings.Contains(dsn, "mode=rw") {
			return nil
		}
		_, err := conn.ExecContext(context.Background(), *pragma, nil)
		return err
	})
})

// lockFile has another writer hold the lock of a SQLite file.
func lockFile(t *testing.T, databaseURL string) (unlock func()) {
	t.Helper()
	tx, err := dbtest.ConnectURL(t, databaseURL).BeginTx(t.Context(), nil) // which takes the lock at once
	if err != nil {
		t.Fatal(err)
	}
	unlock = sync.OnceFunc(func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(unlock)
	return unlock
}

// TestReadersOfALockedFile holds that readers of SQLite do not notice a writer
// who keeps the lock, nor one who fails for lack of room.
func TestReadersOfALockedFile(t *testing.T) {
	databaseURL := dbtest.URL(t, db.SQLite)
	var other *bun.DB
	t.Run("Fill", func(t *testing.T) { dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), dbtest.Users(60, 1)) })
	leaks := goleak.IgnoreCurrent()
	t.Run("Faults", func(t *testing.T) {
		trial := newTrial(t, databaseURL)
		stop := trial.hammer(3)
		other = dbtest.ConnectURL(t, databaseURL)
		tx, err := other.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), "UPDATE users SET email = 'nobody@example.com'"); err != nil {
			t.Fatal(err)
		}
		trial.round("")
		if status, text := trial.get("/readyz"); status != http.StatusOK {
			t.Errorf("/readyz: %d %s", status, text)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		trial.round("")
		stop()
		t.Log(trial.tally())
	})
	if err := goleak.Find(leaks); err != nil {
		t.Error(err)
	}
}
