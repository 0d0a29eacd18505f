package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"roster/graph"
	"roster/models"
)

// The prefixes under which the two documents have their endpoints. Everything
// below a prefix belongs to its API.
const (
	WorthPrefix     = "/auth/api/v1/"
	TestiniumPrefix = "/account/api/v1/"
)

// Credentials gives the two secrets that the Testinium document shows.
type Credentials interface {
	// LegacyCredentialsByUser gives the secrets of each of these users that the
	// scope reaches. A user without any has no entry.
	LegacyCredentialsByUser(ctx context.Context, scope models.Scope, userIDs []models.ID) (map[models.ID]*models.LegacyCredentials, error)
}

// Guard makes middleware that lets requests pass or answers them by calling refuse.
type Guard func(refuse func(http.ResponseWriter, *http.Request, error)) func(http.Handler) http.Handler

// Config is what the two APIs need.
type Config struct {
	Executor Executor
	// Admit refuses requests when there is too much to do. It comes first, but for
	// OPTIONS, as refusing has to cost next to nothing then. Nil lets all requests in.
	Admit Guard
	// Authenticate finds out who calls.
	Authenticate Guard
	Log          *slog.Logger

	// Credentials is nil unless the operator turned --legacy-credentials on.
	Credentials Credentials
	// Timeout bounds each stored document, not the request: Testinium's list is
	// streamed and may take as long as its reader. Zero is no bound.
	Timeout time.Duration
	// DeprecatedSince is announced in the header Deprecation (RFC 9745). Zero is
	// no announcement.
	DeprecatedSince time.Time
}

// API is one of the two legacy APIs, whole: its routes, its envelope for errors
// and the manners of its answers. It expects to be mounted at its prefix.
type API struct {
	log                  *slog.Logger
	prefix               string
	routes               []route
	status               func(models.Code) status
	notFoundName         string // the name of the error for an address that leads nowhere
	methodNotAllowedName string // the name of the error for a method that is not allowed

	envelope      func(*refusal) any
	commonHeaders http.Header
	handler       http.Handler
}

// route is one endpoint of an API.
type route struct {
	// pattern is the path below the prefix; {name} stands for one segment.
	pattern string
	serve   func(w http.ResponseWriter, r *http.Request, path []string) error
	// names are the words that this endpoint has for a code in place of the table's.
	names map[models.Code]string
}

// allowed are the methods of every endpoint: both documents only read.
const allowed = "GET, HEAD, OPTIONS"

// start completes an API: who calls is asked before anything is done for a
// request, and every answer has the same manners.
func (a *API) start(config Config) *API {
	a.log = config.Log
	a.commonHeaders = notices(config.DeprecatedSince)
	authenticated := config.Authenticate(a.Refuse)(http.HandlerFunc(a.dispatch))
	a.handler = Compress(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer a.recover(w.(*compressWriter), r)
		authenticated.ServeHTTP(w, r)
	}))
	if config.Admit != nil {
		a.handler = config.Admit(a.Refuse)(a.handler)
	}
	return a
}

// ServeHTTP answers a request below the API's prefix. Like http.ServeMux it
// leaves the route in r.Pattern, for the log.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Pattern = a.prefix
	if route, _ := a.match(r.URL); route != nil {
		r.Pattern += route.pattern
	}
	maps.Copy(w.Header(), a.commonHeaders)
	if r.Method == http.MethodOptions {
		Compress(http.HandlerFunc(a.options)).ServeHTTP(w, r) // for the Vary of its error
		return
	}
	a.handler.ServeHTTP(w, r)
}

// Front sends what lies below the prefix of an API to it, and everything else to
// next. It stands before http.ServeMux, which would answer a path with ".." or
// "//" with a redirect, and not with an error in the API's own envelope.
func Front(next http.Handler, apis ...*API) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, api := range apis {
			if strings.HasPrefix(r.URL.Path, api.prefix) {
				api.ServeHTTP(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// dispatch finds the endpoint that a request is for.
func (a *API) dispatch(w http.ResponseWriter, r *http.Request) {
	route, path := a.match(r.URL)
	switch {
	case route == nil:
		a.Refuse(w, r, &refusal{http.StatusNotFound, a.notFoundName, "There is nothing at this address."})
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", allowed)
		a.Refuse(w, r, &refusal{http.StatusMethodNotAllowed, a.methodNotAllowedName, "Only " + allowed + " are allowed here."})
	default:
		if err := route.serve(w, r, path); err != nil {
			a.Refuse(w, r, a.named(route, err))
		}
	}
}

// recover answers a panic like any other failure on this side, unless the answer
// has begun; then it is cut. The panic's value stays out of the log, as it may
// hold anything.
func (a *API) recover(w *compressWriter, r *http.Request) {
	value := recover()
	if value == nil {
		return
	}
	if value != http.ErrAbortHandler { //nolint:errorlint // the documented sentinel, compared as net/http does
		a.log.ErrorContext(r.Context(), "panic", "requestId", requestID(r), "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
	}
	if value == http.ErrAbortHandler || w.decided { //nolint:errorlint // as above
		panic(http.ErrAbortHandler)
	}
	a.Refuse(w, r, &models.Error{Code: models.CodeInternal})
}

// options tells which methods there are. It needs no token: browsers ask without one.
func (a *API) options(w http.ResponseWriter, r *http.Request) {
	if route, _ := a.match(r.URL); route == nil {
		a.Refuse(w, r, &refusal{http.StatusNotFound, a.notFoundName, "There is nothing at this address."})
		return
	}
	w.Header().Set("Allow", allowed)
	w.WriteHeader(http.StatusNoContent)
}

// named gives a failure the word that its endpoint has for it.
func (a *API) named(route *route, err error) error {
	if _, ok := errors.AsType[*refusal](err); ok {
		return err // it has its word already
	}
	name, ok := route.names[models.AsError(err).Code]
	if !ok {
		return err
	}
	refused := a.refusal(err)
	refused.name = name
	return refused
}

// match finds the endpoint of a path and the values of its placeholders. A path
// is never cleaned: one with "." or ".." or an empty segment leads nowhere or
// gives an id that is none.
func (a *API) match(url *url.URL) (*route, []string) {
	path, ok := strings.CutPrefix(url.EscapedPath(), a.prefix)
	if !ok {
		return nil, nil
	}
	segments := strings.Split(path, "/")
	for i := range a.routes {
		if values, ok := matches(a.routes[i].pattern, segments); ok {
			return &a.routes[i], values
		}
	}
	return nil, nil
}

func matches(pattern string, segments []string) (values []string, ok bool) {
	wanted := strings.Split(pattern, "/")
	if len(wanted) != len(segments) {
		return nil, false
	}
	for i, segment := range segments {
		segment, err := url.PathUnescape(segment)
		switch {
		case err != nil:
			return nil, false
		case !strings.HasPrefix(wanted[i], "{"):
			if segment != wanted[i] {
				return nil, false
			}
		case segment == "":
			return nil, false
		default:
			values = append(values, segment)
		}
	}
	return values, true
}

// notices are the headers of every answer. What is read here is one caller's
// own, so only that caller may keep it, and only asks again before using it.
func notices(deprecatedSince time.Time) http.Header {
	header := http.Header{
		"Cache-Control":          {"private, no-cache"},
		"X-Content-Type-Options": {"nosniff"},
	}
	if !deprecatedSince.IsZero() {
		// RFC 9745, section 2.1: a date of structured fields (RFC 9651, section 3.3.7).
		header.Set("Deprecation", "@"+strconv.FormatInt(deprecatedSince.Unix(), 10))
		header["Link"] = []string{
			`</graphql>; rel="successor-version"`,
			`</docs/>; rel="deprecation"; type="text/html"`,
		}
	}
	return header
}

func requestID(r *http.Request) string { return graph.RequestID(r.Context()) }
