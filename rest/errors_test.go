package rest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"roster/graph"
	"roster/models"
	"roster/rest"
)

// failing is an executor that answers everything with one error.
type failing struct{ code models.Code }

// ExecuteStored runs a document, or panics.
func (f failing) ExecuteStored(context.Context, graph.Request) graph.Response {
	return graph.Response{Errors: gqlerror.List{{
		Message:    "what GraphQL says",
		Extensions: map[string]any{"code": string(f.code)},
	}}}
}

// Every code has an answer of its own in both APIs, and the answer is as documented.
func TestEveryCode(t *testing.T) {
	for _, code := range append(models.Codes(), "SOMETHING_NEW") {
		t.Run(string(code), func(t *testing.T) {
			config := configFor(nil)
			config.Executor = failing{code}
			s := serve(t, config)
			worth, testinium := rest.NewWorth(config), rest.NewTestinium(config)
			status, name, message := answerOf(t, worth, code)
			want := fmt.Sprintf(`%d {"message":%q,"errorCode":%q}`, status, message, name)
			if diff := cmp.Diff(want, s.get(t, worthUsers(sandbox, "")).String()); diff != "" {
				t.Error(diff)
			}
			status, name, message = answerOf(t, testinium, code)
			want = fmt.Sprintf(`%d {"status":%d,"error":%q,"message":%q}`, status, status, name, message)
			if diff := cmp.Diff(want, s.get(t, testiniumUsers(1)).String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// answerOf reads the table of an API. A code of tomorrow is an internal error.
func answerOf(t *testing.T, api *rest.API, code models.Code) (status int, name, message string) {
	t.Helper()
	if code == "SOMETHING_NEW" {
		code = models.CodeInternal
	}
	status, name = api.StatusOf(code)
	if status == 0 || name == "" {
		t.Fatalf("%s has no answer", code)
	}
	if status == http.StatusInternalServerError {
		return status, name, models.InternalMessage
	}
	return status, name, "what GraphQL says"
}

// broken is an executor whose data has not the form it must have.
type broken struct{}

func (broken) ExecuteStored(context.Context, graph.Request) graph.Response {
	return graph.Response{Data: []byte(`{"customer":[]}`)}
}

func TestBrokenData(t *testing.T) {
	config := configFor(nil)
	config.Executor = broken{}
	s := serve(t, config)
	for path, want := range map[string]string{
		worthUsers(sandbox, ""): `500 {"message":"` + models.InternalMessage + `","errorCode":"ERR_INTERNAL_SERVER"}`,
		testiniumUsers(1):       `500 {"status":500,"error":"INTERNAL_SERVER_ERROR","message":"` + models.InternalMessage + `"}`,
	} {
		if diff := cmp.Diff(want, s.get(t, path).String()); diff != "" {
			t.Error(diff)
		}
	}
}

// panicking is an executor with a mistake in it.
type panicking struct{}

func (panicking) ExecuteStored(context.Context, graph.Request) graph.Response { panic("a secret") }

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	config := configFor(nil)
	config.Executor, config.Log = panicking{}, slog.New(slog.NewTextHandler(&log, nil))
	s := serve(t, config)
	want := `500 {"message":"` + models.InternalMessage + `","errorCode":"ERR_INTERNAL_SERVER"}`
	if diff := cmp.Diff(want, s.get(t, worthUsers(sandbox, "")).String()); diff != "" {
		t.Error(diff)
	}
	if text := log.String(); !strings.Contains(text, "requestId=the-request") || !strings.Contains(text, "errors_test.go") || strings.Contains(text, "a secret") {
		t.Errorf("the log has %s", text)
	}
}

// The log names the route that a request took, without the ids in its path.
func TestPattern(t *testing.T) {
	config := configFor(nil)
	config.Executor = failing{models.CodeForbidden}
	api := rest.NewTestinium(config)
	for path, want := range map[string]string{
		testiniumUsers(1):                  rest.TestiniumPrefix + "customers/{customerId}/users/",
		rest.TestiniumPrefix + "elsewhere": rest.TestiniumPrefix,
	} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		api.ServeHTTP(httptest.NewRecorder(), request)
		if request.Pattern != want {
			t.Errorf("%s: %q, want %q", path, request.Pattern, want)
		}
	}
}

// The stored documents are good ones of the schema that clients see.
func TestDocumentsFitTheSchema(t *testing.T) {
	text, err := os.ReadFile("../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema.graphqls", Input: string(text)})
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range rest.Documents() {
		if _, err := gqlparser.LoadQueryWithRules(schema, document, rules.NewDefaultRules()); err != nil {
			t.Errorf("%v in\n%s", err, document)
		}
		if _, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: document}, rest.DocumentTokens); err != nil {
			t.Errorf("%v in\n%s", err, document)
		}
	}
}

// panicsAt is an executor that panics at the second page of a list.
type panicsAt struct{ *paged }

func (p panicsAt) ExecuteStored(ctx context.Context, request graph.Request) graph.Response {
	response := p.paged.ExecuteStored(ctx, request)
	if p.pages.Load() == 2 {
		panic("a secret")
	}
	return response
}

// A panic in the middle of an answer cuts it: an error after a part of the array would end
// it in order.
func TestPanicInTheMiddle(t *testing.T) {
	s, data := filled(t, 100, func(config *rest.Config) {
		config.Executor = panicsAt{&paged{Executor: config.Executor, size: 10}}
	})
	answer, err := s.Client().Do(s.request(t, http.MethodGet, testiniumUsers(data.Customers[0].Number)))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := readBody(answer); err == nil || len(body) == 0 || bytes.Contains(body, []byte(models.InternalMessage)) {
		t.Errorf("%s, error %v: %s", answer.Status, err, body)
	}
}

// The log has a failure when the time for an answer is over, and none when its client has
// left.
func TestWhoLeavesIsNoFailure(t *testing.T) {
	for _, left := range []bool{false, true} {
		var log bytes.Buffer
		config := configFor(nil)
		config.Log = slog.New(slog.NewTextHandler(&log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if left {
			cancel()
		}
		answer := httptest.NewRecorder()
		rest.NewTestinium(config).Refuse(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil),
			&models.Error{Code: models.CodeTimeout, Message: "The answer took too long.", Err: context.DeadlineExceeded})
		if answer.Code != http.StatusGatewayTimeout || (log.Len() == 0) != left {
			t.Errorf("left: %t; %d, and the log has %q", left, answer.Code, log.String())
		}
	}
}

// brokenSecrets is a store of credentials that fails after some pages.
type brokenSecrets struct{ after int }

// LegacyCredentialsByUser fails.
func (s *brokenSecrets) LegacyCredentialsByUser(context.Context, models.Scope, []models.ID) (map[models.ID]*models.LegacyCredentials, error) {
	s.after--
	if s.after < 0 {
		return nil, errors.New("text of a driver")
	}
	return nil, nil
}

// What fails on this side, before an answer and in the middle of one, is told to the log,
// with the request's id and without the text of its cause.
func TestFailuresInTheLog(t *testing.T) {
	for _, after := range []int{0, 1} {
		var log bytes.Buffer
		_, _ = answerList(t, http.MethodGet, func(config *rest.Config) {
			config.Executor, config.Log = &paged{Executor: config.Executor, size: 10}, slog.New(slog.NewTextHandler(&log, nil))
			config.Credentials = &brokenSecrets{after}
		})
		text := log.String()
		if strings.Count(text, "\n") != 1 || strings.Contains(text, "of a driver") || !strings.Contains(text, `msg="legacy request failed" requestId=the-request code=INTERNAL_SERVER_ERROR cause=`) {
			t.Errorf("after %d pages the log has %q", after, text)
		}
	}
}
