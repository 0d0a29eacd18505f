package db_test

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// loginRole makes a role that may read, and gives the URL by which it does.
func loginRole(t *testing.T, name, options string) (ownerURL string, serving *url.URL) {
	t.Helper()
	ownerURL = dbtest.Postgres(t).URL()
	conn := dbtest.ConnectURL(t, ownerURL)
	for _, statement := range []string{
		"CREATE ROLE " + name + " LOGIN " + options, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO " + name,
	} {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	serving, err := url.Parse(ownerURL)
	if err != nil {
		t.Fatal(err)
	}
	serving.User = url.User(name)
	return ownerURL, serving
}

// A database that refuses the login is away, and not a failure of the server.
func TestRefusedLoginIsUnavailable(t *testing.T) {
	ownerURL, named := loginRole(t, "roster_refused_test", "")
	serving := dbtest.OpenURL(t, named.String())
	owner := dbtest.ConnectURL(t, ownerURL)
	for _, statement := range []string{
		"ALTER ROLE roster_refused_test NOLOGIN", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'roster_refused_test'",
	} {
		if _, err := owner.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	_, err := serving.CountCustomers(t.Context(), models.Scope{All: true}, "")
	if code := models.AsError(err).Code; code != models.CodeUnavailable {
		t.Errorf("the code is %s: %v", code, err)
	}
	if _, err := owner.ExecContext(t.Context(), "ALTER ROLE roster_refused_test LOGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := serving.CountCustomers(t.Context(), models.Scope{All: true}, ""); err != nil {
		t.Error(err)
	}
}

// A server that takes no connection in time is away; the caller has not asked for too much.
func TestLateConnectionIsUnavailable(t *testing.T) {
	cluster := dbtest.Postgres(t)
	databaseURL := cluster.URL()
	serving, owner := dbtest.OpenURL(t, databaseURL+"&connect_timeout=1"), dbtest.ConnectURL(t, databaseURL)
	until(t, "its connections are gone", func() bool {
		var n int
		if err := owner.QueryRowContext(t.Context(), "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'roster'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
	cluster.Pause()
	_, err := serving.CountCustomers(t.Context(), models.Scope{All: true}, "")
	cluster.Resume()
	if code := models.AsError(err).Code; code != models.CodeUnavailable {
		t.Errorf("the code is %s: %v", code, err)
	}
}

// Where PostgreSQL gives no more connections, those that there are answer everybody.
func TestNoConnectionLeft(t *testing.T) {
	_, named := loginRole(t, "roster_few_test", "CONNECTION LIMIT 3")
	serving := dbtest.OpenURL(t, named.String())
	if _, err := serving.CountCustomers(t.Context(), models.Scope{All: true}, ""); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 50 {
				if _, err := serving.CountCustomers(t.Context(), models.Scope{All: true}, ""); err != nil {
					t.Errorf("%v: %v", err, models.AsError(err).Err)
					return
				}
			}
		})
	}
	group.Wait()
	// Nor is there one for the question whether the schema is current.
	if err := serving.CheckSchema(t.Context()); err != nil {
		t.Error(err)
	}
}

// Of several servers in a URL one that hangs leaves time for the others.
func TestSecondOfSeveralServers(t *testing.T) {
	hanging, err := net.Listen("tcp", "127.0.0.1:0") // the system takes connections for it
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()
	host, port, _ := net.SplitHostPort(hanging.Addr().String())
	several := func(databaseURL string) string {
		return strings.NewReplacer("?host=", "?host="+host+",", "&port=", "&port="+port+",").Replace(databaseURL)
	}
	primary := dbtest.Primary(t)
	databaseURL := primary.URL()
	replica := primary.Replica()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // what a request has
	defer cancel()
	opened, err := db.Open(ctx, several(databaseURL), db.Options{StatementTimeout: time.Minute, Replicas: []string{several(replica.DSN(databaseOf(t, databaseURL)))}})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	until(t, "the replica is used", func() bool { return opened.Replicas()[0].Used })
}
