//go:build linux

// Command bench measures Roster against a server written by hand for one
// question, and against PostGraphile, on one machine and in one run. It starts a
// private PostgreSQL, fills it, starts the targets and drives them in alternating
// rounds, so that only ratios have to be believed, and prints a report in
// Markdown. It needs Linux, Go, PostgreSQL and, for PostGraphile, npm.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"roster/db"
)

// settings say what to measure.
type settings struct {
	large, customers, users int
	rounds                  int
	duration                time.Duration
	postgraphile, sqlite    bool
	extras                  bool
	keep                    bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var s settings
	flag.IntVar(&s.large, "large", 500_000, "users of the large customer, at least 100")
	flag.IntVar(&s.customers, "customers", 1_000, "number of small customers")
	flag.IntVar(&s.users, "users", 500, "users of each small customer, at least 20")
	flag.IntVar(&s.rounds, "rounds", 5, "rounds that count")
	flag.DurationVar(&s.duration, "duration", 3*time.Second, "how long each target is driven in a round")
	flag.BoolVar(&s.postgraphile, "postgraphile", true, "measure PostGraphile, which npm installs")
	flag.BoolVar(&s.sqlite, "sqlite", true, "measure Roster on SQLite too")
	flag.BoolVar(&s.extras, "extras", true, "measure what is not a matter of rounds: the stream, the start, other numbers of connections")
	flag.BoolVar(&s.keep, "keep", false, "when all is measured, let the servers run until Ctrl-C")
	flag.Parse()
	if err := run(ctx, s, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures, and writes the report to stdout and what is going on to stderr.
func run(ctx context.Context, s settings, stdout, stderr io.Writer) (err error) {
	if s.large < 100 || s.users < pageSize || s.customers < 1 || s.rounds < 1 {
		return errors.New("there is too little to measure: see -h")
	}
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(stderr, "%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	// PostgreSQL may run as another user, who must be able to enter.
	dir, err := os.MkdirTemp("/tmp", "roster-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		return err
	}

	pg, err := startPostgres(ctx, dir)
	defer pg.stop()
	if err != nil {
		return err
	}
	b, err := newBuilder(ctx, dir, stderr)
	if err != nil {
		return err
	}
	data := newDataSet(s.large, s.customers, s.users)
	say("loading %d users into PostgreSQL", data.users())
	if err := data.loadPostgres(ctx, pg.url()); err != nil {
		return err
	}
	say("building and starting the targets")
	suite := &suite{data: data, worthDocument: filepath.Join(b.root, "rest", "documents", "worth_users.graphql")}
	if suite.token, err = newToken(); err != nil {
		return err
	}
	program, err := b.build(ctx, ".", rosterName)
	if err != nil {
		return err
	}
	suite.roster, err = startRoster(ctx, dir, program, rosterName, pg.url())
	defer suite.roster.stop()
	if err != nil {
		return err
	}
	floor, err := b.build(ctx, "bench/floor", floorName)
	if err != nil {
		return err
	}
	suite.floor, err = startFloor(ctx, dir, floor, pg.url())
	defer suite.floor.stop()
	if err != nil {
		return err
	}
	if s.postgraphile {
		suite.postgraphile, err = startPostGraphile(ctx, b, pg.url())
		defer func() { suite.postgraphile.stop() }()
		if err != nil {
			return err
		}
	}
	sqliteURL := "sqlite:" + filepath.Join(dir, "roster.db")
	if s.sqlite {
		say("loading the same users into SQLite")
		if err := data.loadSQLite(ctx, sqliteURL); err != nil {
			return err
		}
		suite.sqlite, err = startRoster(ctx, dir, program, sqliteName, sqliteURL)
		defer func() { suite.sqlite.stop() }()
		if err != nil {
			return err
		}
	}
	driver, err := startDriver(ctx, b)
	defer driver.stop()
	if err != nil {
		return err
	}

	say("checking the answers")
	lanes, err := suite.lanes(ctx)
	if err != nil {
		return err
	}
	if err := checkLanes(ctx, lanes); err != nil {
		return err
	}
	if err := runRounds(ctx, driver, lanes, s.rounds, s.duration, pg.cmd.Process.Pid, func(what string) { say("%s", what) }); err != nil {
		return err
	}
	r := &report{settings: s, machine: describe(ctx, pg, b, s.postgraphile), lanes: lanes}
	r.peaks(suite)
	if s.extras {
		say("measuring what is not a matter of rounds")
		if err := r.measureExtras(ctx, suite, driver, pg, dir, program); err != nil {
			return err
		}
	}
	r.took = time.Since(began)
	r.print(stdout)
	if s.keep {
		say("the servers run: roster %s (process %d), floor %s, database %s", suite.roster.url, suite.roster.pid(), suite.floor.url, pg.url())
		fmt.Fprintln(stderr, "token:", suite.token)
		<-ctx.Done()
	}
	return nil
}

// migrate makes the schema in an empty database.
func migrate(ctx context.Context, databaseURL string) (err error) {
	database, err := db.Open(ctx, databaseURL, db.Options{Create: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	_, err = database.Migrate(ctx)
	return err
}
