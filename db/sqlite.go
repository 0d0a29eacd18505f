package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"roster/models"
)

// sqlitePath gives the file that a URL like sqlite:PATH or sqlite://PATH names.
func sqlitePath(databaseURL string) string {
	path := strings.TrimPrefix(strings.TrimPrefix(databaseURL, "sqlite:"), "//")
	if strings.HasPrefix(path, "//") { // sqlite:////PATH, as SQLAlchemy writes it
		path = "/" + strings.TrimLeft(path, "/")
	}
	return path
}

func openSQLite(ctx context.Context, path string, options Options) (*DB, error) {
	if path == "" || strings.Contains(path, ":memory:") {
		return nil, errors.New("the database URL must name a file, as in sqlite:roster.db")
	}
	if strings.Contains(path, "?") { // an empty database of that name would be made
		return nil, errors.New("the database URL has a ?: for SQLite it takes no parameters, only the path of a file without a ? in its name, as in sqlite:roster.db")
	}
	if _, err := os.Stat(path); err != nil {
		if !options.Create {
			return nil, fmt.Errorf("there is no database %s: %w (roster migrate makes one)", path, errors.Unwrap(err))
		}
		makePrivate(path)
	}

	db := &DB{engine: SQLite}
	if !options.ReadOnly {
		// The writer comes first: it makes the file and turns on the write-ahead log.
		write, err := sql.Open("sqlite", sqliteDSN(path, options.Create, busyTimeout, "journal_mode(WAL)")+"&_txlock=immediate")
		if err != nil {
			return nil, err
		}
		write.SetMaxOpenConns(1)
		db.write = bun.NewDB(write, sqlitedialect.New())
		if err := retryWhileBusy(ctx, func() error { return ping(ctx, db.write) }); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot open the database %s: %w", path, explain(err)), write.Close())
		}
	}
	read, err := sql.Open("sqlite", sqliteDSN(path, false, readerBusyTimeout, "query_only(1)"))
	if err != nil {
		return nil, err
	}
	// Two are enough for what does not go by the runner: whether the schema is
	// current, and the plan of an import.
	read.SetMaxOpenConns(2)
	db.read = bun.NewDB(read, sqlitedialect.New())
	db.schema = db.read
	runner, err := newSQLiteRunner(path, options)
	if err != nil {
		return nil, errors.Join(err, db.closePools())
	}
	db.runner, db.connections = runner, runner.pool.Stats().MaxOpenConnections
	return db, nil
}

// makePrivate makes an empty file, which is a database, that only its owner may read and
// write. SQLite would let everybody read it, and gives the files beside it the same mode.
// Where it fails, SQLite fails too. A file that another has just made stays as it is.
func makePrivate(path string) {
	if file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil { //nolint:gosec // the operator names it
		_ = file.Close() // nothing was written
	}
}

// explain adds advice to two errors of SQLite that say too little: one tells of an attempt
// to write though nobody made one, the other only that the file cannot be opened.
func explain(err error) error {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch failure.Code() {
	case sqlite3.SQLITE_READONLY_DIRECTORY:
		return fmt.Errorf("%w: its write-ahead log is in files beside it, so the folder must be writable unless a server has the database open", err)
	case sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%w: it must be in a folder that exists, and this user must be able to read and write it", err)
	}
	return err
}

// sqliteDSN names the file, how long a statement waits for a lock that another holds, and
// the pragmas that every connection starts with: set by a statement they would reach one
// connection of the pool only.
func sqliteDSN(path string, create bool, timeout time.Duration, pragmas ...string) string {
	mode := "rw"
	if create {
		mode = "rwc"
	}
	// busy_timeout is first: the pragmas after it may have to wait for a lock.
	query := url.Values{
		"mode":    {mode},
		"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", timeout.Milliseconds()), "foreign_keys(1)", "synchronous(NORMAL)"}, pragmas...),
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
}

// How long a statement waits for a lock that another holds. Readers wait only where the
// write-ahead log is off, or being recovered, and requests wait behind them.
const (
	busyTimeout       = 5 * time.Second
	readerBusyTimeout = time.Second
)

// retryWhileBusy waits for a lock that SQLite itself does not wait for. Of two that
// turn on the write-ahead log of a new file at once it refuses one, as each waits
// for the other to let go of the file.
func retryWhileBusy(ctx context.Context, open func() error) error {
	for began := time.Now(); ; {
		err := open()
		failure, ok := errors.AsType[*sqlite.Error](err)
		if !ok || failure.Code()&0xff != sqlite3.SQLITE_BUSY || time.Since(began) > busyTimeout {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// sqliteTime is the form of a time in SQLite: text that sorts as the times do.
const sqliteTime = "2006-01-02 15:04:05.999999-07:00"

// sqliteArgument gives an argument in the form that SQLite compares with.
func sqliteArgument(argument any) any {
	switch value := argument.(type) {
	case list:
		// Lists hold ids, names and numbers, which can always be encoded.
		encoded, err := json.Marshal(value.values)
		if err != nil {
			panic(err)
		}
		return string(encoded)
	case models.ID:
		return string(value)
	case models.UserStatus:
		return string(value)
	case time.Time:
		return value.UTC().Format(sqliteTime)
	}
	return argument
}
