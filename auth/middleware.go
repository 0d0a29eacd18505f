package auth

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"roster/models"
)

// retryAfter is what a client is told to wait while no keys are loaded, in seconds.
const retryAfter = "5"

const noTokenMessage = "This needs a bearer token: send it in the header Authorization: Bearer TOKEN."

var errNoToken = errors.New("no bearer token was sent")

// Middleware verifies the bearer token of every request and puts the
// [Principal] into the request's context. Otherwise refuse answers, because each
// surface has its own form of errors; err is a *models.Error of CodeUnauthenticated
// (401) or CodeUnavailable (503). The headers are set before: WWW-Authenticate
// is `Bearer` alone when no token was sent and `Bearer error="invalid_token"`
// when one was refused (RFC 6750, section 3); Retry-After comes with a 503. The
// reason is logged and in the error's cause, and must not be sent.
//
// The token is read from one Authorization header only (RFC 6750, section 2.1),
// never from the query string or a form, whose values end up in logs.
func (v *Verifier) Middleware(refuse func(w http.ResponseWriter, r *http.Request, err error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			principal, err := v.authenticate(r)
			if err != nil {
				v.challenge(w, r, err)
				refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(WithPrincipal(r.Context(), principal)))
		})
	}
}

func (v *Verifier) authenticate(r *http.Request) (*Principal, error) {
	token, err := bearerToken(r.Header)
	if err != nil {
		return nil, err
	}
	return v.Verify(r.Context(), token)
}

// bearerToken takes the token from the headers. Its scheme is compared without
// regard to case (RFC 9110, section 11.1). Another scheme counts as no token.
func bearerToken(header http.Header) (string, error) {
	values := header.Values("Authorization")
	if len(values) > 1 {
		return "", refused(errors.New("more than one Authorization header"))
	}
	if len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimLeft(token, " "), nil
		}
	}
	return "", &models.Error{Code: models.CodeUnauthenticated, Message: noTokenMessage, Err: errNoToken}
}

func (v *Verifier) challenge(w http.ResponseWriter, r *http.Request, err error) {
	reason := slog.Group("", "requestId", w.Header().Get("X-Request-Id"), "reason", errors.Unwrap(err))
	switch {
	case models.AsError(err).Code == models.CodeUnavailable:
		w.Header().Set("Retry-After", retryAfter)
		v.log.WarnContext(r.Context(), "a token could not be verified", reason)
	case errors.Is(err, errNoToken):
		w.Header().Set("WWW-Authenticate", "Bearer")
	default:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		v.log.InfoContext(r.Context(), "a token was refused", reason)
	}
}
