package dbtest_test

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

func TestEach(t *testing.T) {
	var engines []db.Engine
	dbtest.Each(t, func(t *testing.T, opened *db.DB) {
		engines = append(engines, opened.Engine())
		if err := opened.CheckSchema(t.Context()); err != nil {
			t.Errorf("the schema: %v", err)
		}
		data := dbtest.Users(50, 1)
		dbtest.Fill(t, opened, data)
		counter := dbtest.Count(opened)
		n, err := opened.CountUsers(t.Context(), models.Scope{All: true}, data.Customers[0].ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := len(data.UsersOf(data.Customers[0].ID)); n != want {
			t.Errorf("%d users, want %d", n, want)
		}
		if counter.N() != 1 || !strings.Contains(counter.Statements()[0], "user_counts") {
			t.Errorf("the statements are %q, want the one that counts", counter.Statements())
		}
		counter.Reset()
		if counter.N() != 0 {
			t.Errorf("%d statements after the reset", counter.N())
		}
	})
	if diff := cmp.Diff([]db.Engine{db.SQLite, db.Postgres}, engines); diff != "" && os.Getenv("REQUIRE_POSTGRES") == "1" {
		t.Errorf("the engines (-want +got):\n%s", diff)
	}
}

func TestUsersAreTheSameForTheSameSeed(t *testing.T) {
	if diff := cmp.Diff(dbtest.Users(40, 7), dbtest.Users(40, 7)); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	for _, user := range dbtest.Users(40, 7).Users {
		if _, err := models.ParseID(string(user.ID)); err != nil {
			t.Error(err)
		}
	}
}

func TestDatabasesAreApart(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			first, second := dbtest.Open(t, engine), dbtest.Open(t, engine)
			dbtest.Fill(t, first, dbtest.Users(3, 1))
			n, err := second.CountCustomers(t.Context(), models.Scope{All: true}, "")
			if err != nil || n != 0 {
				t.Errorf("the other database has %d customers, error %v", n, err)
			}
		})
	}
}

func TestCluster(t *testing.T) {
	cluster := dbtest.Postgres(t)
	opened := dbtest.OpenURL(t, cluster.URL())
	dbtest.Fill(t, opened, dbtest.Users(3, 1))
	count := func() (int, error) {
		return opened.CountCustomers(t.Context(), models.Scope{All: true}, "")
	}
	if n, err := count(); err != nil || n != 3 {
		t.Fatalf("%d customers, error %v", n, err)
	}

	for name, end := range map[string]func(){"Stop": cluster.Stop, "Kill": cluster.Kill} {
		end()
		if _, err := count(); err == nil {
			t.Errorf("%s: the server still answers", name)
		}
		cluster.Start()
		// The pool may hold connections that are dead and not known to be.
		for range 20 {
			if _, err := count(); err == nil {
				break
			}
		}
		if n, err := count(); err != nil || n != 3 {
			t.Errorf("after %s and Start: %d customers, error %v", name, n, err)
		}
	}

	cluster.Pause()
	answer := make(chan error, 1)
	go func() {
		_, err := count()
		answer <- err
	}()
	select {
	case err := <-answer:
		t.Errorf("a paused server answered: %v", err)
	default:
	}
	cluster.Resume()
	if err := <-answer; err != nil {
		t.Errorf("after Resume: %v", err)
	}
}

// TestKilledProcess has a test process that holds a cluster killed, and waits
// for the cluster to go away.
func TestKilledProcess(t *testing.T) {
	if os.Getenv("DBTEST_CHILD") != "" {
		cluster := dbtest.Postgres(t)
		if os.Getenv("DBTEST_CHILD") == "paused" {
			cluster.Pause()
		}
		t.Log(cluster.DSN("postgres"))
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	for _, state := range []string{"running", "paused"} {
		t.Run(state, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcess$", "-test.v")
			child.Env = append(os.Environ(), "DBTEST_CHILD="+state)
			output, err := child.CombinedOutput()
			if strings.Contains(string(output), "SKIP") {
				t.Skipf("%s", output)
			}
			if err == nil || !child.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
				t.Fatalf("the child was not killed: %v\n%s", err, output)
			}
			_, socketDir, found := strings.Cut(string(output), "host=")
			socketDir, _, _ = strings.Cut(socketDir, "&")
			if socketDir, err = url.QueryUnescape(socketDir); !found || err != nil {
				t.Fatalf("the child did not say where its cluster is: %s", output)
			}
			for range time.Tick(5 * time.Millisecond) {
				if _, err := os.Stat(socketDir); errors.Is(err, fs.ErrNotExist) {
					break
				}
			}
		})
	}
}
