package db_test

import (
	"testing"

	"github.com/uptrace/bun"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// A database can have standard_conforming_strings off by default. A backslash
// would then escape the quote that ends a literal, and what follows in a caller's
// list would be part of the statement.
func TestBackslashesAreNoWayIntoTheStatement(t *testing.T) {
	url := dbtest.URL(t, db.Postgres)
	conn := dbtest.ConnectURL(t, url)
	var name string
	if err := conn.QueryRowContext(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "ALTER DATABASE ? SET standard_conforming_strings = off", bun.Ident(name)); err != nil {
		t.Fatal(err)
	}
	data := dbtest.Users(30, 3)
	dbtest.Write(t, conn, data)
	store := dbtest.OpenURL(t, url)
	scope := models.Scope{CustomerIDs: []models.ID{data.Customers[0].ID}}
	filter := &models.UserFilter{FirstName: &models.StringFilter{In: []string{`\`, ` )) or true) --`}}}
	n, err := store.CountUsers(t.Context(), scope, data.Customers[0].ID, filter)
	if err != nil || n != 0 {
		t.Errorf("%d users, %v; nobody has such a name", n, err)
	}
}
