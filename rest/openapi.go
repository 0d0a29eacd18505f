package rest

import (
	_ "embed"
	"maps"
	"net/http"
)

// openAPI describes both APIs. It is written by hand from the two reference
// documents; tests hold it against the routes, the parameters and every answer
// of every other test.
//
//go:embed openapi.json
var openAPI []byte

// OpenAPI serves the description of both APIs in the form of OpenAPI 3.1. It
// belongs at /openapi.json and is open to everybody.
func OpenAPI() http.Handler { return page(jsonType, openAPI, nil) }

// page serves a file of this package, which can change only with the program.
func page(contentType string, body []byte, header http.Header) http.Handler {
	return Compress(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), header)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Only GET and HEAD are allowed here.", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		writeTagged(w, contentType, body)
	}))
}
