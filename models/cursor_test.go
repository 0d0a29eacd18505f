package models_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roster/models"
)

const (
	someID  = models.ID("94520740-d63c-4e02-85ca-c4e138801e73")
	otherID = models.ID("a6b7c8d9-0000-4000-8000-000000000001")
)

func someUser() *models.User {
	user := &models.User{
		ID: someID, Number: 42, CustomerID: otherID,
		Username: new("yazar"), FirstName: "Ayşe", LastName: "Yazıcıoğlu", Email: "a@example.com", Status: models.StatusActive,
		CreatedAt: time.Date(2024, 2, 12, 14, 16, 49, 53_007_000, time.UTC),
		UpdatedAt: time.Date(2024, 2, 13, 0, 0, 0, 0, time.FixedZone("", 3*60*60)),
	}
	user.SetKeys()
	return user
}

// userQueries gives one list for each order.
func userQueries() []models.UserQuery {
	var queries []models.UserQuery
	for _, field := range models.UserOrderFields() {
		for _, direction := range []models.OrderDirection{models.Ascending, models.Descending} {
			queries = append(queries, models.UserQuery{CustomerID: otherID, Order: models.UserOrder{Field: field, Direction: direction}})
		}
	}
	return queries
}

func TestUserCursorRoundTrip(t *testing.T) {
	want := map[models.UserOrderField][]any{
		models.OrderCreatedAt: {time.Date(2024, 2, 12, 14, 16, 49, 53_007_000, time.UTC), someID},
		models.OrderUpdatedAt: {time.Date(2024, 2, 12, 21, 0, 0, 0, time.UTC), someID},
		models.OrderNumber:    {int64(42), someID},
		models.OrderEmail:     {"a@example.com", someID},
		models.OrderName:      {"yazicioglu", "ayse", someID},
		models.OrderUsername:  {"yazar", someID},
		models.OrderStatus:    {"ACTIVE", someID},
	}
	for _, query := range userQueries() {
		t.Run(fmt.Sprint(query.Order.Field, query.Order.Direction), func(t *testing.T) {
			cursor := query.Cursor(someUser())
			query.Window = models.Window{Size: 1, After: cursor, Before: cursor}
			if err := query.Validate(); err != nil {
				t.Fatal(err)
			}
			after, before, err := query.Seek()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[query.Order.Field], after); diff != "" {
				t.Errorf("after (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(after, before); diff != "" {
				t.Errorf("before (-after +before):\n%s", diff)
			}
		})
	}
}

// A filter that lets everything through is no other list than none.
func TestCursorOfAnEmptyFilter(t *testing.T) {
	plain, empty := models.UserQuery{CustomerID: someID}, models.UserQuery{CustomerID: someID, Filter: &models.UserFilter{}}
	empty.Window = models.Window{Size: 1, After: plain.Cursor(someUser())}
	if err := empty.Validate(); err != nil {
		t.Error(err)
	}
}

// TestCursorProperties holds that a cursor leads back to the keys that it was
// made of, and that no list but its own takes it.
func TestCursorProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		query := rapid.SampledFrom(userQueries()).Draw(t, "query")
		if rapid.Bool().Draw(t, "filtered") {
			query.Filter = &models.UserFilter{Search: new(rapid.String().Draw(t, "search"))}
		}
		user := &models.User{
			ID:        someID,
			Number:    rapid.Int64().Draw(t, "number"),
			FirstName: rapid.String().Draw(t, "first name"),
			LastName:  rapid.String().Draw(t, "last name"),
			Email:     rapid.String().Draw(t, "e-mail"),
			Status:    rapid.SampledFrom(models.UserStatuses()).Draw(t, "status"),
			CreatedAt: drawTime(t, "created"),
			UpdatedAt: drawTime(t, "updated"),
		}
		if rapid.Bool().Draw(t, "has a username") {
			user.Username = new(rapid.String().Draw(t, "username"))
		}
		user.SetKeys()
		if slices.ContainsFunc([]string{user.FirstName, user.LastName, user.Email, user.UsernameKey}, func(s string) bool {
			return models.CheckText(s) != nil
		}) {
			t.Skip("the databases cannot hold this text") // rapid draws another in its place
		}

		cursor := query.Cursor(user)
		query.Window = models.Window{Size: 1, After: cursor}
		after, before, err := query.Seek()
		if err != nil || before != nil {
			t.Fatalf("Seek gives before %v, error %v", before, err)
		}
		if again := query.Cursor(userOfKeys(query.Order.Field, after)); again != cursor {
			t.Errorf("the keys %v give another cursor", after)
		}

		other := query
		switch rapid.IntRange(0, 2).Draw(t, "other list") {
		case 0:
			other.CustomerID = someID
		case 1:
			other.Filter = &models.UserFilter{Enabled: new(true)}
		default:
			other.Order = rapid.SampledFrom(userQueries()).Filter(func(q models.UserQuery) bool { return q.Order != query.Order }).Draw(t, "other").Order
		}
		if _, _, err := other.Seek(); models.AsError(err).Code != models.CodeBadUserInput {
			t.Errorf("the list %+v takes a cursor of %+v", other, query)
		}

		// One altered byte is noticed.
		altered := []byte(cursor)
		at := rapid.IntRange(0, len(altered)-1).Draw(t, "at")
		altered[at] = rapid.Byte().Filter(func(b byte) bool { return b != altered[at] }).Draw(t, "byte")
		query.Window.After = string(altered)
		if _, _, err := query.Seek(); models.AsError(err).Code != models.CodeBadUserInput {
			t.Errorf("%q is taken, altered at %d", altered, at)
		}
	})
}

func drawTime(t *rapid.T, label string) time.Time {
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	return time.UnixMicro(rapid.Int64Range(first.UnixMicro(), last.UnixMicro()).Draw(t, label)).UTC()
}

// userOfKeys makes the user whose place in an order the keys are.
func userOfKeys(field models.UserOrderField, keys []any) *models.User {
	user := &models.User{ID: keys[len(keys)-1].(models.ID)}
	switch field {
	case models.OrderCreatedAt:
		user.CreatedAt = keys[0].(time.Time)
	case models.OrderUpdatedAt:
		user.UpdatedAt = keys[0].(time.Time)
	case models.OrderNumber:
		user.Number = keys[0].(int64)
	case models.OrderEmail:
		user.EmailKey = keys[0].(string)
	case models.OrderName:
		user.LastNameKey, user.FirstNameKey = keys[0].(string), keys[1].(string)
	case models.OrderUsername:
		user.UsernameKey = keys[0].(string)
	case models.OrderStatus:
		user.Status = models.UserStatus(keys[0].(string))
	}
	return user
}

func TestCustomerCursor(t *testing.T) {
	customer := &models.Customer{ID: someID, Name: "Straße & <Söhne>\u2028"}
	customer.SetKeys()
	query := models.CustomerQuery{Search: "straße"}
	cursor := query.Cursor(customer)
	query.Window = models.Window{Size: 1, Before: cursor}
	if err := query.Validate(); err != nil {
		t.Fatal(err)
	}
	after, before, err := query.Seek()
	if err != nil || after != nil {
		t.Fatalf("Seek gives after %v, error %v", after, err)
	}
	if diff := cmp.Diff([]any{"strasse & <sohne>\u2028", someID}, before); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}

	query.Search = "strasse"
	_, _, err = query.Seek()
	checkRefusal(t, err, refusedCursor("before"))
	users := models.UserQuery{CustomerID: otherID, Window: query.Window}
	checkRefusal(t, users.Validate(), refusedCursor("before"))
}

func TestCustomerQueryValidate(t *testing.T) {
	checkRefusal(t, models.CustomerQuery{Search: words(50)}.Validate(), "")
	checkRefusal(t, models.CustomerQuery{Search: words(51)}.Validate(), "search holds 51 words; at most 50 are allowed")
}

func refusedCursor(argument string) string {
	return argument + " is not a cursor of this list: it was altered, or it comes from another customer, filter or order"
}

func TestForeignCursors(t *testing.T) {
	query := models.UserQuery{CustomerID: otherID, Order: models.DefaultUserOrder()}
	cursor := query.Cursor(someUser())
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, cursor string }{
		{"Space", " "},
		{"Number", "20"},
		{"Null", "null"},
		{"NotBase64", "%%%"},
		{"OtherAlphabet", "++//++//++//"},
		{"Padded", cursor + "="},
		{"Newline", cursor[:10] + "\n" + cursor[10:]},
		{"SpaceAfter", cursor + " "},
		{"CutShort", cursor[:len(cursor)-4]},
		{"ChecksumOnly", base64.RawURLEncoding.EncodeToString(raw[:8])},
		{"ShorterThanAChecksum", base64.RawURLEncoding.EncodeToString(raw[:7])},
		{"WithoutChecksum", base64.RawURLEncoding.EncodeToString(raw[8:])},
		{"Twice", cursor + cursor},
		{"NotUTF8", "\xff"},
	} {
		t.Run(test.name, func(t *testing.T) {
			query.Window = models.Window{Size: 1, After: test.cursor}
			checkRefusal(t, query.Validate(), refusedCursor("after"))
			query.Window = models.Window{Size: 1, Before: test.cursor}
			checkRefusal(t, query.Validate(), refusedCursor("before"))
		})
	}
}

// FuzzCursor holds that a cursor is taken only if the list itself would give it.
func FuzzCursor(f *testing.F) {
	for i, query := range userQueries() {
		f.Add(query.Cursor(someUser()), uint8(i))
	}
	f.Add("", uint8(0))
	f.Add("AAAAAAAAAAA", uint8(1))
	f.Add("AAAA\nAAAAAAA", uint8(1))
	f.Add(userQueries()[0].Cursor(someUser())+"\r\n", uint8(0))
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`12345678["2024-02-12T14:16:49Z","x"]`)), uint8(0))
	f.Fuzz(func(t *testing.T, cursor string, i uint8) {
		queries := userQueries()
		query := queries[int(i)%len(queries)]
		query.Window = models.Window{Size: 1, After: cursor}
		after, _, err := query.Seek()
		if err != nil {
			checkRefusal(t, err, refusedCursor("after"))
			return
		}
		if after == nil {
			if cursor != "" {
				t.Errorf("%q is passed over", cursor)
			}
			return
		}
		if issued := query.Cursor(userOfKeys(query.Order.Field, after)); issued != cursor {
			t.Errorf("%q is taken; the list gives %q for the same place", cursor, issued)
		}
	})
}

// The checksum of a cursor is no secret, so anybody can make one for any place: what is no
// place of the list is refused all the same.
func TestForgedCursors(t *testing.T) {
	query := models.UserQuery{CustomerID: otherID, Order: models.UserOrder{Field: models.OrderNumber, Direction: models.Ascending}}
	const list = `["users","` + string(otherID) + `",null,{"Field":"NUMBER","Direction":"ASC"}]`
	forge := func(place string) string {
		sum := sha256.Sum256([]byte(list + place))
		return base64.RawURLEncoding.EncodeToString(append(sum[:8:8], place...))
	}
	good := `[1,"` + string(someID) + `"]`
	for _, place := range []string{
		``, `null`, `{}`, `[]`, `[1]`, `["` + string(someID) + `"]`, `[1,"` + string(someID) + `",2]`,
		`["1","` + string(someID) + `"]`, `[1.5,"` + string(someID) + `"]`, `[99999999999999999999,"` + string(someID) + `"]`,
		`[1,"x"]`, `[1,2]`, `[1,{}]`, good,
	} {
		query.Window = models.Window{Size: 1, After: forge(place)}
		want := refusedCursor("after")
		if place == good {
			want = ""
		}
		checkRefusal(t, query.Validate(), want)
	}
	// A text that the databases cannot hold.
	byEmail := models.UserQuery{CustomerID: otherID, Order: models.UserOrder{Field: models.OrderEmail, Direction: models.Ascending}}
	place := `["a\u0000","` + string(someID) + `"]`
	sum := sha256.Sum256([]byte(`["users","` + string(otherID) + `",null,{"Field":"EMAIL","Direction":"ASC"}]` + place))
	byEmail.Window = models.Window{Size: 1, After: base64.RawURLEncoding.EncodeToString(append(sum[:8:8], place...))}
	checkRefusal(t, byEmail.Validate(), refusedCursor("after"))
}
