package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// maxRefusal is more than any refusal has to say.
const maxRefusal = 64 << 10

// hostile are requests that are made to break a server, and that must be refused
// or answered in few words.
func hostile(facts demoFacts) map[string]func() *http.Request {
	post := func(body string, headers ...string) func() *http.Request {
		return func() *http.Request {
			request, err := http.NewRequest("POST", facts.GraphQL, strings.NewReader(body))
			if err != nil {
				panic(err)
			}
			request.Header.Set("Content-Type", "application/json")
			for i := 0; i < len(headers); i += 2 {
				request.Header.Set(headers[i], headers[i+1])
			}
			return request
		}
	}
	document := func(text string) func() *http.Request {
		return post(string(mustJSON(map[string]string{"query": text})))
	}
	variables := func(value string) func() *http.Request {
		return post(`{"query":"query Q($a: ID!) { customer(id: $a) { id } }","variables":{"a":` + value + `}}`)
	}
	times := func(n int, format string) string {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, format, i)
		}
		return text.String()
	}
	var fragments strings.Builder // each holds the next one ten times
	for i := range 20 {
		fmt.Fprintf(&fragments, "fragment F%d on Query { %s } ", i, strings.Repeat(fmt.Sprintf("...F%d ", i+1), 10))
	}
	return map[string]func() *http.Request{
		"huge header":  post("{}", "X-Long", strings.Repeat("x", 1<<20)),
		"many headers": func() *http.Request { return withHeaders(post("{}")(), 2_000) },
		"huge body":    post(`{"query":"` + strings.Repeat("x", 8<<20) + `"}`),
		"endless body": func() *http.Request { return endless(facts.GraphQL) },
		"huge URL": func() *http.Request {
			return httptest.NewRequest("GET", facts.GraphQL+"?query="+strings.Repeat("x", 1<<20), nil)
		},
		"compressed bomb":              post(gzipped(256<<20), "Content-Encoding", "gzip"),
		"small compressed bomb":        post(gzipped(32<<20), "Content-Encoding", "gzip"),
		"broken gzip":                  post(gzipped(1 << 20)[:500], "Content-Encoding", "gzip"),
		"deep variables":               variables(strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000)),
		"deep variables, never closed": variables(strings.Repeat(`{"a":`, 12_000)),
		"many variables":               variables("[" + strings.Repeat("1,", 30_000) + "1]"),
		"a deep filter for each alias": post(`{"query":"query ($f: UserFilter) { customers { nodes {` + times(16, " a%d: users(filter: $f) { __typename }") + ` } } }","variables":{"f":` +
			strings.Repeat(`{"and":`, 6_000) + "{}" + strings.Repeat("}", 6_000) + "}}"),
		"a long search for each record":   post(`{"query":"query ($s: String) { customers { nodes { users(filter: {search: $s}) { __typename } } } }","variables":{"s":"` + strings.Repeat("ﷺ", 20_000) + `"}}`),
		"huge number":                     variables(strings.Repeat("9", 60_000)),
		"deep document":                   document(strings.Repeat("{a", 20_000)),
		"deep list in a document":         document("{ customer(id: " + strings.Repeat("[", 60_000) + ") { id } }"),
		"aliases":                         document("{" + times(3_000, " a%d: viewer { subject }") + " }"),
		"few aliases":                     document("{" + times(190, " a%d: viewer { subject }") + " }"),
		"aliases without validity":        document("{" + times(300, " a%d: nothing") + " }"),
		"aliases of one name":             document("{" + strings.Repeat(" a: viewer { subject }", 190) + " }"),
		"directives":                      document("{ viewer { subject " + strings.Repeat("@include(if: true) ", 3_000) + "} }"),
		"unknown directives":              document("{ viewer { subject " + times(450, "@d%d ") + "} }"),
		"fragments":                       document("{ ...F0 } " + fragments.String() + "fragment F20 on Query { viewer { subject } }"),
		"fragments in a circle":           document("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"),
		"unused fragments":                document("{ viewer { subject } } " + times(150, "fragment G%d on Query { viewer { subject } } ")),
		"introspection":                   document("{ __schema { types " + strings.Repeat("{ fields { type ", 30) + "{ name }" + strings.Repeat("} }", 30) + " } }"),
		"introspection by ofType":         document("{ __schema { types { fields { type " + strings.Repeat("{ ofType ", 200) + "{ name }" + strings.Repeat(" }", 200) + " } } } }"),
		"operations":                      document(times(200, "query Q%d { viewer { subject } } ")),
		"variable definitions":            document("query Q(" + times(190, "$v%d: ID ") + ") { viewer { subject } }"),
		"long name":                       document("{ " + strings.Repeat("a", 60_000) + " }"),
		"long text":                       document(`{ customer(id: "` + strings.Repeat("a", 60_000) + `") { id } }`),
		"block text, never closed":        document(`{ customer(id: """` + strings.Repeat("a", 60_000)),
		"comment":                         document("#" + strings.Repeat("a", 60_000)),
		"byte order marks":                document(strings.Repeat("\ufeff", 20_000)),
		"a list of requests":              post("[" + strings.Repeat(`{"query":"{ viewer { subject } }"},`, 1_000) + "{}]"),
		"accept":                          post("{}", "Accept", strings.Repeat("a/b;q=0.1,", 1_000)),
		"accepted codings":                post("{}", "Accept-Encoding", strings.Repeat("a;q=0.1,", 1_000)),
		"legacy parameters":               legacyRequest(facts.Worth + "?" + times(600, "status=ACTIVE&x%d=")),
		"legacy values":                   legacyRequest(facts.Worth + "?email=" + strings.Repeat("a,", 5_000)),
		"legacy path":                     legacyRequest(facts.URL + "/auth/api/v1/customers/" + strings.Repeat("../", 3_000)),
		"legacy path of another encoding": legacyRequest(facts.URL + "/account/api/v1/customers/" + strings.Repeat("%2e", 3_000)),
	}
}

func legacyRequest(url string) func() *http.Request {
	return func() *http.Request { return httptest.NewRequest("GET", url, nil) }
}

func withHeaders(request *http.Request, n int) *http.Request {
	for i := range n {
		request.Header.Set(fmt.Sprintf("X-Header-%d", i), "x")
	}
	return request
}

// endless has a body of white space that ends only when the server hangs up.
func endless(url string) *http.Request {
	request, err := http.NewRequest("POST", url, io.NopCloser(spaces{}))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/json")
	return request
}

type spaces struct{}

// Read gives white space.
func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// gzipped compresses so much white space.
func gzipped(size int64) string {
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	if _, err := io.CopyN(writer, spaces{}, size); err != nil {
		panic(err)
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
	return compressed.String()
}

// Whatever is sent, the answer is short and blames the sender, and in the end
// nothing of it is left running. A server may also hang up on a request that is
// too large while it is still being sent.
func TestHostileRequestsGetShortAnswers(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	facts, stop := startDemoUntil(t, "--users", "50")
	transport := &http.Transport{}
	for name, request := range hostile(facts) {
		t.Run(name, func(t *testing.T) {
			request := request()
			request.RequestURI = ""
			request.Header.Set("Authorization", "Bearer "+facts.Tokens.Admin)
			response, err := transport.RoundTrip(request)
			if err != nil {
				if _, hungUp := errors.AsType[*net.OpError](err); hungUp || errors.Is(err, io.EOF) {
					return
				}
				t.Fatal(err)
			}
			defer response.Body.Close()
			size, err := io.Copy(io.Discard, response.Body)
			if err != nil {
				t.Error(err)
			}
			if response.StatusCode >= 500 || size > maxRefusal {
				t.Errorf("answered with %d and %d bytes", response.StatusCode, size)
			}
		})
	}
	transport.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, leaks)
}

// Clients that send slowly, or stop in the middle, are hung up on.
func TestSlowClientsAreHungUpOn(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	facts, stop := startDemoUntil(t, "--users", "10", "--request-timeout", "500ms")
	address := strings.TrimPrefix(facts.URL, "http://")
	const head = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for name, test := range map[string]struct{ sends, wants string }{
		"nothing":                 {"", ""},
		"half a line":             {"GET /graph", ""},
		"half a header":           {head + "Authoriz", ""},
		"half a body":             {head + "Authorization: Bearer " + facts.Tokens.Admin + "\r\nContent-Length: 100\r\n\r\n{", "HTTP/1.1 400 "},
		"half a chunk":            {head + "Authorization: Bearer " + facts.Tokens.Admin + "\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", "HTTP/1.1 400 "},
		"half a body, no token":   {head + "Content-Length: 100\r\n\r\n{", "HTTP/1.1 401 "},
		"half a body, no handler": {"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", ""},
		"not HTTP":                {"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "HTTP/1.1 400 "},
	} {
		t.Run(name, func(t *testing.T) {
			connection, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			if _, err := io.WriteString(connection, test.sends); err != nil {
				t.Fatal(err)
			}
			// The server's own time limits end this; the deadline is only for a server without.
			if err := connection.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(connection)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection stays open")
			}
			if !strings.HasPrefix(string(answer), test.wants) || len(answer) > maxRefusal {
				t.Errorf("answered with %.200s", answer)
			}
		})
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, leaks)
}

// Requests that are sent without waiting for answers are answered in their order.
func TestPipelining(t *testing.T) {
	facts := startDemo(t, "--users", "10")
	connection, err := net.Dial("tcp", strings.TrimPrefix(facts.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	const n = 200
	go func() {
		for i := range n {
			connectionHeader := "keep-alive"
			if i == n-1 {
				connectionHeader = "close"
			}
			fmt.Fprintf(connection, "GET /graphql?query=%%7B%%20viewer%%20%%7B%%20subject%%20%%7D%%20%%7D HTTP/1.1\r\nHost: x\r\nX-Request-Id: n%d\r\nConnection: %s\r\nAuthorization: Bearer %s\r\n\r\n",
				i, connectionHeader, facts.Tokens.Member)
		}
	}()
	answers, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	for i, answer := range strings.Split(string(answers), "HTTP/1.1 ")[1:] {
		if !strings.HasPrefix(answer, "200 ") || !strings.Contains(answer, fmt.Sprintf("X-Request-Id: n%d\r\n", i)) {
			t.Fatalf("answer %d: %s", i, answer)
		}
	}
	if got := strings.Count(string(answers), "HTTP/1.1 200"); got != n {
		t.Errorf("%d answers", got)
	}
}
