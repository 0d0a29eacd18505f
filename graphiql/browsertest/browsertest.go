// Package browsertest drives GraphiQL in Chromium. It is for tests only.
package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
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
	"github.com/chromedp/chromedp/kb"
)

// Selectors of the parts of GraphiQL that tests look at and click.
const (
	// QueryText is the text of the query editor.
	QueryText = ".graphiql-query-editor .view-lines"
	// HeadersText is the text of the Headers tab.
	HeadersText = ".graphiql-editor-tool .graphiql-editor:not(.hidden) .view-lines"
	// ResponseText is the text of the result.
	ResponseText = ".graphiql-response .view-lines"
	// PlayButton sends the query.
	PlayButton = "button.graphiql-execute-button"
	// DocsButton opens the docs panel.
	DocsButton = `button[aria-label="Show Documentation Explorer"]`
	// DocsPanel is the docs panel.
	DocsPanel = ".graphiql-plugin"
)

// Step is one thing to do in the browser.
type Step = chromedp.Action[chromedp.Void]

// patience is how long the steps of one call of Do may take together.
const patience = 30 * time.Second

// Browser is a Chromium with a fresh profile and one page.
type Browser struct {
	ctx context.Context
}

// Start starts Chromium. When the test ends it fails if the page asked another
// host than that of baseURL for anything, if a request failed, or if the
// console shows an error. Without Chromium the test is skipped, or fails if
// REQUIRE_CHROMIUM is 1.
//
// Requests that a worker makes are not seen here; that they reach no other
// host either is left to the resolver rules.
func Start(t *testing.T, baseURL string) *Browser {
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
	return &Browser{ctx}
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
	// A newcomer has Go and nothing else. CI sets the variable, so there it fails.
	t.Skip(message)
	return ""
}

// problemIn says what is wrong with an event of the browser, if anything.
func problemIn(event any, host string) string {
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		if !isLocal(event.Request.URL, host) {
			return "request to " + event.Request.URL
		}
	case *network.EventLoadingFailed:
		// A reload cancels what is under way. Answers of status 400 and above
		// are no failure here; the log has them.
		if !event.Canceled {
			return fmt.Sprintf("request for a %s failed: %s", event.Type, event.ErrorText)
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
			text := []string{"console:"}
			for _, arg := range event.Args {
				text = append(text, string(arg.Value)+arg.Description)
			}
			return strings.Join(text, " ")
		}
	}
	return ""
}

// isLocal reports whether an address is the host's or carries its own content.
func isLocal(address, host string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Host == host || u.Scheme == "data" || u.Scheme == "blob")
}

// Do takes the steps one after the other. It ends the test when one fails or
// does not get done, and keeps a picture of what the page showed then.
func (b *Browser) Do(t *testing.T, steps ...Step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		_ = chromedp.Do(b.ctx, Screenshot(t, "failure.png"))
		t.Fatal(err)
	}
}

// Open goes to an address and returns the answer that the page came with.
func (b *Browser) Open(t *testing.T, address string) *network.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	response, err := chromedp.Run(ctx, chromedp.NavigateResponse(address))
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// Evaluate returns the value of a JavaScript expression.
func Evaluate[T any](t *testing.T, b *Browser, expression string) T {
	t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// WaitFor waits until a JavaScript expression is true. chromedp.Poll is no use
// here: it builds a function from text, which the page's policy refuses.
func WaitFor(expression string) Step {
	return chromedp.Evaluate[chromedp.Void](`new Promise((resolve) => {
		const look = () => (`+expression+`) ? resolve() : requestAnimationFrame(look);
		look();
	})`, chromedp.EvalAwaitPromise)
}

// WaitForText waits until an element that the selector finds shows the text.
// Any blanks, line breaks and the editor's no-break spaces included, count as
// one space.
func WaitForText(selector, text string) Step {
	return WaitFor(fmt.Sprintf(`[...document.querySelectorAll(%s)].some(
		(element) => element.textContent.replaceAll(/\s+/g, " ").includes(%s))`,
		quote(selector), quote(strings.Join(strings.Fields(text), " "))))
}

// WaitForStorage waits until the browser has stored the text under a key.
func WaitForStorage(key, text string) Step {
	return WaitFor(fmt.Sprintf(`localStorage.getItem(%s)?.includes(%s)`, quote(key), quote(text)))
}

// quote returns the JavaScript literal of a text.
func quote(text string) string {
	literal, err := json.Marshal(text)
	if err != nil {
		panic(err) // A string has a JSON form, always.
	}
	return string(literal)
}

// Click waits until the element that the selector finds is there and clicks it.
func Click(selector string) Step {
	return chromedp.Click(chromedp.CSS(selector))
}

// PressKeys presses and releases keys one after the other.
func PressKeys(keys string) Step {
	return chromedp.KeyEvent(keys)
}

// InsertText types a text into the element that has the focus. The editors
// close brackets meanwhile, and take a closing one that follows for their own.
func InsertText(text string) Step {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, input.InsertText, input.InsertTextParams{Text: text})
		return err
	})
}

// ReplaceQuery types a text in place of the query. The query is deleted first,
// because the editor puts a bracket that is typed over a selection around it.
func ReplaceQuery(text string) Step {
	return chromedp.Steps(
		Click(QueryText),
		chromedp.KeyEvent("a", chromedp.KeyModifiers(chromedp.ModifierCtrl)),
		PressKeys(kb.Backspace),
		InsertText(text),
	)
}

// Screenshot keeps a picture of the page among the artifacts of the test; see
// the flag -artifacts of go test.
func Screenshot(t *testing.T, name string) Step {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		picture, err := chromedp.CaptureScreenshot()(ctx, target)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(t.ArtifactDir(), name), picture, 0o600)
	})
}
