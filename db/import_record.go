package db

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"roster/models"
)

// optional is a value that a record may lack (not given) or have as null (nil).
type optional[T any] struct {
	given bool
	value *T
}

// set puts the value into its place, unless the record lacks it.
func (o optional[T]) set(place **T) {
	if o.given {
		*place = o.value
	}
}

// maxShort bounds the bytes of an indexed text and of its folded form: the columns of one
// index entry may take some 2,700 bytes together on PostgreSQL, and SQLite is held to the
// same.
const maxShort = 1_000

func checkShort(s string) error {
	if len(s) > maxShort || len(models.Fold(s)) > maxShort {
		return fmt.Errorf("is longer than %d bytes, or its form without accents is", maxShort)
	}
	if err := models.CheckText(s); err != nil {
		return fmt.Errorf("cannot be kept: %w", err)
	}
	return nil
}

// record is a JSON object that is taken apart key by key. The first thing that
// is wrong is kept and ends up as the reason why the row is rejected; reading
// goes on, so that the readers of rows need not ask after every key.
//
// encoding/json would overlook much of what is wrong: keys in other capitals,
// keys that come twice, bytes that are not UTF-8.
type record struct {
	// prefix is put before a key in messages, as in "subrole.".
	prefix string
	fields map[string]json.RawMessage
	err    error
}

func newRecord(raw []byte) *record {
	if !utf8.Valid(raw) {
		return &record{err: errors.New("the record is not valid UTF-8")}
	}
	r := &record{}
	r.fields, r.err = splitObject(raw)
	return r
}

func splitObject(raw []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("it is not an object")
	}
	fields := make(map[string]json.RawMessage, 24)
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		if _, twice := fields[key]; twice {
			return nil, fmt.Errorf("the key %s is there twice", models.Quote(key))
		}
		fields[key] = value
	}
	return fields, nil
}

// close gives what is wrong with the record; a key that nobody has asked for is wrong too.
func (r *record) close() error {
	if r.err == nil && len(r.fields) > 0 {
		r.err = fmt.Errorf("the key %s%s is not known", r.prefix, models.Quote(slices.Min(slices.Collect(maps.Keys(r.fields)))))
	}
	return r.err
}

func (r *record) fail(key, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s%s %w", r.prefix, key, fmt.Errorf(format, args...))
	}
}

// take gives a value that may be absent or null, and then is nil.
func (r *record) take(key string) (raw json.RawMessage, given bool) {
	raw, given = r.fields[key]
	delete(r.fields, key)
	if string(raw) == "null" {
		return nil, given
	}
	return raw, given
}

// nullable reads a value that may be absent or null.
func nullable[T any](r *record, key string, read func(key string, raw json.RawMessage) T) optional[T] {
	raw, given := r.take(key)
	if raw == nil {
		return optional[T]{given: given}
	}
	value := read(key, raw)
	return optional[T]{given: true, value: &value}
}

// required reads a value that must be there.
func required[T any](r *record, key string, read func(key string, raw json.RawMessage) T) (value T) {
	raw, given := r.take(key)
	switch {
	case !given:
		r.fail(key, "is missing")
	case raw == nil:
		r.fail(key, "is null")
	default:
		value = read(key, raw)
	}
	return value
}

// null makes sure that there is no value: it is a secret, which Roster does not keep.
func (r *record) null(key string) {
	if raw, _ := r.take(key); raw != nil {
		r.fail(key, "is not null: Roster does not keep this secret, so it must be taken out of the document")
	}
}

func (r *record) asText(key string, raw json.RawMessage) (s string) {
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		r.fail(key, "is not a text")
		return ""
	}
	if err := models.CheckText(s); err != nil {
		r.fail(key, "cannot be kept: %w", err)
	}
	if models.LoneSurrogate(raw) {
		r.fail(key, "holds an escape that is half of a surrogate pair")
	}
	return s
}

func (r *record) asShort(key string, raw json.RawMessage) string {
	s := r.asText(key, raw)
	if err := checkShort(s); err != nil {
		r.fail(key, "%w", err)
	}
	return s
}

// asName reads a text that must not be empty.
func (r *record) asName(key string, raw json.RawMessage) string {
	s := r.asShort(key, raw)
	if strings.TrimSpace(s) == "" {
		r.fail(key, "is empty")
	}
	return s
}

func (r *record) asBool(key string, raw json.RawMessage) bool {
	if s := string(raw); s != "true" && s != "false" {
		r.fail(key, "is neither true nor false")
	}
	return string(raw) == "true"
}

func (r *record) asInt(key string, raw json.RawMessage) int64 {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		r.fail(key, "is not a whole number of at most 64 bits")
	}
	return n
}

// asNumber reads the number of something, which is positive.
func (r *record) asNumber(key string, raw json.RawMessage) int64 {
	n := r.asInt(key, raw)
	if n < 1 {
		r.fail(key, "is not a positive number")
	}
	return n
}

func (r *record) asID(key string, raw json.RawMessage) models.ID {
	id, err := models.ParseID(r.asText(key, raw))
	if err != nil {
		r.fail(key, "is not a UUID in the form 94520740-d63c-4e02-85ca-c4e138801e73")
	}
	return id
}

func (r *record) asTime(key string, raw json.RawMessage) time.Time {
	t, err := models.ParseTime(r.asText(key, raw))
	if err != nil {
		r.fail(key, "is not a time in the form %s, with a zone, at most six fractional digits and a year of 1 to 9999", models.ExampleTime)
	}
	return t.Truncate(time.Millisecond)
}

// asMillis reads a time in milliseconds since 1970.
func (r *record) asMillis(key string, raw json.RawMessage) time.Time {
	t := time.UnixMilli(r.asInt(key, raw)).UTC()
	if t.Year() < 1 || t.Year() > 9999 {
		r.fail(key, "is out of range: the years 1 to 9999 are allowed")
	}
	return t
}

func (r *record) asStatus(key string, raw json.RawMessage) models.UserStatus {
	status := models.UserStatus(r.asText(key, raw))
	if !slices.Contains(models.UserStatuses(), status) {
		r.fail(key, "is %s: ACTIVE, INVITED or INACTIVE is expected", models.Quote(string(status)))
	}
	return status
}

// object reads an object within the record. What is wrong with it is wrong with the record.
func object[T any](outer *record, prefix string, raw []byte, read func(*record) T) T {
	inner := &record{prefix: prefix}
	if fields, err := splitObject(raw); err != nil {
		inner.err = fmt.Errorf("%s: %w", strings.TrimSuffix(prefix, "."), err)
	} else {
		inner.fields = fields
	}
	value := read(inner)
	if err := inner.close(); err != nil && outer.err == nil {
		outer.err = err
	}
	return value
}
