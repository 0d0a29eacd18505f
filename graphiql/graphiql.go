// Package graphiql serves GraphiQL, an editor for GraphQL queries, as a page
// that needs nothing but this server: scripts, styles, fonts and workers are
// embedded in the binary and no request leaves for another host.
//
// The directory web holds the page's sources, dist the result of building
// them. See README.md for how to rebuild it.
package graphiql

import (
	"bytes"
	"compress/gzip"
	"embed"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// contentSecurityPolicy allows what the page needs and nothing else. Monaco,
// the editor inside GraphiQL, lays itself out with inline styles; scripts have
// no such exception.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; " +
	"style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// contentTypes is a table of our own because mime.TypeByExtension also asks
// the host, and together with nosniff a wrong answer would stop the scripts.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".md":   "text/markdown; charset=utf-8",
	".svg":  "image/svg+xml",
	".ttf":  "font/ttf",
}

// The prefix all: keeps files whose names start with an underscore, which the
// build may produce and go:embed would leave out silently.
//
//go:embed all:dist
var dist embed.FS

var index = template.Must(template.ParseFS(dist, "dist/index.html"))

// Page is what the page starts with. The zero value of Query and Headers
// leaves that part of the page to GraphiQL and to what the browser remembers
// of an earlier visit.
type Page struct {
	// Endpoint is the address of the GraphQL API, on the same origin as the
	// page: the page's policy refuses to connect elsewhere.
	Endpoint string
	// Query is the text in the query editor. It takes the place of the tabs
	// that the browser remembers.
	Query string
	// Headers is the text of the Headers tab: a JSON object of request
	// headers, sent with every request, that for the schema included.
	// Everyone who can load the page can read them.
	Headers string
}

// Handler serves the page at "/" and the files that it loads below "/assets/".
// Mount it below a prefix that ends in a slash, as the page's own references
// are relative:
//
//	mux.Handle("/graphiql/", http.StripPrefix("/graphiql", graphiql.Handler(page)))
//
// The mux then also redirects /graphiql to /graphiql/. The handler takes GET
// and HEAD and sets its own caching, compression and security headers.
func Handler(page Page) http.Handler {
	var html bytes.Buffer
	if err := index.Execute(&html, page); err != nil {
		// Neither the embedded template nor a struct of strings can fail.
		panic(err)
	}
	caching := "no-cache"
	if page.Headers != "" {
		// The headers may hold a token, which must not outlive the visit.
		caching = "no-store"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setSecurityHeaders(w.Header())
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		if r.URL.Path != "/" {
			serveFile(w, r, strings.TrimPrefix(r.URL.Path, "/"))
			return
		}
		w.Header().Set("Cache-Control", caching)
		write(w, ".html", html.Bytes())
	})
}

func setSecurityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// serveFile serves an embedded file, which is stored compressed under its name
// and ".gz". Almost every client takes it as it is.
func serveFile(w http.ResponseWriter, r *http.Request, name string) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	file, ok := files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	body := file.unpacked
	h.Set("Vary", "Accept-Encoding")
	if acceptsGzip(r.Header.Values("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = file.packed
	}
	if strings.HasPrefix(name, "assets/") {
		// The name holds a hash of the content.
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	write(w, path.Ext(name), body())
}

// write sends a body, which it does not copy: clients may be many, and slow.
func write(w http.ResponseWriter, ext string, body []byte) {
	w.Header().Set("Content-Type", contentTypes[ext])
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client is gone: there is nobody to tell
}

// file gives the bytes of an embedded file, as it is stored and unpacked. It reads
// them when they are asked for, once for all who ask.
type file struct{ packed, unpacked func() []byte }

// files are those that are served, by name.
var files = func() map[string]file {
	files := map[string]file{}
	err := fs.WalkDir(dist, "dist", func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(strings.TrimPrefix(path, "dist/"), ".gz"); ok {
			packed := sync.OnceValue(func() []byte { return read(path) })
			files[name] = file{packed, sync.OnceValue(func() []byte { return gunzip(packed()) })}
		}
		return err
	})
	if err != nil {
		panic(err) // what is embedded can be read
	}
	return files
}()

// read gives an embedded file, which cannot fail.
func read(path string) []byte {
	data, err := dist.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return data
}

// gunzip unpacks an embedded file, which cannot fail.
func gunzip(packed []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	return body
}

// acceptsGzip reports whether the values of Accept-Encoding allow gzip. An
// entry for gzip goes before one for any encoding, and a quality of zero is a
// refusal (RFC 9110, section 12.5.3).
func acceptsGzip(values []string) bool {
	accepted := false
	for entry := range strings.SplitSeq(strings.Join(values, ","), ",") {
		coding, params, _ := strings.Cut(entry, ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		switch coding {
		case "gzip", "x-gzip":
			return !refused(params)
		case "*":
			accepted = !refused(params)
		}
	}
	return accepted
}

// refused reports whether the parameters of an entry hold a quality of zero,
// or one that is no number.
func refused(params string) bool {
	key, value, found := strings.Cut(strings.ToLower(params), "=")
	if !found || strings.TrimSpace(key) != "q" {
		return false
	}
	quality, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return err != nil || quality <= 0
}
