package db_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// TestRequestStaysOnOneReplica has two replicas, one of which has not replayed the
// last change. What one request reads belongs together all the same: the version
// of a customer's subroles, and the subroles. It may get newer, never older.
func TestRequestStaysOnOneReplica(t *testing.T) {
	primary := dbtest.Primary(t)
	databaseURL := primary.URL()
	name := databaseOf(t, databaseURL)
	data := dbtest.Users(5, 1)
	customer := data.Customers[0].ID
	dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), data)
	current, behind := primary.Replica(), primary.Replica()
	store, err := db.Open(t.Context(), databaseURL, db.Options{
		Replicas: []string{current.DSN(name), behind.DSN(name)}, MaxReplicaLag: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	until(t, "both replicas are used", func() bool {
		states := store.Replicas()
		return states[0].Used && states[1].Used
	})

	version := func(ctx context.Context) int64 {
		t.Helper()
		found, err := store.CustomersByID(ctx, everything, []models.ID{customer})
		if err != nil {
			t.Fatal(err)
		}
		return found[customer].SubrolesVersion
	}
	displayName := func(ctx context.Context) string {
		t.Helper()
		found, err := store.Subroles(ctx, everything, customer)
		if err != nil || len(found) == 0 {
			t.Fatalf("%d subroles, error %v", len(found), err)
		}
		return found[0].DisplayName
	}
	old, oldName := version(t.Context()), displayName(t.Context())
	const newName = "Written last"

	on := func(cluster *dbtest.Cluster, database, statement string) {
		t.Helper()
		if _, err := dbtest.ConnectURL(t, cluster.DSN(database)).ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	on(behind, "postgres", "SELECT pg_wal_replay_pause()")
	on(primary, name, "UPDATE subroles SET display_name = '"+newName+"'")
	checkDiff(t, "the name on the primary", newName, displayName(t.Context()))
	until(t, "one replica has replayed the change", func() bool { return displayName(store.WithReplica(t.Context())) == newName })

	seen := map[string]int{}
	for range 20 {
		ctx := store.WithReplica(t.Context())
		got := version(ctx)
		want := newName
		if got == old {
			want = oldName
		}
		checkDiff(t, "the name", want, displayName(ctx))
		seen[want]++
	}
	if seen[newName] < 5 || seen[oldName] < 5 {
		t.Errorf("the replicas do not take turns: %v", seen)
	}

	ctx := store.WithReplica(t.Context())
	for version(ctx) != old {
		ctx = store.WithReplica(t.Context())
	}
	behind.Kill()
	checkDiff(t, "the name once the replica is gone", newName, displayName(ctx))
	if version(ctx) == old {
		t.Error("the request went back to what is old")
	}
	states := store.Replicas()
	if states[1].Used || states[1].Reruns != 1 {
		t.Errorf("the replica that is gone: %+v", states[1])
	}
	behind.Start()
	until(t, "the replica is used again", func() bool { return store.Replicas()[1].Used })

	// What has gone to the primary once stays there.
	const laterName = "Written later"
	on(behind, "postgres", "SELECT pg_wal_replay_pause()")
	on(primary, name, "UPDATE subroles SET display_name = '"+laterName+"'")
	checkDiff(t, "the name once the replica is back", laterName, displayName(ctx))
}

// TestStrangersAreNoReplicas holds that nobody reads from a server that is no
// replica of this database, however well it is, nor from the primary by mistake.
func TestStrangersAreNoReplicas(t *testing.T) {
	primary, stranger := dbtest.Primary(t), dbtest.Primary(t)
	promoted := primary.Replica()
	var log logged
	databaseURL := primary.URL()
	name := databaseOf(t, databaseURL)
	if _, err := dbtest.ConnectURL(t, databaseURL).ExecContext(t.Context(), "CREATE ROLE another SUPERUSER LOGIN"); err != nil {
		t.Fatal(err)
	}
	store, err := db.Open(t.Context(), databaseURL, db.Options{
		Replicas: []string{
			primary.DSN(name), stranger.DSN("postgres"), promoted.DSN(name), promoted.DSN("template1"),
			strings.Replace(promoted.DSN("postgres"), "postgres@", "another@", 1),
		}, Log: log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	until(t, "the replica is used", func() bool { return store.Replicas()[2].Used })
	until(t, "the log tells of the role", func() bool { return strings.Contains(log.String(), "it is read by the role another") })
	until(t, "the log tells of the database", func() bool { return strings.Contains(log.String(), "it is read in the database template1") })
	if _, err := dbtest.ConnectURL(t, promoted.DSN("postgres")).ExecContext(t.Context(), "SELECT pg_promote()"); err != nil {
		t.Fatal(err)
	}
	until(t, "it is promoted and left out", func() bool { return !store.Replicas()[2].Used })
	for _, state := range store.Replicas() {
		if state.Used {
			t.Errorf("%+v", state)
		}
	}
	for _, want := range []string{"it is not a replica", "it is not a copy of the primary"} {
		until(t, "the log says: "+want, func() bool { return strings.Contains(log.String(), want) })
	}
}

// databaseOf gives the name of a URL's database.
func databaseOf(t *testing.T, databaseURL string) string {
	t.Helper()
	parsed, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(parsed.Path, "/")
}

// TestReplicaThatFollowsNobody has a replica that received more than the one that
// took over from the primary. What was lost with the primary is not shown, neither at
// once nor when the new primary has written as much.
func TestReplicaThatFollowsNobody(t *testing.T) {
	old := dbtest.Primary(t)
	name := databaseOf(t, old.URL())
	primary, ahead := old.Replica(), old.Replica()
	onPrimary, onAhead := dbtest.ConnectURL(t, primary.DSN(name)), dbtest.ConnectURL(t, ahead.DSN(name))
	on := func(server *bun.DB, statement string) (value string) {
		t.Helper()
		if err := server.QueryRowContext(t.Context(), statement).Scan(&value); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		return value
	}
	const write = "CREATE TABLE %s AS SELECT i FROM generate_series(1, 20000) AS i"
	for _, statement := range []string{"ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'", "SELECT pg_reload_conf()"} {
		if _, err := onPrimary.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "one replica receives nothing", func() bool { return on(onPrimary, "SELECT count(*) FROM pg_stat_wal_receiver") == "0" })
	if _, err := dbtest.ConnectURL(t, old.DSN(name)).ExecContext(t.Context(), fmt.Sprintf(write, "lost")); err != nil {
		t.Fatal(err)
	}
	until(t, "the other has what will be lost", func() bool { return on(onAhead, "SELECT count(*) FROM pg_tables WHERE tablename = 'lost'") == "1" })
	old.Kill()
	on(onPrimary, "SELECT pg_promote()")

	var log logged
	store, err := db.Open(t.Context(), primary.DSN(name), db.Options{Replicas: []string{ahead.DSN(name)}, Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	until(t, "the log says why it is not used", func() bool { return strings.Contains(log.String(), "it does not follow the primary") })
	if _, err := onPrimary.ExecContext(t.Context(), fmt.Sprintf(write, "filler")); err != nil {
		t.Fatal(err)
	}
	if _, err := onPrimary.ExecContext(t.Context(), fmt.Sprintf(write, "more")); err != nil {
		t.Fatal(err)
	}
	replayed := on(onAhead, "SELECT pg_last_wal_replay_lsn()")
	if passed := on(onPrimary, "SELECT pg_current_wal_lsn() > '"+replayed+"'"); passed != "true" {
		t.Fatalf("the new primary has not written as much: %s", passed)
	}
	for range 3 {
		const asked = "SELECT max(query_start) FROM pg_stat_activity WHERE application_name = 'roster' AND pid <> pg_backend_pid()"
		last := on(onAhead, asked)
		until(t, "it is asked again", func() bool { return on(onAhead, asked) != last })
		if state := store.Replicas()[0]; state.Used {
			t.Fatalf("it is used: %+v", state)
		}
	}
}

// TestReplicaWhoseConnectionsAreCut holds that a replica is not left out because
// somebody ended the connection on which it is asked how it is.
func TestReplicaWhoseConnectionsAreCut(t *testing.T) {
	primary := dbtest.Primary(t)
	replica := primary.Replica()
	var log logged
	databaseURL := primary.URL()
	replicaURL := replica.DSN(databaseOf(t, databaseURL))
	store, err := db.Open(t.Context(), databaseURL, db.Options{Replicas: []string{replicaURL}, Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	until(t, "the replica is used", func() bool { return store.Replicas()[0].Used })
	leftOut := func() int { return strings.Count(log.String(), "is left out") }
	before := leftOut()

	observer := dbtest.ConnectURL(t, replicaURL)
	// asking gives the process that serves the connection on which the replica is asked.
	asking := func() (process int) {
		t.Helper()
		err := observer.QueryRowContext(t.Context(), `SELECT coalesce(max(pid), 0) FROM pg_stat_activity
			WHERE application_name = 'roster' AND pid <> pg_backend_pid()`).Scan(&process)
		if err != nil {
			t.Fatal(err)
		}
		return process
	}
	first := asking()
	if _, err := observer.ExecContext(t.Context(), "SELECT pg_terminate_backend(?)", first); err != nil || first == 0 {
		t.Fatalf("the connection of process %d is not cut: %v", first, err)
	}
	until(t, "the replica is asked on another", func() bool { now := asking(); return now != 0 && now != first })
	if leftOut() > before {
		t.Errorf("the log says: %s", log.String())
	}
	if !store.Replicas()[0].Used {
		t.Error("the replica is left out")
	}
}

// until waits until something holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for range time.Tick(5 * time.Millisecond) {
		if holds() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Write adds to the log.
func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestTimeoutOnAReplica holds that what takes too long on a replica is not asked of the
// primary as well, which would take as long, and that the replica stays in use.
func TestTimeoutOnAReplica(t *testing.T) {
	primary := dbtest.Primary(t)
	databaseURL := primary.URL()
	dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), dbtest.Users(5, 1))
	standby := primary.Replica()
	const limit = time.Second
	store, err := db.Open(t.Context(), databaseURL, db.Options{
		Replicas: []string{standby.DSN(databaseOf(t, databaseURL))}, MaxReplicaLag: time.Minute, StatementTimeout: limit,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	until(t, "the replica is used", func() bool { return store.Replicas()[0].Used })
	count := func(ctx context.Context) error {
		_, err := store.CountCustomers(store.WithReplica(ctx), everything, "")
		return err
	}
	if err := count(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := dbtest.ConnectURL(t, databaseURL)
	tx, err := conn.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE customers"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "CREATE TABLE sent ()"); err != nil { // its commit sends the lock to the replica
		t.Fatal(err)
	}
	until(t, "the replica has the lock", func() bool {
		short, cancel := context.WithTimeout(t.Context(), limit/4)
		defer cancel()
		return count(short) != nil
	})
	checkDiff(t, "the code", models.CodeTimeout, models.AsError(count(t.Context())).Code)
	if state := store.Replicas()[0]; state.Reruns != 0 || !state.Used {
		t.Errorf("the replica: %+v", state)
	}
}
