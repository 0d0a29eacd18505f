package graph

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"roster/models"
)

// Viewer is the caller of the request.
type Viewer struct {
	Subject     string
	Authorities []string
	ExpiresAt   time.Time
}

// PageInfo tells where a part of a list lies.
type PageInfo struct {
	HasNextPage     bool
	HasPreviousPage bool
	StartCursor     *string
	EndCursor       *string
}

// UserConnection is a part of a customer's users.
type UserConnection struct {
	connection[models.User]
}

// CustomerConnection is a part of the customers that the caller may read.
type CustomerConnection struct {
	connection[models.Customer]
}

// UserEdge is a user and its place in the list.
type UserEdge struct {
	Node   *models.User
	cursor func(*models.User) string
}

// Cursor is the user's place in the list.
func (e *UserEdge) Cursor() string { return e.cursor(e.Node) }

// CustomerEdge is a customer and its place in the list.
type CustomerEdge struct {
	Node   *models.Customer
	cursor func(*models.Customer) string
}

// Cursor is the customer's place in the list.
func (e *CustomerEdge) Cursor() string { return e.cursor(e.Node) }

// Edges gives the users with their cursors.
func (c *UserConnection) Edges() []*UserEdge {
	edges := make([]*UserEdge, len(c.Nodes))
	for i, user := range c.Nodes {
		edges[i] = &UserEdge{user, c.cursor}
	}
	return edges
}

// Edges gives the customers with their cursors.
func (c *CustomerConnection) Edges() []*CustomerEdge {
	edges := make([]*CustomerEdge, len(c.Nodes))
	for i, customer := range c.Nodes {
		edges[i] = &CustomerEdge{customer, c.cursor}
	}
	return edges
}

// connection is a part of any list. Its rows are read and its total is counted
// only when the request selects something that needs them.
type connection[T any] struct {
	Nodes      []*T
	TotalCount int

	window models.Window
	more   bool
	cursor func(*T) string
}

// load fills the connection with what the fields that are selected of it need.
func (c *connection[T]) load(fields []selected, rows func() ([]*T, bool, error), count func() (int, error)) (err error) {
	if selectsAny(fields, "nodes", "edges", "pageInfo") {
		if c.Nodes, c.more, err = rows(); err != nil {
			return err
		}
	}
	if selectsAny(fields, "totalCount", "totalPages") {
		c.TotalCount, err = count()
	}
	return err
}

// TotalPages is the number of pages of this size.
func (c *connection[T]) TotalPages() int {
	return (c.TotalCount + c.window.Size - 1) / c.window.Size
}

// PageInfo tells where this part of the list lies. Towards the side that was
// read, one row more than asked for tells whether the list goes on; on the
// other side it does when a cursor or a page number says so.
func (c *connection[T]) PageInfo() *PageInfo {
	info := &PageInfo{
		HasNextPage:     c.window.Before != "",
		HasPreviousPage: c.window.Offset > 0 || c.window.After != "",
	}
	if c.window.Backward {
		info.HasPreviousPage = info.HasPreviousPage || c.more
	} else {
		info.HasNextPage = info.HasNextPage || c.more
	}
	if len(c.Nodes) > 0 {
		start, end := c.cursor(c.Nodes[0]), c.cursor(c.Nodes[len(c.Nodes)-1])
		info.StartCursor, info.EndCursor = &start, &end
	}
	return info
}

// selectsAny reports whether any of these fields is among those selected.
func selectsAny(fields []selected, names ...string) bool {
	return slices.ContainsFunc(fields, func(field selected) bool { return slices.Contains(names, field.Name) })
}

func (r *Resolver) users(ctx context.Context, customer *models.Customer, args models.PageArgs, filter *models.UserFilter, order *models.UserOrder) (*UserConnection, error) {
	fields := selectedBy(ctx, selectionOf(ctx), "UserConnection")
	query, err := userQuery(ctx, fields, customer.ID, args, filter, order)
	if err != nil {
		return nil, err
	}
	c := newUserConnection(query)
	return c, c.load(fields,
		func() ([]*models.User, bool, error) { return r.page(ctx, customer, query) },
		func() (int, error) {
			if prefetched := prefetchedPage(customer, query); prefetched != nil && prefetched.Counted {
				return prefetched.Total, prefetched.TotalErr
			}
			return r.store.CountUsers(ctx, scope(ctx), customer.ID, filter)
		})
}

// prefetchedPage gives the page of this query that was read along with the customer, or nil.
func prefetchedPage(customer *models.Customer, query models.UserQuery) *models.UserPage {
	if prefetched := customer.Prefetched; prefetched != nil && reflect.DeepEqual(prefetched.Query, query) {
		return prefetched
	}
	return nil
}

// newUserConnection gives a part of a list that is still to be read.
func newUserConnection(query models.UserQuery) *UserConnection {
	return &UserConnection{connection[models.User]{window: query.Window, cursor: query.Cursors()}}
}

// userQuery makes the query for a list of users from its arguments, which it checks, and
// the fields selected of the list.
func userQuery(ctx context.Context, fields []selected, customerID models.ID, args models.PageArgs, filter *models.UserFilter, order *models.UserOrder) (models.UserQuery, error) {
	query := models.UserQuery{CustomerID: customerID, Filter: filter, Order: models.DefaultUserOrder()}
	var err error
	if query.Window, err = args.Window(maxPageSize(ctx)); err != nil {
		return query, err
	}
	if order != nil {
		query.Order = *order
	}
	query.Fields = userFieldsOf(ctx, fields)
	return query, query.Validate()
}

// userFields are the fields of the schema's User that come from a column of the
// user, and which. id and customer need none.
var userFields = map[string]models.UserFields{
	"number":                models.FieldNumber,
	"username":              models.FieldUsername,
	"firstName":             models.FieldFirstName,
	"lastName":              models.FieldLastName,
	"email":                 models.FieldEmail,
	"mobile":                models.FieldMobile,
	"userType":              models.FieldUserType,
	"status":                models.FieldStatus,
	"enabled":               models.FieldStatus,
	"isEmailVerified":       models.FieldIsEmailVerified,
	"isFirstLogin":          models.FieldIsFirstLogin,
	"accountNonExpired":     models.FieldAccountNonExpired,
	"accountNonLocked":      models.FieldAccountNonLocked,
	"credentialsNonExpired": models.FieldCredentialsNonExpired,
	"createdAt":             models.FieldCreatedAt,
	"createdBy":             models.FieldCreatedBy,
	"updatedAt":             models.FieldUpdatedAt,
	"updatedBy":             models.FieldUpdatedBy,
	"lastPasswordResetAt":   models.FieldLastPasswordResetAt,
	"extAuthRefId":          models.FieldExtAuthRefID,
	"subrole":               models.FieldSubroleID,
	"authorities":           models.FieldAuthorityIDs,
}

// userFieldsOf gives the fields of users that are selected below those of a list.
// FieldNumber is always among them, as the empty set stands for everything.
func userFieldsOf(ctx context.Context, list []selected) models.UserFields {
	fields := models.FieldNumber
	of := func(set ast.SelectionSet) {
		for _, field := range selectedBy(ctx, set, "User") {
			fields |= userFields[field.Name]
		}
	}
	for _, field := range list {
		switch field.Name {
		case "nodes":
			of(field.Selections)
		case "edges":
			for _, inner := range selectedBy(ctx, field.Selections, "UserEdge") {
				if inner.Name == "node" {
					of(inner.Selections)
				}
			}
		}
	}
	return fields
}

// page gives the users of a window, which may have been read with the customer.
func (r *Resolver) page(ctx context.Context, customer *models.Customer, query models.UserQuery) (rows []*models.User, more bool, err error) {
	if prefetched := prefetchedPage(customer, query); prefetched != nil {
		return prefetched.Rows, prefetched.More, prefetched.Err
	}
	rows, more, err = r.store.Users(ctx, scope(ctx), query)
	for _, user := range rows {
		user.Owner = customer
	}
	return rows, more, err
}

// prefetchQuery gives the query for the list of users that is going to be asked of the
// customer being resolved, so that both can be read at once. It is not ok when there is
// no list or there are several, or when the list will be refused.
func prefetchQuery(ctx context.Context, customerID models.ID) (query models.UserQuery, ok bool) {
	var list *selected
	for _, field := range selectedBy(ctx, selectionOf(ctx), "Customer") {
		if field.Name == "users" {
			if list != nil {
				return query, false
			}
			list = &field
		}
	}
	if list == nil {
		return query, false
	}
	fields := selectedBy(ctx, list.Selections, "UserConnection")
	if !selectsAny(fields, "nodes", "edges", "pageInfo") {
		return query, false
	}
	// The way by gqlgen's FieldContext would report what is wrong with the
	// arguments, which the list itself is going to do.
	args, err := new(executionContext).field_Customer_users_args(ctx, list.ArgumentMap(graphql.GetOperationContext(ctx).Variables))
	if err != nil {
		return query, false
	}
	query, err = userQuery(ctx, fields, customerID, models.PageArgs{
		Page:  args["page"].(*models.PageInput),
		First: args["first"].(*int), After: args["after"].(*string),
		Last: args["last"].(*int), Before: args["before"].(*string),
	}, args["filter"].(*models.UserFilter), args["orderBy"].(*models.UserOrder))
	return query, err == nil
}

func (r *Resolver) customers(ctx context.Context, args models.PageArgs, search *string) (*CustomerConnection, error) {
	window, err := args.Window(models.MaxPageSize)
	if err != nil {
		return nil, err
	}
	query := models.CustomerQuery{Window: window}
	if search != nil {
		query.Search = *search
	}
	if err := query.Validate(); err != nil {
		return nil, err
	}
	c := &CustomerConnection{connection[models.Customer]{window: window, cursor: query.Cursors()}}
	return c, c.load(selectedBy(ctx, selectionOf(ctx), "CustomerConnection"),
		func() ([]*models.Customer, bool, error) { return r.store.Customers(ctx, scope(ctx), query) },
		func() (int, error) { return r.store.CountCustomers(ctx, scope(ctx), query.Search) })
}

// customersNamed gives the customers that the caller's token names. It asks with
// a scope of just these, which is never more than the caller's own.
func (r *Resolver) customersNamed(ctx context.Context) ([]*models.Customer, error) {
	named := scope(ctx)
	named.All = false
	customers, _, err := r.store.Customers(ctx, named, models.CustomerQuery{Window: models.Window{Size: maxNamedCustomers}})
	return customers, err
}

// maxNamedCustomers is more than a token can name.
const maxNamedCustomers = 10_000
