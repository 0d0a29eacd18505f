package graph

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"roster/models"
)

// The scalars are our own so that input is read strictly, with messages that say
// what is allowed, and so that output has one form. gqlgen finds each by its
// Marshal and Unmarshal function.

// MarshalID writes a UUID.
func MarshalID(id models.ID) graphql.Marshaler { return graphql.MarshalString(string(id)) }

// UnmarshalID reads a UUID. Anything else is CodeBadUserInput.
func UnmarshalID(v any) (models.ID, error) {
	text, ok := v.(string)
	if !ok {
		return "", unexpected("an ID", "a UUID in quotes")
	}
	if err := models.CheckText(text); err != nil {
		return "", err
	}
	return models.ParseID(text)
}

// MarshalString writes a text.
func MarshalString(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalString reads a text that both databases can hold. Anything else is CodeBadUserInput.
func UnmarshalString(v any) (string, error) {
	text, ok := v.(string)
	if !ok {
		return "", unexpected("a String", "text in quotes")
	}
	return text, models.CheckText(text)
}

// MarshalInt writes a whole number.
func MarshalInt(n int) graphql.Marshaler { return graphql.MarshalInt(n) }

// UnmarshalInt reads a whole number of 32 bits, which is what the GraphQL
// specification allows an Int. Anything else is CodeBadUserInput.
func UnmarshalInt(v any) (int, error) {
	n, err := wholeNumber(v, "an Int", math.MinInt32, math.MaxInt32)
	return int(n), err
}

// MarshalLong writes a whole number of 64 bits.
func MarshalLong(n int64) graphql.Marshaler { return graphql.MarshalInt64(n) }

// UnmarshalLong reads a whole number of 64 bits. Anything else is CodeBadUserInput.
func UnmarshalLong(v any) (int64, error) {
	return wholeNumber(v, "a Long", math.MinInt64, math.MaxInt64)
}

func wholeNumber(v any, what string, least, most int64) (int64, error) {
	var (
		n   int64
		err error
	)
	switch v := v.(type) {
	case int64: // a literal, or a variable that was checked
		n = v
	case int:
		n = int64(v)
	case json.Number:
		n, err = strconv.ParseInt(v.String(), 10, 64)
	default:
		return 0, unexpected(what, "a whole number without quotes")
	}
	if err != nil || n < least || n > most {
		return 0, unexpected(what, fmt.Sprintf("a whole number from %d to %d", least, most))
	}
	return n, nil
}

// MarshalDateTime writes a time in UTC with exactly three fractional digits.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	return graphql.MarshalString(t.UTC().Format(models.TimeLayout))
}

// UnmarshalDateTime reads a time of RFC 3339. Anything else is CodeBadUserInput.
func UnmarshalDateTime(v any) (time.Time, error) {
	text, ok := v.(string)
	if !ok {
		return time.Time{}, unexpected("a DateTime", "a time in quotes, such as "+models.ExampleTime)
	}
	return models.ParseTime(text)
}

func unexpected(what, expected string) error {
	refused := models.Errorf(models.CodeBadUserInput, "the value is not %s: %s is expected", what, expected)
	refused.NamesSchema = true
	return refused
}
