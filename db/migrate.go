package db

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/migrate"
)

// The migrations of both engines have the same numbers and give the same tables;
// a test compares the columns.
//
//go:embed migrations/postgres/*.sql migrations/sqlite/*.sql
var migrationFiles embed.FS

// ErrSchemaNotCurrent means that migrations of this program have not run yet, or
// that the schema is newer than this program.
var ErrSchemaNotCurrent = errors.New("the schema of the database is not current")

// ErrSchemaTooNew is the ErrSchemaNotCurrent of a schema that has all migrations of this
// program, and more. Migrating does not help against it.
var ErrSchemaTooNew = fmt.Errorf("%w: it is newer than this version", ErrSchemaNotCurrent)

// ErrSchemaDiffers is the ErrSchemaNotCurrent of a schema that has other migrations than
// this program, and lacks some of this program's. Migrating does not help here either.
var ErrSchemaDiffers = fmt.Errorf("%w: it is that of another version", ErrSchemaNotCurrent)

// migrationLock is an arbitrary number that names the advisory lock under which
// PostgreSQL is migrated.
const migrationLock int64 = 7_305_811_042

func (db *DB) migrations() (*migrate.Migrations, error) {
	files, err := fs.Sub(migrationFiles, "migrations/"+string(db.engine))
	if err != nil {
		return nil, err
	}
	migrations := migrate.NewMigrations()
	return migrations, migrations.Discover(files)
}

// Migrate brings the schema up to date and returns the names of the migrations
// that it ran, none when the schema was current. A schema that is too new is left as it is.
//
// The whole run is one transaction on one connection, with the lock taken first.
// So two servers that migrate at once take turns, on SQLite unless the first takes
// longer than busyTimeout, and one that is killed leaves neither half a schema nor a
// lock behind. bun's own lock is a row that would stay.
func (db *DB) Migrate(ctx context.Context) (names []string, err error) {
	migrations, err := db.migrations()
	if err != nil {
		return nil, err
	}
	conn, begin, err := db.migrationConnection()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()

	for _, statement := range begin {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("cannot begin to migrate: %w", err)
		}
	}
	defer func() { err = cmp.Or(explainLockTimeout(err, "nothing was changed"), err) }()
	migrator := migrate.NewMigrator(conn, migrations, migrate.WithMarkAppliedOnSuccess(true))
	if err := migrator.Init(ctx); err != nil {
		return nil, fmt.Errorf("cannot prepare to migrate: %w", err)
	}
	applied, err := migrationNames(ctx, migrator)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare to migrate: %w", err)
	}
	if err := checkKnown(migrations, applied); err != nil {
		return nil, err
	}
	group, err := migrator.Migrate(ctx)
	if err != nil {
		return nil, fmt.Errorf("the migration failed and nothing was changed: %w", err)
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		return nil, fmt.Errorf("the migration failed and nothing was changed: %w", err)
	}
	for _, migration := range group.Migrations {
		names = append(names, migration.Name)
	}
	return names, nil
}

// migrationConnection gives a database of exactly one connection, so that the
// statements that begin and end the transaction meet those of bun's migrator,
// and the statements to begin with. Closing it rolls back what was not committed.
func (db *DB) migrationConnection() (conn *bun.DB, begin []string, err error) {
	if db.write == nil {
		return nil, nil, errReadOnly
	}
	if db.engine == SQLite {
		// The writing pool has one connection already; a second one would wait for it.
		pool, err := sql.Open("sqlite", sqliteDSN(sqlitePath(db.url), false, busyTimeout, "journal_mode(WAL)"))
		if err != nil {
			return nil, nil, err
		}
		pool.SetMaxOpenConns(1)
		return bun.NewDB(pool, sqlitedialect.New()), []string{"BEGIN IMMEDIATE"}, nil
	}
	config, err := postgresConfig(db.url, Options{})
	if err != nil {
		return nil, nil, err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // no statement runs twice
	pool := sql.OpenDB(&sessionConnector{Connector: stdlib.GetConnector(*config)})
	pool.SetMaxOpenConns(1)
	begin = append([]string{"BEGIN ISOLATION LEVEL READ COMMITTED"}, lockMigration()...) // to see what was done while it waited
	return bun.NewDB(pool, pgdialect.New()), begin, nil
}

// lockTimeout is how long a migration waits for a table that another session holds.
// Whoever comes to read that table meanwhile queues behind it.
var lockTimeout = 5 * time.Second

// lockMigration gives the statements that begin a transaction of PostgreSQL which changes
// the schema. The limit comes last, and that of the role is off before, so that two of them
// take turns however long one takes.
func lockMigration() []string {
	return []string{
		"SET LOCAL lock_timeout = 0",
		fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", migrationLock),
		fmt.Sprintf("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds()),
	}
}

// explainLockTimeout says what helps where a transaction waited for a table in vain, and what
// came of it. It is nil for other errors.
func explainLockTimeout(err error, outcome string) error {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok && failure.Code == "55P03" { // lock_not_available
		return fmt.Errorf("a table is held by another session, such as a backup or a long query: %s; run it again when that session has ended: %w", outcome, failure)
	}
	return nil
}

// sessionConnector makes one connection of PostgreSQL, and only one: were it
// lost, the statements that are left would run without the transaction and its
// lock on another.
type sessionConnector struct {
	driver.Connector
	connected bool
}

// Connect makes the connection, the first time that it is called.
func (c *sessionConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.connected {
		return nil, errors.New("the connection was lost")
	}
	c.connected = true
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return session{conn.(*stdlib.Conn)}, nil
}

// session is a connection that a transaction may stay open on between two
// statements. The driver's own gives up such a connection when it is used again.
type session struct{ *stdlib.Conn }

// ResetSession leaves the transaction open.
func (session) ResetSession(context.Context) error { return nil }

// CheckSchema returns ErrSchemaNotCurrent, wrapped with what is missing, unless
// exactly the migrations of this program have run.
func (db *DB) CheckSchema(ctx context.Context) error {
	migrations, err := db.migrations()
	if err != nil {
		return err
	}
	applied, err := appliedMigrations(ctx, db.engine, db.schema, migrations)
	if noConnectionLeft(err) {
		applied, err = appliedMigrations(ctx, db.engine, db.read, migrations)
	}
	if err != nil {
		return err
	}
	tooNew := checkKnown(migrations, applied)
	for _, migration := range migrations.Sorted() {
		switch {
		case applied[migration.Name]:
		case tooNew != nil:
			return fmt.Errorf("%w, which knows migration %s and not %s", ErrSchemaDiffers, unknown(migrations, applied), migration.Name)
		default:
			return fmt.Errorf("%w: migration %s has not run", ErrSchemaNotCurrent, migration.Name)
		}
	}
	return tooNew
}

// checkKnown returns ErrSchemaTooNew, wrapped with a name, when a migration has run
// that is none of this program's.
func checkKnown(migrations *migrate.Migrations, applied map[string]bool) error {
	if name := unknown(migrations, applied); name != "" {
		return fmt.Errorf("%w, which does not know migration %s", ErrSchemaTooNew, name)
	}
	return nil
}

// unknown names the first migration that has run and is none of this program's; "" is none.
func unknown(migrations *migrate.Migrations, applied map[string]bool) string {
	names := maps.Clone(applied)
	for _, migration := range migrations.Sorted() {
		delete(names, migration.Name)
	}
	if len(names) == 0 {
		return ""
	}
	return slices.Min(slices.Collect(maps.Keys(names)))
}

// appliedMigrations gives the names of the migrations that have run; none in a
// database that was never migrated.
func appliedMigrations(ctx context.Context, engine Engine, by *bun.DB, migrations *migrate.Migrations) (map[string]bool, error) {
	query := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'bun_migrations'"
	if engine == Postgres {
		query = "SELECT count(*) FROM pg_class WHERE oid = to_regclass('bun_migrations')"
	}
	var tables int
	if err := by.QueryRowContext(ctx, query).Scan(&tables); err != nil {
		return nil, translate(err)
	}
	if tables == 0 {
		return nil, nil
	}
	names, err := migrationNames(ctx, migrate.NewMigrator(by, migrations))
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok && failure.Code == "42501" { // insufficient_privilege
		return nil, errors.New("the role of the database URL may not read the table bun_migrations: GRANT SELECT ON bun_migrations TO that role")
	}
	return names, translate(err)
}

// migrationNames gives the names of the migrations that the table of migrations holds.
func migrationNames(ctx context.Context, migrator *migrate.Migrator) (map[string]bool, error) {
	applied, err := migrator.AppliedMigrations(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, migration := range applied {
		names[migration.Name] = true
	}
	return names, nil
}
