package rest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"roster/rest"
)

func TestDocs(t *testing.T) {
	recorder := httptest.NewRecorder()
	rest.Docs().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/docs/", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("status %d", recorder.Code)
	}
	body := recorder.Body.String()
	for path, item := range loadDocument(t).Paths.Map() {
		for _, want := range []string{path, item.Get.Summary, `id="` + item.Get.OperationID + `"`} {
			if !strings.Contains(body, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
	}
	for _, name := range rest.WorthParameterNames() {
		if !strings.Contains(body, "<code>"+name+"</code>") {
			t.Errorf("the page lacks the parameter %q", name)
		}
	}
	policy := recorder.Header().Get("Content-Security-Policy")
	for _, never := range []string{"<script", "http://", "https://", "ZgotmplZ", "%!"} {
		if strings.Contains(body, never) {
			t.Errorf("the page has %q", never)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
}
