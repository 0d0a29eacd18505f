package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"roster/graphiql/browsertest"
)

// graphiqlPolicy is what the page may do. Only styles have an exception, which
// the editor needs.
const graphiqlPolicy = "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; " +
	"style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// What a visitor of the demo does in GraphiQL, in a real browser. That nothing
// fails and no other host is asked, browsertest checks.
func TestGraphiQL(t *testing.T) {
	facts := startDemo(t, "--users", "50")
	browser := browsertest.Start(t, facts.URL)
	const mistakes = ".graphiql-query-editor .squiggly-error"

	// The steps build on each other: they are one visit.
	t.Run("RootLeadsToThePage", func(t *testing.T) {
		response := browser.Open(t, facts.URL+"/")
		if response.URL != facts.GraphiQL || response.Status != 200 {
			t.Errorf("%s, status %d", response.URL, response.Status)
		}
		if got := response.Headers["Content-Security-Policy"]; got != graphiqlPolicy {
			t.Errorf("Content-Security-Policy: %v", got)
		}
	})

	t.Run("PlayShowsUsers", func(t *testing.T) {
		browser.Do(t,
			browsertest.WaitForText(browsertest.QueryText, "query Users {"),
			browsertest.WaitForText(browsertest.HeadersText, "Bearer "),
			browsertest.Click(browsertest.PlayButton),
			browsertest.WaitForText(browsertest.ResponseText, firstUser(t, facts)),
			browsertest.Screenshot(t, "play.png"),
		)
	})

	t.Run("CompletionListsUsers", func(t *testing.T) {
		browser.Do(t,
			browsertest.ReplaceQuery("{ customers { nodes { name "),
			browsertest.PressKeys("us"),
			browsertest.WaitForText(".suggest-widget.visible .monaco-list-row", "users"),
			browsertest.Screenshot(t, "completion.png"),
			browsertest.PressKeys(kb.Escape),
		)
	})

	t.Run("WrongFieldIsUnderlined", func(t *testing.T) {
		browser.Do(t,
			browsertest.ReplaceQuery("{ customers { nodes { name } } }"),
			browsertest.WaitFor(`!document.querySelector("`+mistakes+`")`),
			browsertest.ReplaceQuery("{ customers { nodes { surname } } }"),
			browsertest.WaitFor(`document.querySelectorAll("`+mistakes+`").length === 1`),
			// F8 goes to the mistake and says what it is.
			browsertest.PressKeys(kb.F8),
			browsertest.WaitForText(".marker-widget", `Cannot query field "surname" on type "Customer".`),
			browsertest.Screenshot(t, "mistake.png"),
			browsertest.PressKeys(kb.Escape),
		)
	})

	t.Run("DocsShowDescriptions", func(t *testing.T) {
		browser.Do(t,
			browsertest.Click(browsertest.DocsButton),
			browsertest.Click(".graphiql-doc-explorer-search"),
			browsertest.InsertText("users"),
			// The list is filtered a moment later.
			browsertest.WaitFor(`[...document.querySelectorAll("[role=option]")].every((option) => /users/i.test(option.textContent))`),
			browsertest.WaitForText("[role=option]", "Customer.users"),
			browsertest.Screenshot(t, "docs-search.png"),
			chromedp.Click(chromedp.Search(`//*[@role="option"][contains(., "Customer.users")]`)),
			browsertest.WaitForText(browsertest.DocsPanel, describeUsers(t)),
			browsertest.Screenshot(t, "docs.png"),
		)
	})
}

// firstUser asks what the example asks, and returns how the answer's first user
// begins in the editor.
func firstUser(t *testing.T, facts demoFacts) string {
	t.Helper()
	body := string(mustJSON(map[string]any{"query": fmt.Sprintf(demoQuery, facts.Customers[generated].Number)}))
	status, _, text := ask(t, http.MethodPost, facts.GraphQL, facts.Tokens.Admin, body)
	var answer struct {
		Data struct {
			CustomerByNumber struct {
				Users struct {
					Nodes []struct{ FirstName, LastName, Email string }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	users := answer.Data.CustomerByNumber.Users.Nodes
	if status != http.StatusOK || len(users) == 0 {
		t.Fatalf("status %d: %s", status, text)
	}
	return fmt.Sprintf(`"firstName": %q, "lastName": %q, "email": %q`, users[0].FirstName, users[0].LastName, users[0].Email)
}

// describeUsers returns what schema.graphqls says about Customer.users, up to
// the first word that is not shown as it is written.
func describeUsers(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Input: string(source)})
	if err != nil {
		t.Fatal(err)
	}
	description, _, _ := strings.Cut(schema.Types["Customer"].Fields.ForName("users").Description, "`")
	if description == "" {
		t.Fatal("Customer.users has no description")
	}
	return description
}
