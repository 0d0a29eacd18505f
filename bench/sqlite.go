//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"roster/models"
)

// loadSQLite migrates an empty database and fills it in one transaction. Plain indexes
// are made again afterwards. It does not wait for the disk: a load that breaks off starts
// over.
func (d *dataSet) loadSQLite(ctx context.Context, databaseURL string) (err error) {
	if err := migrate(ctx, databaseURL); err != nil {
		return err
	}
	path := strings.TrimPrefix(databaseURL, "sqlite:")
	file, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(OFF)&_pragma=cache_size(-500000)&_pragma=temp_store(MEMORY)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	file.SetMaxOpenConns(1)
	rows, err := file.QueryContext(ctx, "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
	if err != nil {
		return err
	}
	defer rows.Close()
	begin, end := []string{}, []string{}
	for rows.Next() {
		var name, statement string
		if err := rows.Scan(&name, &statement); err != nil {
			return err
		}
		begin, end = append(begin, "DROP INDEX "+name), append(end, statement)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := execute(ctx, file, append(begin, "BEGIN")); err != nil {
		return err
	}
	for _, t := range d.tables() {
		if err := insert(ctx, file, t); err != nil {
			return fmt.Errorf("load %s: %w", t.name, err)
		}
	}
	return execute(ctx, file, append(end, "COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)"))
}

// rowsAtOnce is how many rows one statement inserts, which takes half the time of
// one statement for each.
const rowsAtOnce = 100

func insert(ctx context.Context, file *sql.DB, t table) error {
	marks := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(t.columns)), ", ") + "), "
	statement := func(rows int) string {
		return "INSERT INTO " + t.name + " (" + strings.Join(t.columns, ", ") + ") VALUES " + strings.TrimSuffix(strings.Repeat(marks, rows), ", ")
	}
	full, err := file.PrepareContext(ctx, statement(rowsAtOnce)) //nolint:sqlclosecheck // it is closed right below
	if err != nil {
		return err
	}
	defer full.Close()
	var values []any
	for row := range t.rows {
		for _, value := range row {
			values = append(values, sqliteValue(value))
		}
		if len(values) == rowsAtOnce*len(t.columns) {
			if _, err := full.ExecContext(ctx, values...); err != nil {
				return err
			}
			values = values[:0]
		}
	}
	if len(values) == 0 {
		return nil
	}
	_, err = file.ExecContext(ctx, statement(len(values)/len(t.columns)), values...)
	return err
}

func execute(ctx context.Context, file *sql.DB, statements []string) error {
	for _, statement := range statements {
		if _, err := file.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// sqliteTime is how package db has times written.
const sqliteTime = "2006-01-02 15:04:05.999999-07:00"

// sqliteValue gives an id or a time in the form that it has in SQLite.
func sqliteValue(value any) any {
	switch value := value.(type) {
	case models.ID:
		return string(value)
	case *models.ID:
		if value == nil {
			return nil
		}
		return string(*value)
	case time.Time:
		return value.UTC().Format(sqliteTime)
	case *time.Time:
		if value == nil {
			return nil
		}
		return value.UTC().Format(sqliteTime)
	case *string:
		if value == nil {
			return nil
		}
		return *value
	}
	return value
}
