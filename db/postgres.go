package db

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"roster/models"
)

func openPostgres(databaseURL string, options Options) (*DB, error) {
	config, err := postgresConfig(databaseURL, options)
	if err != nil {
		return nil, err
	}
	runner := newPostgresRunner(config, options)
	bunDB := bun.NewDB(runner.pool, pgdialect.New())
	options.MaxConnections = 1
	schema := bun.NewDB(newPostgresRunner(config, options).pool, pgdialect.New())
	db := &DB{engine: Postgres, read: bunDB, schema: schema, runner: runner, connections: runner.maxConnections}
	if !options.ReadOnly {
		db.write = bunDB
	}
	return db, nil
}

// newPostgresRunner makes a runner with a pool of its own.
func newPostgresRunner(config *pgx.ConnConfig, options Options) *postgresRunner {
	open := new(atomic.Int64)
	pool := sql.OpenDB(poolConnector{stdlib.GetConnector(*config), open})
	pool.SetMaxOpenConns(options.MaxConnections)
	pool.SetMaxIdleConns(options.MaxConnections)
	// Now and then a connection is made anew, so that the pool finds its way
	// back to a database that moved.
	pool.SetConnMaxLifetime(time.Hour)
	return &postgresRunner{
		pool: pool, open: open, maxConnections: options.MaxConnections,
		prepares: config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement, guarded: options.RowLevelSecurity,
	}
}

// postgresRunner runs statements on PostgreSQL.
type postgresRunner struct {
	pool           *sql.DB
	open           *atomic.Int64 // how many connections the pool has
	maxConnections int
	// prepares is false where the URL says that statements must not be prepared.
	prepares bool
	// guarded is true where each statement tells its scope to the policies of the database.
	guarded bool
	// limited is set while the pool is limited to the connections that it has.
	limited atomic.Bool
}

// run sends the statements in one batch, which is one round trip and one
// transaction.
func (r *postgresRunner) run(ctx context.Context, statements []*statement) error {
	// A connection that died unnoticed is dropped, and the statements, which only
	// read, run on another: the pool may be full of such connections, and the
	// last try gets a new one.
	for try := 0; ; try++ {
		err := r.try(ctx, statements)
		if try < 4*r.maxConnections && r.limitToOpenConnections(err) {
			continue
		}
		if _, dead := errors.AsType[deadConnectionError](err); !dead && !outdated(err) || try >= r.maxConnections {
			return err
		}
	}
}

// outdated reports whether a statement was prepared for columns that have other types now.
// pgx has the connection forget it, so it works the next time (feature_not_supported, with
// "cached plan must not change result type").
func outdated(err error) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && answer.Code == "0A000"
}

func (r *postgresRunner) try(ctx context.Context, statements []*statement) error {
	conn, err := r.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // gives it back to the pool
	return conn.Raw(func(connection any) error {
		pooled := connection.(pooled)
		err := r.send(ctx, pooled.Conn.Conn(), statements)
		if err == nil && r.prepares {
			forgetLongTexts(ctx, pooled.Conn.Conn(), statements)
		}
		return pooled.dead(ctx, err)
	})
}

// Settings for the statements that follow in the same transaction.
const (
	setScope   = "SELECT set_config('roster.scope', $1, true)"
	planAlways = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)"
)

// send runs the statements on one connection.
func (r *postgresRunner) send(ctx context.Context, conn *pgx.Conn, statements []*statement) error {
	var (
		batch    pgx.Batch
		settings int
	)
	set := func(text string, args ...any) {
		batch.Queue(text, args...)
		settings++
	}
	if r.guarded {
		set(setScope, scopeSetting(statements[0].scope))
	}
	if r.prepares && slices.ContainsFunc(statements, func(s *statement) bool { return s.replan }) {
		set(planAlways)
	}
	if s := statements[0]; len(statements) == 1 && settings == 0 {
		text, args := s.render(Postgres)
		s.err = readAll(s, func() (pgx.Rows, error) { return conn.Query(ctx, text, args...) })
		return s.err
	}
	for _, s := range statements {
		text, args := s.render(Postgres)
		batch.Queue(text, args...)
	}
	results := conn.SendBatch(ctx, &batch)
	for range settings {
		if _, err := results.Exec(); err != nil {
			statements[0].err = err
			_ = results.Close() // says the same
			return err
		}
	}
	for _, s := range statements {
		if s.err = readAll(s, results.Query); s.err != nil {
			_ = results.Close() // says the same
			return s.err
		}
	}
	return results.Close()
}

func readAll(s *statement, query func() (pgx.Rows, error)) error {
	found, err := query()
	if err != nil {
		return err
	}
	defer found.Close()
	return s.read(&postgresRows{Rows: found})
}

// postgresArgument gives an argument in a form that pgx can write in binary.
func postgresArgument(argument any) any {
	switch value := argument.(type) {
	case list:
		if ids, ok := value.values.([]models.ID); ok {
			uuids := make([]pgtype.UUID, len(ids))
			for i, id := range ids {
				uuids[i] = uuidOf(id)
			}
			return uuids
		}
		if statuses, ok := value.values.([]models.UserStatus); ok {
			texts := make([]string, len(statuses))
			for i, status := range statuses {
				texts[i] = string(status)
			}
			return texts
		}
		return value.values
	case models.ID:
		return uuidOf(value)
	case models.UserStatus:
		return string(value)
	}
	return argument
}

// uuidOf gives an id's 16 bytes.
func uuidOf(id models.ID) (u pgtype.UUID) {
	// An ID is a UUID in its canonical form.
	_ = u.Scan(string(id))
	return u
}

// What each connection keeps prepared: at most keptStatements, and of texts longer than
// longText at most keptLongTexts bytes together. Callers decide how many kinds of filters
// there are, and the plan of each takes memory of PostgreSQL, nearly a megabyte for a text
// of 10 KB.
const (
	keptStatements = 64
	longText       = 2 << 10
	keptLongTexts  = 64 << 10
)

// longTexts are the long texts that a connection may have prepared.
type longTexts map[string]bool

// forgetLongTexts has a connection forget all that it has prepared when too much of it is
// long. What runs often is soon prepared again. PgBouncer supports it from 1.22 on.
func forgetLongTexts(ctx context.Context, conn *pgx.Conn, statements []*statement) {
	const key = "long texts"
	for _, s := range statements {
		if len(s.text) <= longText {
			continue
		}
		data := conn.PgConn().CustomData()
		kept, _ := data[key].(longTexts)
		if kept == nil {
			kept = longTexts{}
			data[key] = kept
		}
		kept[s.text] = true
		length := 0
		for text := range kept {
			length += len(text)
		}
		if length > keptLongTexts {
			clear(kept)
			_ = conn.DeallocateAll(ctx) // the statements have run, and a connection that fails is not used again
		}
	}
}
