package db

import (
	"slices"
	"strings"
	"unicode/utf8"

	"roster/models"
)

// predicate is a condition of a WHERE clause. Its text is put together from
// constants only, with a placeholder for every value, so that nothing a caller
// sends is ever part of the statement. The conditions here are true or false and
// never unknown, for NULL too, so NOT means what it says.
type predicate struct {
	sql  string
	args []any
}

func where(sql string, args ...any) predicate { return predicate{sql, args} }

// all holds when every part does; of no parts, always.
func all(parts ...predicate) predicate { return join(" AND ", "TRUE", parts) }

// some holds when one part does; of no parts, never.
func some(parts ...predicate) predicate { return join(" OR ", "FALSE", parts) }

func not(p predicate) predicate { return predicate{"NOT (" + p.sql + ")", p.args} }

func join(operator, empty string, parts []predicate) predicate {
	parts = slices.DeleteFunc(parts, func(p predicate) bool { return p.sql == empty })
	switch len(parts) {
	case 0:
		return predicate{sql: empty}
	case 1:
		return parts[0]
	}
	var joined predicate
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = "(" + part.sql + ")"
		joined.args = append(joined.args, part.args...)
	}
	joined.sql = strings.Join(texts, operator)
	return joined
}

// scoped holds for the rows whose customer may be read. column is the one that
// holds the customer's id. It is part of every statement that a caller causes, but for
// that of the authorities.
func scoped(scope models.Scope, column string) predicate {
	if scope.All {
		return all()
	}
	var parts []predicate
	if len(scope.CustomerIDs) > 0 {
		parts = append(parts, oneOf(column, scope.CustomerIDs))
	}
	if len(scope.CustomerNumbers) > 0 {
		numbers := oneOf("c.number", scope.CustomerNumbers)
		parts = append(parts, where(column+" IN (SELECT c.id FROM customers AS c WHERE "+numbers.sql+")", numbers.args...))
	}
	return some(parts...)
}

// searchKey holds all of a user's texts that can be searched.
const searchKey = "u.search_key"

// usersMatching is the one translation of a filter: the rows of a list and their
// count both use it. The users are aliased u.
func usersMatching(customerID models.ID, f *models.UserFilter) predicate {
	t := translation{customerID: customerID}
	if lookups(f) > maxJoined {
		t.existsEnd = " LIMIT 1 OFFSET 0"
	}
	return t.users(f)
}

// maxJoined is how many authorities a filter may look up for PostgreSQL to join them with
// the users. It plans the joins in all orders, which took it 2 s for 25 of them. An EXISTS
// with an OFFSET is not joined, and is asked for each user.
const maxJoined = 4

// lookups counts the authorities that a filter looks up.
func lookups(f *models.UserFilter) (n int) {
	if f == nil {
		return 0
	}
	if a := f.Authority; a != nil {
		n += min(1, len(a.AnyOf)) + len(a.AllOf) + min(1, len(a.NoneOf))
	}
	for _, member := range slices.Concat(f.And, f.Or, []*models.UserFilter{f.Not}) {
		n += lookups(member)
	}
	return n
}

// translation is how a filter is translated.
type translation struct {
	customerID models.ID
	existsEnd  string // ends every subselect of an EXISTS
}

func (t translation) users(f *models.UserFilter) predicate {
	if f == nil {
		return all()
	}
	var parts []predicate
	add := func(p ...predicate) { parts = append(parts, p...) }

	if f.Search != nil {
		for _, word := range models.SearchWords(*f.Search) {
			add(contains(searchKey, word))
		}
	}
	add(ids("u.id", f.ID)...)
	add(statuses(f.Status)...)
	add(t.subroles(f.Subrole)...)
	add(ids("u.subrole_id", f.SubroleID)...)
	add(t.authorities(f.Authority)...)
	add(texts("u.username_key", "u.username", f.Username)...)
	add(texts("u.first_name_key", "", f.FirstName)...)
	add(texts("u.last_name_key", "", f.LastName)...)
	add(texts("u.email_key", "", f.Email)...)
	add(texts("u.mobile_key", "u.mobile", f.Mobile)...)
	add(flag("u.is_email_verified", f.IsEmailVerified)...)
	add(flag("u.is_first_login", f.IsFirstLogin)...)
	if f.Enabled != nil && *f.Enabled {
		add(oneOf("u.status", []models.UserStatus{models.StatusActive}))
	} else if f.Enabled != nil {
		add(oneOf("u.status", statusesBut(models.StatusActive)))
	}
	add(flag("u.account_non_expired", f.AccountNonExpired)...)
	add(flag("u.account_non_locked", f.AccountNonLocked)...)
	add(flag("u.credentials_non_expired", f.CredentialsNonExpired)...)
	add(times("u.created_at", f.CreatedAt)...)
	add(times("u.updated_at", f.UpdatedAt)...)
	add(ids("u.created_by", f.CreatedBy)...)
	add(ids("u.updated_by", f.UpdatedBy)...)
	add(ids("u.ext_auth_ref_id", f.ExtAuthRefID)...)

	for _, member := range f.And {
		add(t.users(member))
	}
	if f.Or != nil {
		members := make([]predicate, len(f.Or))
		for i, member := range f.Or {
			members[i] = t.users(member)
		}
		add(some(members...))
	}
	if f.Not != nil {
		add(not(t.users(f.Not)))
	}
	return all(parts...)
}

func flag(column string, wanted *bool) []predicate {
	if wanted == nil {
		return nil
	}
	// The value stands in the text, so that an index on one of the two can serve.
	if *wanted {
		return []predicate{where(column + " = TRUE")}
	}
	return []predicate{where(column + " = FALSE")}
}

func times(column string, f *models.DateTimeFilter) []predicate {
	if f == nil {
		return nil
	}
	var parts []predicate
	if f.Gt != nil {
		parts = append(parts, where(column+" > ?", *f.Gt))
	}
	if f.Gte != nil {
		parts = append(parts, where(column+" >= ?", *f.Gte))
	}
	if f.Lt != nil {
		parts = append(parts, where(column+" < ?", *f.Lt))
	}
	if f.Lte != nil {
		parts = append(parts, where(column+" <= ?", *f.Lte))
	}
	return parts
}

// ids compares a column that may be NULL.
func ids(column string, f *models.IDFilter) []predicate {
	if f == nil {
		return nil
	}
	var parts []predicate
	if f.Eq != nil {
		parts = append(parts, where(column+" IS NOT NULL AND "+column+" = ?", *f.Eq))
	}
	if f.In != nil {
		parts = append(parts, oneOf(column, f.In), where(column+" IS NOT NULL"))
	}
	return append(parts, isNull(column, f.IsNull)...)
}

// oneOf holds when the column has one of the values; of no values, never.
func oneOf[T any](column string, values []T) predicate {
	switch len(values) {
	case 0:
		return some()
	case 1: // PostgreSQL plans better for one value than for a list
		return where(column+" = ?", values[0])
	}
	return where(column+" IN (?)", listOf(values))
}

func isNull(column string, wanted *bool) []predicate {
	switch {
	case wanted == nil:
		return nil
	case *wanted:
		return []predicate{where(column + " IS NULL")}
	default:
		return []predicate{where(column + " IS NOT NULL")}
	}
}

// texts compares a folded key. nullable is the column that is NULL where there
// is no text (its key is empty then), or "" for a text that is always there.
func texts(key, nullable string, f *models.StringFilter) []predicate {
	if f == nil {
		return nil
	}
	var parts []predicate
	if f.Eq != nil {
		parts = append(parts, where(key+" = ?", models.Fold(*f.Eq)))
	}
	if f.In != nil {
		folded := make([]string, len(f.In))
		for i, value := range f.In {
			folded[i] = models.Fold(value)
		}
		parts = append(parts, oneOf(key, folded))
	}
	if f.StartsWith != nil {
		parts = append(parts, startsWith(key, models.Fold(*f.StartsWith)))
	}
	if f.Contains != nil {
		folded := models.Fold(*f.Contains)
		parts = append(parts, contains(key, folded))
		if strings.HasPrefix(key, "u.") {
			// Each of the user's keys is part of this one, which has an index for it.
			parts = append(parts, contains(searchKey, folded))
		}
	}
	if nullable == "" {
		if f.IsNull != nil && *f.IsNull {
			parts = append(parts, some())
		}
		return parts
	}
	if len(parts) > 0 {
		parts = append(parts, where(nullable+" IS NOT NULL"))
	}
	return append(parts, isNull(nullable, f.IsNull)...)
}

// likeEscaper escapes LIKE's wildcards. The escape character is not the
// usual backslash, which means something to one of the databases already.
var likeEscaper = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// maxPattern bounds what LIKE is asked for: SQLite refuses patterns of more than
// 50,000 bytes. A longer text is looked for in a slower way.
const maxPattern = 40_000

// startsWith is a range and not a LIKE, so that an index serves whatever the
// prefix: keys are compared byte by byte, which sorts them by code point.
func startsWith(key, folded string) predicate {
	from := where(key+" >= ?", folded)
	end := afterPrefix(folded)
	if end == "" {
		return from
	}
	return all(from, where(key+" < ?", end))
}

// afterPrefix gives the least text that comes after every text with this
// prefix; "" where there is none.
func afterPrefix(prefix string) string {
	runes := []rune(prefix)
	for len(runes) > 0 && runes[len(runes)-1] == utf8.MaxRune {
		runes = runes[:len(runes)-1]
	}
	if len(runes) == 0 {
		return ""
	}
	last := &runes[len(runes)-1]
	if *last++; *last == surrogateMin {
		*last = surrogateMax + 1
	}
	return string(runes)
}

// The code points between these are no characters of their own.
const surrogateMin, surrogateMax = 0xd800, 0xdfff

func contains(key, folded string) predicate {
	pattern := "%" + likeEscaper.Replace(folded) + "%"
	// SQLite's LIKE takes these three for one character.
	if len(pattern) > maxPattern || strings.ContainsAny(folded, "\ufffd\ufffe\uffff") {
		return where("replace("+key+", ?, '') <> "+key, folded)
	}
	return where(key+" LIKE ? ESCAPE '!'", pattern)
}

func statuses(f *models.UserStatusFilter) []predicate {
	if f == nil {
		return nil
	}
	var parts []predicate
	if f.Eq != nil {
		parts = append(parts, where("u.status = ?", *f.Eq))
	}
	if f.In != nil {
		parts = append(parts, oneOf("u.status", f.In))
	}
	if len(f.NotIn) > 0 {
		parts = append(parts, oneOf("u.status", statusesBut(f.NotIn...)))
	}
	return parts
}

// statusesBut gives the other statuses: an index finds what a column is, not
// what it is not.
func statusesBut(excluded ...models.UserStatus) []models.UserStatus {
	return slices.DeleteFunc(models.UserStatuses(), func(s models.UserStatus) bool { return slices.Contains(excluded, s) })
}

// subroles compares the code of the user's subrole. The few of the customer are found once,
// and not for each user.
func (t translation) subroles(f *models.StringFilter) []predicate {
	if f == nil {
		return nil
	}
	var parts []predicate
	byCode := *f
	byCode.IsNull = nil
	if code := texts("s.code_key", "", &byCode); len(code) > 0 {
		match := all(append(code, where("s.customer_id = ?", t.customerID))...)
		parts = append(parts, where("u.subrole_id IS NOT NULL AND u.subrole_id"+anyOf+"SELECT s.id FROM subroles AS s WHERE "+match.sql+"))", match.args...))
	}
	return append(parts, isNull("u.subrole_id", f.IsNull)...)
}

// authorities compares the names of the user's authorities.
func (t translation) authorities(f *models.AuthorityFilter) []predicate {
	if f == nil {
		return nil
	}
	var parts []predicate
	if f.AnyOf != nil {
		parts = append(parts, t.hasAuthority(f.AnyOf))
	}
	for _, name := range f.AllOf {
		parts = append(parts, t.hasAuthority([]string{name}))
	}
	if len(f.NoneOf) > 0 {
		parts = append(parts, not(t.hasAuthority(f.NoneOf)))
	}
	return parts
}

func (t translation) hasAuthority(names []string) predicate {
	if len(names) == 0 {
		return some()
	}
	return where("EXISTS (SELECT 1 FROM user_authorities AS ua WHERE ua.user_id = u.id AND ua.authority_id"+
		anyOf+"SELECT a.id FROM authorities AS a WHERE a.name IN (?)))"+t.existsEnd+")", listOf(names))
}
