package db_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// The plans are read in a database of two large customers and fifty small ones.
// What is rare with the first is usual with the second, so that neither a guess
// for all customers nor an index for one of two values is enough.
const (
	planUsers = 30_000
	planRare  = 5
	// planLimit is how many rows of one table a statement may look at. Walking
	// all users of a large customer is far above it, and all small customers
	// together are too.
	planLimit = planUsers / 10
)

var planAt = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// planID is the id number n of a kind of things.
func planID(kind, n int) models.ID {
	return models.ID(fmt.Sprintf("%08d-0000-4000-8000-%012d", kind, n))
}

// planData makes up the customers. The rare users are spread over the time in
// which users were created.
func planData() *dbtest.Data {
	data := &dbtest.Data{
		Authorities: []*models.Authority{{ID: 1, Name: "ROLE_USUAL"}, {ID: 2, Name: "ROLE_RARE"}, {ID: 3, Name: "ROLE_UNUSED"}},
		Granted:     map[models.ID][]int64{},
	}
	for c := range 52 {
		customer := &models.Customer{ID: planID(0, c), Number: int64(c + 1), Name: fmt.Sprint("Customer ", c), CreatedAt: planAt, UpdatedAt: planAt}
		data.Customers = append(data.Customers, customer)
		for s, code := range []string{"usual", "rare", "unused"} {
			data.Subroles = append(data.Subroles, &models.Subrole{ID: planID(1, 3*c+s), CustomerID: customer.ID, Code: code})
		}
		users := 200
		if c < 2 {
			users = planUsers
		}
		for i := range users {
			rare := i%(users/planRare) == 3
			user := planUser(len(data.Users), c, rare != (c == 1))
			if rare {
				user.FirstName, user.LastName = "Zeynep", "Yazıcıoğlu"
				user.Email = "qx" + user.Email
				user.Username, user.Mobile = new("wx"+*user.Username), new("7654321")
			}
			data.Users = append(data.Users, user)
			data.Granted[user.ID] = []int64{1}
			if *user.SubroleID == planID(1, 3*c+1) {
				data.Granted[user.ID] = []int64{2}
			}
		}
	}
	return data
}

// planUser makes up user n of all. unusual says of which kind the user is in
// everything that has two values.
func planUser(n, customer int, unusual bool) *models.User {
	user := &models.User{
		// Ids have nothing to do with the order in which users came.
		ID: planID(1_000_000+n*7919%100_000, n), Number: int64(n + 1), CustomerID: planID(0, customer),
		FirstName: fmt.Sprint("First", n%500), LastName: fmt.Sprint("Last", n%997), Email: fmt.Sprintf("user%d@example.com", n),
		Username: new(fmt.Sprint("login", n)), Mobile: new(fmt.Sprint("+90555", n)), Status: models.StatusActive,
		IsEmailVerified: true, AccountNonExpired: true, AccountNonLocked: true, CredentialsNonExpired: true,
		CreatedAt: planAt.Add(time.Duration(n) * time.Minute), UpdatedAt: planAt.Add(time.Duration(n*7919%planUsers) * time.Minute),
		CreatedBy: new(planID(2, 0)), UpdatedBy: new(planID(2, 0)), ExtAuthRefID: new(planID(3, n)), SubroleID: new(planID(1, 3*customer)),
	}
	if unusual {
		user.Status, user.IsFirstLogin = models.StatusInvited, true
		user.IsEmailVerified, user.AccountNonExpired, user.AccountNonLocked, user.CredentialsNonExpired = false, false, false, false
		user.CreatedBy, user.UpdatedBy, user.ExtAuthRefID = new(planID(2, 1)), nil, nil
		user.SubroleID = new(planID(1, 3*customer+1))
	}
	return user
}

// planFilters has a filter for every field and operator, for values that few
// users have, that nobody has and that nearly all have.
func planFilters() map[string]*models.UserFilter {
	filters := map[string]*models.UserFilter{"none": nil}
	text := func(name string, usual, rare, prefix, part string, of func(*models.StringFilter) *models.UserFilter) {
		for value, is := range map[string]string{"usual": usual, "rare": rare, "absent": "zzabsent"} {
			filters[name+" eq "+value] = of(&models.StringFilter{Eq: new(is)})
			filters[name+" in "+value] = of(&models.StringFilter{In: []string{is, "zznobody"}})
		}
		for value, is := range map[string]string{"usual": usual[:4], "rare": prefix, "absent": "zzabsent"} {
			filters[name+" startsWith "+value] = of(&models.StringFilter{StartsWith: new(is)})
		}
		for value, is := range map[string]string{"usual": usual[:4], "rare": part, "absent": "zzabsent"} {
			filters[name+" contains "+value] = of(&models.StringFilter{Contains: new(is)})
		}
		filters[name+" is null"] = of(&models.StringFilter{IsNull: new(true)})
		filters[name+" is not null"] = of(&models.StringFilter{IsNull: new(false)})
	}
	text("firstName", "first7", "zeynep", "zey", "eyne", func(f *models.StringFilter) *models.UserFilter { return &models.UserFilter{FirstName: f} })
	text("lastName", "last7", "yazıcıoğlu", "yaz", "zicio", func(f *models.StringFilter) *models.UserFilter { return &models.UserFilter{LastName: f} })
	text("email", "user7@example.com", "qxuser3@example.com", "qx", "qxus", func(f *models.StringFilter) *models.UserFilter { return &models.UserFilter{Email: f} })
	text("username", "login7", "wxlogin3", "wx", "wxlo", func(f *models.StringFilter) *models.UserFilter { return &models.UserFilter{Username: f} })
	text("mobile", "+905557", "7654321", "76", "6543", func(f *models.StringFilter) *models.UserFilter { return &models.UserFilter{Mobile: f} })
	for _, code := range []string{"usual", "rare", "unused", "absent"} {
		filters["subrole eq "+code] = &models.UserFilter{Subrole: &models.StringFilter{Eq: new(code)}}
		filters["subrole startsWith "+code] = &models.UserFilter{Subrole: &models.StringFilter{StartsWith: new(code)}}
		name := "ROLE_" + strings.ToUpper(code)
		filters["authority anyOf "+code] = &models.UserFilter{Authority: &models.AuthorityFilter{AnyOf: []string{name}}}
		filters["authority allOf "+code] = &models.UserFilter{Authority: &models.AuthorityFilter{AllOf: []string{name, "ROLE_USUAL"}}}
	}
	for value, search := range map[string]string{
		"rare": "yazicioglu", "two rare": "zeynep yazicioglu", "usual": "example", "absent": "zzabsent", "two": "zeynep zzabsent", "short": "a", "usual and rare": "example zeynep",
	} {
		filters["search "+value] = &models.UserFilter{Search: new(search)}
	}
	for _, value := range []bool{true, false} {
		flag := fmt.Sprint(" ", value)
		filters["enabled"+flag] = &models.UserFilter{Enabled: &value}
		filters["isEmailVerified"+flag] = &models.UserFilter{IsEmailVerified: &value}
		filters["isFirstLogin"+flag] = &models.UserFilter{IsFirstLogin: &value}
		filters["accountNonExpired"+flag] = &models.UserFilter{AccountNonExpired: &value}
		filters["accountNonLocked"+flag] = &models.UserFilter{AccountNonLocked: &value}
		filters["credentialsNonExpired"+flag] = &models.UserFilter{CredentialsNonExpired: &value}
		filters["subrole isNull"+flag] = &models.UserFilter{Subrole: &models.StringFilter{IsNull: &value}}
	}
	for _, status := range models.UserStatuses() {
		filters["status eq "+string(status)] = &models.UserFilter{Status: &models.UserStatusFilter{Eq: &status}}
		filters["status in "+string(status)] = &models.UserFilter{Status: &models.UserStatusFilter{In: []models.UserStatus{status, models.StatusInactive}}}
		filters["status notIn "+string(status)] = &models.UserFilter{Status: &models.UserStatusFilter{NotIn: []models.UserStatus{status}}}
	}
	for name, of := range map[string]func(*models.IDFilter) *models.UserFilter{
		"id":           func(f *models.IDFilter) *models.UserFilter { return &models.UserFilter{ID: f} },
		"subroleId":    func(f *models.IDFilter) *models.UserFilter { return &models.UserFilter{SubroleID: f} },
		"createdBy":    func(f *models.IDFilter) *models.UserFilter { return &models.UserFilter{CreatedBy: f} },
		"updatedBy":    func(f *models.IDFilter) *models.UserFilter { return &models.UserFilter{UpdatedBy: f} },
		"extAuthRefId": func(f *models.IDFilter) *models.UserFilter { return &models.UserFilter{ExtAuthRefID: f} },
	} {
		for _, id := range []models.ID{planID(1, 0), planID(1, 1), planID(1, 4), planID(2, 0), planID(2, 1), planID(3, 7), unknownID} {
			filters[name+" eq "+string(id)] = of(&models.IDFilter{Eq: &id})
			filters[name+" in "+string(id)] = of(&models.IDFilter{In: []models.ID{id, unknownID}})
		}
		filters[name+" is null"] = of(&models.IDFilter{IsNull: new(true)})
		filters[name+" is not null"] = of(&models.IDFilter{IsNull: new(false)})
	}
	for when, at := range map[string]time.Time{"first": planAt, "late": planAt.Add(planUsers * time.Minute), "never": planAt.AddDate(100, 0, 0)} {
		filters["createdAt gt "+when] = &models.UserFilter{CreatedAt: &models.DateTimeFilter{Gt: &at}}
		filters["createdAt lt "+when] = &models.UserFilter{CreatedAt: &models.DateTimeFilter{Lt: &at}}
		filters["updatedAt gte "+when] = &models.UserFilter{UpdatedAt: &models.DateTimeFilter{Gte: &at}}
		filters["updatedAt lte "+when] = &models.UserFilter{UpdatedAt: &models.DateTimeFilter{Lte: &at}}
	}
	return filters
}

// TestPlans has every filter of one field read in every order, with the very
// statements of the store, and holds that PostgreSQL never reads a whole table
// of users nor most users of a large customer.
func TestPlans(t *testing.T) {
	if testing.Short() { // CI runs it without -short, before the race detector
		t.Skip("making up customers that are large enough takes half a minute")
	}
	store := dbtest.Open(t, db.Postgres)
	conn := dbtest.Connect(t, store)
	dbtest.Write(t, conn, planData())
	if _, err := conn.ExecContext(t.Context(), "VACUUM (ANALYZE)"); err != nil {
		t.Fatal(err)
	}
	counter := dbtest.Count(store)
	filters := planFilters()
	for customer := range 3 {
		for n, name := range slices.Sorted(maps.Keys(filters)) {
			filter := filters[name]
			for i, order := range orders() {
				// Each filter meets some of the orders with each customer, and filters
				// that are alike meet others: all pairs would take minutes.
				if (n+i+customer)%5 != 0 && filter != nil {
					continue
				}
				query := models.UserQuery{CustomerID: planID(0, customer), Filter: filter, Order: order, Window: models.Window{Size: 20}}
				counter.Reset()
				if _, _, err := store.Users(t.Context(), everything, query); err != nil {
					t.Fatal(err)
				}
				for _, statement := range counter.Seen() {
					if rows, plan := explain(t, conn, statement); rows > planLimit {
						t.Errorf("customer %d, %s, by %s %s: %d rows are looked at", customer, name, order.Field, order.Direction, rows)
						t.Logf("%s\n%s", statement.Text, plan)
					}
				}
			}
		}
	}
}

// TestPlansOfDeepPages holds that both ways to read a deep page begin at the month that
// the counters name.
func TestPlansOfDeepPages(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		data := dbtest.Users(2_000, 33)
		conn := dbtest.Connect(t, store)
		dbtest.Write(t, conn, data)
		counter := dbtest.Count(store)
		for _, direction := range []models.OrderDirection{models.Ascending, models.Descending} {
			counter.Reset()
			query := models.UserQuery{CustomerID: data.Customers[0].ID, Order: models.UserOrder{Field: models.OrderCreatedAt, Direction: direction}, Window: models.Window{Size: 20, Offset: 1_000}}
			if users, _, err := store.Users(t.Context(), everything, query); err != nil || len(users) != 20 {
				t.Fatalf("%d users, error %v", len(users), err)
			}
			statement := counter.Seen()[0]
			var plan string
			if store.Engine() == db.Postgres {
				_, plan = explain(t, conn, statement)
			} else {
				plan = strings.Join(sqlitePlan(t, conn, statement), "\n")
			}
			tight := strings.ReplaceAll(plan, " ", "")
			if !strings.Contains(tight, "users_created_at") || !strings.Contains(tight, "created_at>") || !strings.Contains(tight, "created_at<") {
				t.Errorf("%s: %s", direction, plan)
			}
		}
	})
}

// TestPlansOfDeepFilteredPages holds that the authorities are read of the users of the page
// only, and not of those before it.
func TestPlansOfDeepFilteredPages(t *testing.T) {
	defer db.SetDeepFrom(100)()
	store := dbtest.Open(t, db.Postgres)
	data := dbtest.Users(3_000, 33)
	conn := dbtest.Connect(t, store)
	dbtest.Write(t, conn, data)
	counter := dbtest.Count(store)
	for name, filter := range map[string]models.UserFilter{
		"plain":  {IsFirstLogin: new(false)},
		"probed": {UpdatedAt: &models.DateTimeFilter{Gte: new(time.Time{})}},
	} {
		counter.Reset()
		query := models.UserQuery{
			CustomerID: data.Customers[0].ID, Filter: &filter, Order: models.DefaultUserOrder(),
			Window: models.Window{Size: 20, Offset: 100}, Fields: models.FieldAuthorityIDs,
		}
		if users, _, err := store.Users(t.Context(), everything, query); err != nil || len(users) != 20 {
			t.Fatalf("%s: %d users, error %v", name, len(users), err)
		}
		_, plan := explain(t, conn, counter.Seen()[0])
		var plans []struct{ Plan planNode }
		if err := json.Unmarshal([]byte(plan), &plans); err != nil {
			t.Fatal(err)
		}
		if loops := plans[0].Plan.loops("user_authorities"); loops == 0 || loops > 21 {
			t.Errorf("%s: they are read %.0f times: %s", name, loops, plan)
		}
	}
}

// planNode is a node of a plan as PostgreSQL describes it.
type planNode struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Rows     float64 `json:"Actual Rows"`
	Loops    float64 `json:"Actual Loops"`
	Removed  float64 `json:"Rows Removed by Filter"`
	Recheck  float64 `json:"Rows Removed by Index Recheck"`
	Plans    []planNode
}

// loops gives how often a table was read.
func (n planNode) loops(relation string) (loops float64) {
	if n.Relation == relation {
		loops = n.Loops
	}
	for _, part := range n.Plans {
		loops = max(loops, part.loops(relation))
	}
	return loops
}

// most gives the most rows that a node of the plan looked at.
func (n planNode) most() int {
	var most int
	if n.Relation != "" {
		most = int((n.Rows + n.Removed + n.Recheck) * n.Loops)
	}
	if n.Type == "Seq Scan" && n.Loops > 0 && strings.HasPrefix(n.Relation, "user") {
		most = max(most, 2*planUsers) // whatever it would have been with more luck
	}
	for _, part := range n.Plans {
		most = max(most, part.most())
	}
	return most
}

// explain runs a statement and gives how many rows of one table PostgreSQL looked
// at, and the plan.
func explain(t *testing.T, conn *bun.DB, statement dbtest.Statement) (rows int, plan string) {
	t.Helper()
	var text string
	if err := conn.DB.QueryRowContext(t.Context(), "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "+statement.Text, statement.Args...).Scan(&text); err != nil {
		t.Fatalf("%s: %v", statement.Text, err)
	}
	var plans []struct{ Plan planNode }
	if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	return plans[0].Plan.most(), text
}

// TestPlansOfSQLite holds that no list reads a whole table of users, and that
// every order of an unfiltered one is that of an index.
func TestPlansOfSQLite(t *testing.T) {
	if testing.Short() { // CI runs it without -short, before the race detector
		t.Skip("the plans of all filters in all orders take half a minute")
	}
	store := dbtest.Open(t, db.SQLite)
	conn := dbtest.Connect(t, store)
	dbtest.Write(t, conn, dbtest.Users(200, 31))
	counter := dbtest.Count(store)
	for name, filter := range planFilters() {
		for _, order := range orders() {
			counter.Reset()
			query := models.UserQuery{CustomerID: planID(0, 0), Filter: filter, Order: order, Window: models.Window{Size: 20}}
			if _, _, err := store.Users(t.Context(), everything, query); err != nil {
				t.Fatal(err)
			}
			plan := sqlitePlan(t, conn, counter.Seen()[0])
			for _, step := range plan {
				// A statement that looks for few users first calls what it found u too.
				if step == "SCAN u" && !slices.Contains(plan, "CO-ROUTINE u") || step == "SCAN x" || step == "SCAN ua" || filter == nil && strings.Contains(step, "TEMP B-TREE") {
					t.Errorf("%s, by %s %s: %q", name, order.Field, order.Direction, plan)
				}
			}
		}
	}
}

// sqlitePlan gives what SQLite is going to do for a statement, step by step.
func sqlitePlan(t *testing.T, conn *bun.DB, statement dbtest.Statement) (steps []string) {
	t.Helper()
	rows, err := conn.DB.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement.Text, statement.Args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}
