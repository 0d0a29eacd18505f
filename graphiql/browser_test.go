package graphiql_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"roster/graphiql"
)

// The parts of GraphiQL that the tests look at and click.
const (
	queryText    = ".graphiql-query-editor .view-lines"
	headersText  = ".graphiql-editor-tool .graphiql-editor:not(.hidden) .view-lines"
	responseText = ".graphiql-response .view-lines"
	playButton   = "button.graphiql-execute-button"
)

// startBrowser starts Chromium with a fresh profile and returns a context for
// chromedp. When the test ends it fails if the page asked another host than
// that of baseURL for anything, or if its console shows an error. Without
// Chromium the test is skipped, or fails if REQUIRE_CHROMIUM is 1.
//
// Requests that a worker makes are not seen here; that they reach no other
// host either is left to the resolver rules.
func startBrowser(t *testing.T, baseURL string) context.Context {
	t.Helper()
	base, err := url.Parse(baseURL)
	if err != nil {
		t.Fatal(err)
	}
	// The defaults hold the rest: no first run, no sync, no extensions, no
	// networking in the background.
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findChromium(t)),
		chromedp.Flag("headless", "new"),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
		chromedp.WindowSize(1280, 800),
	)
	ctx, cancelAllocator := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		cancelBrowser()
		cancelAllocator()
	})

	var (
		mu       sync.Mutex
		problems []string
	)
	err = chromedp.Listen(ctx, func(event any) {
		if problem := problemIn(event, base.Host); problem != "" {
			mu.Lock()
			problems = append(problems, problem)
			mu.Unlock()
		}
	})
	if err != nil {
		t.Fatal("start Chromium: ", err)
	}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, problem := range problems {
			t.Error(problem)
		}
	})

	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal("watch the network: ", err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal("watch the log: ", err)
	}
	return ctx
}

// problemIn says what is wrong with an event of the browser, if anything.
func problemIn(event any, host string) string {
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		if !isLocal(event.Request.URL, host) {
			return "request to " + event.Request.URL
		}
	case *network.EventWebSocketCreated:
		return "web socket to " + event.URL
	case *log.EventEntryAdded:
		if event.Entry.Level == log.EntryLevelError {
			return "log: " + event.Entry.Text + " " + event.Entry.URL
		}
	case *runtime.EventExceptionThrown:
		return (&chromedp.ExceptionError{ExceptionDetails: event.ExceptionDetails}).Error()
	case *runtime.EventConsoleAPICalled:
		if event.Type == runtime.ConsoleAPICalledTypeError || event.Type == runtime.ConsoleAPICalledTypeAssert {
			text := "console:"
			for _, arg := range event.Args {
				text += " " + string(arg.Value) + arg.Description
			}
			return text
		}
	}
	return ""
}

func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	const message = "no chromium, chromium-browser or google-chrome in PATH"
	if os.Getenv("REQUIRE_CHROMIUM") == "1" {
		t.Fatal(message)
	}
	t.Skip(message)
	return ""
}

// isLocal reports whether an address is the host's or carries its own content.
func isLocal(address, host string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Host == host || u.Scheme == "data" || u.Scheme == "blob")
}

// waitFor waits until a JavaScript expression is true. chromedp.Poll is no use
// here: it builds a function from text, which the page's policy refuses.
func waitFor(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](`new Promise((resolve) => {
		const look = () => (`+expression+`) ? resolve() : requestAnimationFrame(look);
		look();
	})`, chromedp.EvalAwaitPromise)
}

// waitForText waits until the element that the selector finds shows the text.
// The editor shows blanks as no-break spaces; they count as blanks.
func waitForText(selector, text string) chromedp.Action[chromedp.Void] {
	return waitFor(fmt.Sprintf(`document.querySelector(%s)?.textContent.replaceAll("\u00a0", " ").includes(%s)`,
		quote(selector), quote(text)))
}

// waitForStorage waits until the browser has stored the text under a key.
func waitForStorage(key, text string) chromedp.Action[chromedp.Void] {
	return waitFor(fmt.Sprintf(`localStorage.getItem(%s)?.includes(%s)`, quote(key), quote(text)))
}

// quote returns the JavaScript literal of a text.
func quote(text string) string {
	literal, err := json.Marshal(text)
	if err != nil {
		panic(err) // A string has a JSON form, always.
	}
	return string(literal)
}

// click waits until the element that the CSS selector finds is there and
// clicks it.
func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

// insertText types into the element that has the focus.
func insertText(text string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, input.InsertText, input.InsertTextParams{Text: text})
		return err
	})
}

// screenshot keeps a picture of the page among the artifacts of the test; see
// the flag -artifacts of go test.
func screenshot(t *testing.T, name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		picture, err := chromedp.CaptureScreenshot()(ctx, target)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(t.ArtifactDir(), name), picture, 0o600)
	})
}

// fakeAPI stands in for the GraphQL API. It knows one field, answers whoever
// sends the token and remembers what it was asked.
type fakeAPI struct {
	mu      sync.Mutex
	queries []string
}

const (
	fakeToken  = "secret-of-the-demo"
	fakeSchema = `{"data":{"__schema":{
		"queryType":{"name":"Query","kind":"OBJECT"},"mutationType":null,"subscriptionType":null,"directives":[],
		"types":[
			{"kind":"SCALAR","name":"String","description":null,"specifiedByURL":null,"fields":null,
				"inputFields":null,"interfaces":null,"enumValues":null,"possibleTypes":null},
			{"kind":"OBJECT","name":"Query","description":null,"specifiedByURL":null,
				"inputFields":null,"interfaces":[],"enumValues":null,"possibleTypes":null,
				"fields":[{"name":"greeting","description":"Says hello.","isDeprecated":false,"deprecationReason":null,
					"type":{"kind":"SCALAR","name":"String","ofType":null},
					"args":[{"name":"to","description":null,"defaultValue":null,
						"isDeprecated":false,"deprecationReason":null,
						"type":{"kind":"SCALAR","name":"String","ofType":null}}]}]}
		]}}}`
)

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+fakeToken {
		http.Error(w, `{"errors":[{"message":"no token"}]}`, http.StatusUnauthorized)
		return
	}
	var request struct {
		Query, OperationName string
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/graphql-response+json")
	if request.OperationName == "IntrospectionQuery" {
		_, _ = w.Write([]byte(fakeSchema))
		return
	}
	f.mu.Lock()
	f.queries = append(f.queries, request.Query)
	f.mu.Unlock()
	_, _ = w.Write([]byte(`{"data":{"greeting":"hello from the fake"}}`))
}

func (f *fakeAPI) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.queries)
}

func TestBrowser(t *testing.T) {
	const (
		query  = "# \"quoted\" & <b>not bold</b>\nquery Greeting {\n  greeting(to: \"it's me\")\n}\n"
		answer = `"greeting": "hello from the fake"`
	)
	api := new(fakeAPI)
	mux := http.NewServeMux()
	mux.Handle("/graphql", api)
	mux.Handle("/graphiql/", http.StripPrefix("/graphiql", graphiql.Handler(graphiql.Page{
		Endpoint: "/graphql",
		Query:    query,
		Headers:  `{"Authorization":"Bearer ` + fakeToken + `"}`,
	})))
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx := startBrowser(t, server.URL)

	run := func(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := chromedp.Do(limited, steps...); err != nil {
			_ = chromedp.Do(ctx, screenshot(t, "failure.png"))
			t.Fatal(err)
		}
	}

	// The steps build on each other: they are visits of one person.
	t.Run("PresetAnswers", func(t *testing.T) {
		run(t,
			chromedp.Navigate(server.URL+"/graphiql"),
			waitForText(queryText, `greeting(to: "it's me")`),
			waitForText(headersText, "Bearer "+fakeToken),
			click(playButton),
			waitForText(responseText, answer),
			screenshot(t, "answer.png"),
		)
		if diff := cmp.Diff([]string{query}, api.asked()); diff != "" {
			t.Errorf("queries (-want +got):\n%s", diff)
		}
	})

	t.Run("SchemaIsLoaded", func(t *testing.T) {
		run(t,
			click(`button[aria-label="Show Documentation Explorer"]`),
			waitForText(".graphiql-plugin", "Query"),
			click(`.graphiql-doc-explorer-type-name`),
			waitForText(".graphiql-plugin", "Says hello."),
			screenshot(t, "docs.png"),
		)
	})

	t.Run("TokenIsNotStored", func(t *testing.T) {
		run(t,
			waitForStorage("graphiql:queries", "greeting"),
			waitForStorage("graphiql:tabState", "greeting"),
		)
		stored, err := chromedp.Run(ctx, chromedp.Evaluate[string](
			`JSON.stringify([localStorage, sessionStorage, document.cookie])`))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(stored, fakeToken) {
			t.Errorf("the browser keeps the token: %s", stored)
		}
	})

	t.Run("PresetWinsOverStored", func(t *testing.T) {
		run(t,
			click(queryText),
			insertText("{ somethingElse }"),
			waitForStorage("graphiql:tabState", "somethingElse"),
			chromedp.Reload(),
			waitForText(queryText, `greeting(to: "it's me")`),
			waitForText(headersText, "Bearer "+fakeToken),
			click(playButton),
			waitForText(responseText, answer),
			screenshot(t, "second-visit.png"),
		)
		if diff := cmp.Diff([]string{query, query}, api.asked()); diff != "" {
			t.Errorf("queries (-want +got):\n%s", diff)
		}
	})

	t.Run("OtherTabsHaveTheToken", func(t *testing.T) {
		run(t,
			click("#graphiql-session-tab-0"),
			waitForText(queryText, "somethingElse"),
			waitForText(headersText, "Bearer "+fakeToken),
			click(`button[aria-label="New tab"]`),
			waitForText(headersText, "Bearer "+fakeToken),
		)
	})
}
