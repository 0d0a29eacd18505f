package db_test

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"roster/db/dbtest"
	"roster/models"
)

// The reference says in plain Go what the databases are to answer. It shares
// nothing with package db but the folded keys, which have tests of their own.

// selected gives the users of a customer that the filter lets through, in order.
func selected(data *dbtest.Data, customerID models.ID, filter *models.UserFilter, order models.UserOrder) []*models.User {
	var users []*models.User
	for _, user := range data.UsersOf(customerID) {
		if matches(data, user, filter) {
			users = append(users, user)
		}
	}
	slices.SortFunc(users, func(a, b *models.User) int { return compare(a, b, order) })
	return users
}

func compare(a, b *models.User, order models.UserOrder) int {
	c := 0
	switch order.Field {
	case models.OrderCreatedAt:
		c = a.CreatedAt.Compare(b.CreatedAt)
	case models.OrderUpdatedAt:
		c = a.UpdatedAt.Compare(b.UpdatedAt)
	case models.OrderNumber:
		c = cmp.Compare(a.Number, b.Number)
	case models.OrderEmail:
		c = strings.Compare(a.EmailKey, b.EmailKey)
	case models.OrderName:
		c = cmp.Or(strings.Compare(a.LastNameKey, b.LastNameKey), strings.Compare(a.FirstNameKey, b.FirstNameKey))
	case models.OrderUsername:
		c = strings.Compare(a.UsernameKey, b.UsernameKey)
	case models.OrderStatus:
		c = strings.Compare(string(a.Status), string(b.Status))
	}
	c = cmp.Or(c, strings.Compare(string(a.ID), string(b.ID)))
	if order.Direction == models.Descending {
		return -c
	}
	return c
}

func matches(data *dbtest.Data, u *models.User, f *models.UserFilter) bool {
	if f == nil {
		return true
	}
	if f.Search != nil {
		for word := range strings.FieldsSeq(models.Fold(*f.Search)) {
			fields := []string{u.FirstNameKey, u.LastNameKey, u.EmailKey, u.UsernameKey, u.MobileKey}
			if !slices.ContainsFunc(fields, func(field string) bool { return strings.Contains(field, word) }) {
				return false
			}
		}
	}
	var code *string
	if subrole := data.Subrole(u.SubroleID); subrole != nil {
		code = &subrole.Code
	}
	var names []string
	for _, authority := range data.AuthoritiesOf(u.ID) {
		names = append(names, authority.Name)
	}
	return matchesID(&u.ID, f.ID) && matchesStatus(u.Status, f.Status) && matchesText(code, f.Subrole) && matchesAuthority(names, f.Authority) &&
		matchesText(u.Username, f.Username) && matchesText(&u.FirstName, f.FirstName) && matchesText(&u.LastName, f.LastName) &&
		matchesText(&u.Email, f.Email) && matchesText(u.Mobile, f.Mobile) &&
		matchesFlag(u.IsEmailVerified, f.IsEmailVerified) && matchesFlag(u.IsFirstLogin, f.IsFirstLogin) && matchesFlag(u.Status == "ACTIVE", f.Enabled) &&
		matchesFlag(u.AccountNonExpired, f.AccountNonExpired) && matchesFlag(u.AccountNonLocked, f.AccountNonLocked) &&
		matchesFlag(u.CredentialsNonExpired, f.CredentialsNonExpired) &&
		matchesTime(u.CreatedAt, f.CreatedAt) && matchesTime(u.UpdatedAt, f.UpdatedAt) &&
		matchesID(u.CreatedBy, f.CreatedBy) && matchesID(u.UpdatedBy, f.UpdatedBy) && matchesID(u.ExtAuthRefID, f.ExtAuthRefID) &&
		!slices.ContainsFunc(f.And, func(member *models.UserFilter) bool { return !matches(data, u, member) }) &&
		(f.Or == nil || slices.ContainsFunc(f.Or, func(member *models.UserFilter) bool { return matches(data, u, member) })) &&
		(f.Not == nil || !matches(data, u, f.Not))
}

func matchesFlag(value bool, wanted *bool) bool { return wanted == nil || *wanted == value }

func matchesID(value *models.ID, f *models.IDFilter) bool {
	return f == nil ||
		(f.Eq == nil || value != nil && *value == *f.Eq) &&
			(f.In == nil || value != nil && slices.Contains(f.In, *value)) &&
			(f.IsNull == nil || *f.IsNull == (value == nil))
}

func matchesText(value *string, f *models.StringFilter) bool {
	if f == nil {
		return true
	}
	holds := func(test func(folded string) bool) bool { return value != nil && test(models.Fold(*value)) }
	return (f.Eq == nil || holds(func(s string) bool { return s == models.Fold(*f.Eq) })) &&
		(f.In == nil || holds(func(s string) bool {
			return slices.ContainsFunc(f.In, func(one string) bool { return s == models.Fold(one) })
		})) &&
		(f.StartsWith == nil || holds(func(s string) bool { return strings.HasPrefix(s, models.Fold(*f.StartsWith)) })) &&
		(f.Contains == nil || holds(func(s string) bool { return strings.Contains(s, models.Fold(*f.Contains)) })) &&
		(f.IsNull == nil || *f.IsNull == (value == nil))
}

func matchesStatus(value models.UserStatus, f *models.UserStatusFilter) bool {
	return f == nil ||
		(f.Eq == nil || value == *f.Eq) && (f.In == nil || slices.Contains(f.In, value)) && !slices.Contains(f.NotIn, value)
}

func matchesAuthority(names []string, f *models.AuthorityFilter) bool {
	if f == nil {
		return true
	}
	has := func(name string) bool { return slices.Contains(names, name) }
	return (f.AnyOf == nil || slices.ContainsFunc(f.AnyOf, has)) &&
		!slices.ContainsFunc(f.AllOf, func(name string) bool { return !has(name) }) &&
		!slices.ContainsFunc(f.NoneOf, has)
}

func matchesTime(value time.Time, f *models.DateTimeFilter) bool {
	return f == nil ||
		(f.Gt == nil || value.After(*f.Gt)) && (f.Gte == nil || !value.Before(*f.Gte)) &&
			(f.Lt == nil || value.Before(*f.Lt)) && (f.Lte == nil || !value.After(*f.Lte))
}
