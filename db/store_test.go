package db_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

var everything = models.Scope{All: true}

// unknownID is the id of nothing.
const unknownID = models.ID("00000000-0000-4000-8000-00000000dead")

// read gives the user as a list reads it: with only those folded keys that its
// order needs.
func read(u *models.User, field models.UserOrderField) *models.User {
	c := *u
	c.MobileKey, c.SearchKey = "", ""
	if field != models.OrderEmail {
		c.EmailKey = ""
	}
	if field != models.OrderName {
		c.FirstNameKey, c.LastNameKey = "", ""
	}
	if field != models.OrderUsername {
		c.UsernameKey = ""
	}
	return &c
}

func readAll(users []*models.User, field models.UserOrderField) []*models.User {
	var rows []*models.User
	for _, user := range users {
		rows = append(rows, read(user, field))
	}
	return rows
}

func customerIDs(data *dbtest.Data) (ids []models.ID) {
	for _, customer := range data.Customers {
		ids = append(ids, customer.ID)
	}
	return ids
}

func userIDs(users []*models.User) (ids []models.ID) {
	for _, user := range users {
		ids = append(ids, user.ID)
	}
	return ids
}

func numbers(users []*models.User) (numbers []int64) {
	for _, user := range users {
		numbers = append(numbers, user.Number)
	}
	return numbers
}

// checkDiff compares what a method gave with what it should have. An empty list
// or map is as good as none.
func checkDiff(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(models.Customer{}, "SubrolesVersion", "AuthoritiesVersion")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func checkRefused(t *testing.T, err error, message string) {
	t.Helper()
	got := models.AsError(err)
	if err == nil || got.Code != models.CodeBadUserInput || got.Message != message {
		t.Errorf("the error is %v, want BAD_USER_INPUT %q", err, message)
	}
}

// TestScopes asks every method for everything there is, in every scope. What
// comes back is all that lies in the scope and nothing else, for one statement,
// and for none where the scope is empty.
func TestScopes(t *testing.T) {
	data := dbtest.Users(60, 1)
	a, b, c := data.Customers[0], data.Customers[1], data.Customers[2]
	scopes := []struct {
		name    string
		scope   models.Scope
		visible []models.ID
	}{
		{"Zero", models.Scope{}, nil},
		{"EmptyLists", models.Scope{CustomerIDs: []models.ID{}, CustomerNumbers: []int64{}}, nil},
		{"ID", models.Scope{CustomerIDs: []models.ID{a.ID}}, []models.ID{a.ID}},
		{"Number", models.Scope{CustomerNumbers: []int64{b.Number}}, []models.ID{b.ID}},
		{"IDs", models.Scope{CustomerIDs: []models.ID{a.ID, b.ID}}, []models.ID{a.ID, b.ID}},
		{"Numbers", models.Scope{CustomerNumbers: []int64{b.Number, c.Number}}, []models.ID{b.ID, c.ID}},
		{"IDAndNumber", models.Scope{CustomerIDs: []models.ID{a.ID}, CustomerNumbers: []int64{b.Number}}, []models.ID{a.ID, b.ID}},
		{"IDAndItsNumber", models.Scope{CustomerIDs: []models.ID{a.ID}, CustomerNumbers: []int64{a.Number}}, []models.ID{a.ID}},
		{"IDTwice", models.Scope{CustomerIDs: []models.ID{a.ID, a.ID}}, []models.ID{a.ID}},
		{"UnknownID", models.Scope{CustomerIDs: []models.ID{unknownID}}, nil},
		{"UnknownNumber", models.Scope{CustomerNumbers: []int64{999}}, nil},
		{"CompanyIDIsNoNumber", models.Scope{CustomerNumbers: []int64{*b.CompanyID}}, nil},
		{"KnownAndUnknown", models.Scope{CustomerIDs: []models.ID{unknownID, b.ID}, CustomerNumbers: []int64{999}}, []models.ID{b.ID}},
		{"All", everything, customerIDs(data)},
		{"AllAndID", models.Scope{All: true, CustomerIDs: []models.ID{a.ID}}, customerIDs(data)},
	}

	allUsers := append(userIDs(data.Users), unknownID)
	var allSubroles []models.ID
	for _, subrole := range data.Subroles {
		allSubroles = append(allSubroles, subrole.ID)
	}
	byNumber := models.UserOrder{Field: models.OrderNumber, Direction: models.Ascending}

	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		counter := dbtest.Count(store)
		for _, test := range scopes {
			t.Run(test.name, func(t *testing.T) {
				ctx := t.Context()
				sees := func(customerID models.ID) bool { return slices.Contains(test.visible, customerID) }
				statements := 1
				if test.scope.Empty() {
					statements = 0
				}
				// ask runs one method, which gives what it read and what it should have.
				ask := func(method string, run func() (want, got any, err error)) {
					t.Helper()
					counter.Reset()
					want, got, err := run()
					if err != nil {
						t.Fatalf("%s: %v", method, err)
					}
					checkDiff(t, method, want, got)
					checkDiff(t, method+": the number of statements", statements, counter.N())
				}

				ask("CustomersByID", func() (any, any, error) {
					want := map[models.ID]*models.Customer{}
					for _, customer := range data.Customers {
						if sees(customer.ID) {
							want[customer.ID] = customer
						}
					}
					got, err := store.CustomersByID(ctx, test.scope, append(customerIDs(data), unknownID, a.ID))
					return want, got, err
				})
				for _, customer := range append(slices.Clone(data.Customers), &models.Customer{ID: unknownID, Number: 999}) {
					ask("CustomerByNumber", func() (any, any, error) {
						var want *models.Customer
						if sees(customer.ID) {
							want = customer
						}
						got, err := store.CustomerByNumber(ctx, test.scope, customer.Number)
						return want, got, err
					})
					users := selected(data, customer.ID, nil, byNumber)
					if !sees(customer.ID) {
						users = nil
					}
					ask("Users", func() (any, any, error) {
						got, more, err := store.Users(ctx, test.scope, models.UserQuery{CustomerID: customer.ID, Order: byNumber, Window: models.Window{Size: 100}})
						if more {
							t.Error("Users: more than there are")
						}
						return readAll(users, byNumber.Field), got, err
					})
					ask("CountUsers", func() (any, any, error) {
						got, err := store.CountUsers(ctx, test.scope, customer.ID, nil)
						return len(users), got, err
					})
					ask("Users by an OR that is always true", func() (any, any, error) {
						filter := &models.UserFilter{Or: []*models.UserFilter{{}, {Not: &models.UserFilter{}}}}
						got, _, err := store.Users(ctx, test.scope, models.UserQuery{CustomerID: customer.ID, Filter: filter, Order: byNumber, Window: models.Window{Size: 100}})
						return readAll(users, byNumber.Field), got, err
					})
					ask("Subroles", func() (any, any, error) {
						var want []*models.Subrole
						for _, subrole := range data.Subroles {
							if subrole.CustomerID == customer.ID && sees(customer.ID) {
								want = append(want, subrole)
							}
						}
						slices.SortFunc(want, func(a, b *models.Subrole) int { return strings.Compare(a.CodeKey, b.CodeKey) })
						got, err := store.Subroles(ctx, test.scope, customer.ID)
						return withoutKeys(want), got, err
					})
				}
				ask("Customers", func() (any, any, error) {
					var want []*models.Customer
					for _, customer := range data.Customers {
						if sees(customer.ID) {
							want = append(want, customer)
						}
					}
					slices.SortFunc(want, func(a, b *models.Customer) int { return strings.Compare(a.NameKey, b.NameKey) })
					got, more, err := store.Customers(ctx, test.scope, models.CustomerQuery{Window: models.Window{Size: 100}})
					if more {
						t.Error("Customers: more than there are")
					}
					return want, got, err
				})
				ask("CountCustomers", func() (any, any, error) {
					got, err := store.CountCustomers(ctx, test.scope, "")
					return len(test.visible), got, err
				})
				ask("UsersByID", func() (any, any, error) {
					want := map[models.ID]*models.User{}
					for _, user := range data.Users {
						if sees(user.CustomerID) {
							want[user.ID] = read(user, "")
						}
					}
					got, err := store.UsersByID(ctx, test.scope, allUsers)
					return want, got, err
				})
				ask("SubrolesByID", func() (any, any, error) {
					want := map[models.ID]*models.Subrole{}
					for i, subrole := range withoutKeys(data.Subroles) {
						if sees(data.Subroles[i].CustomerID) {
							want[subrole.ID] = subrole
						}
					}
					got, err := store.SubrolesByID(ctx, test.scope, append(allSubroles, unknownID))
					return want, got, err
				})
				ask("SubrolesByUser", func() (any, any, error) {
					subroles := withoutKeys(data.Subroles)
					want := map[models.ID]*models.Subrole{}
					for _, user := range data.Users {
						if sees(user.CustomerID) && user.SubroleID != nil {
							want[user.ID] = subroles[slices.IndexFunc(subroles, func(s *models.Subrole) bool { return s.ID == *user.SubroleID })]
						}
					}
					got, err := store.SubrolesByUser(ctx, test.scope, allUsers)
					return want, got, err
				})
				ask("AuthoritiesByUser", func() (any, any, error) {
					want := map[models.ID][]*models.Authority{}
					for _, user := range data.Users {
						if granted := data.AuthoritiesOf(user.ID); sees(user.CustomerID) && len(granted) > 0 {
							want[user.ID] = granted
						}
					}
					got, err := store.AuthoritiesByUser(ctx, test.scope, allUsers)
					return want, got, err
				})
				ask("LegacyCredentialsByUser", func() (any, any, error) {
					want := map[models.ID]*models.LegacyCredentials{}
					for _, credentials := range data.Credentials {
						user := data.Users[slices.IndexFunc(data.Users, func(u *models.User) bool { return u.ID == credentials.UserID })]
						if sees(user.CustomerID) {
							want[user.ID] = credentials
						}
					}
					got, err := store.LegacyCredentialsByUser(ctx, test.scope, allUsers)
					return want, got, err
				})
			})
		}
	})
}

func withoutKeys(subroles []*models.Subrole) []*models.Subrole {
	var rows []*models.Subrole
	for _, subrole := range subroles {
		c := *subrole
		c.CodeKey = ""
		rows = append(rows, &c)
	}
	return rows
}

// TestStatements holds that a method runs one statement however much it reads,
// and none when it is asked for nothing.
func TestStatements(t *testing.T) {
	data := dbtest.Users(150, 2)
	customer := data.Customers[0].ID
	ids := userIDs(data.Users)
	filter := &models.UserFilter{
		Search: new("a"), Subrole: &models.StringFilter{In: []string{"cro", "admin"}}, Authority: &models.AuthorityFilter{AnyOf: []string{"ROLE_USER"}, NoneOf: []string{"ROLE_ADMIN"}},
		Or: []*models.UserFilter{{Enabled: new(true)}, {Not: &models.UserFilter{Mobile: &models.StringFilter{IsNull: new(true)}}}},
	}
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		counter := dbtest.Count(store)
		methods := map[string]func(ctx context.Context, n int) error{
			"CustomersByID": func(ctx context.Context, n int) error {
				_, err := store.CustomersByID(ctx, everything, customerIDs(data)[:min(n, 3)])
				return err
			},
			"UsersByID": func(ctx context.Context, n int) error {
				_, err := store.UsersByID(ctx, everything, ids[:n])
				return err
			},
			"SubrolesByID": func(ctx context.Context, n int) error {
				_, err := store.SubrolesByID(ctx, everything, ids[:n])
				return err
			},
			"SubrolesByUser": func(ctx context.Context, n int) error {
				_, err := store.SubrolesByUser(ctx, everything, ids[:n])
				return err
			},
			"AuthoritiesByUser": func(ctx context.Context, n int) error {
				_, err := store.AuthoritiesByUser(ctx, everything, ids[:n])
				return err
			},
			"LegacyCredentialsByUser": func(ctx context.Context, n int) error {
				_, err := store.LegacyCredentialsByUser(ctx, everything, ids[:n])
				return err
			},
			"Users": func(ctx context.Context, n int) error {
				_, _, err := store.Users(ctx, everything, models.UserQuery{CustomerID: customer, Order: models.DefaultUserOrder(), Window: models.Window{Size: max(n, 1)}})
				return err
			},
			"Users, filtered": func(ctx context.Context, n int) error {
				_, _, err := store.Users(ctx, everything, models.UserQuery{CustomerID: customer, Filter: filter, Order: models.DefaultUserOrder(), Window: models.Window{Size: max(n, 1)}})
				return err
			},
			"CountUsers": func(ctx context.Context, _ int) error {
				_, err := store.CountUsers(ctx, everything, customer, filter)
				return err
			},
			"Customers": func(ctx context.Context, n int) error {
				_, _, err := store.Customers(ctx, everything, models.CustomerQuery{Search: "a", Window: models.Window{Size: max(n, 1)}})
				return err
			},
			"CountCustomers": func(ctx context.Context, _ int) error {
				_, err := store.CountCustomers(ctx, everything, "a")
				return err
			},
			"CustomerByNumber": func(ctx context.Context, n int) error {
				_, err := store.CustomerByNumber(ctx, everything, int64(n))
				return err
			},
			"Subroles": func(ctx context.Context, _ int) error {
				_, err := store.Subroles(ctx, everything, customer)
				return err
			},
		}
		for name, run := range methods {
			for _, n := range []int{0, 1, 2, 150} {
				t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
					want := 1
					if n == 0 && strings.Contains(name, "By") && name != "CustomerByNumber" {
						want = 0
					}
					counter.Reset()
					if err := run(t.Context(), n); err != nil {
						t.Fatal(err)
					}
					if counter.N() != want {
						t.Errorf("%d statements, want %d: %q", counter.N(), want, counter.Statements())
					}
				})
			}
		}
	})
}

// filterData has one customer whose users are known by their number, and a
// second one with a twin of each user.
func filterData() *dbtest.Data {
	data := dbtest.Users(0, 3)
	a, b := data.Customers[0], data.Customers[1]
	at := time.Date(2024, 2, 12, 14, 16, 49, 53e6, time.UTC)
	people := []models.ID{"aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"}
	users := []*models.User{
		{
			FirstName: "İbrahim", LastName: "Yazıcıoğlu", Email: "Ibrahim@Example.com", Username: new("Ibo"), Mobile: new("+90 555"), Status: models.StatusActive,
			IsEmailVerified: true, AccountNonExpired: true, CreatedAt: at, UpdatedAt: at, CreatedBy: &people[0], ExtAuthRefID: &people[0],
		},
		{
			FirstName: "IŞIL", LastName: "straße", Email: "A_B%c!d@example.com", Status: models.StatusInvited,
			IsFirstLogin: true, AccountNonLocked: true, CreatedAt: at.Add(7 * time.Microsecond), UpdatedAt: at, CreatedBy: &people[1], UpdatedBy: &people[0],
		},
		{
			FirstName: "Jose\u0301", LastName: "Núñez", Email: `back\slash'quote@example.com`, Username: new(""), Mobile: new(""), Status: models.StatusInactive,
			CredentialsNonExpired: true, CreatedAt: at.Add(time.Millisecond), UpdatedAt: at.Add(time.Second),
		},
		{
			FirstName: "大文", LastName: "陳", Email: "AxBxcxd@example.org", Username: new("iBO2"), Mobile: new("0555 1"), Status: models.StatusActive,
			IsEmailVerified: true, CreatedAt: at.Add(time.Second), UpdatedAt: at.Add(-time.Microsecond), UpdatedBy: &people[1],
		},
		{
			FirstName: "مريم ?", LastName: "", Email: "😀@example.com", Username: new("$1"), Status: models.StatusInvited,
			CreatedAt: time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC), UpdatedAt: at, CreatedBy: &people[0], UpdatedBy: &people[0],
		},
	}
	subroles := []string{"cro", "Admin", "", "50%_off", "straße"}
	authorities := [][]int64{{1, 2}, {2}, nil, {2, 3, 4}, {1, 2, 3, 4, 5, 6}}
	for i, user := range users {
		twin := *user
		for j, user := range []*models.User{user, &twin} {
			user.Number = int64(100*j + i + 1)
			user.ID = models.ID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", user.Number))
			user.CustomerID = []models.ID{a.ID, b.ID}[j]
			for _, subrole := range data.Subroles {
				if subrole.CustomerID == user.CustomerID && subrole.Code == subroles[i] {
					user.SubroleID = &subrole.ID
				}
			}
			user.SetKeys()
			data.Users = append(data.Users, user)
			data.Granted[user.ID] = authorities[i]
		}
	}
	return data
}

// Code points that are no characters are told apart.
func TestFiltersOfNoncharacters(t *testing.T) {
	texts := []string{"\ufffd", "\ufffe", "\uffff", "\U0001fffe", "\ufdd0"}
	data := dbtest.Users(len(texts), 1)
	for i, user := range data.Users {
		user.CustomerID, user.FirstName, user.SubroleID = data.Customers[0].ID, texts[i], nil
		user.SetKeys()
	}
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		for _, text := range texts {
			for name, filter := range map[string]*models.UserFilter{
				"contains": {FirstName: &models.StringFilter{Contains: &text}}, "starts with": {FirstName: &models.StringFilter{StartsWith: &text}},
				"equals": {FirstName: &models.StringFilter{Eq: &text}}, "search": {Search: &text},
			} {
				n, err := store.CountUsers(t.Context(), models.Scope{All: true}, data.Customers[0].ID, filter)
				if err != nil || n != 1 {
					t.Errorf("%s %+q: %d users, %v", name, text, n, err)
				}
			}
		}
	})
}

// TestPrefixesAtTheEndsOfUnicode looks for texts that begin with a character after which
// there is none, or none before the surrogates.
func TestPrefixesAtTheEndsOfUnicode(t *testing.T) {
	names := []string{"a\U0010ffffz", "\ud7ffz", "\U0010ffff", "\ue000z"}
	data := dbtest.Users(len(names), 1)
	for i, user := range data.Users {
		user.CustomerID, user.LastName, user.SubroleID = data.Customers[0].ID, names[i], nil
		user.SetKeys()
	}
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		for _, prefix := range []string{"a\U0010ffff", "\ud7ff", "\U0010ffff"} {
			filter := &models.UserFilter{LastName: &models.StringFilter{StartsWith: &prefix}}
			n, err := store.CountUsers(t.Context(), everything, data.Customers[0].ID, filter)
			if err != nil || n != 1 {
				t.Errorf("%+q: %d users, error %v", prefix, n, err)
			}
		}
	})
}

func TestFilters(t *testing.T) {
	data := filterData()
	customer := data.Customers[0].ID
	one, two := data.UsersOf(customer)[0], data.UsersOf(customer)[1]
	foreign := data.UsersOf(data.Customers[1].ID)[0].ID
	at := one.CreatedAt
	micro := at.Add(7 * time.Microsecond)
	istanbul := time.FixedZone("+03:00", 3*60*60)
	// Longer than SQLite's LIKE takes, and of signs that mean something to it.
	long := strings.Repeat("x%_!'ß", 10_000)

	type text = models.StringFilter
	type filter = models.UserFilter
	firstName := func(f text) *filter { return &filter{FirstName: &f} }
	email := func(f text) *filter { return &filter{Email: &f} }
	username := func(f text) *filter { return &filter{Username: &f} }
	mobile := func(f text) *filter { return &filter{Mobile: &f} }
	subrole := func(f text) *filter { return &filter{Subrole: &f} }
	search := func(s string) *filter { return &filter{Search: &s} }
	created := func(f models.DateTimeFilter) *filter { return &filter{CreatedAt: &f} }
	id := func(f models.IDFilter) *filter { return &filter{ID: &f} }
	createdBy := func(f models.IDFilter) *filter { return &filter{CreatedBy: &f} }
	status := func(f models.UserStatusFilter) *filter { return &filter{Status: &f} }
	authority := func(f models.AuthorityFilter) *filter { return &filter{Authority: &f} }
	everyone := []int64{1, 2, 3, 4, 5}

	tests := []struct {
		name   string
		filter *filter
		want   []int64
	}{
		{"Nil", nil, everyone},
		{"Empty", &filter{}, everyone},
		{"EmptyParts", &filter{ID: &models.IDFilter{}, Status: &models.UserStatusFilter{}, Subrole: &text{}, Authority: &models.AuthorityFilter{}, Mobile: &text{}, CreatedAt: &models.DateTimeFilter{}}, everyone},

		{"Search/Empty", search(""), everyone},
		{"Search/Blank", search(" \t\u00a0"), everyone},
		{"Search/Folded", search("yazicioglu"), []int64{1}},
		{"Search/TurkishCapitals", search("YAZICIOĞLU"), []int64{1}},
		{"Search/DottedI", search("İBRAHİM"), []int64{1}},
		{"Search/DotlessI", search("ıbrahım"), []int64{1}},
		{"Search/SharpS", search("STRASSE"), []int64{2}},
		{"Search/Composed", search("josé nuñez"), []int64{3}},
		{"Search/Han", search("大 陳"), []int64{4}},
		{"Search/Arabic", search("مُريم"), []int64{5}},
		{"Search/Emoji", search("😀"), []int64{5}},
		{"Search/EveryWord", search("555 ib example.com"), []int64{1}},
		{"Search/InAnyOrder", search("yazici ibrahim"), []int64{1}},
		{"Search/Username", search("ibo"), []int64{1, 4}},
		{"Search/Mobile", search("+90"), []int64{1}},
		{"Search/NotAcrossFields", search("ibrahimyazicioglu"), nil},
		{"Search/TwoWordsAreNotOne", search("ibra him"), []int64{1}},
		{"Search/Percent", search("%"), []int64{2}},
		{"Search/Underscore", search("_"), []int64{2}},
		{"Search/Exclamation", search("!"), []int64{2}},
		{"Search/Backslash", search(`\`), []int64{3}},
		{"Search/Quote", search("'"), []int64{3}},
		{"Search/Placeholder", search("?"), []int64{5}},
		{"Search/NumberedPlaceholder", search("$1"), []int64{5}},
		{"Search/Injection", search("') OR 1=1 --"), nil},
		{"Search/Long", search(long), nil},

		{"String/Eq", firstName(text{Eq: new("ibrahim")}), []int64{1}},
		{"String/EqIsNotContains", firstName(text{Eq: new("ibrahi")}), nil},
		{"String/EqWithSpace", firstName(text{Eq: new("مريم ?")}), []int64{5}},
		{"String/EqEmpty", &filter{LastName: &text{Eq: new("")}}, []int64{5}},
		{"String/EqSharpS", &filter{LastName: &text{Eq: new("STRASSE")}}, []int64{2}},
		{"String/EqLong", firstName(text{Eq: &long}), nil},
		{"String/In", firstName(text{In: []string{"IBRAHIM", "işıl", "nobody"}}), []int64{1, 2}},
		{"String/InNothing", firstName(text{In: []string{}}), nil},
		{"String/InLong", firstName(text{In: []string{long, "JOSE"}}), []int64{3}},
		{"String/StartsWith", firstName(text{StartsWith: new("I")}), []int64{1, 2}},
		{"String/StartsWithEmpty", firstName(text{StartsWith: new("")}), everyone},
		{"String/StartsWithIsNotContains", firstName(text{StartsWith: new("brahim")}), nil},
		{"String/StartsWithLong", firstName(text{StartsWith: &long}), nil},
		{"String/StartsWithSigns", email(text{StartsWith: new("a_b%C!d")}), []int64{2}},
		{"String/StartsWithPercent", email(text{StartsWith: new("%")}), nil},
		{"String/Contains", firstName(text{Contains: new("S")}), []int64{2, 3}},
		{"String/ContainsEmpty", firstName(text{Contains: new("")}), everyone},
		{"String/ContainsLong", firstName(text{Contains: &long}), nil},
		{"String/ContainsUnderscore", email(text{Contains: new("a_b")}), []int64{2}},
		{"String/ContainsPercent", email(text{Contains: new("b%c")}), []int64{2}},
		{"String/ContainsEscape", email(text{Contains: new("c!d")}), []int64{2}},
		{"String/ContainsEscapedPercent", email(text{Contains: new("!%")}), nil},
		{"String/ContainsBackslash", email(text{Contains: new(`k\s`)}), []int64{3}},
		{"String/ContainsQuote", email(text{Contains: new("h'q")}), []int64{3}},
		{"String/IsNullNever", firstName(text{IsNull: new(true)}), nil},
		{"String/IsNullAlwaysNot", firstName(text{IsNull: new(false)}), everyone},
		{"String/AllOperators", firstName(text{Eq: new("İbrahim"), In: []string{"ibrahim"}, StartsWith: new("ib"), Contains: new("rah"), IsNull: new(false)}), []int64{1}},
		{"String/AllMustHold", firstName(text{Eq: new("İbrahim"), StartsWith: new("x")}), nil},

		{"Null/Is", mobile(text{IsNull: new(true)}), []int64{2, 5}},
		{"Null/IsNot", mobile(text{IsNull: new(false)}), []int64{1, 3, 4}},
		{"Null/EmptyIsNotNull", mobile(text{Eq: new("")}), []int64{3}},
		{"Null/EmptyPrefix", mobile(text{StartsWith: new("")}), []int64{1, 3, 4}},
		{"Null/EmptyPart", mobile(text{Contains: new("")}), []int64{1, 3, 4}},
		{"Null/In", mobile(text{In: []string{"", "+90 555"}}), []int64{1, 3}},
		{"Null/InNothing", mobile(text{In: []string{}}), nil},
		{"Null/NotEq", &filter{Not: mobile(text{Eq: new("+90 555")})}, []int64{2, 3, 4, 5}},
		{"Null/NotNotEq", &filter{Not: &filter{Not: mobile(text{Eq: new("+90 555")})}}, []int64{1}},
		{"Null/IsAndEq", mobile(text{IsNull: new(true), Eq: new("")}), nil},
		{"Null/Username", username(text{IsNull: new(true)}), []int64{2}},
		{"Null/UsernameEmpty", username(text{Eq: new("")}), []int64{3}},
		{"Null/UsernameFolded", username(text{StartsWith: new("İBO")}), []int64{1, 4}},
		{"Null/UsernamePlaceholder", username(text{Eq: new("$1")}), []int64{5}},

		{"Subrole/Eq", subrole(text{Eq: new("CRO")}), []int64{1}},
		{"Subrole/In", subrole(text{In: []string{"admin", "strasse"}}), []int64{2, 5}},
		{"Subrole/InNothing", subrole(text{In: []string{}}), nil},
		{"Subrole/StartsWith", subrole(text{StartsWith: new("50%")}), []int64{4}},
		{"Subrole/Contains", subrole(text{Contains: new("_")}), []int64{4}},
		{"Subrole/ContainsEmpty", subrole(text{Contains: new("")}), []int64{1, 2, 4, 5}},
		{"Subrole/IsNull", subrole(text{IsNull: new(true)}), []int64{3}},
		{"Subrole/IsNotNull", subrole(text{IsNull: new(false)}), []int64{1, 2, 4, 5}},
		{"Subrole/NotEq", &filter{Not: subrole(text{Eq: new("cro")})}, []int64{2, 3, 4, 5}},
		{"Subrole/IsNullAndEq", subrole(text{IsNull: new(true), Eq: new("cro")}), nil},

		{"Authority/AnyOf", authority(models.AuthorityFilter{AnyOf: []string{"ROLE_ADMIN", "role_user"}}), []int64{1, 4, 5}},
		{"Authority/AnyOfNothing", authority(models.AuthorityFilter{AnyOf: []string{}}), nil},
		{"Authority/Exact", authority(models.AuthorityFilter{AnyOf: []string{"role_admin"}}), nil},
		{"Authority/CaseMatters", authority(models.AuthorityFilter{AnyOf: []string{"role_user"}}), []int64{4, 5}},
		{"Authority/NoPattern", authority(models.AuthorityFilter{AnyOf: []string{"ROLE%"}}), nil},
		{"Authority/PercentInName", authority(models.AuthorityFilter{AnyOf: []string{"ROLE%USER"}}), []int64{4, 5}},
		{"Authority/MarksMatter", authority(models.AuthorityFilter{AnyOf: []string{"ROLE"}}), nil},
		{"Authority/Quote", authority(models.AuthorityFilter{AnyOf: []string{"It's"}}), []int64{5}},
		{"Authority/AllOf", authority(models.AuthorityFilter{AllOf: []string{"ROLE_ADMIN", "ROLE_USER"}}), []int64{1, 5}},
		{"Authority/AllOfTwice", authority(models.AuthorityFilter{AllOf: []string{"ROLE_ADMIN", "ROLE_ADMIN"}}), []int64{1, 5}},
		{"Authority/AllOfNothing", authority(models.AuthorityFilter{AllOf: []string{}}), everyone},
		{"Authority/AllOfUnknown", authority(models.AuthorityFilter{AllOf: []string{"ROLE_USER", "NONE"}}), nil},
		{"Authority/NoneOf", authority(models.AuthorityFilter{NoneOf: []string{"ROLE_ADMIN", "role_user"}}), []int64{2, 3}},
		{"Authority/NoneOfNothing", authority(models.AuthorityFilter{NoneOf: []string{}}), everyone},
		{"Authority/NoneOfUnknown", authority(models.AuthorityFilter{NoneOf: []string{"NONE"}}), everyone},
		{"Authority/Together", authority(models.AuthorityFilter{AnyOf: []string{"ROLE_USER"}, AllOf: []string{"role_user"}, NoneOf: []string{"It's"}}), []int64{4}},

		{"Status/Eq", status(models.UserStatusFilter{Eq: new(models.StatusInvited)}), []int64{2, 5}},
		{"Status/In", status(models.UserStatusFilter{In: []models.UserStatus{models.StatusInvited, models.StatusInactive}}), []int64{2, 3, 5}},
		{"Status/InNothing", status(models.UserStatusFilter{In: []models.UserStatus{}}), nil},
		{"Status/NotIn", status(models.UserStatusFilter{NotIn: []models.UserStatus{models.StatusInvited, models.StatusInactive}}), []int64{1, 4}},
		{"Status/NotInNothing", status(models.UserStatusFilter{NotIn: []models.UserStatus{}}), everyone},
		{"Status/EqAndNotIn", status(models.UserStatusFilter{Eq: new(models.StatusActive), NotIn: []models.UserStatus{models.StatusActive}}), nil},
		{"Flag/Enabled", &filter{Enabled: new(true)}, []int64{1, 4}},
		{"Flag/NotEnabled", &filter{Enabled: new(false)}, []int64{2, 3, 5}},
		{"Flag/IsEmailVerified", &filter{IsEmailVerified: new(true)}, []int64{1, 4}},
		{"Flag/IsNotEmailVerified", &filter{IsEmailVerified: new(false)}, []int64{2, 3, 5}},
		{"Flag/IsFirstLogin", &filter{IsFirstLogin: new(true)}, []int64{2}},
		{"Flag/AccountNonExpired", &filter{AccountNonExpired: new(true)}, []int64{1}},
		{"Flag/AccountNonLocked", &filter{AccountNonLocked: new(true)}, []int64{2}},
		{"Flag/CredentialsNonExpired", &filter{CredentialsNonExpired: new(true)}, []int64{3}},

		{"ID/Eq", id(models.IDFilter{Eq: &two.ID}), []int64{2}},
		{"ID/EqForeign", id(models.IDFilter{Eq: &foreign}), nil},
		{"ID/In", id(models.IDFilter{In: []models.ID{one.ID, two.ID, foreign, unknownID}}), []int64{1, 2}},
		{"ID/InNothing", id(models.IDFilter{In: []models.ID{}}), nil},
		{"ID/IsNull", id(models.IDFilter{IsNull: new(true)}), nil},
		{"ID/IsNotNull", id(models.IDFilter{IsNull: new(false)}), everyone},
		{"CreatedBy/Eq", createdBy(models.IDFilter{Eq: one.CreatedBy}), []int64{1, 5}},
		{"CreatedBy/NotEq", &filter{Not: createdBy(models.IDFilter{Eq: one.CreatedBy})}, []int64{2, 3, 4}},
		{"CreatedBy/In", createdBy(models.IDFilter{In: []models.ID{*one.CreatedBy, *two.CreatedBy}}), []int64{1, 2, 5}},
		{"CreatedBy/NotIn", &filter{Not: createdBy(models.IDFilter{In: []models.ID{*one.CreatedBy, *two.CreatedBy}})}, []int64{3, 4}},
		{"CreatedBy/NotInNothing", &filter{Not: createdBy(models.IDFilter{In: []models.ID{}})}, everyone},
		{"CreatedBy/IsNull", createdBy(models.IDFilter{IsNull: new(true)}), []int64{3, 4}},
		{"CreatedBy/IsNullAndEq", createdBy(models.IDFilter{IsNull: new(true), Eq: one.CreatedBy}), nil},
		{"UpdatedBy/Eq", &filter{UpdatedBy: &models.IDFilter{Eq: two.UpdatedBy}}, []int64{2, 5}},
		{"ExtAuthRefID/IsNotNull", &filter{ExtAuthRefID: &models.IDFilter{IsNull: new(false)}}, []int64{1}},

		{"Time/Gt", created(models.DateTimeFilter{Gt: &at}), []int64{2, 3, 4}},
		{"Time/Gte", created(models.DateTimeFilter{Gte: &at}), []int64{1, 2, 3, 4}},
		{"Time/Lt", created(models.DateTimeFilter{Lt: &at}), []int64{5}},
		{"Time/Lte", created(models.DateTimeFilter{Lte: &at}), []int64{1, 5}},
		{"Time/MicrosecondGt", created(models.DateTimeFilter{Gt: &micro}), []int64{3, 4}},
		{"Time/MicrosecondGte", created(models.DateTimeFilter{Gte: &micro}), []int64{2, 3, 4}},
		{"Time/MicrosecondLt", created(models.DateTimeFilter{Lt: &micro}), []int64{1, 5}},
		{"Time/MicrosecondLte", created(models.DateTimeFilter{Lte: &micro}), []int64{1, 2, 5}},
		{"Time/MicrosecondBefore", created(models.DateTimeFilter{Gt: new(at.Add(-time.Microsecond)), Lt: new(at.Add(time.Microsecond))}), []int64{1}},
		{"Time/Exactly", created(models.DateTimeFilter{Gte: &micro, Lte: &micro}), []int64{2}},
		{"Time/Nothing", created(models.DateTimeFilter{Gt: &at, Lt: &at}), nil},
		{"Time/WholeSecond", created(models.DateTimeFilter{Lt: new(at.Truncate(time.Second))}), []int64{5}},
		{"Time/WholeSecondAfter", created(models.DateTimeFilter{Gte: new(at.Truncate(time.Second).Add(time.Second))}), []int64{4}},
		{"Time/OtherZone", created(models.DateTimeFilter{Gte: new(at.In(istanbul)), Lt: new(at.Add(time.Millisecond).In(istanbul))}), []int64{1, 2}},
		{"Time/BeforeTheEpoch", created(models.DateTimeFilter{Lt: new(time.Unix(0, 0))}), []int64{5}},
		{"Time/FirstYear", created(models.DateTimeFilter{Gte: new(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC))}), everyone},
		{"Time/LastYear", created(models.DateTimeFilter{Lte: new(time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC))}), everyone},
		{"Time/Updated", &filter{UpdatedAt: &models.DateTimeFilter{Lt: &at}}, []int64{4}},

		{"And/Empty", &filter{And: []*filter{}}, everyone},
		{"And/One", &filter{And: []*filter{search("ibo")}}, []int64{1, 4}},
		{"And/Two", &filter{And: []*filter{search("ibo"), search("555"), search("陳")}}, []int64{4}},
		{"Or/Empty", &filter{Or: []*filter{}}, nil},
		{"Or/One", &filter{Or: []*filter{search("ibo")}}, []int64{1, 4}},
		{"Or/Two", &filter{Or: []*filter{search("ibrahim"), search("大文")}}, []int64{1, 4}},
		{"Or/WithEmptyFilter", &filter{Or: []*filter{search("ibrahim"), {}}}, everyone},
		{"Or/BesideACondition", &filter{Or: []*filter{search("ibrahim"), search("大文")}, Mobile: &text{StartsWith: new("0")}}, []int64{4}},
		{"Not/Empty", &filter{Not: &filter{}}, nil},
		{"Not/Several", &filter{Not: &filter{Enabled: new(true), Mobile: &text{StartsWith: new("0")}}}, []int64{1, 2, 3, 5}},
		{"Not/Or", &filter{Not: &filter{Or: []*filter{search("ibrahim"), search("大文")}}}, []int64{2, 3, 5}},
		{"Not/OrEmpty", &filter{Not: &filter{Or: []*filter{}}}, everyone},
		{"Nested", &filter{And: []*filter{{Or: []*filter{{Not: search("ibo")}, search("555")}}, {Not: subrole(text{Eq: new("cro")})}}}, []int64{2, 3, 4, 5}},

		{"Injection/Eq", firstName(text{Eq: new("' OR ''='")}), nil},
		{"Injection/In", firstName(text{In: []string{"'); DROP TABLE users; --", `\'); DROP TABLE users; --`}}), nil},
		{"Injection/StartsWith", firstName(text{StartsWith: new(`x' OR 1=1 OR 'a' LIKE '`)}), nil},
		{"Injection/Contains", email(text{Contains: new(`%' ESCAPE '!' OR TRUE OR '' LIKE '`)}), nil},
		{"Injection/Authority", authority(models.AuthorityFilter{NoneOf: []string{"') OR 1=1 --"}}), everyone},
		{"Injection/Subrole", subrole(text{Eq: new("?0 ?1 ?TableName ?,")}), nil},
		{"Injection/BackslashPlaceholder", firstName(text{Contains: new(`\?`)}), nil},
	}

	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		order := models.UserOrder{Field: models.OrderNumber, Direction: models.Ascending}
		check := func(t *testing.T, f *filter, want []int64) {
			t.Helper()
			rows, _, err := store.Users(t.Context(), everything, models.UserQuery{CustomerID: customer, Filter: f, Order: order, Window: models.Window{Size: 100}})
			if err != nil {
				t.Fatal(err)
			}
			checkDiff(t, "the numbers", want, numbers(rows))
			n, err := store.CountUsers(t.Context(), everything, customer, f)
			if err != nil {
				t.Fatal(err)
			}
			checkDiff(t, "the count", len(want), n)
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				check(t, test.filter, test.want)
				// A filter and its opposite share the users between them.
				if test.filter != nil {
					var others []int64
					for _, number := range everyone {
						if !slices.Contains(test.want, number) {
							others = append(others, number)
						}
					}
					check(t, &filter{Not: test.filter}, others)
				}
				checkDiff(t, "the reference", test.want, numbers(selected(data, customer, test.filter, order)))
			})
		}
	})
}

// TestLargestFilters holds that the filters that look up the most are answered in the
// time that a statement has. It is planning that could take longer.
func TestLargestFilters(t *testing.T) {
	data := dbtest.Users(40, 7)
	customer := data.Customers[0].ID
	var names []string
	for _, user := range data.UsersOf(customer) {
		for _, authority := range data.AuthoritiesOf(user.ID) {
			names = append(names, authority.Name)
		}
		if len(names) > 1 {
			break
		}
		names = nil
	}
	both := func(i int) *models.UserFilter {
		return &models.UserFilter{Subrole: &models.StringFilter{StartsWith: new("")}, Authority: &models.AuthorityFilter{AnyOf: names[i%2 : i%2+1]}}
	}
	ands, ors := &models.UserFilter{}, &models.UserFilter{}
	for i := range models.MaxFilterConditions / 2 {
		ands.And, ors.Or = append(ands.And, both(i)), append(ors.Or, both(i))
	}
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			databaseURL := dbtest.URL(t, engine)
			dbtest.Write(t, dbtest.ConnectURL(t, databaseURL), data)
			store, err := db.Open(t.Context(), databaseURL, db.Options{StatementTimeout: 3600 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			for name, filter := range map[string]*models.UserFilter{
				"all of 50": {Authority: &models.AuthorityFilter{AllOf: slices.Repeat(names[:2], models.MaxFilterConditions/2)}}, "and": ands, "or": ors,
			} {
				if err := filter.Validate(); err != nil {
					t.Fatal(err)
				}
				order := models.DefaultUserOrder()
				want := selected(data, customer, filter, order)
				if len(want) == 0 {
					t.Fatalf("%s: nobody to find", name)
				}
				rows, _, err := store.Users(t.Context(), everything, models.UserQuery{CustomerID: customer, Filter: filter, Order: order, Window: models.Window{Size: 100}})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				checkDiff(t, name, readAll(want, order.Field), rows)
				if n, err := store.CountUsers(t.Context(), everything, customer, filter); err != nil || n != len(want) {
					t.Errorf("%s: counted %d, want %d, error %v", name, n, len(want), err)
				}
			}
		})
	}
}

func TestOrders(t *testing.T) {
	data := dbtest.Users(80, 4)
	customer := data.Customers[0].ID
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		for _, order := range orders() {
			t.Run(fmt.Sprint(order.Field, " ", order.Direction), func(t *testing.T) {
				want := selected(data, customer, nil, order)
				rows, more, err := store.Users(t.Context(), everything, models.UserQuery{CustomerID: customer, Order: order, Window: models.Window{Size: 100}})
				if err != nil || more {
					t.Fatalf("more is %v, error %v", more, err)
				}
				checkDiff(t, "the users", readAll(want, order.Field), rows)
			})
		}

		t.Run("NoUsernameComesFirst", func(t *testing.T) {
			rows, _, err := store.Users(t.Context(), everything, models.UserQuery{
				CustomerID: customer, Order: models.UserOrder{Field: models.OrderUsername, Direction: models.Ascending}, Window: models.Window{Size: 100},
			})
			if err != nil {
				t.Fatal(err)
			}
			named := slices.IndexFunc(rows, func(u *models.User) bool { return u.Username != nil && *u.Username != "" })
			if named <= 0 || slices.ContainsFunc(rows[named:], func(u *models.User) bool { return u.Username == nil }) {
				t.Errorf("the first user with a username is at %d", named)
			}
		})
	})
}

// orders lists every order in both directions.
func orders() (list []models.UserOrder) {
	for _, field := range models.UserOrderFields() {
		for _, direction := range []models.OrderDirection{models.Ascending, models.Descending} {
			list = append(list, models.UserOrder{Field: field, Direction: direction})
		}
	}
	return list
}

func TestWindows(t *testing.T) {
	data := dbtest.Users(40, 5)
	customer := data.Customers[0].ID
	order := models.UserOrder{Field: models.OrderName, Direction: models.Descending}
	filter := &models.UserFilter{Not: &models.UserFilter{Status: &models.UserStatusFilter{Eq: new(models.StatusInactive)}}}
	users := selected(data, customer, filter, order)
	n := len(users)
	if n < 12 {
		t.Fatalf("only %d users to look at", n)
	}
	list := models.UserQuery{CustomerID: customer, Filter: filter, Order: order}
	cursor := func(i int) string { return list.Cursor(users[i]) }

	tests := []struct {
		name     string
		window   models.Window
		from, to int
		more     bool
	}{
		{"FirstPage", models.Window{Size: 5}, 0, 5, true},
		{"SecondPage", models.Window{Size: 5, Offset: 5}, 5, 10, true},
		{"LastPageIsFull", models.Window{Size: 5, Offset: int64(n - 5)}, n - 5, n, false},
		{"LastPageIsNot", models.Window{Size: 5, Offset: int64(n - 2)}, n - 2, n, false},
		{"OneBeforeTheLast", models.Window{Size: 1, Offset: int64(n - 2)}, n - 2, n - 1, true},
		{"BeyondTheLast", models.Window{Size: 5, Offset: int64(n)}, n, n, false},
		{"FarBeyond", models.Window{Size: 100, Offset: 214_748_364_600}, n, n, false},
		{"All", models.Window{Size: n}, 0, n, false},
		{"AllButOne", models.Window{Size: n - 1}, 0, n - 1, true},
		{"MoreThanAll", models.Window{Size: 1000}, 0, n, false},
		{"AfterFirst", models.Window{Size: 3, After: cursor(0)}, 1, 4, true},
		{"AfterToTheEnd", models.Window{Size: 3, After: cursor(n - 4)}, n - 3, n, false},
		{"AfterLast", models.Window{Size: 3, After: cursor(n - 1)}, n, n, false},
		{"LastOnes", models.Window{Size: 3, Backward: true}, n - 3, n, true},
		{"LastOfAll", models.Window{Size: n, Backward: true}, 0, n, false},
		{"BeforeLast", models.Window{Size: 3, Before: cursor(n - 1), Backward: true}, n - 4, n - 1, true},
		{"BeforeToTheStart", models.Window{Size: 3, Before: cursor(3), Backward: true}, 0, 3, false},
		{"BeforeFirst", models.Window{Size: 3, Before: cursor(0), Backward: true}, 0, 0, false},
		{"FirstBefore", models.Window{Size: 3, Before: cursor(5)}, 0, 3, true},
		{"FirstBeforeAll", models.Window{Size: 5, Before: cursor(5)}, 0, 5, false},
		{"LastAfter", models.Window{Size: 3, After: cursor(2), Backward: true}, n - 3, n, true},
		{"Between", models.Window{Size: 100, After: cursor(2), Before: cursor(7)}, 3, 7, false},
		{"FirstBetween", models.Window{Size: 2, After: cursor(2), Before: cursor(7)}, 3, 5, true},
		{"LastBetween", models.Window{Size: 2, After: cursor(2), Before: cursor(7), Backward: true}, 5, 7, true},
		{"BetweenNeighbours", models.Window{Size: 2, After: cursor(2), Before: cursor(3)}, 3, 3, false},
		{"BetweenTheSame", models.Window{Size: 2, After: cursor(2), Before: cursor(2)}, 2, 2, false},
		{"BetweenCrossed", models.Window{Size: 2, After: cursor(7), Before: cursor(2)}, 7, 7, false},
	}
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				query := list
				query.Window = test.window
				rows, more, err := store.Users(t.Context(), everything, query)
				if err != nil {
					t.Fatal(err)
				}
				checkDiff(t, "the users", numbers(users[test.from:test.to]), numbers(rows))
				checkDiff(t, "more", test.more, more)
			})
		}
	})
}

// TestCursorsRefused holds that a cursor that is not of the list is refused
// before anything is asked of the database.
func TestCursorsRefused(t *testing.T) {
	data := dbtest.Users(10, 6)
	user, other := data.UsersOf(data.Customers[0].ID)[0], data.Customers[1]
	list := models.UserQuery{CustomerID: user.CustomerID, Order: models.DefaultUserOrder(), Window: models.Window{Size: 1}}
	good := list.Cursor(user)
	with := func(change func(*models.UserQuery)) string {
		query := list
		change(&query)
		return query.Cursor(user)
	}
	message := func(argument string) string {
		return argument + " is not a cursor of this list: it was altered, or it comes from another customer, filter or order"
	}
	tests := []struct{ name, cursor string }{
		{"Text", "cursor"},
		{"Injection", "' OR 1=1 --"},
		{"Altered", strings.ToUpper(good)},
		{"CutShort", good[:len(good)-1]},
		{"Longer", good + "A"},
		{"OtherCustomer", with(func(q *models.UserQuery) { q.CustomerID = other.ID })},
		{"OtherField", with(func(q *models.UserQuery) { q.Order.Field = models.OrderUpdatedAt })},
		{"OtherDirection", with(func(q *models.UserQuery) { q.Order.Direction = models.Ascending })},
		{"OtherFilter", with(func(q *models.UserQuery) { q.Filter = &models.UserFilter{Enabled: new(true)} })},
		{"OfCustomers", models.CustomerQuery{}.Cursor(other)},
	}
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		counter := dbtest.Count(store)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				counter.Reset()
				query := list
				query.Window.After = test.cursor
				_, _, err := store.Users(t.Context(), everything, query)
				checkRefused(t, err, message("after"))
				query.Window.After, query.Window.Before = "", test.cursor
				_, _, err = store.Users(t.Context(), models.Scope{}, query)
				checkRefused(t, err, message("before"))
				customers := models.CustomerQuery{Search: "a", Window: query.Window}
				_, _, err = store.Customers(t.Context(), everything, customers)
				checkRefused(t, err, message("before"))
				checkDiff(t, "the number of statements", 0, counter.N())
			})
		}
		t.Run("OK", func(t *testing.T) {
			query := list
			query.Window.After = good
			if _, _, err := store.Users(t.Context(), everything, query); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestCustomers(t *testing.T) {
	data := &dbtest.Data{}
	names := []string{"Yazıcıoğlu A.Ş.", "straße", "STRASSE", "Zebra", "ångström", "100%", "100", "a_b", "acb", "a-b", "陳", "", "İnci", "inci", "ınci", "Anne Marie"}
	for i, name := range names {
		customer := &models.Customer{
			ID: models.ID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", 99-i)), Number: int64(i + 1), Name: name,
			CreatedAt: time.Date(2024, 2, 12, 14, 16, 49, 53e6, time.UTC), UpdatedAt: time.Date(2024, 2, 12, 14, 16, 49, 0, time.UTC),
		}
		customer.SetKeys()
		data.Customers = append(data.Customers, customer)
	}
	matching := func(words ...string) []*models.Customer {
		var found []*models.Customer
		for _, customer := range data.Customers {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(customer.NameKey, word) }) {
				found = append(found, customer)
			}
		}
		slices.SortFunc(found, func(a, b *models.Customer) int {
			return cmp.Or(strings.Compare(a.NameKey, b.NameKey), strings.Compare(string(a.ID), string(b.ID)))
		})
		return found
	}
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		for _, test := range []struct {
			name, search string
			want         []*models.Customer
			n            int
		}{
			{"All", "", matching(), len(names)},
			{"Folded", "STRASSE", matching("strasse"), 2},
			{"Dots", "INCI", matching("inci"), 3},
			{"TwoWords", "marie ANNE", matching("marie", "anne"), 1},
			{"Percent", "100%", matching("100%"), 1},
			{"Underscore", "a_b", matching("a_b"), 1},
			{"Nobody", "' OR 1=1 --", nil, 0},
			{"Long", strings.Repeat("x", 60_000), nil, 0},
		} {
			t.Run(test.name, func(t *testing.T) {
				checkDiff(t, "the size of the test", test.n, len(test.want))
				n, err := store.CountCustomers(t.Context(), everything, test.search)
				if err != nil {
					t.Fatal(err)
				}
				checkDiff(t, "the count", test.n, n)
				// Walk in both directions, two at a time.
				for _, backward := range []bool{false, true} {
					query := models.CustomerQuery{Search: test.search, Window: models.Window{Size: 2, Backward: backward}}
					var walked []*models.Customer
					for more := true; more; {
						var rows []*models.Customer
						if rows, more, err = store.Customers(t.Context(), everything, query); err != nil {
							t.Fatal(err)
						}
						if backward {
							walked = append(rows, walked...)
						} else {
							walked = append(walked, rows...)
						}
						if more && backward {
							query.Window.Before = query.Cursor(rows[0])
						} else if more {
							query.Window.After = query.Cursor(rows[1])
						}
					}
					checkDiff(t, fmt.Sprint("the customers, backward is ", backward), test.want, walked)
				}
			})
		}
	})
}

// TestContextEnds holds that a request that has ended is told so, whatever the
// driver makes of it.
func TestContextEnds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for name, ctx := range map[string]context.Context{"Canceled": canceled, "Expired": expired} {
			t.Run(name, func(t *testing.T) {
				_, err := store.CountCustomers(ctx, everything, "")
				checkDiff(t, "the code", models.CodeTimeout, models.AsError(err).Code)
				_, err = store.Subroles(ctx, everything, unknownID)
				checkDiff(t, "the code", models.CodeTimeout, models.AsError(err).Code)
				_, err = store.AuthoritiesByUser(ctx, everything, []models.ID{unknownID})
				checkDiff(t, "the code", models.CodeTimeout, models.AsError(err).Code)
			})
		}
	})
}

// TestStatementTimeout has a statement wait for a lock for longer than it may.
func TestStatementTimeout(t *testing.T) {
	databaseURL := dbtest.URL(t, db.Postgres)
	store, err := db.Open(t.Context(), databaseURL, db.Options{StatementTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	tx, err := dbtest.ConnectURL(t, databaseURL).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE customers"); err != nil {
		t.Fatal(err)
	}
	_, err = store.CountCustomers(t.Context(), everything, "")
	checkDiff(t, "the code", models.CodeTimeout, models.AsError(err).Code)
}

// TestServerGoesAndComesBack holds that a database that is gone is told from one
// that is broken, and that it is found again without opening it anew.
// TestTypesOfColumnsChange holds that nobody sees it when a column becomes one of another
// type under statements that are prepared.
func TestTypesOfColumnsChange(t *testing.T) {
	store := dbtest.Open(t, db.Postgres)
	data := dbtest.Users(30, 7)
	conn := dbtest.Connect(t, store)
	dbtest.Write(t, conn, data)
	query := models.UserQuery{CustomerID: data.Customers[0].ID, Order: models.DefaultUserOrder(), Window: models.Window{Size: 20}}
	for _, change := range []string{"SELECT 1", "ALTER TABLE users ALTER COLUMN mobile TYPE varchar(200)", "ALTER TABLE customers ALTER COLUMN name TYPE varchar(200)"} {
		if _, err := conn.ExecContext(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if users, _, err := store.Users(t.Context(), everything, query); err != nil || len(users) == 0 {
			t.Errorf("%s: %d users, error %v", change, len(users), err)
		}
		customer, page, err := store.CustomerAndUsers(t.Context(), everything, query)
		if err != nil || customer == nil || page.Err != nil || len(page.Rows) == 0 {
			t.Errorf("%s: %v, %+v, error %v", change, customer, page, err)
		}
	}
}

func TestServerGoesAndComesBack(t *testing.T) {
	cluster := dbtest.Postgres(t)
	store := dbtest.OpenURL(t, cluster.URL())
	count := func() error {
		_, err := store.CountCustomers(t.Context(), everything, "")
		return err
	}
	if err := count(); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(){"Stop": cluster.Stop, "Kill": cluster.Kill} {
		end()
		for range 3 {
			checkDiff(t, name+": the code", models.CodeUnavailable, models.AsError(count()).Code)
		}
		cluster.Start()
		if err := count(); err != nil {
			t.Errorf("after %s and Start: %v", name, err)
		}
	}
}

// TestExtremes holds that the largest and smallest values come back as written.
func TestExtremes(t *testing.T) {
	data := dbtest.Users(0, 7)
	customer := data.Customers[0]
	customer.Number, customer.CompanyID = 1<<63-1, new(int64(1<<63-1))
	for i, at := range []time.Time{
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(2024, 2, 29, 0, 0, 0, 1000, time.UTC), time.Date(2024, 2, 29, 3, 0, 0, 0, time.FixedZone("", 3*60*60)), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		text := strings.Repeat("İ'\\?%\u2028\n", 2000*i)
		data.Users = append(data.Users, &models.User{
			ID: models.ID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)), Number: 1<<63 - 10 + int64(i), CustomerID: customer.ID,
			Username: &text, FirstName: text, LastName: text, Email: text, Mobile: &text, UserType: &text,
			Status: models.StatusActive, CreatedAt: at, UpdatedAt: at, LastPasswordResetAt: &at,
		})
	}
	dbtest.Each(t, func(t *testing.T, store *db.DB) {
		dbtest.Fill(t, store, data)
		found, err := store.CustomerByNumber(t.Context(), models.Scope{CustomerNumbers: []int64{1<<63 - 1}}, 1<<63-1)
		if err != nil {
			t.Fatal(err)
		}
		checkDiff(t, "the customer", customer, found)
		long := data.Users[5].FirstName
		for _, filter := range []*models.StringFilter{
			{Eq: &long}, {In: []string{long}}, {StartsWith: new(long[:len(long)-10])}, {Contains: new(long[10:])},
		} {
			n, err := store.CountUsers(t.Context(), everything, customer.ID, &models.UserFilter{FirstName: filter})
			if err != nil || n != 1 {
				t.Errorf("a filter of a long text finds %d users, error %v", n, err)
			}
		}
		for _, order := range orders() {
			query := models.UserQuery{CustomerID: customer.ID, Order: order, Window: models.Window{Size: 2}}
			var walked []*models.User
			for more := true; more; {
				var rows []*models.User
				if rows, more, err = store.Users(t.Context(), everything, query); err != nil {
					t.Fatal(err)
				}
				walked = append(walked, rows...)
				if more {
					query.Window.After = query.Cursor(rows[1])
				}
			}
			checkDiff(t, fmt.Sprint(order), readAll(selected(data, customer.ID, nil, order), order.Field), walked)
		}
	})
}

// TestTimesThatCannotBeShown holds that PostgreSQL takes no time from another system
// that is outside the years 1 to 9999, and that one that is there already is not read
// as another.
func TestTimesThatCannotBeShown(t *testing.T) {
	store := dbtest.Open(t, db.Postgres)
	data := dbtest.Users(3, 53)
	conn := dbtest.Connect(t, store)
	dbtest.Write(t, conn, data)
	columns := map[string][]string{"users": {"created_at", "updated_at", "last_password_reset_at"}, "customers": {"created_at", "updated_at"}}
	for table, columns := range columns {
		for _, column := range columns {
			set := func(value string) error {
				_, err := conn.ExecContext(t.Context(), "UPDATE "+table+" SET "+column+" = '"+value+"'")
				return err
			}
			for _, value := range []string{"0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"} {
				if err := set(value); err != nil {
					t.Errorf("%s.%s refuses %s: %v", table, column, value, err)
				}
			}
			for _, value := range []string{"infinity", "-infinity", "0001-12-31 23:59:59.999999+00 BC", "10000-01-01 00:00:00+00"} {
				if err := set(value); err == nil || !strings.Contains(err.Error(), table+"_"+column+"_check") {
					t.Errorf("%s.%s takes %s: the error is %v", table, column, value, err)
				}
			}
			if _, err := conn.ExecContext(t.Context(), "ALTER TABLE "+table+" DROP CONSTRAINT IF EXISTS "+table+"_"+column+"_check"); err != nil {
				t.Fatal(err)
			}
			for _, value := range []string{"infinity", "-infinity"} {
				if err := set(value); err != nil {
					t.Fatal(err)
				}
				var err error
				if table == "users" {
					_, err = store.UsersByID(t.Context(), everything, userIDs(data.Users))
				} else {
					_, err = store.CustomersByID(t.Context(), everything, customerIDs(data))
				}
				if err == nil || !strings.Contains(err.Error(), column) {
					t.Errorf("%s.%s is %s: the error is %v", table, column, value, err)
				}
			}
			if err := set("2024-02-12 14:16:49+00"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
