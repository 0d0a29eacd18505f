package models

import "time"

// Customer is a company. Users and subroles belong to exactly one.
type Customer struct {
	ID ID `bun:"id,pk"`
	// Number is the id of the legacy systems, a positive Long.
	Number int64 `bun:"number"`
	// CompanyID is the company's number in the legacy account system; nil where it has none.
	CompanyID *int64    `bun:"company_id"`
	Name      string    `bun:"name"`
	CreatedAt time.Time `bun:"created_at"`
	UpdatedAt time.Time `bun:"updated_at"`

	// NameKey is the folded name: customers are listed and searched by it.
	NameKey string `bun:"name_key"`

	// SubrolesVersion and AuthoritiesVersion say which state of the customer's
	// subroles and of all authorities the customer was read with. The database
	// gives each state a number of its own, in no order, so whoever keeps either
	// knows whether it is current.
	SubrolesVersion    int64 `bun:"-"`
	AuthoritiesVersion int64 `bun:"-"`
	// Prefetched is the window of users that was read along with the customer, or nil.
	Prefetched *UserPage `bun:"-"`
}

// SetKeys fills the folded key; call it before writing a customer.
func (c *Customer) SetKeys() { c.NameKey = Fold(c.Name) }

// IsNode marks Customer as a Node of the GraphQL schema.
func (*Customer) IsNode() {}

// Subrole is what a user does within one customer, beside the authorities.
type Subrole struct {
	ID          ID     `bun:"id,pk"`
	CustomerID  ID     `bun:"customer_id"`
	Code        string `bun:"code"`
	DisplayName string `bun:"display_name"`
	Label       string `bun:"label"`
	Description string `bun:"description"`

	// CodeKey is the folded code, which filters compare with.
	CodeKey string `bun:"code_key"`
}

// SetKeys fills the folded key; call it before writing a subrole.
func (s *Subrole) SetKeys() { s.CodeKey = Fold(s.Code) }

// IsNode marks Subrole as a Node of the GraphQL schema.
func (*Subrole) IsNode() {}

// Authority is a right such as ROLE_USER. Authorities are shared by all customers.
type Authority struct {
	ID        int64   `bun:"id,pk"`
	Name      string  `bun:"name"`
	CleanName *string `bun:"clean_name"`
}

// LegacyCredentials are the two secrets that the Testinium document shows. They
// are a type of their own so that no query for users can ever carry them.
type LegacyCredentials struct {
	UserID      ID      `bun:"user_id,pk"`
	AccessToken *string `bun:"access_token"`
	VCSPassword *string `bun:"vcs_password"`
}
