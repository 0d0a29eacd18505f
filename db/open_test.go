package db_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

func TestOpenRefuses(t *testing.T) {
	const scheme = `the database URL must start with "sqlite:" or "postgres://"`
	const file = "the database URL must name a file, as in sqlite:roster.db"
	dir := t.TempDir()
	for _, test := range []struct{ name, url, want string }{
		{"Empty", "", scheme},
		{"Path", "roster.db", scheme},
		{"OtherScheme", "mysql://user:hush-hush@host/db", scheme},
		{"Capitals", "SQLITE:roster.db", scheme},
		{"NoFile", "sqlite:", file},
		{"NoFileAfterSlashes", "sqlite://", file},
		{"Memory", "sqlite::memory:", file},
		{"MemoryAfterSlashes", "sqlite://:memory:", file},
		{"Parameters", "sqlite:" + dir + "/roster.db?mode=ro", "the database URL has a ?: for SQLite it takes no parameters"},
		{"Missing", "sqlite:" + dir + "/missing.db", "there is no database "},
		{"MissingFolder", "sqlite:" + dir + "/no/such/folder.db", "there is no database "},
		{"PostgresWithoutSlashes", "postgres:user:hush-hush@host", "the database URL is wrong: "},
		{"PostgresPort", "postgres://user:hush-hush@host:port/db", "the database URL is wrong: "},
		{"PostgresPassword", "postgres://user:hush-hush%zz@host/db", "the database URL is wrong: "},
		{"PostgresSlashInPassword", "postgres://user:hush-hush/more@host/db", "the database URL is wrong: "},
		{"PostgresAtInPassword", "postgres://user:se@hush-hush@host/db", "the database URL is wrong: write @ as %40"},
		{"PostgresAtInPasswordAndPort", "postgres://user:se@hush-hush@host:99999/db", "the database URL is wrong: write @ as %40"},
		{"PostgresPortInPassword", "postgres://user:12/hush-hush@host/db", "the database URL is wrong: write @ as %40"},
		{"PostgresHashInPassword", "postgres://user:12#hush-hush@host/db", "the database URL is wrong: write @ as %40"},
		{"PostgresQuestionInPassword", "postgres://user:12?hush/hush@host/db", "the database URL is wrong: write @ as %40"},
		{"PostgresAllInPassword", "postgres://user:p@hush/w?r#d@host/db", "the database URL is wrong: write @ as %40"},
		{"PostgresAtAndQuestionInPassword", "postgres://user:p@hush?hush@host:5432/db", "the database URL is wrong: write @ as %40"},
		{"PostgresPercentInPassword", "postgres://user:p%@hush?b@host/db", "the database URL is wrong: write @ as %40"},
		{"PostgresParameterInPassword", "postgres://user:p@hush/w?hush=1@127.0.0.1/db", "the database URL is wrong: write @ as %40"},
		{"PostgresSSLMode", "postgres://user:hush-hush@host/db?sslmode=perhaps", "the database URL is wrong: "},
		{"PostgresSpace", "postgres://user:hush-hush@ho st/db", "the database URL is wrong: "},
		{"PostgresNobodyListens", "postgres://user:hush-hush@127.0.0.1:1/db", "cannot open the database: "},
		{"PostgresNoSocket", "postgres://user:hush-hush@/db?host=" + dir, "cannot open the database: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			store, err := db.Open(t.Context(), test.url, db.Options{})
			if err == nil {
				_ = store.Close()
				t.Fatal("the URL is taken")
			}
			checkMessage(t, err, test.want)
		})
	}
}

// checkMessage holds that an error is one line that begins as wanted, ends in
// something and holds no password.
func checkMessage(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	message := err.Error()
	if !strings.HasPrefix(message, want) || strings.HasSuffix(want, " ") && message == want {
		t.Errorf("the error is %q, want %q", message, want)
	}
	if strings.Contains(message, "\n") {
		t.Errorf("the error is not one line: %q", message)
	}
	if strings.Contains(message, "hush") {
		t.Errorf("the error shows the password: %q", message)
	}
}

func TestOpenRefusesFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct{ name, path string }{
		{"Directory", dir},
		{"Text", write("text.db", strings.Repeat("This is not a database. ", 100))},
		{"Corrupt", write("corrupt.db", "SQLite format 3\x00"+strings.Repeat("\xff", 4080))},
	} {
		for name, options := range map[string]db.Options{"": {}, "Create": {Create: true}, "ReadOnly": {ReadOnly: true}} {
			t.Run(test.name+name, func(t *testing.T) {
				store, err := db.Open(t.Context(), "sqlite:"+test.path, options)
				if err == nil {
					_ = store.Close()
				}
				checkMessage(t, err, "cannot open the database")
			})
		}
	}

	t.Run("MissingIsNotMade", func(t *testing.T) {
		path := filepath.Join(dir, "missing.db")
		_, err := db.Open(t.Context(), "sqlite:"+path, db.Options{})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the error is %v", err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file was made: %v", err)
		}
	})
	t.Run("FolderIsNotMade", func(t *testing.T) {
		_, err := db.Open(t.Context(), "sqlite:"+filepath.Join(dir, "no", "such.db"), db.Options{Create: true})
		checkMessage(t, err, "cannot open the database")
	})
}

func TestOpenFileNames(t *testing.T) {
	for _, test := range []struct{ name, file string }{
		{"Plain", "roster.db"},
		{"Space", "my roster.db"},
		{"Ampersand", "a&_pragma=foreign_keys(0).db"},
		{"Hash", "number#1.db"},
		{"Percent", "100%.db"},
		{"EscapedSlash", "a%2fb.db"},
		{"Plus", "a+b.db"},
		{"Colon", "a:b.db"},
		{"Quotes", `it's "mine".db`},
		{"Backslash", `a\b.db`},
		{"Unicode", "yazıcıoğlu 名簿 😀.db"},
		{"NoExtension", "roster"},
	} {
		for _, prefix := range []string{"sqlite:", "sqlite://", "sqlite:///"} {
			t.Run(test.name+"/"+prefix, func(t *testing.T) {
				dir := t.TempDir()
				databaseURL := prefix + filepath.Join(dir, test.file)
				store, err := db.Open(t.Context(), databaseURL, db.Options{Create: true})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := store.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
				if err := store.CheckSchema(t.Context()); err != nil {
					t.Error(err)
				}
				if err := store.Close(); err != nil {
					t.Error(err)
				}
				// The last connection to close puts the log into the file and removes it.
				files, err := os.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				var names []string
				for _, file := range files {
					names = append(names, file.Name())
				}
				checkDiff(t, "the files", []string{test.file}, names)
			})
		}
	}

	t.Run("Relative", func(t *testing.T) {
		t.Chdir(t.TempDir())
		for _, name := range []string{"roster.db", "./other.db"} {
			store, err := db.Open(t.Context(), "sqlite:"+name, db.Options{Create: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(name); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestPragmas holds that the pragmas are those of every connection, not only of
// the first.
func TestPragmas(t *testing.T) {
	store, err := db.Open(t.Context(), dbtest.URL(t, db.SQLite), db.Options{MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	read, write := store.Pools()
	type connection interface {
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}
	check := func(t *testing.T, conn connection, queryOnly string) {
		t.Helper()
		patience := map[string]string{"1": "1000", "0": "5000"}[queryOnly]
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "foreign_keys": "1", "busy_timeout": patience, "synchronous": "1", "query_only": queryOnly,
		} {
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s is %s, want %s", pragma, got, want)
			}
		}
		_, err := conn.ExecContext(t.Context(), "DELETE FROM users")
		if refused := err != nil; refused != (queryOnly == "1") {
			t.Errorf("the error of writing is %v", err)
		}
	}

	t.Run("Readers", func(t *testing.T) {
		checkDiff(t, "the most connections", 4, store.Readers().Stats().MaxOpenConnections)
		// All connections at once, so that each is another one.
		for range 4 {
			conn, err := store.Readers().Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			check(t, conn, "1")
			var mapped int64
			if err := conn.QueryRowContext(t.Context(), "PRAGMA mmap_size").Scan(&mapped); err != nil || mapped < 1<<30 {
				t.Errorf("%d bytes are mapped, error %v", mapped, err)
			}
		}
	})
	t.Run("Read", func(t *testing.T) {
		for range 2 {
			conn, err := read.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			check(t, conn, "1")
		}
		checkDiff(t, "the most connections", 2, read.Stats().MaxOpenConnections)
	})
	t.Run("Write", func(t *testing.T) {
		conn, err := write.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		check(t, conn, "0")
		checkDiff(t, "the most connections", 1, write.Stats().MaxOpenConnections)
	})
}

func TestOpenReadOnly(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		databaseURL := dbtest.URL(t, engine)
		dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), dbtest.Users(5, 1))
		store, err := db.Open(t.Context(), databaseURL, db.Options{ReadOnly: true, MaxConnections: 1})
		if err != nil {
			t.Fatal(err)
		}
		n, err := store.CountCustomers(t.Context(), everything, "")
		if err != nil || n != 3 {
			t.Errorf("%d customers, error %v", n, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if got := store.Engine(); got != engine {
			t.Errorf("the engine is %q", got)
		}
	})
}

// TestManyReadersAtOnce holds that more callers than connections are all served,
// while a writer writes.
func TestManyReadersAtOnce(t *testing.T) {
	data := dbtest.Users(40, 8)
	customer := data.Customers[0].ID
	want := len(data.UsersOf(customer))
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		databaseURL := dbtest.URL(t, engine)
		writer := dbtest.OpenURL(t, databaseURL)
		dbtest.Fill(t, writer, data)
		store, err := db.Open(t.Context(), databaseURL, db.Options{MaxConnections: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()

		conn := dbtest.Connect(t, writer)
		var done sync.WaitGroup
		for range 8 {
			done.Go(func() {
				for range 10 {
					n, err := store.CountUsers(t.Context(), everything, customer, nil)
					if err != nil || n != want {
						t.Errorf("%d users, error %v", n, err)
					}
					rows, _, err := store.Users(t.Context(), everything, models.UserQuery{CustomerID: customer, Order: models.DefaultUserOrder(), Window: models.Window{Size: 5}})
					if err != nil || len(rows) != 5 {
						t.Errorf("%d users, error %v", len(rows), err)
					}
				}
			})
		}
		for range 20 {
			if _, err := conn.ExecContext(t.Context(), "UPDATE users SET user_type = 'OTHER'"); err != nil {
				t.Error(err)
			}
		}
		done.Wait()
	})
}
