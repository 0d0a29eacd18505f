package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
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
	return &DB{engine: Postgres, read: bunDB, write: bunDB, schema: schema, runner: runner, connections: runner.maxConnections}, nil
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

// poolConnector makes the connections of PostgreSQL's pool.
type poolConnector struct {
	driver.Connector
	open *atomic.Int64
}

// Connect makes a connection.
func (c poolConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, lateConnectionError{err.Error()}
	}
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return pooled{conn.(*stdlib.Conn), c.open}, nil
}

// lateConnectionError is what connecting says that took too long, though the caller has
// time left.
type lateConnectionError struct{ text string }

// Error gives what the driver said.
func (e lateConnectionError) Error() string { return e.text }

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

// deadConnectionError is what a statement says whose connection had died.
type deadConnectionError struct{ error }

// Is has [sql.DB] take the error for driver.ErrBadConn.
func (deadConnectionError) Is(target error) bool { return target == driver.ErrBadConn }

// Unwrap gives what the driver said.
func (e deadConnectionError) Unwrap() error { return e.error }

func postgresConfig(databaseURL string, options Options) (*pgx.ConnConfig, error) {
	// A password that is not escaped ends early, and the rest of it would be taken for
	// the host or a parameter, which errors name and the resolver is asked for.
	_, place, _ := strings.Cut(databaseURL, "://")
	place, parameters, _ := strings.Cut(place, "?")
	authority, path, _ := strings.Cut(place, "/")
	if strings.Count(authority, "@") > 1 || strings.ContainsAny(path, "@#") || strings.Contains(authority, "#") ||
		!strings.Contains(authority, "@") && strings.Contains(parameters, "@") {
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
		if answers := options.StatementTimeout > 0; answers && hostsOf(config) > 1 {
			config.ConnectTimeout = time.Second
		}
	}
	config.RuntimeParams["timezone"] = "UTC"
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
	// Sent even as 0, which is no limit: one that the role has is for answers, and would
	// end a migration or an import.
	inURL := config.RuntimeParams["statement_timeout"] != "" || strings.Contains(config.RuntimeParams["options"], "statement_timeout")
	if options.StatementTimeout > 0 || !inURL {
		config.RuntimeParams["statement_timeout"] = strconv.FormatInt(options.StatementTimeout.Milliseconds(), 10)
	}
	return config, nil
}

// hostsOf tells how many servers a URL names.
func hostsOf(config *pgx.ConnConfig) int {
	hosts := map[string]bool{net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))): true}
	for _, other := range config.Fallbacks { // with and without TLS
		hosts[net.JoinHostPort(other.Host, strconv.Itoa(int(other.Port)))] = true
	}
	return len(hosts)
}

// What each connection keeps prepared at most: callers decide how many kinds of filters
// there are, and each takes PostgreSQL memory for its plan, nearly a megabyte for one of
// 10 KB. Of long texts, in bytes, so much is kept together.
const (
	keptStatements = 64
	longText       = 2 << 10
	keptLongTexts  = 64 << 10
)

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

// postgresRunner runs statements on PostgreSQL.
type postgresRunner struct {
	pool           *sql.DB
	open           *atomic.Int64 // how many connections the pool has
	maxConnections int
	// prepares is false where the URL says that statements must not be prepared.
	prepares bool
	// guarded has the scope of each statement told to the policies of the database.
	guarded bool
	// limited is set while the pool does with the connections that it has.
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
		if try < 4*r.maxConnections && r.doWithWhatThereIs(err) {
			continue
		}
		if _, dead := errors.AsType[deadConnectionError](err); !dead || try >= r.maxConnections {
			return err
		}
	}
}

// doWithWhatThereIs has the pool do with the connections that it has, for a second, when
// PostgreSQL or the role has none left. It reports whether there are any: then who waits
// has its turn on those.
func (r *postgresRunner) doWithWhatThereIs(err error) bool {
	if r.open.Load() == 0 || !noConnectionLeft(err) {
		return false
	}
	// The pool counts connections that are being made, too, which soon are refused as this
	// one was. Fewer than it counts would have it close some that are used.
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

// noConnectionLeft reports whether PostgreSQL, or the role, may have no more connections.
func noConnectionLeft(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == "53300" // too_many_connections
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

// longTexts are the long texts that a connection may have prepared.
type longTexts map[string]bool

// forgetLongTexts has a connection forget all that it has prepared when too much of it is
// long. What runs often is soon prepared again. PgBouncer knows of it from 1.22 on.
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

// What the statements after it in the same transaction are told.
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

// postgresRows reads the columns of the types that the tables have from the
// binary form in which PostgreSQL sends them (its documentation has it in the
// source of each type's send function). pgx would do it too, by way of a plan for
// each column and memory for each value; a page of users takes a tenth less time
// this way.
type postgresRows struct {
	pgx.Rows
	// asText is set when the values come as text, which they do when statements are
	// not prepared.
	asText, known bool
	// texts is where texts are, and lists where the numbers of lists are.
	texts     strings.Builder
	lists     []int64
	optionals optionals
}

// Scan fills dest with the columns of the row.
func (r *postgresRows) Scan(dest ...any) error {
	if !r.known {
		r.known = true
		r.asText = slices.ContainsFunc(r.FieldDescriptions(), func(field pgconn.FieldDescription) bool {
			// Text is the same in both forms.
			return field.Format != pgx.BinaryFormatCode && field.DataTypeOID != pgtype.TextOID
		})
	}
	values := r.RawValues()
	if r.asText || len(values) != len(dest) {
		return r.Rows.Scan(dest...)
	}
	for i, value := range values {
		if err := r.decode(value, dest[i]); err != nil {
			return fmt.Errorf("column %s: %w", r.FieldDescriptions()[i].Name, err)
		}
	}
	return nil
}

// decode reads one value into what dest points to.
func (r *postgresRows) decode(value []byte, dest any) (err error) {
	switch dest := dest.(type) {
	case *string:
		*dest = r.text(value)
	case *models.UserStatus:
		*dest = models.UserStatus(r.text(value))
	case *bool:
		if err = hasSize(value, 1); err == nil {
			*dest = value[0] != 0
		}
	case *int64:
		*dest, err = numberOf(value)
	case *models.ID:
		*dest, err = r.id(value)
	case *time.Time:
		*dest, err = timeOf(value)
	case **string:
		return orNil(value, dest, &r.optionals.texts, func(value []byte) (string, error) { return r.text(value), nil })
	case **int64:
		return orNil(value, dest, &r.optionals.numbers, numberOf)
	case **models.ID:
		return orNil(value, dest, &r.optionals.ids, r.id)
	case **time.Time:
		return orNil(value, dest, &r.optionals.times, timeOf)
	case *[]int64:
		return r.list(value, dest)
	default:
		return fmt.Errorf("there is no way to read a %T", dest)
	}
	return err
}

// orNil reads a value that may be SQL's NULL, for which it gives nil.
func orNil[T any](value []byte, dest **T, kept *[]T, read func([]byte) (T, error)) error {
	*dest = nil
	if value == nil {
		return nil
	}
	found, err := read(value)
	if err == nil {
		*dest = keep(kept, found)
	}
	return err
}

// text gives a text as a part of a larger piece of memory: a page of users has hundreds.
func (r *postgresRows) text(value []byte) string {
	const piece = 1 << 10
	if r.texts.Cap()-r.texts.Len() < len(value) {
		r.texts.Reset()
		r.texts.Grow(max(len(value), piece))
	}
	start := r.texts.Len()
	r.texts.Write(value)
	return r.texts.String()[start:]
}

func (r *postgresRows) id(value []byte) (models.ID, error) {
	if err := hasSize(value, 16); err != nil {
		return "", err
	}
	var text [36]byte
	hex.Encode(text[0:8], value[0:4])
	hex.Encode(text[9:13], value[4:6])
	hex.Encode(text[14:18], value[6:8])
	hex.Encode(text[19:23], value[8:10])
	hex.Encode(text[24:36], value[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return models.ID(r.text(text[:])), nil
}

func hasSize(value []byte, size int) error {
	if len(value) != size {
		return fmt.Errorf("the value has %d bytes and not %d", len(value), size)
	}
	return nil
}

func numberOf(value []byte) (int64, error) {
	if err := hasSize(value, 8); err != nil {
		return 0, err
	}
	return bigEndian(value), nil
}

func bigEndian(value []byte) int64 {
	return int64(binary.BigEndian.Uint64(value)) //nolint:gosec // two's complement, as it was sent
}

// year2000 is where PostgreSQL begins to count microseconds, in those of Unix.
const year2000 = 946_684_800_000_000

// timeOf reads a time. The ends of the range stand for infinity, which is no time.
func timeOf(value []byte) (time.Time, error) {
	micros, err := numberOf(value)
	if err != nil {
		return time.Time{}, err
	}
	if micros == math.MaxInt64 || micros == math.MinInt64 {
		return time.Time{}, errors.New("the time is infinite")
	}
	return time.UnixMicro(micros + year2000).UTC(), nil
}

// list reads an array of bigint: 20 bytes about the array, of which an empty one has
// 12, and then each number with its length before it.
func (r *postgresRows) list(value []byte, dest *[]int64) error {
	const header, each = 20, 12
	*dest = []int64{}
	if len(value) < header {
		return nil
	}
	if (len(value)-header)%each != 0 {
		return fmt.Errorf("an array has %d bytes", len(value))
	}
	n := (len(value) - header) / each
	if cap(r.lists)-len(r.lists) < n {
		r.lists = make([]int64, 0, max(n, mostKept))
	}
	start := len(r.lists)
	for i := header; i < len(value); i += each {
		r.lists = append(r.lists, bigEndian(value[i+4:i+each]))
	}
	*dest = r.lists[start:len(r.lists):len(r.lists)]
	return nil
}
