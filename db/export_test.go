package db

import "github.com/uptrace/bun"

// Pools gives the pools of connections, which are the same one on PostgreSQL.
func (db *DB) Pools() (read, write *bun.DB) { return db.read, db.write }
