package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
	"roster/rest"
)

// recording is a store with one customer and no users, which remembers what was asked for.
type recording struct {
	graph.Store
	asked *models.UserQuery
}

func (s *recording) CustomersByID(_ context.Context, _ models.Scope, ids []models.ID) (map[models.ID]*models.Customer, error) {
	return map[models.ID]*models.Customer{ids[0]: {ID: ids[0], Number: 1}}, nil
}

func (s *recording) CustomerByNumber(context.Context, models.Scope, int64) (*models.Customer, error) {
	return &models.Customer{ID: sandbox, Number: 1}, nil
}

func (s *recording) CustomerAndUsers(_ context.Context, _ models.Scope, query models.UserQuery) (*models.Customer, *models.UserPage, error) {
	s.asked = &query
	return &models.Customer{ID: query.CustomerID, Number: 1}, &models.UserPage{Query: query}, nil
}

func (s *recording) Users(_ context.Context, _ models.Scope, query models.UserQuery) ([]*models.User, bool, error) {
	s.asked = &query
	return nil, false, nil
}

func (s *recording) CountUsers(context.Context, models.Scope, models.ID, *models.UserFilter) (int, error) {
	return 0, nil
}

func recordingServer(t testing.TB) (*server, *recording) {
	t.Helper()
	store := &recording{}
	config := configFor(nil)
	config.Executor, config.Credentials = executor(store), nil
	return serve(t, config), store
}

// asksFor is what the store is asked for by a query string.
func asksFor(t *testing.T, query string) models.UserQuery {
	t.Helper()
	s, store := recordingServer(t)
	if got := s.get(t, worthUsers(sandbox, query)); got.status != http.StatusOK {
		t.Fatalf("%s: %s", query, got)
	}
	asked := *store.asked
	asked.Fields = 0 // what the records have is the stored document's matter
	asked.CustomerID = ""
	return asked
}

func TestPlainList(t *testing.T) {
	want := models.UserQuery{Order: models.DefaultUserOrder(), Window: models.Window{Size: 20}}
	if diff := cmp.Diff(want, asksFor(t, "")); diff != "" {
		t.Error(diff)
	}
}

func TestPagesAndOrders(t *testing.T) {
	for query, want := range map[string]models.UserQuery{
		"?page=3&items_per_page=7":            {Order: models.DefaultUserOrder(), Window: models.Window{Size: 7, Offset: 14}},
		"?items_per_page=100&page=2147483647": {Order: models.DefaultUserOrder(), Window: models.Window{Size: 100, Offset: 2147483646 * 100}},
		"?query[page]=2":                      {Order: models.DefaultUserOrder(), Window: models.Window{Size: 20, Offset: 20}},
		"?sort=created_at":                    {Order: models.UserOrder{Field: models.OrderCreatedAt, Direction: models.Ascending}, Window: models.Window{Size: 20}},
		"?sort=-updated_at":                   {Order: models.UserOrder{Field: models.OrderUpdatedAt, Direction: models.Descending}, Window: models.Window{Size: 20}},
		"?sort=email":                         {Order: models.UserOrder{Field: models.OrderEmail, Direction: models.Ascending}, Window: models.Window{Size: 20}},
		"?sort=-last_name":                    {Order: models.UserOrder{Field: models.OrderName, Direction: models.Descending}, Window: models.Window{Size: 20}},
		"?sort=status":                        {Order: models.UserOrder{Field: models.OrderStatus, Direction: models.Ascending}, Window: models.Window{Size: 20}},
	} {
		t.Run(query, func(t *testing.T) {
			if diff := cmp.Diff(want, asksFor(t, query)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Every way of writing a filter means the filter beside it.
func TestFilters(t *testing.T) {
	const a, b = "94520740-d63c-4e02-85ca-c4e138801e73", "f1fa445c-743b-4a0e-ad54-bb9294c41005"
	at, err := models.ParseTime("2024-02-12T14:16:49.053Z")
	if err != nil {
		t.Fatal(err)
	}
	last, err := models.ParseTime("2024-02-12T14:16:49.053999Z")
	if err != nil {
		t.Fatal(err)
	}
	text := func(values ...string) *models.StringFilter { return &models.StringFilter{In: values} }
	for _, test := range []struct {
		queries []string
		want    []*models.UserFilter
	}{
		{
			[]string{
				"?status=INVITED,ACTIVE", "?status=ACTIVE&status=INVITED", "?status=ACTIVE&query[status]=INVITED", "?filter[status]=ACTIVE,INVITED",
				"?search_filter[status]=ACTIVE,INVITED", "?status[]=ACTIVE&status[]=INVITED", "?filter[status][]=ACTIVE,INVITED", "?status=ACTIVE%2CINVITED",
				"?filter%5Bstatus%5D=ACTIVE,INVITED,ACTIVE", "?%73tatus=%22ACTIVE%22,INVITED",
			},
			[]*models.UserFilter{{Status: &models.UserStatusFilter{In: []models.UserStatus{models.StatusActive, models.StatusInvited}}}},
		},
		{[]string{"?id=" + a, "?id=" + strings.ToUpper(a)}, []*models.UserFilter{{ID: &models.IDFilter{In: []models.ID{a}}}}},
		{[]string{"?created_by=" + a + "," + b}, []*models.UserFilter{{CreatedBy: &models.IDFilter{In: []models.ID{a, b}}}}},
		{[]string{"?updated_by=" + a}, []*models.UserFilter{{UpdatedBy: &models.IDFilter{In: []models.ID{a}}}}},
		{[]string{"?ext_auth_ref_id=" + a}, []*models.UserFilter{{ExtAuthRefID: &models.IDFilter{In: []models.ID{a}}}}},
		{[]string{"?first_name=Anne+Marie", "?first_name=Anne%20Marie"}, []*models.UserFilter{{FirstName: text("Anne Marie")}}},
		{[]string{`?last_name="Smith,+Jr.",O'Brien`, `?last_name=%22Smith%2C%20Jr.%22&last_name=O'Brien`}, []*models.UserFilter{{LastName: text("O'Brien", "Smith, Jr.")}}},
		{[]string{`?last_name="5""",x`}, []*models.UserFilter{{LastName: text(`5"`, "x")}}},
		{[]string{`?last_name=5"`}, []*models.UserFilter{{LastName: text(`5"`)}}},
		{[]string{"?first_name="}, []*models.UserFilter{{FirstName: text("")}}},
		{[]string{"?email=a@example.com"}, []*models.UserFilter{{Email: text("a@example.com")}}},
		{[]string{"?mobile=%2B90"}, []*models.UserFilter{{Mobile: text("+90")}}},
		{[]string{"?subrole.code=cro", "?subrole[code]=cro", "?filter[subrole][code]=cro", "?query[subrole.code]=cro"}, []*models.UserFilter{{Subrole: text("cro")}}},
		{[]string{"?is_email_verified=true"}, []*models.UserFilter{{Or: []*models.UserFilter{{IsEmailVerified: new(true)}}}}},
		{[]string{"?is_first_login=false,true"}, []*models.UserFilter{{Or: []*models.UserFilter{{IsFirstLogin: new(false)}, {IsFirstLogin: new(true)}}}}},
		{[]string{"?search=a,b+c"}, []*models.UserFilter{{Search: new("a,b c")}}},
		{
			[]string{"?created_at=2024-02-12T14:16:49.053Z", "?created_at=2024-02-12T17:16:49.053%2B03:00"},
			[]*models.UserFilter{{Or: []*models.UserFilter{{CreatedAt: &models.DateTimeFilter{Gte: &at, Lte: &last}}}}},
		},
		{
			[]string{"?created_at[gte]=2024-02-12T14:16:49.053Z&created_at[lt]=2024-02-12T14:16:49.053999Z", "?filter[created_at][gte]=2024-02-12T14:16:49.053Z&filter[created_at][lt]=2024-02-12T14:16:49.053999Z"},
			[]*models.UserFilter{{CreatedAt: &models.DateTimeFilter{Gte: &at}}, {CreatedAt: &models.DateTimeFilter{Lt: &last}}},
		},
		{
			[]string{"?updated_at[gt]=2024-02-12T14:16:49.053Z&updated_at[lte]=2024-02-12T14:16:49.053Z"},
			[]*models.UserFilter{{UpdatedAt: &models.DateTimeFilter{Gt: &at}}, {UpdatedAt: &models.DateTimeFilter{Lte: &at}}},
		},
	} {
		for _, query := range test.queries {
			t.Run(query, func(t *testing.T) {
				got := asksFor(t, query).Filter
				if diff := cmp.Diff(&models.UserFilter{And: test.want}, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// What is wrong with a request is refused by name, and nobody is asked.
func TestBadParameters(t *testing.T) {
	long := strings.Repeat("x", 9_000)
	for query, want := range map[string]string{
		"?page=0":                    `page: \"0\" is not a whole number from 1 to 2147483647`,
		"?page=-1":                   `page: \"-1\" is not`,
		"?page=1.0":                  `page: \"1.0\" is not`,
		"?page=":                     `page: \"\" is not`,
		"?page":                      `page: \"\" is not`,
		"?page=+1":                   `page: \" 1\" is not`,
		"?page=2147483648":           `page: \"2147483648\" is not`,
		"?page=99999999999999999999": `page: \"99999999999999999999\" is not`,
		"?page=1&page=1":             `page: given 2 times`,
		"?page=1&filter[page]=2":     `page: given 2 times`,
		"?page=1,2":                  `page: \"1,2\" is not`,
		"?items_per_page=0":          `items_per_page: \"0\" is not a whole number from 1 to 100`,
		"?items_per_page=101":        `items_per_page: \"101\" is not`,
		"?sort=first_name":           `sort: \"first_name\" is not a field to sort by: created_at, email, last_name, status, updated_at are`,
		"?sort=--email":              `sort: \"--email\" is not`,
		"?sort=email&sort=status":    `sort: given 2 times`,
		"?sort=email,status":         `sort: \"email,status\" is not`,
		"?search=":                   `search: there is no word`,
		"?search=%20%09":             `search: there is no word`,
		"?search=a&search=b":         `search: given 2 times`,
		"?search=" + strings.Join(strings.Split("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", ""), "+") + "+aa+bb+cc+dd+ee+ff+gg+hh+ii+jj+kk+ll+mm+nn+oo": `search: 51 words are given; at most 50`,
		"?status=active":              `status: \"active\" is not a status: ACTIVE, INVITED, INACTIVE are allowed`,
		"?status=":                    `status: \"\" is not`,
		"?status=ACTIVE,":             `status: \"\" is not`,
		"?is_email_verified=1":        `is_email_verified: \"1\" is neither true nor false`,
		"?is_email_verified=TRUE":     `is_email_verified: \"TRUE\" is neither`,
		"?is_first_login=":            `is_first_login: \"\" is neither`,
		"?id=1":                       `id: \"1\" is not an id`,
		"?created_by=null":            `created_by: \"null\" is not an id`,
		"?created_at=yesterday":       `created_at: \"yesterday\" is not a time`,
		"?created_at[gte]=2024-02-12": `created_at[gte]: \"2024-02-12\" is not a time`,
		"?created_at[gte]=2024-02-12T14:16:49.053+03:00":                                     `created_at[gte]: \"2024-02-12T14:16:49.053 03:00\" is not a time`,
		"?created_at[gte]=2024-02-12T14:16:49.053Z&created_at[gte]=2024-02-12T14:16:49.053Z": `created_at[gte]: given 2 times`,
		"?created_at[gte]=2024-02-12T14:16:49.0531234Z":                                      `created_at[gte]: \"2024-02-12T14:16:49.0531234Z\" is too fine`,
		"?created_at[ne]=2024-02-12T14:16:49.053Z":                                           `\"created_at[ne]\" is not a parameter. Known are created_at, `,
		"?status[gte]=ACTIVE":          `\"status[gte]\" is not a parameter`,
		"?subrole=cro":                 `\"subrole\" is not a parameter`,
		"?subrole.name=CRO":            `\"subrole.name\" is not a parameter`,
		"?subrole[code=CRO":            `\"subrole[code\" is not a parameter`,
		"?password=x":                  `\"password\" is not a parameter`,
		"?Status=ACTIVE":               `\"Status\" is not a parameter`,
		"?query=status":                `\"query\" is not a parameter`,
		"?query[]=status":              `\"query[]\" is not a parameter`,
		"?query[query[status]]=ACTIVE": `is not a parameter`,
		"?filter[status]]=ACTIVE":      `is not a parameter`,
		"?=ACTIVE":                     `\"\" is not a parameter`,
		"?" + long + "=1":              `The query string has 9002 bytes; at most 8192`,
		"?" + long[:200] + "=1":        `…`,
		"?status=ACTIVE;page=2":        `The query string is not well formed`,
		"?status=%zz":                  `The query string is not well formed`,
		"?%=1":                         `The query string is not well formed`,
		"?first_name=%00":              `first_name: the text holds the character U+0000`,
		"?first_name=%ff":              `first_name: the text is not valid UTF-8`,
		"?%ff=1":                       `\"\\xff\" is not a parameter`,
		`?last_name="Smith`:            `last_name: a double quote is not closed`,
		`?last_name="Smith"x`:          `last_name: a comma or the end is expected`,
		"?last_name=" + numbers(101):   `last_name: 101 values are given; at most 100`,
		"?created_at=" + instants(30):  `30 values are given; at most 25 are allowed`,
		"?subrole.label=a&subrole.description=b&search=" + words(50): `search, subrole.description, subrole.label together make 51 conditions; at most 50 are allowed`,
		"?status=ACTIVE&search=" + words(50):                         `search, status together make 51 conditions; at most 50 are allowed`,
		"?filter[stat]us=ACTIVE":                                     `\"filter[stat]us\" is not a parameter`,
	} {
		t.Run(query[:min(len(query), 60)], func(t *testing.T) {
			s, store := recordingServer(t)
			got := s.get(t, worthUsers(sandbox, strings.ReplaceAll(query, "\t", "%09")))
			if got.status != http.StatusBadRequest || !strings.Contains(got.body, want) {
				t.Errorf("want %q, got %s", want, got)
			}
			if store.asked != nil {
				t.Errorf("the store was asked for %+v", store.asked)
			}
			if len(got.body) > 700 {
				t.Errorf("the answer has %d bytes", len(got.body))
			}
		})
	}
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,", i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

func instants(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("2024-02-12T14:16:%02dZ", i))
	}
	return strings.Join(list, ",")
}

// Bad addresses and headers of all endpoints.
func TestBadAddresses(t *testing.T) {
	const worth, testinium = rest.WorthPrefix, rest.TestiniumPrefix
	for _, test := range []struct {
		path    string
		headers []header
		want    string
	}{
		{worth + "customers/1/users", nil, `400 {"message":"customerID: \"1\" is not an id`},
		{worth + "customers/../users", nil, `400 {"message":"customerID: \"..\" is not an id`},
		{worth + "customers/%2e%2e%2fusers/users", nil, `400 {"message":"customerID: \"../users\" is not an id`},
		{worth + "customers/%00/users", nil, `400 {"message":"customerID: \"\\x00\" is not an id`},
		{worth + "customers//users", nil, `404 {"message":"There is nothing at this address.","errorCode":"ERR_NOT_FOUND"}`},
		{worth + "customers/" + string(sandbox) + "/users/", nil, `404 {"message":"There is nothing at this address.","errorCode":"ERR_NOT_FOUND"}`},
		{worth + "customers/" + string(sandbox) + "/users/x", nil, `400 {"message":"userID: \"x\" is not an id`},
		{worth + "customers/" + string(sandbox) + "/users/" + string(sandbox) + "?page=1", nil, `400 {"message":"\"page\" is not a parameter: this endpoint has none.`},
		{worth, nil, `404 {"message":"There is nothing at this address.","errorCode":"ERR_NOT_FOUND"}`},
		{worth + "elsewhere/%ff", nil, `404 {"message":"There is nothing at this address.","errorCode":"ERR_NOT_FOUND"}`},

		{testinium + "customers/x/users/", nil, `400 {"status":400,"error":"INVALID_REQUEST","message":"customerId: \"x\" is not a whole number from 1 to 9223372036854775807"}`},
		{testinium + "customers/0/users/", nil, `400 {"status":400,"error":"INVALID_REQUEST","message":"customerId: \"0\" is not`},
		{testinium + "customers/-1/users/", nil, `400 {"status":400,"error":"INVALID_REQUEST","message":"customerId: \"-1\" is not`},
		{testinium + "customers/+1/users/", nil, `400 {"status":400,"error":"INVALID_REQUEST","message":"customerId: \"+1\" is not`},
		{testinium + "customers/9223372036854775808/users/", nil, `400 {"status":400,"error":"INVALID_REQUEST","message":"customerId: \"9223372036854775808\" is not`},
		{testinium + "customers/1/users/x", nil, `400 {"status":400,"error":"INVALID_REQUEST","message":"userId: \"x\" is not`},
		{testinium + "customers/1/users/9223372036854775808", nil, `400 {"status":400,"error":"INVALID_REQUEST","message":"userId: \"9223372036854775808\" is not`},
		{testinium + "customers/1/users/9223372036854775807", nil, `404 {"status":404,"error":"USER_NOT_FOUND","message":"This customer has no user 9223372036854775807."}`},
		{testinium + "customers/1/users/1", nil, `404 {"status":404,"error":"USER_NOT_FOUND","message":"This customer has no user 1."}`},
		{testinium + "customers/1/users/?page=2", nil, `400 {"status":400,"error":"INVALID_REQUEST","message":"\"page\" is not a parameter: this endpoint has none."}`},
		{testinium + "customers/1/users/?a;b", nil, `400 {"status":400,"error":"INVALID_REQUEST","message":"The query string is not well formed`},
		{testinium + "customers/1/users/", []header{company("")}, `400 {"status":400,"error":"INVALID_REQUEST","message":"The header current-company-id is required, exactly once; there are 0."}`},
		{testinium + "customers/1/users/", []header{company("x")}, `400 {"status":400,"error":"INVALID_REQUEST","message":"header current-company-id: \"x\" is not`},
		{testinium + "customers/1/users/", []header{company("0")}, `400 {"status":400,"error":"INVALID_REQUEST","message":"header current-company-id: \"0\" is not`},
		{testinium + "customers/1/users/", []header{company("1, 2")}, `400 {"status":400,"error":"INVALID_REQUEST","message":"header current-company-id: \"1, 2\" is not`},
		{testinium + "customers/1/", nil, `404 {"status":404,"error":"NOT_FOUND","message":"There is nothing at this address."}`},
		{testinium + "customers/1/users//", nil, `404 {"status":404,"error":"NOT_FOUND","message":"There is nothing at this address."}`},
	} {
		t.Run(test.path, func(t *testing.T) {
			s, _ := recordingServer(t)
			got := s.get(t, test.path, test.headers...)
			if !strings.HasPrefix(got.String(), test.want) {
				t.Errorf("want %s\n got %s", test.want, got)
			}
		})
	}
}

func TestCompanyHeaderTwice(t *testing.T) {
	s, _ := recordingServer(t)
	request := s.request(t, http.MethodGet, testiniumUsers(1))
	request.Header["Current-Company-Id"] = []string{"1", "1"}
	answer, err := s.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readBody(answer); err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", answer.StatusCode)
	}
}

// notFilters are the parameters that choose no users.
var notFilters = regexp.MustCompile(`^((query|filter|search_filter)\[)?(page|items_per_page|sort)\]?(\[\])?$`)

// Whatever stands in the query string, it is understood or refused, and a filter
// that was given is never lost on the way to the store.
func FuzzWorthQuery(f *testing.F) {
	for _, seed := range []string{
		"", "status=ACTIVE,INVITED", "filter[created_at][gte]=2024-02-12T14:16:49.053Z", `last_name="a,b""",c`, "page=2&items_per_page=100&sort=-email",
		"subrole[code]=cro", "search=a+b", "is_email_verified=true,false", "a;b", "%zz", "status[]=ACTIVE", "id=94520740-d63c-4e02-85ca-c4e138801e73", "&&", "=", "status",
	} {
		f.Add(seed)
	}
	store := &recording{}
	config := configFor(nil)
	config.Executor = executor(store)
	worth := rest.NewWorth(config)
	f.Fuzz(func(t *testing.T, raw string) {
		store.asked = nil
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, worthUsers(sandbox, ""), nil)
		request.Header.Set("Authorization", "Bearer admin")
		request.URL.RawQuery = raw
		recorder := httptest.NewRecorder()
		worth.ServeHTTP(recorder, request)
		switch recorder.Code {
		case http.StatusBadRequest:
			if store.asked != nil {
				t.Errorf("refused %q and asked for %+v", raw, store.asked)
			}
		case http.StatusOK:
			conditions := 0
			if filter := store.asked.Filter; filter != nil {
				conditions = len(filter.And)
			}
			if given := filtersIn(raw); given != conditions {
				t.Errorf("%q has %d filters; the store was asked with %d", raw, given, conditions)
			}
		default:
			t.Errorf("%q: %d %s", raw, recorder.Code, recorder.Body)
		}
	})
}

// filtersIn counts the different filters of a query string by a reading of its own.
func filtersIn(raw string) int {
	names := map[string]bool{}
	for piece := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(piece, "=")
		name, _ = url.QueryUnescape(name)
		if piece == "" || notFilters.MatchString(name) {
			continue
		}
		for _, form := range []string{"query[", "filter[", "search_filter["} {
			if inner, ok := strings.CutPrefix(name, form); ok {
				name = strings.Replace(inner, "]", "", 1)
			}
		}
		name = strings.TrimSuffix(name, "[]")
		names[strings.Replace(name, "subrole[code]", "subrole.code", 1)] = true
	}
	return len(names)
}

// Every field of the record's subrole filters by its own name, in folded form.
func TestSubroleFields(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := dbtest.Users(60, 7)
		dbtest.Fill(t, database, data)
		s := serve(t, configFor(database))
		customer := data.Customers[0].ID
		of := func(fits func(*models.Subrole) bool) int {
			var n int
			for _, user := range data.UsersOf(customer) {
				if subrole := data.Subrole(user.SubroleID); subrole != nil && fits(subrole) {
					n++
				}
			}
			return n
		}
		var one *models.Subrole
		for _, subrole := range data.Subroles {
			if subrole.CustomerID == customer {
				one = subrole
			}
		}
		// More of them have the same texts than a list of the GraphQL filter may hold.
		conn := dbtest.Connect(t, database)
		for i := range models.MaxFilterValues + 20 {
			if _, err := conn.NewRaw("INSERT INTO subroles (id, customer_id, code, display_name, label, description, code_key)"+
				" SELECT ?, customer_id, ?, display_name, label, description, ? FROM subroles WHERE id = ?",
				fmt.Sprintf("%08d-0000-4000-8000-0000000000fe", i), fmt.Sprint("copy", i), fmt.Sprint("copy", i), one.ID).Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		same := func(a, b string) bool { return models.Fold(a) == models.Fold(b) }
		for _, test := range []struct {
			query string
			want  int
		}{
			{url.Values{"subrole.id": {string(one.ID)}}.Encode(), of(func(r *models.Subrole) bool { return r.ID == one.ID })},
			{url.Values{"subrole.display_name": {strings.ToUpper(quoted(one.DisplayName))}}.Encode(), of(func(r *models.Subrole) bool { return same(r.DisplayName, one.DisplayName) })},
			{url.Values{"filter[subrole][label]": {quoted(one.Label)}}.Encode(), of(func(r *models.Subrole) bool { return same(r.Label, one.Label) })},
			{url.Values{"subrole.description": {quoted(one.Description)}, "subrole.label": {quoted(one.Label)}}.Encode(),
				of(func(r *models.Subrole) bool { return same(r.Description, one.Description) && same(r.Label, one.Label) })},
			{"subrole.label=nobody+has+this", 0},
		} {
			got := s.get(t, "/auth/api/v1/customers/"+string(customer)+"/users?items_per_page=100&"+test.query, as("admin"))
			if got.status != http.StatusOK || !strings.Contains(got.body, fmt.Sprintf(`"total_items":"%d"`, test.want)) {
				t.Errorf("%s: want %d users, got %.200s…%s", test.query, test.want, got, got.body[max(0, len(got.body)-60):])
			}
		}
	})
}

func quoted(value string) string { return `"` + strings.ReplaceAll(value, `"`, `""`) + `"` }

// words are n different words of a query string.
func words(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("w%d", i)
	}
	return strings.Join(list, "+")
}

// A text of the subrole is looked up before the list: there too a customer can be missing.
func TestSubroleOfNoCustomer(t *testing.T) {
	s, _ := filled(t, 10, nil)
	want := `404 {"message":"There is no customer ` + string(absent) + `.","errorCode":"ERR_NOT_FOUND"}`
	if diff := cmp.Diff(want, s.get(t, worthUsers(absent, "?subrole.label=x")).String()); diff != "" {
		t.Error(diff)
	}
}
