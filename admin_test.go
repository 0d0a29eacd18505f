package main

import (
	"net"
	"strings"
	"testing"
	"time"
)

// Profiles and metrics are on the operator's listener and on no other, and tell
// of routes and not of paths.
func TestAdminListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := listener.Addr().String()
	listener.Close()
	server := startTestServer(t, nil, func(s *serverSettings) { s.AdminListen = admin })
	paths := []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"}
	for _, path := range paths {
		if status, _, body := ask(t, "GET", server.url+path, server.token(t, "a"), ""); status != 404 {
			t.Errorf("%s for everyone: %d %.200s", path, status, body)
		}
	}
	for _, at := range server.surfaces() {
		server.ask(t, at, server.token(t, "a"))
		server.ask(t, at, "")
	}
	for _, path := range paths {
		if status, _, body := ask(t, "GET", "http://"+admin+path, "", ""); status != 200 {
			t.Errorf("%s for the operator: %d %.200s", path, status, body)
		}
	}
	var metrics string
	for _, want := range []string{
		`roster_requests_total{route="/graphql",status="200"} 1`,
		`roster_requests_total{route="/graphql",status="401"} 1`,
		`roster_requests_total{route="/auth/api/v1/customers/{customerID}/users",status="200"} 1`,
		`roster_requests_total{route="/account/api/v1/customers/{customerId}/users/",status="401"} 1`,
		`roster_request_duration_seconds_count{route="/graphql"} 2`,
		"roster_requests_running 0", "roster_requests_shed_total 0", "roster_documents_running 0", "roster_documents_waiting 0",
	} {
		// A client may have its answer a little before it is counted.
		if !within(10*time.Second, func() bool {
			_, _, metrics = ask(t, "GET", "http://"+admin+"/metrics", "", "")
			return strings.Contains(metrics, want+"\n")
		}) {
			t.Fatalf("%q is missing in the metrics", want)
		}
	}
	if strings.Contains(metrics, string(server.customers[generated].ID)) {
		t.Error("the metrics name a customer")
	}
}
