package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roster/db"
	"roster/db/dbtest"
)

// TestReplicas does to read replicas what happens to them, under callers who do
// not stop. No caller notices anything: what fails on a replica is answered by
// the primary, a replica that is not well is left out, and comes back.
func TestReplicas(t *testing.T) {
	primary := dbtest.Primary(t)
	databaseURL := primary.URL()
	dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), dbtest.Users(60, 1))
	writer := dbtest.ConnectURL(t, databaseURL)
	replica := primary.Replica()
	_, name, _ := strings.Cut(databaseURL, "@/")
	name, _, _ = strings.Cut(name, "?")
	replicaURL := replica.DSN(name)
	leaks := goleak.IgnoreCurrent()

	t.Run("Served", func(t *testing.T) {
		trial := newTrial(t, databaseURL, "--admin-listen", "127.0.0.1:0", "--database-replica-url", replicaURL, "--max-replica-lag", "2s")
		watch := &replicaWatch{t: t, trial: trial}
		watch.wait("used at first", func(m replicaFigures) bool { return m.used })
		requests := func() float64 { return watch.read().requests }

		for _, fault := range []struct {
			name          string
			inflict, heal func()
		}{
			{"Killed", replica.Kill, replica.Start},
			{"Stopped", replica.Stop, replica.Start},
			{"Frozen", replica.Pause, replica.Resume},
			{"ConnectionsCut", func() { cutConnections(t, replicaURL, "true") }, func() {}},
		} {
			t.Run(fault.name, func(t *testing.T) {
				trial.t, watch.t = t, t
				trial.round("")
				before := requests()
				trial.round("")
				if requests() == before {
					t.Error("the replica serves nobody")
				}
				stop := trial.hammer(3)
				fault.inflict()
				for range 5 {
					trial.round("")
				}
				if fault.name != "ConnectionsCut" {
					watch.wait("left out", func(m replicaFigures) bool { return !m.used })
				}
				trial.round("")
				fault.heal()
				watch.wait("used again", func(m replicaFigures) bool { return m.used })
				before = requests()
				trial.round("")
				watch.wait("serving again", func(m replicaFigures) bool { return m.requests > before })
				stop()
				t.Logf("the slowest answer took %s; %s; %.0f statements ran again on the primary",
					trial.slowest().Round(time.Millisecond), trial.tally(), watch.read().reruns)
			})
		}

		t.Run("PrimaryAway", func(t *testing.T) {
			trial.t, watch.t = t, t
			ready := func(want string) {
				t.Helper()
				if status, text := trial.get("/readyz"); status != http.StatusOK || text != want {
					t.Errorf("/readyz: %d %s", status, text)
				}
			}
			ready("ready\n")
			primary.Pause()
			ready("ready, by a replica: the database does not answer\n")
			primary.Kill()
			ready("ready, by a replica: the database does not answer\n")
			trial.round("")
			replica.Stop()
			watch.wait("left out", func(m replicaFigures) bool { return !m.used })
			if status, text := trial.get("/readyz"); status != http.StatusServiceUnavailable {
				t.Errorf("/readyz: %d %s", status, text)
			}
			primary.Start()
			replica.Start()
			watch.wait("used again", func(m replicaFigures) bool { return m.used })
			trial.round("")
			ready("ready\n")
		})

		t.Run("Lagging", func(t *testing.T) {
			trial.t, watch.t = t, t
			var paused string
			if err := query(t, replica.DSN("postgres"), "SELECT pg_wal_replay_pause()::text", &paused); err != nil {
				t.Fatal(err)
			}
			name := func(header ...string) string {
				_, body := trial.sendWith(call{method: "POST", path: "/graphql", body: `{"query":"{ customerByNumber(number: 1) { name subroles { displayName } users(first: 50) { nodes { subrole { displayName } } } } }"}`}, header...)
				return body
			}
			if _, err := writer.ExecContext(t.Context(), "UPDATE customers SET name = 'Written last' WHERE number = 1"); err != nil {
				t.Fatal(err)
			}
			if _, err := writer.ExecContext(t.Context(), "UPDATE subroles SET display_name = 'Written too'"); err != nil {
				t.Fatal(err)
			}
			fresh := name("X-Roster-Fresh", "1")
			if !strings.Contains(fresh, "Written last") || !strings.Contains(fresh, "Written too") {
				t.Errorf("X-Roster-Fresh does not show what was written: %s", fresh)
			}
			if before := watch.read(); before.used && strings.Contains(name(), "Written last") && watch.read().used {
				t.Error("the replica shows what it has not replayed")
			}
			watch.wait("left out", func(m replicaFigures) bool { return !m.used })
			if body := name(); body != fresh {
				t.Errorf("a replica that lags is asked: %s", body)
			}
			if err := query(t, replica.DSN("postgres"), "SELECT pg_wal_replay_resume()::text", &paused); err != nil {
				t.Fatal(err)
			}
			watch.wait("used again", func(m replicaFigures) bool { return m.used })
			if body := name(); body != fresh {
				t.Errorf("the replica has caught up and shows %s", body)
			}
		})

		t.Run("CutOffFromThePrimary", func(t *testing.T) {
			trial.t, watch.t = t, t
			setting := func(value string) {
				conn := dbtest.ConnectURL(t, replica.DSN("postgres"))
				for _, statement := range []string{"ALTER SYSTEM SET primary_conninfo = '" + value + "'", "SELECT pg_reload_conf()"} {
					if _, err := conn.ExecContext(t.Context(), statement); err != nil {
						t.Fatal(err)
					}
				}
			}
			var conninfo string
			if err := query(t, replica.DSN("postgres"), "SELECT current_setting('primary_conninfo')", &conninfo); err != nil {
				t.Fatal(err)
			}
			setting("host=/nowhere")
			watch.wait("left out", func(m replicaFigures) bool {
				if _, err := writer.ExecContext(t.Context(), "UPDATE customers SET updated_at = updated_at"); err != nil {
					t.Fatal(err)
				}
				return !m.used
			})
			setting(strings.ReplaceAll(conninfo, "'", "''"))
			watch.wait("used again", func(m replicaFigures) bool { return m.used })
		})
	})

	deadline := time.Now().Add(20 * time.Second)
	waiting := goleak.IgnoreAnyFunction("roster/db/dbtest.(*Cluster).startOnce.func1")
	for err := goleak.Find(leaks, waiting); err != nil; err = goleak.Find(leaks, waiting) {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// replicaFigures are what the metrics tell of the replica.
type replicaFigures struct {
	used             bool
	requests, reruns float64
}

// replicaWatch reads the metrics of a server with one replica.
type replicaWatch struct {
	t     *testing.T
	trial *trial
}

var adminAddress = regexp.MustCompile(`admin=(\S+)`)

func (w *replicaWatch) read() (figures replicaFigures) {
	w.t.Helper()
	address := adminAddress.FindStringSubmatch(w.trial.server.log.String())
	if address == nil {
		w.t.Fatal("the server does not say where its metrics are")
	}
	status, _, text := ask(w.t, http.MethodGet, "http://"+address[1]+"/metrics", "", "")
	if status != http.StatusOK {
		w.t.Fatalf("the metrics: %d", status)
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		name, _, _ = strings.Cut(name, "{")
		number, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "roster_replica_used":
			figures.used = number == 1
		case "roster_replica_requests_total":
			figures.requests = number
		case "roster_replica_reruns_total":
			figures.reruns = number
		}
	}
	return figures
}

func (w *replicaWatch) wait(what string, ok func(replicaFigures) bool) {
	w.t.Helper()
	var figures replicaFigures
	if !within(30*time.Second, func() bool { figures = w.read(); return ok(figures) }) {
		w.t.Fatalf("the replica is not %s: %+v\n%s", what, figures, w.trial.server.log.String())
	}
}

// The header that asks for the primary is understood, or refused, by every API,
// with replicas and without.
func TestFreshHeader(t *testing.T) {
	facts := startDemo(t, "--cors-origin", "https://app.example", "--users", "1")
	token := facts.Tokens.Admin
	for _, api := range []struct{ method, path, body, code string }{
		{"POST", "/graphql", `{"query":"{ viewer { subject } }"}`, `"code":"BAD_REQUEST"`},
		{"GET", "/auth/api/v1/customers/" + string(facts.Customers[0].ID) + "/users", "", `"errorCode":"ERR_BAD_REQUEST"`},
		{"GET", fmt.Sprintf("/account/api/v1/customers/%d/users/", facts.Customers[0].Number), "", `"error":"INVALID_REQUEST"`},
	} {
		headers := []string{"Content-Type", "application/json", "Current-Company-Id", "1"}
		if status, _, body := ask(t, api.method, facts.URL+api.path, token, api.body, append(headers, "X-Roster-Fresh", "1")...); status != http.StatusOK {
			t.Errorf("%s: %d %s", api.path, status, body)
		}
		for _, value := range []string{"0", "true", "1, 1", ""} {
			status, _, body := ask(t, api.method, facts.URL+api.path, token, api.body, append(headers, "X-Roster-Fresh", value)...)
			if status != http.StatusBadRequest || !strings.Contains(body, api.code) || !strings.Contains(body, "The header X-Roster-Fresh must be 1") {
				t.Errorf("%s with %q: %d %s", api.path, value, status, body)
			}
		}
		_, header, _ := ask(t, http.MethodOptions, facts.URL+api.path, "", "", "Origin", "https://app.example",
			"Access-Control-Request-Method", api.method, "Access-Control-Request-Headers", "x-roster-fresh")
		if !strings.EqualFold(header.Get("Access-Control-Allow-Headers"), "X-Roster-Fresh") {
			t.Errorf("%s: a browser may not send the header: %v", api.path, header)
		}
	}
}

// What is wrong with the replicas' settings is said before anything listens.
func TestReplicaSettings(t *testing.T) {
	postgres := dbtest.URL(t, db.Postgres)
	for _, wrong := range []struct{ database, replicas, lag, want string }{
		{dbtest.URL(t, db.SQLite), "postgres://a/b", "5s", "--database-replica-url is for PostgreSQL"},
		{postgres, "sqlite:x.db", "5s", `--database-replica-url: number 1: the URL must start with "postgres://"`},
		{postgres, "postgres://a/b,postgres://a:5432/b", "5s", "--database-replica-url: number 2: a:5432/b is named twice"},
		{postgres, "postgres://a:secret@a:b/c", "5s", "--database-replica-url: number 1: the database URL is wrong"},
		{postgres, "postgres://a/b", "1s", "--max-replica-lag is 1s; it must be at least 2s"},
		{postgres, "", "1s", "--max-replica-lag is 1s; it must be at least 2s"},
	} {
		_, _, err := command(t, map[string]string{
			"DATABASE_URL": wrong.database, "ROSTER_DATABASE_REPLICA_URL": wrong.replicas, "ROSTER_MAX_REPLICA_LAG": wrong.lag,
			"ROSTER_JWT_SECRET": strings.Repeat("k", 32), "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
		}, "serve", "--listen", "127.0.0.1:0")
		if err == nil || !strings.Contains(err.Error(), wrong.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", wrong.want, err)
		}
	}
}
