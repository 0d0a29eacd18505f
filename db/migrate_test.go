package db_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"

	"roster/db"
	"roster/db/dbtest"
)

// migrationNames gives the names of the migrations in the folder of an engine.
func migrationNames(t *testing.T, engine db.Engine) (names []string) {
	t.Helper()
	files, err := fs.Glob(os.DirFS("migrations"), path.Join(string(engine), "*.up.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name, _, _ := strings.Cut(path.Base(file), "_")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// tablesIn gives the names of the tables, apart from those of the engine itself.
func tablesIn(t *testing.T, conn *bun.DB, engine db.Engine) (names []string) {
	t.Helper()
	query := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
	if engine == db.Postgres {
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('information_schema', 'pg_catalog')"
	}
	if err := conn.NewRaw(query).Scan(t.Context(), &names); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func eachEngine(t *testing.T, test func(t *testing.T, engine db.Engine)) {
	t.Helper()
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) { test(t, engine) })
	}
}

// migrateByHand runs the migrations one by one, and calls between after each with its number.
func migrateByHand(t *testing.T, conn *bun.DB, engine db.Engine, between func(done string)) {
	t.Helper()
	folder := path.Join("migrations", string(engine))
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(path.Join(folder, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(t.Context(), string(text)); err != nil {
			t.Fatalf("%s: %v", file.Name(), err)
		}
		number, _, _ := strings.Cut(file.Name(), "_")
		between(number)
	}
}

func TestMigrationsHaveTheSameNumbers(t *testing.T) {
	want := migrationNames(t, db.SQLite)
	if len(want) == 0 {
		t.Error("there are no migrations")
	}
	checkDiff(t, "the migrations of PostgreSQL against those of SQLite", want, migrationNames(t, db.Postgres))
}

func TestMigrate(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		store := dbtest.OpenURL(t, dbtest.Empty(t, engine))
		conn := dbtest.Connect(t, store)
		checkDiff(t, "the tables at first", []string(nil), tablesIn(t, conn, engine))

		names, err := store.Migrate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkDiff(t, "what ran first", migrationNames(t, engine), names)
		before := tablesIn(t, conn, engine)
		dbtest.Fill(t, store, dbtest.Users(5, 1))

		names, err = store.Migrate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkDiff(t, "what ran again", []string(nil), names)
		checkDiff(t, "the tables after", before, tablesIn(t, conn, engine))
		n, err := store.CountCustomers(t.Context(), everything, "")
		if err != nil || n != 3 {
			t.Errorf("%d customers are left, error %v", n, err)
		}
	})
}

// TestMigrateAtOnce has several servers come up on one empty database.
func TestMigrateAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		for name, n := range map[string]int{"Two": 2, "Eight": 8} {
			t.Run(name, func(t *testing.T) {
				databaseURL := dbtest.Empty(t, engine)
				ran := make([][]string, n)
				errs := make([]error, n)
				var start, done sync.WaitGroup
				start.Add(n)
				for i := range n {
					done.Go(func() {
						start.Done()
						start.Wait()
						ran[i], errs[i] = openAndMigrate(t.Context(), databaseURL)
					})
				}
				done.Wait()
				if err := errors.Join(errs...); err != nil {
					t.Fatal(err)
				}
				// Each migration was run by exactly one of them.
				all := slices.Sorted(slices.Values(slices.Concat(ran...)))
				checkDiff(t, "what they ran", migrationNames(t, engine), all)
				if err := dbtest.OpenURL(t, databaseURL).CheckSchema(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func openAndMigrate(ctx context.Context, databaseURL string) (names []string, err error) {
	store, err := db.Open(ctx, databaseURL, db.Options{MaxConnections: 2})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if names, err = store.Migrate(ctx); err != nil {
		return nil, err
	}
	return names, store.CheckSchema(ctx)
}

func TestCheckSchema(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		names := migrationNames(t, engine)
		last := names[len(names)-1]
		check := func(t *testing.T, store *db.DB, want string) {
			t.Helper()
			err := store.CheckSchema(t.Context())
			switch {
			case want == "" && err != nil:
				t.Errorf("the error is %v", err)
			case want != "" && (err == nil || !errors.Is(err, db.ErrSchemaNotCurrent) || err.Error() != want):
				t.Errorf("the error is %v, want %s", err, want)
			}
		}
		const notCurrent = "the schema of the database is not current: "

		t.Run("Empty", func(t *testing.T) {
			check(t, dbtest.OpenURL(t, dbtest.Empty(t, engine)), notCurrent+"migration "+names[0]+" has not run")
		})

		store := dbtest.Open(t, engine)
		conn := dbtest.Connect(t, store)
		run := func(t *testing.T, statement string, args ...any) {
			t.Helper()
			if _, err := conn.ExecContext(t.Context(), statement, args...); err != nil {
				t.Fatal(err)
			}
		}
		t.Run("Current", func(t *testing.T) { check(t, store, "") })
		t.Run("TooNew", func(t *testing.T) {
			run(t, "INSERT INTO bun_migrations (name, group_id, migrated_at) VALUES ('9999', 9, '2024-02-12 14:16:49+00:00')")
			const tooNew = notCurrent + "it is newer than this version, which does not know migration 9999"
			check(t, store, tooNew)
			// Nor may it be migrated, which would tell that all is well.
			if names, err := store.Migrate(t.Context()); !errors.Is(err, db.ErrSchemaTooNew) || err.Error() != tooNew || len(names) > 0 {
				t.Errorf("migrating ran %v, error %v", names, err)
			}
			// What lacks a migration besides is not only newer: a server cannot go on with it.
			run(t, "UPDATE bun_migrations SET name = '9998' WHERE name = ?", last)
			check(t, store, notCurrent+"it is that of another version, which knows migration 9998 and not "+last)
			if err := store.CheckSchema(t.Context()); errors.Is(err, db.ErrSchemaTooNew) || !errors.Is(err, db.ErrSchemaDiffers) {
				t.Errorf("the error is %v", err)
			}
			run(t, "UPDATE bun_migrations SET name = ? WHERE name = '9998'", last)
			run(t, "DELETE FROM bun_migrations WHERE name = '9999'")
			check(t, store, "")
		})
		t.Run("Partial", func(t *testing.T) {
			run(t, "DELETE FROM bun_migrations WHERE name = ?", last)
			check(t, store, notCurrent+"migration "+last+" has not run")
		})
		t.Run("RecordsNothing", func(t *testing.T) {
			run(t, "DELETE FROM bun_migrations")
			check(t, store, notCurrent+"migration "+names[0]+" has not run")
		})
	})
}

// TestFailedMigration has the last statements of a migration fail, as a table of
// theirs is there already.
func TestFailedMigration(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		store := dbtest.OpenURL(t, dbtest.Empty(t, engine))
		conn := dbtest.Connect(t, store)
		if _, err := conn.ExecContext(t.Context(), "CREATE TABLE legacy_credentials (mine text)"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			names, err := store.Migrate(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "the migration failed and nothing was changed: ") || len(names) > 0 {
				t.Fatalf("the migration gives %v, error %v", names, err)
			}
			checkDiff(t, "the tables", []string{"legacy_credentials"}, tablesIn(t, conn, engine))
		}

		if _, err := conn.ExecContext(t.Context(), "DROP TABLE legacy_credentials"); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Migrate(t.Context()); err != nil {
			t.Errorf("once nothing is in the way: %v", err)
		}
		if err := store.CheckSchema(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestMigrateEnds(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		store := dbtest.OpenURL(t, dbtest.Empty(t, engine))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := store.Migrate(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		checkDiff(t, "the tables", []string(nil), tablesIn(t, dbtest.Connect(t, store), engine))
	})
}

// A limit that a role has for its answers, as docs/scaling.md gives it one, does not
// end a migration.
func TestMigrateHasNoTimeLimit(t *testing.T) {
	databaseURL := dbtest.Empty(t, db.Postgres)
	const limit = `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = 1', current_database()); END $$`
	if _, err := dbtest.ConnectURL(t, databaseURL).ExecContext(t.Context(), limit); err != nil {
		t.Fatal(err)
	}
	opened, err := db.Open(t.Context(), databaseURL, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if _, err := opened.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nor does such a limit end a migration, or an import, that waits for its turn.
func TestTurnsHaveNoTimeLimit(t *testing.T) {
	for name, test := range map[string]struct {
		lock int64
		run  func(ctx context.Context, store *db.DB) error
	}{
		"Migrate": {db.MigrationLock, func(ctx context.Context, store *db.DB) error {
			_, err := store.Migrate(ctx)
			return err
		}},
		"RowLevelSecurity": {db.MigrationLock, func(ctx context.Context, store *db.DB) error {
			return store.EnableRowLevelSecurity(ctx)
		}},
		"Import": {db.ImportLock, func(ctx context.Context, store *db.DB) error {
			_, err := store.Import(ctx, db.SourceTestinium, strings.NewReader(documentOf(testiniumRecord(1, nil))), db.ImportOptions{})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			databaseURL := dbtest.URL(t, db.Postgres)
			conn := dbtest.ConnectURL(t, databaseURL)
			const limit = `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 1', current_database()); END $$`
			if _, err := conn.ExecContext(t.Context(), limit); err != nil {
				t.Fatal(err)
			}
			tx, err := conn.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			if _, err := tx.ExecContext(t.Context(), "SELECT pg_advisory_xact_lock(?)", test.lock); err != nil {
				t.Fatal(err)
			}
			store := dbtest.OpenURL(t, databaseURL)
			ended := make(chan error, 1)
			go func() { ended <- test.run(t.Context(), store) }()
			until(t, "it waits for longer than the limit", func() bool {
				if len(ended) > 0 {
					t.Fatalf("it did not wait: %v", <-ended)
				}
				var waiting bool
				const query = `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database AS d ON d.oid = database
					WHERE datname = current_database() AND NOT granted AND waitstart < clock_timestamp() - interval '50 ms')`
				if err := conn.NewRaw(query).Scan(t.Context(), &waiting); err != nil {
					t.Fatal(err)
				}
				return waiting
			})
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// A session that holds a table ends a migration soon: whoever comes to read the table
// queues behind a statement that waits to change it.
func TestMigrationDoesNotWaitForTables(t *testing.T) {
	defer db.SetLockTimeout(50 * time.Millisecond)()
	check := func(databaseURL, held, outcome string, run func(store *db.DB) error) {
		t.Helper()
		store := dbtest.OpenURL(t, databaseURL)
		tx, err := dbtest.ConnectURL(t, databaseURL).BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		err = run(store)
		want := "a table is held by another session, such as a backup or a long query: " + outcome + "; run it again when that session has ended: "
		if failure, ok := errors.AsType[*pgconn.PgError](err); !ok || failure.Code != "55P03" || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("while it is held: %v", err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := run(store); err != nil {
			t.Errorf("once nobody holds it: %v", err)
		}
	}
	check(dbtest.Empty(t, db.Postgres), "CREATE TABLE users (mine text)", "nothing was changed", func(store *db.DB) error {
		_, err := store.Migrate(t.Context())
		return err
	})
	// A backup holds it like this.
	const backup = "LOCK TABLE users IN ACCESS SHARE MODE"
	databaseURL := dbtest.URL(t, db.Postgres)
	check(databaseURL, backup, "row level security was not turned on", func(store *db.DB) error {
		return store.EnableRowLevelSecurity(t.Context())
	})
	// What is on already needs no lock.
	tx, err := dbtest.ConnectURL(t, databaseURL).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if err := dbtest.OpenURL(t, databaseURL).EnableRowLevelSecurity(t.Context()); err != nil {
		t.Errorf("where it is on: %v", err)
	}
}

func TestMigrateReadOnly(t *testing.T) {
	store, err := db.Open(t.Context(), dbtest.Empty(t, db.SQLite), db.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Migrate(t.Context()); err == nil || err.Error() != "the database was opened read-only" {
		t.Errorf("the error is %v", err)
	}
}

// column is what the engines must agree about.
type column struct {
	Table    string `bun:"table_name"`
	Name     string `bun:"column_name"`
	Nullable bool   `bun:"nullable"`
}

func TestEnginesHaveTheSameColumns(t *testing.T) {
	queries := map[db.Engine]string{
		db.SQLite: `SELECT m.name AS table_name, c.name AS column_name, c."notnull" = 0 AS nullable
			FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'`,
		db.Postgres: `SELECT table_name, column_name, is_nullable = 'YES' AS nullable
			FROM information_schema.columns WHERE table_schema = 'public'`,
	}
	got := map[db.Engine][]column{}
	for _, engine := range dbtest.Engines() {
		conn := dbtest.ConnectURL(t, dbtest.URL(t, engine))
		var columns []column
		if err := conn.NewRaw(queries[engine]).Scan(t.Context(), &columns); err != nil {
			t.Fatal(err)
		}
		// The tables of bun's migrator are bun's own concern.
		columns = slices.DeleteFunc(columns, func(c column) bool {
			return strings.HasPrefix(c.Table, "bun_") || strings.HasPrefix(c.Table, "sqlite_")
		})
		slices.SortFunc(columns, func(a, b column) int { return strings.Compare(a.Table+"."+a.Name, b.Table+"."+b.Name) })
		got[engine] = columns
	}
	if len(got[db.SQLite]) < 50 {
		t.Errorf("only %d columns", len(got[db.SQLite]))
	}
	checkDiff(t, "the columns of PostgreSQL against those of SQLite", got[db.SQLite], got[db.Postgres])
}

// TestEnginesHaveTheSameIndexes compares the names: an index that one engine
// lacks would make a list slow there.
func TestEnginesHaveTheSameIndexes(t *testing.T) {
	queries := map[db.Engine]string{
		db.SQLite:   "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND name NOT LIKE 'bun_%'",
		db.Postgres: "SELECT i.relname FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid WHERE NOT x.indisunique AND i.relnamespace = 'public'::regnamespace",
	}
	got := map[db.Engine][]string{}
	for _, engine := range dbtest.Engines() {
		conn := dbtest.ConnectURL(t, dbtest.URL(t, engine))
		var names []string
		if err := conn.NewRaw(queries[engine]).Scan(t.Context(), &names); err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		// Only PostgreSQL has an index for text inside text.
		got[engine] = slices.DeleteFunc(names, func(name string) bool { return name == "users_search" })
	}
	checkDiff(t, "the indexes of PostgreSQL against those of SQLite", got[db.SQLite], got[db.Postgres])
}

// A table without a primary key cannot be updated while a publication has it, as one of
// all tables does.
func TestEveryTableHasAPrimaryKey(t *testing.T) {
	conn := dbtest.ConnectURL(t, dbtest.URL(t, db.Postgres))
	const query = `SELECT relname FROM pg_class AS c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
		AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p') ORDER BY relname`
	var without []string
	if err := conn.NewRaw(query).Scan(t.Context(), &without); err != nil || len(without) > 0 {
		t.Errorf("%v have none, error %v", without, err)
	}
}

// TestDefinersFindTheirOwnTables holds that every function that runs as its owner
// has its search path set, which CREATE OR REPLACE drops.
func TestDefinersFindTheirOwnTables(t *testing.T) {
	conn := dbtest.ConnectURL(t, dbtest.URL(t, db.Postgres))
	var all, set int
	if err := conn.NewRaw("SELECT count(*), count(CASE WHEN 'search_path=public, pg_temp' = ANY (proconfig) THEN 1 END) FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace").
		Scan(t.Context(), &all, &set); err != nil || all < 6 || set != all {
		t.Errorf("%d of %d functions have it, error %v", set, all, err)
	}
}
