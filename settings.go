package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"roster/db"
	"roster/graph"
	"roster/rest"
)

// commandLine is the one table of commands, flags, environment variables and
// help texts. -h prints it, and a test holds docs/settings.md to it.
type commandLine struct {
	Demo    demoCommand    `cmd:"" help:"Start a server on a throw-away database filled with examples. Nothing has to be set."`
	Serve   serveCommand   `cmd:"" help:"Start the server."`
	Migrate migrateCommand `cmd:"" help:"Bring the schema of the database up to date."`
	Import  importCommand  `cmd:"" help:"Read users from a document of a legacy system."`
	Token   tokenCommand   `cmd:"" help:"Sign a token with the configured secret, for development."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// databaseSettings name the database.
type databaseSettings struct {
	URL string `name:"database-url" env:"DATABASE_URL" default:"sqlite:roster.db" placeholder:"URL" help:"The database: sqlite:PATH or postgres://..."`
}

// secretSettings are what signs a token with a shared key.
type secretSettings struct {
	Secret   string `name:"jwt-secret" env:"ROSTER_JWT_SECRET" placeholder:"KEY" help:"Key of tokens signed with HS256, HS384 or HS512; 32 bytes or more."`
	Issuer   string `name:"jwt-issuer" env:"ROSTER_JWT_ISSUER" placeholder:"NAME" help:"The iss that a token must have. Required, or --jwt-issuers with serve."`
	Audience string `name:"jwt-audience" env:"ROSTER_JWT_AUDIENCE" placeholder:"NAME" help:"The aud that a token must have. Required, or --jwt-issuers with serve."`

	CustomerClaim    claim `name:"jwt-customer-claim" env:"ROSTER_JWT_CUSTOMER_CLAIM" default:"customer_id" placeholder:"PATH" help:"Name or dotted path of the claim that names the caller's customers."`
	AuthoritiesClaim claim `name:"jwt-authorities-claim" env:"ROSTER_JWT_AUTHORITIES_CLAIM" default:"authorities" placeholder:"PATH" help:"Name or dotted path of the claim that lists the caller's authorities."`
}

// tokenSettings say which tokens are accepted.
type tokenSettings struct {
	secretSettings `embed:""`
	PublicKeyFile  string `name:"jwt-public-key-file" env:"ROSTER_JWT_PUBLIC_KEY_FILE" placeholder:"FILE" help:"PEM file with the public key of tokens: RSA (2048 to 8192 bits), EC or Ed25519."`
	JWKSURL        string `name:"jwt-jwks-url" env:"ROSTER_JWT_JWKS_URL" placeholder:"URL" help:"Address of a JSON Web Key Set with the public keys of tokens."`
	IssuersFile    string `name:"jwt-issuers" env:"ROSTER_JWT_ISSUERS" placeholder:"FILE" help:"JSON file with several issuers, each with a key and an audience of its own, in place of the one that the other flags describe."`
}

// serverSettings are what every server has, the demo included.
type serverSettings struct {
	Listen                string        `env:"ROSTER_LISTEN" default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"Address to listen on."`
	AdminListen           string        `env:"ROSTER_ADMIN_LISTEN" placeholder:"ADDRESS" help:"Address on which to serve metrics and profiles, for the operator only; without it they are not served."`
	GraphiQL              bool          `name:"graphiql" env:"ROSTER_GRAPHIQL" default:"true" negatable:"" help:"Serve GraphiQL at /graphiql/."`
	Introspection         bool          `env:"ROSTER_INTROSPECTION" default:"true" negatable:"" help:"Answer questions about the schema."`
	TrustedDocuments      file          `env:"ROSTER_TRUSTED_DOCUMENTS" placeholder:"FILE" help:"Run only the GraphQL documents of this manifest, a JSON object from id to document."`
	LegacyCredentials     bool          `env:"ROSTER_LEGACY_CREDENTIALS" help:"Show accessToken and vcsPassword in the Testinium endpoint."`
	LegacyDeprecatedSince day           `env:"ROSTER_LEGACY_DEPRECATED_SINCE" placeholder:"DATE" help:"Announce with every answer of the legacy endpoints that they are deprecated since this day, such as 2026-12-31."`
	CORSOrigins           []string      `name:"cors-origin" env:"ROSTER_CORS_ORIGIN" placeholder:"ORIGIN" help:"An origin whose scripts may call from a browser, or *. Can be repeated."`
	RequestTimeout        time.Duration `env:"ROSTER_REQUEST_TIMEOUT" default:"4s" placeholder:"TIME" help:"The longest that one answer may take."`
	DrainDelay            time.Duration `env:"ROSTER_DRAIN_DELAY" default:"0s" placeholder:"TIME" help:"How long to go on accepting requests after /readyz began to fail: what a load balancer takes to notice."`
	GraceTime             time.Duration `env:"ROSTER_GRACE_TIME" default:"10s" placeholder:"TIME" help:"How long running requests may take to end when the server stops."`
	MaxConcurrent         int           `env:"ROSTER_MAX_CONCURRENT" default:"0" placeholder:"N" help:"The most GraphQL documents that run at once, those of the legacy endpoints included; 0 suits the machine. Some wait, and what comes beyond is refused with 503."`
	DatabaseConnections   int           `env:"ROSTER_DATABASE_CONNECTIONS" default:"16" placeholder:"N" help:"The most connections to each database server at once."`
	MaxConnections        int           `env:"ROSTER_MAX_CONNECTIONS" default:"500" placeholder:"N" help:"The most connections at once. One more closes the one that has been without a request for longest."`
	RateLimit             float64       `env:"ROSTER_RATE_LIMIT" default:"0" placeholder:"N" help:"How many requests per second one caller, the iss and sub of a token, may make; 0 is no limit."`
	RateBurst             int           `env:"ROSTER_RATE_BURST" default:"0" placeholder:"N" help:"How many requests a caller may make at once after a pause; 0 is what --rate-limit allows in a second."`
	MaxBody               int64         `env:"ROSTER_MAX_BODY" default:"65536" placeholder:"BYTES" help:"The largest request body."`
	MaxTokens             int           `env:"ROSTER_MAX_TOKENS" default:"1000" placeholder:"N" help:"The most tokens of a GraphQL document."`
	MaxDepth              int           `env:"ROSTER_MAX_DEPTH" default:"12" placeholder:"N" help:"The most levels of fields in a GraphQL document."`
	MaxSelections         int           `env:"ROSTER_MAX_SELECTIONS" default:"1000" placeholder:"N" help:"The most fields of a GraphQL document, its fragments expanded."`
	MaxCost               int           `env:"ROSTER_MAX_COST" default:"10000" placeholder:"N" help:"The most that a GraphQL document may cost."`
}

// day is a setting such as 2026-12-31.
type day struct{ time.Time }

// UnmarshalText reads a day.
func (d *day) UnmarshalText(text []byte) (err error) {
	if d.Time, err = time.Parse(time.DateOnly, string(text)); err != nil {
		return fmt.Errorf("%q is no day such as 2026-12-31", text)
	}
	return nil
}

// file is a setting that names a file. Without the flag it is empty; with the flag it may
// not be, as a script's variable that is not set must not switch a limit off.
type file string

// UnmarshalText takes the name of the file.
func (f *file) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("it must name a file, or be left out")
	}
	*f = file(text)
	return nil
}

// claim is a setting that names a claim. It may not be empty, which would stand for the
// default.
type claim string

// UnmarshalText takes the name of the claim.
func (c *claim) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("it must name a claim, or be left out")
	}
	*c = claim(text)
	return nil
}

// validate names every setting that is out of range.
func (s *serverSettings) validate() error {
	var errs []error
	for _, setting := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{{"--request-timeout", s.RequestTimeout, shortestAnswer}, {"--grace-time", s.GraceTime, time.Millisecond}, {"--drain-delay", s.DrainDelay, 0}} {
		if setting.value < setting.least || setting.value > longestTime {
			errs = append(errs, fmt.Errorf("%s is %s; it must be between %s and %s", setting.name, setting.value, setting.least, longestTime))
		}
	}
	if !(s.RateLimit == 0 || s.RateLimit >= minRate && s.RateLimit <= maxRate) { // NaN is not allowed either
		errs = append(errs, fmt.Errorf("--rate-limit is %v; it must be 0, or between %v and %.0f", s.RateLimit, minRate, maxRate))
	}
	if s.RateBurst < 0 || s.RateBurst > maxRate || s.RateBurst > 0 && s.RateLimit == 0 {
		errs = append(errs, fmt.Errorf("--rate-burst is %d; it must be between 0 and %.0f, and means something with --rate-limit only", s.RateBurst, maxRate))
	}
	if s.MaxConcurrent < 0 || s.MaxConcurrent > maxConcurrency {
		errs = append(errs, fmt.Errorf("--max-concurrent is %d; it must be between 1 and %d, or 0 for what suits the machine", s.MaxConcurrent, maxConcurrency))
	}
	if s.DatabaseConnections < 1 || s.DatabaseConnections > maxConcurrency {
		errs = append(errs, fmt.Errorf("--database-connections is %d; it must be between 1 and %d", s.DatabaseConnections, maxConcurrency))
	}
	if s.MaxBody < 1 || s.MaxBody > largestBody {
		errs = append(errs, fmt.Errorf("--max-body is %d; it must be between 1 and %d", s.MaxBody, largestBody))
	}
	for i, origin := range s.CORSOrigins {
		s.CORSOrigins[i] = strings.TrimSpace(origin) // the variable has a list, in which a space may follow a comma
		if !isOrigin(s.CORSOrigins[i]) {
			errs = append(errs, fmt.Errorf("--cors-origin is %q; it must be * or an origin such as https://app.example.com, without a path or the usual port", origin))
		}
	}
	for _, setting := range []struct{ name, address string }{{"--listen", s.Listen}, {"--admin-listen", s.AdminListen}} {
		_, _, err := net.SplitHostPort(setting.address)
		if err != nil && (setting.address != "" || setting.name == "--listen") {
			errs = append(errs, fmt.Errorf("%s is %q; it must be HOST:PORT, such as 127.0.0.1:8080", setting.name, setting.address))
		}
	}
	for _, setting := range []struct {
		name         string
		value, least int
	}{
		{"--max-connections", s.MaxConnections, 1}, {"--max-tokens", s.MaxTokens, rest.DocumentTokens},
		{"--max-depth", s.MaxDepth, 1}, {"--max-selections", s.MaxSelections, 1}, {"--max-cost", s.MaxCost, 1},
	} {
		if setting.value < setting.least {
			errs = append(errs, fmt.Errorf("%s is %d; it must be at least %d", setting.name, setting.value, setting.least))
		}
	}
	return errors.Join(errs...)
}

// The bounds of settings that have any: more than a server can do, and less than its
// arithmetic can take. The least rate is a request in a quarter of an hour.
const (
	minRate        = 1e-3
	maxRate        = 1e6
	maxConcurrency = 100_000
	largestBody    = 1 << 30
	// PostgreSQL's limit for a statement, a little shorter, is in milliseconds.
	shortestAnswer = 10 * time.Millisecond
	longestTime    = 24 * time.Hour
)

// isOrigin reports whether a text can match what browsers send as an Origin (RFC
// 6454). One * in it stands for anything.
func isOrigin(origin string) bool {
	if origin == "*" || origin == "null" {
		return true
	}
	one := strings.Replace(origin, "*", "1", 1)
	u, err := url.Parse(one)
	if err != nil || u.Hostname() == "" || !strings.EqualFold(one, u.Scheme+"://"+u.Host) {
		return false
	}
	port := u.Port() // which is left out when it is the usual one
	return !strings.HasSuffix(u.Host, ":") && (u.Scheme != "https" || port != "443") && (u.Scheme != "http" || port != "80")
}

func (s *serverSettings) graph() (graph.Settings, error) {
	settings := graph.Settings{
		Limits:        graph.Limits{Tokens: s.MaxTokens, Depth: s.MaxDepth, Selections: s.MaxSelections, Cost: s.MaxCost},
		Introspection: s.Introspection,
		CacheBytes:    documentCacheBytes,
	}
	if s.TrustedDocuments == "" {
		return settings, nil
	}
	manifest, err := os.ReadFile(string(s.TrustedDocuments))
	if err != nil {
		return settings, fmt.Errorf("--trusted-documents: %w", err)
	}
	if settings.Trusted, err = graph.ParseTrustedDocuments(manifest, s.MaxTokens); err != nil {
		return settings, fmt.Errorf("--trusted-documents: %w", err)
	}
	return settings, nil
}

// documentCacheBytes bounds the memory for parsed GraphQL documents.
const documentCacheBytes = 8 << 20

func (s *serverSettings) database() db.Options {
	// The database gives up a little earlier than the request, so that its own
	// error is the one that is shown and logged.
	return db.Options{ReadOnly: true, StatementTimeout: s.RequestTimeout * 9 / 10, MaxConnections: s.DatabaseConnections}
}

// errHelp means that help was printed and nothing else is to be done.
var errHelp = errors.New("help was printed")

// parse reads the command line, completed from the environment.
func parse(args []string, getenv func(string) string, stdout, stderr io.Writer) (*kong.Context, error) {
	var commands commandLine
	exited := false
	parser, err := kong.New(&commands,
		kong.Name("roster"),
		kong.Description("A GraphQL API over customer users.\n\nTry it: roster demo"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { exited = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ValueFormatter(describeFlag),
		kong.Resolvers(environment(getenv)),
	)
	if err != nil {
		return nil, err
	}
	// kong would read the process's own environment, and show the value of a
	// variable that it cannot parse, which may be a secret.
	for _, flag := range parser.Model.AllFlags(true) {
		for _, f := range flag {
			f.Tag.Envs = nil
		}
	}
	for _, command := range parser.Model.Children {
		for _, f := range command.Flags {
			f.Tag.Envs = nil
		}
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited {
		return nil, errHelp
	}
	if err != nil {
		return nil, fmt.Errorf("%w\nroster --help lists the commands, and roster COMMAND --help the flags of one", err)
	}
	return parsed, nil
}

// describeFlag adds the default and the environment variables, X and X_FILE, to a
// flag's help.
func describeFlag(value *kong.Value) string {
	help := value.Help
	if value.Flag == nil {
		return help
	}
	var notes []string
	if value.HasDefault {
		notes = append(notes, "default "+value.Default)
	}
	for _, name := range value.Flag.Envs {
		notes = append(notes, name+"[_FILE]")
	}
	if len(notes) > 0 {
		help += " (" + strings.Join(notes, ", ") + ")"
	}
	return help
}

// environment completes the flags from environment variables. For each variable
// X there is also X_FILE, which names a file that holds the value, as container
// platforms hand over secrets. Both together are refused, as an old value would hide the new.
func environment(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			value, path := getenv(name), getenv(name+"_FILE")
			if value != "" && path != "" {
				return nil, fmt.Errorf("%s and %s_FILE are both set; only one of them can be", name, name)
			}
			if value != "" {
				return value, nil
			}
			if path != "" {
				value, err := os.ReadFile(path)
				if err != nil {
					return nil, fmt.Errorf("%s_FILE: %w", name, err)
				}
				return strings.TrimRight(string(value), "\r\n"), nil
			}
		}
		return nil, nil
	})
}
