package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
)

// lockedBuffer is a buffer that a server's goroutines write to while the test reads.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends to the buffer.
func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(data)
}

// String gives what was written so far.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// within reports whether something comes to hold in time, for which it looks again and
// again.
func within(patience time.Duration, holds func() bool) bool {
	deadline := time.Now().Add(patience)
	for range time.Tick(5 * time.Millisecond) {
		if holds() {
			return true
		}
		if time.Now().After(deadline) {
			break
		}
	}
	return false
}

// command runs the program to its end, as the shell would.
func command(t testing.TB, env map[string]string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log lockedBuffer
	err = run(t.Context(), args, func(name string) string { return env[name] }, strings.NewReader(""), &out, &log)
	return out.String(), log.String(), err
}

// startDemo runs "roster demo --json" and gives what it prints, once it serves.
// At the end of the test it is stopped, which must succeed.
func startDemo(t testing.TB, args ...string) demoFacts {
	t.Helper()
	facts, stop := startDemoUntil(t, args...)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	})
	return facts
}

func startDemoUntil(t testing.TB, args ...string) (facts demoFacts, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	var log lockedBuffer
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"demo", "--json", "--listen", "127.0.0.1:0"}, args...), func(string) string { return "" }, strings.NewReader(""), writer, &log)
		writer.CloseWithError(io.EOF)
		ended <- err
	}()
	line, err := bufio.NewReader(reader).ReadBytes('\n')
	if err != nil {
		cancel()
		t.Fatalf("the demo did not start: %v %s", <-ended, log.String())
	}
	if err := json.Unmarshal(line, &facts); err != nil {
		t.Fatalf("the first line is not JSON: %v: %s", err, line)
	}
	return facts, func() error {
		cancel()
		return <-ended
	}
}

// ask makes a request and gives the status and the body.
func ask(t testing.TB, method, url, token, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(data)
}

// Who may read what, over every surface: the table of docs/security.md.
func TestPolicy(t *testing.T) {
	secret := strings.Repeat("k", 32)
	sign := func(principal auth.Principal) string {
		principal.Subject, principal.ExpiresAt = "test", time.Now().Add(time.Hour)
		token, err := auth.Sign([]byte(secret), "issuer", "audience", principal)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	const (
		ok        = "200"
		unknown   = "null" // an admin asks for what does not exist
		forbidden = "forbidden"
		no        = "401"
	)
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			database := dbtest.OpenURL(t, url)
			customers, err := database.FillDemo(t.Context(), 30)
			if err != nil {
				t.Fatal(err)
			}
			own, foreign := customers[mestiniumm], customers[generated]
			missing := models.Customer{ID: "00000000-0000-4000-8000-000000000000", Number: 999}
			base := startServer(t, map[string]string{
				"DATABASE_URL": url, "ROSTER_JWT_SECRET": secret, "ROSTER_JWT_ISSUER": "issuer", "ROSTER_JWT_AUDIENCE": "audience",
			})
			admin := sign(auth.Principal{Authorities: []string{auth.RoleAdmin}})
			company := sign(auth.Principal{Authorities: []string{auth.RoleCompanyAdmin}, CustomerIDs: []models.ID{own.ID}})
			byNumber := sign(auth.Principal{Authorities: []string{auth.RoleCompanyAdmin}, CustomerNumbers: []int64{own.Number}})
			member := sign(auth.Principal{Authorities: []string{"ROLE_USER"}, CustomerIDs: []models.ID{own.ID}})
			nobody := sign(auth.Principal{})
			for _, test := range []struct {
				caller, token    string
				customer         models.Customer
				company          int64
				graph, testinium string
			}{
				{"no token", "", own, own.Number, no, no},
				{"bad token", "x.y.z", own, own.Number, no, no},
				{"admin, existing", admin, own, own.Number, ok, ok},
				{"admin, another's company id", admin, own, 12345, ok, ok},
				{"admin, missing", admin, missing, 1, unknown, unknown},
				{"company admin, own", company, own, own.Number, ok, ok},
				{"company admin by number, own", byNumber, own, own.Number, ok, ok},
				{"company admin, own, another's company id", company, own, *foreign.CompanyID, ok, forbidden},
				{"company admin, foreign", company, foreign, *foreign.CompanyID, forbidden, forbidden},
				{"company admin, missing", company, missing, 1, forbidden, forbidden},
				{"member, own", member, own, own.Number, ok, forbidden},
				{"member, foreign", member, foreign, *foreign.CompanyID, forbidden, forbidden},
				{"member, missing", member, missing, 1, forbidden, forbidden},
				{"nobody, existing", nobody, own, own.Number, forbidden, forbidden},
			} {
				t.Run(test.caller, func(t *testing.T) {
					query := fmt.Sprintf(`{"query":"{ customer(id: \"%s\") { name users { nodes { email } } } }"}`, test.customer.ID)
					status, _, body := ask(t, "POST", base+"/graphql", test.token, query)
					want := map[string]struct {
						status int
						text   string
					}{
						ok:        {200, "@"},
						unknown:   {200, `{"data":{"customer":null}}`},
						forbidden: {200, `"code":"FORBIDDEN"`},
						no:        {401, `"code":"UNAUTHENTICATED"`},
					}[test.graph]
					if status != want.status || !strings.Contains(body, want.text) {
						t.Errorf("GraphQL by id: %d %s", status, body)
					}
					query = fmt.Sprintf(`{"query":"{ customerByNumber(number: %d) { name users { nodes { email } } } }"}`, test.customer.Number)
					status, _, body = ask(t, "POST", base+"/graphql", test.token, query)
					if status != want.status || !strings.Contains(body, strings.Replace(want.text, "customer", "customerByNumber", 1)) {
						t.Errorf("GraphQL by number: %d %s", status, body)
					}
					status, _, body = ask(t, "GET", fmt.Sprintf("%s/auth/api/v1/customers/%s/users", base, test.customer.ID), test.token, "")
					if wantStatus := map[string]int{ok: 200, unknown: 404, forbidden: 403, no: 401}[test.graph]; status != wantStatus || (status == 200) != strings.Contains(body, "@") {
						t.Errorf("Worth: %d %s", status, body)
					}
					status, _, body = ask(t, "GET", fmt.Sprintf("%s/account/api/v1/customers/%d/users/", base, test.customer.Number), test.token, "",
						"current-company-id", fmt.Sprint(test.company))
					if wantStatus := map[string]int{ok: 200, unknown: 404, forbidden: 403, no: 401}[test.testinium]; status != wantStatus || (status == 200) != strings.Contains(body, "@") {
						t.Errorf("Testinium: %d %s", status, body)
					}
				})
			}
		})
	}
}

// emptyDatabase makes a database without rows and gives what "roster serve" needs to start
// on it.
func emptyDatabase(t testing.TB) map[string]string {
	t.Helper()
	env := map[string]string{
		"DATABASE_URL": "sqlite:" + filepath.Join(t.TempDir(), "r.db"), "ROSTER_JWT_SECRET": strings.Repeat("k", 32),
		"ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
	}
	if _, _, err := command(t, env, "migrate"); err != nil {
		t.Fatal(err)
	}
	return env
}

// startServer runs "roster serve" with these settings until the test ends.
func startServer(t testing.TB, env map[string]string) string {
	t.Helper()
	return startServerUntil(context.Background(), t, env)
}

// startServerUntil runs "roster serve" until ctx is done, or the test ends.
func startServerUntil(ctx context.Context, t testing.TB, env map[string]string) string {
	t.Helper()
	return startServerLogging(ctx, t, env, io.Discard)
}

// startServerLogging is startServerUntil with a place for the lines of the log.
func startServerLogging(ctx context.Context, t testing.TB, env map[string]string, lines io.Writer) string {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"serve", "--listen", "127.0.0.1:0"}, func(name string) string { return env[name] }, strings.NewReader(""), io.Discard, writer)
		writer.CloseWithError(io.EOF)
		ended <- err
	}()
	log := bufio.NewScanner(reader)
	for log.Scan() {
		if _, address, ok := strings.Cut(log.Text(), "msg=serving address="); ok {
			go func() { _, _ = io.Copy(lines, reader) }()
			t.Cleanup(func() {
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("the server ended with %v", err)
				}
			})
			address, _, _ = strings.Cut(address, " ")
			return "http://" + address
		}
	}
	cancel()
	t.Fatalf("the server did not start: %v", <-ended)
	return ""
}

// Every mistake in the settings is one clear line, before anything listens.
func TestMistakesAreNamedBeforeAnythingListens(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	current := "sqlite:" + filepath.Join(folder, "current.db")
	if _, _, err := command(t, nil, "migrate", "--database-url", current); err != nil {
		t.Fatal(err)
	}
	empty := file("empty.db", "")
	broken := file("broken.db", strings.Repeat("not a database ", 500))
	good := map[string]string{"DATABASE_URL": current, "ROSTER_JWT_SECRET": strings.Repeat("k", 32), "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a"}
	for _, test := range []struct {
		name  string
		env   map[string]string
		args  []string
		wants string
	}{
		{"no key", map[string]string{"ROSTER_JWT_SECRET": ""}, nil, "exactly one of --jwt-secret, --jwt-public-key-file and --jwt-jwks-url is needed; 0 are given"},
		{"short secret", map[string]string{"ROSTER_JWT_SECRET": "short"}, nil, `--jwt-secret: issuer "i": the secret has 5 bytes`},
		{"no issuer", map[string]string{"ROSTER_JWT_ISSUER": ""}, nil, "--jwt-issuer (ROSTER_JWT_ISSUER) is not set"},
		{"no audience", map[string]string{"ROSTER_JWT_AUDIENCE": ""}, nil, "--jwt-audience (ROSTER_JWT_AUDIENCE) is not set"},
		{"two keys", nil, []string{"--jwt-jwks-url", "https://keys.example"}, "one"},
		{"no key file", map[string]string{"ROSTER_JWT_SECRET": ""}, []string{"--jwt-public-key-file", filepath.Join(folder, "none.pem")}, "none.pem"},
		{"not a key", map[string]string{"ROSTER_JWT_SECRET": ""}, []string{"--jwt-public-key-file", empty}, "is empty"},
		{"no secret file", map[string]string{"ROSTER_JWT_SECRET": "", "ROSTER_JWT_SECRET_FILE": filepath.Join(folder, "none")}, nil, "ROSTER_JWT_SECRET_FILE"},
		{"a secret twice", map[string]string{"ROSTER_JWT_SECRET_FILE": file("secret", strings.Repeat("k", 32))}, nil, "ROSTER_JWT_SECRET and ROSTER_JWT_SECRET_FILE are both set"},
		{"no claim of customers", nil, []string{"--jwt-customer-claim="}, "--jwt-customer-claim: it must name a claim"},
		{"no claim of authorities", nil, []string{"--jwt-authorities-claim="}, "--jwt-authorities-claim: it must name a claim"},
		{"unknown database", map[string]string{"DATABASE_URL": "mysql://x"}, nil, `must start with "sqlite:" or "postgres://"`},
		{"no database", map[string]string{"DATABASE_URL": "sqlite:" + filepath.Join(folder, "none.db")}, nil, "roster migrate"},
		{"schema not current", map[string]string{"DATABASE_URL": "sqlite:" + empty}, nil, "run roster migrate"},
		{"not a database", map[string]string{"DATABASE_URL": "sqlite:" + broken}, nil, "cannot open the database " + broken},
		{"a folder", map[string]string{"DATABASE_URL": "sqlite:" + folder}, nil, "it must be in a folder that exists"},
		{"no server", map[string]string{"DATABASE_URL": "postgres://user:hunter2@127.0.0.1:1/db"}, nil, "cannot open the database"},
		{"bad address", nil, []string{"--listen", "nowhere:0"}, "cannot listen on nowhere:0"},
		{"bad address for the operator", nil, []string{"--admin-listen", "nowhere:0"}, "--admin-listen: cannot listen on nowhere:0"},
		{"no certificate", nil, []string{"--tls-cert=", "--tls-key="}, "--tls-cert: it must name a file"},
		{"no trusted documents", nil, []string{"--trusted-documents="}, "--trusted-documents: it must name a file"},
		{"no time", nil, []string{"--request-timeout", "0s"}, "--request-timeout is 0s"},
		{"not a time", nil, []string{"--request-timeout", "soon"}, "--request-timeout"},
		{"no limit", nil, []string{"--max-cost", "0"}, "--max-cost is 0"},
		{"not a flag", nil, []string{"--frobnicate"}, "--frobnicate"},
		{"bad trusted documents", nil, []string{"--trusted-documents", empty}, "trusted documents"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := map[string]string{}
			maps.Copy(env, good)
			maps.Copy(env, test.env)
			// A server that starts in spite of the mistake fails the test, not the clock.
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var log lockedBuffer
			err := run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0"}, test.args...), func(name string) string { return env[name] },
				strings.NewReader(""), io.Discard, writerFunc(func(data []byte) (int, error) {
					if bytes.Contains(data, []byte("msg=serving")) {
						cancel()
					}
					return log.Write(data)
				}))
			if err == nil || !strings.Contains(err.Error(), test.wants) {
				t.Fatalf("got %v, want a message with %q", err, test.wants)
			}
			if strings.Contains(log.String(), "msg=serving") {
				t.Error("it listened")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message shows the password: %v", err)
			}
		})
	}
}

type writerFunc func([]byte) (int, error)

// Write calls the function.
func (f writerFunc) Write(data []byte) (int, error) { return f(data) }

// A migrated file that is filled by import is served, and a token from "roster
// token" opens it: the way of someone who sets Roster up for real.
func TestFromDocumentsToAnswers(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			env := map[string]string{
				"DATABASE_URL": dbtest.Empty(t, engine), "ROSTER_JWT_SECRET": strings.Repeat("k", 32),
				"ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a", "ROSTER_LEGACY_CREDENTIALS": "true",
			}
			must := func(args ...string) string {
				t.Helper()
				out, log, err := command(t, env, args...)
				if err != nil {
					t.Fatalf("roster %s: %v\n%s", strings.Join(args, " "), err, log)
				}
				return out
			}
			if out := must("migrate"); !strings.Contains(out, "ran migration 0001") || !strings.HasSuffix(out, "the schema is current\n") {
				t.Errorf("migrate said %q", out)
			}
			if out := must("migrate"); out != "the schema is current\n" {
				t.Errorf("migrating again said %q", out)
			}
			const customer = "3f6c1d52-8f0a-4b7e-9a41-6d2c5e8b7f10"
			if out := must("import", "--from", "testinium", "db/demo/testinium.json"); !strings.Contains(out, "read 5 rows: 5 users created") {
				t.Errorf("import said %q", out)
			}
			if out := must("import", "--from", "worth", "--customer", customer, "db/demo/worth.json"); !strings.Contains(out, "read 1 rows: 1 users created") {
				t.Errorf("import said %q", out)
			}
			if out := must("import", "--from", "testinium", "db/demo/testinium.json"); !strings.Contains(out, "0 users created, 0 updated, 5 unchanged") {
				t.Errorf("importing again said %q", out)
			}
			base := startServer(t, env)
			token := strings.TrimSpace(must("token", "--sub", "me", "--authority", "ROLE_COMPANY_ADMIN", "--customer", "3393", "--customer", customer))

			_, _, got := ask(t, "GET", base+"/account/api/v1/customers/3393/users/", token, "", "current-company-id", "3393")
			if diff := cmp.Diff(compactFile(t, "db/demo/testinium.json"), got); diff != "" {
				t.Errorf("Testinium's example came back different (-want +got):\n%s", diff)
			}
			_, _, got = ask(t, "GET", base+"/auth/api/v1/customers/"+customer+"/users", token, "")
			if diff := cmp.Diff(compactFile(t, "db/demo/worth.json"), got); diff != "" {
				t.Errorf("Worth's example came back different (-want +got):\n%s", diff)
			}
			if status, _, body := ask(t, "GET", base+"/readyz", "", ""); status != 200 || body != "ready\n" {
				t.Errorf("/readyz: %d %s", status, body)
			}
		})
	}
}

// compactFile reads a JSON file and takes the white space out of it.
func compactFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := json.Compact(&text, data); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text.String())
}

// Who is told to migrate can: an older version than that of the schema is not sent
// from command to command.
func TestSchemaTooNew(t *testing.T) {
	databaseURL := "sqlite:" + filepath.Join(t.TempDir(), "r.db")
	env := map[string]string{
		"DATABASE_URL": databaseURL, "ROSTER_JWT_SECRET": strings.Repeat("k", 32), "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
	}
	if _, _, err := command(t, env, "migrate"); err != nil {
		t.Fatal(err)
	}
	if _, err := dbtest.ConnectURL(t, databaseURL).ExecContext(t.Context(), "INSERT INTO bun_migrations (name, group_id, migrated_at) VALUES ('9999', 9, '2024-02-12 14:16:49+00:00')"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"migrate"}, {"import", "--from", "testinium", "db/demo/testinium.json"}, {"serve", "--listen", "127.0.0.1:0"}} {
		out, _, err := command(t, env, args...)
		if !errors.Is(err, db.ErrSchemaTooNew) || strings.Contains(err.Error(), "roster migrate") || strings.Contains(out, "is current") {
			t.Errorf("%s says %q, error %v", args[0], out, err)
		}
	}
}

// The variable of "serve" is one of "migrate" too, so that one environment does for both.
func TestMigrateTurnsOnRowLevelSecurity(t *testing.T) {
	for value, want := range map[string]string{
		"true": "the schema is current\nrow level security is on\n", "false": "the schema is current\n",
	} {
		env := map[string]string{"DATABASE_URL": dbtest.URL(t, db.Postgres), "ROSTER_ROW_LEVEL_SECURITY": value}
		if out, _, err := command(t, env, "migrate"); err != nil || out != want {
			t.Errorf("with %s it says %q, error %v", value, out, err)
		}
	}
}

// A command whose output is lost, as on a disk that is full, does not pass for a good one.
func TestLostOutputIsAnError(t *testing.T) {
	full := errors.New("no space left")
	env := map[string]string{
		"DATABASE_URL": "sqlite:" + filepath.Join(t.TempDir(), "r.db"), "ROSTER_JWT_SECRET": strings.Repeat("k", 32), "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
	}
	for _, args := range [][]string{{"migrate"}, {"import", "--from", "testinium", "db/demo/testinium.json"}, {"token", "--sub", "me"}, {"version"}} {
		err := run(t.Context(), args, func(name string) string { return env[name] }, strings.NewReader(""),
			writerFunc(func([]byte) (int, error) { return 0, full }), io.Discard)
		if !errors.Is(err, full) {
			t.Errorf("%s: %v", args[0], err)
		}
	}
	// What they had to do is done.
	if out, _, err := command(t, env, "import", "--from", "testinium", "db/demo/testinium.json"); err != nil || !strings.Contains(out, "5 unchanged") {
		t.Errorf("importing again says %q, error %v", out, err)
	}
}

// Servers are replaced one by one after the schema has changed: the old ones go on
// serving, and say so. One that lacks a migration does not.
func TestReadyWithANewerSchema(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			databaseURL := dbtest.URL(t, engine)
			env := map[string]string{
				"DATABASE_URL": databaseURL, "ROSTER_JWT_SECRET": strings.Repeat("k", 32), "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
			}
			var log lockedBuffer
			base := startServerLogging(t.Context(), t, env, &log)
			conn := dbtest.ConnectURL(t, databaseURL)
			for _, step := range []struct {
				statement string
				status    int
				text      string
			}{
				{"SELECT 1", 200, "ready\n"},
				{"INSERT INTO bun_migrations (name, group_id, migrated_at) VALUES ('9999', 9, '2024-02-12 14:16:49+00:00')", 200, "ready: the schema is newer than this server\n"},
				{"UPDATE bun_migrations SET group_id = 10 WHERE name = '9999'", 200, "ready: the schema is newer than this server\n"},
				{"UPDATE bun_migrations SET name = '0000' WHERE name = '0001'", 503, "the schema of the database is not current\n"},
				{"DELETE FROM bun_migrations WHERE name IN ('0000', '9999')", 503, "the schema of the database is not current\n"},
			} {
				if _, err := conn.ExecContext(t.Context(), step.statement); err != nil {
					t.Fatal(err)
				}
				if status, _, text := ask(t, "GET", base+"/readyz", "", ""); status != step.status || text != step.text {
					t.Errorf("after %s: %d %s", step.statement, status, text)
				}
			}
			if n := strings.Count(log.String(), "level=WARN msg=\"the schema of the database is newer than this server, which goes on serving\""); n != 1 || !strings.Contains(log.String(), "9999") {
				t.Errorf("the log tells of it %d times: %s", n, log.String())
			}
		})
	}
}

// The rejected rows are named and make the command fail; the others are in.
func TestImportNamesRejectedRows(t *testing.T) {
	folder := t.TempDir()
	env := map[string]string{"DATABASE_URL": "sqlite:" + filepath.Join(folder, "r.db")}
	if _, _, err := command(t, env, "migrate"); err != nil {
		t.Fatal(err)
	}
	document := filepath.Join(folder, "document.json")
	example, err := os.ReadFile("db/demo/testinium.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(document, bytes.Replace(example, []byte(`"entityId": 6850`), []byte(`"entityId": "x"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	out, log, err := command(t, env, "import", "--from", "testinium", document)
	if err == nil || !strings.Contains(err.Error(), "1 of 5 rows were rejected") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out, "4 users created") || !strings.Contains(log, "line ") || !strings.Contains(log, "entityId") {
		t.Errorf("stdout %q, stderr %q", out, log)
	}
	rejects := filepath.Join(folder, "rejects.txt")
	if _, _, err := command(t, env, "import", "--from", "testinium", "--rejects", rejects, document); err == nil {
		t.Error("the second run must fail too")
	}
	if data, err := os.ReadFile(rejects); err != nil || !strings.Contains(string(data), "entityId") {
		t.Errorf("the file of rejects holds %q, %v", data, err)
	}
}

func TestPublicRoutes(t *testing.T) {
	facts := startDemo(t, "--users", "10")
	for _, test := range []struct {
		method, path string
		status       int
		contains     string
	}{
		{"GET", "/healthz", 200, "ok"},
		{"GET", "/readyz", 200, "ready"},
		{"GET", "/", 302, ""},
		{"GET", "/graphiql/", 200, "GraphiQL"},
		{"GET", "/schema.graphqls", 200, "type Query"},
		{"GET", "/openapi.json", 200, `"openapi"`},
		{"GET", "/docs/", 200, "<html"},
		{"GET", "/graphql", 401, "UNAUTHENTICATED"},
		{"GET", "/nowhere", 404, ""},
		{"GET", "/auth/api/v1/nowhere", 401, "ERR_UNAUTHORIZED"},
		{"GET", "/account/api/v1/customers/../../x", 401, "UNAUTHORIZED"},
	} {
		status, header, body := ask(t, test.method, facts.URL+test.path, "", "")
		if status != test.status || !strings.Contains(body, test.contains) {
			t.Errorf("%s %s: %d %.200s", test.method, test.path, status, body)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("X-Request-Id") == "" || header.Get("Server") != "" {
			t.Errorf("%s %s: headers %v", test.method, test.path, header)
		}
	}
	// The server as a whole, which net/http would answer by itself.
	connection, err := net.Dial("tcp", strings.TrimPrefix(facts.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 400 || response.Header.Get("X-Content-Type-Options") != "nosniff" || response.Header.Get("X-Request-Id") == "" {
		t.Errorf("OPTIONS *: %s %v", response.Status, response.Header)
	}
	response.Body.Close()
	status, header, body := ask(t, "GET", facts.URL+"/graphql", "", "", "X-Request-Id", "mine-1")
	if status != 401 || header.Get("X-Request-Id") != "mine-1" || header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%d %v %s", status, header, body)
	}
	if _, header, _ := ask(t, "GET", facts.URL+"/healthz", "", "", "X-Request-Id", "no\tgood"); strings.Contains(header.Get("X-Request-Id"), "good") {
		t.Errorf("a request id that is no id was echoed: %q", header.Get("X-Request-Id"))
	}
}

// Scripts of other origins get nothing unless the operator names theirs.
func TestNoOriginsByDefault(t *testing.T) {
	facts := startDemo(t, "--users", "1")
	for _, url := range []string{facts.URL + "/healthz", facts.GraphQL, facts.GraphiQL, facts.Worth, facts.Testinium} {
		for _, method := range []string{"GET", "OPTIONS"} {
			_, header, _ := ask(t, method, url, "", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
			for name := range header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s: %s: %s", method, url, name, header.Get(name))
				}
			}
		}
	}
}

// The switches of the operator do what they say.
func TestSwitches(t *testing.T) {
	facts := startDemo(t, "--users", "10", "--no-graphiql", "--no-introspection", "--legacy-credentials", "--cors-origin", "https://Other.example:8443, http://localhost:*,null, https://app.example", "--legacy-deprecated-since", "2026-12-31")
	if status, _, _ := ask(t, "GET", facts.GraphiQL, "", ""); status != 404 {
		t.Errorf("GraphiQL is there: %d", status)
	}
	if _, _, body := ask(t, "POST", facts.GraphQL, facts.Tokens.Admin, `{"query":"{ __schema { types { name } } }"}`); !strings.Contains(body, "INTROSPECTION_DISABLED") {
		t.Errorf("introspection: %s", body)
	}
	if status, _, body := ask(t, "GET", facts.URL+"/schema.graphqls", "", ""); status != 404 {
		t.Errorf("the schema is served: %d %s", status, body)
	}
	_, header, body := ask(t, "GET", facts.Testinium, facts.Tokens.CompanyAdmin, "", "current-company-id", "3393", "Origin", "https://app.example")
	if !strings.Contains(body, "afbe7d859ad86b5149f75077c52035e3") {
		t.Errorf("no credentials: %s", body)
	}
	if header.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.HasPrefix(header.Get("Deprecation"), "@") {
		t.Errorf("headers %v", header)
	}
}

// The demo stops when it is told to, and leaves nothing behind.
func TestDemoCleansUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	facts, stop := startDemoUntil(t, "--users", "10")
	if facts.URL == "" || facts.Tokens.Admin == "" || facts.Tokens.CompanyAdmin == "" || facts.Tokens.Member == "" || len(facts.Customers) != 4 {
		t.Errorf("facts are missing: %+v", facts)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The demo says what it cannot do.
func TestDemoRefuses(t *testing.T) {
	if _, _, err := command(t, nil, "demo", "--users=-1"); err == nil || !strings.HasPrefix(err.Error(), "--users is -1; it must be between") {
		t.Errorf("got %v", err)
	}
}

// A token is good for the server of the same settings, wherever its claims stand.
func TestTokenHasTheClaimsOfTheSettings(t *testing.T) {
	env := map[string]string{
		"DATABASE_URL":      "sqlite:" + filepath.Join(t.TempDir(), "r.db"),
		"ROSTER_JWT_SECRET": strings.Repeat("k", 32), "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
		"ROSTER_JWT_CUSTOMER_CLAIM": "org.customer", "ROSTER_JWT_AUTHORITIES_CLAIM": "realm_access.roles",
	}
	for _, args := range [][]string{{"migrate"}, {"import", "--from", "testinium", "db/demo/testinium.json"}} {
		if _, _, err := command(t, env, args...); err != nil {
			t.Fatal(err)
		}
	}
	token, _, err := command(t, env, "token", "--sub", "me", "--customer", "3393", "--authority", "ROLE_COMPANY_ADMIN")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"data":{"viewer":{"authorities":["ROLE_COMPANY_ADMIN"]},"customerByNumber":{"number":3393}}}`
	if _, _, got := ask(t, "POST", startServer(t, env)+"/graphql", strings.TrimSpace(token), `{"query":"{ viewer { authorities } customerByNumber(number: 3393) { number } }"}`); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A refusal reaches a client that is still sending its body, which is not cut off.
func TestRefusalsReachSlowSenders(t *testing.T) {
	facts := startDemo(t, "--users", "1")
	const pieces, piece = 20, 1_000
	for name, test := range map[string]struct {
		header string
		first  int // bytes of the body that come with the header
	}{
		"nothing has arrived": {"", 0},
		"a part has arrived":  {"", piece},
		"much has arrived":    {"", 270 << 10},
		"nobody was asked":    {"Expect: 100-continue\r\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			connection, err := net.Dial("tcp", strings.TrimPrefix(facts.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			send := func(format string, args ...any) {
				if _, err := fmt.Fprintf(connection, format, args...); err != nil {
					t.Fatal("the connection was cut: ", err)
				}
			}
			send("POST /graphql HTTP/1.1\r\nHost: roster\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
				test.header, test.first+pieces*piece, strings.Repeat(" ", test.first))
			response, err := http.ReadResponse(bufio.NewReader(connection), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != 401 || !response.Close {
				t.Errorf("%s, %v, %v", response.Status, response.Header, err)
			}
			for range pieces {
				send("%s", strings.Repeat(" ", piece))
			}
		})
	}
}

// What demo prints can be pasted.
func TestDemoText(t *testing.T) {
	var out bytes.Buffer
	customers := []demoCustomer{{ID: "a", Number: 1, Name: "Sandbox"}, {ID: "b", Number: 3393, Name: "Mestiniumm"}, {ID: "c", Number: 5001, Name: "Ü"}}
	facts := demoFacts{Customers: customers, Tokens: demoTokens{"T1", "T2", "T3"}}
	facts.locate("http://127.0.0.1:8080")
	if err := (&demoCommand{}).print(&out, facts); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"curl -s http://127.0.0.1:8080/graphql -H 'Content-Type: application/json' -H 'Authorization: Bearer T1' -d '{\"query\"",
		"curl -s http://127.0.0.1:8080/auth/api/v1/customers/a/users -H 'Authorization: Bearer T3'",
		"curl -s http://127.0.0.1:8080/account/api/v1/customers/3393/users/ -H 'Authorization: Bearer T2' -H 'current-company-id: 3393'",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

// Without flags, documents have the limits that the tests of package graph go by.
func TestDefaultLimits(t *testing.T) {
	parsed, err := parse([]string{"serve"}, func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := parsed.Model.Target.Addr().Interface().(*commandLine).Serve.graph()
	if err != nil || settings.Limits != graph.DefaultLimits() {
		t.Errorf("%+v, %v", settings.Limits, err)
	}
}

// Every flag is in the tables of docs/settings.md, so that none is left out.
func TestSettingsAreDocumented(t *testing.T) {
	settings, err := os.ReadFile("docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"demo", "serve", "migrate", "import", "token"} {
		help, _, err := command(t, nil, name, "--help")
		if err != nil {
			t.Fatal(err)
		}
		for word := range strings.FieldsSeq(help) {
			flag, _, _ := strings.Cut(word, "=")
			flag = strings.Replace(flag, "[no-]", "", 1)
			if strings.HasPrefix(flag, "--") && len(flag) > 2 && flag != "--help" && !strings.Contains(string(settings), "`"+flag+"`") {
				t.Errorf("docs/settings.md does not tell of %s %s", name, flag)
			}
		}
	}
}

// An id of the caller stands in the log and in a header only if it can do no harm there.
func TestRequestIDs(t *testing.T) {
	server := &server{}
	for id, kept := range map[string]bool{
		"az-AZ_09.": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a b": false, "a\"b": false, "a/b": false, "a:b": false,
		"a@b": false, "a[b": false, "a`b": false, "a{b": false, "a\x7fb": false, "a\xffb": false, "a\r\nb": false,
	} {
		var inside string
		handler := server.assignRequestID(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { inside = graph.RequestID(r.Context()) }))
		request, answer := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		request.Header.Set("X-Request-Id", id)
		handler.ServeHTTP(answer, request)
		if got := answer.Header().Get("X-Request-Id"); got == "" || got != inside || (got == id) != kept {
			t.Errorf("%q became %q in the header and %q in the log", id, got, inside)
		}
	}
}
