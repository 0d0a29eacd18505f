package db

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"roster/models"
)

// The methods in this file are what the resolvers ask for. All but Authorities take the
// caller's scope and read nothing beyond it: what lies outside is as absent as what does
// not exist. Each runs exactly one statement, or none when there is nothing to ask;
// CustomerAndUsers runs up to two. Their errors are *models.Error: CodeTimeout,
// CodeUnavailable, CodeInternal, or CodeBadUserInput for a value that the database cannot
// hold or a cursor that is not of the list.

const (
	customerColumns = "c.id, c.number, c.company_id, c.name, c.created_at, c.updated_at, c.name_key"
	subroleColumns  = "s.id, s.customer_id, s.code, s.display_name, s.label, s.description"

	selectCustomers         = "SELECT " + customerColumns + ", c.subroles_version, (SELECT version FROM authorities_version) FROM customers AS c"
	selectSubroles          = "SELECT " + subroleColumns + " FROM subroles AS s"
	selectAuthorities       = "SELECT a.id, a.name, a.clean_name FROM authorities AS a"
	selectLegacyCredentials = "SELECT lc.user_id, lc.access_token, lc.vcs_password FROM legacy_credentials AS lc JOIN users AS u ON u.id = lc.user_id" //nolint:gosec // columns, not values
)

// CustomersByID gives the customers with these ids.
func (db *DB) CustomersByID(ctx context.Context, scope models.Scope, customerIDs []models.ID) (map[models.ID]*models.Customer, error) {
	return byID(ctx, db, scope, customerIDs, selectCustomers, "c.id", "c.id", customerFields, func(c *models.Customer) models.ID { return c.ID })
}

// CustomerByNumber gives the customer with this number, or nil.
func (db *DB) CustomerByNumber(ctx context.Context, scope models.Scope, number int64) (*models.Customer, error) {
	if scope.Empty() {
		return nil, nil
	}
	return first(find(ctx, db, scope, selectCustomers, all(where("c.number = ?", number), scoped(scope, "c.id")), "", customerFields))
}

// CustomerAndUsers gives a customer, or nil, and one window of its users, both in one
// round trip when the scope names the customer by its id. When only the users cannot be
// read, the page has the error.
//
// No statement reaches for the users of a customer that the caller may not read: how
// long it takes would tell how many there are, and how many match a filter.
func (db *DB) CustomerAndUsers(ctx context.Context, scope models.Scope, query models.UserQuery) (*models.Customer, *models.UserPage, error) {
	page := &models.UserPage{Query: query}
	users, err := db.usersStatement(scope, query)
	if err != nil || scope.Empty() {
		page.Err = err
		return nil, page, nil
	}
	readCustomers, customers := collect(1, customerFields)
	statements := []*statement{selected(selectCustomers, all(where("c.id = ?", query.CustomerID), scoped(scope, "c.id")), "", readCustomers)}
	named := scope.All || slices.Contains(scope.CustomerIDs, query.CustomerID)
	if named {
		statements = append(statements, users.statement)
	}
	err = db.run(ctx, scope, statements...)
	if statements[0].err != nil {
		return nil, nil, err
	}
	found, _ := first(*customers, nil)
	if found == nil || named {
		page.Rows, page.More = users.rows()
		page.Err = err
		return found, page, nil
	}
	// The scope holds the customer by its number.
	page.Rows, page.More, page.Err = db.Users(ctx, models.Scope{CustomerIDs: []models.ID{found.ID}}, query)
	return found, page, nil
}

// Customers gives one window of the customers, sorted by name, and whether there
// are more beyond it in the direction of reading.
func (db *DB) Customers(ctx context.Context, scope models.Scope, query models.CustomerQuery) (customers []*models.Customer, more bool, err error) {
	after, before, err := query.Seek()
	if err != nil || scope.Empty() {
		return nil, false, err
	}
	matching := all(customersMatching(query.Search), scoped(scope, "c.id"))
	w := window(selectCustomers, matching, query.Window, limit(query.Window), []string{"c.name_key", "c.id"}, false, after, before, customerFields)
	w.statement.replan = query.Search != ""
	if err := db.run(ctx, scope, w.statement); err != nil {
		return nil, false, err
	}
	customers, more = w.rows()
	return customers, more, nil
}

// CountCustomers counts the customers whose name holds every word of search.
func (db *DB) CountCustomers(ctx context.Context, scope models.Scope, search string) (int, error) {
	return db.count(ctx, scope, "count(*)", "customers AS c", all(customersMatching(search), scoped(scope, "c.id")))
}

// UsersByID gives the users with these ids.
func (db *DB) UsersByID(ctx context.Context, scope models.Scope, userIDs []models.ID) (map[models.ID]*models.User, error) {
	every := db.userColumns(0, "")
	return byID(ctx, db, scope, userIDs, every.selectUsers(), "u.id", "u.customer_id", every.fields, func(u *models.User) models.ID { return u.ID })
}

// Users gives one window of a customer's users, and whether there are more
// beyond it in the direction of reading.
func (db *DB) Users(ctx context.Context, scope models.Scope, query models.UserQuery) (users []*models.User, more bool, err error) {
	w, err := db.usersStatement(scope, query)
	if err != nil || scope.Empty() {
		return nil, false, err
	}
	if err := db.run(ctx, scope, w.statement); err != nil {
		return nil, false, err
	}
	users, more = w.rows()
	return users, more, nil
}

// usersStatement makes the statement for a window of a customer's users.
func (db *DB) usersStatement(scope models.Scope, query models.UserQuery) (*windowStatement[models.User], error) {
	after, before, err := query.Seek()
	if err != nil {
		return nil, err
	}
	list := listing{
		columns:    db.userColumns(query.Fields, query.Order.Field),
		matching:   usersOf(query.CustomerID, query.Filter, scope),
		keys:       append(orderColumns(query.Order.Field), "u.id"),
		descending: query.Order.Direction == models.Descending,
		after:      after,
		before:     before,
	}
	w := db.listUsers(list, scope, query)
	w.statement.replan = query.Filter != nil || query.Window.Offset >= deepFrom
	return w, nil
}

// listing is what the ways to read a window of users have in common.
type listing struct {
	columns       userColumnSet
	matching      predicate
	keys          []string
	descending    bool
	after, before []any
}

// listUsers makes the statement of the way that is the quickest.
func (db *DB) listUsers(l listing, scope models.Scope, query models.UserQuery) *windowStatement[models.User] {
	if statuses, ok := matchingStatuses(query.Filter); ok && query.Window.Offset >= deepFrom {
		return deepUsers(l, scope, query, statuses)
	}
	if query.Window.Offset >= deepFrom {
		return afterwards(l, query.Window, db.filteredUsers(l.passed(), query))
	}
	return db.filteredUsers(l, query)
}

// filteredUsers makes the statement that reads the users before the window too.
func (db *DB) filteredUsers(l listing, query models.UserQuery) *windowStatement[models.User] {
	if probes := probes(query); len(probes) > 0 {
		return probedUsers(l, query.Window, probes)
	}
	most := limit(query.Window)
	// PostgreSQL chooses the way to look for a text by a sample of the texts. With the
	// limit in sight it walks the order for names that 200 to 800 of 500,000 users have,
	// if they are in the sample once too often: 78 ms in place of 5 at worst. Hidden in a
	// subselect, the limit counts as a tenth of what matches, and the order is walked for
	// what very many have. Of 268 names none took more than 22 ms then. The price is a
	// text that 5,000 have: 19 ms in place of 4.
	if db.engine == Postgres && strings.Contains(l.matching.sql, searchKey) {
		most = "(SELECT " + most + ")"
	}
	return window(l.columns.selectUsers(), l.matching, query.Window, most, l.keys, l.descending, l.after, l.before, l.columns.fields)
}

// Subroles gives all subroles of a customer, sorted by code.
func (db *DB) Subroles(ctx context.Context, scope models.Scope, customerID models.ID) ([]*models.Subrole, error) {
	if scope.Empty() {
		return nil, nil
	}
	return find(ctx, db, scope, selectSubroles, all(where("s.customer_id = ?", customerID), scoped(scope, "s.customer_id")), " ORDER BY s.code_key, s.id", subroleFields)
}

// SubrolesByID gives the subroles with these ids.
func (db *DB) SubrolesByID(ctx context.Context, scope models.Scope, subroleIDs []models.ID) (map[models.ID]*models.Subrole, error) {
	return byID(ctx, db, scope, subroleIDs, selectSubroles, "s.id", "s.customer_id", subroleFields, func(s *models.Subrole) models.ID { return s.ID })
}

// SubrolesByUser gives the subrole of each of these users. A user without one has no
// entry.
func (db *DB) SubrolesByUser(ctx context.Context, scope models.Scope, userIDs []models.ID) (map[models.ID]*models.Subrole, error) {
	if len(userIDs) == 0 || scope.Empty() {
		return nil, nil
	}
	type held struct {
		userID models.ID
		models.Subrole
	}
	found, err := find(ctx, db, scope,
		"SELECT u.id, s.id, s.customer_id, s.code, s.display_name, s.label, s.description FROM users AS u JOIN subroles AS s ON s.id = u.subrole_id",
		all(where("u.id IN (?)", listOf(userIDs)), scoped(scope, "u.customer_id")), "",
		func(h *held) []any { return append([]any{&h.userID}, subroleFields(&h.Subrole)...) })
	if err != nil {
		return nil, err
	}
	byUser := make(map[models.ID]*models.Subrole, len(found))
	for _, h := range found {
		byUser[h.userID] = &h.Subrole
	}
	return byUser, nil
}

// Authorities gives all authorities there are, sorted by their id. They are the
// same for all customers and belong to none, so any caller may read them.
func (db *DB) Authorities(ctx context.Context) ([]*models.Authority, error) {
	return find(ctx, db, models.Scope{}, selectAuthorities, all(), " ORDER BY a.id", authorityFields)
}

// AuthoritiesByUser gives the authorities of each of these users, sorted by
// their id. A user without authorities has no entry.
func (db *DB) AuthoritiesByUser(ctx context.Context, scope models.Scope, userIDs []models.ID) (map[models.ID][]*models.Authority, error) {
	if len(userIDs) == 0 || scope.Empty() {
		return nil, nil
	}
	type granted struct {
		userID models.ID
		models.Authority
	}
	found, err := find(ctx, db, scope,
		"SELECT ua.user_id, a.id, a.name, a.clean_name FROM user_authorities AS ua"+
			" JOIN authorities AS a ON a.id = ua.authority_id JOIN users AS u ON u.id = ua.user_id",
		all(where("ua.user_id IN (?)", listOf(userIDs)), scoped(scope, "u.customer_id")),
		" ORDER BY ua.user_id, a.id",
		func(g *granted) []any { return append([]any{&g.userID}, authorityFields(&g.Authority)...) })
	if err != nil {
		return nil, err
	}
	byUser := make(map[models.ID][]*models.Authority, len(userIDs))
	for _, g := range found {
		byUser[g.userID] = append(byUser[g.userID], &g.Authority)
	}
	return byUser, nil
}

// LegacyCredentialsByUser gives the two secrets of the Testinium document for
// each of these users. Only the legacy endpoint asks for them, and only when the
// operator allows it.
func (db *DB) LegacyCredentialsByUser(ctx context.Context, scope models.Scope, userIDs []models.ID) (map[models.ID]*models.LegacyCredentials, error) {
	fields := func(c *models.LegacyCredentials) []any { return []any{&c.UserID, &c.AccessToken, &c.VCSPassword} }
	return byID(ctx, db, scope, userIDs, selectLegacyCredentials, "lc.user_id", "u.customer_id", fields,
		func(c *models.LegacyCredentials) models.ID { return c.UserID })
}

// The fields that the columns of a statement fill, in their order.

func customerFields(c *models.Customer) []any {
	return []any{&c.ID, &c.Number, &c.CompanyID, &c.Name, &c.CreatedAt, &c.UpdatedAt, &c.NameKey, &c.SubrolesVersion, &c.AuthoritiesVersion}
}

func subroleFields(s *models.Subrole) []any {
	return []any{&s.ID, &s.CustomerID, &s.Code, &s.DisplayName, &s.Label, &s.Description}
}

func authorityFields(a *models.Authority) []any { return []any{&a.ID, &a.Name, &a.CleanName} }

func usersOf(customerID models.ID, filter *models.UserFilter, scope models.Scope) predicate {
	return all(where("u.customer_id = ?", customerID), usersMatching(customerID, filter), scoped(scope, "u.customer_id"))
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

// byID gives, by their key, the rows whose key is wanted and whose customer may be read,
// so that the order of rows never matters.
func byID[T any](ctx context.Context, db *DB, scope models.Scope, wanted []models.ID, text, key, customer string, fields func(*T) []any, keyOf func(*T) models.ID) (map[models.ID]*T, error) {
	if len(wanted) == 0 || scope.Empty() {
		return nil, nil
	}
	found, err := find(ctx, db, scope, text, all(oneOf(key, wanted), scoped(scope, customer)), "", fields)
	if err != nil {
		return nil, err
	}
	byKey := make(map[models.ID]*T, len(found))
	for _, row := range found {
		byKey[keyOf(row)] = row
	}
	return byKey, nil
}

// selected makes a statement for the rows that match.
func selected(text string, matching predicate, tail string, read func(rows) error) *statement {
	return &statement{text: text + " WHERE " + matching.sql + tail, args: matching.args, read: read}
}

// find gives the rows that match.
func find[T any](ctx context.Context, db *DB, scope models.Scope, text string, matching predicate, tail string, fields func(*T) []any) ([]*T, error) {
	read, found := collect(8, fields)
	if err := db.run(ctx, scope, selected(text, matching, tail, read)); err != nil {
		return nil, err
	}
	return *found, nil
}

// first gives the first of the rows, or nil.
func first[T any](found []*T, err error) (*T, error) {
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// between holds for the rows between two places of an order.
func between(columns []string, descending bool, after, before []any) predicate {
	place := "(" + strings.Join(columns, ", ") + ")"
	values := "(?" + strings.Repeat(", ?", len(columns)-1) + ")"
	beyond, short := " > ", " < "
	if descending {
		beyond, short = short, beyond
	}
	var parts []predicate
	if after != nil {
		parts = append(parts, where(place+beyond+values, after...))
	}
	if before != nil {
		parts = append(parts, where(place+short+values, before...))
	}
	return all(parts...)
}

// ordered gives what follows ORDER BY.
func ordered(columns []string, descending bool) string {
	direction := " ASC"
	if descending {
		direction = " DESC"
	}
	return strings.Join(columns, direction+", ") + direction
}

// windowStatement is the statement for one window of a list.
type windowStatement[T any] struct {
	statement *statement
	window    models.Window
	found     *[]*T
}

// window makes the statement for one window of the rows that match, in the order
// of columns. All columns run in one direction, so an index serves both ways and
// a row-value comparison finds the place of a cursor at the same cost anywhere. most
// is what follows LIMIT.
func window[T any](text string, matching predicate, w models.Window, most string, columns []string, descending bool, after, before []any, fields func(*T) []any) *windowStatement[T] {
	matching = all(matching, between(columns, descending, after, before))
	tail := " ORDER BY " + ordered(columns, descending != w.Backward) + " LIMIT " + most
	read, found := collect(w.Size+1, fields)
	s := selected(text, matching, tail, read)
	if w.Offset > 0 {
		s.text += " OFFSET ?"
		s.args = append(s.args, w.Offset)
	}
	return &windowStatement[T]{s, w, found}
}

// limit gives the most rows to read: one more than asked for tells whether there are
// more. It is a part of the text: PostgreSQL expects a limit that it does not know to
// be a tenth of all rows, and would plan the statement anew each time, which takes
// longer than running it.
func limit(w models.Window) string { return strconv.Itoa(w.Size + 1) }

// rows gives what the statement found, in the list's order, and whether there is
// more beyond it in the direction of reading.
func (s *windowStatement[T]) rows() (found []*T, more bool) {
	found = *s.found
	if more = len(found) > s.window.Size; more {
		found = found[:s.window.Size]
	}
	if s.window.Backward {
		slices.Reverse(found)
	}
	return found, more
}
