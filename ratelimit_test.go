package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"roster/auth"
	"roster/models"
)

// Each caller has a rate of its own, whatever it calls; who is beyond it is told
// in the words of the API, and how long to wait.
func TestRateLimit(t *testing.T) {
	server := startTestServer(t, nil, func(s *serverSettings) { s.RateLimit, s.RateBurst = 0.5, 4 })
	clock := time.Now()
	server.rates.now = func() time.Time { return clock }
	busy, other := server.token(t, "busy"), server.token(t, "other")
	for i := range 4 {
		status, header, body := server.ask(t, server.surfaces()[i%3], busy)
		if want := fmt.Sprintf(`"caller";r=%d;t=%d`, 3-i, 2*(i+1)); status != 200 || header.Get("RateLimit") != want || header.Get("RateLimit-Policy") != `"caller";q=4;w=8` {
			t.Fatalf("request %d: %d %v %.200s", i, status, header, body)
		}
	}
	for _, at := range server.surfaces() {
		status, header, body := server.ask(t, at, busy)
		if status != http.StatusTooManyRequests || !strings.Contains(body, at.code[models.CodeRateLimited]) || header.Get("Retry-After") != "2" || header.Get("RateLimit") != `"caller";r=0;t=8` {
			t.Errorf("%s: %d %v %s", at.name, status, header, body)
		}
		if status, _, body := server.ask(t, at, other); status != 200 {
			t.Errorf("%s, another caller: %d %s", at.name, status, body)
		}
		if status, header, _ := server.ask(t, at, "x.y.z"); status != 401 || header.Get("RateLimit") != "" {
			t.Errorf("%s, nobody: %d %v", at.name, status, header)
		}
	}
	clock = clock.Add(2 * time.Second)
	if status, _, body := server.ask(t, server.surfaces()[0], busy); status != 200 {
		t.Errorf("after the wait: %d %s", status, body)
	}
}

// The same subject of two issuers is two callers, each with a rate of its own.
func TestRateLimitTellsIssuersApart(t *testing.T) {
	handler := newRateLimiter(0.001, 1).middleware(func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.WriteHeader(http.StatusTooManyRequests)
	})(http.NotFoundHandler())
	for _, want := range []int{http.StatusNotFound, http.StatusTooManyRequests} {
		for _, issuer := range []string{"own", "partner"} {
			ctx := auth.WithPrincipal(t.Context(), &auth.Principal{Issuer: issuer, Subject: "s"})
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
			if answer.Code != want {
				t.Errorf("%s: %d, want %d", issuer, answer.Code, want)
			}
		}
	}
}

// Without a setting there is no limit and no word of one.
func TestRateLimitIsOffByDefault(t *testing.T) {
	server := startTestServer(t, nil)
	if _, header, _ := server.ask(t, server.surfaces()[0], server.token(t, "a")); server.rates != nil || header.Get("RateLimit") != "" {
		t.Errorf("headers %v", header)
	}
}

// However many callers there are, only the latest are remembered.
func TestRateLimitForgetsCallers(t *testing.T) {
	rates := newRateLimiter(1, 0)
	always := callerName{"", "0"}
	first := rates.bucket(always)
	for i := range maxCallers + 100 {
		rates.bucket(callerName{"", fmt.Sprint(i)})
		rates.bucket(always)
	}
	if len(rates.callers) != maxCallers || rates.latest.Len() != maxCallers {
		t.Errorf("%d and %d are remembered", len(rates.callers), rates.latest.Len())
	}
	if rates.bucket(always) != first {
		t.Error("one who calls all the time was forgotten")
	}
}

// Without a burst of its own, a caller may make at once what one second allows.
func TestRateLimitWithoutABurst(t *testing.T) {
	handler := newRateLimiter(2.5, 0).middleware(func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.WriteHeader(http.StatusTooManyRequests)
	})(http.NotFoundHandler())
	for i, want := range []int{http.StatusNotFound, http.StatusNotFound, http.StatusNotFound, http.StatusTooManyRequests} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
		if policy := answer.Header().Get("RateLimit-Policy"); answer.Code != want || policy != `"caller";q=3;w=2` {
			t.Errorf("request %d: %d, want %d; the policy is %s", i, answer.Code, want, policy)
		}
	}
}
