// Package db is the one place that runs SQL. It opens SQLite or PostgreSQL,
// brings the schema up to date, answers the queries of the GraphQL resolvers and
// imports the documents of the legacy systems. Both engines behave alike: one
// test suite runs on both.
package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// Engine is a kind of database.
type Engine string

// The engines.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// Options are the settings of a database that [Open] takes beside its URL.
type Options struct {
	// Create allows the SQLite file to be made when it is not there.
	Create bool
	// ReadOnly promises that nothing will be written, so no writer is opened.
	ReadOnly bool
	// MaxConnections bounds the connections that resolvers use at once; 0 takes the
	// default of 16.
	MaxConnections int
	// StatementTimeout ends a statement that takes longer; 0 sets no limit.
	// Only PostgreSQL has one; on SQLite the request's own time ends a statement.
	StatementTimeout time.Duration
	// RowLevelSecurity has every statement tell its scope to the policies of
	// PostgreSQL, in the same round trip.
	RowLevelSecurity bool
	// Replicas are the URLs of read replicas, which only PostgreSQL can have.
	// [DB.WithReplica] sends requests there.
	Replicas []string
	// MaxReplicaLag is how far a replica may be behind before it is left out; 0
	// takes the default of 5 seconds.
	MaxReplicaLag time.Duration
	// Log is told when a replica is left out and when it is used again; nil is nobody.
	Log *slog.Logger
}

const defaultMaxConnections = 16

var errReadOnly = errors.New("the database was opened read-only")

// DB is an open database. It is safe for concurrent use, except AddQueryHook.
type DB struct {
	engine Engine
	url    string
	// read and write are the same pool on PostgreSQL. SQLite allows one writer
	// at a time, so there the writing pool has a single connection; write is nil
	// in a database that was opened read-only.
	read, write *bun.DB
	// schema is for looking at the schema while the server runs. On PostgreSQL it has a
	// connection of its own, so that an exhausted pool does not look like a database that is
	// down; where PostgreSQL allows no more, read is used. On SQLite it is read.
	schema *bun.DB
	// runner runs the statements of the resolvers, on SQLite with a third pool, its
	// own; bun runs all others.
	runner   runner
	replicas *replicas // nil without any
	hooks    []bun.QueryHook
	// connections is how many statements of the resolvers can run at once.
	connections int
}

// Open opens the database that databaseURL names, "sqlite:PATH" or
// "postgres://...", and checks that it answers. The error says what is wrong
// with the URL or the database, and never holds the URL's password.
func Open(ctx context.Context, databaseURL string, options Options) (*DB, error) {
	if options.MaxConnections == 0 {
		options.MaxConnections = defaultMaxConnections
	}
	scheme, _, _ := strings.Cut(databaseURL, ":")
	var (
		db   *DB
		path string // of a file, for an error; a URL of PostgreSQL has a password
		err  error
	)
	switch scheme {
	case "sqlite":
		path = " " + sqlitePath(databaseURL)
		db, err = openSQLite(ctx, sqlitePath(databaseURL), options)
	case "postgres", "postgresql":
		db, err = openPostgres(databaseURL, options)
	default:
		return nil, errors.New(`the database URL must start with "sqlite:" or "postgres://"`)
	}
	if err != nil {
		return nil, err
	}
	db.url = databaseURL
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the database%s: %s", path, oneLine(explain(err))), db.Close())
	}
	if err := db.openReplicas(ctx, options); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// oneLine puts what a driver says of several addresses on one line for an operator.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// Engine tells which kind of database this is.
func (db *DB) Engine() Engine { return db.engine }

// Connections tells how many statements can run at once, on all replicas together
// where there are some.
func (db *DB) Connections() int {
	if db.replicas != nil {
		return db.connections * len(db.replicas.all)
	}
	return db.connections
}

// Ping checks that the database answers.
func (db *DB) Ping(ctx context.Context) error { return ping(ctx, db.read) }

// ping reads something: SQLite's own ping opens no file that was opened before.
func ping(ctx context.Context, pool *bun.DB) error {
	_, err := pool.ExecContext(ctx, "SELECT 1")
	return err
}

// AddQueryHook has every statement from now on seen by hook. It must not be
// called while statements run.
func (db *DB) AddQueryHook(hook bun.QueryHook) {
	db.hooks = append(db.hooks, hook)
	db.read = db.read.WithQueryHook(hook)
	db.schema = db.schema.WithQueryHook(hook)
	if db.write != nil {
		db.write = db.write.WithQueryHook(hook)
	}
}

// Close closes all connections.
func (db *DB) Close() error {
	return errors.Join(db.replicas.close(), db.closePools())
}

func (db *DB) closePools() error {
	errs := []error{db.read.Close()}
	if runner, ok := db.runner.(*sqliteRunner); ok {
		errs = append(errs, runner.pool.Close())
	}
	if db.schema.DB != db.read.DB {
		errs = append(errs, db.schema.Close())
	}
	if db.write != nil && db.write.DB != db.read.DB {
		errs = append(errs, db.write.Close())
	}
	return errors.Join(errs...)
}
