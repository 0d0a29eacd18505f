package graphiql_test

import (
	"bytes"
	"compress/gzip"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/graphiql"
)

const policy = "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// get asks a handler for a path the way the documented mount does, and returns
// the answer with its body read.
func get(t *testing.T, page graphiql.Page, method, target, acceptEncoding string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/graphiql"+target, nil)
	if acceptEncoding != "" {
		r.Header.Set("Accept-Encoding", acceptEncoding)
	}
	w := httptest.NewRecorder()
	http.StripPrefix("/graphiql", graphiql.Handler(page)).ServeHTTP(w, r)
	res := w.Result()
	t.Cleanup(func() { _ = res.Body.Close() })
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

// files lists the embedded files by the path they are served at.
func files(t *testing.T) []string {
	t.Helper()
	var names []string
	dist := os.DirFS("dist")
	err := fs.WalkDir(dist, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && name != "index.html" {
			names = append(names, "/"+strings.TrimSuffix(name, ".gz"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestPageHeaders(t *testing.T) {
	tests := []struct {
		name    string
		page    graphiql.Page
		caching string
	}{
		{"Plain", graphiql.Page{Endpoint: "/graphql", Query: "{ viewer { subject } }"}, "no-cache"},
		{"WithHeaders", graphiql.Page{Headers: `{"Authorization":"Bearer t"}`}, "no-store"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			res, body := get(t, test.page, http.MethodGet, "/", "gzip")
			want := http.Header{
				"Cache-Control":           {test.caching},
				"Content-Length":          {strconv.Itoa(len(body))},
				"Content-Security-Policy": {policy},
				"Content-Type":            {"text/html; charset=utf-8"},
				"Referrer-Policy":         {"no-referrer"},
				"X-Content-Type-Options":  {"nosniff"},
			}
			if diff := cmp.Diff(want, res.Header); res.StatusCode != http.StatusOK || diff != "" {
				t.Errorf("status %d, headers (-want +got):\n%s", res.StatusCode, diff)
			}
			if !bytes.Contains(body, []byte("<title>Roster GraphiQL</title>")) {
				t.Errorf("no title in %s", body)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	types := map[string]string{
		".css": "text/css; charset=utf-8",
		".js":  "text/javascript; charset=utf-8",
		".md":  "text/markdown; charset=utf-8",
		".ttf": "font/ttf",
	}
	names := files(t)
	if len(names) < 10 {
		t.Fatalf("only %d files are embedded: %v", len(names), names)
	}
	for _, name := range names {
		t.Run(path.Base(name), func(t *testing.T) {
			caching := "public, max-age=31536000, immutable"
			if name == "/LICENSES.md" {
				caching = "no-cache"
			}
			compressed, asStored := get(t, graphiql.Page{}, http.MethodGet, name, "br, gzip")
			plain, body := get(t, graphiql.Page{}, http.MethodGet, name, "")
			if compressed.StatusCode != http.StatusOK || plain.StatusCode != http.StatusOK {
				t.Fatalf("status %d and %d", compressed.StatusCode, plain.StatusCode)
			}

			want := http.Header{
				"Cache-Control":           {caching},
				"Content-Encoding":        {"gzip"},
				"Content-Length":          {strconv.Itoa(len(asStored))},
				"Content-Security-Policy": {policy},
				"Content-Type":            {types[path.Ext(name)]},
				"Referrer-Policy":         {"no-referrer"},
				"Vary":                    {"Accept-Encoding"},
				"X-Content-Type-Options":  {"nosniff"},
			}
			if diff := cmp.Diff(want, compressed.Header); diff != "" {
				t.Errorf("gzip headers (-want +got):\n%s", diff)
			}
			want.Del("Content-Encoding")
			want.Set("Content-Length", strconv.Itoa(len(body)))
			if diff := cmp.Diff(want, plain.Header); diff != "" {
				t.Errorf("identity headers (-want +got):\n%s", diff)
			}

			unzip, err := gzip.NewReader(bytes.NewReader(asStored))
			if err != nil {
				t.Fatal(err)
			}
			unzipped, err := io.ReadAll(unzip)
			if err != nil {
				t.Fatal(err)
			}
			if len(body) == 0 || !bytes.Equal(unzipped, body) {
				t.Errorf("%d bytes compressed and %d plain are not the same content", len(unzipped), len(body))
			}
		})
	}
}

// Vite lists packages; the build adds what is no package.
func TestLicensesOfWhatVitePassesOver(t *testing.T) {
	_, body := get(t, graphiql.Page{}, http.MethodGet, "/LICENSES.md", "")
	for _, want := range []string{
		"\n## Roboto 2.137 (Apache-2.0)\n",
		"Copyright 2011 Google Inc.",
		"\n## Fira Code 5.002 (OFL-1.1)\n",
		"Copyright 2014-2020 The Fira Code Project Authors",
		"\n## Third-party code within monaco-editor\n",
	} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestAcceptEncoding(t *testing.T) {
	tests := map[string]bool{
		"":                         false,
		"identity":                 false,
		"br, zstd":                 false,
		"gzip":                     true,
		"deflate, GZIP;q=0.1":      true,
		"x-gzip":                   true,
		"*":                        true,
		"*;q=0":                    false,
		"gzip;q=0":                 false,
		"gzip; q=0.000, *":         false,
		"*, gzip ; Q=0":            false,
		"*;q=0, gzip;q=1":          true,
		"gzip;q=none":              false,
		"gzipped":                  false,
		"identity;q=1, *;q=0.5":    true,
		"gzip, deflate, br, zstd":  true,
		",, gzip":                  true,
		"identity; q=0.5, br;q=.1": false,
	}
	for accept, want := range tests {
		t.Run(accept, func(t *testing.T) {
			res, _ := get(t, graphiql.Page{}, http.MethodGet, "/LICENSES.md", accept)
			if got := res.Header.Get("Content-Encoding") == "gzip"; got != want {
				t.Errorf("gzip = %v, want %v", got, want)
			}
		})
	}
}

func TestNotFound(t *testing.T) {
	for _, target := range []string{
		"", "/assets", "/assets/", "/assets/none.js", "/index.html", "/LICENSES.md.gz",
		"/../graphiql.go", "/assets/../LICENSES.md", "//LICENSES.md",
	} {
		t.Run(target, func(t *testing.T) {
			res, _ := get(t, graphiql.Page{}, http.MethodGet, target, "gzip")
			if res.StatusCode != http.StatusNotFound {
				t.Errorf("status %d", res.StatusCode)
			}
			if got := res.Header.Get("Content-Security-Policy"); got != policy {
				t.Errorf("policy %q", got)
			}
			if got := res.Header.Get("Cache-Control"); got != "no-cache" {
				t.Errorf("Cache-Control %q", got)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	for _, target := range []string{"/", "/LICENSES.md"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			res, _ := get(t, graphiql.Page{}, method, target, "")
			if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: status %d, Allow %q", method, target, res.StatusCode, res.Header.Get("Allow"))
			}
		}
	}
}

func TestHead(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/graphiql/", http.StripPrefix("/graphiql", graphiql.Handler(graphiql.Page{})))
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, target := range []string{"/graphiql/", "/graphiql/LICENSES.md", "/graphiql"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, server.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || len(body) != 0 || res.ContentLength <= 0 {
			t.Errorf("%s: status %d, length %d, %d bytes, error %v", target, res.StatusCode, res.ContentLength, len(body), err)
		}
	}
}

// nowhere is where an answer goes that nobody keeps.
type nowhere struct {
	header http.Header
	bytes  int
}

func (w *nowhere) Header() http.Header { return w.header }

func (w *nowhere) WriteHeader(int) {}

func (w *nowhere) Write(p []byte) (int, error) {
	w.bytes += len(p)
	return len(p), nil
}

// Clients of a file, however many they are, share it, packed or not.
func TestFilesAreShared(t *testing.T) {
	scripts, err := filepath.Glob("dist/assets/monaco-editor-*.js.gz")
	if len(scripts) != 1 {
		t.Fatal(scripts, err)
	}
	handler := graphiql.Handler(graphiql.Page{})
	for _, encoding := range []string{"gzip", "identity"} {
		request := httptest.NewRequest(http.MethodGet, strings.TrimSuffix(strings.TrimPrefix(scripts[0], "dist"), ".gz"), nil)
		request.Header.Set("Accept-Encoding", encoding)
		send := func() int {
			w := &nowhere{header: http.Header{}}
			handler.ServeHTTP(w, request)
			return w.bytes
		}
		size := send()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 10 {
			send()
		}
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; size < 500_000 || taken > uint64(size)/10 {
			t.Errorf("%s: a file of %d bytes takes %d more for 10 requests", encoding, size, taken)
		}
	}
}

func TestDataAttributes(t *testing.T) {
	const nasty = "\"'`><&amp;</div><script>alert(1)</script>\n\ttab {{.Query}} ${x} é \U0001F642 \\ end"
	want := graphiql.Page{
		Endpoint: "/graphql?" + nasty,
		Query:    "# query\n" + nasty,
		Headers:  `{"Authorization":"Bearer a+b/c=="}` + nasty,
	}
	_, body := get(t, want, http.MethodGet, "/", "")

	attribute := func(name string) string {
		found := regexp.MustCompile(name+`="([^"]*)"`).FindAllSubmatch(body, -1)
		if len(found) != 1 {
			t.Fatalf("%s occurs %d times in %s", name, len(found), body)
		}
		return html.UnescapeString(string(found[0][1]))
	}
	got := graphiql.Page{
		Endpoint: attribute("data-endpoint"),
		Query:    attribute("data-query"),
		Headers:  attribute("data-headers"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	if n := bytes.Count(body, []byte("<script")); n != 1 {
		t.Errorf("%d script elements", n)
	}
}

func TestReferences(t *testing.T) {
	_, body := get(t, graphiql.Page{Endpoint: "/graphql"}, http.MethodGet, "/", "")
	references := regexp.MustCompile(`\b(?:src|href)="([^"]*)"`).FindAllSubmatch(body, -1)
	if len(references) < 3 {
		t.Fatalf("only %d references in %s", len(references), body)
	}
	for _, reference := range references {
		target := string(reference[1])
		if target == "data:," {
			continue
		}
		name, relative := strings.CutPrefix(target, "./assets/")
		if !relative {
			t.Errorf("%s is no asset of this page", target)
			continue
		}
		if res, _ := get(t, graphiql.Page{}, http.MethodGet, "/assets/"+name, "gzip"); res.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", target, res.StatusCode)
		}
	}
	for _, inline := range []string{"<style", "javascript:", " onload", "http-equiv"} {
		if bytes.Contains(body, []byte(inline)) {
			t.Errorf("the page holds %q", inline)
		}
	}
	if regexp.MustCompile(`<script[^>]*>[^<]`).Match(body) {
		t.Error("the page holds an inline script")
	}
}
