// Package dbtest gives tests a database of their own on each engine, rows to put
// into it and a count of the statements that run on it.
//
// The databases of PostgreSQL come from the server that TEST_DATABASE_URL names,
// or else from a private server that is started for the test process and goes
// away with it, however the process ends. Where neither can be had the tests of
// PostgreSQL are skipped, or fail when REQUIRE_POSTGRES is 1.
package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"roster/db"
)

// Engines lists the engines that a test has to pass on.
func Engines() []db.Engine { return []db.Engine{db.SQLite, db.Postgres} }

// Each runs test as one subtest for each engine, with a fresh, migrated and
// empty database that is closed in the end.
func Each(t *testing.T, test func(t *testing.T, db *db.DB)) {
	t.Helper()
	for _, engine := range Engines() {
		t.Run(string(engine), func(t *testing.T) { test(t, Open(t, engine)) })
	}
}

// Open opens a fresh, migrated and empty database. It is closed when the test ends.
func Open(t testing.TB, engine db.Engine) *db.DB {
	t.Helper()
	return OpenURL(t, URL(t, engine))
}

// OpenURL opens the database that the URL names. It is closed when the test ends.
func OpenURL(t testing.TB, databaseURL string) *db.DB {
	t.Helper()
	opened, err := db.Open(t.Context(), databaseURL, db.Options{})
	if err != nil {
		t.Fatalf("cannot open the test's database: %v", err)
	}
	urls.Store(opened, databaseURL)
	t.Cleanup(func() {
		urls.Delete(opened)
		if err := opened.Close(); err != nil {
			t.Errorf("cannot close the test's database: %v", err)
		}
	})
	return opened
}

// urls remembers what each open database was opened with, as it does not tell.
var urls sync.Map

// URL gives the URL of a fresh, migrated and empty database, for a server that
// opens it by itself.
func URL(t testing.TB, engine db.Engine) string {
	t.Helper()
	if engine == db.Postgres {
		server := postgres(t)
		return server.database(t, server.createMigrated)
	}
	empty := Empty(t, engine)
	if err := migrate(t.Context(), empty); err != nil {
		t.Fatalf("cannot migrate the test's database: %v", err)
	}
	return empty
}

// Empty gives the URL of a database that holds nothing, not even a schema.
func Empty(t testing.TB, engine db.Engine) string {
	t.Helper()
	if engine == db.Postgres {
		server := postgres(t)
		return server.database(t, server.create)
	}
	// An empty file is a database already, so it opens without being created.
	path := filepath.Join(t.TempDir(), "roster.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

func migrate(ctx context.Context, databaseURL string) error {
	opened, err := db.Open(ctx, databaseURL, db.Options{})
	if err != nil {
		return err
	}
	_, err = opened.Migrate(ctx)
	return errors.Join(err, opened.Close())
}

// Connect opens a second way into a database that came from [Open] or [OpenURL],
// past everything that package db does, for writing what a test needs and
// looking at what it left. It is closed when the test ends.
func Connect(t testing.TB, opened *db.DB) *bun.DB {
	t.Helper()
	databaseURL, ok := urls.Load(opened)
	if !ok {
		t.Fatal("dbtest: the database did not come from Open or OpenURL")
	}
	return ConnectURL(t, databaseURL.(string))
}

// ConnectURL is [Connect] for the database that the URL names.
func ConnectURL(t testing.TB, databaseURL string) *bun.DB {
	t.Helper()
	conn, err := connect(databaseURL)
	if err != nil {
		t.Fatalf("cannot connect to the test's database: %v", err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("cannot close the connection to the test's database: %v", err)
		}
	})
	return conn
}

func connect(databaseURL string) (*bun.DB, error) {
	if path, ok := strings.CutPrefix(databaseURL, "sqlite:"); ok {
		pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_txlock=immediate")
		if err != nil {
			return nil, err
		}
		pool.SetMaxOpenConns(1)
		return bun.NewDB(pool, sqlitedialect.New()), nil
	}
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.RuntimeParams["timezone"] = "UTC"
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(2)
	return bun.NewDB(pool, pgdialect.New()), nil
}
