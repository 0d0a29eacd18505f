// Package db is the one place that runs SQL. It opens SQLite or PostgreSQL,
// brings the schema up to date, answers the queries of the GraphQL resolvers and
// imports the documents of the legacy systems. Both engines behave alike: one
// test suite runs on both.
package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the driver "sqlite"
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
	// MaxConnections bounds the connections used at once; 0 takes the default of 16.
	MaxConnections int
	// StatementTimeout ends a statement that takes longer; 0 sets no limit.
	// Only PostgreSQL has one; on SQLite the request's own time ends a statement.
	StatementTimeout time.Duration
}

const defaultMaxConnections = 16

// DB is an open database. Its methods may be called at the same time.
type DB struct {
	engine Engine
	url    string
	// read and write are the same pool on PostgreSQL. SQLite allows one writer
	// at a time, so there the writing pool has a single connection; write is nil
	// in a database that was opened read-only.
	read, write *bun.DB
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
		db  *DB
		err error
	)
	switch scheme {
	case "sqlite":
		db, err = openSQLite(sqlitePath(databaseURL), options)
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
		return nil, errors.Join(fmt.Errorf("cannot open the database: %s", oneLine(err)), db.Close())
	}
	return db, nil
}

// oneLine puts what a driver says of several addresses on one line for an operator.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// Engine tells which kind of database this is.
func (db *DB) Engine() Engine { return db.engine }

// Ping checks that the database answers.
func (db *DB) Ping(ctx context.Context) error {
	// A ping of SQLite opens no file that was opened before, so something is read.
	_, err := db.read.ExecContext(ctx, "SELECT 1")
	return err
}

// AddQueryHook has every statement from now on seen by hook. It must not be
// called while statements run.
func (db *DB) AddQueryHook(hook bun.QueryHook) {
	db.read = db.read.WithQueryHook(hook)
	if db.write != nil {
		db.write = db.write.WithQueryHook(hook)
	}
}

// Close closes all connections.
func (db *DB) Close() error {
	if db.write != nil && db.write.DB != db.read.DB {
		return errors.Join(db.read.Close(), db.write.Close())
	}
	return db.read.Close()
}

func openPostgres(databaseURL string, options Options) (*DB, error) {
	config, err := postgresConfig(databaseURL, options)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(poolConnector{stdlib.GetConnector(*config)})
	pool.SetMaxOpenConns(options.MaxConnections)
	pool.SetMaxIdleConns(options.MaxConnections)
	// Now and then a connection is made anew, so that the pool finds its way
	// back to a database that moved.
	pool.SetConnMaxLifetime(time.Hour)
	bunDB := bun.NewDB(pool, pgdialect.New())
	return &DB{engine: Postgres, read: bunDB, write: bunDB}, nil
}

// poolConnector makes the connections of PostgreSQL's pool.
type poolConnector struct{ driver.Connector }

// Connect makes a connection.
func (c poolConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return pooled{conn.(*stdlib.Conn)}, nil
}

// pooled is a connection that may have died unnoticed since it was used last: the
// database was restarted, or something between here and there gave it up. The
// driver looks only at those that were idle for a second. So a statement that
// finds its connection dead says so in the way that has [sql.DB] run it again on
// another, and in the end on a new one. All statements outside of transactions
// read, so it does no harm if one had begun; within one, sql does not repeat.
type pooled struct{ *stdlib.Conn }

// QueryContext runs a statement that gives rows.
func (c pooled) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.QueryContext(ctx, query, args)
	return rows, c.dead(ctx, err)
}

// ExecContext runs a statement that gives none.
func (c pooled) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.ExecContext(ctx, query, args)
	return result, c.dead(ctx, err)
}

// dead marks the error of a connection that has died, unless the caller's time is
// over: then that is why the driver closed it.
func (c pooled) dead(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || !c.Conn.Conn().IsClosed() {
		return err
	}
	return deadConnectionError{err}
}

// deadConnectionError is what a statement says whose connection had died.
type deadConnectionError struct{ error }

// Is has [sql.DB] take the error for driver.ErrBadConn.
func (deadConnectionError) Is(target error) bool { return target == driver.ErrBadConn }

// Unwrap gives what the driver said.
func (e deadConnectionError) Unwrap() error { return e.error }

func postgresConfig(databaseURL string, options Options) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("the database URL is wrong: %w", err)
	}
	// bun writes the arguments into the statement's text, so each text is new
	// and a prepared statement would never be used again.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.ConnectTimeout = 5 * time.Second
	config.RuntimeParams["timezone"] = "UTC"
	// bun writes text as SQL literals and escapes quotes only. With this setting
	// off, which a database can have by default, a backslash would end a literal.
	config.RuntimeParams["standard_conforming_strings"] = "on"
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "roster"
	}
	if options.StatementTimeout > 0 {
		config.RuntimeParams["statement_timeout"] = strconv.FormatInt(options.StatementTimeout.Milliseconds(), 10)
	}
	return config, nil
}

// sqlitePath gives the file that a URL like sqlite:PATH or sqlite://PATH names.
func sqlitePath(databaseURL string) string {
	return strings.TrimPrefix(strings.TrimPrefix(databaseURL, "sqlite:"), "//")
}

func openSQLite(path string, options Options) (*DB, error) {
	if path == "" || strings.Contains(path, ":memory:") {
		return nil, errors.New("the database URL must name a file, as in sqlite:roster.db")
	}
	if _, err := os.Stat(path); err != nil && !options.Create {
		return nil, fmt.Errorf("there is no database %s: %w (roster migrate makes one)", path, errors.Unwrap(err))
	}

	db := &DB{engine: SQLite}
	if !options.ReadOnly {
		// The writer comes first: it makes the file and turns on the write-ahead log.
		write, err := sql.Open("sqlite", sqliteDSN(path, options.Create, "journal_mode(WAL)")+"&_txlock=immediate")
		if err != nil {
			return nil, err
		}
		write.SetMaxOpenConns(1)
		db.write = bun.NewDB(write, sqlitedialect.New())
		if _, err := db.write.Exec("SELECT 1"); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot open the database %s: %w", path, err), write.Close())
		}
	}
	read, err := sql.Open("sqlite", sqliteDSN(path, false, "query_only(1)"))
	if err != nil {
		return nil, err
	}
	read.SetMaxOpenConns(options.MaxConnections)
	read.SetMaxIdleConns(options.MaxConnections)
	db.read = bun.NewDB(read, sqlitedialect.New())
	return db, nil
}

// sqliteDSN names the file and the pragmas that every connection starts with.
// Pragmas set by a statement would reach one connection of the pool only.
func sqliteDSN(path string, create bool, pragma string) string {
	mode := "rw"
	if create {
		mode = "rwc"
	}
	// busy_timeout is first: the pragmas after it may have to wait for a lock.
	query := url.Values{
		"mode":    {mode},
		"_pragma": {"busy_timeout(5000)", "foreign_keys(1)", "synchronous(NORMAL)", pragma},
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
}
