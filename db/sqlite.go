package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"roster/models"
)

// sqlitePath gives the file that a URL like sqlite:PATH or sqlite://PATH names.
func sqlitePath(databaseURL string) string {
	return strings.TrimPrefix(strings.TrimPrefix(databaseURL, "sqlite:"), "//")
}

func openSQLite(ctx context.Context, path string, options Options) (*DB, error) {
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
		if err := patiently(ctx, func() error { return ping(ctx, db.write) }); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot open the database %s: %w", path, err), write.Close())
		}
	}
	read, err := sql.Open("sqlite", sqliteDSN(path, false, "query_only(1)", "cache_size(-8192)"))
	if err != nil {
		return nil, err
	}
	// A reader is busy with a core, and each has a cache of 8 MiB.
	readers := min(options.MaxConnections, max(4, 2*runtime.NumCPU()))
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	db.read = bun.NewDB(read, sqlitedialect.New())
	db.runner = &sqliteRunner{pool: read, prepared: map[string]*sql.Stmt{}}
	return db, nil
}

// sqliteDSN names the file and the pragmas that every connection starts with.
// Pragmas set by a statement would reach one connection of the pool only.
func sqliteDSN(path string, create bool, pragmas ...string) string {
	mode := "rw"
	if create {
		mode = "rwc"
	}
	// busy_timeout is first: the pragmas after it may have to wait for a lock.
	query := url.Values{
		"mode":    {mode},
		"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "foreign_keys(1)", "synchronous(NORMAL)"}, pragmas...),
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
}

// busyTimeout is how long a statement waits for a lock that another holds.
const busyTimeout = 5 * time.Second

// patiently waits for a lock that SQLite itself does not wait for. Of two that
// turn on the write-ahead log of a new file at once it refuses one, as each waits
// for the other to let go of the file.
func patiently(ctx context.Context, open func() error) error {
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

// sqliteRunner runs statements on SQLite, one after the other.
type sqliteRunner struct {
	pool *sql.DB
	mu   sync.Mutex
	// prepared are the statements by their text. Preparing takes SQLite longer
	// than running most of them.
	prepared map[string]*sql.Stmt
}

// maxPrepared bounds the statements that are kept prepared: callers decide how
// many kinds of filters there are.
const maxPrepared = 200

func (r *sqliteRunner) run(ctx context.Context, statements []*statement) error {
	for _, s := range statements {
		if s.err = r.query(ctx, s); s.err != nil {
			return s.err
		}
	}
	return nil
}

func (r *sqliteRunner) query(ctx context.Context, s *statement) (err error) {
	text, args := s.render(SQLite)
	prepared, err := r.prepare(ctx, text) //nolint:sqlclosecheck // it is kept
	if err != nil {
		return err
	}
	var found *sql.Rows
	if prepared != nil {
		found, err = prepared.QueryContext(ctx, args...) //nolint:rowserrcheck // read does
	} else {
		found, err = r.pool.QueryContext(ctx, text, args...) //nolint:rowserrcheck // read does
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	return s.read(&sqliteRows{Rows: found})
}

// prepare gives the prepared statement with this text, or nil when there are
// too many already.
func (r *sqliteRunner) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	r.mu.Lock()
	prepared, full := r.prepared[text], len(r.prepared) >= maxPrepared
	r.mu.Unlock()
	if prepared != nil || full {
		return prepared, nil
	}
	prepared, err := r.pool.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.prepared[text]; other != nil {
		return other, prepared.Close() //nolint:sqlclosecheck // another was first
	}
	r.prepared[text] = prepared
	return prepared, nil
}

// sqliteRows reads what SQLite keeps as text: times, and the lists of numbers
// that group_concat makes.
type sqliteRows struct {
	*sql.Rows
	dest []any
}

// Scan fills dest with the columns of the row.
func (r *sqliteRows) Scan(dest ...any) error {
	r.dest = append(r.dest[:0], dest...)
	for i, d := range r.dest {
		switch d := d.(type) {
		case *time.Time:
			r.dest[i] = timeText{func(t *time.Time) { *d = *t }}
		case **time.Time:
			r.dest[i] = timeText{func(t *time.Time) { *d = t }}
		case *[]int64:
			r.dest[i] = numbersText{d}
		}
	}
	return r.Rows.Scan(r.dest...)
}

// timeText reads a time; NULL gives nil.
type timeText struct{ set func(*time.Time) }

// Scan implements [sql.Scanner].
func (s timeText) Scan(value any) error {
	if value == nil {
		s.set(nil)
		return nil
	}
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("a time is a %T", value)
	}
	t, err := time.Parse(sqliteTime, text)
	if err == nil {
		t = t.UTC()
		s.set(&t)
	}
	return err
}

// numbersText reads numbers with commas between them; NULL gives none.
type numbersText struct{ numbers *[]int64 }

// Scan implements [sql.Scanner].
func (s numbersText) Scan(value any) error {
	*s.numbers = []int64{}
	text, _ := value.(string)
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		number, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return err
		}
		*s.numbers = append(*s.numbers, number)
	}
	return nil
}
