package rest

import (
	"net/http"

	"github.com/go-chi/cors"
)

// CORS lets scripts of these origins use the APIs from a browser; "*" is any origin, and
// an empty list none. Callers identify themselves by a token that a script must have,
// never by a cookie, so credentials stay off. It wraps everything else, as a preflight
// carries no token.
func CORS(origins []string) func(http.Handler) http.Handler {
	if len(origins) == 0 { // which the library takes for any origin
		return func(next http.Handler) http.Handler { return next }
	}
	return cors.Handler(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions},
		AllowedHeaders: []string{"Authorization", "Content-Type", "If-None-Match", "X-Request-Id", "X-Roster-Cost", "X-Roster-Fresh", companyHeader},
		ExposedHeaders: []string{"ETag", "Deprecation", "Link", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate", "X-Request-Id"},
		MaxAge:         600,
	})
}
