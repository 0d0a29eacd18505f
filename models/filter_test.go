package models_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"roster/models"
)

// words gives a search text of n distinct words.
func words(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "w%d ", i)
	}
	return text.String()
}

func repeat[T any](n int, value T) []T {
	values := make([]T, n)
	for i := range values {
		values[i] = value
	}
	return values
}

// nested gives a filter that is depth filters deep.
func nested(depth int, wrap func(*models.UserFilter) *models.UserFilter) *models.UserFilter {
	f := &models.UserFilter{Enabled: new(true)}
	for range depth - 1 {
		f = wrap(f)
	}
	return f
}

func TestUserFilterValidate(t *testing.T) {
	and := func(f ...*models.UserFilter) *models.UserFilter { return &models.UserFilter{And: f} }
	or := func(f ...*models.UserFilter) *models.UserFilter { return &models.UserFilter{Or: f} }
	not := func(f *models.UserFilter) *models.UserFilter { return &models.UserFilter{Not: f} }
	enabled := &models.UserFilter{Enabled: new(true)}
	conditions := func(n int) string { return fmt.Sprintf("filter holds %d conditions; at most 50 are allowed", n) }
	values := func(path string, n int) string {
		return fmt.Sprintf("%s holds %d values; at most 100 are allowed", path, n)
	}
	now := time.Date(2024, 2, 12, 14, 16, 49, 0, time.UTC)

	// each has one of every condition.
	each := models.UserFilter{
		Search:    new("one two"),
		ID:        &models.IDFilter{Eq: new(someID), In: []models.ID{}, IsNull: new(false)},
		Status:    &models.UserStatusFilter{Eq: new(models.StatusActive), In: []models.UserStatus{}, NotIn: []models.UserStatus{}},
		Subrole:   &models.StringFilter{Eq: new(""), In: []string{}, StartsWith: new(""), Contains: new(""), IsNull: new(false)},
		Authority: &models.AuthorityFilter{AnyOf: []string{"a", "b"}, AllOf: []string{"a", "b"}, NoneOf: []string{"a", "b"}},
		Username:  &models.StringFilter{Eq: new("")}, FirstName: &models.StringFilter{Eq: new("")}, LastName: &models.StringFilter{Eq: new("")},
		Email: &models.StringFilter{Eq: new("")}, Mobile: &models.StringFilter{Eq: new("")},
		IsEmailVerified: new(true), IsFirstLogin: new(true), Enabled: new(true),
		AccountNonExpired: new(true), AccountNonLocked: new(true), CredentialsNonExpired: new(true),
		CreatedAt: &models.DateTimeFilter{Gt: &now, Gte: &now, Lt: &now, Lte: &now}, UpdatedAt: &models.DateTimeFilter{Gt: &now},
		CreatedBy: &models.IDFilter{IsNull: new(true)}, UpdatedBy: &models.IDFilter{IsNull: new(true)}, ExtAuthRefID: &models.IDFilter{IsNull: new(true)},
		Not: enabled, Or: []*models.UserFilter{enabled, {}}, And: []*models.UserFilter{{}},
	}
	// Search 2, id 3, status 3, subrole 5, authority 4, texts 5, flags 6, times 5, ids 3, members 4.
	const inEach = 40
	eachAnd := func(more int) *models.UserFilter {
		f := each
		f.And = append(repeat(more, &models.UserFilter{Enabled: new(true)}), each.And...)
		return &f
	}

	for _, test := range []struct {
		name    string
		filter  *models.UserFilter
		refusal string
	}{
		{"Nil", nil, ""},
		{"Empty", &models.UserFilter{}, ""},
		{"EmptyParts", &models.UserFilter{Status: &models.UserStatusFilter{}, Email: &models.StringFilter{}, CreatedAt: &models.DateTimeFilter{}, And: []*models.UserFilter{}}, ""},

		{"DepthOfAnd", nested(4, func(f *models.UserFilter) *models.UserFilter { return and(f) }), ""},
		{"TooDeepByAnd", nested(5, func(f *models.UserFilter) *models.UserFilter { return and(f) }), "filter.and[0].and[0].and[0].and[0] is 5 filters deep; at most 4 levels are allowed"},
		{"DepthOfOr", nested(4, func(f *models.UserFilter) *models.UserFilter { return or(f) }), ""},
		{"TooDeepByOr", nested(5, func(f *models.UserFilter) *models.UserFilter { return or(&models.UserFilter{}, f) }), "filter.or[1].or[1].or[1].or[0] is 5 filters deep; at most 4 levels are allowed"},
		{"DepthOfNot", nested(4, not), ""},
		{"TooDeepByNot", nested(5, not), "filter.not.not.not.not is 5 filters deep; at most 4 levels are allowed"},
		{"FarTooDeep", nested(10_000, not), "filter.not.not.not.not is 5 filters deep; at most 4 levels are allowed"},
		{"TooDeepByAll", and(or(not(and(enabled)))), "filter.and[0].or[0].not.and[0] is 5 filters deep; at most 4 levels are allowed"},

		{"EveryConditionCounts", eachAnd(50 - inEach), ""},
		{"OneConditionTooMany", eachAnd(51 - inEach), conditions(51)},
		{"Words", &models.UserFilter{Search: new(words(50))}, ""},
		{"TooManyWords", &models.UserFilter{Search: new(words(51))}, conditions(51)},
		{"RepeatedWordsCountOnce", &models.UserFilter{Search: new(strings.Repeat("word WORD ", 1000))}, ""},
		{"Authorities", &models.UserFilter{Authority: &models.AuthorityFilter{AllOf: repeat(50, "a")}}, ""},
		{"TooManyOfAllAuthorities", &models.UserFilter{Authority: &models.AuthorityFilter{AllOf: repeat(51, "a")}}, conditions(51)},
		{"EmptyFilters", and(repeat(50, &models.UserFilter{})...), ""},
		{"TooManyEmptyFilters", not(&models.UserFilter{And: repeat(25, &models.UserFilter{}), Or: repeat(26, &models.UserFilter{})}), conditions(51)},
		{"Members", or(repeat(50, enabled)...), ""},
		{"TooManyOfOr", or(repeat(51, enabled)...), "filter.or holds 51 filters; at most 50 are allowed"},
		{"TooManyOfAnd", not(and(repeat(51, enabled)...)), "filter.not.and holds 51 filters; at most 50 are allowed"},
		{"NilMembers", and(nil, nil), ""},

		{"Values", &models.UserFilter{ID: &models.IDFilter{In: repeat(100, someID)}}, ""},
		{"IDs", &models.UserFilter{ID: &models.IDFilter{In: repeat(101, someID)}}, values("filter.id.in", 101)},
		{"CreatedBy", &models.UserFilter{CreatedBy: &models.IDFilter{In: repeat(101, someID)}}, values("filter.createdBy.in", 101)},
		{"UpdatedBy", &models.UserFilter{UpdatedBy: &models.IDFilter{In: repeat(101, someID)}}, values("filter.updatedBy.in", 101)},
		{"ExtAuthRefID", &models.UserFilter{ExtAuthRefID: &models.IDFilter{In: repeat(101, someID)}}, values("filter.extAuthRefId.in", 101)},
		{"StatusIn", &models.UserFilter{Status: &models.UserStatusFilter{In: repeat(101, models.StatusActive)}}, values("filter.status.in", 101)},
		{"StatusNotIn", &models.UserFilter{Status: &models.UserStatusFilter{NotIn: repeat(101, models.StatusActive)}}, values("filter.status.notIn", 101)},
		{"Subrole", &models.UserFilter{Subrole: &models.StringFilter{In: repeat(101, "")}}, values("filter.subrole.in", 101)},
		{"AnyOf", &models.UserFilter{Authority: &models.AuthorityFilter{AnyOf: repeat(101, "")}}, values("filter.authority.anyOf", 101)},
		{"AllOf", &models.UserFilter{Authority: &models.AuthorityFilter{AllOf: repeat(101, "")}}, values("filter.authority.allOf", 101)},
		{"NoneOf", &models.UserFilter{Authority: &models.AuthorityFilter{NoneOf: repeat(101, "")}}, values("filter.authority.noneOf", 101)},
		{"Username", &models.UserFilter{Username: &models.StringFilter{In: repeat(101, "")}}, values("filter.username.in", 101)},
		{"FirstName", &models.UserFilter{FirstName: &models.StringFilter{In: repeat(101, "")}}, values("filter.firstName.in", 101)},
		{"LastName", &models.UserFilter{LastName: &models.StringFilter{In: repeat(101, "")}}, values("filter.lastName.in", 101)},
		{"Email", &models.UserFilter{Email: &models.StringFilter{In: repeat(101, "")}}, values("filter.email.in", 101)},
		{"Mobile", and(enabled, not(&models.UserFilter{Mobile: &models.StringFilter{In: repeat(1000, "")}})), values("filter.and[1].not.mobile.in", 1000)},
		{"TheFirstReasonIsGiven", &models.UserFilter{Search: new(words(60)), ID: &models.IDFilter{In: repeat(101, someID)}, Not: nested(5, not)}, values("filter.id.in", 101)},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkRefusal(t, test.filter.Validate(), test.refusal)
			checkRefusal(t, models.UserQuery{Filter: test.filter}.Validate(), test.refusal)
		})
	}
}

// The list of subroles is bounded like every other.
func TestManySubroles(t *testing.T) {
	filter := func(n int) *models.UserFilter {
		return &models.UserFilter{SubroleID: &models.IDFilter{In: make([]models.ID, n)}}
	}
	checkRefusal(t, filter(100).Validate(), "")
	checkRefusal(t, filter(101).Validate(), "filter.subroleId.in holds 101 values; at most 100 are allowed")
}
