package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"roster/models"
)

// testiniumFields are the fields of the document's record, in the document's
// order. Those that nothing here gives a value are always null.
var testiniumFields = [...]string{
	"userType",
	"verificationToken",
	"resetPasswordToken",
	"entityId",
	"name",
	"surname",
	"username",
	"email",
	"password",
	"newPassword",
	"accessToken",
	"companyName",
	"enabled",
	"accountNonExpired",
	"accountNonLocked",
	"credentialNonExpired",
	"createdDate",
	"customer",
	"lastPasswordResetDate",
	"authorities",
	"vcsPassword",
}

// testiniumUser is one record: the JSON of each of testiniumFields, "" for null.
// The values of the stored document are handed through as the executor wrote
// them; decoding and encoding them again took a third of the time of the list.
type testiniumUser [len(testiniumFields)]string

// The place of each field in the record, and what stands before its value.
var (
	testiniumPlaces = map[string]int{}
	testiniumNames  [len(testiniumFields)]string
)

func init() {
	before := "{"
	for i, name := range testiniumFields {
		testiniumPlaces[name] = i
		testiniumNames[i] = before + strconv.Quote(name) + ":"
		before = ","
	}
}

// set gives a field its value in JSON. What is no field of the record is ignored.
func (u *testiniumUser) set(field, value string) {
	if i, ok := testiniumPlaces[field]; ok {
		u[i] = value
	}
}

// get gives the JSON of a field.
func (u *testiniumUser) get(field string) string { return u[testiniumPlaces[field]] }

// appendTo writes the record.
func (u *testiniumUser) appendTo(b []byte) []byte {
	for i, value := range u {
		if value == "" {
			value = "null"
		}
		b = append(b, testiniumNames[i]...)
		b = append(b, value...)
	}
	return append(b, '}')
}

// testiniumPage is one page of a customer's users, as the stored document gives it.
type testiniumPage struct {
	users  []testiniumUser
	more   bool   // there are users after these
	cursor string // where those begin
}

// testiniumPageSize is how many users of the list are read at once.
const testiniumPageSize = 1_000

// page reads a page of users, whole: whoever reads slowly afterwards keeps no
// connection of the database waiting.
func (a *testinium) page(ctx context.Context, q testiniumRequest, first int, after string) (*testiniumPage, error) {
	variables := map[string]any{"customer": q.customer, "first": first}
	if after != "" {
		variables["after"] = after
	}
	_, customer, err := a.customer(ctx, q, testiniumUsersDocument, variables)
	if err != nil {
		return nil, err
	}
	list := customer.Get("users.nodes")
	if !list.IsArray() {
		return nil, internalError(errors.New("the answer has no list"))
	}
	users := list.Array()
	secrets, err := a.secrets(ctx, q, users)
	if err != nil {
		return nil, err
	}
	page := &testiniumPage{
		users:  make([]testiniumUser, len(users)),
		more:   customer.Get("users.pageInfo.hasNextPage").Bool(),
		cursor: strings.Clone(customer.Get("users.pageInfo.endCursor").String()), // not a part of the answer, which would stay
	}
	name, number := customer.Get("name").Raw, customer.Get("number").Raw
	for i, answer := range users {
		user := &page.users[i]
		user.set("companyName", name)
		user.set("customer", number)
		if err := user.fill(answer, secrets); err != nil {
			return nil, internalError(err)
		}
	}
	return page, nil
}

// customer runs a document about the customer, checks that the caller's company may have
// the answer, and gives both.
func (a *testinium) customer(ctx context.Context, q testiniumRequest, document string, variables map[string]any) (*models.Customer, gjson.Result, error) {
	response, err := a.runner.data(ctx, document, variables)
	if err != nil {
		return nil, gjson.Result{}, err
	}
	answer := gjson.GetBytes(response.Data, "customer") // which copies it
	response.Release()
	if answer.Type == gjson.Null {
		return nil, answer, noCustomer(strconv.FormatInt(q.customer, 10))
	}
	customer := &models.Customer{ID: models.ID(answer.Get("id").String()), Number: answer.Get("number").Int()}
	if company := answer.Get("companyId"); company.Type != gjson.Null {
		customer.CompanyID = new(company.Int())
	}
	return customer, answer, q.caller.AllowCompany(q.company, customer)
}

// fill sets what the stored document gives of a user.
func (u *testiniumUser) fill(answer gjson.Result, secrets map[models.ID]*models.LegacyCredentials) (err error) {
	answer.ForEach(func(field, value gjson.Result) bool {
		switch field.Str {
		case "createdDate", "lastPasswordResetDate":
			var millis string
			if millis, err = unixMillis(value); err == nil {
				u.set(field.Str, millis)
			}
		case "id":
			if secret := secrets[models.ID(value.Str)]; secret != nil {
				u.set("accessToken", string(encode(secret.AccessToken)))
				u.set("vcsPassword", string(encode(secret.VCSPassword)))
			}
		default:
			u.set(field.Str, value.Raw)
		}
		return err == nil
	})
	return err
}

// unixMillis gives a time of GraphQL, or null, in the form of the document:
// milliseconds since 1970.
func unixMillis(value gjson.Result) (string, error) {
	if value.Type == gjson.Null {
		return "", nil
	}
	at, err := time.Parse(time.RFC3339, value.Str)
	return strconv.FormatInt(at.UnixMilli(), 10), err
}

// secrets reads the two credentials of the document, if the operator wants them shown.
func (a *testinium) secrets(ctx context.Context, q testiniumRequest, users []gjson.Result) (map[models.ID]*models.LegacyCredentials, error) {
	if a.credentials == nil || len(users) == 0 {
		return nil, nil
	}
	ids := make([]models.ID, len(users))
	for i, user := range users {
		ids[i] = models.ID(user.Get("id").String())
	}
	ctx, cancel := a.runner.bounded(ctx)
	defer cancel()
	return a.credentials.LegacyCredentialsByUser(ctx, q.caller.Scope(), ids)
}

// stream writes the array, one page at a time, and keeps no more than one page.
func (a *testinium) stream(w http.ResponseWriter, r *http.Request, q testiniumRequest, page *testiniumPage) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	array := arrayWriter{w: w}
	err := array.users(page)
	for err == nil && page.more {
		page, err = a.page(r.Context(), q, testiniumPageSize, page.cursor)
		if err == nil {
			err = array.users(page)
		}
	}
	if err != nil {
		a.cut(r, err)
	}
}

// arrayWriter writes the array of all pages.
type arrayWriter struct {
	w     http.ResponseWriter
	chunk []byte
	begun bool // a user has been written
}

// users writes the users of one page, with the brackets before the first page
// and after the last, and sends them on their way.
func (a *arrayWriter) users(page *testiniumPage) error {
	for i := range page.users {
		a.chunk = page.users[i].appendTo(append(a.chunk, separator(a.begun)))
		a.begun = true
	}
	page.users = nil // the client may read as slowly as it likes
	if !page.more {
		if !a.begun {
			a.chunk = append(a.chunk, '[')
		}
		a.chunk = append(a.chunk, ']')
	}
	return a.send(page.more)
}

// separator stands before a user: the opening bracket before the first of all.
func separator(begun bool) byte {
	if begun {
		return ','
	}
	return '['
}

func (a *arrayWriter) send(more bool) error {
	_, err := a.w.Write(a.chunk)
	a.chunk = a.chunk[:0]
	if err == nil && more {
		err = http.NewResponseController(a.w).Flush()
	}
	return err
}

// cut ends an answer that has begun and cannot be finished. A closing bracket, or
// even an orderly end of the body, would make it look complete; so the connection
// is closed in the middle of it, which every client sees as a broken body.
func (a *testinium) cut(r *http.Request, err error) {
	if r.Context().Err() == nil {
		a.api.logFailure(r, err)
	}
	panic(http.ErrAbortHandler)
}
