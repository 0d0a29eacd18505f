package db

import (
	"context"
	"database/sql"
	"time"

	"github.com/uptrace/bun"

	"roster/models"
)

// Pools gives the pools of bun's connections, which are the same one on PostgreSQL.
func (db *DB) Pools() (read, write *bun.DB) { return db.read, db.write }

// Readers gives the pool of a database of SQLite that the resolvers read from.
func (db *DB) Readers() *sql.DB { return db.runner.(*sqliteRunner).pool }

// SetDeepFrom has pages from this offset on read as deep ones, and gives the way
// back.
func SetDeepFrom(offset int64) (restore func()) {
	before := deepFrom
	deepFrom = offset
	return func() { deepFrom = before }
}

// SetRareUsers has more than this many users be looked for along the order, and gives the
// way back.
func SetRareUsers(users int) (restore func()) {
	before := rareUsers
	rareUsers = users
	return func() { rareUsers = before }
}

// SetLockTimeout has a migration wait this long for a table, and gives the way back.
func SetLockTimeout(timeout time.Duration) (restore func()) {
	before := lockTimeout
	lockTimeout = timeout
	return func() { lockTimeout = before }
}

// The advisory locks under which a migration and a batch of an import run.
const (
	MigrationLock = migrationLock
	ImportLock    = importLock
)

// GuardedTables gives the tables with policies.
func GuardedTables() []string { return guardedTables }

// CountAll counts the rows of a table for a scope with a statement that has no
// condition for the scope.
func (db *DB) CountAll(ctx context.Context, scope models.Scope, table string) (int, error) {
	read, found := collect(1, func(n *int64) []any { return []any{n} })
	if err := db.run(ctx, scope, &statement{text: "SELECT count(*) FROM " + table, read: read}); err != nil {
		return 0, err
	}
	return int(*(*found)[0]), nil
}

// LongestKept gives the length of the longest text that a reader of SQLite keeps prepared.
func (db *DB) LongestKept(ctx context.Context) (length int, err error) {
	conn, err := db.Readers().Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return length, conn.Raw(func(connection any) error {
		for text := range connection.(*sqliteReader).prepared {
			length = max(length, len(text))
		}
		return nil
	})
}
