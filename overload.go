package main

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"roster/db"
	"roster/graph"
	"roster/models"
	"roster/rest"
)

// admission bounds how much is worked on at once. More than the processors and
// the database can do together only makes everybody wait. So what has a slot is
// answered about as fast as on an idle server, some wait for a slot, and
// everything beyond is refused after a moment, with hardly any work done for it.
//
// A slot is held while a GraphQL document runs, whether a caller sent it or it
// is one of the REST endpoints' own, and not for the whole request. Neither a
// client that sends its body slowly nor one that reads its answer slowly keeps
// others out, and a stream, which may take hours, has a slot for each of its
// pages only.
//
// One caller has at most two thirds of the slots and of the queue and, in all of its
// documents together, three quarters of the database connections, each rounded up:
// otherwise lists that take seconds, many in one document, could keep everybody else
// out. Without a setting there are half as many slots again as the machine needs, so
// that a caller alone is answered as quickly.
type admission struct {
	slots   chan struct{}
	queue   int64 // the most that wait
	maxWait time.Duration
	// waiting is how many wait in acquireOrRefuse; streams between pages do not count.
	waiting atomic.Int64
	refused atomic.Int64

	// share is what one caller may have at once, and callers has those who have some.
	share   share
	mu      sync.Mutex
	callers map[callerName]*callerUsage
}

// share is how many documents of one caller may run, and wait, and how many of its
// statements may run, at once.
type share struct {
	slots, queue, statements int
}

// callerUsage is what a caller has at the moment.
type callerUsage struct {
	slots, statements chan struct{}
	waiting, refused  atomic.Int64
	// documents is how many run, wait or are held; with the last of them this is forgotten.
	documents int
}

// maxWait is how long a request waits for a slot at most. It matters only when
// what runs is slow, or stuck: otherwise the few who may wait have their turn in
// some hundredths of a second.
const maxWait = time.Second

// holdTime is how long a request is held that finds no room before it is refused.
// Callers who are refused tend to ask again at once, and reading and refusing ten
// thousand requests a second leaves little time to answer any: with four times
// what the server can do, from 256 connections, it kept 71 to 77 % of its best
// throughput this way, and 44 to 55 % without. It is short enough for a caller that then
// tries another server.
const holdTime = 30 * time.Millisecond

// minAdmitted is how many documents may run or wait at least. So many are answered
// before anybody has waited for long.
const minAdmitted = 64

// newAdmission lets this many documents run at once, of which one caller may have perCaller
// and, in all of them together, this many statements. Eight times as many may wait, or more
// where few run: the last of them is answered about when it would be refused otherwise.
func newAdmission(slots, perCaller, statements int) *admission {
	queue := max(8*perCaller, minAdmitted-perCaller)
	return &admission{
		slots: make(chan struct{}, slots), queue: int64(queue + queue/2), maxWait: maxWait,
		share:   share{perCaller, queue, statements},
		callers: map[callerName]*callerUsage{},
	}
}

// admissionFor makes one for this machine and database, and for as many documents
// at once as are set, if any. A document on SQLite is work for a processor and nothing
// else: more at once would only take turns, and keep those waiting that are to be
// refused. One on PostgreSQL spends about half of its time there; more of them than
// there are connections would wait for one of those.
func admissionFor(database *db.DB, settings *serverSettings) *admission {
	connections := database.Connections()
	statements := connections - connections/4
	if slots := settings.MaxConcurrent; slots > 0 {
		return newAdmission(slots, slots-slots/3, statements)
	}
	perCaller := runtime.GOMAXPROCS(0)
	if database.Engine() == db.Postgres {
		perCaller = max(settings.DatabaseConnections, 2*perCaller)
	}
	return newAdmission(perCaller+(perCaller+1)/2, perCaller, statements)
}

// full reports whether as many wait as may.
func (a *admission) full() bool { return a.waiting.Load() >= a.queue }

// hasRoom reports whether one more may wait. A request that finds no room is held
// for a moment, once, and looks again, unless others were refused meanwhile: then it came
// with more than a burst, and a new request, which has not waited yet, can have the room.
func hasRoom(ctx context.Context, full func() bool, refused *atomic.Int64) bool {
	if !full() {
		return true
	}
	if state := stateOf(ctx); state != nil {
		if state.held {
			return false
		}
		state.held = true
	}
	before := refused.Load()
	sleep(ctx, holdTime)
	return refused.Load() == before && !full()
}

// refusal is the error of a request that gets no slot. When its client has left, that is no
// sign of load, and not counted as one. A time that is over while it waited is one.
func (a *admission) refusal(ctx context.Context) error {
	if hasLeft(ctx) {
		return tookTooLong(ctx)
	}
	a.refused.Add(1)
	if state := stateOf(ctx); state != nil {
		state.refused = true
	}
	return models.Errorf(models.CodeUnavailable, "The server has too much to do. Try again in a moment.")
}

// hasLeft reports whether the client of a request has left.
func hasLeft(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// slot is what one document holds while it runs.
type slot struct {
	admission *admission
	caller    callerName
	usage     *callerUsage
}

// register notes a document of the caller of ctx, until slot.unregister.
func (a *admission) register(ctx context.Context) slot {
	caller := callerOf(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	usage := a.callers[caller]
	if usage == nil {
		usage = &callerUsage{slots: make(chan struct{}, a.share.slots), statements: make(chan struct{}, a.share.statements)}
		a.callers[caller] = usage
	}
	usage.documents++
	return slot{a, caller, usage}
}

// unregister undoes admission.register.
func (s slot) unregister() {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	if s.usage.documents--; s.usage.documents == 0 {
		delete(s.admission.callers, s.caller)
	}
}

// full reports whether as many of the caller's wait as may, or of all.
func (s slot) full() bool {
	return s.usage.waiting.Load() >= int64(s.admission.share.queue) || s.admission.full()
}

// refusal unregisters a document that gets no slot.
func (s slot) refusal(ctx context.Context) error {
	s.unregister()
	if !hasLeft(ctx) {
		s.usage.refused.Add(1)
	}
	return s.admission.refusal(ctx)
}

// context has the statements of the document counted with those of its caller.
func (s slot) context(ctx context.Context) context.Context {
	return db.WithStatementLimit(ctx, s.usage.statements)
}

// release gives the slot back.
func (s slot) release() {
	<-s.admission.slots
	<-s.usage.slots
	s.unregister()
}

// acquireOrRefuse gives a slot, for which it waits a moment. The error is a
// *models.Error of CodeUnavailable, or of CodeTimeout when the client has left.
func (a *admission) acquireOrRefuse(ctx context.Context) (slot, error) {
	s := a.register(ctx)
	if s.tryAcquire() {
		return s, nil
	}
	if !hasRoom(ctx, s.full, &s.usage.refused) {
		return slot{}, s.refusal(ctx)
	}
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	s.usage.waiting.Add(1)
	defer s.usage.waiting.Add(-1)
	waiting, cancel := context.WithTimeout(ctx, a.maxWait)
	defer cancel()
	if s.wait(waiting) != nil {
		return slot{}, s.refusal(ctx)
	}
	return s, nil
}

// acquire waits for a slot as long as ctx allows. The error is a
// *models.Error of CodeTimeout.
func (a *admission) acquire(ctx context.Context) (slot, error) {
	s := a.register(ctx)
	if err := s.wait(ctx); err != nil {
		s.unregister()
		return slot{}, err
	}
	return s, nil
}

// tryAcquire takes the slot if it is free.
func (s slot) tryAcquire() bool {
	select {
	case s.usage.slots <- struct{}{}:
	default:
		return false
	}
	select {
	case s.admission.slots <- struct{}{}:
		return true
	default:
		<-s.usage.slots
		return false
	}
}

// wait waits for the slot, for one of the caller's first: nobody may hold a shared one
// while waiting.
func (s slot) wait(ctx context.Context) error {
	select {
	case s.usage.slots <- struct{}{}:
	case <-ctx.Done():
		return tookTooLong(ctx)
	}
	select {
	case s.admission.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-s.usage.slots
		return tookTooLong(ctx)
	}
}

func tookTooLong(ctx context.Context) error {
	return &models.Error{Code: models.CodeTimeout, Message: "The answer took too long.", Err: context.Cause(ctx)}
}

// requestState is what is known of one request.
type requestState struct {
	admitted      bool // it has had a slot already
	held          bool // it has found no room once
	refused       bool // it got none
	authenticated bool // its token was verified
}

type requestStateKey struct{}

// stateOf gives what is known of the request of ctx; nil where there is none, as in tests.
func stateOf(ctx context.Context) *requestState {
	state, _ := ctx.Value(requestStateKey{}).(*requestState)
	return state
}

// shed makes the middleware that holds requests while as many wait as may, and
// refuses those for which there is no room after that. It stands before everything
// that costs: the time limit, the compression, the token and the body.
func (a *admission) shed(refuse refuseFunc) func(http.Handler) http.Handler {
	refuse = refuseUnread(refuse)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !hasRoom(r.Context(), a.full, &a.refused) {
				refuse(w, r, a.refusal(r.Context()))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// admit makes the middleware for a handler that runs one document: it takes a
// slot once the request has arrived, and gives it back when the answer begins.
func (a *admission) admit(maxBody int64, refuse refuseFunc) func(http.Handler) http.Handler {
	arriving := newCallerBytes(max(maxArriving, 2*maxBody))
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller := callerOf(r.Context())
			body := readAhead(r.Body, maxBody, func(n int64) bool { return arriving.add(caller, n) })
			freeBody := sync.OnceFunc(func() { arriving.add(caller, -body.size) })
			defer freeBody()
			if body.tooMuch {
				refuseUnread(refuse)(w, r, a.refusal(r.Context()))
				return
			}
			r.Body = body
			slot, err := a.acquireOrRefuse(r.Context())
			if err != nil {
				refuse(w, r, err)
				return
			}
			release := sync.OnceFunc(func() { slot.release(); freeBody() })
			defer release()
			next.ServeHTTP(&headerWriter{w, release}, r.WithContext(slot.context(r.Context())))
		})
	}
}

// headerWriter tells when an answer begins.
type headerWriter struct {
	http.ResponseWriter
	begin func()
}

// WriteHeader begins the answer.
func (w *headerWriter) WriteHeader(status int) {
	w.begin()
	w.ResponseWriter.WriteHeader(status)
}

// admittedExecutor runs the stored documents of the REST endpoints, each in a
// slot of its own.
type admittedExecutor struct {
	rest.Executor
	admission *admission
}

// ExecuteStored waits for a slot and runs the document. Only the first document of
// a request can be refused: a stream that has begun would be cut otherwise, and
// the work that was done for it lost.
func (x admittedExecutor) ExecuteStored(ctx context.Context, request graph.Request) graph.Response {
	enter := x.admission.acquireOrRefuse
	state := stateOf(ctx)
	if state != nil && state.admitted {
		enter = x.admission.acquire
	}
	slot, err := enter(ctx)
	if err != nil {
		failure := models.AsError(err)
		return graph.Response{Errors: gqlerror.List{{Message: failure.Message, Extensions: map[string]any{"code": string(failure.Code)}}}}
	}
	defer slot.release()
	if state != nil {
		state.admitted = true
	}
	return x.Executor.ExecuteStored(slot.context(ctx), request)
}

// admittedCredentials reads the secrets of the legacy endpoint, each page's in a slot.
type admittedCredentials struct {
	rest.Credentials
	admission *admission
}

// LegacyCredentialsByUser waits for a slot and reads. It refuses nothing: the page that the
// secrets are for has been admitted.
func (c admittedCredentials) LegacyCredentialsByUser(ctx context.Context, scope models.Scope, userIDs []models.ID) (map[models.ID]*models.LegacyCredentials, error) {
	slot, err := c.admission.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer slot.release()
	return c.Credentials.LegacyCredentialsByUser(slot.context(ctx), scope, userIDs)
}
