package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"roster/db"
	"roster/db/dbtest"
)

// Who asks for a file of the rejected rows hears that it could not be written. The
// import is finished nevertheless.
func TestImportTellsOfLostRejects(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /dev/full, a file to which nothing can be written")
	}
	folder := t.TempDir()
	env := map[string]string{"DATABASE_URL": "sqlite:" + filepath.Join(folder, "r.db")}
	if _, _, err := command(t, env, "migrate"); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("db/demo/testinium.json")
	if err != nil {
		t.Fatal(err)
	}
	document := filepath.Join(folder, "document.json")
	if err := os.WriteFile(document, []byte(strings.Replace(string(example), `"entityId": 6850`, `"entityId": "x"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := command(t, env, "import", "--from", "testinium", "--rejects", "/dev/full", document)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "--rejects: ") || !strings.Contains(err.Error(), "1 of 5 rows were rejected") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out, "4 users created") {
		t.Errorf("stdout %q", out)
	}
}

// A file for the rejected rows is emptied first, so it must not be the document, by
// whatever name.
func TestImportSparesItsDocument(t *testing.T) {
	folder := t.TempDir()
	databaseURL := "sqlite:" + filepath.Join(folder, "r.db")
	if _, _, err := command(t, nil, "migrate", "--database-url", databaseURL); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("db/demo/testinium.json")
	if err != nil {
		t.Fatal(err)
	}
	document, link := filepath.Join(folder, "document.json"), filepath.Join(folder, "link.json")
	if err := os.WriteFile(document, example, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(document, link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command(t, nil, "import", "--database-url", databaseURL, "--from", "testinium", "--rejects", strings.TrimPrefix(databaseURL, "sqlite:"), document); err == nil || !strings.HasSuffix(err.Error(), " is a database") {
		t.Errorf("the database itself: %v", err)
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if _, _, err := command(t, nil, "import", "--database-url", databaseURL, "--from", "testinium", "--rejects", strings.TrimPrefix(databaseURL, "sqlite:")+suffix, document); err == nil || !strings.HasSuffix(err.Error(), " is a part of a database") {
			t.Errorf("the file with %s: %v", suffix, err)
		}
	}
	for name, rejects := range map[string]string{"the same": document, "a link": link} {
		for _, file := range []string{document, "-"} {
			stdin, err := os.Open(document)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = stdin.Close() }()
			var out lockedBuffer
			err = run(t.Context(), []string{"import", "--database-url", databaseURL, "--from", "testinium", "--rejects", rejects, file},
				func(string) string { return "" }, stdin, &out, &out)
			if err == nil || err.Error() != "--rejects: "+rejects+" is the document itself" || out.String() != "" {
				t.Errorf("%s, reading %s: says %q, error %v", name, file, out.String(), err)
			}
		}
	}
	if left, err := os.ReadFile(document); err != nil || string(left) != string(example) {
		t.Errorf("%d bytes of %d are left of the document, error %v", len(left), len(example), err)
	}
}

// An import that waits for its document ends with the first signal.
func TestImportEndsWhileItWaits(t *testing.T) {
	databaseURL := "sqlite:" + filepath.Join(t.TempDir(), "r.db")
	if _, _, err := command(t, nil, "migrate", "--database-url", databaseURL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stdin, typing := io.Pipe()
	defer typing.Close()
	ended := make(chan error)
	go func() {
		ended <- run(ctx, []string{"import", "--database-url", databaseURL, "--from", "testinium", "-"}, func(string) string { return "" }, stdin, io.Discard, io.Discard)
	}()
	if _, err := io.WriteString(typing, "["); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// A role that row level security holds sees no row: an import would take all users for
// new ones. serve has a flag for such a role, import does not.
func TestRolesThatRowsAreHiddenFrom(t *testing.T) {
	ownerURL := dbtest.URL(t, db.Postgres)
	if err := dbtest.OpenURL(t, ownerURL).EnableRowLevelSecurity(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := dbtest.ConnectURL(t, ownerURL)
	// The role is there already when another test was first.
	_, _ = conn.ExecContext(t.Context(), "CREATE ROLE roster_hidden_test LOGIN")
	if _, err := conn.ExecContext(t.Context(), "GRANT SELECT ON ALL TABLES IN SCHEMA public TO roster_hidden_test"); err != nil {
		t.Fatal(err)
	}
	named, err := url.Parse(ownerURL)
	if err != nil {
		t.Fatal(err)
	}
	named.User = url.User("roster_hidden_test")
	env := map[string]string{
		"DATABASE_URL": named.String(), "ROSTER_JWT_SECRET": strings.Repeat("k", 32), "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
	}
	const applies = "row level security applies to the role roster_hidden_test on the table customers: "
	for says, args := range map[string][]string{
		applies + "import with the role that owns the tables": {"import", "--dry-run", "--from", "testinium", "db/demo/testinium.json"},
		applies + "start with --row-level-security":           {"serve", "--listen", "127.0.0.1:0"},
	} {
		out, _, err := command(t, env, args...)
		if err == nil || err.Error() != says || out != "" {
			t.Errorf("%s says %q, error %v, want %s", args[0], out, err, says)
		}
	}
	env["DATABASE_URL"] = ownerURL
	if out, _, err := command(t, env, "import", "--dry-run", "--from", "testinium", "db/demo/testinium.json"); err != nil || !strings.Contains(out, "5 users created") {
		t.Errorf("as the owner it says %q, error %v", out, err)
	}
}

// A dry run writes nothing, not even how SQLite keeps its log, and so needs no right to.
func TestDryRunOfAFileThatCannotBeWritten(t *testing.T) {
	for name, test := range map[string]struct{ log, fails string }{
		"the log that is rolled back": {"DELETE", ""},
		"the write-ahead log":         {"WAL", "the folder must be writable unless a server has the database open"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			file := filepath.Join(folder, "r.db")
			env := map[string]string{"DATABASE_URL": "sqlite:" + file}
			if _, _, err := command(t, env, "migrate"); err != nil {
				t.Fatal(err)
			}
			conn, err := sql.Open("sqlite", file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.ExecContext(t.Context(), "PRAGMA journal_mode = "+test.log); err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() == 0 {
				test.fails = "" // root writes where nobody else can
			}
			for path, mode := range map[string]os.FileMode{file: 0o400, folder: 0o500} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			defer func() { _ = os.Chmod(folder, 0o700) }() // so that it can be removed
			out, _, err := command(t, env, "import", "--dry-run", "--from", "testinium", "db/demo/testinium.json")
			switch {
			case test.fails == "" && (err != nil || !strings.Contains(out, "5 users created")):
				t.Errorf("says %q, error %v", out, err)
			case test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)):
				t.Errorf("says %q, error %v, want %s", out, err, test.fails)
			}
			if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file is not what it was, error %v", err)
			}
		})
	}
}
