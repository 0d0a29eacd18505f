package models

// Scope is which customers a caller may read. Every method of the store takes one and
// puts it into its WHERE clause, except Authorities, which are everybody's. The zero
// value reads nothing, so forgetting it shows nothing.
type Scope struct {
	// All is true for a caller who may read every customer.
	All bool
	// CustomerIDs and CustomerNumbers name the customers that may be read where
	// All is false. A token may use either name, so both are kept.
	CustomerIDs     []ID
	CustomerNumbers []int64
}

// Empty reports whether the scope reads nothing at all.
func (s Scope) Empty() bool {
	return !s.All && len(s.CustomerIDs) == 0 && len(s.CustomerNumbers) == 0
}
