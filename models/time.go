package models

import (
	"strings"
	"time"
)

// TimeLayout is the form of a time in every answer: UTC with exactly three
// digits of a second.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// ExampleTime is a time in the form that messages show.
const ExampleTime = "2024-02-12T14:16:49.053Z"

// ParseTime reads a time in the form of RFC 3339 and gives it in UTC. It must
// have a zone, at most six fractional digits (a finer one could not be compared
// exactly) and lie in the years 1 to 9999. Anything else is CodeBadUserInput.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	// time.Parse is more lenient than the RFC: it takes hours of one digit, a comma
	// before the fraction and zones of 24 hours or 60 minutes.
	if err != nil || len(s) < len("2006-01-02T15:04:05Z") || s[10] != 'T' || s[13] != ':' || strings.Contains(s, ",") ||
		!strings.HasSuffix(s, "Z") && (s[len(s)-5:len(s)-3] > "23" || s[len(s)-2:] > "59") {
		return time.Time{}, Errorf(CodeBadUserInput, "%s is not a time: RFC 3339 with a zone is expected, such as %s", Quote(s), ExampleTime)
	}
	t = t.UTC()
	if t.Truncate(time.Microsecond) != t {
		return time.Time{}, Errorf(CodeBadUserInput, "%s is too fine: at most six fractional digits are allowed", Quote(s))
	}
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, Errorf(CodeBadUserInput, "%s is out of range: the years 0001 to 9999 are allowed", Quote(s))
	}
	return t, nil
}
