package graphiql_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"roster/graphiql"
	"roster/graphiql/browsertest"
)

// fakeAPI stands in for the GraphQL API. It knows one field, answers whoever
// sends the token and remembers what it was asked.
type fakeAPI struct {
	mu      sync.Mutex
	queries []string
}

// countTabs is the JavaScript for the number of tabs that hold a query.
const countTabs = `document.querySelectorAll('[id^="graphiql-session-tab-"]').length`

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
	browser := browsertest.Start(t, server.URL)

	// The steps build on each other: they are visits of one person.
	t.Run("PresetAnswers", func(t *testing.T) {
		browser.Do(t,
			chromedp.Navigate(server.URL+"/graphiql"),
			browsertest.WaitForText(browsertest.QueryText, `greeting(to: "it's me")`),
			browsertest.WaitForText(browsertest.HeadersText, "Bearer "+fakeToken),
			browsertest.Click(browsertest.PlayButton),
			browsertest.WaitForText(browsertest.ResponseText, answer),
			browsertest.Screenshot(t, "answer.png"),
		)
		if diff := cmp.Diff([]string{query}, api.asked()); diff != "" {
			t.Errorf("queries (-want +got):\n%s", diff)
		}
	})

	t.Run("SchemaIsLoaded", func(t *testing.T) {
		browser.Do(t,
			browsertest.Click(browsertest.DocsButton),
			browsertest.WaitForText(browsertest.DocsPanel, "Query"),
			browsertest.Click(`.graphiql-doc-explorer-type-name`),
			browsertest.WaitForText(browsertest.DocsPanel, "Says hello."),
			browsertest.Screenshot(t, "docs.png"),
		)
	})

	t.Run("TokenIsNotStored", func(t *testing.T) {
		browser.Do(t,
			browsertest.WaitForStorage("graphiql:queries", "greeting"),
			browsertest.WaitForStorage("graphiql:tabState", "greeting"),
		)
		stored := browsertest.Evaluate[string](t, browser, `JSON.stringify([localStorage, sessionStorage, document.cookie])`)
		if strings.Contains(stored, fakeToken) {
			t.Errorf("the browser keeps the token: %s", stored)
		}
	})

	t.Run("PresetWinsOverStored", func(t *testing.T) {
		browser.Do(t,
			browsertest.ReplaceQuery("{ somethingElse }"),
			browsertest.WaitForStorage("graphiql:tabState", "somethingElse"),
			chromedp.Reload(),
			browsertest.WaitForText(browsertest.QueryText, `greeting(to: "it's me")`),
			browsertest.WaitForText(browsertest.HeadersText, "Bearer "+fakeToken),
			browsertest.Click(browsertest.PlayButton),
			browsertest.WaitForText(browsertest.ResponseText, answer),
			browsertest.Screenshot(t, "second-visit.png"),
		)
		if diff := cmp.Diff([]string{query, query}, api.asked()); diff != "" {
			t.Errorf("queries (-want +got):\n%s", diff)
		}
		if tabs := browsertest.Evaluate[int](t, browser, countTabs); tabs != 1 {
			t.Errorf("%d tabs, want only that of the preset", tabs)
		}
	})

	t.Run("OtherTabsHaveTheToken", func(t *testing.T) {
		browser.Do(t,
			browsertest.Click(`button[aria-label="New tab"]`),
			browsertest.WaitFor(countTabs+" === 2"),
			browsertest.WaitForText(browsertest.HeadersText, "Bearer "+fakeToken),
		)
	})

	t.Run("TurkishLettersAreNotOutlined", func(t *testing.T) {
		browser.Do(t,
			// The em space is outlined, which tells when Monaco has looked.
			browsertest.ReplaceQuery("{ aydın\u2003aydın }"),
			browsertest.WaitFor(`document.querySelector(".graphiql-query-editor .unicode-highlight")`),
			browsertest.Screenshot(t, "letters.png"),
		)
		outlined := browsertest.Evaluate[int](t, browser, `document.querySelectorAll(".graphiql-query-editor .unicode-highlight").length`)
		if outlined != 1 {
			t.Errorf("%d characters are outlined, want only the em space", outlined)
		}
	})
}
