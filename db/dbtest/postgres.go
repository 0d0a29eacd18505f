package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"
)

// server is a PostgreSQL server that tests get their databases from.
type server struct {
	admin *bun.DB
	// url names a database of the server, and forTests does for the tests.
	url, forTests func(name string) string
	// options is how an empty database is created.
	options string
	// template is a migrated database to copy, or empty where there is none.
	template string
}

// postgres gives the server that the tests of this process share, and skips the
// test where there is none.
func postgres(t testing.TB) *server {
	t.Helper()
	shared, err := sharedServer()
	if err != nil {
		withoutPostgres(t, err)
	}
	return shared
}

var sharedServer = sync.OnceValues(func() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if external := os.Getenv("TEST_DATABASE_URL"); external != "" {
		return externalServer(ctx, external)
	}
	// Nobody stops this one: its watchdog does, when the process ends.
	cluster, err := newCluster(alone)
	if err != nil {
		return nil, err
	}
	if err := cluster.start(ctx); err != nil {
		return nil, err
	}
	shared, err := newServer(ctx, cluster.DSN("postgres"), cluster.DSN)
	if err != nil {
		return nil, err
	}
	if os.Getenv(throughPgBouncer) == "1" {
		if err := cluster.startBouncer(); err != nil {
			return nil, err
		}
		shared.forTests = cluster.bouncerDSN
	}
	// From here on migrated databases are copies.
	shared.template, err = shared.createMigrated(ctx)
	return shared, err
})

func withoutPostgres(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("REQUIRE_POSTGRES") == "1" {
		t.Fatalf("PostgreSQL cannot be had, and REQUIRE_POSTGRES is 1: %v", err)
	}
	t.Skipf("PostgreSQL cannot be had: %v", err)
}

// externalServer has no template: one that is left behind would be of an older
// schema some day, and there is no moment at which a test process could drop it.
func externalServer(ctx context.Context, databaseURL string) (*server, error) {
	parsed, err := url.Parse(databaseURL)
	if err != nil || parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		return nil, errors.New("TEST_DATABASE_URL is not a URL like postgres://user@host/database")
	}
	return newServer(ctx, databaseURL, func(name string) string {
		named := *parsed
		named.Path, named.RawPath = "/"+name, ""
		return named.String()
	})
}

func newServer(ctx context.Context, adminURL string, url func(string) string) (*server, error) {
	admin, err := connect(adminURL)
	if err != nil {
		return nil, err
	}
	s := &server{admin: admin, url: url, forTests: url, options: turkish}
	name, err := s.create(ctx)
	if err != nil {
		s.options = plain
		name, err = s.create(ctx)
	}
	if err == nil {
		err = s.drop(ctx, name)
	}
	if err != nil {
		return nil, errors.Join(err, admin.Close())
	}
	return s, nil
}

const (
	plain = "TEMPLATE template0 ENCODING 'UTF8'"
	// The language is one that sorts and changes case in a way of its own, so
	// that a statement which leaves either to the database's locale is found out.
	// PostgreSQL before 15, or built without ICU, cannot do that.
	turkish = plain + " LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'"
)

// create makes an empty database and gives its name.
func (s *server) create(ctx context.Context) (name string, err error) {
	return s.createAs(ctx, s.options)
}

func (s *server) createAs(ctx context.Context, options string) (name string, err error) {
	name = "roster_test_" + strings.ToLower(rand.Text())
	_, err = s.admin.ExecContext(ctx, "CREATE DATABASE "+name+" "+options)
	return name, err
}

// createMigrated makes a database with a schema and gives its name.
func (s *server) createMigrated(ctx context.Context) (name string, err error) {
	if s.template != "" {
		return s.createAs(ctx, "TEMPLATE "+s.template)
	}
	if name, err = s.create(ctx); err != nil {
		return "", err
	}
	return name, migrate(ctx, s.url(name))
}

func (s *server) drop(ctx context.Context, name string) error {
	_, err := s.admin.ExecContext(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	return err
}

// database gives the URL of a database that create makes and that is dropped
// when the test ends.
func (s *server) database(t testing.TB, create func(context.Context) (string, error)) string {
	t.Helper()
	name, err := create(t.Context())
	if err != nil {
		t.Fatalf("cannot create the test's database: %v", err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.drop(ctx, name); err != nil {
			t.Errorf("cannot drop the test's database: %v", err)
		}
	})
	return s.forTests(name)
}
