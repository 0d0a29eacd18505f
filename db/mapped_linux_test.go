package db_test

import (
	"os"
	"strings"
	"testing"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// A file that somebody cuts short while it is mapped into memory ends a statement
// and not the program, and takes no connection for good.
func TestMappedFileCutShort(t *testing.T) {
	databaseURL := dbtest.URL(t, db.SQLite)
	data := dbtest.Users(2_000, 3)
	dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), data)
	// The log would stand in for the file.
	var busy, logged, written int
	if err := dbtest.ConnectURL(t, databaseURL).QueryRowContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &logged, &written); err != nil || busy != 0 {
		t.Fatalf("the log is still in use: %d, error %v", busy, err)
	}
	path := strings.TrimPrefix(databaseURL, "sqlite:")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	store, err := db.Open(t.Context(), databaseURL, db.Options{ReadOnly: true, MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	query := models.UserQuery{CustomerID: data.Customers[0].ID, Order: models.DefaultUserOrder(), Window: models.Window{Size: 500, Offset: 200}}
	read := func() (int, error) {
		users, _, err := store.Users(t.Context(), everything, query)
		return len(users), err
	}
	for range 3 {
		if n, err := read(); n != query.Window.Size || err != nil {
			t.Fatalf("%d users, error %v", n, err)
		}
		if err := os.Truncate(path, 8<<10); err != nil {
			t.Fatal(err)
		}
		// Were it not mapped, it would pass for a file that is malformed.
		if n, err := read(); models.AsError(err).Code != models.CodeUnavailable {
			t.Errorf("from a file cut short: %d users, error %v", n, err)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
