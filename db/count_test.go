package db_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// total is how many users a customer has in a status.
type total struct {
	CustomerID models.ID         `bun:"customer_id"`
	Status     models.UserStatus `bun:"status"`
	Users      int               `bun:"users"`
}

// checkCounters compares the counters with the users that there are.
func checkCounters(t *testing.T, conn bun.IDB, when string) {
	t.Helper()
	var want, got []total
	if err := conn.NewRaw("SELECT customer_id, status, count(*) AS users FROM users GROUP BY customer_id, status ORDER BY 1, 2").Scan(t.Context(), &want); err != nil {
		t.Fatal(err)
	}
	if err := conn.NewRaw("SELECT customer_id, status, CAST(sum(users) AS bigint) AS users FROM user_counts GROUP BY customer_id, status HAVING sum(users) <> 0 ORDER BY 1, 2").Scan(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	checkDiff(t, "the counters "+when, want, got)

	type inMonth struct {
		CustomerID models.ID `bun:"customer_id"`
		Month      string    `bun:"month"`
		Users      int       `bun:"users"`
	}
	var wantMonths, gotMonths []inMonth
	month, isMonth := "substr(created_at, 1, 7)", "month"
	if conn.Dialect().Name() == dialect.PG {
		month, isMonth = "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM')", "to_char(month AT TIME ZONE 'UTC', 'YYYY-MM')"
	}
	if err := conn.NewRaw("SELECT customer_id, "+month+" AS month, count(*) AS users FROM users GROUP BY 1, 2 ORDER BY 1, 2").Scan(t.Context(), &wantMonths); err != nil {
		t.Fatal(err)
	}
	if err := conn.NewRaw("SELECT customer_id, "+isMonth+" AS month, CAST(sum(users) AS bigint) AS users FROM user_months GROUP BY 1, 2 HAVING sum(users) <> 0 ORDER BY 1, 2").Scan(t.Context(), &gotMonths); err != nil {
		t.Fatal(err)
	}
	checkDiff(t, "the counters of months "+when, wantMonths, gotMonths)
	if conn.Dialect().Name() == dialect.PG {
		n, err := conn.NewSelect().TableExpr("user_months").Where("month <> date_trunc('month', month, 'UTC')").Count(t.Context())
		if err != nil || n > 0 {
			t.Errorf("%s %d months begin at another time than they do in UTC, error %v", when, n, err)
		}
	}
}

// TestMonthsAreThoseOfUTC has a writer whose session is in another time zone.
func TestMonthsAreThoseOfUTC(t *testing.T) {
	store := dbtest.Open(t, db.Postgres)
	conn := dbtest.Connect(t, store)
	dbtest.Write(t, conn, dbtest.Users(30, 5))
	if _, err := conn.ExecContext(t.Context(), "SET timezone = 'Asia/Tokyo'; UPDATE users SET created_at = '2024-01-31 20:00:00+00' WHERE number % 2 = 0; RESET timezone"); err != nil {
		t.Fatal(err)
	}
	checkCounters(t, conn, "after a writer in Tokyo")
}

// randomWrites are statements that add, change and remove a few users of any
// customer, some of them several users or none.
func randomWrites(r *rand.Rand, data *dbtest.Data, writer, n int) (statements []string) {
	id := func() models.ID { return data.Customers[r.IntN(len(data.Customers))].ID }
	status := func() models.UserStatus { return models.UserStatuses()[r.IntN(3)] }
	// The ends of a month count.
	created := func() string {
		return []string{"2024-01-31 23:59:59.999+00:00", "2024-02-01 00:00:00+00:00", "2024-02-12 14:16:49+00:00", "2025-02-12 14:16:49+00:00"}[r.IntN(4)]
	}
	some := fmt.Sprintf("number %% 7 = %d AND number / 1000 = %d", r.IntN(7), writer)
	for i := range n {
		number := writer*1000 + i
		insert := fmt.Sprintf(`INSERT INTO users (id, number, customer_id, first_name, last_name, email, status, is_email_verified, is_first_login,
			account_non_expired, account_non_locked, credentials_non_expired, created_at, updated_at,
			username_key, first_name_key, last_name_key, email_key, mobile_key, search_key)
			VALUES ('%08d-0000-4000-8000-0000000000ff', %d, '%s', '', '', '', '%s', TRUE, TRUE, TRUE, TRUE, TRUE,
			'%s', '2024-02-12 14:16:49+00:00', '', '', '', '', '', '')`, number, number, id(), status(), created())
		switch r.IntN(9) {
		case 0:
			statements = append(statements, fmt.Sprintf("UPDATE users SET status = '%s' WHERE %s", status(), some))
		case 1:
			statements = append(statements, fmt.Sprintf("UPDATE users SET customer_id = '%s', subrole_id = NULL WHERE %s", id(), some))
		case 2:
			statements = append(statements, "UPDATE users SET user_type = 'X', status = status WHERE "+some)
		case 3:
			statements = append(statements, "DELETE FROM users WHERE "+some)
		case 4:
			statements = append(statements, fmt.Sprintf("UPDATE users SET created_at = '%s' WHERE %s", created(), some))
		case 5:
			// The same user again, as an import writes one.
			statements = append(statements, insert, insert+fmt.Sprintf(" ON CONFLICT (id) DO UPDATE SET status = '%s'", status()))
		default:
			statements = append(statements, insert)
		}
	}
	return statements
}

// TestCounters holds that the counters are right whatever is written, and
// whatever of it is taken back.
func TestCounters(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		data := dbtest.Users(40, 21)
		conn := dbtest.Connect(t, store)
		dbtest.Write(t, conn, data)
		checkCounters(t, conn, "after the first users")
		seed := rand.Uint64()
		t.Log("seed", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		for writer := range 20 {
			tx, err := conn.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, statement := range randomWrites(r, data, 2+writer, 15) {
				if _, err := tx.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			end := tx.Commit
			if r.IntN(3) == 0 {
				end = tx.Rollback
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			checkCounters(t, conn, "after random writes")
		}
		for _, table := range []string{"user_authorities", "legacy_credentials", "users"} {
			if _, err := conn.ExecContext(t.Context(), "DELETE FROM "+table); err != nil {
				t.Fatal(err)
			}
		}
		checkCounters(t, conn, "when all are gone")
		// The counters are in nobody's way.
		for _, table := range []string{"subroles", "customers"} {
			if _, err := conn.ExecContext(t.Context(), "DELETE FROM "+table); err != nil {
				t.Fatal(err)
			}
		}
		checkCounters(t, conn, "without customers")
	})
}

// TestCountersOfManyWriters has writers change the users of the same customers
// at once, in transactions that touch them in different orders. None waits for
// another, so none can be part of a deadlock.
func TestCountersOfManyWriters(t *testing.T) {
	url := dbtest.URL(t, db.Postgres)
	data := dbtest.Users(40, 22)
	conn := dbtest.ConnectURL(t, url)
	dbtest.Write(t, conn, data)
	var done sync.WaitGroup
	for writer := range 8 {
		conn := dbtest.ConnectURL(t, url)
		r := rand.New(rand.NewPCG(uint64(writer), 1))
		done.Go(func() {
			for round := range 10 {
				err := conn.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
					for _, statement := range randomWrites(r, data, 100*(writer+1)+round, 10) {
						if _, err := tx.ExecContext(ctx, statement); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	checkCounters(t, conn, "after eight writers at once")
	if _, err := conn.ExecContext(t.Context(), "TRUNCATE users CASCADE"); err != nil {
		t.Fatal(err)
	}
	checkCounters(t, conn, "after TRUNCATE")
}

// TestCountersOfAWriterWithFewRights holds that who may write users need not be
// allowed to write counters, and cannot put a table of its own in their place.
func TestCountersOfAWriterWithFewRights(t *testing.T) {
	conn := dbtest.ConnectURL(t, dbtest.URL(t, db.Postgres))
	data := dbtest.Users(10, 23)
	dbtest.Write(t, conn, data)
	tx, err := conn.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{
		"CREATE ROLE roster_test_writer", "GRANT SELECT, UPDATE ON users TO roster_test_writer", "SET LOCAL ROLE roster_test_writer",
		"CREATE TEMPORARY TABLE user_counts (customer_id uuid, status text, part bigint, users bigint)",
		"CREATE TEMPORARY TABLE user_months (customer_id uuid, month timestamptz, part bigint, users bigint)",
		"UPDATE users SET status = 'INVITED', created_at = '2020-02-02 00:00:00+00:00'",
		"DROP TABLE pg_temp.user_counts, pg_temp.user_months", "RESET ROLE",
	} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	checkCounters(t, tx, "after the other's update")
}

// TestCountersOfADeletedCustomer deletes a customer and its users in one statement.
func TestCountersOfADeletedCustomer(t *testing.T) {
	conn := dbtest.ConnectURL(t, dbtest.URL(t, db.Postgres))
	data := dbtest.Users(40, 24)
	dbtest.Write(t, conn, data)
	customer := data.Users[0].CustomerID
	for _, statement := range []string{
		"DELETE FROM user_authorities", "DELETE FROM legacy_credentials", "UPDATE users SET subrole_id = NULL", "DELETE FROM subroles",
		fmt.Sprintf("WITH gone AS (DELETE FROM users WHERE customer_id = '%s') DELETE FROM customers WHERE id = '%[1]s'", customer),
	} {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	var left int
	if err := conn.NewRaw("SELECT count(*) FROM customers WHERE id = ?", customer).Scan(t.Context(), &left); err != nil || left != 0 {
		t.Errorf("%d customers are left, %v", left, err)
	}
	checkCounters(t, conn, "after the customer was deleted")
}

// TestMigrationCountsTheUsersThatAreThere has users written between the migrations.
func TestMigrationCountsTheUsersThatAreThere(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		conn := dbtest.ConnectURL(t, dbtest.Empty(t, engine))
		migrateByHand(t, conn, engine, func(done string) {
			if done == "0001" {
				dbtest.Write(t, conn, dbtest.Users(30, 24))
			}
			if done == "0005" && engine == db.Postgres {
				// What 0006 refuses may be there already.
				if _, err := conn.ExecContext(t.Context(), "UPDATE users SET last_password_reset_at = 'infinity'"); err != nil {
					t.Fatal(err)
				}
			}
		})
		checkCounters(t, conn, "after the migrations")
	})
}

// TestCountsOfStatuses holds that a count is taken from the counters when the
// filter looks at the status only, and is the same as that of the users.
func TestCountsOfStatuses(t *testing.T) {
	type filter = models.UserFilter
	active, invited := models.StatusActive, models.StatusInvited
	status := func(f models.UserStatusFilter) *filter { return &filter{Status: &f} }
	counted := map[string]*filter{
		"None": nil, "Empty": {}, "Eq": status(models.UserStatusFilter{Eq: &active}),
		"In":         status(models.UserStatusFilter{In: []models.UserStatus{active, invited}}),
		"InNothing":  status(models.UserStatusFilter{In: []models.UserStatus{}}),
		"NotIn":      status(models.UserStatusFilter{NotIn: []models.UserStatus{active}}),
		"NotInAny":   status(models.UserStatusFilter{NotIn: models.UserStatuses()}),
		"Enabled":    {Enabled: new(true)},
		"NotEnabled": {Enabled: new(false), Status: &models.UserStatusFilter{NotIn: []models.UserStatus{invited}}},
		"Nested":     {And: []*filter{{Not: &filter{Enabled: new(true)}}, nil}, Or: []*filter{status(models.UserStatusFilter{Eq: &invited}), {Enabled: new(true)}}},
		"OrNothing":  {Or: []*filter{}},
	}
	others := map[string]*filter{
		"Search":       {Search: new("")},
		"StatusAndBut": {Enabled: new(true), IsFirstLogin: new(true)},
		"Inside":       {Or: []*filter{{Enabled: new(true)}, {Not: &filter{Mobile: &models.StringFilter{IsNull: new(true)}}}}},
	}
	data := dbtest.Users(60, 25)
	customer := data.Customers[0].ID
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		counter := dbtest.Count(store)
		check := func(name string, f *filter, table string) {
			counter.Reset()
			n, err := store.CountUsers(t.Context(), everything, customer, f)
			if want := len(selected(data, customer, f, models.DefaultUserOrder())); err != nil || n != want {
				t.Errorf("%s: %d users, want %d, error %v", name, n, want, err)
			}
			if counter.N() != 1 || !strings.Contains(counter.Statements()[0], table) {
				t.Errorf("%s: the statements are %q, want one of %s", name, counter.Statements(), table)
			}
		}
		for name, f := range counted {
			check(name, f, "user_counts")
		}
		for name, f := range others {
			check(name, f, "FROM users ")
		}
	})
}
