package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"roster/auth"
	"roster/db"
	"roster/graphiql"
)

// serveCommand is "roster serve".
type serveCommand struct {
	databaseSettings `embed:"" group:"Database"`
	tokenSettings    `embed:"" group:"Tokens"`
	serverSettings   `embed:"" group:"Server"`
	tlsSettings      `embed:"" group:"Server"`
}

// Run serves until ctx is done. Whatever is wrong with the settings or the
// database is said before anything listens.
func (c *serveCommand) Run(ctx context.Context, p *process) (err error) {
	issuer, err := c.issuer()
	if err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	log := newLog(p.stderr)
	certificate, err := c.load(log)
	if err != nil {
		return err
	}
	// Background work of the server must have ended when Run returns.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	verifier, err := auth.NewVerifier(ctx, log, issuer)
	if err != nil {
		return err
	}
	database, err := db.Open(ctx, c.URL, c.database(true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	if err := requireSchema(ctx, database); err != nil {
		return err
	}
	server, err := newServer(&c.serverSettings, verifier, database, graphiql.Page{Endpoint: "/graphql"}, log)
	if err != nil {
		return err
	}
	server.certificate = certificate
	listener, err := server.listen(ctx)
	if err != nil {
		return err
	}
	log.Info("serving", "address", listener.Addr().String(), "database", database.Engine())
	return server.serve(ctx, listener)
}

// requireSchema refuses a schema that is not current and says what helps.
func requireSchema(ctx context.Context, database *db.DB) error {
	err := database.CheckSchema(ctx)
	if errors.Is(err, db.ErrSchemaNotCurrent) {
		return fmt.Errorf("%w: run roster migrate with the same --database-url first", err)
	}
	return err
}

func newLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// migrateCommand is "roster migrate".
type migrateCommand struct {
	databaseSettings `embed:""`
}

// Run brings the schema up to date and says what it did.
func (c *migrateCommand) Run(ctx context.Context, p *process) (err error) {
	database, err := db.Open(ctx, c.URL, db.Options{Create: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	names, err := database.Migrate(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		fmt.Fprintln(p.stdout, "ran migration", name)
	}
	fmt.Fprintln(p.stdout, "the schema is current")
	return nil
}

// versionCommand is "roster version".
type versionCommand struct{}

// Run prints the version that the build recorded.
func (*versionCommand) Run(p *process) error {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	fmt.Fprintln(p.stdout, "roster", version)
	return nil
}
