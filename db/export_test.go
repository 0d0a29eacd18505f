package db

import "github.com/uptrace/bun"

// Pools gives the pools of connections, which are the same one on PostgreSQL.
func (db *DB) Pools() (read, write *bun.DB) { return db.read, db.write }

// SetDeepFrom has pages from this offset on read as deep ones, and gives the way
// back.
func SetDeepFrom(offset int64) (restore func()) {
	before := deepFrom
	deepFrom = offset
	return func() { deepFrom = before }
}
