package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

func postgresConfig(databaseURL string, options Options) (*pgx.ConnConfig, error) {
	// A password that is not escaped ends early, and the rest of it would be taken for
	// the host or a parameter, which errors name and the resolver is asked for.
	_, place, _ := strings.Cut(databaseURL, "://")
	place, parameters, _ := strings.Cut(place, "?")
	authority, path, _ := strings.Cut(place, "/")
	if strings.Count(authority, "@") > 1 || strings.Contains(authority, "#") || strings.ContainsAny(path+parameters, "@#") {
		return nil, errors.New("the database URL is wrong: write @ as %40, / as %2F, ? as %3F and # as %23 in names and passwords")
	}
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("the database URL is wrong: %w", err)
	}
	if config.ConnectTimeout == 0 { // neither the URL nor the environment says more
		config.ConnectTimeout = 5 * time.Second
		// One of several that hangs must leave time for the others, as they are tried in
		// turn for each connection, and requests wait for seconds only.
		if options.StatementTimeout > 0 && countHosts(config) > 1 { // only answers have a limit
			config.ConnectTimeout = time.Second
		}
	}
	// A database or a role can have other defaults, in which text and times would be read
	// and written wrongly.
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.RuntimeParams["datestyle"] = "ISO"
	config.RuntimeParams["timezone"] = "UTC"
	config.AfterConnect = requireUTF8
	// What only reads need not fail because of what others write meanwhile, and a standby
	// knows no stricter level.
	config.RuntimeParams["default_transaction_isolation"] = "read committed"
	config.RuntimeParams["row_security"] = "on" // or the policies are an error
	// A filter of many conditions takes 30 ms to answer, and seconds to compile first, during
	// which PostgreSQL heeds no time limit.
	config.RuntimeParams["jit"] = "off"
	// bun writes text as SQL literals and escapes quotes only. With this setting
	// off, which a database can have by default, a backslash would end a literal.
	config.RuntimeParams["standard_conforming_strings"] = "on"
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "roster"
	}
	if config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		// Left alone, PostgreSQL compares guesses of what the kept plan and a new one
		// cost, and plans a page anew each time when its guess for this customer is
		// lower, which takes longer than reading it.
		config.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
		if !strings.Contains(parameters, "statement_cache_capacity") {
			config.StatementCacheCapacity = keptStatements
		}
	}
	// Sent even as 0, which is no limit: one set on the role is meant for answers, and would
	// end a migration or an import.
	inURL := config.RuntimeParams["statement_timeout"] != "" || strings.Contains(config.RuntimeParams["options"], "statement_timeout")
	if options.StatementTimeout > 0 || !inURL {
		config.RuntimeParams["statement_timeout"] = strconv.FormatInt(options.StatementTimeout.Milliseconds(), 10)
	}
	return config, nil
}

// requireUTF8 refuses a database that cannot hold every character that a name can have.
func requireUTF8(_ context.Context, conn *pgconn.PgConn) error {
	if encoding := conn.ParameterStatus("server_encoding"); encoding != "UTF8" {
		return fmt.Errorf("the encoding of the database is %s; it must be UTF8", encoding)
	}
	return nil
}

// countHosts counts the servers that a URL names.
func countHosts(config *pgx.ConnConfig) int {
	hosts := map[string]bool{net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))): true}
	for _, other := range config.Fallbacks { // with and without TLS
		hosts[net.JoinHostPort(other.Host, strconv.Itoa(int(other.Port)))] = true
	}
	return len(hosts)
}

// poolConnector makes the connections of PostgreSQL's pool.
type poolConnector struct {
	driver.Connector
	open *atomic.Int64
}

// Connect makes a connection.
func (c poolConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, connectTimeoutError{err.Error()}
	}
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return pooled{conn.(*stdlib.Conn), c.open}, nil
}

// connectTimeoutError is the error of a connection attempt that took too long although the
// caller has time left. It does not wrap context.DeadlineExceeded, which would count as the
// caller's own.
type connectTimeoutError struct{ text string }

// Error gives what the driver said.
func (e connectTimeoutError) Error() string { return e.text }

// pooled is a connection that may have died unnoticed since it was used last: the
// database was restarted, or something between here and there gave it up. The
// driver looks only at those that were idle for a second. So a statement that
// finds its connection dead says so in the way that has [sql.DB] run it again on
// another, and in the end on a new one. All statements outside of transactions
// read, so it does no harm if one had begun; within one, sql does not repeat.
type pooled struct {
	*stdlib.Conn
	// open counts the connections of the pool.
	open *atomic.Int64
}

// Close closes the connection; [sql.DB] does it once.
func (c pooled) Close() error {
	c.open.Add(-1)
	return c.Conn.Close()
}

// QueryContext runs a statement that gives rows.
func (c pooled) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.QueryContext(ctx, query, unprepared(args))
	return rows, c.dead(ctx, err)
}

// ExecContext runs a statement that gives none.
func (c pooled) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.ExecContext(ctx, query, unprepared(args))
	return result, c.dead(ctx, err)
}

// unprepared has pgx run a statement of bun's as it is. bun writes the arguments
// into the text, so each text is new, and preparing it would be in vain.
func unprepared(args []driver.NamedValue) []driver.NamedValue {
	return append([]driver.NamedValue{{Value: pgx.QueryExecModeExec}}, args...)
}

// dead marks the error of a connection that has died, unless the caller's time is
// over: then that is why the driver closed it.
func (c pooled) dead(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || !c.Conn.Conn().IsClosed() {
		return err
	}
	return deadConnectionError{err}
}

// deadConnectionError is the error of a statement whose connection had died.
type deadConnectionError struct{ error }

// Is has [sql.DB] take the error for driver.ErrBadConn.
func (deadConnectionError) Is(target error) bool { return target == driver.ErrBadConn }

// Unwrap gives what the driver said.
func (e deadConnectionError) Unwrap() error { return e.error }

// limitToOpenConnections limits the pool for a second to the connections that it has, when
// PostgreSQL or the role allows no more. It reports whether there are any: then the caller
// can wait for one of those.
func (r *postgresRunner) limitToOpenConnections(err error) bool {
	if r.open.Load() == 0 || !noConnectionLeft(err) {
		return false
	}
	// This counts connections that are being made, too, which will be refused as this one
	// was. A lower limit would close some that are in use.
	r.pool.SetMaxOpenConns(max(1, r.pool.Stats().OpenConnections)) // 0 would be no limit
	if r.limited.CompareAndSwap(false, true) {
		time.AfterFunc(time.Second, func() {
			r.limited.Store(false)
			r.pool.SetMaxOpenConns(r.maxConnections)
			r.pool.SetMaxIdleConns(r.maxConnections)
		})
	}
	return true
}

// noConnectionLeft reports whether err says that PostgreSQL, or the role, allows no more
// connections.
func noConnectionLeft(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == "53300" // too_many_connections
}
