package db_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// guarded gives a database with row level security: as its owner sees it, and as
// the role that serves.
func guarded(t *testing.T) (owner, serving *db.DB, servingURL string) {
	t.Helper()
	ownerURL := dbtest.URL(t, db.Postgres)
	owner = dbtest.OpenURL(t, ownerURL)
	if err := owner.EnableRowLevelSecurity(t.Context()); err != nil {
		t.Fatal(err)
	}
	const role = "roster_serving_test"
	conn := dbtest.ConnectURL(t, ownerURL)
	// The role is there already when another test was first.
	_, _ = conn.ExecContext(t.Context(), "CREATE ROLE "+role+" LOGIN")
	if _, err := conn.ExecContext(t.Context(), "GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role); err != nil {
		t.Fatal(err)
	}
	named, err := url.Parse(ownerURL)
	if err != nil {
		t.Fatal(err)
	}
	named.User = url.User(role)
	serving, err = db.Open(t.Context(), named.String(), db.Options{RowLevelSecurity: true, MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = serving.Close() })
	return owner, serving, named.String()
}

// TestMigrationKeepsRowLevelSecurity turns the policies on before there are all the tables
// that have one.
func TestMigrationKeepsRowLevelSecurity(t *testing.T) {
	conn := dbtest.ConnectURL(t, dbtest.Empty(t, db.Postgres))
	migrateByHand(t, conn, db.Postgres, func(done string) {
		if done != "0004" {
			return
		}
		if _, err := conn.ExecContext(t.Context(), "ALTER TABLE user_counts ENABLE ROW LEVEL SECURITY"); err != nil {
			t.Fatal(err)
		}
	})
	var on bool
	if err := conn.QueryRowContext(t.Context(), "SELECT relrowsecurity FROM pg_class WHERE oid = 'user_months'::regclass").Scan(&on); err != nil || !on {
		t.Errorf("it is on for user_months: %v, error %v", on, err)
	}
}

// TestRowLevelSecurity asks without the first wall: no statement here has a
// condition for the scope. Row level security alone must hold it.
func TestRowLevelSecurity(t *testing.T) {
	owner, serving, servingURL := guarded(t)
	data := dbtest.Users(60, 5)
	dbtest.Fill(t, owner, data)
	mine, other := data.Customers[0], data.Customers[1]
	all := map[string]int{}
	for _, table := range db.GuardedTables() {
		all[table] = unguarded(t, serving, models.Scope{All: true}, table)
	}
	if all["customers"] != len(data.Customers) || all["users"] != len(data.Users) || all["subroles"] != len(data.Subroles) {
		t.Errorf("a scope of all reads %v", all)
	}
	for name, test := range map[string]struct {
		scope     models.Scope
		customers []*models.Customer
	}{
		"nothing":         {models.Scope{}, nil},
		"by id":           {models.Scope{CustomerIDs: []models.ID{mine.ID}}, []*models.Customer{mine}},
		"by number":       {models.Scope{CustomerNumbers: []int64{mine.Number}}, []*models.Customer{mine}},
		"by both":         {models.Scope{CustomerIDs: []models.ID{mine.ID}, CustomerNumbers: []int64{other.Number}}, []*models.Customer{mine, other}},
		"one that is not": {models.Scope{CustomerIDs: []models.ID{"00000000-0000-4000-8000-0000000000ff"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			users := 0
			for _, customer := range test.customers {
				users += len(data.UsersOf(customer.ID))
			}
			if got := unguarded(t, serving, test.scope, "customers"); got != len(test.customers) {
				t.Errorf("%d customers, want %d", got, len(test.customers))
			}
			if got := unguarded(t, serving, test.scope, "users"); got != users {
				t.Errorf("%d users, want %d", got, users)
			}
			for _, table := range []string{"subroles", "user_counts", "user_months", "user_authorities", "legacy_credentials"} {
				if got := unguarded(t, serving, test.scope, table); test.customers == nil && got != 0 || all[table] > 0 && got == all[table] && users < len(data.Users) {
					t.Errorf("%d of %d rows of %s", got, all[table], table)
				}
			}
		})
	}

	// The scope ends with its transaction: nothing is left for the next statement
	// on the same connection.
	conn := dbtest.ConnectURL(t, servingURL)
	var left int
	if err := conn.QueryRowContext(t.Context(), "SELECT count(*) FROM users").Scan(&left); err != nil || left != 0 {
		t.Errorf("without a scope there are %d users, %v; want none", left, err)
	}
}

// unguarded counts the rows of a table that a statement without any condition reads.
func unguarded(t *testing.T, serving *db.DB, scope models.Scope, table string) int {
	t.Helper()
	n, err := serving.CountAll(t.Context(), scope, table)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The answers are the same with row level security and without.
func TestRowLevelSecurityChangesNoAnswer(t *testing.T) {
	owner, serving, _ := guarded(t)
	data := dbtest.Users(60, 6)
	dbtest.Fill(t, owner, data)
	customer := data.Customers[0]
	query := models.UserQuery{CustomerID: customer.ID, Order: models.DefaultUserOrder(), Window: models.Window{Size: 10}}
	filtered := query
	filtered.Filter = &models.UserFilter{Status: &models.UserStatusFilter{Eq: new(models.StatusActive)}}
	for _, scope := range []models.Scope{{All: true}, {CustomerIDs: []models.ID{customer.ID}}, {CustomerNumbers: []int64{customer.Number}}, {CustomerNumbers: []int64{data.Customers[1].Number}}, {}} {
		ask := func(d *db.DB) []any {
			var answers []any
			note := func(answer any, err error) {
				if err != nil {
					t.Error(err)
				}
				answers = append(answers, answer)
			}
			for _, q := range []models.UserQuery{query, filtered} {
				found, page, err := d.CustomerAndUsers(t.Context(), scope, q)
				note([]any{found, page}, err)
				n, err := d.CountUsers(t.Context(), scope, customer.ID, q.Filter)
				note(n, err)
			}
			subroles, err := d.Subroles(t.Context(), scope, customer.ID)
			note(subroles, err)
			granted, err := d.AuthoritiesByUser(t.Context(), scope, []models.ID{data.UsersOf(customer.ID)[0].ID})
			note(granted, err)
			customers, _, err := d.Customers(t.Context(), scope, models.CustomerQuery{Window: models.Window{Size: 10}})
			note(customers, err)
			return answers
		}
		checkDiff(t, "with row level security", ask(owner), ask(serving))
	}
}

// A server says at its start when the settings and the role do not fit.
func TestCheckRole(t *testing.T) {
	owner, serving, _ := guarded(t)
	plain, lite := dbtest.Open(t, db.Postgres), dbtest.Open(t, db.SQLite)
	for name, test := range map[string]struct {
		database *db.DB
		wanted   bool
		says     string
	}{
		"wanted and there":    {serving, true, ""},
		"there and unwanted":  {serving, false, "row level security applies to the role roster_serving_test on the table customers"},
		"wanted by the owner": {owner, true, "serve with a role that neither owns the tables"},
		"not turned on":       {plain, true, "roster migrate --row-level-security"},
		"neither":             {plain, false, ""},
		"SQLite":              {lite, true, "needs PostgreSQL"},
		"SQLite without":      {lite, false, ""},
	} {
		err := test.database.CheckRole(context.Background(), test.wanted, false)
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
	// A right that the role was not given is said at the start too, and not by the
	// first page that needs it.
	conn := dbtest.Connect(t, owner)
	for _, step := range []struct {
		table       string
		credentials bool
		says        string
	}{
		{"legacy_credentials", false, ""},
		{"legacy_credentials", true, "GRANT SELECT ON legacy_credentials TO roster_serving_test"},
		{"authorities_version", false, "GRANT SELECT ON authorities_version TO roster_serving_test"},
		{"authorities", false, "GRANT SELECT ON authorities TO roster_serving_test"},
		{"user_months", false, "GRANT SELECT ON user_months TO roster_serving_test"},
	} {
		if _, err := conn.ExecContext(t.Context(), "REVOKE SELECT ON "+step.table+" FROM roster_serving_test"); err != nil {
			t.Fatal(err)
		}
		err := serving.CheckRole(t.Context(), true, step.credentials)
		if step.says == "" && err != nil || step.says != "" && (err == nil || !strings.Contains(err.Error(), step.says)) {
			t.Errorf("without the right to read %s: %v, want %q", step.table, err, step.says)
		}
	}
	if err := lite.EnableRowLevelSecurity(t.Context()); err == nil {
		t.Error("SQLite has row level security")
	}
}
