//go:build linux

package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// The harness runs from end to end on very little data. It is here so that the
// benchmark still works when it is wanted; its figures mean nothing.
func TestRun(t *testing.T) {
	s := settings{
		large: 2_000, customers: 3, users: 40, rounds: 1, duration: 100 * time.Millisecond,
		sqlite: true, extras: false,
	}
	var report, progress bytes.Buffer
	err := run(t.Context(), s, &report, &progress)
	if errors.Is(err, errNoPostgres) {
		if os.Getenv("REQUIRE_POSTGRES") == "1" {
			t.Fatalf("PostgreSQL cannot be had, and REQUIRE_POSTGRES is 1: %v", err)
		}
		t.Skipf("PostgreSQL cannot be had: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	for _, scenario := range []string{page20Small, page20Large, totalLarge, cursorLarge, numberedLarge, searchNobody, worthPage} {
		if !strings.Contains(report.String(), "| "+scenario+" | "+rosterName+" |") {
			t.Errorf("the report has nothing of %q:\n%s", scenario, &report)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		numbers []float64
		want    float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(test.numbers); got != test.want {
			t.Errorf("median(%v) is %v, want %v", test.numbers, got, test.want)
		}
	}
}

// Targets write the same values in different ways.
func TestLeaves(t *testing.T) {
	a, errA := leaves([]byte(`{"x":{"id":"a","n":7,"at":"2024-02-12T14:16:49.053Z","none":null}}`))
	b, errB := leaves([]byte(`{"at":"2024-02-12T14:16:49.053+00:00","id":["a"],"n":"7","none":null}`))
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if strings.Join(a, " ") != strings.Join(b, " ") {
		t.Errorf("%q is not %q", a, b)
	}
}
