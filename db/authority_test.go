package db_test

import (
	"testing"

	"roster/db"
	"roster/db/dbtest"
)

// TestAuthoritiesStayWithTheCustomer holds that the customer in the table of
// authorities is the user's, whatever a writer gives and wherever the user goes.
func TestAuthoritiesStayWithTheCustomer(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		data := dbtest.Users(40, 41)
		conn := dbtest.Connect(t, store)
		dbtest.Write(t, conn, data)
		for _, statement := range []string{
			"SELECT 1",
			"UPDATE user_authorities SET customer_id = '" + string(data.Customers[1].ID) + "'",
			"UPDATE users SET subrole_id = NULL, customer_id = '" + string(data.Customers[2].ID) + "' WHERE number % 3 = 0",
			"DELETE FROM user_authorities WHERE authority_id > 1",
			"INSERT INTO user_authorities (user_id, authority_id, customer_id) SELECT id, 2, '" + string(data.Customers[1].ID) + "' FROM users",
		} {
			if _, err := conn.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
			var all, wrong int
			if err := conn.NewRaw("SELECT count(*), count(CASE WHEN u.customer_id <> ua.customer_id THEN 1 END) FROM user_authorities AS ua JOIN users AS u ON u.id = ua.user_id").
				Scan(t.Context(), &all, &wrong); err != nil || all == 0 || wrong > 0 {
				t.Errorf("after %s: %d of %d are of another customer, error %v", statement, wrong, all, err)
			}
		}
		if _, err := conn.ExecContext(t.Context(), "INSERT INTO user_authorities (user_id, authority_id) VALUES ('"+string(unknownID)+"', 1)"); err == nil {
			t.Error("a user who does not exist has an authority")
		}
	})
}
