package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"roster/models"
)

// translate turns an error of a driver into one that callers may see. It goes
// by the codes that the databases document, never by the text of a message.
// The driver's error stays the cause, for the log.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*models.Error](err); ok {
		return err
	}
	code, message := classify(err)
	return &models.Error{Code: code, Message: message, Err: err}
}

const (
	timeoutMessage     = "The answer took too long. Ask for less at once: a smaller page, or a narrower filter."
	unavailableMessage = "The database cannot answer at the moment. Try again shortly."
)

func classify(err error) (models.Code, string) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return models.CodeTimeout, timeoutMessage
	}
	// A database that refuses the login, as it does while it is moved or restored, is
	// away, whatever it gives as the reason, and so is one that takes no connection in time.
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	if _, late := errors.AsType[connectTimeoutError](err); connecting || late {
		return models.CodeUnavailable, unavailableMessage
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifySQLState(pgErr.Code)
	}
	if sqliteErr, ok := errors.AsType[*sqlite.Error](err); ok {
		return classifySQLite(sqliteErr.Code())
	}
	_, network := errors.AsType[net.Error](err)
	if network || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return models.CodeUnavailable, unavailableMessage
	}
	return models.CodeInternal, models.InternalMessage
}

// classifySQLState goes by the classes of the SQL standard and of PostgreSQL's
// appendix A.
func classifySQLState(state string) (models.Code, string) {
	switch {
	case state == "57014": // query_canceled: the statement timeout
		return models.CodeTimeout, timeoutMessage
	case strings.HasPrefix(state, "22"): // data exception
		return models.CodeBadUserInput, "A value is out of the range that the database can hold."
	case strings.HasPrefix(state, "08"), // connection exception
		strings.HasPrefix(state, "53"), // insufficient resources
		strings.HasPrefix(state, "57"), // operator intervention
		strings.HasPrefix(state, "40"), // transaction rollback: deadlock, conflict with recovery
		strings.HasPrefix(state, "58"), // system error
		state == "25006",               // read only transaction: a standby
		state == "55P03":               // lock not available
		return models.CodeUnavailable, unavailableMessage
	}
	return models.CodeInternal, models.InternalMessage
}

func classifySQLite(code int) (models.Code, string) {
	switch code & 0xff { // the primary code of an extended one
	case sqlite3.SQLITE_INTERRUPT:
		return models.CodeTimeout, timeoutMessage
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM:
		return models.CodeUnavailable, unavailableMessage
	case sqlite3.SQLITE_TOOBIG:
		return models.CodeBadUserInput, "A value is out of the range that the database can hold."
	}
	return models.CodeInternal, models.InternalMessage
}
