package db

import (
	"context"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"roster/models"
)

// The methods in this file are what the resolvers ask for. Each takes the
// caller's scope and reads nothing beyond it: what lies outside is as absent as
// what does not exist. Each runs exactly one statement, or none when there is
// nothing to ask. Their errors are *models.Error: CodeTimeout, CodeUnavailable
// or CodeInternal, and where a method takes a query, CodeBadUserInput for a
// cursor that is not of that list.

const (
	customerColumns = "c.id, c.number, c.company_id, c.name, c.created_at, c.updated_at, c.name_key"
	subroleColumns  = "s.id, s.customer_id, s.code, s.display_name, s.label, s.description"
	userColumns     = "u.id, u.number, u.customer_id, u.username, u.first_name, u.last_name, u.email, u.mobile, u.user_type, u.status, " +
		"u.is_email_verified, u.is_first_login, u.account_non_expired, u.account_non_locked, u.credentials_non_expired, " +
		"u.created_at, u.created_by, u.updated_at, u.updated_by, u.last_password_reset_at, u.ext_auth_ref_id, u.subrole_id"
)

// CustomersByID gives the customers with these ids.
func (db *DB) CustomersByID(ctx context.Context, scope models.Scope, customerIDs []models.ID) (map[models.ID]*models.Customer, error) {
	return byID(ctx, scope, customerIDs, db.customers(), "c.id", "c.id", func(c *models.Customer) models.ID { return c.ID })
}

// CustomerByNumber gives the customer with this number, or nil.
func (db *DB) CustomerByNumber(ctx context.Context, scope models.Scope, number int64) (*models.Customer, error) {
	if scope.Empty() {
		return nil, nil
	}
	rows, err := list[models.Customer](ctx, db.customers(), all(where("c.number = ?", number), scoped(scope, "c.id")))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

// Customers gives one window of the customers, sorted by name, and whether there
// are more beyond it in the direction of reading.
func (db *DB) Customers(ctx context.Context, scope models.Scope, query models.CustomerQuery) (rows []*models.Customer, more bool, err error) {
	after, before, err := query.Seek()
	if err != nil || scope.Empty() {
		return nil, false, err
	}
	matching := all(customersMatching(query.Search), scoped(scope, "c.id"))
	return window[models.Customer](ctx, db.customers(), matching, query.Window, []string{"c.name_key", "c.id"}, false, after, before)
}

// CountCustomers counts the customers whose name holds every word of search.
func (db *DB) CountCustomers(ctx context.Context, scope models.Scope, search string) (int, error) {
	return db.count(ctx, scope, "count(*)", "customers AS c", all(customersMatching(search), scoped(scope, "c.id")))
}

// UsersByID gives the users with these ids.
func (db *DB) UsersByID(ctx context.Context, scope models.Scope, userIDs []models.ID) (map[models.ID]*models.User, error) {
	return byID(ctx, scope, userIDs, db.users(userColumns), "u.id", "u.customer_id", func(u *models.User) models.ID { return u.ID })
}

// Users gives one window of a customer's users, and whether there are more
// beyond it in the direction of reading.
func (db *DB) Users(ctx context.Context, scope models.Scope, query models.UserQuery) (rows []*models.User, more bool, err error) {
	after, before, err := query.Seek()
	if err != nil || scope.Empty() {
		return nil, false, err
	}
	keys := orderColumns(query.Order.Field)
	columns := userColumns
	if strings.HasSuffix(keys[0], "_key") {
		columns += ", " + strings.Join(keys, ", ")
	}
	keys = append(keys, "u.id")
	if statuses, ok := statusesLetThrough(query.Filter); ok && query.Window.Offset >= deepFrom {
		return db.deepUsers(ctx, scope, query, statuses, columns, keys)
	}
	matching, descending := usersOf(query.CustomerID, query.Filter, scope), query.Order.Direction == models.Descending
	if probes := probes(query, query.Filter); len(probes) > 0 {
		return db.probedUsers(ctx, probes, matching, query.Window, columns, keys, descending, after, before)
	}
	return window[models.User](ctx, db.users(columns), matching, query.Window, keys, descending, after, before)
}

// Subroles gives all subroles of a customer, sorted by code.
func (db *DB) Subroles(ctx context.Context, scope models.Scope, customerID models.ID) ([]*models.Subrole, error) {
	if scope.Empty() {
		return nil, nil
	}
	query := db.subroles().OrderExpr("s.code_key, s.id")
	return list[models.Subrole](ctx, query, all(where("s.customer_id = ?", customerID), scoped(scope, "s.customer_id")))
}

// SubrolesByID gives the subroles with these ids.
func (db *DB) SubrolesByID(ctx context.Context, scope models.Scope, subroleIDs []models.ID) (map[models.ID]*models.Subrole, error) {
	return byID(ctx, scope, subroleIDs, db.subroles(), "s.id", "s.customer_id", func(s *models.Subrole) models.ID { return s.ID })
}

// AuthoritiesByUser gives the authorities of each of these users, sorted by
// their id. A user without authorities has no entry.
func (db *DB) AuthoritiesByUser(ctx context.Context, scope models.Scope, userIDs []models.ID) (map[models.ID][]*models.Authority, error) {
	if len(userIDs) == 0 || scope.Empty() {
		return nil, nil
	}
	var rows []struct {
		UserID models.ID `bun:"user_id"`
		models.Authority
	}
	of := all(where("ua.user_id IN (?)", bun.List(userIDs)), scoped(scope, "u.customer_id"))
	err := db.read.NewSelect().
		ColumnExpr("ua.user_id, a.id, a.name, a.clean_name").
		TableExpr("user_authorities AS ua").
		Join("JOIN authorities AS a ON a.id = ua.authority_id").
		Join("JOIN users AS u ON u.id = ua.user_id").
		Where(of.sql, of.args...).
		OrderExpr("ua.user_id, a.id").
		Scan(ctx, &rows)
	if err != nil {
		return nil, translate(err)
	}
	byUser := make(map[models.ID][]*models.Authority, len(userIDs))
	for i := range rows {
		byUser[rows[i].UserID] = append(byUser[rows[i].UserID], &rows[i].Authority)
	}
	return byUser, nil
}

// LegacyCredentialsByUser gives the two secrets of the Testinium document for
// each of these users. Only the legacy endpoint asks for them, and only when the
// operator allows it.
func (db *DB) LegacyCredentialsByUser(ctx context.Context, scope models.Scope, userIDs []models.ID) (map[models.ID]*models.LegacyCredentials, error) {
	query := db.read.NewSelect().
		ColumnExpr("lc.user_id, lc.access_token, lc.vcs_password").
		ModelTableExpr("legacy_credentials AS lc").
		Join("JOIN users AS u ON u.id = lc.user_id")
	return byID(ctx, scope, userIDs, query, "lc.user_id", "u.customer_id",
		func(c *models.LegacyCredentials) models.ID { return c.UserID })
}

func (db *DB) customers() *bun.SelectQuery {
	return db.read.NewSelect().ColumnExpr(customerColumns).ModelTableExpr("customers AS c")
}

func (db *DB) users(columns string) *bun.SelectQuery {
	return db.read.NewSelect().ColumnExpr(columns).ModelTableExpr("users AS u")
}

func (db *DB) subroles() *bun.SelectQuery {
	return db.read.NewSelect().ColumnExpr(subroleColumns).ModelTableExpr("subroles AS s")
}

func usersOf(customerID models.ID, filter *models.UserFilter, scope models.Scope) predicate {
	return all(where("u.customer_id = ?", customerID), usersMatching(filter), scoped(scope, "u.customer_id"))
}

func customersMatching(search string) predicate {
	var parts []predicate
	for _, word := range models.SearchWords(search) {
		parts = append(parts, contains("c.name_key", word))
	}
	return all(parts...)
}

// orderColumns gives the columns of an order, in the sequence of the sort keys
// of models, without the id that ends every order.
func orderColumns(field models.UserOrderField) []string {
	switch field {
	case models.OrderUpdatedAt:
		return []string{"u.updated_at"}
	case models.OrderNumber:
		return []string{"u.number"}
	case models.OrderEmail:
		return []string{"u.email_key"}
	case models.OrderName:
		return []string{"u.last_name_key", "u.first_name_key"}
	case models.OrderUsername:
		return []string{"u.username_key"}
	case models.OrderStatus:
		return []string{"u.status"}
	default:
		return []string{"u.created_at"}
	}
}

// byID runs query for the rows whose key is among ids and whose customer may be
// read, and gives them by their key, so that the order of rows never matters.
func byID[T any](ctx context.Context, scope models.Scope, wanted []models.ID, query *bun.SelectQuery, key, customer string, keyOf func(*T) models.ID) (map[models.ID]*T, error) {
	if len(wanted) == 0 || scope.Empty() {
		return nil, nil
	}
	rows, err := list[T](ctx, query, all(where(key+" IN (?)", bun.List(wanted)), scoped(scope, customer)))
	if err != nil {
		return nil, err
	}
	byKey := make(map[models.ID]*T, len(rows))
	for _, row := range rows {
		byKey[keyOf(row)] = row
	}
	return byKey, nil
}

// list runs query for the rows that match.
func list[T any](ctx context.Context, query *bun.SelectQuery, matching predicate) ([]*T, error) {
	var rows []*T
	if err := query.Model(&rows).Where(matching.sql, matching.args...).Scan(ctx); err != nil {
		return nil, translate(err)
	}
	return rows, nil
}

// window runs query for one window of the rows that match, in the order of
// columns. All columns run in one direction, so an index serves both ways and a
// row-value comparison finds the place of a cursor at the same cost anywhere.
func window[T any](ctx context.Context, query *bun.SelectQuery, matching predicate, w models.Window, columns []string, descending bool, after, before []any) (rows []*T, more bool, err error) {
	place := "(" + strings.Join(columns, ", ") + ")"
	beyond, short := " > ", " < "
	if descending {
		beyond, short = short, beyond
	}
	parts := []predicate{matching}
	if after != nil {
		parts = append(parts, where(place+beyond+"(?)", bun.List(after)))
	}
	if before != nil {
		parts = append(parts, where(place+short+"(?)", bun.List(before)))
	}
	direction := " ASC"
	if descending != w.Backward {
		direction = " DESC"
	}
	query = query.OrderExpr(strings.Join(columns, direction+", ") + direction)
	// One row more than asked for tells whether there are more.
	query = query.Limit(int64(w.Size) + 1)
	if w.Offset > 0 {
		query = query.Offset(w.Offset)
	}
	rows, err = list[T](ctx, query, all(parts...))
	if err != nil {
		return nil, false, err
	}
	if more = len(rows) > w.Size; more {
		rows = rows[:w.Size]
	}
	if w.Backward {
		slices.Reverse(rows)
	}
	return rows, more, nil
}
