package db_test

import (
	"testing"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// askManyKinds asks for the users with filters of a hundred kinds, short and long.
func askManyKinds(t *testing.T, engine db.Engine) *db.DB {
	t.Helper()
	database, err := db.Open(t.Context(), dbtest.URL(t, engine), db.Options{MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = database.Close() })
	query := models.UserQuery{CustomerID: "00000000-0000-4000-8000-00000000000a", Window: models.Window{Size: 20}}
	ask := func(conditions []*models.UserFilter) {
		t.Helper()
		query.Filter = &models.UserFilter{Or: conditions}
		if _, _, err := database.Users(t.Context(), models.Scope{All: true}, query); err != nil {
			t.Fatal(err)
		}
	}
	text := "x"
	kinds := []*models.UserFilter{
		{Email: &models.StringFilter{Contains: &text}},
		{FirstName: &models.StringFilter{Contains: &text}},
		{LastName: &models.StringFilter{Contains: &text}},
	}
	for n := range 100 {
		var short, long []*models.UserFilter
		for digits, i := n, 0; i < 5; digits, i = digits/3, i+1 {
			short = append(short, kinds[digits%3])
		}
		for range 10 {
			long = append(long, short...)
		}
		ask(short)
		ask(long)
	}
	return database
}

// Filters of many kinds take PostgreSQL bounded memory.
func TestKeptStatementsAreBounded(t *testing.T) {
	read, _ := askManyKinds(t, db.Postgres).Pools()
	var kept, long int
	if err := read.NewRaw("SELECT count(*), sum(length(statement)) FILTER (WHERE length(statement) > 2048) FROM pg_prepared_statements").Scan(t.Context(), &kept, &long); err != nil {
		t.Fatal(err)
	}
	if kept < 2 || kept > 64 || long == 0 || long > 64<<10 {
		t.Errorf("%d statements are kept, %d bytes of long ones among them; want some, but at most 64 and 64 KiB", kept, long)
	}
}

// And SQLite, which is in the server.
func TestLongStatementsOfSQLiteAreNotKept(t *testing.T) {
	length, err := askManyKinds(t, db.SQLite).LongestKept(t.Context())
	if err != nil || length == 0 || length > 2<<10 {
		t.Errorf("a statement of %d bytes is kept, %v; want some, but of 2048 at most", length, err)
	}
}
