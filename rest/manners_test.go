package rest_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
	"roster/rest"
)

// filled is a server with generated users and the first customer of them.
func filled(t *testing.T, users int, change func(*rest.Config)) (*server, *dbtest.Data) {
	t.Helper()
	database := dbtest.Open(t, db.SQLite)
	data := dbtest.Users(users, 1)
	dbtest.Fill(t, database, data)
	config := configFor(database)
	if change != nil {
		change(&config)
	}
	return serve(t, config), data
}

// addresses are one of each endpoint, all of which answer 200 for the first customer.
func addresses(data *dbtest.Data) []string {
	customer := data.Customers[0]
	user := data.UsersOf(customer.ID)[0]
	one := testiniumUsers(customer.Number) + strconv.FormatInt(user.Number, 10)
	return []string{
		worthUsers(customer.ID, ""), worthUsers(customer.ID, "/"+string(user.ID)),
		testiniumUsers(customer.Number), one,
	}
}

func TestMethods(t *testing.T) {
	s, data := filled(t, 30, nil)
	for _, path := range addresses(data) {
		t.Run(path, func(t *testing.T) {
			get := s.get(t, path)
			head := s.do(t, http.MethodHead, path)
			if get.status != http.StatusOK || head.status != http.StatusOK || head.body != "" {
				t.Fatalf("GET %s, HEAD %s", get, head)
			}
			for _, name := range []string{"ETag", "Content-Type", "Cache-Control", "Vary"} {
				if diff := cmp.Diff(get.header[name], head.header[name]); diff != "" {
					t.Errorf("%s (-GET +HEAD):\n%s", name, diff)
				}
			}
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "PURGE"} {
				got := s.do(t, method, path)
				if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD, OPTIONS" {
					t.Errorf("%s: %s, Allow %q", method, got, got.header.Get("Allow"))
				}
			}
			options := s.do(t, http.MethodOptions, path, as(""))
			if options.status != http.StatusNoContent || options.header.Get("Allow") != "GET, HEAD, OPTIONS" || options.body != "" {
				t.Errorf("OPTIONS: %s", options)
			}
		})
	}
}

func TestConditionalRequests(t *testing.T) {
	s, data := filled(t, 60, nil)
	for _, path := range addresses(data) {
		if strings.HasSuffix(path, "/users/") {
			continue // a streamed list has no tag
		}
		for _, coding := range []string{"identity", "gzip", "zstd"} {
			t.Run(coding+path, func(t *testing.T) {
				first := s.get(t, path, accepting("identity"))
				tag := tagFor(t, s, path, coding)
				if coding != "identity" && len(first.body) > 1_400 == (tag == first.header.Get("ETag")) {
					t.Errorf("%d bytes have the tag %s uncompressed and %s in %s", len(first.body), first.header.Get("ETag"), tag, coding)
				}
				for _, known := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
					for _, method := range []string{http.MethodGet, http.MethodHead} {
						got := s.do(t, method, path, accepting(coding), header{"If-None-Match", known})
						if got.status != http.StatusNotModified || got.header.Get("ETag") != tag {
							t.Errorf("%s with %s: %d, tag %s", method, known, got.status, got.header.Get("ETag"))
						}
					}
				}
				got := s.get(t, path, accepting("identity"), header{"If-None-Match", `"other"`})
				if diff := cmp.Diff(first.String(), got.String()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func tagFor(t *testing.T, s *server, path, coding string) string {
	t.Helper()
	head := s.do(t, http.MethodHead, path, accepting(coding))
	tag := head.header.Get("ETag")
	if len(tag) < 10 || !strings.HasPrefix(tag, `"`) {
		t.Fatalf("tag %q", tag)
	}
	return tag
}

// A tag goes with the data: what another user of the list changes, it changes.
func TestTagChangesWithTheData(t *testing.T) {
	s, data := filled(t, 60, nil)
	customer := data.Customers[0].ID
	seen := map[string]string{}
	for _, query := range []string{"", "?page=2", "?status=ACTIVE", "?sort=email"} {
		tag := tagFor(t, s, worthUsers(customer, query), "identity")
		if other, ok := seen[tag]; ok {
			t.Errorf("%q and %q have the same tag", query, other)
		}
		seen[tag] = query
	}
}

func TestCompression(t *testing.T) {
	s, data := filled(t, 2_500, nil)
	for _, path := range []string{addresses(data)[0], addresses(data)[2]} {
		plain := s.get(t, path)
		for accept, want := range map[string]string{
			"gzip": "gzip", "zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "gzip;q=1.0, zstd;q=0.5": "gzip", "zstd;q=0, *": "gzip", "GZIP ; Q=0.1": "gzip",
			"": "", "br": "", "gzip;q=0": "", "gzip;\tq=0": "", "*;q=0": "", "gzip;q=x": "",
		} {
			t.Run(accept, func(t *testing.T) {
				request := s.request(t, http.MethodGet, path)
				request.Header["Accept-Encoding"] = []string{accept} // also stops the client from asking for gzip itself
				answer, err := s.Client().Do(request)
				if err != nil {
					t.Fatal(err)
				}
				raw, err := readBody(answer)
				if err != nil {
					t.Fatal(err)
				}
				if got := answer.Header.Get("Content-Encoding"); got != want {
					t.Fatalf("coding %q, want %q", got, want)
				}
				if got := answer.Header.Values("Vary"); !cmp.Equal(got, []string{"Accept-Encoding"}) {
					t.Errorf("Vary %q", got)
				}
				if diff := cmp.Diff(plain.body, decompress(t, want, raw)); diff != "" {
					t.Error("the body differs")
				}
				if want != "" && len(raw) > len(plain.body)/3 {
					t.Errorf("%d of %d bytes are left", len(raw), len(plain.body))
				}
			})
		}
	}
}

func decompress(t *testing.T, coding string, raw []byte) string {
	t.Helper()
	plain, err := tryDecompress(coding, raw)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func tryDecompress(coding string, raw []byte) (string, error) {
	var reader io.Reader = bytes.NewReader(raw)
	var err error
	switch coding {
	case "gzip":
		reader, err = gzip.NewReader(reader)
	case "zstd":
		reader, err = zstd.NewReader(reader)
	}
	if err != nil {
		return "", err
	}
	plain, err := io.ReadAll(reader)
	return string(plain), err
}

// Whatever the answer is, only its caller may keep it, and the deprecation is announced.
func TestHeadersOfEveryAnswer(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s, data := filled(t, 10, func(config *rest.Config) { config.DeprecatedSince = since })
	all := addresses(data)
	for _, test := range []struct {
		method, path string
		headers      []header
		status       int
	}{
		{http.MethodGet, all[0], nil, 200}, {http.MethodGet, all[1], nil, 200}, {http.MethodGet, all[2], nil, 200}, {http.MethodGet, all[3], nil, 200},
		{http.MethodHead, all[2], nil, 200},
		{http.MethodGet, all[0], []header{{"If-None-Match", "*"}}, 304},
		{http.MethodGet, all[0] + "?page=0", nil, 400}, {http.MethodGet, all[2], []header{company("")}, 400},
		{http.MethodGet, all[0], []header{as("")}, 401}, {http.MethodGet, all[2], []header{as("")}, 401}, {http.MethodGet, rest.WorthPrefix, []header{as("")}, 401},
		{http.MethodGet, rest.WorthPrefix + "x", nil, 404}, {http.MethodGet, rest.TestiniumPrefix + "x", nil, 404}, {http.MethodGet, worthUsers(sandbox, ""), nil, 404},
		{http.MethodPost, all[0], nil, 405}, {http.MethodPost, all[2], nil, 405},
	} {
		got := s.do(t, test.method, test.path, test.headers...)
		if got.status != test.status {
			t.Errorf("%s %s: %s, want %d", test.method, test.path, got, test.status)
		}
		for name, want := range map[string][]string{
			"Cache-Control":          {"private, no-cache"},
			"Vary":                   {"Accept-Encoding"},
			"X-Content-Type-Options": {"nosniff"},
			"Deprecation":            {"@1767323045"},
			"Link":                   {`</graphql>; rel="successor-version"`, `</docs/>; rel="deprecation"; type="text/html"`},
		} {
			if diff := cmp.Diff(want, got.header[name]); diff != "" {
				t.Errorf("%s %s, %s: %s", test.method, test.path, name, diff)
			}
		}
	}
}

func TestNoDeprecationWithoutADate(t *testing.T) {
	s, data := filled(t, 10, nil)
	got := s.get(t, addresses(data)[0])
	for _, name := range []string{"Deprecation", "Link"} {
		if values, ok := got.header[name]; ok {
			t.Errorf("%s: %q", name, values)
		}
	}
}

func TestCORS(t *testing.T) {
	config := configFor(nil)
	config.Executor = failing{models.CodeNotFound}
	s := httptest.NewServer(rest.CORS([]string{"https://app.example.com"})(handler(config)))
	defer s.Close()
	ask := func(method, origin string, headers ...header) http.Header {
		request, err := http.NewRequestWithContext(t.Context(), method, s.URL+testiniumUsers(1), nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", origin)
		for _, h := range headers {
			request.Header.Set(h.name, h.value)
		}
		answer, err := s.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readBody(answer); err != nil {
			t.Fatal(err)
		}
		return answer.Header
	}
	preflight := []header{{"Access-Control-Request-Method", "GET"}, {"Access-Control-Request-Headers", "authorization,current-company-id,if-none-match"}}
	allowed := ask(http.MethodOptions, "https://app.example.com", preflight...)
	if allowed.Get("Access-Control-Allow-Origin") != "https://app.example.com" || !strings.Contains(allowed.Get("Access-Control-Allow-Headers"), "Current-Company-Id") {
		t.Errorf("preflight: %v", allowed)
	}
	if got := ask(http.MethodOptions, "https://evil.example.com", preflight...); got.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight of a stranger: %v", got)
	}
	answer := ask(http.MethodGet, "https://app.example.com")
	if answer.Get("Access-Control-Allow-Origin") != "https://app.example.com" || answer.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("answer: %v", answer)
	}
	exposed := strings.Split(strings.ToLower(answer.Get("Access-Control-Expose-Headers")), ", ")
	for _, name := range []string{"etag", "deprecation", "retry-after", "ratelimit", "ratelimit-policy"} {
		if !slices.Contains(exposed, name) {
			t.Errorf("%s is not among the exposed %q", name, exposed)
		}
	}
}

// countingWriter counts what it is given.
type countingWriter struct {
	*httptest.ResponseRecorder
	writes int
}

// Write counts.
func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	return w.ResponseRecorder.Write(p)
}

// Few answers of unknown length are compressed at once, as each keeps an encoder for as
// long as its client reads. Others are sent as they are.
func TestFewStreamsAreCompressedAtOnce(t *testing.T) {
	part := bytes.Repeat([]byte("part "), 1_000)
	begun, goOn := make(chan struct{}), make(chan struct{})
	handler := rest.Compress(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(part)
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-goOn
		}
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	}))
	ask := func(path string) *httptest.ResponseRecorder {
		request := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
		request.Header.Set("Accept-Encoding", "gzip")
		answer := httptest.NewRecorder()
		defer func() { _ = recover() }() // as net/http does for an answer that is cut
		handler.ServeHTTP(answer, request)
		return answer
	}
	for range 100 {
		ask("/cut")
	}
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if got := ask("/slow").Header().Get("Content-Encoding"); got != "gzip" {
				t.Errorf("one of the first: %q", got)
			}
		})
		<-begun
	}
	if answer := ask("/quick"); answer.Header().Get("Content-Encoding") != "" || !bytes.Equal(answer.Body.Bytes(), part) || answer.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("one too many: %v, %d bytes", answer.Header(), answer.Body.Len())
	}
	close(goOn)
	group.Wait()
	if got := ask("/quick").Header().Get("Content-Encoding"); got != "gzip" {
		t.Errorf("afterwards: %q", got)
	}
}

// A body that is there as a whole is compressed as a whole before it is sent: an encoder
// that waited for a client that reads slowly would take more memory than the body.
func TestWholeBodiesAreCompressedBeforeTheyAreSent(t *testing.T) {
	for _, coding := range []string{"gzip", "zstd"} {
		request := httptest.NewRequestWithContext(t.Context(), "GET", "/openapi.json", nil)
		request.Header.Set("Accept-Encoding", coding)
		answer := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
		rest.OpenAPI().ServeHTTP(answer, request)
		if got := answer.Header().Get("Content-Encoding"); got != coding || answer.writes != 1 || answer.Body.Len() == 0 {
			t.Errorf("%s: %d bytes in %s, by %d writes", coding, answer.Body.Len(), got, answer.writes)
		}
	}
}

// OPTIONS tells of addresses that lead nowhere, as every method does.
func TestOptionsOfNothing(t *testing.T) {
	s := serve(t, configFor(nil))
	for path, want := range map[string]string{
		rest.WorthPrefix + "nowhere":     `404 {"message":"There is nothing at this address.","errorCode":"ERR_NOT_FOUND"}`,
		rest.TestiniumPrefix + "nowhere": `404 {"status":404,"error":"NOT_FOUND","message":"There is nothing at this address."}`,
	} {
		if diff := cmp.Diff(want, s.do(t, http.MethodOptions, path, as("")).String()); diff != "" {
			t.Error(diff)
		}
	}
}

// The public pages can only be read.
func TestMethodsOfPages(t *testing.T) {
	for name, page := range map[string]http.Handler{"OpenAPI": rest.OpenAPI(), "Docs": rest.Docs()} {
		for method, status := range map[string]int{http.MethodGet: 200, http.MethodHead: 200, http.MethodPost: 405, http.MethodDelete: 405} {
			answer := httptest.NewRecorder()
			page.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, "/", nil))
			if answer.Code != status || status == 405 && (answer.Header().Get("Allow") != "GET, HEAD" || answer.Header().Get("ETag") != "") {
				t.Errorf("%s of %s: %d %v", method, name, answer.Code, answer.Header())
			}
		}
	}
}
