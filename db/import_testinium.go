package db

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"roster/models"
)

// testiniumFormat is the answer of "Get Users of a Customer". entityId, name,
// surname, email, enabled, the account flags, createdDate and customer are
// required. A Testinium customer has no company id of its own.
var testiniumFormat = format{
	expected:      `a list of users: [{"entityId": ..., "customer": ..., ...}, ...]`,
	row:           testiniumRow,
	namesCustomer: true,
}

func testiniumRow(r *record) importRow {
	number := required(r, "entityId", r.asNumber)
	for _, secret := range []string{"password", "newPassword", "verificationToken", "resetPasswordToken"} {
		r.null(secret)
	}
	username, userType := nullable(r, "username", r.asShort), nullable(r, "userType", r.asShort)
	firstName, lastName := required(r, "name", r.asShort), required(r, "surname", r.asShort)
	email := required(r, "email", r.asName)
	enabled := required(r, "enabled", r.asBool)
	nonExpired, nonLocked := required(r, "accountNonExpired", r.asBool), required(r, "accountNonLocked", r.asBool)
	credentialNonExpired := required(r, "credentialNonExpired", r.asBool)
	createdAt, lastReset := required(r, "createdDate", r.asMillis), nullable(r, "lastPasswordResetDate", r.asMillis)

	row := importRow{
		number:         number,
		customerNumber: required(r, "customer", r.asNumber),
		customerName:   nullable(r, "companyName", r.asName).value,
		authorities:    testiniumAuthorities(r),
		accessToken:    nullable(r, "accessToken", r.asText),
		vcsPassword:    nullable(r, "vcsPassword", r.asText),
		apply: func(u *models.User, isNew bool) {
			u.FirstName, u.LastName, u.Email = firstName, lastName, email
			u.AccountNonExpired, u.AccountNonLocked, u.CredentialsNonExpired = nonExpired, nonLocked, credentialNonExpired
			if isNew {
				u.UpdatedAt = createdAt
			}
			u.CreatedAt = createdAt
			switch {
			case enabled:
				u.Status = models.StatusActive
			case u.Status != models.StatusInvited:
				u.Status = models.StatusInactive
			}
			username.set(&u.Username)
			userType.set(&u.UserType)
			lastReset.set(&u.LastPasswordResetAt)
		},
	}
	if number > 0 {
		row.key = strconv.FormatInt(number, 10)
	}
	return row
}

// testiniumAuthorities reads the authorities of a user; nil when the record lacks them.
func testiniumAuthorities(r *record) []importAuthority {
	raw, given := r.take("authorities")
	var list []json.RawMessage
	if !given {
		return nil
	}
	if raw == nil || json.Unmarshal(raw, &list) != nil {
		r.fail("authorities", "is not a list")
		return nil
	}
	authorities := []importAuthority{}
	for i, item := range list {
		prefix := fmt.Sprintf("authorities[%d].", i)
		a := object(r, prefix, item, func(inner *record) importAuthority {
			return importAuthority{
				id:        required(inner, "entityId", inner.asNumber),
				name:      required(inner, "name", inner.asName),
				cleanName: nullable(inner, "cleanName", inner.asShort),
			}
		})
		if slices.ContainsFunc(authorities, func(b importAuthority) bool { return a.id == b.id || a.name == b.name }) {
			r.fail("authorities", "has the same entityId or name twice")
		}
		authorities = append(authorities, a)
	}
	return authorities
}
