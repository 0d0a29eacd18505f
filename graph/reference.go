package graph

import (
	"context"
	"strconv"

	"roster/models"
)

// reference keeps what hardly ever changes and is read with every page: the
// subroles of each customer, and the authorities. Reading them anew took a third
// of the time of a page. The database gives each state of them a version of its
// own, and a customer's row tells it, so nothing here is ever used that is older than
// the customer.
type reference struct {
	store       Store
	subroles    *cache[map[models.ID]*models.Subrole]
	authorities *cache[map[int64]*models.Authority]
}

// The memory for what is kept, and about what one row of it takes.
const (
	referenceBytes = 8 << 20
	subroleBytes   = 400
	authorityBytes = 200
)

func newReference(store Store) *reference {
	return &reference{
		store:       store,
		subroles:    newCache[map[models.ID]*models.Subrole](referenceBytes),
		authorities: newCache[map[int64]*models.Authority](referenceBytes),
	}
}

// subrolesOf gives the subroles of a customer that was read for the caller.
func (r *reference) subrolesOf(ctx context.Context, customer *models.Customer) (map[models.ID]*models.Subrole, error) {
	key := string(customer.ID) + strconv.FormatInt(customer.SubrolesVersion, 10)
	if known, ok := r.subroles.get(key); ok {
		return known, nil
	}
	rows, err := r.store.Subroles(ctx, scope(ctx), customer.ID)
	if err != nil {
		return nil, err
	}
	byID := make(map[models.ID]*models.Subrole, len(rows))
	for _, row := range rows {
		byID[row.ID] = row
	}
	r.subroles.add(key, byID, len(key)+subroleBytes*(1+len(rows)))
	return byID, nil
}

// authoritiesOf gives all authorities, as they were when the customer was read or later.
func (r *reference) authoritiesOf(ctx context.Context, customer *models.Customer) (map[int64]*models.Authority, error) {
	key := strconv.FormatInt(customer.AuthoritiesVersion, 10)
	if known, ok := r.authorities.get(key); ok {
		return known, nil
	}
	rows, err := r.store.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]*models.Authority, len(rows))
	for _, row := range rows {
		byID[row.ID] = row
	}
	r.authorities.add(key, byID, len(key)+authorityBytes*(1+len(rows)))
	return byID, nil
}
