package graph

import (
	"context"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"roster/models"
)

// This file is the fast path. A page of users is most of what a server writes, and
// gqlgen takes about 4 microseconds and 6 to 8 allocations for every leaf of it. So
// the users of a list, and the customer around it, are written by the functions below,
// one for each field, that append to one buffer. What is selected is worked out once
// for the whole list, by gqlgen's own rules for fragments, directives and aliases.
// Whatever is not known here, and every error, is left to gqlgen; FuzzEncoding checks
// that the answers are the same bytes.

// encoder has gqlgen write lists of users, and customers whose users were read along
// with them, as this file encodes them.
type encoder struct{ resolver *Resolver }

var _ interface {
	graphql.HandlerExtension
	graphql.FieldInterceptor
} = encoder{}

// ExtensionName names the extension for gqlgen.
func (encoder) ExtensionName() string { return "Encoder" }

// Validate accepts every schema.
func (encoder) Validate(graphql.ExecutableSchema) error { return nil }

// InterceptField encodes what this file knows how to.
func (e encoder) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	result, err := next(ctx)
	if err != nil {
		return result, err
	}
	p := planner{ctx: ctx, resolver: e.resolver}
	switch found := result.(type) {
	case *models.Customer:
		// The customer of a user is the same one, and may be asked for other lists.
		if found == nil || found.Prefetched == nil || found.Prefetched.Err != nil || graphql.GetFieldContext(ctx).Object != "Query" {
			break
		}
		if write, ok := p.customer(selectionOf(ctx), found); ok {
			return p.encode(len(found.Prefetched.Rows), func(b []byte) []byte { return write(b, 0) })
		}
	case []*models.User:
		if write, ok := p.user(selectionOf(ctx), found); ok {
			return p.encode(len(found), listOf(len(found), write))
		}
	case []*UserEdge:
		if write, ok := p.edge(selectionOf(ctx), found); ok {
			return p.encode(len(found), listOf(len(found), write))
		}
	}
	return result, nil
}

// appendItem appends item i of a list as JSON.
type appendItem func(b []byte, i int) []byte

// listOf gives what appends a list of n items.
func listOf(n int, item appendItem) func([]byte) []byte {
	return func(b []byte) []byte {
		b = append(b, '[')
		for i := range n {
			if i > 0 {
				b = append(b, ',')
			}
			b = item(b, i)
		}
		return append(b, ']')
	}
}

// encode pays for a value with about n users and encodes it. It is done at once, so that
// nothing of the value is read after its resolver has returned.
func (p *planner) encode(n int, write func([]byte) []byte) (any, error) {
	if p.surplus > 0 {
		if err := spend(p.ctx, p.surplus); err != nil {
			return nil, err
		}
	}
	b := write(slices.Grow(takeBuffer(), 512*n))
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = w.Write(b) // gqlgen writes to memory, and every value once
		giveBack(b)
		b = nil
	}), nil
}

// executable runs queries as the generated Exec does, without what only @defer needs,
// which servedSchema takes away, and writes the answer to memory that is used again.
type executable struct{ *executableSchema }

// Exec runs the operation of ctx.
func (e executable) Exec(ctx context.Context) graphql.ResponseHandler {
	operation := graphql.GetOperationContext(ctx)
	if operation.Operation.Operation != ast.Query {
		return e.executableSchema.Exec(ctx)
	}
	return func(ctx context.Context) *graphql.Response {
		data := newExecutionContext(operation, e.executableSchema, nil)._Query(ctx, operation.Operation.SelectionSet)
		b := appender(takeBuffer())
		data.MarshalGQL(&b)
		return &graphql.Response{Data: []byte(b)}
	}
}

// appender appends what is written to it.
type appender []byte

// Write appends p.
func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// buffers are used again and again, for lists and for whole answers, which are most
// of the memory that a page takes.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// takeBuffer gives an empty buffer, whose memory giveBack has used again.
func takeBuffer() []byte { return (*buffers.Get().(*[]byte))[:0] }

// giveBack ends the use of a buffer: nothing may read it any more.
func giveBack(b []byte) {
	const maxKept = 256 << 10
	if c := cap(b); c > 0 && c <= maxKept {
		buffers.Put(&b)
	}
}

// planner works out how to write what a selection set selects.
type planner struct {
	ctx      context.Context // of the list that is written
	resolver *Resolver
	// surplus is what lists cost beyond their price. It is paid for what is written here only:
	// what is left to gqlgen is paid for there.
	surplus int
}

// affords adds a list with entries beyond the priced ones, of any number, and reports whether
// the request can pay for them. If not, the list is left to gqlgen, which is refused it.
func (p *planner) affords(entries int, f selected, typeName string) bool {
	if entries <= 0 {
		return true
	}
	p.surplus = add(p.surplus, surplus(entries, selectedBy(p.ctx, f.Selections, typeName)))
	return int64(p.surplus) <= requestOf(p.ctx).budget.Load()
}

// leaves are the functions that write the leaves of a type, by their names in the schema.
type leaves[T any] map[string]func([]byte, *T) []byte

// objectOf gives what writes objects of the named type. field gives what writes one of
// the fields that are no leaves, and is not ok for a field that is not known.
func objectOf[T any](p *planner, set ast.SelectionSet, typeName string, leaves leaves[T], values []*T, field func(selected) (appendItem, bool)) (appendItem, bool) {
	type member struct {
		key  string
		leaf func([]byte, *T) []byte // nil for a member that is none
		item appendItem
	}
	fields := selectedBy(p.ctx, set, typeName)
	members := make([]member, len(fields))
	for i, f := range fields {
		m := member{key: f.member, leaf: leaves[f.Name]}
		if f.Name == "__typename" {
			name := strconv.Quote(typeName)
			m.leaf = func(b []byte, _ *T) []byte { return append(b, name...) }
		}
		if m.leaf == nil {
			var ok bool
			if m.item, ok = field(f); !ok {
				return nil, false
			}
		}
		members[i] = m
	}
	return func(b []byte, i int) []byte {
		start := len(b)
		for _, m := range members {
			b = append(b, m.key...)
			if m.leaf != nil {
				b = m.leaf(b, values[i])
			} else {
				b = m.item(b, i)
			}
		}
		b[start] = '{' // in place of the first comma
		return append(b, '}')
	}, len(members) > 0
}

// customer gives what writes a customer whose users were read along with it.
func (p *planner) customer(set ast.SelectionSet, customer *models.Customer) (appendItem, bool) {
	if selectsAny(selectedBy(p.ctx, set, "Customer"), "user") { // not known here, so the others need not be read for nothing
		return nil, false
	}
	return objectOf(p, set, "Customer", customerLeaves, []*models.Customer{customer}, func(f selected) (appendItem, bool) {
		switch f.Name {
		case "users":
			return p.connection(f.Selections, customer)
		case "subroles":
			subroles, ok := try(func() ([]*models.Subrole, error) { return p.resolver.store.Subroles(p.ctx, scope(p.ctx), customer.ID) })
			if !ok || !p.affords(len(subroles)-subrolesSize, f, "Subrole") {
				return nil, false
			}
			item, ok := objects(p, f, "Subrole", subroleLeaves, subroles)
			write := listOf(len(subroles), item)
			return func(b []byte, _ int) []byte { return write(b) }, ok
		}
		return nil, false
	})
}

// connection gives what writes the part of a customer's users that was read along
// with it.
func (p *planner) connection(set ast.SelectionSet, customer *models.Customer) (appendItem, bool) {
	prefetched := customer.Prefetched
	query := prefetched.Query
	users := newUserConnection(query)
	users.Nodes, users.more = prefetched.Rows, prefetched.More
	number := func(of func() int) (appendItem, bool) {
		if !prefetched.Counted {
			// gqlgen finds what became of it here, and does not count once more.
			_, prefetched.Counted = try(func() (any, error) {
				prefetched.Total, prefetched.TotalErr = p.resolver.store.CountUsers(p.ctx, scope(p.ctx), query.CustomerID, query.Filter)
				return nil, nil
			})
		}
		users.TotalCount = prefetched.Total
		return func(b []byte, _ int) []byte { return strconv.AppendInt(b, int64(of()), 10) }, prefetched.Counted && prefetched.TotalErr == nil
	}
	all := func(item appendItem, ok bool) (appendItem, bool) {
		write := listOf(len(users.Nodes), item)
		return func(b []byte, _ int) []byte { return write(b) }, ok
	}
	return objectOf(p, set, "UserConnection", nil, []*UserConnection{users}, func(f selected) (appendItem, bool) {
		switch f.Name {
		case "nodes":
			return all(p.user(f.Selections, users.Nodes))
		case "edges":
			return all(p.edge(f.Selections, users.Edges()))
		case "pageInfo":
			return objects(p, f, "PageInfo", pageInfoLeaves, []*PageInfo{users.PageInfo()})
		case "totalCount":
			return number(func() int { return users.TotalCount })
		case "totalPages":
			return number(users.TotalPages)
		}
		return nil, false
	})
}

// edge gives what writes the edges of a list.
func (p *planner) edge(set ast.SelectionSet, edges []*UserEdge) (appendItem, bool) {
	return objectOf(p, set, "UserEdge", edgeLeaves, edges, func(f selected) (appendItem, bool) {
		users := make([]*models.User, len(edges))
		for i, edge := range edges {
			users[i] = edge.Node
		}
		return p.user(f.Selections, users) // node
	})
}

// user gives what writes the users of a list.
func (p *planner) user(set ast.SelectionSet, users []*models.User) (appendItem, bool) {
	return objectOf(p, set, "User", userLeaves, users, func(f selected) (appendItem, bool) {
		switch f.Name {
		case "subrole":
			subroles, ok := try(func() ([]*models.Subrole, error) { return p.resolver.subrolesOf(p.ctx, users) })
			if !ok {
				return nil, false
			}
			return objects(p, f, "Subrole", subroleLeaves, subroles)
		case "customer":
			customers, ok := try(func() ([]*models.Customer, error) { return p.resolver.customersOf(p.ctx, users) })
			if !ok {
				return nil, false
			}
			return objects(p, f, "Customer", customerLeaves, customers)
		case "authorities":
			return p.authorities(f, users)
		}
		return nil, false
	})
}

// authorities gives what writes the authorities of the users of a list.
func (p *planner) authorities(f selected, users []*models.User) (appendItem, bool) {
	lists, ok := try(func() ([][]*models.Authority, error) { return p.resolver.authoritiesOf(p.ctx, users) })
	if !ok || !p.affords(unpriced(lists), f, "Authority") {
		return nil, false
	}
	var all []*models.Authority
	starts := make([]int, len(lists)+1)
	for i, list := range lists {
		all = append(all, list...)
		starts[i+1] = len(all)
	}
	write, ok := objects(p, f, "Authority", authorityLeaves, all)
	return func(b []byte, i int) []byte {
		b = append(b, '[')
		for j := starts[i]; j < starts[i+1]; j++ {
			if j > starts[i] {
				b = append(b, ',')
			}
			b = write(b, j)
		}
		return append(b, ']')
	}, ok
}

// try calls a resolver. When it fails or panics it is not ok, and gqlgen is going
// to call it again and to report what it says.
func try[T any](resolve func() (T, error)) (found T, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	found, err := resolve()
	return found, err == nil
}

// objects gives what writes objects that have leaves only; one that is nil is null.
// Few of them are many users' own, so each is encoded once and then copied.
func objects[T any](p *planner, f selected, typeName string, leaves leaves[T], values []*T) (appendItem, bool) {
	write, ok := objectOf(p, f.Selections, typeName, leaves, values, func(selected) (appendItem, bool) { return nil, false })
	type part struct{ start, end int } // of what is written
	written := map[*T]part{}
	return func(b []byte, i int) []byte {
		if values[i] == nil {
			return append(b, "null"...)
		}
		if known, ok := written[values[i]]; ok {
			return append(b, b[known.start:known.end]...)
		}
		start := len(b)
		b = write(b, i)
		written[values[i]] = part{start, len(b)}
		return b
	}, ok
}

// The leaves of each type.
var (
	userLeaves = leaves[models.User]{
		"id":                    func(b []byte, u *models.User) []byte { return appendText(b, string(u.ID)) },
		"number":                func(b []byte, u *models.User) []byte { return strconv.AppendInt(b, u.Number, 10) },
		"username":              func(b []byte, u *models.User) []byte { return appendOptional(b, u.Username) },
		"firstName":             func(b []byte, u *models.User) []byte { return appendText(b, u.FirstName) },
		"lastName":              func(b []byte, u *models.User) []byte { return appendText(b, u.LastName) },
		"email":                 func(b []byte, u *models.User) []byte { return appendText(b, u.Email) },
		"mobile":                func(b []byte, u *models.User) []byte { return appendOptional(b, u.Mobile) },
		"userType":              func(b []byte, u *models.User) []byte { return appendOptional(b, u.UserType) },
		"status":                func(b []byte, u *models.User) []byte { return appendText(b, string(u.Status)) },
		"enabled":               func(b []byte, u *models.User) []byte { return strconv.AppendBool(b, u.Enabled()) },
		"isEmailVerified":       func(b []byte, u *models.User) []byte { return strconv.AppendBool(b, u.IsEmailVerified) },
		"isFirstLogin":          func(b []byte, u *models.User) []byte { return strconv.AppendBool(b, u.IsFirstLogin) },
		"accountNonExpired":     func(b []byte, u *models.User) []byte { return strconv.AppendBool(b, u.AccountNonExpired) },
		"accountNonLocked":      func(b []byte, u *models.User) []byte { return strconv.AppendBool(b, u.AccountNonLocked) },
		"credentialsNonExpired": func(b []byte, u *models.User) []byte { return strconv.AppendBool(b, u.CredentialsNonExpired) },
		"createdAt":             func(b []byte, u *models.User) []byte { return appendTime(b, u.CreatedAt) },
		"createdBy":             func(b []byte, u *models.User) []byte { return appendOptional(b, u.CreatedBy) },
		"updatedAt":             func(b []byte, u *models.User) []byte { return appendTime(b, u.UpdatedAt) },
		"updatedBy":             func(b []byte, u *models.User) []byte { return appendOptional(b, u.UpdatedBy) },
		"lastPasswordResetAt": func(b []byte, u *models.User) []byte {
			if u.LastPasswordResetAt == nil {
				return append(b, "null"...)
			}
			return appendTime(b, *u.LastPasswordResetAt)
		},
		"extAuthRefId": func(b []byte, u *models.User) []byte { return appendOptional(b, u.ExtAuthRefID) },
	}
	subroleLeaves = leaves[models.Subrole]{
		"id":          func(b []byte, s *models.Subrole) []byte { return appendText(b, string(s.ID)) },
		"code":        func(b []byte, s *models.Subrole) []byte { return appendText(b, s.Code) },
		"displayName": func(b []byte, s *models.Subrole) []byte { return appendText(b, s.DisplayName) },
		"label":       func(b []byte, s *models.Subrole) []byte { return appendText(b, s.Label) },
		"description": func(b []byte, s *models.Subrole) []byte { return appendText(b, s.Description) },
	}
	authorityLeaves = leaves[models.Authority]{
		"id":        func(b []byte, a *models.Authority) []byte { return strconv.AppendInt(b, a.ID, 10) },
		"name":      func(b []byte, a *models.Authority) []byte { return appendText(b, a.Name) },
		"cleanName": func(b []byte, a *models.Authority) []byte { return appendOptional(b, a.CleanName) },
	}
	edgeLeaves = leaves[UserEdge]{
		"cursor": func(b []byte, e *UserEdge) []byte { return appendText(b, e.Cursor()) },
	}
	pageInfoLeaves = leaves[PageInfo]{
		"hasNextPage":     func(b []byte, p *PageInfo) []byte { return strconv.AppendBool(b, p.HasNextPage) },
		"hasPreviousPage": func(b []byte, p *PageInfo) []byte { return strconv.AppendBool(b, p.HasPreviousPage) },
		"startCursor":     func(b []byte, p *PageInfo) []byte { return appendOptional(b, p.StartCursor) },
		"endCursor":       func(b []byte, p *PageInfo) []byte { return appendOptional(b, p.EndCursor) },
	}
	customerLeaves = leaves[models.Customer]{
		"id":     func(b []byte, c *models.Customer) []byte { return appendText(b, string(c.ID)) },
		"number": func(b []byte, c *models.Customer) []byte { return strconv.AppendInt(b, c.Number, 10) },
		"companyId": func(b []byte, c *models.Customer) []byte {
			if c.CompanyID == nil {
				return append(b, "null"...)
			}
			return strconv.AppendInt(b, *c.CompanyID, 10)
		},
		"name":      func(b []byte, c *models.Customer) []byte { return appendText(b, c.Name) },
		"createdAt": func(b []byte, c *models.Customer) []byte { return appendTime(b, c.CreatedAt) },
		"updatedAt": func(b []byte, c *models.Customer) []byte { return appendTime(b, c.UpdatedAt) },
	}
)

func appendOptional[T ~string](b []byte, text *T) []byte {
	if text == nil {
		return append(b, "null"...)
	}
	return appendText(b, string(*text))
}

func appendTime(b []byte, t time.Time) []byte {
	// A layout that the library does not know takes it several times as long.
	b = t.UTC().AppendFormat(append(b, '"'), time.RFC3339)
	millis := t.Nanosecond() / 1e6
	return append(b[:len(b)-1], '.', digit(millis/100), digit(millis/10), digit(millis), 'Z', '"')
}

func digit(n int) byte { return "0123456789"[n%10] }

// appendText writes text as gqlgen does: it escapes what JSON must have escaped
// and nothing else.
func appendText(b []byte, text string) []byte {
	const hex = "0123456789ABCDEF"
	b = append(b, '"')
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[from:i]...)
		from = i + 1
		switch c {
		case '\t':
			b = append(b, `\t`...)
		case '\r':
			b = append(b, `\r`...)
		case '\n':
			b = append(b, `\n`...)
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, text[from:]...), '"')
}
