package db

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"roster/models"
)

// statement is one SELECT. Its text is put together from constants only, with a
// question mark for every argument, so the same kind of question always has the
// same text, and the database plans it once and not for every request.
type statement struct {
	text string
	args []any
	// scope is what the caller may read, for the policies of the database. The text
	// has conditions for it besides.
	scope models.Scope
	// replan has PostgreSQL plan the statement anew each time, as the best way to
	// find a value depends on how many have it.
	replan bool
	// read takes the rows. Should the connection be lost, it is called again
	// with the rows from another, and starts over.
	read func(rows) error
	// err is what became of the statement when it ran along with others.
	err error
}

// rows are the rows of a statement on either engine.
type rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}

// anyOf begins a comparison with what a subselect finds, which ends with two brackets. It is
// that of PostgreSQL, which then looks for these few first. It would join the subselect
// otherwise, and while tables of less than 50 rows have no statistics, as they never get
// any by themselves, that took seconds.
const anyOf, anyOfSQLite = " = ANY (ARRAY (", " IN (SELECT * FROM ("

// list is an argument of many values. It stands in a statement as IN (?).
type list struct{ values any }

func listOf[T any](values []T) list { return list{values} }

// AppendQuery has bun write the values into a statement of its own.
func (l list) AppendQuery(gen schema.QueryGen, b []byte) ([]byte, error) {
	return bun.List(l.values).AppendQuery(gen, b)
}

// render gives the text and the arguments in the engine's own form. A list is a
// single argument on both, so that its length does not change the text.
func (s *statement) render(engine Engine) (string, []any) {
	var text strings.Builder
	text.Grow(len(s.text) + 4*len(s.args))
	args := make([]any, len(s.args))
	rest := s.text
	for i, argument := range s.args {
		before, after, _ := strings.Cut(rest, "?")
		rest = after
		_, isList := argument.(list)
		switch {
		case engine == Postgres && isList:
			text.WriteString(strings.TrimSuffix(before, "IN ("))
			text.WriteString("= ANY (")
		case isList:
			text.WriteString(before)
			text.WriteString("SELECT value FROM json_each(")
			rest = ")" + rest
		default:
			text.WriteString(before)
		}
		if engine == Postgres {
			text.WriteByte('$')
			text.WriteString(strconv.Itoa(i + 1))
			args[i] = postgresArgument(argument)
		} else {
			text.WriteByte('?')
			args[i] = sqliteArgument(argument)
		}
	}
	text.WriteString(rest)
	if engine == SQLite {
		return strings.ReplaceAll(text.String(), anyOf, anyOfSQLite), args
	}
	return text.String(), args
}

// runner runs statements on one engine.
type runner interface {
	run(ctx context.Context, statements []*statement) error
}

// run runs statements, together in one round trip where the engine can. When one
// fails, those after it do not run; the error is that of the first that failed,
// and each statement has its own in err.
func (db *DB) run(ctx context.Context, scope models.Scope, statements ...*statement) error {
	for _, s := range statements {
		s.scope = scope
	}
	if len(db.hooks) == 0 {
		return translate(db.runAll(ctx, statements))
	}
	events := make([]*bun.QueryEvent, len(statements))
	for i, s := range statements {
		text, args := s.render(db.engine)
		events[i] = &bun.QueryEvent{DB: db.read, Query: text, QueryArgs: args, StartTime: time.Now()}
		for _, hook := range db.hooks {
			ctx = hook.BeforeQuery(ctx, events[i])
		}
	}
	err := db.runAll(ctx, statements)
	for i, s := range statements {
		events[i].Err = s.err
		for _, hook := range db.hooks {
			hook.AfterQuery(ctx, events[i])
		}
	}
	return translate(err)
}

// WithStatementLimit bounds how many round trips run at once. Each one of ctx, of one
// statement or two, holds a slot of the semaphore, and waits for it as long as ctx allows.
func WithStatementLimit(ctx context.Context, semaphore chan struct{}) context.Context {
	return context.WithValue(ctx, statementLimitKey{}, semaphore)
}

type statementLimitKey struct{}

// runAll makes sure that an error belongs to a statement. Without a connection none has
// begun: then it is the first one's, which would otherwise pass for one that found nothing.
func (db *DB) runAll(ctx context.Context, statements []*statement) error {
	if semaphore, ok := ctx.Value(statementLimitKey{}).(chan struct{}); ok {
		select {
		case semaphore <- struct{}{}:
			defer func() { <-semaphore }()
		case <-ctx.Done():
			statements[0].err = ctx.Err()
			return ctx.Err()
		}
	}
	err := db.runner.run(ctx, statements)
	if err != nil && !slices.ContainsFunc(statements, func(s *statement) bool { return s.err != nil }) {
		statements[0].err = err
	}
	return err
}

// collect makes a function that reads rows into values, whose fields dest names, and gives
// the place of the result. It allocates for the expected number of rows in advance.
func collect[T any](expected int, dest func(*T) []any) (read func(rows) error, found *[]*T) {
	found = new([]*T)
	return func(r rows) error {
		*found = nil
		var row T
		chunk := make([]T, 0, min(expected, maxChunk))
		fields := dest(&row)
		for r.Next() {
			if err := r.Scan(fields...); err != nil {
				return err
			}
			*found = append(*found, inChunk(&chunk, row))
		}
		return r.Err()
	}, found
}

// optionals are the chunks that hold the optional values of rows.
type optionals struct {
	texts   []string
	ids     []models.ID
	numbers []int64
	times   []time.Time
}

// maxChunk is the most values that memory is allocated for at once.
const maxChunk = 64

// inChunk puts a value into a chunk that was allocated for several, and gives its address.
func inChunk[T any](chunk *[]T, value T) *T {
	if n := cap(*chunk); len(*chunk) == n {
		*chunk = make([]T, 0, max(n, 8))
	}
	*chunk = append(*chunk, value)
	return &(*chunk)[len(*chunk)-1]
}
