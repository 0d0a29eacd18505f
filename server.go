// Command roster serves the users of customers over GraphQL, over the two REST
// endpoints that legacy clients call, and in GraphiQL for people.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"roster/auth"
	"roster/db"
	"roster/graph"
	"roster/graphiql"
	"roster/models"
	"roster/rest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	// The log may go to a pipe whose reader ends, which would end the process.
	signal.Ignore(syscall.SIGPIPE)
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr); err != nil {
		// Here is no request whose id could be quoted.
		fmt.Fprintln(os.Stderr, "roster:", strings.ReplaceAll(err.Error(), models.InternalMessage+": ", ""))
		os.Exit(1)
	}
}

// stdio is the standard streams of a command.
type stdio struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// run is the whole program apart from exit codes and signals: it ends when the
// command is done or ctx is.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) error {
	command, err := parse(args, getenv, stdout, stderr)
	if errors.Is(err, errHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	command.BindTo(ctx, (*context.Context)(nil))
	return command.Run(&stdio{stdin, stdout, stderr})
}

// server answers HTTP requests from one database.
type server struct {
	settings  *serverSettings
	log       *slog.Logger
	db        *db.DB
	verifier  *auth.Verifier
	executor  *graph.Executor
	page      graphiql.Page
	admission *admission
	metrics   *metrics
	rates     *rateLimiter
	// connections bounds the number of connections.
	connections *connectionLimit
	// unreadBytes bounds the answers of each caller that are being written, and
	// anonymousWrites the number of those to requests without a valid token.
	unreadBytes     *callerBytes
	anonymousWrites *writingLimit
	resets          *resetLimit
	// certificate is nil for serving without TLS.
	certificate *certificate
	// admin is nil where nothing is served for the operator.
	admin net.Listener
	// draining says that the server is stopping, and closed that it takes no more
	// connections.
	draining, closed atomic.Bool
	// schemaCurrent is whether the database had all that this version knows of when it
	// answered last.
	schemaCurrent   atomic.Bool
	schemaChecks    singleflight.Group
	warnNewerSchema sync.Once
}

// newServer puts a server together.
func newServer(settings *serverSettings, verifier *auth.Verifier, database *db.DB, page graphiql.Page, log *slog.Logger) (*server, error) {
	graphSettings, err := settings.graph()
	if err != nil {
		return nil, err
	}
	admission := admissionFor(database, settings)
	resets := &resetLimit{}
	metrics := newMetrics(admission, resets)
	metrics.registry.MustRegister(replicaMetrics{database})
	return &server{
		settings:        settings,
		log:             log,
		db:              database,
		verifier:        verifier,
		executor:        graph.NewExecutor(database, log, graphSettings),
		page:            page,
		admission:       admission,
		metrics:         metrics,
		rates:           newRateLimiter(settings.RateLimit, settings.RateBurst),
		connections:     newConnectionLimit(settings.MaxConnections),
		unreadBytes:     newCallerBytes(maxUnread),
		anonymousWrites: newWritingLimit(settings.MaxConnections),
		resets:          resets,
	}, nil
}

// routes is everything that the server answers.
func (s *server) routes() http.Handler {
	graphQL := graph.NewHandler(s.executor, s.settings.MaxBody)
	legacy := rest.Config{
		Executor:        admittedExecutor{s.executor, s.admission},
		Admit:           s.admission.shed,
		Authenticate:    s.authenticate,
		Log:             s.log,
		Timeout:         s.settings.RequestTimeout,
		DeprecatedSince: s.settings.LegacyDeprecatedSince.Time,
	}
	if s.settings.LegacyCredentials {
		legacy.Credentials = admittedCredentials{s.db, s.admission}
	}

	admitted := s.admission.admit(s.settings.MaxBody, graphQL.Refuse)(graphQL)
	mux := http.NewServeMux()
	limited := s.limitTime(s.authenticate(graphQL.Refuse)(admitted))
	mux.Handle("/graphql", s.admission.shed(graphQL.Refuse)(rest.Compress(s.recover(graphQL.Refuse)(limited))))
	if s.settings.Introspection {
		mux.Handle("GET /schema.graphqls", graph.SchemaHandler())
	}
	mux.Handle("/openapi.json", rest.OpenAPI())
	mux.Handle("/docs/{$}", rest.Docs())
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	if s.settings.GraphiQL {
		mux.Handle("/graphiql/", http.StripPrefix("/graphiql", graphiql.Handler(s.page)))
		mux.Handle("GET /{$}", http.RedirectHandler("/graphiql/", http.StatusFound))
	}
	all := rest.Front(mux, rest.NewWorth(legacy), rest.NewTestinium(legacy))
	return s.assignRequestID(s.record(s.recover(refusePlain)(rest.CORS(s.settings.CORSOrigins)(all))))
}

// authenticate makes the middleware that verifies the token, applies the limits of its
// caller and chooses the replica to read from.
func (s *server) authenticate(refuse refuseFunc) func(http.Handler) http.Handler {
	refuse = refuseUnread(refuse)
	return func(next http.Handler) http.Handler {
		authenticated := s.rates.middleware(refuse)(s.readFromReplica(refuse)(s.unreadBytes.bound(next)))
		return s.verifier.Middleware(refuse)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.connections.keep(r)
			if state := stateOf(r.Context()); state != nil {
				state.authenticated = true
			}
			authenticated.ServeHTTP(w, r)
		}))
	}
}

// listen opens the addresses that the settings name. It gives the listener for callers
// and keeps the operator's in s.admin.
func (s *server) listen(ctx context.Context) (_ net.Listener, err error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // whose listeners ignoreHandshakes cannot filter
	listener, err := config.Listen(ctx, "tcp", s.settings.Listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", s.settings.Listen, err)
	}
	if s.admin, err = s.listenAdmin(ctx); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// serve answers requests on listener until ctx is done, and then stops without
// losing any.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	defer s.startAdmin()()
	busy, limit := newBusyConnections(), s.connections
	server := &http.Server{
		Handler:           s.resets.middleware(s.routes()),
		ReadHeaderTimeout: min(headerTime, s.settings.RequestTimeout),
		ReadTimeout:       s.settings.RequestTimeout,
		IdleTimeout:       -1, // the limit of connections sees to it
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: max(minStreams, s.admission.share.slots),
			WriteByteTimeout:     readTime,
			// Each defaults to a megabyte. The reader allocates what a frame's first bytes
			// announce, and keeps it as long as the connection.
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerConnection: 64 << 10,
			MaxReceiveBufferPerStream:     64 << 10,
		},
		ConnContext: func(ctx context.Context, connection net.Conn) context.Context {
			boundUnsent(connection)
			return withConnection(withGathering(ctx, connection), connection)
		},
		// net/http's own answer to "OPTIONS *" would go past all of ours.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState: func(connection net.Conn, state http.ConnState) {
			busy.note(connection, state)
			limit.note(connection, state)
		},
	}
	serve := func(listener net.Listener) error { return server.Serve(gatheringListener{listener}) }
	if s.certificate != nil {
		server.TLSConfig = s.certificate.config()
		serve = func(listener net.Listener) error { return server.ServeTLS(meteredListener{listener}, "", "") }
	}
	idle, cancel := context.WithCancel(ctx)
	defer cancel()
	go limit.closeIdle(idle)
	ended := make(chan error, 1)
	go func() { ended <- serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}

	s.draining.Store(true)
	s.log.Info("stopping", "delay", s.settings.DrainDelay, "grace", s.settings.GraceTime)
	ctx = context.WithoutCancel(ctx)
	sleep(ctx, s.settings.DrainDelay)
	grace, cancel := context.WithTimeout(ctx, s.settings.GraceTime)
	defer cancel()
	serveLast := func(waiting net.Listener) error {
		s.closed.Store(true)
		return serve(waiting)
	}
	return stop(grace, server, serveLast, listener, busy)
}

// minStreams is the smallest limit on the requests of one HTTP/2 connection at once; a
// caller's share of the slots is the limit where it is larger. They are most of the
// memory for a client that begins and gives up requests as fast as it can.
const minStreams = 16

// maxHeaderBytes is room for a token of 8 KiB and what browsers add.
const maxHeaderBytes = 16 << 10

// healthz tells that the process lives. It never asks the database: a process
// that is restarted because its database is away helps nobody.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "ok")
}

// readyz tells whether the server can answer: it is not stopping, the database or a
// replica of it answers, and the schema has all that this version knows of. It may be
// newer: servers are replaced one by one after the schema has changed, and a load
// balancer must keep those not yet replaced.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		plain(w, http.StatusServiceUnavailable, "stopping")
		return
	}
	if !s.verifier.Ready() {
		plain(w, http.StatusServiceUnavailable, "no key to verify tokens has been loaded yet")
		return
	}
	switch err := s.checkSchema(r.Context()); {
	case errors.Is(err, db.ErrSchemaTooNew):
		plain(w, http.StatusOK, "ready: the schema is newer than this server")
	case errors.Is(err, db.ErrSchemaNotCurrent):
		plain(w, http.StatusServiceUnavailable, "the schema of the database is not current")
	case err != nil && s.schemaCurrent.Load() && s.db.UsesReplica():
		plain(w, http.StatusOK, "ready, by a replica: the database does not answer")
	case err != nil:
		plain(w, http.StatusServiceUnavailable, "the database does not answer")
	default:
		plain(w, http.StatusOK, "ready")
	}
}

// checkSchema looks at the schema once for all who ask meanwhile. They need no token,
// and would stand before callers in the queue for a connection otherwise.
func (s *server) checkSchema(ctx context.Context) error {
	_, err, _ := s.schemaChecks.Do("", func() (any, error) {
		patience := 2 * time.Second
		if s.schemaCurrent.Load() && s.db.UsesReplica() {
			patience /= 4 // a replica can answer, and a probe may not wait long
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err := s.db.CheckSchema(ctx)
		if err == nil || errors.Is(err, db.ErrSchemaNotCurrent) {
			s.schemaCurrent.Store(err == nil || errors.Is(err, db.ErrSchemaTooNew))
		}
		if errors.Is(err, db.ErrSchemaTooNew) {
			s.warnNewerSchema.Do(func() {
				s.log.WarnContext(ctx, "the schema of the database is newer than this server, which goes on serving", "error", err)
			})
		}
		return nil, err
	})
	return err
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the client is gone: there is nobody to tell
}
