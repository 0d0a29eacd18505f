package db

import (
	"strings"

	"roster/models"
)

// userColumn is a column of users, and the field of a user that it fills.
type userColumn struct {
	field models.UserFields // 0 for a column that is always read
	name  string
	dest  func(*models.User) any
}

// allUserColumns are the columns that users are read by.
var allUserColumns = userColumnSet{
	{0, "u.id", func(u *models.User) any { return &u.ID }},
	{0, "u.customer_id", func(u *models.User) any { return &u.CustomerID }},
	{models.FieldNumber, "u.number", func(u *models.User) any { return &u.Number }},
	{models.FieldUsername, "u.username", func(u *models.User) any { return &u.Username }},
	{models.FieldFirstName, "u.first_name", func(u *models.User) any { return &u.FirstName }},
	{models.FieldLastName, "u.last_name", func(u *models.User) any { return &u.LastName }},
	{models.FieldEmail, "u.email", func(u *models.User) any { return &u.Email }},
	{models.FieldMobile, "u.mobile", func(u *models.User) any { return &u.Mobile }},
	{models.FieldUserType, "u.user_type", func(u *models.User) any { return &u.UserType }},
	{models.FieldStatus, "u.status", func(u *models.User) any { return &u.Status }},
	{models.FieldIsEmailVerified, "u.is_email_verified", func(u *models.User) any { return &u.IsEmailVerified }},
	{models.FieldIsFirstLogin, "u.is_first_login", func(u *models.User) any { return &u.IsFirstLogin }},
	{models.FieldAccountNonExpired, "u.account_non_expired", func(u *models.User) any { return &u.AccountNonExpired }},
	{models.FieldAccountNonLocked, "u.account_non_locked", func(u *models.User) any { return &u.AccountNonLocked }},
	{models.FieldCredentialsNonExpired, "u.credentials_non_expired", func(u *models.User) any { return &u.CredentialsNonExpired }},
	{models.FieldCreatedAt, "u.created_at", func(u *models.User) any { return &u.CreatedAt }},
	{models.FieldCreatedBy, "u.created_by", func(u *models.User) any { return &u.CreatedBy }},
	{models.FieldUpdatedAt, "u.updated_at", func(u *models.User) any { return &u.UpdatedAt }},
	{models.FieldUpdatedBy, "u.updated_by", func(u *models.User) any { return &u.UpdatedBy }},
	{models.FieldLastPasswordResetAt, "u.last_password_reset_at", func(u *models.User) any { return &u.LastPasswordResetAt }},
	{models.FieldExtAuthRefID, "u.ext_auth_ref_id", func(u *models.User) any { return &u.ExtAuthRefID }},
	{models.FieldSubroleID, "u.subrole_id", func(u *models.User) any { return &u.SubroleID }},
}

// keyColumns are the folded keys, which are read only where a list is sorted by them.
var keyColumns = map[string]func(*models.User) any{
	"u.username_key":   func(u *models.User) any { return &u.UsernameKey },
	"u.first_name_key": func(u *models.User) any { return &u.FirstNameKey },
	"u.last_name_key":  func(u *models.User) any { return &u.LastNameKey },
	"u.email_key":      func(u *models.User) any { return &u.EmailKey },
}

// userColumnSet is the columns of one statement.
type userColumnSet []userColumn

// userColumns gives the columns for what is wanted of users in an order; "" for none.
func (db *DB) userColumns(wanted models.UserFields, order models.UserOrderField) userColumnSet {
	var keys []string
	if order != "" {
		keys = orderColumns(order)
	}
	columns := make(userColumnSet, 0, len(allUserColumns)+len(keys)+1)
	for _, column := range allUserColumns {
		if wanted == 0 || column.field == 0 || wanted&column.field != 0 || len(keys) > 0 && keys[0] == column.name {
			columns = append(columns, column)
		}
	}
	for _, key := range keys {
		if dest := keyColumns[key]; dest != nil {
			columns = append(columns, userColumn{0, key, dest})
		}
	}
	if wanted&models.FieldAuthorityIDs != 0 {
		columns = append(columns, userColumn{0, db.authorityIDs(), func(u *models.User) any { return &u.AuthorityIDs }})
	}
	return columns
}

// authorityIDs gives the ids of a user's authorities in one column, sorted.
func (db *DB) authorityIDs() string {
	const of = "SELECT ua.authority_id FROM user_authorities AS ua WHERE ua.user_id = u.id ORDER BY ua.authority_id"
	if db.engine == Postgres {
		return "ARRAY(" + of + ")"
	}
	return "(SELECT group_concat(authority_id) FROM (" + of + "))"
}

// names lists the columns for a statement.
func (s userColumnSet) names() string {
	names := make([]string, len(s))
	for i, column := range s {
		names[i] = column.name
	}
	return strings.Join(names, ", ")
}

// selectUsers begins a statement for the columns.
func (s userColumnSet) selectUsers() string { return "SELECT " + s.names() + " FROM users AS u" }

// fields gives where a row of the columns goes.
func (s userColumnSet) fields(u *models.User) []any {
	fields := make([]any, len(s))
	for i, column := range s {
		fields[i] = column.dest(u)
	}
	return fields
}
