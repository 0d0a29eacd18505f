package rest_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
	"roster/rest"
)

const absent models.ID = "00000000-0000-4000-8000-000000000000"

// The table of who may read what: GraphQL and Worth agree on it, and Testinium
// asks for an authority and the right company on top.
func TestPolicy(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := dbtest.Users(30, 1)
		dbtest.Fill(t, database, data)
		// The first customer has no company number, the second one has.
		plain, company := data.Customers[0], data.Customers[1]
		admin, companyAdmin := []string{auth.RoleAdmin}, []string{"ROLE_X", auth.RoleCompanyAdmin}
		of := func(c *models.Customer, authorities ...string) *auth.Principal {
			return &auth.Principal{Subject: "s", Authorities: authorities, CustomerIDs: []models.ID{c.ID}}
		}
		config := configFor(database)
		config.Authenticate = callers{
			"admin":         {Subject: "s", Authorities: admin},
			"companyAdmin":  of(company, companyAdmin...),
			"plainAdmin":    of(plain, companyAdmin...),
			"numberedAdmin": {Subject: "s", Authorities: companyAdmin, CustomerNumbers: []int64{company.Number}},
			"member":        of(company),
			"both":          {Subject: "s", CustomerIDs: []models.ID{company.ID}, CustomerNumbers: []int64{plain.Number}},
			"nobody":        {Subject: "s"},
			"roleOnly":      {Subject: "s", Authorities: companyAdmin},
		}.authenticate
		s := serve(t, config)

		const yes, denied, missing, unknown = http.StatusOK, http.StatusForbidden, http.StatusNotFound, http.StatusUnauthorized
		for _, test := range []struct {
			caller string
			// worth is the status for plain, company and a customer that does not exist.
			worth [3]int
			// testinium is the same, with the right company in the header.
			testinium [3]int
			// stranger is Testinium's status for the company's customer with another company in the header.
			stranger int
		}{
			{"stranger", [3]int{unknown, unknown, unknown}, [3]int{unknown, unknown, unknown}, unknown},
			{"admin", [3]int{yes, yes, missing}, [3]int{yes, yes, missing}, yes},
			{"companyAdmin", [3]int{denied, yes, denied}, [3]int{denied, yes, denied}, denied},
			{"plainAdmin", [3]int{yes, denied, denied}, [3]int{yes, denied, denied}, denied},
			{"numberedAdmin", [3]int{denied, yes, denied}, [3]int{denied, yes, denied}, denied},
			{"member", [3]int{denied, yes, denied}, [3]int{denied, denied, denied}, denied},
			{"both", [3]int{yes, yes, denied}, [3]int{denied, denied, denied}, denied},
			{"nobody", [3]int{denied, denied, denied}, [3]int{denied, denied, denied}, denied},
			{"roleOnly", [3]int{denied, denied, denied}, [3]int{denied, denied, denied}, denied},
		} {
			t.Run(test.caller, func(t *testing.T) {
				ids := []models.ID{plain.ID, company.ID, absent}
				for i, id := range ids {
					for _, path := range []string{"", "/" + string(data.UsersOf(plain.ID)[0].ID), "/" + string(data.UsersOf(company.ID)[0].ID)} {
						got := s.get(t, worthUsers(id, path), as(test.caller))
						want := test.worth[i]
						if want == yes && path != "" && path != "/"+string(data.UsersOf(id)[0].ID) {
							want = missing
						}
						if got.status != want {
							t.Errorf("Worth, customer %d, user %q: %s, want %d", i, path, got, want)
						}
					}
					if test.caller != "stranger" {
						if got := s.graphQL(t, config, test.caller, id); got != test.worth[i] {
							t.Errorf("GraphQL, customer %d: %d, want %d", i, got, test.worth[i])
						}
					}
				}
				right := []string{strconv.FormatInt(plain.Number, 10), strconv.FormatInt(*company.CompanyID, 10), "5"}
				for i, number := range []int64{plain.Number, company.Number, 999} {
					if got := s.get(t, testiniumUsers(number), as(test.caller), header{"current-company-id", right[i]}); got.status != test.testinium[i] {
						t.Errorf("Testinium, customer %d: %s, want %d", i, got, test.testinium[i])
					}
				}
				for _, wrong := range []string{right[0], strconv.FormatInt(company.Number, 10), "77"} {
					if got := s.get(t, testiniumUsers(company.Number), as(test.caller), header{"current-company-id", wrong}); got.status != test.stranger {
						t.Errorf("Testinium, company %s: %s, want %d", wrong, got, test.stranger)
					}
				}
			})
		}
	})
}

// graphQL asks for the customer as the caller would at /graphql, and gives the
// status that the answer amounts to.
func (s *server) graphQL(t *testing.T, config rest.Config, caller string, id models.ID) (status int) {
	t.Helper()
	refuse := func(http.ResponseWriter, *http.Request, error) { t.Fatalf("%s is unknown", caller) }
	ask := config.Authenticate(refuse)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		response := config.Executor.(*graph.Executor).Execute(r.Context(), graph.Request{
			Query: `query($id: ID!) { customer(id: $id) { users { nodes { id } } } }`, Variables: map[string]any{"id": string(id)},
		})
		switch {
		case len(response.Errors) == 1 && response.Errors[0].Extensions["code"] == string(models.CodeForbidden):
			status = http.StatusForbidden
		case len(response.Errors) > 0:
			t.Errorf("%v", response.Errors)
		case string(response.Data) == `{"customer":null}`:
			status = http.StatusNotFound
		default:
			status = http.StatusOK
		}
	}))
	ask.ServeHTTP(nil, s.request(t, http.MethodGet, "", as(caller)))
	return status
}

// What belongs to another customer and what does not exist look the same, to the byte.
func TestForeignAndAbsentLookTheSame(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := dbtest.Users(30, 1)
		dbtest.Fill(t, database, data)
		own, foreign := data.Customers[0], data.Customers[1]
		config := configFor(database)
		config.Authenticate = callers{"caller": {
			Subject: "s", Authorities: []string{auth.RoleCompanyAdmin}, CustomerIDs: []models.ID{own.ID},
		}}.authenticate
		s := serve(t, config)
		user := data.UsersOf(foreign.ID)[0]
		company := header{"current-company-id", strconv.FormatInt(*foreign.CompanyID, 10)}
		for _, pair := range [][2]string{
			{worthUsers(foreign.ID, ""), worthUsers(absent, "")},
			{worthUsers(foreign.ID, "?status=ACTIVE"), worthUsers(absent, "?status=ACTIVE")},
			{worthUsers(foreign.ID, "/"+string(user.ID)), worthUsers(absent, "/"+string(user.ID))},
			{testiniumUsers(foreign.Number), testiniumUsers(999)},
			{testiniumUsers(foreign.Number) + strconv.FormatInt(user.Number, 10), testiniumUsers(999) + strconv.FormatInt(user.Number, 10)},
		} {
			there, gone := s.get(t, pair[0], as("caller"), company), s.get(t, pair[1], as("caller"), company)
			for _, volatile := range []string{"Date"} {
				there.header.Del(volatile)
				gone.header.Del(volatile)
			}
			if there.status != http.StatusForbidden {
				t.Errorf("%s: %s", pair[0], there)
			}
			if diff := cmp.Diff(there.String(), gone.String()); diff != "" {
				t.Errorf("%s:\n%s", pair[0], diff)
			}
			if diff := cmp.Diff(there.header, gone.header); diff != "" {
				t.Errorf("%s, header:\n%s", pair[0], diff)
			}
		}
		// Of its own customer it learns which users there are, and of no other.
		there := s.get(t, worthUsers(own.ID, "/"+string(user.ID)), as("caller"))
		if there.status != http.StatusNotFound {
			t.Errorf("a foreign user in the own customer: %s", there)
		}
	})
}

// One user that is refused has a word of its own in Testinium's document.
func TestWordOfARefusedUser(t *testing.T) {
	s, data := filled(t, 10, func(config *rest.Config) {
		config.Authenticate = callers{"caller": {Subject: "s", Authorities: []string{auth.RoleCompanyAdmin}, CustomerIDs: []models.ID{absent}}}.authenticate
	})
	customer := data.Customers[0]
	list := testiniumUsers(customer.Number)
	for path, want := range map[string]string{
		list: `"error":"ACCESS_DENIED"`,
		list + strconv.FormatInt(data.UsersOf(customer.ID)[0].Number, 10): `"error":"UNAUTHORIZED_ACCESS"`,
	} {
		if got := s.get(t, path, as("caller")); got.status != http.StatusForbidden || !strings.Contains(got.body, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
