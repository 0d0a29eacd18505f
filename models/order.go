package models

import "io"

// UserOrderField names what users are sorted by.
type UserOrderField string

// The fields that users can be sorted by. Each has an index of its own. Text is
// compared by its folded key, byte by byte. Ties are broken by the id.
const (
	OrderCreatedAt UserOrderField = "CREATED_AT"
	OrderUpdatedAt UserOrderField = "UPDATED_AT"
	OrderNumber    UserOrderField = "NUMBER"
	OrderEmail     UserOrderField = "EMAIL"
	// OrderName is by last name, then by first name.
	OrderName UserOrderField = "NAME"
	// OrderUsername has the users without a username first when ascending.
	OrderUsername UserOrderField = "USERNAME"
	// OrderStatus is alphabetical: ACTIVE, INACTIVE, INVITED.
	OrderStatus UserOrderField = "STATUS"
)

// UserOrderFields lists every field that users can be sorted by.
func UserOrderFields() []UserOrderField {
	return []UserOrderField{OrderCreatedAt, OrderUpdatedAt, OrderNumber, OrderEmail, OrderName, OrderUsername, OrderStatus}
}

// MarshalGQL writes the field as a GraphQL enum value.
func (f UserOrderField) MarshalGQL(w io.Writer) { marshalEnum(w, f) }

// UnmarshalGQL reads a GraphQL enum value. Anything else is CodeBadUserInput.
func (f *UserOrderField) UnmarshalGQL(v any) (err error) {
	*f, err = parseEnum("a field to sort by", v, UserOrderFields())
	return err
}

// OrderDirection is the direction of an order.
type OrderDirection string

// The directions.
const (
	Ascending  OrderDirection = "ASC"
	Descending OrderDirection = "DESC"
)

// MarshalGQL writes the direction as a GraphQL enum value.
func (d OrderDirection) MarshalGQL(w io.Writer) { marshalEnum(w, d) }

// UnmarshalGQL reads a GraphQL enum value. Anything else is CodeBadUserInput.
func (d *OrderDirection) UnmarshalGQL(v any) (err error) {
	*d, err = parseEnum("a direction", v, []OrderDirection{Ascending, Descending})
	return err
}

// UserOrder is how a list of users is sorted.
type UserOrder struct {
	Field     UserOrderField
	Direction OrderDirection
}

// DefaultUserOrder is the order of a caller who does not ask for one: the
// newest users first.
func DefaultUserOrder() UserOrder {
	return UserOrder{Field: OrderCreatedAt, Direction: Descending}
}

// sortKeys gives the values that place a user in a list of this order, in the
// order of the columns, without the id that ends every order.
func (u *User) sortKeys(field UserOrderField) []any {
	switch field {
	case OrderUpdatedAt:
		return []any{u.UpdatedAt}
	case OrderNumber:
		return []any{u.Number}
	case OrderEmail:
		return []any{u.EmailKey}
	case OrderName:
		return []any{u.LastNameKey, u.FirstNameKey}
	case OrderUsername:
		return []any{u.UsernameKey}
	case OrderStatus:
		return []any{string(u.Status)}
	default:
		return []any{u.CreatedAt}
	}
}
