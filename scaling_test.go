package main

import (
	"os"
	"strings"
	"testing"

	"roster/db"
	"roster/db/dbtest"
)

// TestCitusStatements runs what docs/scaling.md has operators run before and after
// tables are distributed, all but the distribution itself, so that it goes with the
// schema, and holds that the server answers as before.
func TestCitusStatements(t *testing.T) {
	guide, err := os.ReadFile("docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	_, statements, found := strings.Cut(string(guide), "<!-- The test TestCitusStatements")
	_, statements, more := strings.Cut(statements, "```sql\n")
	statements, _, end := strings.Cut(statements, "```")
	if !found || !more || !end {
		t.Fatal("docs/scaling.md does not have the statements")
	}
	data := dbtest.Users(60, 1)
	var answers [2][]call
	for i, change := range []bool{false, true} {
		databaseURL := dbtest.URL(t, db.Postgres)
		dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), data)
		if change {
			conn := dbtest.ConnectURL(t, databaseURL)
			for statement := range strings.SplitSeq(statements, ";\n") {
				if strings.Contains(statement, "SELECT create_") {
					continue
				}
				if _, err := conn.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
		}
		answers[i] = newTrial(t, databaseURL, "--legacy-credentials").calls
	}
	for i, call := range answers[0] {
		if got := answers[1][i].want; got != call.want {
			t.Errorf("%s: %.600s\nwithout the statements: %.600s", call.name, got, call.want)
		}
	}
}
