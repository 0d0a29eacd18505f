package db

import (
	"strconv"
	"strings"

	"roster/models"
)

// A list is read along the index of its order when many users match, and by
// sorting those who match when few do: the other way round, either takes seconds
// with a large customer. A database chooses by what it knows of the values, and
// there are conditions of which it knows nothing: how many users of this customer
// have the authority of this name, a subrole of this code, a date in this range,
// or anything at all in a column that most leave empty. So for these the statement
// itself finds out, by looking for up to rareUsers matches with an index made for
// it, and then reads in one way or in the other.

// rareUsers is how many users are sorted rather than looked for along the order.
var rareUsers = 1_000

// maxProbes is how many conditions are looked for at most. Each makes the statement
// longer by one reading of the list, which PostgreSQL plans every time.
const maxProbes = 3

// probes give the conditions of a filter whose matches have to be looked for, as
// SELECTs of the ids of the customer's users that hold all of them and come from
// an index. All conditions of the filter are looked at that every user of the
// list must hold.
func probes(query models.UserQuery) []predicate {
	list := probesOf(query, query.Filter)
	return list[:min(len(list), maxProbes)]
}

func probesOf(query models.UserQuery, f *models.UserFilter) (list []predicate) {
	if f == nil {
		return nil
	}
	if s := f.Subrole; s != nil && (s.Eq != nil || s.In != nil || s.StartsWith != nil || s.Contains != nil) {
		code := all(append(texts("s.code_key", "", s), where("s.customer_id = ?", query.CustomerID))...)
		list = append(list, where("SELECT x.id FROM subroles AS s JOIN users AS x ON x.customer_id = s.customer_id AND x.subrole_id = s.id WHERE "+code.sql, code.args...))
	}
	if a := f.Authority; a != nil {
		sets := [][]string{}
		if len(a.AnyOf) > 0 {
			sets = append(sets, a.AnyOf)
		}
		for _, name := range a.AllOf {
			sets = append(sets, []string{name})
		}
		for _, names := range sets {
			granted := all(oneOf("a.name", names), where("ua.customer_id = ?", query.CustomerID))
			list = append(list, where("SELECT ua.user_id FROM authorities AS a JOIN user_authorities AS ua ON ua.authority_id = a.id WHERE "+granted.sql, granted.args...))
		}
	}
	for _, c := range []struct {
		column string
		id     *models.IDFilter
	}{{"x.created_by", f.CreatedBy}, {"x.updated_by", f.UpdatedBy}, {"x.ext_auth_ref_id", f.ExtAuthRefID}} {
		if c.id != nil && c.id.IsNull != nil && !*c.id.IsNull {
			list = append(list, where("SELECT x.id FROM users AS x WHERE x.customer_id = ? AND "+c.column+" IS NOT NULL ORDER BY "+c.column, query.CustomerID))
		}
	}
	if f.CreatedAt != nil && query.Order.Field != models.OrderCreatedAt {
		list = append(list, during("x.created_at", query.CustomerID, f.CreatedAt))
	}
	if f.UpdatedAt != nil && query.Order.Field != models.OrderUpdatedAt {
		list = append(list, during("x.updated_at", query.CustomerID, f.UpdatedAt))
	}
	for _, member := range f.And {
		list = append(list, probesOf(query, member)...)
	}
	return list
}

// during looks for users in a range of times. The order has the index used.
func during(column string, customerID models.ID, f *models.DateTimeFilter) predicate {
	within := all(append(times(column, f), where("x.customer_id = ?", customerID))...)
	return where("SELECT x.id FROM users AS x WHERE "+within.sql+" ORDER BY "+column, within.args...)
}

// probedUsers makes the statement for a window of a list of users whose filter has
// probes: the users of the first one that finds few, or those along the order if
// all find many.
func probedUsers(l listing, w models.Window, probes []predicate) *windowStatement[models.User] {
	matching := all(l.matching, between(l.keys, l.descending, l.after, l.before))
	order := ordered(l.keys, l.descending != w.Backward)
	most := limit(w)

	var (
		found, branches []string
		args            []any
		of              []any
	)
	// A way that is not taken has the limit 0, with which it is not begun.
	branch := func(condition predicate, taken string) {
		branches = append(branches, "SELECT * FROM (SELECT * FROM ("+l.columns.selectUsers()+" WHERE "+condition.sql+" ORDER BY "+order+" LIMIT "+most+" OFFSET ?) AS u"+
			" LIMIT (SELECT CASE WHEN "+taken+" THEN "+most+" ELSE 0 END)) AS u")
		of = append(append(of, condition.args...), w.Offset)
	}
	many := "TRUE"
	for i, probe := range probes {
		name := "found" + strconv.Itoa(i)
		found = append(found, name+" (id) AS MATERIALIZED (SELECT * FROM ("+probe.sql+") AS x LIMIT "+strconv.Itoa(rareUsers+1)+")")
		args = append(args, probe.args...)
		n := "(SELECT count(*) FROM " + name + ")"
		branch(all(matching, where("u.id IN (SELECT id FROM "+name+" LIMIT "+strconv.Itoa(rareUsers)+")")),
			many+" AND "+n+" <= "+strconv.Itoa(rareUsers))
		many += " AND " + n + " > " + strconv.Itoa(rareUsers)
	}
	branch(matching, many)
	text := "WITH " + strings.Join(found, ", ") + " SELECT * FROM (" + strings.Join(branches, " UNION ALL ") + ") AS u ORDER BY " + order
	read, rows := collect(w.Size+1, l.columns.fields)
	return &windowStatement[models.User]{&statement{text: text, args: append(args, of...), read: read}, w, rows}
}
