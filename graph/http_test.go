package graph_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
)

const maxBody = 64 << 10

// serve starts the endpoint, with every request made by the member of Acme.
func serve(t testing.TB, settings graph.Settings) string {
	t.Helper()
	database := dbtest.Open(t, db.SQLite)
	dbtest.Fill(t, database, fixture())
	handler := graph.NewHandler(graph.NewExecutor(database, slog.New(slog.DiscardHandler), settings), maxBody)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(auth.WithPrincipal(r.Context(), callers["member"])))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// send makes one request. A body makes it a POST of JSON unless said otherwise.
func send(t testing.TB, method, target, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response, readAll(t, response.Body)
}

func zipped(t testing.TB, text string) string {
	t.Helper()
	var data bytes.Buffer
	writer := gzip.NewWriter(&data)
	if _, err := writer.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return data.String()
}

func TestHTTP(t *testing.T) {
	const (
		plain    = "application/json; charset=utf-8"
		spec     = "application/graphql-response+json; charset=utf-8"
		good     = `{"query":"{ viewer { subject } }"}`
		goodData = `{"data":{"viewer":{"subject":"member"}}}`
	)
	get := "?query=" + url.QueryEscape("query ($n: Long!) { customerByNumber(number: $n) { name } }")
	for _, test := range []struct {
		name, method, target, body string
		headers                    []string
		status                     int
		contentType, contains      string
	}{
		{"post", "POST", "", good, nil, 200, plain, goodData},
		{"post with the specification's type", "POST", "", good, []string{"Accept", "application/graphql-response+json"}, 200, spec, goodData},
		{"post with a charset", "POST", "", good, []string{"Content-Type", "application/json; charset=UTF-8"}, 200, plain, goodData},
		{"post gzip", "POST", "", zipped(t, good), []string{"Content-Encoding", "gzip"}, 200, plain, goodData},
		{"get", "GET", get + "&variables=" + url.QueryEscape(`{"n":1}`), "", nil, 200, plain, `{"data":{"customerByNumber":{"name":"Acme"}}}`},
		{"quality decides", "POST", "", good, []string{"Accept", "application/json;q=0.5, application/graphql-response+json;q=0.9"}, 200, spec, goodData},
		{"quality decides the other way", "POST", "", good, []string{"Accept", "application/json, application/graphql-response+json;q=0.9"}, 200, plain, goodData},
		{"equal quality takes the specification's", "POST", "", good, []string{"Accept", "application/json, application/graphql-response+json"}, 200, spec, goodData},
		{"what graphiql and browsers send", "POST", "", good, []string{"Accept", "text/html, */*;q=0.8"}, 200, plain, goodData},
		{"a wildcard that excludes", "POST", "", good, []string{"Accept", "application/json;q=0, application/*"}, 200, spec, goodData},

		{"invalid in plain JSON", "POST", "", `{"query":"{ nope }"}`, nil, 200, plain, "GRAPHQL_VALIDATION_FAILED"},
		{"invalid", "POST", "", `{"query":"{ nope }"}`, []string{"Accept", "application/graphql-response+json"}, 400, spec, "GRAPHQL_VALIDATION_FAILED"},
		{"unparsable", "POST", "", `{"query":"{"}`, []string{"Accept", "application/graphql-response+json"}, 400, spec, "GRAPHQL_PARSE_FAILED"},
		{"bad variable", "POST", "", `{"query":"query($n: Long!){customerByNumber(number:$n){name}}"}`, []string{"Accept", "application/graphql-response+json"}, 400, spec, "BAD_USER_INPUT"},
		{"an argument that is not allowed", "POST", "", `{"query":"{ customerByNumber(number: 1) { users(first: 0) { totalCount } } }"}`, []string{"Accept", "application/graphql-response+json"}, 400, spec, "first is 0"},
		{"the same in plain JSON", "POST", "", `{"query":"{ customerByNumber(number: 1) { users(first: 0) { totalCount } } }"}`, nil, 200, plain, `{"errors":[{"message":"first is 0`},
		{"one of two that is not allowed", "POST", "", `{"query":"{ viewer { subject } customer(id: \"x\") { id } }"}`, nil, 200, plain, `"data":{"viewer":{"subject":"member"},"customer":null}`},
		{"a field that fails", "POST", "", `{"query":"{ customerByNumber(number: 2) { name } }"}`, []string{"Accept", "application/graphql-response+json"}, 200, spec, "FORBIDDEN"},

		{"no query", "POST", "", `{}`, nil, 400, plain, "query is missing"},
		{"empty query", "POST", "", `{"query":""}`, nil, 400, plain, "query is missing"},
		{"empty body", "POST", "", ` `, nil, 400, plain, "BAD_REQUEST"},
		{"not JSON", "POST", "", `{"query":`, nil, 400, plain, "BAD_REQUEST"},
		{"two values", "POST", "", good + good, nil, 400, plain, "BAD_REQUEST"},
		{"a batch", "POST", "", "[" + good + "]", nil, 400, plain, "batching is not supported"},
		{"query of another type", "POST", "", `{"query":{"a":1}}`, nil, 400, plain, "query must be a JSON string"},
		{"more than JSON", "POST", "", good + "}", nil, 400, plain, "the body must be a JSON object"},
		{"half a character in a variable", "POST", "", `{"query":"query ($s: String) { customers(search: $s) { totalCount } }","variables":{"s":"\ud83d"}}`, nil, 200, plain, "half of a surrogate pair"},
		{"half a character in the query", "POST", "", `{"query":"{ customers(search: \"\ud83d\") { totalCount } }"}`, nil, 200, plain, "half of a surrogate pair"},
		{"half a character in a literal", "POST", "", `{"query":"{ customers(search: \"\\ud83d\") { totalCount } }"}`, nil, 200, plain, "GRAPHQL_PARSE_FAILED"},
		{"half a character in a URL", "GET", "?query=" + url.QueryEscape("query ($s: String) { customers(search: $s) { totalCount } }") + "&variables=" + url.QueryEscape(`{"s":"\ud83d"}`), "", nil, 200, plain, "half of a surrogate pair"},
		{"no half one in a comment", "POST", "", `{"query":"# \\ud83d \"\n{ viewer { subject } }"}`, nil, 200, plain, `"data"`},
		{"no half one in a block", "POST", "", `{"query":"{ customers(search: \"\"\"\\ud83d\"\"\") { totalCount } }"}`, nil, 200, plain, `"data"`},
		{"a whole one", "POST", "", `{"query":"query ($s: String) { customers(search: $s) { totalCount } }","variables":{"s":"\ud83d\ude00"}}`, nil, 200, plain, `"totalCount":0`},
		{"variables that nest deep", "POST", "", `{"query":"{ viewer { subject } }","variables":{"f":` + strings.Repeat(`{"and":`, 32) + "1" + strings.Repeat("}", 32) + "}}", nil, 200, plain, "the body: nested too deep: at most 33 levels are allowed"},
		{"variables that nest", "POST", "", `{"query":"{ viewer { subject } }","variables":{"f":` + strings.Repeat(`{"and":`, 31) + "1" + strings.Repeat("}", 31) + "}}", nil, 200, plain, `"data"`},
		{"lists that nest deep", "POST", "", `{"query":"{ viewer { subject } }","variables":{"f":` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + "}}", nil, 200, plain, "the body: nested too deep: at most 33 levels are allowed"},
		{"lists that nest", "POST", "", `{"query":"{ viewer { subject } }","variables":{"f":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + "}}", nil, 200, plain, `"data"`},
		{"half a character, as the specification has it", "POST", "", `{"query":"query ($s: String) { customers(search: $s) { totalCount } }","variables":{"s":"\ud83d"}}`, []string{"Accept", "application/graphql-response+json"}, 400, spec, "half of a surrogate pair"},
		{"a Long of many digits in a variable", "POST", "", `{"query":"query ($n: Long!) { customerByNumber(number: $n) { name } }","variables":{"n":99999999999999999999}}`, nil, 200, plain, "BAD_USER_INPUT"},
		{"a Long with a point in a variable", "POST", "", `{"query":"query ($n: Long!) { customerByNumber(number: $n) { name } }","variables":{"n":1.5}}`, nil, 200, plain, "BAD_USER_INPUT"},
		{"a persisted query that is null", "POST", "", `{"query":"{ viewer { subject } }","extensions":{"persistedQuery":null}}`, nil, 200, plain, `"data"`},
		{"a hash in capitals", "POST", "", `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + strings.Repeat("AB", 32) + `"}}}`, nil, 400, plain, "lower-case"},
		{"a hash that is too long", "POST", "", `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + strings.Repeat("ab", 33) + `"}}}`, nil, 400, plain, "sha256Hash"},
		{"a hash of nothing", "POST", "", `{"query":"{ viewer { subject } }","extensions":{"persistedQuery":{"version":1,"sha256Hash":""}}}`, nil, 400, plain, "sha256Hash"},
		{"gzip that ends early", "POST", "", zipped(t, `{"query":"{ viewer { subject } }"}`)[:30], []string{"Content-Encoding", "gzip"}, 400, plain, "could not be read to its end"},
		{"no content type", "POST", "", `{"query":"{ viewer { subject } }"}`, []string{"Content-Type", ";"}, 415, plain, "Content-Type"},
		{"a name in capitals", "POST", "", `{"QUERY":"{ viewer { subject } }"}`, nil, 400, plain, "query"},
		{"lines that end in CR and LF", "POST", "", `{"query":"{\r\n  viewer {\r\n    sub\r\n  }\r\n}"}`, nil, 200, plain, `"locations":[{"line":3,"column":5}]`},
		{"lines that end in LF", "POST", "", `{"query":"{\n  viewer {\n    sub\n  }\n}"}`, nil, 200, plain, `"locations":[{"line":3,"column":5}]`},
		{"names alike", "POST", "", `{"query":"query ($n: Int) { customers(first: $n) { nodes { name } } }","variables":{"n":1},"Variables":{"n":0}}`, nil, 200, plain, `"nodes"`},
		{"variables twice", "POST", "", `{"query":"{ viewer { subject } }","variables":{"f":{"search":"a"}},"variables":null}`, nil, 200, plain, `the body: \"variables\" is there twice`},
		{"a variable twice", "POST", "", `{"query":"{ viewer { subject } }","variables":{"f":{"search":"a","search":""}}}`, nil, 200, plain, `the body: \"search\" is there twice`},
		{"get with a variable twice", "GET", get + "&variables=%7B%22n%22%3A1%2C%22n%22%3A2%7D", "", nil, 200, plain, `variables: \"n\" is there twice`},
		{"variables of another type", "POST", "", `{"query":"{ viewer { subject } }","variables":[1]}`, nil, 400, plain, "variables must be a JSON object"},
		{"extensions of another type", "POST", "", `{"query":"{ viewer { subject } }","extensions":"x"}`, nil, 400, plain, "extensions must be a JSON object"},
		{"not UTF-8", "POST", "", "{\"query\":\"{ viewer { subject } } # \xff\"}", nil, 400, plain, "not valid UTF-8"},
		{"not gzip", "POST", "", good, []string{"Content-Encoding", "gzip"}, 400, plain, "not valid gzip"},
		{"get with a semicolon", "GET", get + `&variables={"n":1;}`, "", nil, 400, plain, "not well formed"},
		{"get with broken percent-encoding", "GET", get + "&variables=%zz", "", nil, 400, plain, "not well formed"},
		{"get with variables twice", "GET", get + "&variables=&variables=%7B%22n%22%3A1%7D", "", nil, 400, plain, "variables is given 2 times"},
		{"get with variables that are not UTF-8", "GET", get + "&variables=%7B%22n%22%3A%22%FF%22%7D", "", nil, 400, plain, "variables is not valid UTF-8"},
		{"a null condition", "POST", "", `{"query":"query($x:Boolean=true){viewer @skip(if:$x){subject}}","variables":{"x":null}}`, nil, 200, plain, "@skip(if:) needs true or false"},
		{"a null condition below", "POST", "", `{"query":"query($x:Boolean=true){viewer{...F @include(if:$x)}} fragment F on Viewer{subject}","variables":{"x":null}}`, nil, 200, plain, "@include(if:) needs true or false"},
		{"a string right after a block string", "POST", "", `{"query":"{ customerByNumber(number: 1) { users(filter: {firstName: {in: [\"\"\"Ada\"\"\"\"\"]}}) { totalCount } } }"}`, nil, 200, plain, `"totalCount":1}`},
		{"a quotation mark too many", "POST", "", `{"query":"{ customers(search: \"\"\"acme\"\"\"\") { totalCount } }"}`, nil, 200, plain, "GRAPHQL_PARSE_FAILED"},
		{"variables of a fragment", "POST", "", `{"query":"query ($n: Int) { ...F } fragment F($n: Int = 2) on Query { customers(first: $n) { totalCount } }"}`, nil, 200, plain, `Fragment \"F\" cannot define the variable \"$n\".`},
		{"one name for texts that are never null", "POST", "", `{"query":"{ node(id: \"` + string(acme) + `\") { ... on User { a: email } ... on Customer { a: __typename } } }"}`, nil, 200, plain, `{"data":{"node":{"a":"Customer"}}}`},
		{"what a type cannot have", "POST", "", `{"query":"{ __type(name: \"Long\") { fields { name } interfaces { name } possibleTypes { name } enumValues { name } inputFields { name } isOneOf } }"}`, nil, 200, plain,
			`{"data":{"__type":{"fields":null,"interfaces":null,"possibleTypes":null,"enumValues":null,"inputFields":null,"isOneOf":null}}}`},
		{"what types have", "POST", "", `{"query":"{ node: __type(name: \"Node\") { fields { name } interfaces { name } possibleTypes { name } enumValues { name } } page: __type(name: \"PageInput\") { isOneOf inputFields { name type { ofType { fields { name } } } } } }"}`, nil, 200, plain,
			`{"data":{"node":{"fields":[{"name":"id"}],"interfaces":[],"possibleTypes":[{"name":"Customer"},{"name":"User"},{"name":"Subrole"}],"enumValues":null},"page":{"isOneOf":false,"inputFields":[{"name":"number","type":{"ofType":{"fields":null}}},{"name":"size","type":{"ofType":{"fields":null}}}]}}}`},
		{"an empty object for a condition", "POST", "", `{"query":"{viewer{subject @skip(if:{})}}"}`, nil, 200, plain, `Expected value of type \"Boolean\", found {}.`},
		{"an empty object for a Boolean", "POST", "", `{"query":"{customerByNumber(number:1){users(filter:{enabled:{}}){totalCount}}}"}`, nil, 200, plain, "GRAPHQL_VALIDATION_FAILED"},
		{"an empty object below __schema", "POST", "", `{"query":"{__schema{types{fields(includeDeprecated:{}){name}}}}"}`, nil, 200, plain, "GRAPHQL_VALIDATION_FAILED"},
		{"an empty object for a Long, an ID and an enum", "POST", "", `{"query":"{customerByNumber(number:{}){user(id:{}){id} users(orderBy:{field:{}}){totalCount}}}"}`, nil, 200, plain, "GRAPHQL_VALIDATION_FAILED"},
		{"an empty input object", "POST", "", `{"query":"{customerByNumber(number:1){users(page:{},filter:{status:{}}){totalCount}}}"}`, nil, 200, plain, `"totalCount":3`},
		{"a number of many digits", "POST", "", `{"query":"{customerByNumber(number:99999999999999999999999){id}}"}`, nil, 200, plain, "number: a number is out of range: it takes more than 64 bits"},
		{"a default of many digits", "POST", "", `{"query":"query($n:Long=99999999999999999999999){customerByNumber(number:$n){id}}"}`, nil, 200, plain, "BAD_USER_INPUT"},
		{"a number with a point", "POST", "", `{"query":"query($n:Int){customers(first:$n){totalCount}}","variables":{"n":5.0}}`, nil, 200, plain, "n: the value does not fit the variable's type Int"},
		{"defer", "POST", "", `{"query":"{viewer{...@defer{subject}}}"}`, nil, 200, plain, "GRAPHQL_VALIDATION_FAILED"},
		{"get without a query", "GET", "?variables=%7B%7D", "", nil, 400, plain, "query is missing"},
		{"get with more than variables", "GET", get + "&variables={}}", "", nil, 400, plain, "variables must be a JSON object and nothing else"},
		{"get with bad variables", "GET", get + "&variables=1", "", nil, 400, plain, "variables must be a JSON object"},

		{"another method", "PUT", "", good, nil, 405, plain, "only GET and POST"},
		{"not acceptable", "POST", "", good, []string{"Accept", "text/html"}, 406, plain, "Accept must allow"},
		{"too large", "POST", "", `{"query":"` + strings.Repeat(" ", 1<<20) + `"}`, nil, 413, plain, "PAYLOAD_TOO_LARGE"},
		{"too large once unzipped", "POST", "", zipped(t, `{"query":"`+strings.Repeat(" ", 1<<20)+`"}`), []string{"Content-Encoding", "gzip"}, 413, plain, "PAYLOAD_TOO_LARGE"},
		{"a form", "POST", "", "query=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, plain, "Content-Type must be application/json"},
		{"another charset", "POST", "", good, []string{"Content-Type", "application/json; charset=latin1"}, 415, plain, "charset"},
		{"another encoding", "POST", "", good, []string{"Content-Encoding", "br"}, 415, plain, "Content-Encoding"},
	} {
		t.Run(test.name, func(t *testing.T) {
			response, body := send(t, test.method, serve(t, settings())+test.target, test.body, test.headers...)
			if response.StatusCode != test.status || response.Header.Get("Content-Type") != test.contentType || !strings.Contains(body, test.contains) {
				t.Errorf("got %d %s %s\nwant %d %s with %s", response.StatusCode, response.Header.Get("Content-Type"), body, test.status, test.contentType, test.contains)
			}
			if strings.Contains(body, `"data":null`) {
				t.Errorf("a refused request has no data: %s", body)
			}
			if test.status == 405 && response.Header.Get("Allow") != "GET, POST" {
				t.Errorf("Allow is %q", response.Header.Get("Allow"))
			}
			for _, text := range neverShown {
				if strings.Contains(body, text) {
					t.Errorf("the answer shows %q: %s", text, body)
				}
			}
		})
	}
}

func TestPersistedQueries(t *testing.T) {
	target := serve(t, settings())
	const query = "{ viewer { subject } }"
	sum := sha256.Sum256([]byte(query))
	hash := hex.EncodeToString(sum[:])
	extension := `"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}`
	for _, step := range []struct{ name, method, target, body, contains string }{
		{"unknown", "POST", "", "{" + extension + "}", "PERSISTED_QUERY_NOT_FOUND"},
		{"another's hash", "POST", "", `{"query":"{ viewer { expiresAt } }",` + extension + "}", "is not the hash of query"},
		{"still unknown", "POST", "", "{" + extension + "}", "PERSISTED_QUERY_NOT_FOUND"},
		{"registered", "POST", "", `{"query":"` + query + `",` + extension + "}", `{"data":{"viewer":{"subject":"member"}}}`},
		{"by hash", "POST", "", "{" + extension + "}", `{"data":{"viewer":{"subject":"member"}}}`},
		{"by hash in the URL", "GET", "?extensions=" + url.QueryEscape(`{"persistedQuery":{"version":1,"sha256Hash":"`+hash+`"}}`), "", `{"data":{"viewer":{"subject":"member"}}}`},
		{"another version", "POST", "", `{"extensions":{"persistedQuery":{"version":2,"sha256Hash":"` + hash + `"}}}`, "version 1"},
		{"not a hash", "POST", "", `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"xyz"}}}`, "version 1"},
		{"documentId", "POST", "", `{"documentId":"a"}`, "PERSISTED_QUERY_NOT_SUPPORTED"},
	} {
		if _, body := send(t, step.method, target+step.target, step.body); !strings.Contains(body, step.contains) {
			t.Errorf("%s: got %s, want %s", step.name, body, step.contains)
		}
	}
}

// The store of persisted queries is bounded in bytes: whoever sends many keeps
// the most recent ones, and a document that is too large is not kept at all.
func TestPersistedQueriesAreBounded(t *testing.T) {
	executor := newExecutor(dbtest.Open(t, db.SQLite))
	hashOf := func(query string) string {
		sum := sha256.Sum256([]byte(query))
		return hex.EncodeToString(sum[:])
	}
	kept := func(query string) bool {
		return executor.Execute(as(t, "member"), graph.Request{Hash: hashOf(query)}).Errors == nil
	}
	register := func(query string) {
		if errs := executor.Execute(as(t, "member"), graph.Request{Query: query, Hash: hashOf(query)}).Errors; errs != nil {
			t.Fatal(errs)
		}
	}
	large := func(n, size int) string {
		return fmt.Sprintf("{ viewer { subject } } # %d %s", n, strings.Repeat("x", size))
	}
	first := large(0, 10_000)
	register(first)
	if !kept(first) {
		t.Fatal("a document was not kept")
	}
	if tooLarge := large(1, 20_000); true {
		register(tooLarge)
		if kept(tooLarge) {
			t.Error("a document of 20 KB was kept")
		}
	}
	last := ""
	for n := range 200 {
		last = large(n, 10_000)
		register(last)
	}
	if kept(first) || !kept(last) {
		t.Errorf("after 2 MB of documents: the first is kept %v, the last %v", kept(first), kept(last))
	}
}

func TestTrustedDocuments(t *testing.T) {
	const query = "query Me { viewer { subject } }"
	documents, err := graph.ParseTrustedDocuments([]byte(`{"abc123":"`+query+`","sha256:def456":"`+query+`"}`), 1_000)
	if err != nil {
		t.Fatal(err)
	}
	trusting := settings()
	trusting.Trusted = documents
	target := serve(t, trusting)
	const data = `{"data":{"viewer":{"subject":"member"}}}`
	for body, want := range map[string]string{
		`{"documentId":"abc123"}`:        data,
		`{"documentId":"sha256:abc123"}`: data,
		`{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"abc123"}}}`:        data,
		`{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"sha256:abc123"}}}`: data,
		`{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"def456"}}}`:        data,
		`{"query":"` + query + `"}`:                data,
		`{"query":"query { viewer { subject } }"}`: "PERSISTED_QUERY_NOT_SUPPORTED",
		`{"documentId":"other"}`:                   "PERSISTED_QUERY_NOT_SUPPORTED",
		`{}`:                                       "PERSISTED_QUERY_NOT_SUPPORTED",
	} {
		if _, got := send(t, "POST", target, body); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
	for _, manifest := range []string{``, `[]`, `{}`, `{"a":"{ nope }"}`, `{"a":"{"}`, `{"a":1}`, `{"a":""}`, `{"a":"{ customers(search: {}) { totalCount } }"}`,
		`{"a":"{ viewer { ... @defer { subject } } }"}`, `{"a":"{ viewer { subject ` + strings.Repeat("subject ", 100) + `} }"}`,
	} {
		if _, err := graph.ParseTrustedDocuments([]byte(manifest), 100); err == nil {
			t.Errorf("the manifest %s was accepted", manifest)
		}
	}
}

func TestAnswersAreForTheirCallersOwnCache(t *testing.T) {
	target := serve(t, settings())
	for _, query := range []string{"%7B__typename%7D", "%7Bnope%7D"} {
		if response, body := send(t, "GET", target+"?query="+query, ""); response.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%v %s", response.Header, body)
		}
	}
}

func TestCostIsReportedWhenAskedFor(t *testing.T) {
	target := serve(t, settings())
	// customerByNumber 1, users 1, and 10 times nodes 1 with email 1; totalCount 10.
	body := `{"query":"{ customerByNumber(number: 1) { users(first: 10) { totalCount nodes { email } } } }"}`
	_, got := send(t, "POST", target, body, "X-Roster-Cost", "1")
	var answer struct {
		Extensions struct{ Cost struct{ Cost, Limit int } }
	}
	if err := json.Unmarshal([]byte(got), &answer); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(struct{ Cost, Limit int }{32, 10_000}, answer.Extensions.Cost); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, got)
	}
	for _, value := range []string{"", "0", "true"} {
		if _, got := send(t, "POST", target, body, "X-Roster-Cost", value); !strings.Contains(got, "The header X-Roster-Cost must be 1") {
			t.Errorf("%q: %s", value, got)
		}
	}
	if _, got := send(t, "POST", target, body); strings.Contains(got, "extensions") {
		t.Errorf("nobody asked: %s", got)
	}
}

// With introspection off, no message helps to guess the schema.
func TestIntrospectionOff(t *testing.T) {
	closed := settings()
	closed.Introspection = false
	target := serve(t, closed)
	for query, code := range map[string]string{
		`{ __schema { types { name } } }`:                                                        "INTROSPECTION_DISABLED",
		`{ ... on Query { __type(name: \"User\") { name } } }`:                                   "INTROSPECTION_DISABLED",
		`{ ...F } fragment F on Query { __schema { types { name } } }`:                           "INTROSPECTION_DISABLED",
		`{ view { subjct } }`:                                                                    "GRAPHQL_VALIDATION_FAILED",
		`{ customer { nam } }`:                                                                   "GRAPHQL_VALIDATION_FAILED",
		`{ customer(ident: 1) { name } }`:                                                        "GRAPHQL_VALIDATION_FAILED",
		`{ customer(id: \"x\") }`:                                                                "GRAPHQL_VALIDATION_FAILED",
		`{ customerByNumber(number: 1) { users(filter: {stat: 1}) { totalCount } } }`:            "GRAPHQL_VALIDATION_FAILED",
		`{ customerByNumber(number: 1) { users(orderBy: {field: NAM}) { totalCount } } }`:        "GRAPHQL_VALIDATION_FAILED",
		`query ($p: PageInp) { customerByNumber(number: 1) { users(page: $p) { totalCount } } }`: "GRAPHQL_VALIDATION_FAILED",
		`query ($i: ID!) { customer(id: $i) { id } }`:                                            "BAD_USER_INPUT",
		`{ customerByNumber(number: 99999999999999999999) { id } }`:                              "BAD_USER_INPUT",
	} {
		_, got := send(t, "POST", target, `{"query":"`+query+`"}`)
		if !strings.Contains(got, code) {
			t.Errorf("%s: got %s, want %s", query, got, code)
		}
		for _, hint := range []string{"Did you mean", "viewer", "Customer", "name", "UserOrder", "PageInput", "NAME", "status", "Int", "Long"} {
			if strings.Contains(got, hint) && !strings.Contains(query, hint) {
				t.Errorf("%s: the answer names %q: %s", query, hint, got)
			}
		}
	}
	for query, variable := range map[string]string{ // these pass validation, and the resolvers' own reading refuses them
		"query ($v: UserStatus) { customerByNumber(number: 1) { users(filter: {status: {eq: $v}}) { totalCount } } }": `"active"`,
		"query ($v: UserOrder) { customerByNumber(number: 1) { users(orderBy: $v) { totalCount } } }":                 `{"field": "name"}`,
		"query ($v: Int) { customerByNumber(number: 1) { users(page: {size: $v}) { totalCount } } }":                  "null",
		"query ($v: ID!) { customer(id: $v) { id } }":                                                                 "5",
		"{ customerByNumber(number: 1) { users(filter: {createdAt: {gt: 5}}) { totalCount } } }":                      "0",
	} {
		_, got := send(t, "POST", target, `{"query":"`+query+`","variables":{"v":`+variable+`}}`)
		if !strings.Contains(got, "the document or its variables do not fit the schema") {
			t.Errorf("%s with %s: %s", query, variable, got)
		}
	}
	if _, got := send(t, "POST", target, `{"query":"{ customer(id: \"x\") { id } }"}`); !strings.Contains(got, `"message":"\"x\" is not an id: a UUID like`) {
		t.Errorf("a typo in an id is not told: %s", got)
	}
	if _, got := send(t, "POST", target, `{"query":"{ viewer { __typename subject } }"}`); !strings.Contains(got, `"__typename":"Viewer"`) {
		t.Errorf("__typename is no introspection: %s", got)
	}
}

func TestNegotiate(t *testing.T) {
	// RFC 9110, section 12.5.1: the most specific range decides, wherever it stands.
	target := serve(t, settings())
	for accept, want := range map[string]int{
		"": 200, "*/*": 200, "application/*": 200, "application/json;q=0": 406, "*/*;q=0": 406, "nonsense": 406,
		"application/json;q=0, */*": 200, "application/json; charset=latin1": 406, "application/graphql-response+json; charset=utf-8": 200, "text/html, application/json;q=0.001": 200,
	} {
		if response, body := send(t, "POST", target, `{"query":"{ viewer { subject } }"}`, "Accept", accept); response.StatusCode != want {
			t.Errorf("Accept %q: got %d, want %d: %s", accept, response.StatusCode, want, body)
		}
	}
}

// A body of exactly the size that is allowed is read, zipped or not.
func TestBodyOfTheLargestSize(t *testing.T) {
	target := serve(t, settings())
	const query = `{"query":"{ viewer { subject } }"}`
	for extra, status := range map[int]int{0: 200, 1: 413} {
		body := query + strings.Repeat(" ", maxBody-len(query)+extra)
		if response, _ := send(t, "POST", target, body); response.StatusCode != status {
			t.Errorf("%d bytes: %d", len(body), response.StatusCode)
		}
		if response, _ := send(t, "POST", target, zipped(t, body), "Content-Encoding", "gzip"); response.StatusCode != status {
			t.Errorf("%d bytes, zipped: %d", len(body), response.StatusCode)
		}
	}
}

// Every answer tells caches and clients what it depends on and how long it is.
func TestHeadersOfAnswers(t *testing.T) {
	target := serve(t, settings())
	for _, query := range []string{"{ viewer { subject } }", "{ nope }", "{ __schema { types { name description fields { name description } } } }"} {
		response, body := send(t, "POST", target, `{"query":"`+query+`"}`)
		if response.Header.Get("Vary") != "Accept" || response.ContentLength != int64(len(body)) || response.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%s: %d bytes, %v", query, len(body), response.Header)
		}
	}
}

// What is used stays, and what nobody asks for goes.
func TestLeastRecentlyUsedGoes(t *testing.T) {
	target := serve(t, settings())
	ask := func(query, hash string) string {
		_, body := send(t, "GET", target+"?query="+url.QueryEscape(query)+"&extensions="+url.QueryEscape(`{"persistedQuery":{"version":1,"sha256Hash":"`+hash+`"}}`), "")
		return body
	}
	document := func(n int) string {
		return fmt.Sprintf("{ viewer { subject } } # %d %s", n, strings.Repeat("x", 10_000))
	}
	used := document(0)
	for n := range 200 {
		ask(document(n), hashOf(document(n)))
		if body := ask("", hashOf(used)); !strings.Contains(body, `"data"`) {
			t.Fatalf("after %d documents, the one in use is gone: %s", n, body)
		}
	}
}

// hashOf gives the id of a persisted query.
func hashOf(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}
