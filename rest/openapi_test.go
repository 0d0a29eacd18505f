package rest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/go-cmp/cmp"

	"roster/rest"
)

// document is /openapi.json as kin-openapi reads it.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	data, err := fetch(rest.OpenAPI(), "/openapi.json")
	if err != nil {
		return nil, err
	}
	return openapi3.NewLoader().LoadFromData(data)
})

func loadDocument(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// checkDocumented fails the test for an answer that the OpenAPI document does
// not allow: its status, headers and body. Every answer that a test reads comes
// through here.
func checkDocumented(t testing.TB, request *http.Request, got response) {
	t.Helper()
	doc := loadDocument(t)
	path, item := documentedPath(doc, request.URL.EscapedPath())
	operation := nowhere(doc, request.URL.Path)
	if item != nil {
		operation = item.Get
	}
	if request.Method == http.MethodOptions && got.status == http.StatusNoContent {
		return
	}
	body := io.NopCloser(strings.NewReader(got.body))
	validated := request.Clone(t.Context())
	if request.Method == http.MethodHead || got.status == http.StatusNotModified {
		if got.body != "" {
			t.Errorf("%s %s: %d with a body", request.Method, path, got.status)
		}
		if operation.Responses.Status(got.status) == nil {
			t.Errorf("%s %s: status %d is not documented", request.Method, path, got.status)
		}
		return
	}
	validated.Method = http.MethodGet // a method that is refused has its answer among those of GET
	err := openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: validated,
			Route:   &routers.Route{Spec: doc, Path: path, PathItem: item, Method: http.MethodGet, Operation: operation},
		},
		Status:  got.status,
		Header:  got.header,
		Body:    body,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		t.Errorf("%s %s: the answer is not as documented: %v", request.Method, request.URL, err)
	}
}

// documentedPath finds the path of the document that an address belongs to.
func documentedPath(doc *openapi3.T, address string) (string, *openapi3.PathItem) {
	for _, path := range doc.Paths.InMatchingOrder() {
		if fits(path, address) {
			return path, doc.Paths.Value(path)
		}
	}
	return address, nil
}

func fits(path, address string) bool {
	wanted, segments := strings.Split(path, "/"), strings.Split(address, "/")
	return slices.EqualFunc(wanted, segments, func(want, segment string) bool {
		return want == segment || strings.HasPrefix(want, "{") && segment != ""
	})
}

// nowhere is what the document says of addresses that lead nowhere. Who has no
// token learns that first.
func nowhere(doc *openapi3.T, address string) *openapi3.Operation {
	api := "Worth"
	if strings.HasPrefix(address, rest.TestiniumPrefix) {
		api = "Testinium"
	}
	responses := doc.Components.Responses
	return &openapi3.Operation{Responses: openapi3.NewResponses(
		openapi3.WithStatus(http.StatusNotFound, responses["NothingIn"+api]),
		openapi3.WithStatus(http.StatusUnauthorized, responses[api+"Unauthorized"]),
	)}
}

func TestOpenAPIIsValid(t *testing.T) {
	if err := loadDocument(t).Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOpenAPIHasEveryRoute(t *testing.T) {
	doc := loadDocument(t)
	var documented []string
	for path := range doc.Paths.Map() {
		documented = append(documented, path)
	}
	slices.Sort(documented)
	routes := append(rest.NewWorth(configFor(nil)).Patterns(), rest.NewTestinium(configFor(nil)).Patterns()...)
	slices.Sort(routes)
	if diff := cmp.Diff(routes, documented); diff != "" {
		t.Errorf("-routes +documented:\n%s", diff)
	}
}

// Every parameter is documented, and no other is.
func TestOpenAPIHasEveryParameter(t *testing.T) {
	var documented []string
	for _, parameter := range loadDocument(t).Paths.Value(rest.WorthPrefix + "customers/{customerID}/users").Get.Parameters {
		brackets := []string{"query", "filter", "search_filter"}
		if name := parameter.Value.Name; parameter.Value.In == "query" && !slices.Contains(brackets, name) {
			documented = append(documented, name)
		}
	}
	slices.Sort(documented)
	if diff := cmp.Diff(rest.WorthParameterNames(), documented); diff != "" {
		t.Errorf("-known +documented:\n%s", diff)
	}
}

// The examples of the document are what it says they are.
func TestOpenAPIExamples(t *testing.T) {
	for path, item := range loadDocument(t).Paths.Map() {
		for status, answer := range item.Get.Responses.Map() {
			for _, content := range answer.Value.Content {
				var example any
				data, err := json.Marshal(content.Example)
				if err == nil {
					decoder := json.NewDecoder(bytes.NewReader(data))
					err = decoder.Decode(&example)
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := content.Schema.Value.VisitJSON(example, openapi3.EnableJSONSchema2020()); err != nil {
					t.Errorf("%s, %s: %v", path, status, err)
				}
			}
		}
	}
}
