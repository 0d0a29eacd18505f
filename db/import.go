package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"roster/models"
)

// Source says which system a document comes from, and so what it looks like.
type Source string

// The sources.
const (
	// SourceWorth is the answer of "Get Customer Users": an object whose
	// data.records holds the users. The bare list of records is taken too.
	SourceWorth Source = "worth"
	// SourceTestinium is the answer of "Get Users of a Customer": a list of users.
	SourceTestinium Source = "testinium"
)

// ImportOptions say how a document is imported.
type ImportOptions struct {
	// Customer is the customer whose users are imported: a UUID or a number. A
	// Worth document does not name its customer, so it is required there. A
	// Testinium document does; what is given here must agree with it.
	Customer string
	// CustomerName is the name of a customer that is created and that the
	// document gives no name. Empty takes "Customer" and the number. The name of
	// a customer that is there already is not touched.
	CustomerName string
	// DryRun checks everything and writes nothing. It works on a database that
	// was opened read-only.
	DryRun bool
	// Progress, if not nil, is called after each batch with the rows done and
	// the bytes read so far.
	Progress func(rows, bytes int64)
	// Reject, if not nil, is called for each rejected row, in the order of the
	// file, after the batch with that row is in.
	Reject func(Rejection)
}

// Rejection says why a row was not imported. It holds no personal data.
type Rejection struct {
	// Line is the line of the file on which the row starts.
	Line int64
	// Key is the user's UUID or number in the document; empty where it cannot be told.
	Key string
	// Reason names the field and what is wrong with it, but not its value.
	Reason string
}

// String is the rejection on one line.
func (r Rejection) String() string {
	if r.Key == "" {
		return fmt.Sprintf("line %d: %s", r.Line, r.Reason)
	}
	return fmt.Sprintf("line %d (user %s): %s", r.Line, r.Key, r.Reason)
}

// ImportSummary counts what an import did, or what a dry run would have done.
type ImportSummary struct {
	// Rows is the number of rows that were read: those of the users created,
	// updated and unchanged, and the rejected ones.
	Rows, Rejected int64

	UsersCreated, UsersUpdated, UsersUnchanged int64
	CustomersCreated, CustomersUpdated         int64
	SubrolesCreated, SubrolesUpdated           int64
	AuthoritiesCreated, AuthoritiesUpdated     int64
}

func (s *ImportSummary) add(o ImportSummary) {
	s.Rows += o.Rows
	s.Rejected += o.Rejected
	s.UsersCreated += o.UsersCreated
	s.UsersUpdated += o.UsersUpdated
	s.UsersUnchanged += o.UsersUnchanged
	s.CustomersCreated += o.CustomersCreated
	s.CustomersUpdated += o.CustomersUpdated
	s.SubrolesCreated += o.SubrolesCreated
	s.SubrolesUpdated += o.SubrolesUpdated
	s.AuthoritiesCreated += o.AuthoritiesCreated
	s.AuthoritiesUpdated += o.AuthoritiesUpdated
}

// wrote reports whether anything changed.
func (s *ImportSummary) wrote() bool {
	return *s != ImportSummary{Rows: s.Rows, Rejected: s.Rejected, UsersUnchanged: s.UsersUnchanged}
}

// A batch is at most this many rows, and ends early when its rows came from this
// many bytes, so that neither memory nor a statement grows with the document.
const (
	batchRows  = 1_000
	batchBytes = 4 << 20
)

// importLock is an arbitrary number that names the advisory lock under which
// PostgreSQL takes one batch at a time. SQLite has one writer anyway.
const importLock int64 = 7_305_811_043

// Import reads the users of a document and writes them, with their customer,
// subroles, authorities and legacy credentials, in batches. A batch is one
// transaction: it is in or it is not. An import that was interrupted is simply
// run again: what is already in does not change, not even its updated_at.
//
// A user is found again by its UUID (Worth) or its number (Testinium). What a
// source does not carry keeps its value; in a new user it is given a default:
//
//   - Worth carries no username, type, password reset, account flags or
//     authorities: none, and the flags true.
//   - Testinium carries no mobile number, subrole, external reference or
//     authors: none; no is_email_verified and is_first_login: false; no
//     updated_at: the time of creation, which stays when the user changes. Its
//     "enabled" is the status ACTIVE or INACTIVE, but an invited user who is
//     not enabled stays INVITED. Its authorities replace the user's.
//   - A UUID that is missing is derived from the number, and a number that is
//     missing is the next free one from [FirstOwnNumber] on.
//
// A row is rejected, with a reason, when it has a key that is not known, lacks
// one, or has one of another type or of a value that is not allowed; when the
// user is in the same file already; when the user or the subrole belongs to
// another customer, who does not lose it; and when it contradicts another row
// about a customer, a subrole or an authority. A key that may be null may also
// be absent, and then keeps its value. The other rows are imported.
//
// An error ends the import: the document is not of the documented shape, the
// context ended or the database failed. Then nothing of the batch at hand is
// written. The summary tells what is in.
//
// At its end, on PostgreSQL, an import that wrote something gathers statistics.
//
// Memory does not grow with the document, but for about 40 bytes a row by which
// a user who is in the file twice is noticed.
func (db *DB) Import(ctx context.Context, source Source, r io.Reader, options ImportOptions) (ImportSummary, error) {
	im, err := db.importer(source, options)
	if err != nil {
		return ImportSummary{}, err
	}
	err = im.run(ctx, r)
	if !options.DryRun && im.summary.wrote() {
		db.analyze(ctx)
	}
	return im.summary, err
}

// analyze has PostgreSQL gather statistics of all tables. Those that were just filled have
// none, and plans that are made then, and kept, read whole tables; autovacuum comes a minute
// later, and never to tables of fewer than 50 rows. SQLite plans well without.
//
// It waits for no lock: whoever holds a table for long would keep the import from ending,
// or a limit of the role would end it. Its error is nobody's: what was to be written is in,
// also when the context ends meanwhile, and without statistics all answers are the same. An
// import that is said to have failed would be run again, which gathers none as nothing
// changes.
func (db *DB) analyze(ctx context.Context) {
	if db.engine == Postgres {
		tables := slices.Concat(guardedTables, commonTables)
		_, _ = db.write.ExecContext(ctx, "ANALYZE (SKIP_LOCKED) "+strings.Join(tables, ", "))
	}
}

// FirstOwnNumber is the least number that Roster gives to a customer or user of
// a source without numbers. The legacy systems count from 1. If Roster went on
// where they are at the moment, they would give the same number to somebody else
// next, and the two could not be told apart.
const FirstOwnNumber = 1_000_000_000

// The name spaces of the UUIDs that are derived from a number (RFC 9562, version
// 5; the name is the number in decimal). They must never change, or importing
// again would make every customer and user twice.
var (
	customerSpace = uuid.MustParse("7d9a5b1e-0c5f-4f0e-9c3e-2a6b8f41d701")
	userSpace     = uuid.MustParse("7d9a5b1e-0c5f-4f0e-9c3e-2a6b8f41d702")
)

func derivedID(space uuid.UUID, number int64) models.ID {
	return models.ID(uuid.NewSHA1(space, strconv.AppendInt(nil, number, 10)).String())
}

// importRow is a row of any source.
type importRow struct {
	line int64
	// key is what the document calls the user by. Of id and number, the source
	// fills the one that it has.
	key    string
	id     models.ID
	number int64
	// refused is why the row cannot be imported, as far as the row alone tells.
	refused error

	// customerNumber and customerName are what the row itself says about its
	// customer; 0 and nil where it says nothing.
	customerNumber int64
	customerName   *string

	// apply sets what the source carries in a user who is new or read from the database.
	apply func(u *models.User, isNew bool)
	// subrole has no customer yet. Its nil means that the user has none.
	subrole optional[models.Subrole]
	// authorities replace the user's, unless they are nil.
	authorities              []importAuthority
	accessToken, vcsPassword optional[string]
}

// importAuthority is what a row says about an authority.
type importAuthority struct {
	id        int64
	name      string
	cleanName optional[string]
}

// format is how the documents of a source are read.
type format struct {
	// envelope allows the list to stand in data.records of an object.
	envelope bool
	// expected says what the document should be, for the operator.
	expected string
	// row reads the row from a record.
	row func(*record) importRow
	// namesCustomer is true when each row says whose user it is.
	namesCustomer bool
}

var formats = map[Source]format{
	SourceWorth:     worthFormat,
	SourceTestinium: testiniumFormat,
}

// importer is one import that is under way.
type importer struct {
	db       *DB
	format   format
	options  ImportOptions
	customer customerRef
	now      time.Time

	rows    []importRow
	bytes   int64
	summary ImportSummary
	// lastLine is where the last row starts that is in.
	lastLine int64

	// seen has the line of every user that was accepted.
	seen map[[16]byte]int64
	// These are what accepted rows said. All rows of a file must say the same,
	// or the result would depend on their order.
	customers   map[models.ID]mention[models.Customer]
	subroles    map[models.ID]mention[models.Subrole]
	authorities map[int64]mention[models.Authority]
}

// mention is what a line of the file said about something.
type mention[T any] struct {
	line  int64
	value T
	// named is whether the line gave the customer's name or the authority's clean
	// name, which it may lack.
	named bool
}

// customerRef names a customer by UUID or by number, or not at all.
type customerRef struct {
	id     models.ID
	number int64
}

func parseCustomerRef(s string) (customerRef, error) {
	if s == "" {
		return customerRef{}, nil
	}
	if id, err := models.ParseID(s); err == nil {
		return customerRef{id: id}, nil
	}
	number, err := strconv.ParseInt(s, 10, 64)
	if err != nil || number < 1 || strings.HasPrefix(s, "+") {
		return customerRef{}, fmt.Errorf("the customer is %s: a UUID or a positive number is expected", models.Quote(s))
	}
	return customerRef{number: number}, nil
}

func (db *DB) importer(source Source, options ImportOptions) (*importer, error) {
	format, ok := formats[source]
	if !ok {
		return nil, fmt.Errorf("%s is not a source that can be imported from: %s and %s are", models.Quote(string(source)), SourceWorth, SourceTestinium)
	}
	customer, err := parseCustomerRef(options.Customer)
	if err != nil {
		return nil, err
	}
	if options.Customer == "" && !format.namesCustomer {
		return nil, fmt.Errorf("--customer is needed: a document of %s does not say whose users it holds", source)
	}
	if err := checkShort(options.CustomerName); err != nil {
		return nil, fmt.Errorf("the customer's name %w", err)
	}
	if options.CustomerName != "" && strings.TrimSpace(options.CustomerName) == "" {
		return nil, errors.New("the customer's name is empty")
	}
	if db.write == nil && !options.DryRun {
		return nil, errReadOnly
	}
	return &importer{
		db: db, format: format, options: options, customer: customer,
		now:         time.Now().UTC().Truncate(time.Millisecond),
		seen:        map[[16]byte]int64{},
		customers:   map[models.ID]mention[models.Customer]{},
		subroles:    map[models.ID]mention[models.Subrole]{},
		authorities: map[int64]mention[models.Authority]{},
	}, nil
}

func (im *importer) run(ctx context.Context, r io.Reader) error {
	doc := newDocument(r)
	err := doc.records(im.format, func(line int64, raw []byte) error {
		im.rows = append(im.rows, im.parse(line, raw))
		im.bytes += int64(len(raw))
		if len(im.rows) < batchRows && im.bytes < batchBytes {
			return nil
		}
		return im.flush(ctx, doc.read)
	})
	// The last batch waits for the end of the document, so that a broken end does not pass unseen.
	if err == nil {
		err = im.flush(ctx, doc.read)
	}
	switch {
	case err == nil || im.options.DryRun:
		return err
	case im.summary.Rows == 0:
		return fmt.Errorf("%w; nothing was imported", err)
	case len(im.rows) > 0 && im.rows[0].line > im.lastLine: // a document may be one long line
		return fmt.Errorf("%w; nothing from line %d on was imported", err, im.rows[0].line)
	}
	return fmt.Errorf("%w; the first %d rows were imported", err, im.summary.Rows)
}

// parse reads a row as far as it can be read without the database.
func (im *importer) parse(line int64, raw []byte) importRow {
	rec := newRecord(raw)
	row := im.format.row(rec)
	row.line, row.refused = line, rec.close()
	return row
}

// flush plans and writes the rows at hand, and tells the caller.
func (im *importer) flush(ctx context.Context, bytes int64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("the import was interrupted: %w", err)
	}
	if len(im.rows) == 0 {
		return nil
	}
	b, err := im.commit(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("the import was interrupted: %w", ctx.Err())
		}
		return fmt.Errorf("the database failed: %w", err)
	}
	im.summary.add(b.summary)
	im.lastLine = im.rows[len(im.rows)-1].line
	im.rows, im.bytes = im.rows[:0], 0
	if im.options.Reject != nil {
		for _, rejection := range b.rejected {
			im.options.Reject(rejection)
		}
	}
	if im.options.Progress != nil {
		im.options.Progress(im.summary.Rows, bytes)
	}
	return nil
}

// commit plans the batch and writes it, in one transaction. Nothing may change
// between the two: one lock keeps out other imports, and so the numbers that are free
// stay free, and load locks the rows against everybody else.
func (im *importer) commit(ctx context.Context) (b *batch, err error) {
	if im.options.DryRun {
		return im.plan(ctx, im.db.read)
	}
	var options *sql.TxOptions
	if im.db.engine == Postgres {
		// At a stricter level, which a role can have by default, the transaction would not
		// see what was written while it waited for the lock.
		options = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	err = im.db.write.RunInTx(ctx, options, func(ctx context.Context, tx bun.Tx) error {
		if im.db.engine == Postgres {
			// A limit that the role has for its answers would end an import that waits its turn.
			if _, err := tx.ExecContext(ctx, "SET LOCAL lock_timeout = 0"); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", importLock); err != nil {
				return err
			}
		}
		if b, err = im.plan(ctx, tx); err != nil {
			return err
		}
		return b.write(ctx, tx)
	})
	return b, err
}
