package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"roster/auth"
	"roster/db"
	"roster/graphiql"
)

// serveCommand is "roster serve".
type serveCommand struct {
	databaseSettings `embed:"" group:"Database"`
	replicaSettings  `embed:"" group:"Database"`
	tokenSettings    `embed:"" group:"Tokens"`
	serverSettings   `embed:"" group:"Server"`
	tlsSettings      `embed:"" group:"Server"`
	RowLevelSecurity bool `group:"Database" env:"ROSTER_ROW_LEVEL_SECURITY" help:"Have PostgreSQL, too, keep each statement to what its caller may read, as a second wall; see docs/security.md."`
}

// Run serves until ctx is done. Whatever is wrong with the settings or the
// database is said before anything listens.
func (c *serveCommand) Run(ctx context.Context, p *stdio) (err error) {
	issuers, err := c.issuers()
	if err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	if err := c.checkOpenFiles(openFileLimit()); err != nil {
		return err
	}
	log, end := newLog(p.stderr)
	defer end()
	c.tuneMemory()
	certificate, err := c.loadCertificate(log)
	if err != nil {
		return err
	}
	// Keys are refreshed for as long as requests are answered, which is longer than ctx.
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	verifier, err := auth.NewVerifier(background, log, issuers...)
	if err != nil {
		return fmt.Errorf("%s: %w", c.keyFlag(), err)
	}
	options := c.database()
	options.RowLevelSecurity, options.Replicas, options.MaxReplicaLag, options.Log = c.RowLevelSecurity, c.URLs, c.MaxLag, log
	database, err := db.Open(ctx, c.URL, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	if err := requireSchema(ctx, database); err != nil {
		return err
	}
	err = database.CheckRole(ctx, c.RowLevelSecurity, c.LegacyCredentials)
	if errors.Is(err, db.ErrRowsHidden) {
		return fmt.Errorf("%w: start with --row-level-security", err)
	}
	if err != nil {
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

// The collector's settings, unless the environment has others. What a server keeps
// is a few megabytes, so with Go's own 100 % it would collect hundreds of times a
// second: at 400 % it answers a fifth more requests. The limit has it collect
// sooner under a flood.
const (
	gcPercent   = 400
	memoryLimit = 80 << 20
)

func (c *serveCommand) tuneMemory() {
	if c.AdminListen == "" {
		runtime.MemProfileRate = 0 // nobody can ask for the profile, and taking it is not free
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// requireSchema refuses a schema that is not current and says what helps.
func requireSchema(ctx context.Context, database *db.DB) error {
	err := database.CheckSchema(ctx)
	if errors.Is(err, db.ErrSchemaNotCurrent) && !errors.Is(err, db.ErrSchemaTooNew) && !errors.Is(err, db.ErrSchemaDiffers) {
		return fmt.Errorf("%w: run roster migrate with the same --database-url first", err)
	}
	return err
}

// migrateCommand is "roster migrate".
type migrateCommand struct {
	databaseSettings `embed:""`
	RowLevelSecurity bool `env:"ROSTER_ROW_LEVEL_SECURITY" help:"Turn on PostgreSQL's row level security for roles that do not own the tables; see docs/security.md."`
}

// Run brings the schema up to date and says what it did.
func (c *migrateCommand) Run(ctx context.Context, p *stdio) (err error) {
	database, err := db.Open(ctx, c.URL, db.Options{Create: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	names, err := database.Migrate(ctx)
	if err != nil {
		return err
	}
	// Output that fails is no reason to stop halfway.
	tell := func(words ...any) {
		_, failure := fmt.Fprintln(p.stdout, words...)
		err = cmp.Or(err, failure)
	}
	for _, name := range names {
		tell("ran migration", name)
	}
	tell("the schema is current")
	if c.RowLevelSecurity {
		if failure := database.EnableRowLevelSecurity(ctx); failure != nil {
			return failure
		}
		tell("row level security is on")
	}
	return err
}

// versionCommand is "roster version".
type versionCommand struct{}

// Run prints the version that the build recorded.
func (*versionCommand) Run(p *stdio) error {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	_, err := fmt.Fprintln(p.stdout, "roster", version)
	return err
}
