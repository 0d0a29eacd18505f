package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"

	"roster/models"
)

// sqliteRunner runs statements on SQLite, one after the other. It has a pool of its
// own, whose connections read the file where the system maps it into memory: it
// answers 1.4 times as many pages a second as one whose connections read into
// caches of their own first.
type sqliteRunner struct{ pool *sql.DB }

// mappedBytes is how much of the file is mapped, the most that SQLite allows. What
// lies beyond, and in the write-ahead log, is read into the caches.
const mappedBytes = 1<<31 - 1<<16

func newSQLiteRunner(path string, options Options) (*sqliteRunner, error) {
	connector, err := sqlite.NewConnector(sqliteDSN(path, false, readerBusyTimeout, "query_only(1)", "cache_size(-8192)", fmt.Sprintf("mmap_size(%d)", mappedBytes)))
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(readerConnector{connector})
	// A reader is busy with a core, and each has a cache of 8 MiB.
	readers := min(options.MaxConnections, max(4, 2*runtime.NumCPU()))
	pool.SetMaxOpenConns(readers)
	pool.SetMaxIdleConns(readers)
	return &sqliteRunner{pool}, nil
}

func (r *sqliteRunner) run(ctx context.Context, statements []*statement) error {
	conn, err := r.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // gives it back to the pool
	return conn.Raw(func(connection any) error {
		for _, s := range statements {
			if s.err = recoverFault(func() error { return connection.(*sqliteReader).run(ctx, s) }); s.err != nil {
				return s.err
			}
		}
		return nil
	})
}

// recoverFault runs read, which reads a mapped file. When a part of the file cannot be
// read, because the disk fails or somebody cut the file short, the system sends a signal
// that would end the program. Here it becomes an error.
func recoverFault(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		fault, ok := value.(interface{ Addr() uintptr }) // as SetPanicOnFault documents it
		if !ok || !inSharedMapping(fault.Addr()) {
			panic(value)
		}
		err = errUnreadable
	}()
	return read()
}

// errUnreadable has the pool give up the connection.
var errUnreadable = fmt.Errorf("a part of the database file cannot be read: the disk fails, or somebody cut the file short: %w", driver.ErrBadConn)

// inSharedMapping reports whether an address is that of a file which is mapped as
// SQLite does it, and not of memory: a fault there is a mistake of a program. Only
// Linux tells.
func inSharedMapping(address uintptr) bool {
	maps, _ := os.ReadFile("/proc/self/maps") // proc(5): start-end, permissions ending in s for shared
	for line := range strings.Lines(string(maps)) {
		var (
			start, end  uintptr
			permissions string
		)
		if _, err := fmt.Sscanf(line, "%x-%x %s", &start, &end, &permissions); err != nil {
			continue
		}
		if start <= address && address < end {
			return strings.HasSuffix(permissions, "s")
		}
	}
	return false
}

// readerConnector makes the connections of the runner's pool.
type readerConnector struct{ driver.Connector }

// Connect makes a connection.
func (c readerConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &sqliteReader{conn.(sqliteConn), map[string]driver.Stmt{}}, nil
}

// sqliteConn is what the driver's connections can do that a pool and a reader need.
type sqliteConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.SessionResetter
	driver.Validator
}

// sqliteReader is a connection with the statements that it has prepared, by their
// text. Preparing takes SQLite longer than running most of them.
type sqliteReader struct {
	sqliteConn
	prepared map[string]driver.Stmt
}

// maxPrepared bounds the statements that are kept prepared, and maxKeptText the length of
// their texts in bytes: callers decide how many kinds of filters there are, and one of
// 10 KB takes SQLite a quarter of a megabyte.
const (
	maxPrepared = 200
	maxKeptText = 2 << 10
)

// Close closes the statements and the connection.
func (r *sqliteReader) Close() error {
	var errs []error
	for _, prepared := range r.prepared {
		errs = append(errs, prepared.Close())
	}
	return errors.Join(append(errs, r.sqliteConn.Close())...)
}

func (r *sqliteReader) run(ctx context.Context, s *statement) (err error) {
	text, args := s.render(SQLite)
	named := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		value, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return err
		}
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	prepared := r.prepared[text]
	if prepared == nil {
		if prepared, err = r.PrepareContext(ctx, text); err != nil {
			return err
		}
		if len(text) > maxKeptText {
			defer func() { err = errors.Join(err, prepared.Close()) }()
		} else if err := r.keep(text, prepared); err != nil {
			return err
		}
	}
	found, err := prepared.(driver.StmtQueryContext).QueryContext(ctx, named)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	return s.read(&sqliteRows{ctx: ctx, found: found, values: make([]driver.Value, len(found.Columns()))})
}

// keep caches a prepared statement. When the cache is full, any other is evicted: those
// that run often are soon back.
func (r *sqliteReader) keep(text string, prepared driver.Stmt) (err error) {
	if len(r.prepared) >= maxPrepared {
		for other, going := range r.prepared {
			delete(r.prepared, other)
			err = going.Close()
			break
		}
	}
	r.prepared[text] = prepared
	return err
}

// sqliteRows reads the rows that SQLite finds.
type sqliteRows struct {
	ctx       context.Context // of the statement, as in sql.Rows
	found     driver.Rows
	values    []driver.Value
	err       error
	optionals optionals
}

// Next goes to the next row, and is false at the end and after an error.
func (r *sqliteRows) Next() bool {
	if r.err = r.ctx.Err(); r.err != nil {
		return false
	}
	err := r.found.Next(r.values)
	if !errors.Is(err, io.EOF) {
		r.err = err
	}
	return err == nil
}

// Err gives what ended the rows early, or nil.
func (r *sqliteRows) Err() error { return r.err }

// Scan fills dest with the columns of the row.
func (r *sqliteRows) Scan(dest ...any) error {
	if len(dest) != len(r.values) {
		return fmt.Errorf("a row has %d columns and not %d", len(r.values), len(dest))
	}
	for i, value := range r.values {
		if err := r.assign(value, dest[i]); err != nil {
			return fmt.Errorf("column %s: %w", r.found.Columns()[i], err)
		}
	}
	return nil
}

// assign puts one of SQLite's values where dest points to. Booleans are numbers,
// and times and the lists of numbers that group_concat makes are text.
func (r *sqliteRows) assign(value driver.Value, dest any) (err error) {
	number, isNumber := value.(int64)
	text, isText := value.(string)
	if blob, ok := value.([]byte); ok {
		text, isText = string(blob), true
	}
	fits := isText
	switch dest := dest.(type) {
	case *string:
		*dest = text
	case *models.ID:
		*dest = models.ID(text)
	case *models.UserStatus:
		*dest = models.UserStatus(text)
	case *time.Time:
		if isText {
			*dest, err = parseSQLiteTime(text)
		}
	case *int64:
		*dest, fits = number, isNumber
	case *bool:
		*dest, fits = number != 0, isNumber
	case *[]int64:
		*dest, err = numbers(text)
		fits = isText || value == nil
	case **string:
		return assignOptional(r, value, dest, &r.optionals.texts)
	case **int64:
		return assignOptional(r, value, dest, &r.optionals.numbers)
	case **models.ID:
		return assignOptional(r, value, dest, &r.optionals.ids)
	case **time.Time:
		return assignOptional(r, value, dest, &r.optionals.times)
	default:
		return fmt.Errorf("there is no way to read a %T", dest)
	}
	if !fits {
		return fmt.Errorf("the value is a %T", value)
	}
	return err
}

// assignOptional puts a value that may be SQL's NULL, for which it gives nil.
func assignOptional[T any](r *sqliteRows, value driver.Value, dest **T, chunk *[]T) error {
	*dest = nil
	if value == nil {
		return nil
	}
	var zero T
	*dest = inChunk(chunk, zero)
	return r.assign(value, *dest)
}

// parseSQLiteTime reads a time in the layout sqliteTime. It differs from RFC 3339 by
// its space only, for which the library has a way that is several times as quick.
func parseSQLiteTime(text string) (time.Time, error) {
	if len(text) <= 10 || text[10] != ' ' {
		return time.Parse(sqliteTime, text)
	}
	t, err := time.Parse(time.RFC3339, text[:10]+"T"+text[11:])
	return t.UTC(), err
}

// numbers reads numbers with commas between them.
func numbers(text string) ([]int64, error) {
	list := []int64{}
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		number, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, err
		}
		list = append(list, number)
	}
	return list, nil
}
