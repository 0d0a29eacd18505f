package models_test

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/models"
)

func TestCodes(t *testing.T) {
	seen := map[models.Code]bool{}
	form := regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`)
	for _, code := range models.Codes() {
		if seen[code] {
			t.Errorf("%s is listed twice", code)
		}
		seen[code] = true
		if !form.MatchString(string(code)) {
			t.Errorf("%q is not in capitals", code)
		}
	}
	if len(seen) != 18 {
		t.Errorf("%d codes, want 18", len(seen))
	}
}

func TestAsError(t *testing.T) {
	cause := errors.New("the driver says no")
	known := &models.Error{Code: models.CodeUnavailable, Message: "Try again.", Err: cause}
	for _, test := range []struct {
		name string
		err  error
		want *models.Error
	}{
		{"Known", known, known},
		{"Wrapped", fmt.Errorf("while reading: %w", known), known},
		{"Joined", errors.Join(cause, known), known},
		{"Unknown", cause, &models.Error{Code: models.CodeInternal, Message: models.InternalMessage, Err: cause}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := models.AsError(test.err)
			if diff := cmp.Diff(test.want, got, cmp.Comparer(sameError)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !errors.Is(got, cause) {
				t.Error("the cause is not found")
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	without := models.Errorf(models.CodeBadUserInput, "%d is too many", 3)
	if got, want := without.Error(), "3 is too many"; got != want {
		t.Errorf("the text is %q, want %q", got, want)
	}
	with := &models.Error{Code: models.CodeInternal, Message: "Sorry.", Err: errors.New("out of ink")}
	if got, want := with.Error(), "Sorry.: out of ink"; got != want {
		t.Errorf("the text is %q, want %q", got, want)
	}
}
