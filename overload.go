package main

import (
	"context"
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
// the database can do together only makes everybody wait. So what has a place is
// answered about as fast as on an idle server, some wait for a place, and
// everything beyond is refused after a moment, with hardly any work done for it.
//
// A place is held while a GraphQL document runs, whether a caller sent it or it
// is one of the REST endpoints' own, and not for the whole request. Neither a
// client that sends its body slowly nor one that reads its answer slowly keeps
// others out, and a stream, which may take hours, has a place for each of its
// pages only.
//
// One caller has at most two thirds of the places, of the room to wait and, in all of
// its documents together, three quarters of the connections to the database, each
// rounded up: with lists that take seconds it could keep everybody else out otherwise,
// by one document of many. Where nothing is set there is half as much room again for
// that as the machine needs, so that a caller alone is answered as quickly.
type admission struct {
	places  chan struct{}
	queue   int64 // the most that wait
	maxWait time.Duration
	waiting atomic.Int64
	refused atomic.Int64

	// share is what one caller may have at once, and callers has those who have some.
	share   share
	mu      sync.Mutex
	callers map[callerName]*presence
}

// share is how many documents of a caller run, wait, and use the database at once.
type share struct {
	places, queue, statements int
}

// presence is what a caller has at the moment.
type presence struct {
	places, statements chan struct{}
	waiting            atomic.Int64
	// documents is how many run, wait or are held; with the last of them the presence ends.
	documents int
}

// maxWait is how long a request waits for a place at most. It matters only when
// what runs is slow, or stuck: otherwise the few who may wait have their turn in
// some hundredths of a second.
const maxWait = time.Second

// holdTime is how long a request is held that finds no room before it is refused.
// Callers who are refused tend to ask again at once, and reading and refusing ten
// thousand requests a second leaves little time to answer any: with four times
// what the server can do, from 256 connections, 57 to 81 % of the best throughput
// was answered like this, and 35 % without it. It is short enough for a caller that
// tries another server then.
const holdTime = 25 * time.Millisecond

// together is how many documents may run or wait at least. So many are answered
// before anybody has waited for long.
const together = 32

// newAdmission makes one for so many documents at once, of which one caller may have so
// many, and so many statements at once of a caller. Four times as many may wait, which
// keeps the last of them for about as long as a busy server takes to answer anyway, or
// more where few run.
func newAdmission(places, ofCaller, statements int) *admission {
	queue := max(4*ofCaller, together-ofCaller)
	return &admission{
		places: make(chan struct{}, places), queue: int64(queue + queue/2), maxWait: maxWait,
		share:   share{ofCaller, queue, statements},
		callers: map[callerName]*presence{},
	}
}

// suitableAdmission makes one for this machine and database, and for as many documents
// at once as are set, if any. A document on SQLite is work for a processor and nothing
// else: more at once would only take turns, and keep those waiting that are to be
// refused. One on PostgreSQL spends about half of its time there; more of them than
// there are connections would wait for one of those.
func suitableAdmission(database *db.DB, settings *serverSettings) *admission {
	connections := database.Connections()
	statements := connections - connections/4
	if places := settings.MaxConcurrent; places > 0 {
		return newAdmission(places, places-places/3, statements)
	}
	ofCaller := runtime.GOMAXPROCS(0)
	if database.Engine() == db.Postgres {
		ofCaller = max(settings.DatabaseConnections, 2*ofCaller)
	}
	return newAdmission(ofCaller+(ofCaller+1)/2, ofCaller, statements)
}

// full reports whether as many wait as may.
func (a *admission) full() bool { return a.waiting.Load() >= a.queue }

// hasRoom reports whether one more may wait. A request that finds no room is held
// for a moment, once, and looks again.
func (a *admission) hasRoom(ctx context.Context, full func() bool) bool {
	if !full() {
		return true
	}
	if visit, ok := ctx.Value(visitKey{}).(*visit); ok {
		if visit.held {
			return false
		}
		visit.held = true
	}
	wait(ctx, holdTime)
	return !full()
}

func (a *admission) refusal(ctx context.Context) error {
	a.refused.Add(1)
	if visit, ok := ctx.Value(visitKey{}).(*visit); ok {
		visit.refused = true
	}
	return models.Errorf(models.CodeUnavailable, "The server has more to do than it can. Try again in a moment.")
}

// place is the place of one document.
type place struct {
	admission *admission
	by        callerName
	of        *presence
}

// come notes a document of the caller of ctx, until place.forget.
func (a *admission) come(ctx context.Context) place {
	by := callerOf(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.callers[by]
	if of == nil {
		of = &presence{places: make(chan struct{}, a.share.places), statements: make(chan struct{}, a.share.statements)}
		a.callers[by] = of
	}
	of.documents++
	return place{a, by, of}
}

// forget undoes admission.come.
func (p place) forget() {
	p.admission.mu.Lock()
	defer p.admission.mu.Unlock()
	if p.of.documents--; p.of.documents == 0 {
		delete(p.admission.callers, p.by)
	}
}

// full reports whether as many of the caller's wait as may, or of all.
func (p place) full() bool {
	return p.of.waiting.Load() >= int64(p.admission.share.queue) || p.admission.full()
}

// context has the statements of the document counted with those of its caller.
func (p place) context(ctx context.Context) context.Context {
	return db.WithTurns(ctx, p.of.statements)
}

// leave gives the place back.
func (p place) leave() {
	<-p.admission.places
	<-p.of.places
	p.forget()
}

// enter gives a place, for which it waits a moment. The error is a
// *models.Error of CodeUnavailable.
func (a *admission) enter(ctx context.Context) (place, error) {
	p := a.come(ctx)
	if p.enterNow() {
		return p, nil
	}
	if !a.hasRoom(ctx, p.full) {
		p.forget()
		return place{}, a.refusal(ctx)
	}
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	p.of.waiting.Add(1)
	defer p.of.waiting.Add(-1)
	waiting, cancel := context.WithTimeout(ctx, a.maxWait)
	defer cancel()
	if p.wait(waiting) != nil {
		p.forget()
		return place{}, a.refusal(ctx)
	}
	return p, nil
}

// enterPatiently waits for a place as long as ctx allows. The error is a
// *models.Error of CodeTimeout.
func (a *admission) enterPatiently(ctx context.Context) (place, error) {
	p := a.come(ctx)
	if err := p.wait(ctx); err != nil {
		p.forget()
		return place{}, err
	}
	return p, nil
}

// enterNow takes the place if it is free.
func (p place) enterNow() bool {
	select {
	case p.of.places <- struct{}{}:
	default:
		return false
	}
	select {
	case p.admission.places <- struct{}{}:
		return true
	default:
		<-p.of.places
		return false
	}
}

// wait waits for the place: for one of the caller's first, as those who have one
// of all are not to wait for anything.
func (p place) wait(ctx context.Context) error {
	select {
	case p.of.places <- struct{}{}:
	case <-ctx.Done():
		return tookTooLong(ctx)
	}
	select {
	case p.admission.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-p.of.places
		return tookTooLong(ctx)
	}
}

func tookTooLong(ctx context.Context) error {
	return &models.Error{Code: models.CodeTimeout, Message: "The answer took too long.", Err: context.Cause(ctx)}
}

// visit is what is known of one request.
type visit struct {
	admitted bool // it has had a place already
	held     bool // it has found no room once
	refused  bool // it got none
	known    bool // it has shown a token
}

type visitKey struct{}

// door makes the middleware that holds requests while as many wait as may, and
// refuses those for which there is no room after that. It stands before everything
// that costs: the time limit, the compression, the token and the body.
func (a *admission) door(refuse refuse) func(http.Handler) http.Handler {
	refuse = unread(refuse)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !a.hasRoom(r.Context(), a.full) {
				refuse(w, r, a.refusal(r.Context()))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// admit makes the middleware for a handler that runs one document: it takes a
// place once the request has arrived, and gives it back when the answer begins.
func (a *admission) admit(maxBody int64, refuse refuse) func(http.Handler) http.Handler {
	arriving := newCallerBytes(max(mostArriving, 2*maxBody))
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			by := callerOf(r.Context())
			body := readAhead(r.Body, maxBody, func(n int64) bool { return arriving.add(by, n) })
			leave := sync.OnceFunc(func() { arriving.add(by, -body.size) })
			defer func() { leave() }()
			if body.tooMuch {
				unread(refuse)(w, r, a.refusal(r.Context()))
				return
			}
			r.Body = body
			place, err := a.enter(r.Context())
			if err != nil {
				refuse(w, r, err)
				return
			}
			arrived := leave
			leave = sync.OnceFunc(func() { place.leave(); arrived() })
			next.ServeHTTP(&headerWriter{w, leave}, r.WithContext(place.context(r.Context())))
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
// place of its own.
type admittedExecutor struct {
	rest.Executor
	admission *admission
}

// ExecuteOwn waits for a place and runs the document. Only the first document of
// a request can be refused: a stream that has begun would be cut otherwise, and
// the work that was done for it lost.
func (x admittedExecutor) ExecuteOwn(ctx context.Context, request graph.Request) graph.Response {
	enter := x.admission.enter
	visit, ok := ctx.Value(visitKey{}).(*visit)
	if ok && visit.admitted {
		enter = x.admission.enterPatiently
	}
	place, err := enter(ctx)
	if err != nil {
		failure := models.AsError(err)
		return graph.Response{Errors: gqlerror.List{{Message: failure.Message, Extensions: map[string]any{"code": string(failure.Code)}}}}
	}
	defer place.leave()
	if ok {
		visit.admitted = true
	}
	return x.Executor.ExecuteOwn(place.context(ctx), request)
}
