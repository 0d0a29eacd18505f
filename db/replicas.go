package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"roster/models"
)

// Read replicas take the statements of the resolvers off the primary. A request
// that was let read from them by [DB.WithReplica] runs all of its statements on
// one of them, in turn with other requests, so that what it reads later is never
// older than what it read before: versions and the rows that they speak of belong
// together. When the replica fails, the statements run again on the primary, and
// so do all that follow. Everything else stays on the primary.

const (
	// checkInterval is how often every replica is asked how it is.
	checkInterval = time.Second
	// checkTimeout is how long a replica may take to answer, and each server of its URL to
	// take a connection. A statement on a replica that hangs runs again on the primary
	// after at most checkInterval and checkTimeout together.
	checkTimeout = time.Second
	// MinReplicaLag is the least lag that a limit can be set to: it is measured in
	// steps of a second.
	MinReplicaLag     = 2 * time.Second
	defaultReplicaLag = 5 * time.Second
)

// replicas runs statements on the replicas of a database and on the primary.
type replicas struct {
	primary *postgresRunner
	all     []*replica
	maxLag  time.Duration
	log     *slog.Logger
	turn    atomic.Uint64

	primaryProbe *probe
	primaryMu    sync.Mutex // guards primaryProbe while the replicas are asked, all at once
	history      history    // of the primary
	stop         context.CancelFunc
	stopped      chan struct{}
}

// replica is one of the replicas.
type replica struct {
	name   string
	runner *postgresRunner
	probe  *probe
	// term is the time in which the replica is used; nil while it is left out.
	term     atomic.Pointer[term]
	reported string // the problem that the log knows of
	// divergedAt is its position when it was ahead of the primary; 0 for never.
	divergedAt int64

	requests, reruns atomic.Int64
	lag              atomic.Int64
}

// term is a time in which a replica is used. Its end cancels what runs there.
type term struct {
	ended context.Context
	end   context.CancelFunc
}

// openReplicas prepares the pools of the replicas and begins to watch them. None is used
// before it was found healthy, so one that is down does no harm.
func (db *DB) openReplicas(ctx context.Context, options Options) error {
	if options.MaxReplicaLag == 0 {
		options.MaxReplicaLag = defaultReplicaLag
	}
	if options.MaxReplicaLag < MinReplicaLag {
		return fmt.Errorf("--max-replica-lag is %s; it must be at least %s", options.MaxReplicaLag, MinReplicaLag)
	}
	if len(options.Replicas) == 0 {
		return nil
	}
	if db.engine != Postgres {
		return errors.New("--database-replica-url is for PostgreSQL, and --database-url names a file of SQLite, which has no replicas")
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	primaryProbe, err := newProbe(db.url)
	if err != nil {
		return err
	}
	r := &replicas{
		primary: db.runner.(*postgresRunner), maxLag: options.MaxReplicaLag, log: options.Log,
		primaryProbe: primaryProbe, stopped: make(chan struct{}),
	}
	for i, replicaURL := range options.Replicas {
		if err := r.add(replicaURL, options); err != nil {
			return errors.Join(fmt.Errorf("--database-replica-url: number %d: %w", i+1, err), r.closePools())
		}
	}
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	go r.watch(ctx)
	db.runner, db.replicas = r, r
	return nil
}

// add prepares the replica that a URL names.
func (r *replicas) add(replicaURL string, options Options) error {
	if scheme, _, _ := strings.Cut(replicaURL, ":"); scheme != "postgres" && scheme != "postgresql" {
		return errors.New(`the URL must start with "postgres://" and name one host`)
	}
	config, err := postgresConfig(replicaURL, options)
	if err != nil {
		return err
	}
	name := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))) + "/" + config.Database
	if slices.ContainsFunc(r.all, func(other *replica) bool { return other.name == name }) {
		return fmt.Errorf("%s is named twice", name)
	}
	probe, err := newProbe(replicaURL)
	if err != nil {
		return err
	}
	r.all = append(r.all, &replica{
		name: name, probe: probe, reported: notYet,
		runner: newPostgresRunner(config, options),
	})
	return nil
}

// notYet stands for the problem of a replica that was not asked yet, of which the
// log need not be told.
const notYet = "it was not asked yet"

func (r *replicas) closePools() error {
	var errs []error
	for _, replica := range r.all {
		errs = append(errs, replica.runner.pool.Close())
	}
	return errors.Join(errs...)
}

// close ends the watch, which ends all terms, and closes all connections.
func (r *replicas) close() error {
	if r == nil {
		return nil
	}
	r.stop()
	<-r.stopped
	return r.closePools()
}

type replicaKey struct{}

// replicaChoice is the replica that a request reads from, nil once it is the primary.
type replicaChoice struct{ replica atomic.Pointer[replica] }

// WithReplica lets the statements of one request run on a replica: all of them on
// the same one, or from some point on all on the primary. They run on the primary
// without it, and when no replica is healthy.
func (db *DB) WithReplica(ctx context.Context) context.Context {
	if db.replicas == nil {
		return ctx
	}
	replica := db.replicas.next()
	if replica == nil {
		return ctx
	}
	replica.requests.Add(1)
	choice := new(replicaChoice)
	choice.replica.Store(replica)
	return context.WithValue(ctx, replicaKey{}, choice)
}

// next gives the replica whose turn it is among those that are healthy, or nil.
func (r *replicas) next() *replica {
	turn := r.turn.Add(1)
	for i := range r.all {
		replica := r.all[(turn+uint64(i))%uint64(len(r.all))]
		if replica.term.Load() != nil {
			return replica
		}
	}
	return nil
}

// run sends the statements to the request's replica, or else to the primary.
func (r *replicas) run(ctx context.Context, statements []*statement) error {
	choice, ok := ctx.Value(replicaKey{}).(*replicaChoice)
	if !ok {
		return r.primary.run(ctx, statements)
	}
	replica := choice.replica.Load()
	if replica == nil {
		return r.primary.run(ctx, statements)
	}
	if term := replica.term.Load(); term != nil {
		err := replica.run(ctx, term, statements)
		if err == nil || ctx.Err() != nil || callersFault(err) {
			return err
		}
		if gone(err) {
			replica.leaveOut(term)
		}
		replica.reruns.Add(1)
	}
	choice.replica.Store(nil)
	for _, s := range statements {
		s.err = nil
	}
	return r.primary.run(ctx, statements)
}

// run sends the statements to the replica as long as its term lasts.
func (r *replica) run(ctx context.Context, term *term, statements []*statement) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(term.ended, cancel)() //nolint:contextcheck // the term is what it waits for
	return r.runner.run(ctx, statements)
}

// callersFault reports whether a statement would fail on the primary too: a value
// is out of range, or what was asked for takes too long. Anything else may be the
// replica's own: it is away, it cancels what is in the way of its recovery, or it
// does not have the latest migration yet.
func callersFault(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	code, _ := classifySQLState(pgErr.Code)
	return code == models.CodeBadUserInput || code == models.CodeTimeout
}

// gone reports whether the next statement would fail on the replica too.
func gone(err error) bool {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(pgErr.Code, "40") {
		return false // a conflict with recovery ended this statement only
	}
	code, _ := classify(err)
	return code == models.CodeUnavailable || code == models.CodeTimeout
}

// leaveOut ends the term of the replica, unless it has ended and another began.
// What runs there is cancelled.
func (r *replica) leaveOut(current *term) {
	if current != nil && r.term.CompareAndSwap(current, nil) {
		current.end()
	}
}

// ReplicaState tells how one replica is.
type ReplicaState struct {
	// Name is its host, port and database.
	Name string
	// Used is whether requests are sent there.
	Used bool
	// Lag is by how much it was behind the primary when that was last known.
	Lag time.Duration
	// Requests is how many were sent there. Reruns is how often what they ran failed
	// there and ran again on the primary.
	Requests, Reruns int64
}

// Replicas tells how each replica is, in the order of [Options].
func (db *DB) Replicas() []ReplicaState {
	if db.replicas == nil {
		return nil
	}
	states := make([]ReplicaState, len(db.replicas.all))
	for i, r := range db.replicas.all {
		states[i] = ReplicaState{r.name, r.term.Load() != nil, time.Duration(r.lag.Load()), r.requests.Load(), r.reruns.Load()}
	}
	return states
}

// UsesReplica reports whether requests are sent to a replica.
func (db *DB) UsesReplica() bool {
	return slices.ContainsFunc(db.Replicas(), func(state ReplicaState) bool { return state.Used })
}

// watch asks how all servers are until ctx is done.
func (r *replicas) watch(ctx context.Context) {
	defer close(r.stopped)
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		r.check(ctx)
		select {
		case <-ctx.Done():
			r.primaryProbe.forget(ctx)
			for _, replica := range r.all {
				replica.probe.forget(ctx)
			}
			return
		case <-ticker.C:
		}
	}
}

// check asks the primary and then the replicas, and decides who is used.
func (r *replicas) check(ctx context.Context) {
	began := time.Now()
	// A primary that does not answer has written nothing that anybody knows of, so
	// the replicas are measured by what is known.
	primary, primaryErr := r.primaryProbe.ask(ctx)
	if primaryErr == nil {
		r.history.note(began, primary, r.maxLag)
	}
	var group sync.WaitGroup
	for _, replica := range r.all {
		group.Go(func() {
			answer, err := replica.probe.ask(ctx)
			// A standby in the place of the primary may itself be behind.
			if err == nil && primaryErr == nil && !primary.inRecovery && answer.position > primary.position && r.ahead(ctx, answer.position) {
				replica.divergedAt = answer.position
			}
			if err == nil {
				err = r.judge(replica, answer)
			}
			if ctx.Err() == nil {
				r.decide(ctx, replica, err)
			}
		})
	}
	group.Wait()
}

// ahead reports whether the primary has still not written what a replica has replayed.
// The replica does not follow it then: it received more of a primary before this one,
// which this one knows nothing of.
func (r *replicas) ahead(ctx context.Context, position int64) bool {
	r.primaryMu.Lock()
	defer r.primaryMu.Unlock()
	primary, err := r.primaryProbe.ask(ctx)
	return err == nil && !primary.inRecovery && primary.position < position
}

// judge says why a replica that answered cannot be used, if so.
func (r *replicas) judge(replica *replica, answer serverState) error {
	if len(r.history) == 0 {
		return errors.New("the primary has not answered yet, so its lag is unknown")
	}
	if answer.system != r.history[0].system {
		return errors.New("it is not a copy of the primary: its system identifier differs")
	}
	if answer.role != r.history[0].role {
		return fmt.Errorf("it is read by the role %s, but the primary by %s", answer.role, r.history[0].role)
	}
	if answer.database != r.history[0].database {
		return fmt.Errorf("it is read in the database %s, but the primary in %s", answer.database, r.history[0].database)
	}
	if !answer.inRecovery {
		return errors.New("it is not a replica: it can be written to")
	}
	if replica.divergedAt != 0 && answer.position == replica.divergedAt {
		return errors.New("it has replayed what the primary has never written, so it does not follow the primary")
	}
	lag, known := r.history.lag(answer.position)
	if known {
		replica.lag.Store(int64(lag))
	}
	if !known || lag > r.maxLag {
		return fmt.Errorf("it is more than %s behind the primary, or has not caught up yet", r.maxLag)
	}
	return nil
}

// decide uses a replica that has no problem and leaves out one that has.
func (r *replicas) decide(ctx context.Context, replica *replica, problem error) {
	was := replica.reported
	if replica.reported = ""; problem != nil {
		replica.reported = oneLine(problem)
		replica.leaveOut(replica.term.Load())
	} else if replica.term.Load() == nil {
		ended, end := context.WithCancel(ctx)
		replica.term.Store(&term{ended, end})
	}
	switch {
	case problem != nil && was != replica.reported:
		r.log.Warn("a replica is left out", "replica", replica.name, "error", replica.reported)
	case problem == nil && was != "" && was != notYet:
		r.log.Info("a replica is used again", "replica", replica.name)
	}
}

// serverState is what a server says about itself.
type serverState struct {
	inRecovery bool
	// position is how much of the log has been written, or replayed by a replica.
	position int64
	// system is the same for a primary and its replicas, and for no other.
	system int64
	// role is who asks. Its rights and the row level security that applies to it
	// are what was checked on the primary.
	role string
	// database is the name of the one that is asked.
	database string
}

const askServer = `SELECT pg_is_in_recovery(), (coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
	'0/0') - '0/0'::pg_lsn)::bigint, (SELECT system_identifier FROM pg_control_system()), current_user::text, current_database()::text`

// probe asks one server how it is. It has a connection of its own, so that an exhausted
// pool does not look like a server that is down.
type probe struct {
	config  *pgx.ConnConfig
	servers int // that the URL names, which are tried in turn
	conn    *pgx.Conn
}

// newProbe makes a probe of the servers that the URL names, with time to try them all.
func newProbe(databaseURL string) (*probe, error) {
	config, err := postgresConfig(databaseURL, Options{})
	if err != nil {
		return nil, err
	}
	config.ConnectTimeout = min(config.ConnectTimeout, checkTimeout)
	return &probe{config: config, servers: countHosts(config)}, nil
}

// ask asks the server. A connection that died since the last time, as it does when
// an administrator or a firewall ends it, says nothing about the server: then it
// asks again on a new one.
func (p *probe) ask(ctx context.Context) (serverState, error) {
	timeout, kept := checkTimeout, p.conn != nil
	if !kept {
		timeout *= time.Duration(p.servers)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	state, err := p.try(ctx)
	if kept && err != nil && p.conn == nil && ctx.Err() == nil {
		return p.try(ctx)
	}
	return state, err
}

func (p *probe) try(ctx context.Context) (state serverState, err error) {
	if p.conn == nil {
		if p.conn, err = pgx.ConnectConfig(ctx, p.config); err != nil {
			p.conn = nil
			return state, err
		}
	}
	if err = p.conn.QueryRow(ctx, askServer).Scan(&state.inRecovery, &state.position, &state.system, &state.role, &state.database); err != nil {
		p.forget(ctx)
	}
	return state, err
}

// forget closes the connection, if there is one.
func (p *probe) forget(ctx context.Context) {
	if p.conn != nil {
		_ = p.conn.Close(ctx) // the next one is new
		p.conn = nil
	}
}

// history is where the primary was at each of the last checks. It turns the
// position of a replica into a time by one clock only, that of this machine.
// pg_last_xact_replay_timestamp would take three: an idle primary makes it look
// old, and a replica that was cut off does not know what it has missed.
type history []struct {
	at time.Time
	serverState
}

// note adds what the primary said, and forgets what no lag in the limit needs.
func (h *history) note(at time.Time, state serverState, maxLag time.Duration) {
	*h = append(*h, struct {
		at time.Time
		serverState
	}{at, state})
	for len(*h) > 1 && at.Sub((*h)[0].at) > maxLag+checkInterval {
		*h = (*h)[1:]
	}
}

// lag gives the time from the newest position of the primary that a replica has
// reached to the newest of all. known is false when the replica has reached none.
func (h history) lag(position int64) (lag time.Duration, known bool) {
	newest := len(h) - 1
	for i := newest; i >= 0; i-- {
		if h[i].position <= position {
			return h[newest].at.Sub(h[i].at), true
		}
	}
	return 0, false
}
