package db_test

import (
	"fmt"
	"testing"

	"github.com/uptrace/bun"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// TestVersionsDoNotComeAgain holds that each change of a customer's subroles or of
// the authorities has a version that was not there before, also when the customer
// was deleted and made again, and that what changes neither leaves the versions.
func TestVersionsDoNotComeAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		data := dbtest.Users(0, 51)
		conn := dbtest.Connect(t, store)
		first, second := data.Customers[0].ID, data.Customers[1].ID
		newCustomer := fmt.Sprintf("INSERT INTO customers (id, number, name, created_at, updated_at, name_key) VALUES ('%s', 987654321, 'A', '%s', '%[2]s', 'a')", unknownID, "2024-02-12 14:16:49+00:00")
		newSubrole := fmt.Sprintf("INSERT INTO subroles (id, customer_id, code, display_name, label, description, code_key) VALUES ('%s', '%[1]s', 'x', '', '', '', 'x')", unknownID)
		dbtest.Write(t, conn, data)

		seen := map[string]string{} // what had a version
		last := map[string]int64{}
		for _, step := range []struct {
			statement string
			changed   []string // whose version
		}{
			{"SELECT 1", []string{string(first), string(second), "authorities"}},
			{newCustomer, []string{string(unknownID)}},
			{newSubrole, []string{string(unknownID)}},
			{newCustomer + " ON CONFLICT (id) DO UPDATE SET name = 'B'", nil},
			{"UPDATE subroles SET label = 'X' WHERE customer_id = '" + string(first) + "'", []string{string(first)}},
			{"UPDATE subroles SET customer_id = '" + string(second) + "' WHERE id = '" + string(unknownID) + "'", []string{string(second), string(unknownID)}},
			{"DELETE FROM subroles WHERE id = '" + string(unknownID) + "'", []string{string(second)}},
			{"DELETE FROM customers WHERE id = '" + string(unknownID) + "'", nil},
			{newCustomer, []string{string(unknownID)}},
			{newSubrole, []string{string(unknownID)}},
			{"INSERT INTO authorities (id, name) VALUES (99, 'ROLE_NEW')", []string{"authorities"}},
			{"INSERT INTO authorities (id, name) VALUES (99, 'ROLE_NEW') ON CONFLICT DO NOTHING", nil},
			{"UPDATE authorities SET clean_name = 'New' WHERE id = 99", []string{"authorities"}},
			{"DELETE FROM authorities WHERE id = 99", []string{"authorities"}},
		} {
			if _, err := conn.ExecContext(t.Context(), step.statement); err != nil {
				t.Fatalf("%s: %v", step.statement, err)
			}
			var rows []struct {
				Whose   string `bun:"whose"`
				Version int64  `bun:"version"`
			}
			if err := conn.NewRaw("SELECT CAST(id AS text) AS whose, subroles_version AS version FROM customers UNION ALL SELECT 'authorities', version FROM authorities_version").
				Scan(t.Context(), &rows); err != nil {
				t.Fatal(err)
			}
			now := map[string]int64{}
			for _, row := range rows {
				now[row.Whose] = row.Version
			}
			for _, whose := range step.changed {
				version := fmt.Sprint(whose, " ", now[whose])
				if before, ok := seen[version]; ok {
					t.Errorf("after %s: the version %s was there after %s", step.statement, version, before)
				}
				seen[version] = step.statement
				last[whose] = now[whose]
			}
			for whose, version := range last {
				if n, ok := now[whose]; ok && n != version {
					t.Errorf("after %s: the version of %s changed", step.statement, whose)
				}
			}
		}
	})
}

// TestWritersOfOneCustomerDoNotDeadlock has two transactions insert a user of one
// customer and then a subrole. The first subrole must not wait for the other
// transaction, which would wait for this one with its own.
func TestWritersOfOneCustomerDoNotDeadlock(t *testing.T) {
	databaseURL := dbtest.URL(t, db.Postgres)
	data := dbtest.Users(1, 52)
	dbtest.Write(t, dbtest.ConnectURL(t, databaseURL), data)
	newUser, newSubrole := "INSERT INTO users SELECT (jsonb_populate_record(u, '{\"id\": \"%s\", \"number\": %d}')).* FROM users AS u WHERE number = %d",
		"INSERT INTO subroles (id, customer_id, code, display_name, label, description, code_key) SELECT '%s', customer_id, '%[1]s', '', '', '', '' FROM users WHERE number = %d"
	var writers [2]bun.Tx
	run := func(i int, statement string) {
		t.Helper()
		if _, err := writers[i].ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("writer %d: %s: %v", i, statement, err)
		}
	}
	ids := [2]models.ID{"00000000-0000-4000-8000-000000000a01", "00000000-0000-4000-8000-000000000a02"}
	for i := range writers {
		var err error
		if writers[i], err = dbtest.ConnectURL(t, databaseURL).BeginTx(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = writers[i].Rollback() }()
		run(i, "SET LOCAL lock_timeout = '2s'")
		run(i, fmt.Sprintf(newUser, ids[i], 1_000_000+i, data.Users[0].Number))
	}
	for i := range writers {
		run(i, fmt.Sprintf(newSubrole, ids[i], data.Users[0].Number))
		if err := writers[i].Commit(); err != nil {
			t.Fatal(err)
		}
	}
}
