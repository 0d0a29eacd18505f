package graph

import (
	"context"
	"slices"

	"roster/auth"
	"roster/models"
)

// Store is where the resolvers get their data. Every method but Authorities takes the
// caller's scope and gives nothing that lies outside it. Errors are *models.Error.
type Store interface {
	CustomersByID(ctx context.Context, scope models.Scope, ids []models.ID) (map[models.ID]*models.Customer, error)
	CustomerByNumber(ctx context.Context, scope models.Scope, number int64) (*models.Customer, error)
	// CustomerAndUsers gives a customer and a window of its users, at once where the
	// scope names the customer.
	CustomerAndUsers(ctx context.Context, scope models.Scope, query models.UserQuery) (*models.Customer, *models.UserPage, error)
	Customers(ctx context.Context, scope models.Scope, query models.CustomerQuery) (rows []*models.Customer, more bool, err error)
	CountCustomers(ctx context.Context, scope models.Scope, search string) (int, error)

	UsersByID(ctx context.Context, scope models.Scope, ids []models.ID) (map[models.ID]*models.User, error)
	Users(ctx context.Context, scope models.Scope, query models.UserQuery) (rows []*models.User, more bool, err error)
	CountUsers(ctx context.Context, scope models.Scope, customer models.ID, filter *models.UserFilter) (int, error)

	Subroles(ctx context.Context, scope models.Scope, customer models.ID) ([]*models.Subrole, error)
	SubrolesByID(ctx context.Context, scope models.Scope, ids []models.ID) (map[models.ID]*models.Subrole, error)
	SubrolesByUser(ctx context.Context, scope models.Scope, users []models.ID) (map[models.ID]*models.Subrole, error)
	Authorities(ctx context.Context) ([]*models.Authority, error)
	AuthoritiesByUser(ctx context.Context, scope models.Scope, users []models.ID) (map[models.ID][]*models.Authority, error)
}

// Resolver answers the fields of the schema. The bodies in schema.resolvers.go
// are a few lines each; what takes more stands in this file and in connection.go.
type Resolver struct {
	store     Store
	reference *reference
}

func newResolver(store Store) *Resolver { return &Resolver{store, newReference(store)} }

// customer gives a customer and, when one list of its users is asked for, reads
// the list along with it.
func (r *Resolver) customer(ctx context.Context, id models.ID) (*models.Customer, error) {
	query, ok := prefetchQuery(ctx, id)
	if !ok {
		found, err := r.store.CustomersByID(ctx, scope(ctx), []models.ID{id})
		return visible(ctx, found[id], err)
	}
	customer, page, err := r.store.CustomerAndUsers(ctx, scope(ctx), query)
	if customer != nil {
		customer.Prefetched = page
		for _, user := range page.Rows {
			user.Owner = customer
		}
	}
	return visible(ctx, customer, err)
}

// Node is whatever can be fetched again by its id: a customer, a user or a subrole.
type Node interface{ IsNode() }

// scope is what the caller of this request may read.
func scope(ctx context.Context) models.Scope {
	return auth.PrincipalFrom(ctx).Scope()
}

// visible answers a question for one customer. A caller who may read every
// customer learns that it does not exist; to anyone else a customer out of reach
// and one that is not there are the same.
func visible(ctx context.Context, customer *models.Customer, err error) (*models.Customer, error) {
	if err == nil && customer == nil && !scope(ctx).All {
		return nil, models.Errorf(models.CodeForbidden, "You may not read this customer.")
	}
	return customer, err
}

// node looks for the id among all kinds of nodes. It asks for every kind even
// when the first one answers, so that the time taken does not tell what exists.
func (r *Resolver) node(ctx context.Context, id models.ID) (Node, error) {
	ids := []models.ID{id}
	customers, err := r.store.CustomersByID(ctx, scope(ctx), ids)
	if err != nil {
		return nil, err
	}
	users, err := r.store.UsersByID(ctx, scope(ctx), ids)
	if err != nil {
		return nil, err
	}
	subroles, err := r.store.SubrolesByID(ctx, scope(ctx), ids)
	if err != nil {
		return nil, err
	}
	if customer := customers[id]; customer != nil {
		return customer, nil
	}
	if user := users[id]; user != nil {
		return user, nil
	}
	if subrole := subroles[id]; subrole != nil {
		return subrole, nil
	}
	return nil, nil
}

func (r *Resolver) userOf(ctx context.Context, customer *models.Customer, id models.ID) (*models.User, error) {
	found, err := r.store.UsersByID(ctx, scope(ctx), []models.ID{id})
	if err != nil || found[id] == nil || found[id].CustomerID != customer.ID {
		return nil, err
	}
	found[id].Owner = customer
	return found[id], nil
}

// subroles gives the subroles of a customer for gqlgen to write, unless they are too many.
func (r *Resolver) subroles(ctx context.Context, customer *models.Customer) ([]*models.Subrole, error) {
	if err := spend(ctx, 0); err != nil {
		return nil, err
	}
	subroles, err := r.store.Subroles(ctx, scope(ctx), customer.ID)
	if extra := len(subroles) - subrolesSize; extra > 0 && err == nil {
		err = spend(ctx, surplus(extra, selectedBy(ctx, selectionOf(ctx), "Subrole")))
	}
	return subroles, err
}

// authorities gives the authorities of each user for gqlgen to write, unless they are too many.
func (r *Resolver) authorities(ctx context.Context, users []*models.User) ([][]*models.Authority, error) {
	if err := spend(ctx, 0); err != nil {
		return nil, err
	}
	lists, err := r.authoritiesOf(ctx, users)
	if extra := unpriced(lists); extra > 0 && err == nil {
		err = spend(ctx, surplus(extra, selectedBy(ctx, selectionOf(ctx), "Authority")))
	}
	return lists, err
}

// customersOf gives the customer of each user, in the order of users. One that is gone
// was deleted with its users after they were read.
func (r *Resolver) customersOf(ctx context.Context, users []*models.User) ([]*models.Customer, error) {
	if owner := ownerOf(users); owner != nil {
		return slices.Repeat([]*models.Customer{owner}, len(users)), nil
	}
	customerID := func(u *models.User) *models.ID { return &u.CustomerID }
	found, err := r.store.CustomersByID(ctx, scope(ctx), distinct(users, customerID))
	customers := align(users, found, customerID)
	if err == nil && slices.Contains(customers, nil) {
		err = models.Errorf(models.CodeNotFound, "The user and its customer were deleted while this was answered.")
	}
	return customers, err
}

// subrolesOf gives the subrole of each user, nil for none, in the order of users.
func (r *Resolver) subrolesOf(ctx context.Context, users []*models.User) ([]*models.Subrole, error) {
	subroleID := func(u *models.User) *models.ID { return u.SubroleID }
	if owner := ownerOf(users); owner != nil {
		known, err := r.reference.subrolesOf(ctx, owner)
		if err != nil {
			return nil, err
		}
		// A subrole that came after the customer was read is looked up below, by the
		// users: those that they had may be gone when they have another.
		if !slices.ContainsFunc(users, func(u *models.User) bool { return u.SubroleID != nil && known[*u.SubroleID] == nil }) {
			return align(users, known, subroleID), nil
		}
	}
	userID := func(u *models.User) *models.ID {
		if u.SubroleID == nil {
			return nil
		}
		return &u.ID
	}
	found, err := r.store.SubrolesByUser(ctx, scope(ctx), distinct(users, userID))
	return align(users, found, userID), err
}

// authoritiesOf gives the authorities of each user, in the order of users.
func (r *Resolver) authoritiesOf(ctx context.Context, users []*models.User) ([][]*models.Authority, error) {
	if owner := ownerOf(users); owner != nil {
		known, err := r.reference.authoritiesOf(ctx, owner)
		if err != nil {
			return nil, err
		}
		if lists, ok := authoritiesKnown(users, known); ok {
			return lists, nil
		}
	}
	userID := func(u *models.User) *models.ID { return &u.ID }
	found, err := r.store.AuthoritiesByUser(ctx, scope(ctx), distinct(users, userID))
	lists := align(users, found, userID)
	for i := range lists {
		if lists[i] == nil {
			lists[i] = []*models.Authority{} // a user without authorities has an empty list, not null
		}
	}
	return lists, err
}

// authoritiesKnown gives the authorities of users whose ids were read with them,
// unless one is not known: it came after the customer was read.
func authoritiesKnown(users []*models.User, known map[int64]*models.Authority) (lists [][]*models.Authority, ok bool) {
	n := 0
	for _, user := range users {
		n += len(user.AuthorityIDs)
	}
	all := make([]*models.Authority, 0, n)
	lists = make([][]*models.Authority, len(users))
	for i, user := range users {
		if user.AuthorityIDs == nil {
			return nil, false
		}
		start := len(all)
		for _, id := range user.AuthorityIDs {
			if known[id] == nil {
				return nil, false
			}
			all = append(all, known[id])
		}
		lists[i] = all[start:len(all):len(all)]
	}
	return lists, true
}

// ownerOf gives the customer of users that were read as its list, else nil.
func ownerOf(users []*models.User) *models.Customer {
	if len(users) == 0 {
		return nil
	}
	owner := users[0].Owner
	for _, user := range users {
		if user.Owner != owner {
			return nil
		}
	}
	return owner
}

// distinct gives the keys of the users, each once and in order; a nil key is left out.
func distinct(users []*models.User, key func(*models.User) *models.ID) []models.ID {
	seen := make(map[models.ID]bool, len(users))
	var keys []models.ID
	for _, user := range users {
		if k := key(user); k != nil && !seen[*k] {
			seen[*k] = true
			keys = append(keys, *k)
		}
	}
	return keys
}

// align puts what was found for each user at the user's own place. What the
// store gives is looked up by key and never by position, so a row that is
// missing or in another place cannot hand one user what belongs to another.
func align[T any](users []*models.User, found map[models.ID]T, key func(*models.User) *models.ID) []T {
	aligned := make([]T, len(users))
	for i, user := range users {
		if k := key(user); k != nil {
			aligned[i] = found[*k]
		}
	}
	return aligned
}
