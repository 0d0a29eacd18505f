package auth

import (
	"context"
	"slices"
	"time"

	"roster/models"
)

// The authorities that give a right here. A token may hold any others; they are kept and mean nothing.
const (
	// RoleAdmin reads every customer.
	RoleAdmin = "ROLE_ADMIN"
	// RoleCompanyAdmin reads the legacy document of its own customers.
	RoleCompanyAdmin = "ROLE_COMPANY_ADMIN"
)

// The messages are fixed texts: one that named a customer or a company would
// tell a caller what exists beyond its scope.
const (
	legacyListMessage = "This needs the authority ROLE_ADMIN or ROLE_COMPANY_ADMIN."
	companyMessage    = "This token does not give access to that company."
)

// Principal is who a verified token says is calling. A nil Principal is nobody:
// its methods give no right. The requests of a caller share one, so it must not be
// altered.
type Principal struct {
	// Issuer is the iss claim. [Issuer.Sign] puts its own name there.
	Issuer string
	// Subject is the sub claim, which means the same caller within one issuer only.
	Subject string
	// Authorities are the names of the caller's rights.
	Authorities []string
	// CustomerIDs are the customers that the token names by UUID.
	CustomerIDs []models.ID
	// CustomerNumbers are the customers that the token names by number.
	CustomerNumbers []int64
	// ExpiresAt is the exp claim, in UTC.
	ExpiresAt time.Time
}

// Has reports whether the caller has an authority. Names are compared exactly.
func (p *Principal) Has(authority string) bool {
	return p != nil && slices.Contains(p.Authorities, authority)
}

// Scope gives the customers that the caller may read: those that the token names,
// and with [RoleAdmin] all others too. A nil principal gives the
// zero scope, which reads nothing. This is the one place where a principal
// becomes a scope.
func (p *Principal) Scope() models.Scope {
	if p == nil {
		return models.Scope{}
	}
	return models.Scope{
		All:             p.Has(RoleAdmin),
		CustomerIDs:     slices.Clone(p.CustomerIDs),
		CustomerNumbers: slices.Clone(p.CustomerNumbers),
	}
}

// AllowLegacyList refuses the legacy list of a customer's users, secrets
// included, to callers who have neither [RoleAdmin] nor [RoleCompanyAdmin]. The
// error is CodeForbidden. It says nothing of which customers may be read: that
// is the scope's part.
func (p *Principal) AllowLegacyList() error {
	if p.Has(RoleAdmin) || p.Has(RoleCompanyAdmin) {
		return nil
	}
	return models.Errorf(models.CodeForbidden, legacyListMessage)
}

// AllowCompany checks the current company that a legacy caller names. With
// [RoleAdmin] any will do; others must name the company of the customer they
// read: its company number, or the customer's own number where it has none. The
// error is CodeForbidden, the same for every company.
func (p *Principal) AllowCompany(company int64, customer *models.Customer) error {
	if p.Has(RoleAdmin) {
		return nil
	}
	if p != nil && customer != nil && company == companyOf(customer) {
		return nil
	}
	return models.Errorf(models.CodeForbidden, companyMessage)
}

func companyOf(customer *models.Customer) int64 {
	if customer.CompanyID != nil {
		return *customer.CompanyID
	}
	return customer.Number
}

type principalKey struct{}

// WithPrincipal gives a context that carries the principal.
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom gives the principal of a context, and nil when there is none.
func PrincipalFrom(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}
