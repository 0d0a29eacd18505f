package models_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/models"
)

func TestUserKeys(t *testing.T) {
	user := &models.User{FirstName: "Ayşe", LastName: "YAZICIOĞLU", Email: "A@Example.com", Username: new("Ünal"), Mobile: new("+90 555")}
	user.SetKeys()
	want := &models.User{
		FirstName: "Ayşe", LastName: "YAZICIOĞLU", Email: "A@Example.com", Username: user.Username, Mobile: user.Mobile,
		FirstNameKey: "ayse", LastNameKey: "yazicioglu", EmailKey: "a@example.com", UsernameKey: "unal", MobileKey: "+90 555",
		SearchKey: "ayse\nyazicioglu\na@example.com\nunal\n+90 555",
	}
	if diff := cmp.Diff(want, user); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	user.Username, user.Mobile = nil, nil
	user.SetKeys()
	if user.UsernameKey != "" || user.MobileKey != "" || user.SearchKey != "ayse\nyazicioglu\na@example.com\n\n" {
		t.Errorf("without username and mobile the keys are %q, %q and %q", user.UsernameKey, user.MobileKey, user.SearchKey)
	}
}

func TestEnabled(t *testing.T) {
	for _, status := range models.UserStatuses() {
		if got, want := (&models.User{Status: status}).Enabled(), status == models.StatusActive; got != want {
			t.Errorf("%s: enabled is %v", status, got)
		}
	}
}

func TestSearchWords(t *testing.T) {
	for _, test := range []struct {
		name, search string
		want         []string
	}{
		{"Empty", "", nil},
		{"Blank", " \t\n\u00a0\u3000", nil},
		{"Folded", "Ayşe YAZICIOĞLU", []string{"ayse", "yazicioglu"}},
		{"Repeated", "ali ALİ  veli ali", []string{"ali", "veli"}},
		{"OtherSpaces", "a\u00a0b\u3000c\u2028d", []string{"a", "b", "c", "d"}},
		{"Signs", `100% a_b !\'`, []string{"100%", "a_b", `!\'`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, models.SearchWords(test.search)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnums(t *testing.T) {
	for _, status := range models.UserStatuses() {
		var read models.UserStatus
		if err := read.UnmarshalGQL(string(status)); err != nil || read != status {
			t.Errorf("%s is read as %q, error %v", status, read, err)
		}
		var text strings.Builder
		status.MarshalGQL(&text)
		if want := `"` + string(status) + `"`; text.String() != want {
			t.Errorf("%s is written as %s", status, &text)
		}
	}
	for _, field := range models.UserOrderFields() {
		var read models.UserOrderField
		if err := read.UnmarshalGQL(string(field)); err != nil || read != field {
			t.Errorf("%s is read as %q, error %v", field, read, err)
		}
		var text strings.Builder
		field.MarshalGQL(&text)
		if want := `"` + string(field) + `"`; text.String() != want {
			t.Errorf("%s is written as %s", field, &text)
		}
	}
	for _, direction := range []models.OrderDirection{models.Ascending, models.Descending} {
		var read models.OrderDirection
		if err := read.UnmarshalGQL(string(direction)); err != nil || read != direction {
			t.Errorf("%s is read as %q, error %v", direction, read, err)
		}
		var text strings.Builder
		direction.MarshalGQL(&text)
		if want := `"` + string(direction) + `"`; text.String() != want {
			t.Errorf("%s is written as %s", direction, &text)
		}
	}

	t.Run("Refused", func(t *testing.T) {
		checkRefusal(t, new(models.UserStatus).UnmarshalGQL("active"), `"active" is not a status: ACTIVE, INVITED, INACTIVE are allowed`)
		checkRefusal(t, new(models.UserStatus).UnmarshalGQL(1), `the value is not a status: ACTIVE, INVITED, INACTIVE are allowed`)
		checkRefusal(t, new(models.UserOrderField).UnmarshalGQL("PASSWORD"),
			`"PASSWORD" is not a field to sort by: CREATED_AT, UPDATED_AT, NUMBER, EMAIL, NAME, USERNAME, STATUS are allowed`)
		checkRefusal(t, new(models.OrderDirection).UnmarshalGQL("asc"), `"asc" is not a direction: ASC, DESC are allowed`)
	})
	if diff := cmp.Diff(models.UserOrder{Field: models.OrderCreatedAt, Direction: models.Descending}, models.DefaultUserOrder()); diff != "" {
		t.Errorf("the default order (-want +got):\n%s", diff)
	}
}
