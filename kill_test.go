package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roster/db"
	"roster/db/dbtest"
)

// TestKilled kills the real program at random moments, as a loss of power would,
// and holds that running the same command again brings about the same database
// as a run that nobody disturbed.
func TestKilled(t *testing.T) {
	program := filepath.Join(t.TempDir(), "roster")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	documents := map[string]string{}
	for source, document := range map[string][]byte{"testinium": testiniumUsers(2_100), "worth": worthUsers(2_100)} {
		documents[source] = filepath.Join(t.TempDir(), source+".json")
		if err := os.WriteFile(documents[source], document, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, engine := range dbtest.Engines() {
		for name, command := range map[string]struct {
			database func(t testing.TB, engine db.Engine) string
			args     []string
			kills    int
		}{
			"Migrate":         {dbtest.Empty, []string{"migrate"}, 20},
			"ImportTestinium": {dbtest.URL, []string{"import", "--from", "testinium", documents["testinium"]}, 10},
			"ImportWorth":     {dbtest.URL, []string{"import", "--from", "worth", "--customer", "77", documents["worth"]}, 10},
		} {
			if testing.Short() {
				command.kills = 2
			}
			t.Run(name+"/"+string(engine), func(t *testing.T) {
				k := &killer{t, program, command.args}
				undisturbed := command.database(t, engine)
				began := time.Now()
				k.finish(undisturbed)
				duration := time.Since(began)
				want := contents(t, undisturbed)
				if want == "" {
					t.Fatal("the database is empty")
				}
				var killed, finished, partly int
				for killed < command.kills && finished < 2*command.kills {
					t.Run("Round", func(t *testing.T) {
						k := &killer{t, program, command.args}
						databaseURL := command.database(t, engine)
						before := contents(t, databaseURL)
						if !k.kill(databaseURL, rand.N(duration)) {
							finished++
							return
						}
						killed++
						if left := contents(t, databaseURL); left != before && left != want {
							partly++
						}
						k.finish(databaseURL)
						if diff := cmp.Diff(want, contents(t, databaseURL)); diff != "" {
							t.Errorf("after the kill and a second run (-undisturbed +this):\n%s", diff)
						}
					})
				}
				if killed < command.kills {
					t.Errorf("only %d runs were killed before their end", killed)
				}
				t.Logf("killed %d times within %s, %d times with a part of the rows in; %d runs ended before", killed, duration.Round(time.Millisecond), partly, finished)
			})
		}
	}
}

// killer runs a command of the program.
type killer struct {
	t       *testing.T
	program string
	args    []string
}

func (k *killer) command(ctx context.Context, databaseURL string) *exec.Cmd {
	command := exec.CommandContext(ctx, k.program, k.args...)
	command.Env = append(os.Environ(), "DATABASE_URL="+databaseURL)
	return command
}

// finish lets the command run to its end, which must be a good one.
func (k *killer) finish(databaseURL string) {
	k.t.Helper()
	if output, err := k.command(k.t.Context(), databaseURL).CombinedOutput(); err != nil {
		k.t.Fatalf("%v: %s", err, output)
	}
}

// kill has the command killed after a while, and reports whether that came
// before its end.
func (k *killer) kill(databaseURL string, after time.Duration) bool {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), after)
	defer cancel()
	output, err := k.command(ctx, databaseURL).CombinedOutput()
	if err == nil {
		return false
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			k.t.Errorf("it was not killed: %v: %s", err, output)
		}
	}
	return true
}

// tables lists the tables with what stands in them that is the same in every
// run: an import gives a new customer the time at which it ran.
var tables = map[string]string{
	"bun_migrations":     "name",
	"customers":          "id, number, company_id, name, name_key",
	"subroles":           "*",
	"users":              "*",
	"authorities":        "*",
	"user_authorities":   "*",
	"legacy_credentials": "*",
}

// contents is all that is in the database: the names of everything in the schema,
// and the rows of the tables.
func contents(t testing.TB, databaseURL string) string {
	t.Helper()
	conn := dbtest.ConnectURL(t, databaseURL)
	list := "SELECT name FROM sqlite_master ORDER BY name"
	if strings.HasPrefix(databaseURL, "postgres") {
		list = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname"
	}
	var names []string
	if err := conn.NewRaw(list).Scan(t.Context(), &names); err != nil {
		t.Fatal(err)
	}
	text := slices.Clone(names)
	for _, name := range names {
		columns, ok := tables[name]
		if !ok {
			continue // an index, or a table of the engine's own
		}
		var rows []map[string]any
		if err := conn.NewSelect().ColumnExpr(columns).TableExpr(name).Scan(t.Context(), &rows); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines := make([]string, len(rows))
		for i, row := range rows {
			line, err := json.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			lines[i] = name + " " + string(line)
		}
		slices.Sort(lines)
		text = append(text, lines...)
	}
	return strings.Join(text, "\n")
}

// worthUsers is a document of so many users with a few subroles.
func worthUsers(n int) []byte {
	records := make([]map[string]any, n)
	for i := range records {
		id := func(kind, i int) string { return fmt.Sprintf("%08d-0000-4000-8000-%012d", kind, i) }
		records[i] = map[string]any{
			"id": id(1, i), "first_name": "Ünal", "last_name": fmt.Sprintf("Işık %d", i), "email": fmt.Sprintf("u%d@example.com", i), "mobile": nil,
			"is_email_verified": true, "is_first_login": false, "created_at": "2024-02-12T14:16:49.053Z", "created_by": id(2, i%7),
			"updated_at": "2024-02-12T14:16:49.053Z", "updated_by": id(2, i%5), "ext_auth_ref_id": id(3, i), "status": "ACTIVE",
			"subrole": map[string]any{"id": id(4, i%9), "code": fmt.Sprintf("c%d", i%9), "display_name": "C", "label": "C", "description": ""},
		}
	}
	document, err := json.Marshal(records)
	if err != nil {
		panic(err)
	}
	return document
}
