package models

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash"
	"reflect"
	"strings"
	"sync"
	"time"
)

// A cursor is the place of one record in one list: the values the list is
// sorted by, and the record's id. It is bound to its list (customer, filter and
// order) by a checksum, so that a cursor of another list, or an altered one, is
// refused and not misread. The checksum is no secret and need not be one: the values of
// a cursor are only compared with those of rows, so whoever forges one still reads
// nothing beyond the scope.

const checksumSize = 8

// UserQuery is one list of users: whose, which, in what order, and which part of it.
type UserQuery struct {
	CustomerID ID
	Filter     *UserFilter
	Order      UserOrder
	Window     Window
	// Fields are what is to be read of each user. The keys of the order are read
	// in any case.
	Fields UserFields
}

// Cursor gives the place of u in this list. u must have been read in the
// query's order, so that its sort keys are filled.
func (q UserQuery) Cursor(u *User) string { return q.Cursors()(u) }

// Cursors gives what Cursor does for many users: the list, whose filter can be
// long, is summed up once for them all. It may be called concurrently.
func (q UserQuery) Cursors() func(*User) string {
	sum := sync.OnceValue(func() hash.Cloner { return sumList(q.list()) })
	return func(u *User) string { return encodeCursor(sum(), append(u.sortKeys(q.Order.Field), u.ID)) }
}

// Validate checks the size of the filter and that the cursors are of this list.
// The error is CodeBadUserInput.
func (q UserQuery) Validate() error {
	if err := q.Filter.Validate(); err != nil {
		return err
	}
	_, _, err := q.Seek()
	return err
}

// Seek gives the sort keys and the id at the window's cursors; nil where the
// window has none. A cursor of another list is CodeBadUserInput.
func (q UserQuery) Seek() (after, before []any, err error) {
	if q.Window.After == "" && q.Window.Before == "" {
		return nil, nil, nil
	}
	shape := append((&User{}).sortKeys(q.Order.Field), ID(""))
	return q.Window.seek(q.list(), shape)
}

// list identifies the list apart from its window. The filter is a plain tree of
// values, so its JSON is the same for the same filter.
func (q UserQuery) list() any {
	filter := q.Filter
	if filter != nil && reflect.ValueOf(*filter).IsZero() { // {} lets through what no filter does
		filter = nil
	}
	return []any{"users", q.CustomerID, filter, q.Order}
}

// CustomerQuery is one list of customers, sorted by name: those whose name holds
// every word of Search, and which part of them.
type CustomerQuery struct {
	Search string
	Window Window
}

// Validate checks the size of the search and that the cursors are of this list.
// The error is CodeBadUserInput.
func (q CustomerQuery) Validate() error {
	if words := len(SearchWords(q.Search)); words > MaxFilterConditions {
		return Errorf(CodeBadUserInput, "search holds %d words; at most %d are allowed", words, MaxFilterConditions)
	}
	_, _, err := q.Seek()
	return err
}

// Cursor gives the place of c in this list.
func (q CustomerQuery) Cursor(c *Customer) string { return q.Cursors()(c) }

// Cursors gives what Cursor does for many customers: the list, whose search can be
// long, is summed up once for them all. It may be called concurrently.
func (q CustomerQuery) Cursors() func(*Customer) string {
	sum := sync.OnceValue(func() hash.Cloner { return sumList(q.list()) })
	return func(c *Customer) string { return encodeCursor(sum(), []any{c.NameKey, c.ID}) }
}

// Seek gives the sort key and the id at the window's cursors; nil where the
// window has none. A cursor of another list is CodeBadUserInput.
func (q CustomerQuery) Seek() (after, before []any, err error) {
	return q.Window.seek(q.list(), []any{"", ID("")})
}

func (q CustomerQuery) list() any { return []any{"customers", q.Search} }

func (w Window) seek(list any, shape []any) (after, before []any, err error) {
	if w.After != "" {
		if after, err = decodeCursor("after", w.After, list, shape); err != nil {
			return nil, nil, err
		}
	}
	if w.Before != "" {
		if before, err = decodeCursor("before", w.Before, list, shape); err != nil {
			return nil, nil, err
		}
	}
	return after, before, nil
}

func encodeCursor(list hash.Cloner, keys []any) string {
	place := mustJSON(keys)
	sum := checksum(list, place)
	return base64.RawURLEncoding.EncodeToString(append(sum, place...))
}

// decodeCursor reads a cursor whose keys have the types of shape.
func decodeCursor(argument, cursor string, list any, shape []any) ([]any, error) {
	refused := Errorf(CodeBadUserInput,
		"%s is not a cursor of this list: it was altered, or it comes from another customer, filter or order", argument)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	// The decoder passes over line breaks, strict or not.
	if err != nil || len(raw) < checksumSize || strings.ContainsAny(cursor, "\r\n") {
		return nil, refused
	}
	sum, place := raw[:checksumSize], raw[checksumSize:]
	if string(sum) != string(checksum(sumList(list), place)) {
		return nil, refused
	}
	var values []json.RawMessage
	if json.Unmarshal(place, &values) != nil || len(values) != len(shape) {
		return nil, refused
	}
	keys := make([]any, len(shape))
	for i, value := range values {
		switch shape[i].(type) {
		case time.Time:
			keys[i], err = decodeAs[time.Time](value)
		case int64:
			keys[i], err = decodeAs[int64](value)
		case ID:
			var id string
			if id, err = decodeAs[string](value); err == nil {
				keys[i], err = ParseID(id)
			}
		default:
			var text string
			if text, err = decodeAs[string](value); err == nil {
				keys[i], err = text, CheckText(text)
			}
		}
		if err != nil {
			return nil, refused
		}
	}
	return keys, nil
}

func decodeAs[T any](raw json.RawMessage) (T, error) {
	var value T
	err := json.Unmarshal(raw, &value)
	return value, err
}

// sumList begins the checksum of the places in a list.
func sumList(list any) hash.Cloner {
	sum := sha256.New().(hash.Cloner)
	_, _ = sum.Write(mustJSON(list)) // a hash takes everything
	return sum
}

// checksum ends a copy of what sumList has begun.
func checksum(list hash.Cloner, place []byte) []byte {
	sum, err := list.Clone()
	if err != nil {
		panic(err) // that of the standard library can be copied
	}
	_, _ = sum.Write(place) // as above
	return sum.Sum(nil)[:checksumSize]
}

// mustJSON encodes values that are made of text, numbers and times only, which cannot fail.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
