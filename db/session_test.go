package db_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"roster/db"
	"roster/db/dbtest"
)

// A database has defaults of its own, for every client that does not say otherwise.
// Whatever they are, text and times are read and written as they are, and no statement
// is compiled.
func TestDefaultsOfTheDatabase(t *testing.T) {
	databaseURL := dbtest.Empty(t, db.Postgres)
	conn := dbtest.ConnectURL(t, databaseURL)
	var database string
	if err := conn.QueryRowContext(t.Context(), "SELECT current_database()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	for setting, value := range map[string]string{"client_encoding": "LATIN1", "datestyle": "SQL, DMY", "timezone": "Asia/Kolkata", "jit": "on", "row_security": "off", "default_transaction_isolation": "serializable"} {
		if _, err := conn.ExecContext(t.Context(), "ALTER DATABASE ? SET ? = ?", bun.Ident(database), bun.Safe(setting), value); err != nil {
			t.Fatal(err)
		}
	}
	store := dbtest.OpenURL(t, databaseURL)
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.CheckSchema(t.Context()); err != nil {
		t.Error(err)
	}
	const name = "é ş 王 😀"
	document := documentOf(worthRecord(1, recordFields{"first_name": name}))
	for _, created := range []int64{1, 0} {
		if summary := mustImport(t, store, db.SourceWorth, document, db.ImportOptions{Customer: "5"}); summary.UsersCreated != created || summary.UsersUpdated != 0 {
			t.Errorf("%+v", summary)
		}
	}
	if user := importedUsers(t, store, importedCustomer(t, store, 5).ID)[0]; user.FirstName != name {
		t.Errorf("it came back as %q", user.FirstName)
	}
	var stored string
	if err := conn.QueryRowContext(t.Context(), "SELECT encode(convert_to(first_name, 'UTF8'), 'hex') FROM users").Scan(&stored); err != nil || stored != hex.EncodeToString([]byte(name)) {
		t.Errorf("it is kept as %s, %v", stored, err)
	}
	read, _ := store.Pools()
	for setting, want := range map[string]string{"jit": "off", "row_security": "on", "transaction_isolation": "read committed"} {
		var value string
		if err := read.QueryRowContext(t.Context(), "SHOW "+setting).Scan(&value); err != nil || value != want {
			t.Errorf("%s is %q, %v", setting, value, err)
		}
	}
}

// A database whose encoding lacks characters is refused, before anything is written.
func TestEncodingOfTheDatabase(t *testing.T) {
	databaseURL := dbtest.Empty(t, db.Postgres)
	name := fmt.Sprintf("roster_latin1_%d", rand.Uint32())
	conn := dbtest.ConnectURL(t, databaseURL)
	if _, err := conn.ExecContext(t.Context(), "CREATE DATABASE "+name+" ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := conn.ExecContext(context.Background(), "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	})
	latin1, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	latin1.Path = "/" + name
	store, err := db.Open(t.Context(), latin1.String(), db.Options{Create: true})
	if err == nil {
		_ = store.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "the encoding of the database is LATIN1; it must be UTF8") {
		t.Errorf("the error is %v", err)
	}
}
