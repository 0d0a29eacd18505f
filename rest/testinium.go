package rest

import (
	"fmt"
	"net/http"
	"strconv"

	"roster/auth"
	"roster/models"
)

// testinium answers as the document "Get Users of a Customer" of Testinium says.
type testinium struct {
	api         *API
	runner      runner
	credentials Credentials
}

// NewTestinium makes Testinium's API, which belongs at [TestiniumPrefix].
func NewTestinium(config Config) *API {
	endpoints := &testinium{runner: runner{config.Executor, config.Timeout}, credentials: config.Credentials}
	api := &API{
		prefix: TestiniumPrefix,
		routes: []route{
			{pattern: "customers/{customerId}/users/", serve: endpoints.users},
			{pattern: "customers/{customerId}/users", serve: endpoints.users},
			{
				pattern: "customers/{customerId}/users/{userId}", serve: endpoints.user,
				names: map[models.Code]string{models.CodeForbidden: "UNAUTHORIZED_ACCESS"},
			},
		},
		status:               testiniumStatus,
		notFoundName:         "NOT_FOUND",
		methodNotAllowedName: "METHOD_NOT_ALLOWED",
		envelope:             testiniumEnvelope,
	}
	endpoints.api = api
	return api.start(config)
}

// companyHeader names the company that the caller works for.
const companyHeader = "current-company-id"

// testiniumRequest is a request that passed every check that needs no database.
type testiniumRequest struct {
	caller   *auth.Principal
	company  int64
	customer int64
}

// readRequest checks a request, the caller's authority first: a caller without it learns
// nothing about the parameters.
func (a *testinium) readRequest(r *http.Request, customer string) (q testiniumRequest, err error) {
	q.caller = auth.PrincipalFrom(r.Context())
	if err := q.caller.AllowLegacyList(); err != nil {
		return q, err
	}
	if q.customer, err = positiveLong("customerId", customer); err != nil {
		return q, err
	}
	values := r.Header.Values(companyHeader)
	if len(values) != 1 {
		return q, models.Errorf(models.CodeBadRequest, "The header %s is required, exactly once; there are %d.", companyHeader, len(values))
	}
	if q.company, err = positiveLong("header "+companyHeader, values[0]); err != nil {
		return q, err
	}
	return q, noParameters(r.URL.RawQuery)
}

// positiveLong reads a number of 64 bits, at least 1, written in digits only.
func positiveLong(name, value string) (int64, error) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || n == 0 {
		return 0, models.Errorf(models.CodeBadUserInput, "%s: %s is not a whole number from 1 to 9223372036854775807", name, models.Quote(value))
	}
	return int64(n), nil
}

// users is GET customers/{customerId}/users/. The array begins only when the
// first page has been read and the caller may have it, so that everything that
// can be refused still is.
func (a *testinium) users(w http.ResponseWriter, r *http.Request, path []string) error {
	request, err := a.readRequest(r, path[0])
	if err != nil {
		return err
	}
	first, err := a.page(r.Context(), request, testiniumPageSize, "")
	if err != nil {
		return err
	}
	a.stream(w, r, request, first)
	return nil
}

// user is GET customers/{customerId}/users/{userId}. GraphQL knows a user by
// UUID, and this address has the number; so it reads the first user after all smaller
// numbers, which costs the same in a list of any length.
func (a *testinium) user(w http.ResponseWriter, r *http.Request, path []string) error {
	request, err := a.readRequest(r, path[0])
	if err != nil {
		return err
	}
	number, err := positiveLong("userId", path[1])
	if err != nil {
		return err
	}
	variables := map[string]any{"customer": request.customer}
	customer, _, err := a.customer(r.Context(), request, testiniumCustomerDocument, variables)
	if err != nil {
		return err
	}
	found, err := a.page(r.Context(), request, 1, cursorBefore(customer.ID, number))
	if err != nil {
		return err
	}
	if len(found.users) == 1 && found.users[0].get("entityId") == strconv.FormatInt(number, 10) {
		writeTagged(w, jsonType, found.users[0].appendTo(nil))
		return nil
	}
	return &refusal{http.StatusNotFound, "USER_NOT_FOUND", fmt.Sprintf("This customer has no user %d.", number)}
}

// cursorBefore is a cursor of the list that the stored document reads: the place after
// every user with a smaller number than this one.
func cursorBefore(customer models.ID, number int64) string {
	const last = "ffffffff-ffff-ffff-ffff-ffffffffffff" // no UUID comes after it
	query := models.UserQuery{CustomerID: customer, Order: models.UserOrder{Field: models.OrderNumber, Direction: models.Ascending}}
	return query.Cursor(&models.User{ID: last, Number: number - 1})
}
