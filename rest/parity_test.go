package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
)

// graphQLUsers asks as a GraphQL client would, knowing nothing of Worth.
const graphQLUsers = `query($id: ID!, $number: Int!, $size: Int!, $filter: UserFilter, $orderBy: UserOrder) {
  customer(id: $id) {
    users(page: {number: $number, size: $size}, filter: $filter, orderBy: $orderBy) {
      totalCount
      totalPages
      nodes {
        id firstName lastName email mobile isEmailVerified isFirstLogin createdAt createdBy updatedAt updatedBy extAuthRefId status
        subrole { id code displayName label description }
      }
    }
  }
}`

// question is one request to the list, in both languages. The filter in the
// query string and that in the variables are written by different hands.
type question struct {
	query     []string
	and       []any
	variables map[string]any
}

// For any customer, filter, order and page, Worth's answer is the projection of
// GraphQL's answer.
func TestParity(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := dbtest.Users(300, 7)
		dbtest.Fill(t, database, data)
		config := configFor(database)
		s := serve(t, config)
		caller := auth.WithPrincipal(t.Context(), theAdmin()["admin"])
		matched := 0
		rapid.Check(t, func(rt *rapid.T) {
			customer := rapid.SampledFrom(data.Customers).Draw(rt, "customer")
			q := drawQuestion(rt, data)
			q.variables["id"] = string(customer.ID)
			want, n := project(rt, caller, config.Executor.(*graph.Executor), q)
			matched += n
			got := s.get(t, worthUsers(customer.ID, "?"+strings.Join(q.query, "&")))
			if diff := cmp.Diff(want, got.String()); diff != "" {
				rt.Errorf("%s\n(-GraphQL +Worth):\n%s", strings.Join(q.query, "&"), diff)
			}
		})
		if matched < 100 && !testing.Short() { // which asks a fifth of the questions
			t.Errorf("all questions together found %d users: they test too little", matched)
		}
	})
}

// project asks GraphQL and gives its answer Worth's form.
func project(t *rapid.T, ctx context.Context, executor *graph.Executor, q *question) (answer string, users int) {
	response := executor.Execute(ctx, graph.Request{Query: graphQLUsers, Variables: q.variables})
	if len(response.Errors) > 0 {
		t.Fatalf("%v", response.Errors)
	}
	var data struct {
		Customer struct {
			Users struct {
				TotalCount, TotalPages int
				Nodes                  []map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(response.Data, &data); err != nil {
		t.Fatal(err)
	}
	records := []string{}
	for _, node := range data.Customer.Users.Nodes {
		subrole := "null"
		if string(node["subrole"]) != "null" {
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(node["subrole"], &fields); err != nil {
				t.Fatal(err)
			}
			subrole = object(fields, "id", "id", "code", "code", "display_name", "displayName", "label", "label", "description", "description")
		}
		node["subrole"] = json.RawMessage(subrole)
		records = append(records, object(node, "id", "id", "first_name", "firstName", "last_name", "lastName", "email", "email", "mobile", "mobile",
			"is_email_verified", "isEmailVerified", "is_first_login", "isFirstLogin", "created_at", "createdAt", "created_by", "createdBy",
			"updated_at", "updatedAt", "updated_by", "updatedBy", "ext_auth_ref_id", "extAuthRefId", "status", "status", "subrole", "subrole"))
	}
	return fmt.Sprintf(`200 {"status":"success","message":"Success","data":{"records":[%s],"total_pages":%d,"total_items":"%d"}}`,
		strings.Join(records, ","), data.Customer.Users.TotalPages, data.Customer.Users.TotalCount), len(records)
}

// object writes fields under other names; names holds pairs of new and old.
func object(fields map[string]json.RawMessage, names ...string) string {
	var pairs []string
	for i := 0; i < len(names); i += 2 {
		pairs = append(pairs, fmt.Sprintf("%q:%s", names[i], fields[names[i+1]]))
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func drawQuestion(t *rapid.T, data *dbtest.Data) *question {
	q := &question{variables: map[string]any{}}
	number, size := rapid.IntRange(1, 4).Draw(t, "page"), rapid.IntRange(1, 100).Draw(t, "size")
	q.variables["number"], q.variables["size"] = number, size
	q.query = append(q.query, fmt.Sprintf("page=%d", number), fmt.Sprintf("items_per_page=%d", size))
	if rapid.Bool().Draw(t, "sorted") {
		q.drawOrder(t)
	}
	parameters := rapid.SliceOfNDistinct(rapid.SampledFrom(parityParameters()), 0, 3, func(p parityParameter) string { return p.name }).Draw(t, "filters")
	for _, p := range parameters {
		p.draw(t, q, p, data)
	}
	if len(q.and) > 0 {
		q.variables["filter"] = map[string]any{"and": q.and}
	}
	return q
}

func (q *question) drawOrder(t *rapid.T) {
	orders := map[string]string{"created_at": "CREATED_AT", "updated_at": "UPDATED_AT", "email": "EMAIL", "last_name": "NAME", "status": "STATUS"}
	name := rapid.SampledFrom([]string{"created_at", "updated_at", "email", "last_name", "status"}).Draw(t, "order")
	sign, direction := "", "ASC"
	if rapid.Bool().Draw(t, "descending") {
		sign, direction = "-", "DESC"
	}
	q.query = append(q.query, "sort="+sign+name)
	q.variables["orderBy"] = map[string]any{"field": orders[name], "direction": direction}
}

// parityParameter is a parameter of Worth and the field of GraphQL that it stands for.
type parityParameter struct {
	name, field string
	draw        func(t *rapid.T, q *question, p parityParameter, data *dbtest.Data)
	// of is the value that a user has, "" for none.
	of func(u *models.User) string
}

func (p parityParameter) String() string { return p.name }

func parityParameters() []parityParameter {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	id := func(id *models.ID) string {
		if id == nil {
			return ""
		}
		return string(*id)
	}
	return []parityParameter{
		{"id", "id", drawList, func(u *models.User) string { return string(u.ID) }},
		{"first_name", "firstName", drawList, func(u *models.User) string { return u.FirstName }},
		{"last_name", "lastName", drawList, func(u *models.User) string { return u.LastName }},
		{"email", "email", drawList, func(u *models.User) string { return u.Email }},
		{"mobile", "mobile", drawList, func(u *models.User) string { return text(u.Mobile) }},
		{"status", "status", drawList, func(u *models.User) string { return string(u.Status) }},
		{"created_by", "createdBy", drawList, func(u *models.User) string { return id(u.CreatedBy) }},
		{"updated_by", "updatedBy", drawList, func(u *models.User) string { return id(u.UpdatedBy) }},
		{"ext_auth_ref_id", "extAuthRefId", drawList, func(u *models.User) string { return id(u.ExtAuthRefID) }},
		{"subrole.code", "subrole", drawCode, nil},
		{"subrole.id", "subroleId", drawSubroleID, nil},
		{"search", "search", drawSearch, nil},
		{"is_email_verified", "isEmailVerified", drawBool, nil},
		{"is_first_login", "isFirstLogin", drawBool, nil},
		{"created_at", "createdAt", drawRange, func(u *models.User) string { return u.CreatedAt.Format(time.RFC3339Nano) }},
		{"updated_at", "updatedAt", drawRange, func(u *models.User) string { return u.UpdatedAt.Format(time.RFC3339Nano) }},
	}
}

func drawUser(t *rapid.T, data *dbtest.Data) *models.User {
	return rapid.SampledFrom(data.Users).Draw(t, "user")
}

func drawList(t *rapid.T, q *question, p parityParameter, data *dbtest.Data) {
	q.give(t, p, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		for {
			value := p.of(drawUser(t, data))
			if value != "" || p.name == "first_name" {
				return value
			}
		}
	}), 1, 4).Draw(t, "values"))
}

func drawCode(t *rapid.T, q *question, p parityParameter, data *dbtest.Data) {
	q.give(t, p, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom(data.Subroles).Draw(t, "subrole").Code
	}), 1, 3).Draw(t, "codes"))
}

func drawSubroleID(t *rapid.T, q *question, p parityParameter, data *dbtest.Data) {
	q.give(t, p, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SampledFrom(data.Subroles).Draw(t, "subrole").ID)
	}), 1, 3).Draw(t, "ids"))
}

// give adds a list of values: between commas or repeated, plain or in brackets.
func (q *question) give(t *rapid.T, p parityParameter, values []string) {
	var wanted []any
	var quoted []string
	for _, value := range values {
		wanted = append(wanted, value)
		if strings.ContainsAny(value, `,"`) || rapid.Bool().Draw(t, "quoted") {
			value = `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
		}
		quoted = append(quoted, value)
	}
	name := rapid.SampledFrom([]string{p.name, "query[" + p.name + "]", "filter[" + p.name + "][]", "search_filter[" + p.name + "]"}).Draw(t, "form")
	if rapid.Bool().Draw(t, "commas") {
		quoted = []string{strings.Join(quoted, ",")}
	}
	for _, value := range quoted {
		q.query = append(q.query, url.QueryEscape(name)+"="+url.QueryEscape(value))
	}
	q.and = append(q.and, map[string]any{p.field: map[string]any{"in": wanted}})
}

func drawSearch(t *rapid.T, q *question, p parityParameter, data *dbtest.Data) {
	user := drawUser(t, data)
	runes := []rune(user.Email + " " + user.LastName)
	from := rapid.IntRange(0, len(runes)-1).Draw(t, "from")
	words := string(runes[from:min(len(runes), from+4)])
	if len(models.SearchWords(words)) == 0 {
		words = "a"
	}
	q.query = append(q.query, "search="+url.QueryEscape(words))
	q.and = append(q.and, map[string]any{p.field: words})
}

func drawBool(t *rapid.T, q *question, p parityParameter, _ *dbtest.Data) {
	value := rapid.Bool().Draw(t, p.name)
	q.query = append(q.query, p.name+"="+strconv.FormatBool(value))
	q.and = append(q.and, map[string]any{p.field: value})
}

func drawRange(t *rapid.T, q *question, p parityParameter, data *dbtest.Data) {
	operator := rapid.SampledFrom([]string{"gt", "gte", "lt", "lte"}).Draw(t, "operator")
	value := p.of(drawUser(t, data))
	q.query = append(q.query, url.QueryEscape(p.name+"["+operator+"]")+"="+url.QueryEscape(value))
	q.and = append(q.and, map[string]any{p.field: map[string]any{operator: value}})
}

// A time that a record shows finds that record, and only records that show it.
func TestTimesAsShown(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := dbtest.Users(100, 7)
		dbtest.Fill(t, database, data)
		s := serve(t, configFor(database))
		customer := data.Customers[0]
		counts := map[string]int{}
		for _, user := range data.UsersOf(customer.ID) {
			counts[user.CreatedAt.Format(models.TimeLayout)]++
		}
		for shown, count := range counts {
			got := s.get(t, worthUsers(customer.ID, "?items_per_page=100&created_at="+shown))
			if got.status != http.StatusOK || strings.Count(got.body, `"created_at":"`+shown+`"`) != count || !strings.Contains(got.body, fmt.Sprintf(`"total_items":"%d"`, count)) {
				t.Errorf("%d users show %s, got %s", count, shown, got)
			}
		}
	})
}

// The user alone has the record of the list, and the customer beside it.
func TestWorthUser(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := dbtest.Users(40, 7)
		dbtest.Fill(t, database, data)
		s := serve(t, configFor(database))
		for _, customer := range data.Customers[:2] {
			var list struct {
				Data struct{ Records []json.RawMessage }
			}
			if err := json.Unmarshal([]byte(s.get(t, worthUsers(customer.ID, "?items_per_page=100")).body), &list); err != nil {
				t.Fatal(err)
			}
			company := fmt.Sprintf(`{"id":%q,"name":%s,"created_at":%q,"updated_at":%q}`, customer.ID, asJSON(t, customer.Name),
				customer.CreatedAt.Format(models.TimeLayout), customer.UpdatedAt.Format(models.TimeLayout))
			for _, record := range list.Data.Records {
				var user struct{ ID string }
				if err := json.Unmarshal(record, &user); err != nil {
					t.Fatal(err)
				}
				want := `200 {"status":"success","message":"Success","data":` + strings.TrimSuffix(string(record), "}") + `,"company_details":` + company + `}}`
				if diff := cmp.Diff(want, s.get(t, worthUsers(customer.ID, "/"+user.ID)).String()); diff != "" {
					t.Error(diff)
				}
			}
		}
	})
}
